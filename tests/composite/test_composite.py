"""The whole step on small scenes written by hand: what a user would notice in the cube."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from landtide.composite import budget, engine, stream
from landtide.composite.mask import note_dropped
from landtide.composite.reducers import REDUCERS
from landtide.core.errors import InputError, LandtideError
from landtide.core.indices import read_indices
from landtide.core.period import Period
from landtide.core.study import Mask
from landtide.io import cube, storage
from landtide.io import raster as raster_io
from landtide.io.embedding import Embedding
from landtide.io.raster import open_raster

NO_GAPS = {"gaps": "none"}


def digests(manifest_item) -> dict[str, str]:
    """Digests of the cube's objects by name."""
    return {k: v for k, v in storage.read_json(manifest_item.assets["objects"].href).items() if k.startswith("cube.zarr")}


def whole(opened: cube.Cube) -> Window:
    return Window(0, 0, opened.tile.shape[1], opened.tile.shape[0])


def test_each_month_holds_the_median_of_its_own_acquisitions(run, write_raster, make_tile, item, asset):
    values = {"a": ("2021-03-02", 1000), "b": ("2021-03-12", 1400), "c": ("2021-03-31T23:59:59", 1100), "d": ("2021-05-01", 500)}
    items = [
        item(name, f"{day[:10]}T{day[11:] or '10:00:00'}Z", {"B04": asset(write_raster(name, np.full((4, 4), value, np.uint16)))})
        for name, (day, value) in values.items()
    ]
    opened, report, written = run(items, make_tile(4, 4), **NO_GAPS)
    series = opened.read(whole(opened))[:, 0, 0, 0]
    expected = np.full(12, np.nan)
    expected[2], expected[4] = 0.11, 0.05
    np.testing.assert_allclose(series, expected, atol=1e-6)
    assert opened.read_count(whole(opened))[:, 0, 0].tolist() == [0, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert [p["acquisitions"] for p in report["periods"]] == [0, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert [p["observed"] for p in report["periods"]][2:5] == [1.0, 0.0, 1.0]
    assert written.assets["cube"].media_type == "application/vnd+zarr"
    assert written.assets["cube"].extra_fields["bands"] == ["B04"]
    assert written.assets["cube"].extra_fields["periods"][:2] == ["2021-01", "2021-02"]


def test_gaps_are_filled_in_time_and_the_count_tells_them_apart(run, write_raster, make_tile, item, asset):
    march, may = np.full((2, 2), 1000, np.uint16), np.full((2, 2), 3000, np.uint16)
    march[1, 1] = may[1, 1] = 0  # never observed
    may[0, 1] = 0
    items = [
        item("a", "2021-03-10T10:00:00Z", {"B04": asset(write_raster("a", march))}),
        item("b", "2021-05-10T10:00:00Z", {"B04": asset(write_raster("b", may))}),
    ]
    opened, report, _ = run(items, make_tile(2, 2))
    composite, count = opened.read(whole(opened))[:, 0], opened.read_count(whole(opened))
    middles = [period.middle.toordinal() for period in opened.periods]
    np.testing.assert_allclose(composite[:, 0, 0], np.interp(middles, [middles[2], middles[4]], [0.1, 0.3]), atol=5e-5)
    np.testing.assert_allclose(composite[:, 0, 1], 0.1)
    assert np.isnan(composite[:, 1, 1]).all()
    assert count[:, 0, 0].tolist() == [0, 0, 1, 0, 1] + [0] * 7
    assert report["empty"] == 0.25


def test_a_mask_drops_its_codes_and_60_m_around_cloud_but_not_around_no_data(run, write_raster, make_tile, item, asset):
    scl = np.full((10, 10), 4, np.uint8)  # 20 m pixels
    scl[5, 5], scl[0, 0] = 9, 0
    band = np.full((20, 20), 1000, np.uint16)
    items = [
        item(
            "a",
            "2021-06-01T10:00:00Z",
            {"B04": asset(write_raster("a", band)), "SCL": asset(write_raster("scl", scl, size=20), nodata=None)},
        )
    ]
    opened, report, _ = run(items, make_tile(20, 20), mask=Mask(), **NO_GAPS)
    seen = opened.read_count(whole(opened))[5] == 1
    y, x = np.mgrid[:10, :10]
    expected = np.hypot(y - 5, x - 5) > 3
    expected[0, 0] = False
    np.testing.assert_array_equal(seen, expected.repeat(2, 0).repeat(2, 1))
    assert report["acquisitions"][0]["seen"] == pytest.approx(expected.mean())
    assert report["mask"]["dilate"] == 60.0


def test_any_mask_asset_works_and_its_no_data_counts_as_not_seen(run, write_raster, make_tile, item, asset):
    mask = np.zeros((30, 30), np.uint8)
    mask[10, 10], mask[29, 0] = 1, 255
    band = np.full((30, 30), 6000, np.int16)
    assets = {
        "NDVI": asset(write_raster("ndvi", band), nodata=-32768),
        "CLM": asset(write_raster("clm", mask), nodata=255),
    }
    opened, _, _ = run(
        [item("a", "2021-06-01T10:00:00Z", assets)], make_tile(30, 30), bands=("NDVI",), mask=Mask(asset="CLM", drop=[1], dilate=20.0)
    )
    y, x = np.mgrid[:30, :30]
    expected = np.hypot(y - 10, x - 10) > 2
    expected[29, 0] = False
    np.testing.assert_array_equal(opened.read_count(whole(opened))[5] == 1, expected)


def test_bits_of_a_mask_drop_pixels_and_its_fill_is_not_dilated(run, write_raster, make_tile, item, asset):
    """Fmask of Harmonized Landsat Sentinel-2: bit 1 cloud, 3 shadow, 5 water, 255 fill."""
    fmask = np.full((30, 30), 0b0010_0000, np.uint8)  # water stays
    fmask[10, 10], fmask[20, 5], fmask[29, 0] = 0b0100_0010, 0b1000, 255
    assets = {
        "B04": asset(write_raster("b", np.full((30, 30), 600, np.uint16))),
        "Fmask": asset(write_raster("fmask", fmask), nodata=255),
    }
    mask = Mask(asset="Fmask", bits=[1, 2, 3], dilate=20.0)
    opened, _, _ = run([item("a", "2021-06-01T10:00:00Z", assets)], make_tile(30, 30), mask=mask)
    y, x = np.mgrid[:30, :30]
    expected = (np.hypot(y - 10, x - 10) > 2) & (np.hypot(y - 20, x - 5) > 2)
    fill = np.hypot(y - 29, x - 0) == 0
    seen = opened.read_count(whole(opened))[5] == 1
    np.testing.assert_array_equal(seen, expected & ~fill)


def test_a_mask_in_another_projection_is_dilated_in_metres_too(write_raster, make_tile, tmp_path):
    import rasterio.warp

    tile = make_tile(60, 60)
    scl = np.full((60, 60), 4, np.uint8)
    scl[30, 30] = 9
    west, south, east, north = rasterio.warp.transform_bounds("EPSG:32633", "EPSG:3035", *tile.bounds)
    code = np.full((100, 100), 4, np.uint8)
    centre = rasterio.warp.transform("EPSG:32633", "EPSG:3035", [600305], [5099695])
    corner = ((west + east) / 2 - 500, (south + north) / 2 + 500)
    code[int((corner[1] - centre[1][0]) // 10), int((centre[0][0] - corner[0]) // 10)] = 9
    path = write_raster("scl", code, corner=corner, crs="EPSG:3035")
    with open_raster(path) as dataset:
        dropped = note_dropped(dataset, tile, (0, 60), Mask(), None, tmp_path / "bits").window(tile, Window(0, 0, 60, 60))
    y, x = np.mgrid[:60, :60]
    distance = np.hypot(y - 30, x - 30)
    assert dropped[distance < 4].all()
    assert not dropped[distance > 8].any()


def test_offsets_differ_from_item_to_item(run, write_raster, make_tile, item, asset):
    old, new = np.full((2, 2), 500, np.uint16), np.full((2, 2), 1500, np.uint16)
    items = [
        item("old", "2021-01-05T10:00:00Z", {"B04": asset(write_raster("old", old))}),
        item("new", "2021-02-05T10:00:00Z", {"B04": asset(write_raster("new", new), offset=-0.1)}),
    ]
    opened, _, _ = run(items, make_tile(2, 2))
    np.testing.assert_allclose(opened.read(whole(opened))[:2], 0.05, atol=1e-6)


def test_20_m_bands_are_interpolated_between_their_pixel_centres(run, write_raster, make_tile, item, asset):
    from scipy.interpolate import RegularGridInterpolator

    rng = np.random.default_rng(3)
    coarse = rng.integers(500, 4000, (8, 8)).astype(np.uint16)
    opened, _, _ = run(
        [item("a", "2021-01-05T10:00:00Z", {"B11": asset(write_raster("a", coarse, size=20))})], make_tile(16, 16), bands=("B11",)
    )
    centres = np.arange(8) * 20 + 10.0
    fine = np.clip(np.arange(16) * 10 + 5.0, 10, 150)  # beyond the outermost centres the value stays
    expected = RegularGridInterpolator((centres, centres), coarse)(np.stack(np.meshgrid(fine, fine, indexing="ij"), -1))
    np.testing.assert_allclose(opened.read(whole(opened))[0, 0], expected * 1e-4, atol=1.01e-4)


def test_no_data_of_a_20_m_band_does_not_darken_its_neighbours(run, write_raster, make_tile, item, asset):
    coarse = np.full((8, 8), 2000, np.uint16)
    coarse[3, 3] = 0
    opened, _, _ = run(
        [item("a", "2021-01-05T10:00:00Z", {"B11": asset(write_raster("a", coarse, size=20))})],
        make_tile(16, 16),
        bands=("B11",),
        **NO_GAPS,
    )
    values = opened.read(whole(opened))[0, 0]
    assert np.isnan(values[6:8, 6:8]).all()
    np.testing.assert_allclose(values[~np.isnan(values)], 0.2, atol=1e-6)
    assert np.isnan(values).sum() == 4


def scene(write_raster, item, asset, size: int, seed: int = 5) -> list[dict]:
    """Nine acquisitions of a 10 m band, a 20 m band and a mask; one covers half the tile, one lies in another zone's grid."""
    rng = np.random.default_rng(seed)
    items = []
    for n in range(9):
        rows = size // 2 if n == 4 else size
        fine = rng.integers(1, 9000, (rows, size)).astype(np.uint16)
        coarse = rng.integers(1, 9000, (-(-rows // 2), -(-size // 2))).astype(np.uint16)
        scl = np.where(rng.random(coarse.shape) < 0.01, 9, 4).astype(np.uint8)
        elsewhere = {"corner": (136000, 5112000), "crs": "EPSG:32634", "size": 20} if n == 7 else {"size": 20}
        assets = {
            "B01": asset(write_raster(f"sixty{n}", coarse[: -(-rows // 6), : -(-size // 6)], size=60)),
            "B04": asset(write_raster(f"fine{n}", fine), offset=-0.1 if n % 2 else 0.0),
            "B11": asset(write_raster(f"coarse{n}", coarse, **elsewhere)),
            "SCL": asset(write_raster(f"scl{n}", scl, **elsewhere), nodata=0),
        }
        items.append(item(f"item{n}", f"2021-{4 + n // 3:02d}-{3 + n % 3:02d}T10:00:00Z", assets))
    return items


@pytest.mark.parametrize("size", [600, 517])
def test_the_cut_into_blocks_workers_and_threads_does_not_change_a_byte(size, run, write_raster, make_tile, item, asset, monkeypatch):
    items = scene(write_raster, item, asset, size)
    tile = make_tile(size, size)
    options = {"bands": ("B01", "B04", "B11"), "mask": Mask()}
    once = digests(run(items, tile, **options)[2])
    assert digests(run(items, tile, **options)[2]) == once  # a second run
    assert digests(run(items, tile, **options, workers=3)[2]) == once  # threads
    monkeypatch.setattr(budget, "LARGEST", 128)
    in_small_blocks = digests(run(items, tile, **options)[2])
    in_processes = digests(run(items, tile, **options, workers=2, slabs=2)[2])
    assert len([name for name in once if "/composite/c/" in name]) == 25
    assert once == in_small_blocks == in_processes


def test_each_block_of_bands_and_masks_is_read_once(run, write_raster, make_tile, item, asset, monkeypatch):
    """Counted where rasters are read: GDAL decodes a block for every read that touches it, since each read opens the file anew."""
    reads: dict[tuple[str, int, int], int] = {}
    original = raster_io._read_boundless

    def counted(dataset, window, band, fill, nodata):
        rows, columns = dataset.block_shapes[0]
        for row in range(max(0, int(window.row_off)) // rows, -(-min(dataset.height, int(window.row_off + window.height)) // rows)):
            for column in range(
                max(0, int(window.col_off)) // columns, -(-min(dataset.width, int(window.col_off + window.width)) // columns)
            ):
                key = (dataset.name, row, column)
                reads[key] = reads.get(key, 0) + 1
        return original(dataset, window, band, fill, nodata)

    monkeypatch.setattr(raster_io, "_read_boundless", counted)
    monkeypatch.setattr(budget, "LARGEST", 256)
    rng = np.random.default_rng(0)
    assets = {
        "B04": asset(write_raster("fine", rng.integers(1, 9000, (700, 700)).astype(np.uint16))),
        "B11": asset(write_raster("coarse", rng.integers(1, 9000, (350, 350)).astype(np.uint16), size=20)),
        "SCL": asset(write_raster("scl", np.full((350, 350), 4, np.uint8), size=20)),
    }
    run([item("a", "2021-06-01T10:00:00Z", assets)], make_tile(700, 700), bands=("B04", "B11"), mask=Mask())
    assert len(reads) == 36 + 9 + 9
    assert set(reads.values()) == {1}


def test_blocks_shrink_with_the_memory_and_too_little_is_said(write_raster, item, asset, make_tile, tmp_path):
    uri, tile = str(tmp_path / "items.json"), make_tile(10980, 10980)
    storage.write_json(uri, {"type": "FeatureCollection", "features": scene(write_raster, item, asset, 16)})
    acquisitions = engine.read_acquisitions(uri, Period.of_year(2021).split("P1M"), ("B04", "B11"), None)
    header = stream.Header("uint16", 0.0, stream.Alignment(2, 0, 0), 2048)
    headers = [(header,) * 10] * len(acquisitions)
    load = budget.load_of(acquisitions, headers, tile.shape, 12, 10, 0, 2)
    assert [budget.cut_of(load, headers, memory * 2**30)[0] for memory in (8, 2, 1)] == [2048, 1024, 512]
    year = budget.load_of(acquisitions, headers, tile.shape, 12, 10, 2, 2)
    assert year.memory(1024) - load.memory(1024) == 1025**2 * len(acquisitions) * 5  # two bands of int16 and a mark
    with pytest.raises(InputError, match=r"compute.memory .* is too small for 10 bands, 12 steps"):
        budget.cut_of(load, headers, 2**28)


def test_a_damaged_acquisition_is_left_out_and_named(run, write_raster, make_tile, item, asset, caplog):
    rng = np.random.default_rng(0)
    paths = [Path(write_raster(f"a{n}", rng.integers(1, 9000, (300, 300)).astype(np.uint16))) for n in range(3)]
    items = [item(f"S2_{n}", f"2021-06-0{n + 1}T10:00:00Z", {"B04": asset(str(path))}) for n, path in enumerate(paths)]
    expected = digests(run([items[0], items[2]], make_tile(300, 300))[2])
    paths[1].write_bytes(paths[1].read_bytes()[:100_000])  # its last blocks are gone
    _, report, written = run(items, make_tile(300, 300))
    assert digests(written) == expected
    assert [one["id"] for one in report["left_out"]] == ["S2_1"]
    assert "left out: acquisition S2_1, asset B04" in caplog.text
    paths[0].unlink()
    paths[2].write_bytes(b"")
    with pytest.raises(LandtideError, match="no readable acquisition in 2021"):
        run(items, make_tile(300, 300))


def test_an_item_without_a_band_is_named(run, write_raster, make_tile, item, asset):
    path = write_raster("a", np.ones((4, 4), np.uint16))
    with pytest.raises(LandtideError, match="item a has no asset 'B08'"):
        run([item("a", "2021-06-01T10:00:00Z", {"B04": asset(path)})], make_tile(4, 4), bands=("B08",))


def test_a_year_without_acquisitions_is_the_users_to_know(run, write_raster, make_tile, item, asset):
    path = write_raster("a", np.ones((4, 4), np.uint16))
    with pytest.raises(InputError, match="no acquisition in 2020"):
        run([item("a", "2021-06-01T10:00:00Z", {"B04": asset(path)})], make_tile(4, 4), year=2020)


def test_a_span_of_time_counts_by_its_middle(run, write_raster, make_tile, item, asset):
    path = write_raster("a", np.full((4, 4), 700, np.uint16))
    opened, _, _ = run([item("a", "2021-05-25T00:00:00Z/2021-06-20T00:00:00Z", {"B04": asset(path)})], make_tile(4, 4))
    assert opened.read_count(whole(opened))[:, 0, 0].argmax() == 5


def test_seasons_are_a_setting(run, write_raster, make_tile, item, asset):
    items = [
        item(f"m{n}", f"2021-{n:02d}-15T10:00:00Z", {"B04": asset(write_raster(f"m{n}", np.full((4, 4), 100 * n, np.uint16)))})
        for n in range(1, 13)
    ]
    opened, _, _ = run(items, make_tile(4, 4), period="P3M")
    np.testing.assert_allclose(opened.read(whole(opened))[:, 0, 0, 0], [0.02, 0.05, 0.08, 0.11], atol=1e-6)


def test_slovenia_equals_numpy_on_its_own_grid(run, shared, make_tile, item, asset):
    """NDVI with a cloud mask on pixels of 9.99 m: the grid of the catalog is used as it is."""
    import datetime

    import rasterio
    from scipy.ndimage import distance_transform_edt

    from landtide.core.tile import Tile

    folder = shared / "catalogs" / "slovenia" / "items"
    names = sorted(path.name for path in folder.iterdir() if path.name.startswith("slovenia_2016"))
    assert len(names) > 10
    with rasterio.open(folder / names[0] / "NDVI.tif") as dataset:
        tile = Tile("slovenia", str(dataset.crs), tuple(dataset.transform)[:6], dataset.shape)
    items, stack, months = [], [], []
    for name in names:
        record = json.loads((folder / name / f"{name}.json").read_text())
        when = record["properties"]["datetime"]
        assets = {
            "NDVI": asset(str(folder / name / "NDVI.tif"), nodata=-32768),
            "CLM": asset(str(folder / name / "CLM.tif"), nodata=255),
        }
        items.append(item(name, when, assets))
        months.append(datetime.datetime.fromisoformat(when).month)
        with rasterio.open(folder / name / "NDVI.tif") as ndvi, rasterio.open(folder / name / "CLM.tif") as clm:
            cloud = clm.read(1) == 1
            near = distance_transform_edt(~cloud, sampling=(9.99744846736, 9.99479222)) <= 60 if cloud.any() else cloud
            stack.append(np.where(near, np.nan, ndvi.read(1) * 1e-4))
    opened, report, _ = run(items, tile, 2016, bands=("NDVI",), mask=Mask(asset="CLM", drop=[1], dilate=60.0), **NO_GAPS)
    composite, count = opened.read(whole(opened))[:, 0], opened.read_count(whole(opened))
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(RuntimeWarning)
        for month in range(1, 13):
            members = np.array([layer for layer, when in zip(stack, months, strict=True) if when == month])
            expected = np.nanmedian(members, axis=0) if len(members) else np.full(tile.shape, np.nan)
            np.testing.assert_allclose(composite[month - 1], expected, atol=1e-4)
            np.testing.assert_array_equal(count[month - 1], (~np.isnan(members)).sum(axis=0) if len(members) else 0)
    assert opened.tile == tile
    assert sum(p["acquisitions"] for p in report["periods"]) == len(names)


PEAK = """
import sys
from landtide.composite.acquisitions import read_acquisitions
from landtide.composite import budget, engine
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.core.tile import Tile
from landtide.io import manifest
from landtide.launch.workers import open_pool

items, size, work = sys.argv[1], int(sys.argv[2]), sys.argv[3]
budget.LARGEST = 256
tile = Tile("33TVM", "EPSG:32633", (10.0, 0.0, 600000.0, 0.0, -10.0, 5100000.0), (size, size))
key = manifest.Key(work, "s", "composite", "33TVM", "2021", str(size))
with open_pool(1, 1, 2**30) as pool, manifest.writing(key, tile=tile, period=Period.of_year(2021)) as out:
    engine.build(items, tile, 2021, bands=("B04", "B11"), mask=Mask(), settings=Composite(), memory=2**30, out=out, pool=pool)
# of this process alone: ru_maxrss would start with the peak of the process that started it
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024)
"""


def test_memory_does_not_grow_with_the_tile(write_raster, tmp_path, item, asset):
    uri = str(tmp_path / "items.json")
    storage.write_json(uri, {"type": "FeatureCollection", "features": scene(write_raster, item, asset, 1024)})

    def peak(size: int) -> float:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, uri, str(size), str(tmp_path / "work")], capture_output=True, text=True, check=True
        )
        return float(done.stdout)

    small, large = peak(512), peak(1024)  # the cube alone would take 47 MiB more
    assert large < small + 25, (small, large)


def test_a_fully_masked_block_needs_no_band(run, write_raster, make_tile, tmp_path, item, asset):
    """Clouds that cover everything save the reading: even pixels that are gone are not missed."""
    tile = make_tile(128, 128)
    assets = {"B04": asset(str(tmp_path / "gone.tif")), "SCL": asset(write_raster("scl", np.full((64, 64), 9, np.uint8), size=20))}
    with pytest.raises(LandtideError, match="no readable acquisition"):
        run([item("a", "2021-06-01T10:00:00Z", assets)], tile, mask=Mask())  # a header is always read
    write_raster("gone", np.zeros((128, 128), np.uint16), blockxsize=64, blockysize=64)
    data = (tmp_path / "gone.tif").read_bytes()
    (tmp_path / "gone.tif").write_bytes(data[:2000])  # the header is there, the pixels are not
    opened, report, _ = run([item("a", "2021-06-01T10:00:00Z", assets)], tile, mask=Mask())
    assert report["empty"] == 1.0
    assert report["left_out"] == []
    assert (opened.read_count(whole(opened)) == 0).all()


@pytest.mark.parametrize("method", ["medoid", "geomedian"])
def test_the_asked_method_reduces_the_observations(method, run, make_tile, write_raster, item, asset):
    tile = make_tile(130, 140)
    rng = np.random.default_rng(0)
    series = rng.integers(500, 4000, (5, 2, *tile.shape)).astype(np.uint16)
    items = [
        item(
            f"i{n}", f"2021-06-0{n + 1}T10:00:00Z", {b: asset(write_raster(f"{b}-{n}", series[n, k])) for k, b in enumerate(["B04", "B08"])}
        )
        for n in range(5)
    ]
    made, _, _ = run(items, tile, bands=("B04", "B08"), method=method, period="P1Y")
    expected = np.zeros((2, 130 * 140), np.int16)
    REDUCERS[method](series.reshape(5, 2, -1).astype(np.int16), expected, np.zeros(130 * 140, np.uint8), slice(0, 130 * 140))
    np.testing.assert_array_equal(made.read_digital(Window(0, 0, 140, 130))[0].reshape(2, -1), expected)


def test_seasons_of_three_months_may_begin_in_december(run, write_raster, make_tile, item, asset):
    months = [(2020, 12), *((2021, month) for month in range(1, 13))]
    items = [
        item(f"m{n}", f"{year}-{month:02d}-15T10:00:00Z", {"B04": asset(write_raster(f"m{n}", np.full((4, 4), 100 * n + 100, np.uint16)))})
        for n, (year, month) in enumerate(months)
    ]
    opened, report, _ = run(items, make_tile(4, 4), period="P3M", first_month=12)
    np.testing.assert_allclose(opened.read(whole(opened))[:, 0, 0, 0], [0.02, 0.05, 0.08, 0.11], atol=1e-6)
    assert [period["acquisitions"] for period in report["periods"]] == [3, 3, 3, 3]
    assert opened.year == 2021
    assert opened.doy.tolist() == [15, 106, 198, 289]


def test_sixteen_days_give_23_steps(run, write_raster, make_tile, item, asset):
    items = [
        item(f"d{n}", f"2021-{day}T10:00:00Z", {"B04": asset(write_raster(f"d{n}", np.full((4, 4), value, np.uint16)))})
        for n, (day, value) in enumerate([("01-16", 100), ("01-17", 200), ("12-31", 300)])
    ]
    opened, _, _ = run(items, make_tile(4, 4), period="P16D", **NO_GAPS)
    series = opened.read(whole(opened))[:, 0, 0, 0]
    assert len(series) == 23
    np.testing.assert_allclose(series[[0, 1, 22]], [0.01, 0.02, 0.03], atol=1e-6)


def test_indices_follow_the_bands_and_agree_with_them(run, write_raster, make_tile, item, asset):
    rng = np.random.default_rng(3)
    items = [
        item(
            f"i{n}",
            f"2021-{n + 1:02d}-05T10:00:00Z",
            {
                name: asset(write_raster(f"{name}-{n}", rng.integers(0, 5000, (140, 140)).astype(np.uint16)))
                for name in ("B04", "B08", "B11")
            },
        )
        for n in range(0, 12, 2)
    ]
    indices = read_indices(["NDVI", "NDMI", {"HUGE": "B08 * 100"}])
    opened, report, written = run(items, make_tile(140, 140), bands=("B04", "B08"), indices=indices)
    assert opened.bands == ("B04", "B08", "NDVI", "NDMI", "HUGE")
    values = opened.read(whole(opened))
    red, nir = values[:, 0].astype(np.float64), values[:, 1].astype(np.float64)
    np.testing.assert_allclose(values[:, 2], (nir - red) / (nir + red), atol=5.1e-5)
    all_three, _, _ = run(items, make_tile(140, 140), bands=("B04", "B08", "B11"))
    np.testing.assert_array_equal(all_three.read_digital(whole(opened))[:, :2], opened.read_digital(whole(opened))[:, :2])
    short = all_three.read(whole(opened))[:, 2].astype(np.float64)
    np.testing.assert_allclose(values[:, 3], (nir - short) / (nir + short), atol=5.1e-5)
    np.testing.assert_array_equal(np.isnan(values[:, 4]), np.isnan(nir) | (np.rint(nir * 1e6) > 32767))
    assert report["indices"]["NDVI"] == "(B08 - B04) / (B08 + B04)"
    assert written.assets["cube"].extra_fields["bands"][2:] == ["NDVI", "NDMI", "HUGE"]


@pytest.mark.parametrize("workers", [1, 2])
def test_embeddings_stand_at_every_observed_step(workers, run, write_raster, make_tile, item, asset, tmp_path):
    rng = np.random.default_rng(4)
    rasters = [rng.integers(1, 5000, (300, 140)).astype(np.uint16) for _ in range(3)]
    for raster in rasters[1:]:
        raster[:40] = 0
    rasters[0][:20, :20] = 0
    days = ("2021-02-05", "2021-05-05", "2021-09-05")
    items = [item(day, f"{day}T10:00:00Z", {"B04": asset(write_raster(day, raster))}) for day, raster in zip(days, rasters, strict=True)]
    told = rng.integers(-127, 128, (3, 160, 80)).astype(np.int8)
    told[:, 5, 7] = -128
    path, grid = str(tmp_path / "embedding.tif"), rasterio.Affine(20, 0, 599_980, 0, -20, 5_100_020)  # begins one pixel of its own before
    with rasterio.open(
        path, "w", driver="GTiff", width=80, height=160, count=3, dtype="int8", nodata=-128, crs="EPSG:32633", transform=grid
    ) as dataset:
        dataset.write(told)
    embedding = Embedding(path, ("E001", "E002", "E003"), 1 / 127, 0.0)
    opened, _, _ = run(items, make_tile(300, 140), workers=workers, slabs=workers, embedding=embedding, gaps="none")
    assert opened.bands == ("B04", "E001", "E002", "E003")
    values = opened.read(whole(opened))  # (T, C, h, w)
    seen = ~np.isnan(values[:, 0])
    expected = np.where(told == -128, np.nan, told / 127)[:, 1:, 1:].repeat(2, 1).repeat(2, 2)[:, :300, :140]
    for step in range(12):
        np.testing.assert_allclose(values[step, 1:], np.where(seen[step], expected, np.nan), atol=5.1e-5)
    assert seen.any(axis=(1, 2)).tolist() == [month in (2, 5, 9) for month in range(1, 13)]
