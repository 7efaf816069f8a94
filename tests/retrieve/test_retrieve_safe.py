"""Folders of Sentinel-2 products: metadata of real products, pixels of synthetic ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from made import TILE, make_study, run_fetch
from made_safe import product_name, write_safe, zipped
from rasterio.windows import Window

from landtide.core.errors import InputError
from landtide.io import storage
from landtide.io.raster import read_on_grid
from landtide.retrieve import check, items, resolve_tiles, safe, source_ids
from landtide.retrieve.radiometry import decide
from landtide.retrieve.search import find

HALF = (TILE.shape[0] // 2, TILE.shape[1] // 2)
"""Rows and columns at 20 m."""


def images(seed: int, lift: int = 1000) -> dict[str, np.ndarray]:
    """Clear dark vegetation, with the offset of the baseline in the numbers or not."""
    draw = np.random.default_rng(seed)
    found = {name: draw.normal(level, 20, TILE.shape) + lift for name, level in (("B02", 300), ("B04", 400), ("B08", 3500))}
    found["B11"] = draw.normal(1800, 20, HALF) + lift
    return {name: array.astype(np.uint16) for name, array in found.items()} | {"SCL": np.full(HALF, 4, np.uint8)}


def study_of(folder: Path, home: Path, **keys):
    return make_study(home, **{"source": {"folder": str(folder)}, "bands": ["B02", "B04", "B08", "B11"], "mask": {"asset": "SCL"}, **keys})


# baseline, offset of all bands, cloud cover in per cent: read in the files by hand
REAL = {
    "S2A_MSIL2A_20150826T185436_N0212_R070_T11SLT_20210412T023147": ("02.12", 0.0, 3.113053),
    "S2A_MSIL2A_20190212T192651_N0212_R013_T07HFE_20201007T160857": ("02.12", 0.0, 51.580326),
    "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCS_20230626T022157": ("05.09", -0.1, 83.930558),
    "S2A_MSIL2A_20230821T221941_N0509_R029_T01KAB_20230822T021825": ("05.09", -0.1, 59.050727),
    "S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500": ("02.14", 0.0, 0.447807),
    "S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126": ("04.00", -0.1, 98.944211),
}


@pytest.mark.parametrize("name", sorted(REAL))
def test_metadata_of_real_products_give_grid_clouds_and_radiometry(shared: Path, name: str):
    (home,) = (shared / "data/s2_metadata").glob(f"{name}*")
    files = {path.relative_to(home).as_posix(): str(path) for path in home.rglob("*") if path.is_file()}
    granule = next(path for path in files if path.endswith("MTD_TL.xml")).removesuffix("MTD_TL.xml").rstrip("/") or "GRANULE/L2A"
    tile = name[38:44]
    for band in ("B04_10m", "B8A_20m", "B09_60m", "SCL_20m"):  # the images themselves are not there
        files[f"{granule}/IMG_DATA/R{band[-3:]}/{tile}_{name[11:26]}_{band}.jp2"] = f"/nowhere/{band}.jp2"
    item = safe.product_item(safe.Product(name, files, storage.read_bytes))
    baseline, offset, clouds = REAL[name]
    assert item.id == name
    assert f"{items.baseline(item):05.2f}" == baseline
    assert items.cloud_cover(item) == pytest.approx(clouds)
    assert items.mgrs_name(item) == tile.removeprefix("T")
    for key in ("B04_10m", "B8A_20m", "B09_60m"):
        told = decide(item, key)
        assert (told.scale, told.offset, told.certain) == (pytest.approx(1e-4), pytest.approx(offset), True)
    assert item.assets["B04_10m"].extra_fields["proj:shape"] == [10980, 10980]
    assert item.assets["B09_60m"].extra_fields["proj:shape"] == [1830, 1830]
    assert items.packing(item.assets["B04_10m"])["nodata"] == 0


def test_real_checksums_of_the_manifest_stand_with_the_assets(shared: Path):
    name = "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCS_20230626T022157"
    home = shared / "data/s2_metadata" / f"{name}.SAFE"
    files = {path.relative_to(home).as_posix(): str(path) for path in home.rglob("*") if path.is_file()}
    sums = safe._checksums(safe.Product(name, files, storage.read_bytes))
    assert sums["MTD_MSIL2A.xml"] == "16200719acd7c8217fd781337bc093c37e26032dae19f0c485553827d029a2c61b7b"
    assert sum(path.endswith(".jp2") for path in sums) > 30


@pytest.mark.parametrize("zip_it", [False, True])
def test_a_product_gives_its_pixels_and_its_radiometry(tmp_path: Path, zip_it: bool):
    made = {"20200501": images(1), "20200511": images(2), "20200521": images(3, lift=0)}
    for day, bands in made.items():
        home = write_safe(tmp_path / "products", day, bands, baseline="02.14" if day == "20200521" else "05.10")
        if zip_it:
            zipped(home)
    study = study_of(tmp_path / "products", tmp_path)
    (tile,) = resolve_tiles(study)
    assert (tile.name, tile.transform, tile.shape) == (TILE.name, TILE.transform, TILE.shape)
    features, report, _ = run_fetch(study, tile, 2020)
    assert [feature["id"] for feature in features] == [product_name(day, "0214" if day == "20200521" else "0510") for day in made]
    assert report["set_aside"] == []
    for feature, (day, bands) in zip(features, made.items(), strict=True):
        for name, array in bands.items():
            asset = feature["assets"][name]
            with rasterio.open(asset["href"]) as dataset:
                assert dataset.driver == "GTiff"  # decoded once, here
                assert np.array_equal(dataset.read(1), array)
            if name != "SCL":
                assert (asset["raster:scale"], asset["raster:offset"]) == (1e-4, 0.0 if day == "20200521" else -0.1)
                assert asset["nodata"] == 0


def test_jp2_is_decoded_once_whatever_is_asked_again(tmp_path: Path):
    home = write_safe(tmp_path / "products", "20200501", images(1))
    study = study_of(tmp_path / "products", tmp_path)
    (tile,) = resolve_tiles(study)
    before, _, _ = run_fetch(study, tile, 2020)
    for path in home.rglob("*.jp2"):
        path.write_bytes(b"gone")  # what names its content is the manifest's checksum, so the copies still count
    after, _, _ = run_fetch(study, tile, 2020)
    assert [feature["assets"] for feature in after] == [feature["assets"] for feature in before]


def test_products_of_both_baselines_become_one_series_of_reflectance(tmp_path: Path):
    from landtide import steps
    from landtide.io import manifest
    from landtide.io.cube import open_cube

    for day, lift, baseline in (("20200505", 1000, "05.10"), ("20200615", 0, "02.14")):
        write_safe(tmp_path / "products", day, images(5, lift=lift), baseline=baseline)
    study = study_of(tmp_path / "products", tmp_path, compute={"workers": 1}, composite={"period": "P1M", "gaps": "none"})
    (tile,) = resolve_tiles(study)
    uri = str(tmp_path / "run" / "study.json")
    storage.write_json(uri, {"study": study.model_dump(mode="json", by_alias=True)})
    (cube_uri,) = json.loads(steps.composite(uri, steps.retrieve(uri, tile.name))).values()
    cube = open_cube(manifest.read(cube_uri).assets["cube"].href)
    series = cube.read(Window(0, 0, tile.shape[1], tile.shape[0]))[:, cube.bands.index("B04")]
    may, june = series[4], series[5]
    assert np.nanmax(np.abs(may - june)) < 1e-6
    assert np.allclose(may, (images(5)["B04"] - 1000.0) / 10_000, atol=1e-6)


def test_only_the_window_of_a_product_is_kept(tmp_path: Path):
    bands = images(1)
    write_safe(tmp_path / "products", "20200501", bands)
    west, south, east, north = TILE.lonlat_bounds()
    middle = [west + (east - west) / 3, south + (north - south) / 3, east - (east - west) / 3, north - (north - south) / 3]
    study = study_of(tmp_path / "products", tmp_path, area={"bbox": middle})
    (tile,) = resolve_tiles(study)
    assert tile.shape[0] < TILE.shape[0]
    features, _, _ = run_fetch(study, tile, 2020)
    href = features[0]["assets"]["B04"]["href"]
    row, column = (round((TILE.bounds[3] - tile.bounds[3]) / 10), round((tile.bounds[0] - TILE.bounds[0]) / 10))
    assert np.array_equal(read_on_grid(href, tile, fill=0), bands["B04"][row : row + tile.shape[0], column : column + tile.shape[1]])
    with rasterio.open(href) as dataset:
        assert dataset.shape == tile.shape


def test_damaged_products_are_named_and_the_others_go_on(tmp_path: Path):
    folder = tmp_path / "products"
    for day in ("20200501", "20200511", "20200521", "20200531"):
        write_safe(folder, day, images(int(day)))
    cut = next((folder / f"{product_name('20200501')}.SAFE").rglob("*_B04_10m.jp2"))
    cut.write_bytes(cut.read_bytes()[:300])
    (folder / f"{product_name('20200511')}.SAFE" / "MTD_MSIL2A.xml").write_text("<cut")
    archive = zipped(folder / f"{product_name('20200521')}.SAFE")
    archive.write_bytes(archive.read_bytes()[:2000])
    study = study_of(folder, tmp_path)
    features, report, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert [feature["id"] for feature in features] == [product_name("20200531")]
    told = {one["id"]: one["reason"] for one in report["set_aside"]}
    assert "has another checksum than its catalog gives" in told[product_name("20200501")]
    assert "metadata of product" in told[product_name("20200511")]
    assert "is damaged" in told[product_name("20200521")]


def test_a_jp2_that_does_not_decode_sets_its_acquisition_aside(tmp_path: Path):
    folder = tmp_path / "products"
    for day in ("20200501", "20200511"):
        home = write_safe(folder, day, images(int(day)))
        (home / "manifest.safe").unlink()  # nothing but decoding tells
    path = next((folder / f"{product_name('20200501')}.SAFE").rglob("*_B04_10m.jp2"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(bytes(data[: len(data) * 2 // 3]))
    study = study_of(folder, tmp_path)
    features, report, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert [feature["id"] for feature in features] == [product_name("20200511")]
    assert [(one["id"], "cannot be decoded" in one["reason"]) for one in report["set_aside"]] == [(product_name("20200501"), True)]


def test_a_newer_processing_of_the_same_pass_wins(tmp_path: Path):
    write_safe(tmp_path / "products", "20200501", images(1, lift=0), baseline="02.14")
    write_safe(tmp_path / "products", "20200501", images(1), baseline="05.10")
    study = study_of(tmp_path / "products", tmp_path)
    (tile,) = resolve_tiles(study)
    found = find(study, tile, 2020)
    assert [one.item.id for one in found.acquisitions] == [product_name("20200501", "0510")]
    assert len(source_ids(study, tile, 2020)) == 1


def test_a_plan_knows_a_folders_sizes(tmp_path: Path):
    home = write_safe(tmp_path / "products", "20200501", images(1))
    sizes = sum(path.stat().st_size for path in home.rglob("*.jp2"))
    assert check(_with_map(tmp_path)).planned[0].bytes == sizes


def _with_map(home: Path):
    with rasterio.open(home / "map.tif", "w", driver="GTiff", height=40, width=50, count=1, dtype="uint8", crs=TILE.crs,
                       transform=TILE.affine, nodata=0) as out:  # fmt: skip
        out.write(np.full((40, 50), 10, np.uint8), 1)
    old_map = {"uri": str(home / "map.tif"), "year": 2018, "crosswalk": "worldcover"}
    return study_of(home / "products", home, points=None, old_map=old_map, legend="landtide8")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no Sentinel-2 Level-2A product"),
        (["S2A_MSIL1C_X.SAFE/MTD_MSIL1C.xml"], "Level-1C products only"),
        (["a.tif"], r"source\.pattern, such as"),
    ],
)
def test_a_folder_without_a_product_says_what_it_holds(tmp_path: Path, files: list[str], message: str):
    folder = tmp_path / "products"
    folder.mkdir()
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    with pytest.raises(InputError, match=message):
        resolve_tiles(study_of(folder, tmp_path))


def test_a_missing_folder_is_the_users_error(tmp_path: Path):
    with pytest.raises(InputError, match=r"source\.folder .* does not exist"):
        resolve_tiles(study_of(tmp_path / "none", tmp_path))
