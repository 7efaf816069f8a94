"""The static web map as files; the browser test looks at it as a picture."""

import json
import re

import numpy as np
import pyproj
import pytest
from rasterio.windows import Window

from landtide.core.cube import encode
from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.io import storage
from landtide.io.cube import create_cube, write_window
from landtide.publish.pictures import decode
from landtide.publish.webmap import MapLayer, Site, thumbnails, write_viewer


@pytest.fixture(scope="module")
def published(tmp_path_factory, world, legend):
    folder = tmp_path_factory.mktemp("published")
    record = write_viewer(str(folder), Site("Two </title> tiles", legend, world.layers, old_map="CORINE"))
    return folder, record


def test_every_picture_that_the_page_may_ask_for_exists(published):
    folder, record = published
    (scene,) = record["scenes"]
    for layer in scene["layers"]:
        for z in range(scene["levels"] + 1):
            size = 256 << (scene["levels"] - z)
            for x in range(-(-scene["width"] // size)):
                for y in range(-(-scene["height"] // size)):
                    wanted = any(
                        left < (x + 1) * size and right > x * size and top < (y + 1) * size and bottom > y * size
                        for left, top, right, bottom in layer["boxes"]
                    )
                    path = folder / "tiles" / scene["id"] / layer["id"] / str(z) / str(x) / f"{y}.{layer['suffix']}"
                    assert path.exists() == wanted, path


def test_overlapping_tiles_are_one_scene_whose_areas_count_each_pixel_once(published, world):
    _, record = published
    (scene,) = record["scenes"]
    assert (scene["width"], scene["height"]) == (800, 600)
    layer = next(layer for layer in scene["layers"] if layer["id"] == "label-2021")
    pixels = np.bincount(world.labels[2021].ravel(), minlength=4)
    for label in (1, 2, 3):
        assert layer["hectares"][str(label)] == pytest.approx(pixels[label] / 100)


def test_pictures_hold_the_labels_of_both_tiles(published, world):
    folder, record = published
    (scene,) = record["scenes"]
    z = scene["levels"]
    for column, row in ((120, 300), (640, 10), (790, 590)):
        x, y = column // 256, row // 256
        picture = decode((folder / "tiles" / scene["id"] / "label-2020" / str(z) / str(x) / f"{y}.png").read_bytes())
        assert picture[row - 256 * y, column - 256 * x] == world.labels[2020][row, column]


def test_longitude_and_latitude_agree_with_pyproj_between_the_known_points(tmp_path, legend, save_raster):
    tile = Tile("31UFT", "EPSG:32631", (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_800_020.0), (600, 600))
    layer = MapLayer("label", tile, save_raster("lonlat", np.ones((600, 600), np.uint8), tile), 2020)
    record = write_viewer(str(tmp_path), Site("x", legend, (layer,)))
    lattice = record["scenes"][0]["lonlat"]
    middle = [np.mean([lattice[name][j][i] for j in (3, 4) for i in (3, 4)]) for name in ("lon", "lat")]
    x, y = tile.affine * (600 * 3.5 / 8, 600 * 3.5 / 8)
    expected = pyproj.Transformer.from_crs(tile.crs, "EPSG:4326", always_xy=True).transform(x, y)
    assert np.abs(np.subtract(middle, expected)).max() < 1e-6


def test_script_with_the_description_is_json_without_a_tag(published):
    folder, record = published
    text = (folder / "layers.js").read_text()
    assert "<" not in text
    found = re.fullmatch(r"window\.LANDTIDE_LAYERS = (.*);\n", text, re.DOTALL)
    assert json.loads(found[1]) == json.loads((folder / "layers.json").read_text()) == json.loads(json.dumps(record))


def test_page_escapes_the_title_and_needs_nothing_from_elsewhere(published):
    folder, _ = published
    page = (folder / "index.html").read_text()
    assert "Two &lt;/title&gt; tiles" in page
    assert "Two </title>" not in page
    for name in (*folder.glob("*.js"), *folder.glob("*.css"), folder / "index.html"):
        assert not re.findall(r"https?://", name.read_text()), name
    for address in re.findall(r'(?:src|href)="([^"#?]+)', page):
        assert not address.startswith("/"), address
    for script in re.findall(r'<script src="([^"?]+)', page):
        assert (folder / script).exists()


def test_page_without_scripts_still_offers_maps_and_report(published):
    folder, _ = published
    plain = re.search(r"<noscript>(.*?)</noscript>", (folder / "index.html").read_text(), re.DOTALL)[1]
    assert 'href="report.html"' in plain
    assert 'href="maps/31UFT/2021.tif"' in plain


def test_index_page_is_written_last(tmp_path, world, legend, monkeypatch):
    order = []
    plain = storage.write_bytes
    monkeypatch.setattr(storage, "write_bytes", lambda uri, data: (order.append(uri), plain(uri, data)))
    write_viewer(str(tmp_path), Site("x", legend, world.layers[:1]))
    assert order[-1].endswith("/index.html")
    assert [uri.rsplit("/", 1)[1] for uri in order].count("index.html") == 1


def test_classes_of_one_colour_get_colours_of_their_own(published):
    _, record = published
    colors = [item["color"] for item in record["legend"]]
    assert len(set(colors)) == len(colors)
    assert colors[0] == "#f2c14e"


def test_tiles_of_different_zones_become_areas_to_choose_from(tmp_path, legend, save_raster):
    tiles = [
        Tile(name, crs, (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_800_000.0), (40, 40))
        for name, crs in (("31UFT", "EPSG:32631"), ("32ULC", "EPSG:32632"))
    ]
    layers = tuple(MapLayer("label", tile, save_raster(tile.name, np.ones((40, 40), np.uint8), tile), 2020) for tile in tiles)
    record = write_viewer(str(tmp_path), Site("x", legend, layers))
    assert [scene["id"] for scene in record["scenes"]] == ["31uft", "32ulc"]
    assert (tmp_path / "tiles" / "32ulc" / "label-2020" / "0" / "0" / "0.png").exists()


def test_image_of_a_cube_without_colours_shows_its_first_band_in_grey(tmp_path, legend, world):
    tile = Tile("own", "EPSG:32633", (9.99, 0.0, 465_181.0, 0.0, -9.99, 5_080_254.0), (101, 100))
    periods = Period.of_year(2016).split("P1M")
    cube = str(tmp_path / "ndvi.zarr")
    create_cube(cube, tile, periods, ("NDVI",))
    ndvi = np.linspace(-0.2, 0.9, 101 * 100, dtype=np.float32).reshape(101, 100)
    series = np.broadcast_to(ndvi, (12, 1, 101, 100)).copy()
    series[:5] = np.nan  # winter and spring are missing: summer alone decides
    write_window(cube, Window(0, 0, 100, 101), encode(series), np.ones((12, 101, 100), np.uint8))
    record = write_viewer(str(tmp_path), Site("x", legend, (MapLayer("image", tile, cube, 2016),)))
    picture = decode((tmp_path / "tiles" / "own" / "image-2016" / "0" / "0" / "0.webp").read_bytes())
    assert record["scenes"][0]["levels"] == 0
    assert picture[100, 50, 0] > picture[50, 50, 0] > picture[5, 50, 0]
    assert np.ptp(picture[50, 50, :3].astype(int)) <= 4
    assert picture[200, 200, 3] == 0


def test_thumbnails_are_small_and_show_the_whole_scene(published):
    folder, record = published
    found = {told["title"]: told for told in thumbnails(str(folder), record, size=256)}
    assert set(found) == {"Land cover 2020", "Land cover 2021", "Confidence 2020", "Confidence 2021", "CORINE 2012", "Satellite image 2021"}
    labels = decode(found["Land cover 2021"]["image"])
    assert labels.shape == (150, 200)
    assert (found["Land cover 2021"]["width"], found["Land cover 2021"]["height"]) == (200, 150)
    assert set(np.unique(labels)) == {0, 1, 2, 3}


def test_web_map_can_be_published_to_an_object_store(s3, world, legend):
    uri = f"{s3}/study/published"
    record = write_viewer(uri, Site("x", legend, (world.layers[0],)))
    assert storage.read_json(f"{uri}/layers.json") == json.loads(json.dumps(record))
    assert decode(storage.read_bytes(f"{uri}/tiles/31uft/label-2020/0/0/0.png")).shape == (256, 256)
    assert b"<canvas" in storage.read_bytes(f"{uri}/index.html")
