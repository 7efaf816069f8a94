"""The audit's page shows polygons where they lie, needs nothing beside it, and never writes over somebody's reviews."""

import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from rasterio.windows import Window

from landtide.core.cube import encode
from landtide.core.legend import Legend, LegendClass
from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.io import cube, manifest, storage
from landtide.publish.audit import PUBLISHED, Audit, outline_path, publish_audit, view_of

TILE = Tile("t", "EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), (96, 128))
LEGEND = Legend("two", (LegendClass(1, "grass & herbs", "#00FF00"), LegendClass(2, "town", "#FF0000")))


def box(row: int, column: int, side: int) -> shapely.Geometry:
    west, north = TILE.affine @ (column, row)
    return shapely.box(west, north - 10 * side, west + 10 * side, north)


def make_audit(folder: Path, *, chips: int = 5, name: str = "a") -> Audit:
    cubes = {}
    for year, bright in ((2018, 0.05), (2020, 0.2)):
        uri = str(folder / f"{year}.zarr")
        cube.create_cube(uri, TILE, Period.of_year(year).split("P1M"), ("B02", "B03", "B04"))
        values = np.full((12, 3, *TILE.shape), 0.05, np.float32) + np.random.default_rng(year).normal(0, 0.005, (12, 3, *TILE.shape))
        values[:, 0, 40:60, 70:90] = bright  # blue: the field of the first polygon in 2020
        for window in TILE.windows(cube.CHUNK):
            rows, columns = window.toslices()
            part = values[:, :, rows, columns]
            cube.write_window(uri, window, encode(part.astype(np.float32)), np.ones((12, *part.shape[2:]), np.uint8))
        cubes[year] = uri
    table = gpd.GeoDataFrame(
        {
            "rank": [1, 2],
            "code": [311, 112],
            "code_name": ["<forest>", "112"],
            "old_class": ["grass & herbs", "several"],
            "area_ha": [4.0, 0.09],
            "p_wrong": [0.97, 0.2],
            "kind": ["outdated", "agrees"],
            "since": [2020.0, None],
            "class_now": ["town", "town"],
            "share_now": [0.9, 1.0],
            "evidence": [4, 1],
            "tile": "t",
            "lon": 15.0,
            "lat": 45.0,
            "reviewed_class": "",
            "comment": "",
        },
        geometry=[box(40, 70, 20), box(0, 0, 3)],
        crs=TILE.crs,
    )
    summary = {
        "years": [2018, 2020],
        "map_year": 2012,
        "polygons": 2,
        "area_ha": 4.09,
        "expected_wrong": 1.2,
        "expected_wrong_ha": 3.9,
        "likely": 1,
        "outdated": 1,
        "not_judged": 3,
        "not_judged_ha": 7.0,
        "classes": [{"name": "grass & herbs", "polygons": 1, "area_ha": 4.0, "wrong_ha": 3.9}],
    }
    key = manifest.Key(str(folder / "work"), "s", "audit", "all", "2018", name)
    with manifest.writing(key, period=Period.of_year(2018)) as out:
        local = out.scratch / "audit.gpkg"
        table.assign(comment=name).to_file(local)
        out.upload(local, "audit.gpkg")
        out.add_asset("polygons", "audit.gpkg")
        out.put("audit.csv", b"rank\n1\n")
        out.add_asset("csv", "audit.csv")
        out.put_json("summary.json", summary)
        out.add_asset("summary", "summary.json")
    return Audit("synthetic", LEGEND, out.item, {"t": cubes}, 2012, chips)


@pytest.fixture
def page(tmp_path: Path) -> str:
    publish_audit(str(tmp_path / "published"), make_audit(tmp_path))
    return (tmp_path / "published/index.html").read_text()


def test_the_page_stands_alone_and_escapes_what_the_map_brings(page: str):
    assert page.count('<article class="card"') == 2
    assert page.count('src="data:image/webp;base64,') == 4
    assert not re.search(r'(src|href)="(https?:|//)', page)
    assert "<script" not in page
    assert "&lt;forest&gt;" in page
    assert "<forest>" not in page
    assert "grass &amp; herbs" in page
    assert "outdated since 2020" in page
    assert re.search(r"<figcaption>2018</figcaption>.*?<figcaption>2020</figcaption>", page, re.DOTALL)


def test_pictures_of_both_years_share_one_stretch(tmp_path: Path):
    import base64
    import io

    from PIL import Image

    publish_audit(str(tmp_path / "published"), make_audit(tmp_path))
    found = re.findall(r'base64,([^"]+)" width="(\d+)" height="(\d+)"', (tmp_path / "published/index.html").read_text())
    before, after = (np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int) for data, _, _ in found[:2])
    assert before.shape[:2] == (int(found[0][2]), int(found[0][1]))
    middle = before.shape[0] // 2
    assert after[middle, middle, 2] > before[middle, middle, 2] + 80, "the field that turned bright is bright in the second only"


def test_the_outline_lies_on_the_polygon_also_at_the_edge_of_the_tile():
    window, step = view_of(TILE, box(40, 70, 20))
    assert (step, window.height) == (1, window.width)
    numbers = np.array(re.findall(r"[-\d.]+", outline_path(box(40, 70, 20), TILE.crop(window), step)), float).reshape(-1, 2)
    assert numbers.min(axis=0).tolist() == [70 - window.col_off, 40 - window.row_off]
    assert numbers.max(axis=0).tolist() == [90 - window.col_off, 60 - window.row_off]
    corner, _ = view_of(TILE, box(0, 0, 3))
    assert (corner.row_off, corner.col_off, corner.height) == (0, 0, 32)


def test_a_polygon_as_large_as_its_tile_is_shown_coarser():
    wide = Tile("w", TILE.crs, TILE.transform, (3000, 3000))
    window, step = view_of(wide, shapely.box(*wide.bounds))
    assert window == Window(1200, 1200, 600, 600)
    assert step == 3


def test_reviews_are_never_written_over_and_the_page_links_to_the_new_list(tmp_path: Path):
    folder = tmp_path / "published"
    publish_audit(str(folder), make_audit(tmp_path / "1", name="first"))
    publish_audit(str(folder), make_audit(tmp_path / "2", name="second"))
    assert set(gpd.read_file(folder / "audit.gpkg")["comment"]) == {"second"}, "nobody has worked on it: it is renewed"
    edited = gpd.read_file(folder / "audit.gpkg").assign(reviewed_class="town")
    edited.to_file(folder / "audit.gpkg")
    publish_audit(str(folder), make_audit(tmp_path / "3", name="third"))
    assert set(gpd.read_file(folder / "audit.gpkg")["reviewed_class"]) == {"town"}
    assert 'href="audit-third.gpkg"' in (folder / "index.html").read_text()
    assert set(gpd.read_file(folder / "audit-third.gpkg")["comment"]) == {"third"}


def test_the_folder_may_lie_on_s3(tmp_path: Path, s3: str):
    publish_audit(f"{s3}/published/audit", make_audit(tmp_path, chips=1))
    assert storage.read_text(f"{s3}/published/audit/index.html").count('<article class="card"') == 1
    assert storage.size(f"{s3}/published/audit/audit.gpkg") > 10_000
    assert "audit.gpkg" in storage.read_json(f"{s3}/published/audit/{PUBLISHED}")["outlines"]
