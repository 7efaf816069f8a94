"""Every kind of object survives the way to a folder and to S3, atomically, with its digest."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from landtide.core.errors import InputError, LandtideError
from landtide.core.period import Period
from landtide.core.samples import SampleSet
from landtide.core.tile import Tile
from landtide.io import cube, manifest, raster, stac, storage, table

TILE = Tile("31UFT", "EPSG:32631", (10.0, 0.0, 650_000.0, 0.0, -10.0, 5_800_000.0), (150, 200))
YEAR = Period.of_year(2018)


@pytest.fixture(params=["folder", "s3"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "work") if request.param == "folder" else request.getfixturevalue("s3") + "/prefix"


def key(workspace: str, name: str = "a") -> manifest.Key:
    return manifest.Key(workspace, "study", "composite", "31UFT", "2018", manifest.content_id("composite/1", {"name": name}, ["b", "a"]))


def test_object_round_trip_and_digest(workspace: str) -> None:
    uri = storage.join(workspace, "a", "b.bin")
    assert not storage.exists(uri)
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(uri)
    storage.write_bytes(uri, b"tide" * 1000)
    assert storage.read_bytes(uri) == b"tide" * 1000
    assert storage.sha256(uri) == hashlib.sha256(b"tide" * 1000).hexdigest()
    assert storage.size(uri) == 4000
    assert storage.read_range(uri, 2, 7) == b"detid"
    assert storage.read_range(uri, 3998, 5000) == b"de"
    assert storage.read_range(uri, 5, 5) == b""


def test_only_the_first_of_many_creators_wins(workspace: str) -> None:
    uri = storage.join(workspace, "race.json")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda index: storage.create(uri, b"%d" % index), range(8)))
    assert sum(won) == 1
    assert storage.read_bytes(uri) == b"%d" % won.index(True)


def test_manifest_comes_last_and_lists_every_digest(workspace: str) -> None:
    name = key(workspace)
    assert manifest.find(name) is None
    with manifest.writing(name, period=YEAR, tile=TILE, derived_from=["s3://x/item.json"]) as out:
        out.put_json("note.json", {"a": 1})
        local = out.scratch / "big.bin"
        local.write_bytes(b"x" * 100)
        out.upload(local, "big.bin")
        out.add_asset("note", "note.json", roles=["metadata"])
        assert manifest.find(name) is None
    item = manifest.find(name)
    assert item is not None
    objects = storage.read_json(item.assets["objects"].href)
    assert objects["big.bin"] == hashlib.sha256(b"x" * 100).hexdigest()
    assert item.assets["note"].extra_fields["file:checksum"] == "1220" + objects["note.json"]
    assert storage.read_json(item.assets["note"].href) == {"a": 1}
    assert item.properties["proj:shape"] == [150, 200]
    assert item.get_links("derived_from")[0].target == "s3://x/item.json"


def test_failed_output_leaves_no_manifest_and_no_scratch(workspace: str) -> None:
    scratch = None
    with suppress(ZeroDivisionError), manifest.writing(key(workspace), period=YEAR) as out:
        out.put("part.bin", b"1")
        scratch = out.scratch
        raise ZeroDivisionError
    assert scratch is not None
    assert manifest.find(key(workspace)) is None
    assert not scratch.exists()


def test_first_manifest_wins_and_names_its_own_attempt(workspace: str) -> None:
    with manifest.writing(key(workspace), period=YEAR) as first, manifest.writing(key(workspace), period=YEAR) as second:
        first.put("a.txt", b"first")
        first.add_asset("a", "a.txt")
        second.put("a.txt", b"second")
        second.add_asset("a", "a.txt")
    assert second.item.properties["landtide:attempt"] == first.item.properties["landtide:attempt"] == second.attempt
    assert storage.read_bytes(first.item.assets["a"].href) == b"second"


def test_content_id_ignores_order_of_sources_and_of_parameters() -> None:
    assert manifest.content_id("a/1", {"x": 1, "y": 2}, ["p", "q"]) == manifest.content_id("a/1", {"y": 2, "x": 1}, ["q", "p"])
    assert manifest.content_id("a/1", {"x": 1}, []) != manifest.content_id("a/2", {"x": 1}, [])


def test_cube_round_trip_by_window_and_by_pixel(workspace: str) -> None:
    uri = storage.join(workspace, "cube.zarr")
    periods = YEAR.split("P3M")
    rng = np.random.default_rng(1)
    whole = rng.integers(-500, 9000, (4, 2, 150, 200)).astype(np.int16)
    whole[1, :, :40] = -32768
    count = rng.integers(0, 9, (4, 150, 200)).astype(np.uint8)
    digests = cube.create_cube(uri, TILE, periods, ("B04", "B08"))
    for window in TILE.windows(cube.CHUNK):
        rows, columns = slice(window.row_off, window.row_off + window.height), slice(window.col_off, window.col_off + window.width)
        digests |= cube.write_window(uri, window, whole[:, :, rows, columns], count[:, rows, columns])
    opened = cube.open_cube(uri)
    assert (opened.bands, opened.tile, list(opened.periods)) == (("B04", "B08"), TILE, periods)
    window = Window(100, 30, 90, 110)
    np.testing.assert_array_equal(opened.read_digital(window), whole[:, :, 30:140, 100:190])
    np.testing.assert_array_equal(opened.read_count(window), count[:, 30:140, 100:190])
    rows, columns = rng.integers(0, 150, 300), rng.integers(0, 200, 300)
    expected = np.where(whole == -32768, np.nan, whole * 1e-4)[:, :, rows, columns].transpose(2, 0, 1)
    np.testing.assert_allclose(opened.read_pixels(rows, columns), expected, atol=1e-7)
    for name, value in digests.items():
        assert storage.sha256(storage.join(workspace, name)) == value
    array = opened.to_xarray()
    assert array.dims == ("time", "band", "y", "x")
    assert array["band"].values.tolist() == ["B04", "B08"]
    assert float(array["y"][0]) == 5_799_995.0
    assert str(array["time"].values[1])[:10] == "2018-04-01"


def test_window_that_cuts_a_chunk_is_refused(tmp_path: Path) -> None:
    uri = str(tmp_path / "cube.zarr")
    cube.create_cube(uri, TILE, YEAR.split("P3M"), ("B04",))
    with pytest.raises(LandtideError, match="cuts a chunk"):
        cube.write_window(uri, Window(0, 0, 100, 128), np.zeros((4, 1, 128, 100), np.int16), np.zeros((4, 128, 100), np.uint8))


def test_samples_round_trip(workspace: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.random((7, 3, 2), np.float32)
    x[2, 1] = np.nan
    samples = SampleSet(
        x=x,
        y=np.arange(1, 8, dtype=np.uint8),
        doy=np.tile(np.array([15, 46, 75], np.int16), (7, 1)),
        xy=rng.random((7, 2)),
        year=np.full(7, 2018, np.int16),
        trust=rng.random(7, np.float32),
        polygon=np.arange(7),
        tile=np.array(["31UFT"] * 7),
        draw=np.full(7, 2**32 - 1, np.uint32),
        bands=("B04", "B08"),
        origin="old_map",
    )
    uri = storage.join(workspace, "samples.parquet")
    assert table.write_samples(uri, samples) == storage.sha256(uri)
    back = table.read_samples(uri)
    for name in ("x", "y", "doy", "xy", "year", "trust", "polygon", "tile", "draw"):
        np.testing.assert_array_equal(getattr(back, name), getattr(samples, name))
    assert (back.bands, back.origin) == (samples.bands, "old_map")


def test_cog_keeps_values_colours_and_category_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    tile = Tile("31UFT", "EPSG:32631", TILE.transform, (700, 600))
    labels = rng.integers(0, 4, tile.shape).astype(np.uint8)
    path = tmp_path / "map.tif"
    with raster.CogWriter(
        path, tile, dtype="uint8", nodata=0, colormap={1: (215, 38, 61, 255)}, categories=["no data", "urban", "a<b", "c"]
    ) as out:
        for window in tile.windows(256):
            out.write(labels[window.row_off : window.row_off + window.height, window.col_off : window.col_off + window.width], window)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), labels)
        assert dataset.colormap(1)[1] == (215, 38, 61, 255)
        assert dataset.overviews(1) == [2, 4]
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert "<Category>a&lt;b</Category>" in out.sidecar.read_text()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["map.tif", "map.tif.aux.xml"]


def test_raster_on_s3_reads_like_a_file(s3: str, tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    with raster.CogWriter(path, TILE, dtype="uint8", nodata=0) as out:
        out.write(np.full(TILE.shape, 7, np.uint8), Window(0, 0, 200, 150))
    storage.upload(path, f"{s3}/maps/map.tif")
    assert (raster.read_on_grid(f"{s3}/maps/map.tif", TILE, Window(10, 10, 20, 20), fill=0) == 7).all()


def test_reading_on_the_own_grid_is_a_copy_and_outside_is_fill(tmp_path: Path) -> None:
    values = np.arange(TILE.shape[0] * TILE.shape[1], dtype=np.uint16).reshape(TILE.shape)
    path = tmp_path / "own.tif"
    with raster.CogWriter(path, TILE, dtype="uint16", nodata=None) as out:
        out.write(values, Window(0, 0, 200, 150))
    moved = Tile("t", TILE.crs, (10.0, 0.0, 650_000.0 - 30, 0.0, -10.0, 5_800_000.0 + 20), (10, 10))
    result = raster.read_on_grid(str(path), moved, fill=9)
    np.testing.assert_array_equal(result[2:, 3:], values[:8, :7])
    assert (result[:2] == 9).all()
    assert (result[:, :3] == 9).all()


def test_warped_reading_does_not_depend_on_the_window_cut(tmp_path: Path) -> None:
    coarse = Tile("t", "EPSG:32631", (20.0, 0.0, 650_000.0, 0.0, -20.0, 5_800_000.0), (75, 100))
    values = np.random.default_rng(4).integers(1, 9000, coarse.shape).astype(np.uint16)
    values[10:20, 10:20] = 0
    path = tmp_path / "coarse.tif"
    with raster.CogWriter(path, coarse, dtype="uint16", nodata=0) as out:
        out.write(values, Window(0, 0, 100, 75))
    for method in ("nearest", "bilinear"):
        whole = raster.read_on_grid(str(path), TILE, resampling=method, fill=0)
        parts = np.zeros_like(whole)
        for window in TILE.windows(37):
            rows, columns = slice(window.row_off, window.row_off + window.height), slice(window.col_off, window.col_off + window.width)
            parts[rows, columns] = raster.read_on_grid(str(path), TILE, window, resampling=method, fill=0)
        np.testing.assert_array_equal(whole, parts)
        if method == "nearest":
            np.testing.assert_array_equal(whole, np.kron(values, np.ones((2, 2), np.uint16)))
        else:
            assert abs(whole[61, 61] - np.average(values[30:32, 30:32], weights=[[9, 3], [3, 1]])) <= 0.5


def test_relative_hrefs_become_absolute() -> None:
    assert stac.absolute_href("./a/b.json", "/c/collection.json") == "/c/a/b.json"
    assert stac.absolute_href("../x.tif", "s3://bucket/p/q/item.json") == "s3://bucket/p/x.tif"
    assert stac.absolute_href("../x.tif?sig=1", "http://host/p/q/item.json") == "http://host/p/x.tif?sig=1"
    assert stac.absolute_href("s3://b/k", "/c/d.json") == "s3://b/k"


def test_unwritable_places_and_wrong_buckets_are_input_errors(s3: str, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("x")
    with pytest.raises(InputError, match="is no folder"):
        storage.check_writable(str(blocker / "deeper"))
    with pytest.raises(InputError, match="does not exist"):
        storage.check_writable("s3://no-such-bucket/x")
    with pytest.raises(InputError, match="cannot be written"):
        storage.write_bytes("http://127.0.0.1/x", b"")
