"""Plain GeoTIFFs: what their names mean, what their numbers mean."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from made import TILE, make_study, red, run_fetch, write_tiff

from landtide.core.errors import InputError
from landtide.retrieve import resolve_tiles
from landtide.retrieve.search import find
from landtide.retrieve.series import compiled


def study_of(home: Path, pattern: str, **source):
    keys = {name: source.pop(name) for name in ("bands", "mask", "years") if name in source}
    return make_study(home, **{"source": {"folder": str(home / "images"), "pattern": pattern, **source}, **keys})


def test_a_file_a_band_and_date_gives_an_item_a_date(tmp_path: Path):
    for date in ("20200501", "20200511"):
        for seed, band in enumerate(("B04", "B08")):
            write_tiff(tmp_path / "images" / date / f"{date}_{band}.tif", red(int(date) + seed), TILE)
    study = study_of(tmp_path, "{date}_{band}.tif", bands=["B04", "B08"], scale=1e-4)
    (tile,) = resolve_tiles(study)
    assert (tile.transform, tile.shape) == (TILE.transform, TILE.shape)
    features, _, _ = run_fetch(study, tile, 2020)
    assert [feature["properties"]["datetime"][:10] for feature in features] == ["2020-05-01", "2020-05-11"]
    asset = features[1]["assets"]["B08"]
    assert (asset["raster:scale"], asset["raster:offset"]) == (1e-4, 0.0)
    with rasterio.open(asset["href"]) as dataset:
        assert np.array_equal(dataset.read(1), red(20200512))


def test_names_of_sits_tell_satellite_tile_and_date(tmp_path: Path):
    for band in ("B04", "CLOUD"):
        write_tiff(tmp_path / "images" / f"SENTINEL-2_MSI_31UFS_{band}_2020-05-01.tif", red(1), TILE)
    pattern = "{satellite}_{sensor}_{tile}_{band}_{date}.tif"
    study = study_of(tmp_path, pattern, mask={"asset": "CLOUD", "drop": [3]})
    (tile,) = resolve_tiles(study)
    assert tile.name == "31UFS"
    (one,) = find(study, tile, 2020).acquisitions
    assert one.item.properties["platform"] == "sentinel-2"
    features, report, _ = run_fetch(study, tile, 2020)
    assert features[0]["assets"]["B04"]["raster:scale"] == 1e-4  # of Sentinel-2, by its name
    assert report["mask"] == "CLOUD"


def test_bands_of_one_file_a_date_are_told_in_order(tmp_path: Path):
    stack = np.stack([red(seed) for seed in range(3)])
    path = tmp_path / "images" / "scene_2020122_x.tif"
    path.parent.mkdir()
    profile = {"driver": "GTiff", "count": 3, "height": TILE.shape[0], "width": TILE.shape[1], "dtype": "uint16", "nodata": 0}
    with rasterio.open(path, "w", crs=TILE.crs, transform=TILE.affine, **profile) as out:
        out.write(stack)
        out.scales, out.offsets = (1e-4, 1e-4, 2e-4), (0, 0, -0.1)
    study = study_of(tmp_path, "scene_{date}_{any}.tif", order=["blue", "green", "red"], bands=["B04", "B02"])
    features, _, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert features[0]["properties"]["datetime"].startswith("2020-05-01")  # the 122nd day
    red_asset, blue_asset = (features[0]["assets"][name] for name in ("B04", "B02"))
    assert (red_asset["raster:scale"], red_asset["raster:offset"]) == (2e-4, -0.1)
    for asset, band in ((red_asset, 2), (blue_asset, 0)):
        with rasterio.open(asset["href"]) as dataset:
            assert dataset.count == 1
            assert np.array_equal(dataset.read(1), stack[band])


def test_floats_are_values_and_whole_numbers_without_scale_are_refused(tmp_path: Path):
    write_tiff(tmp_path / "images/2020-05-01_B04.tif", red(1).astype(np.float32) / 10_000, TILE, nodata=np.nan)
    write_tiff(tmp_path / "images/2020-05-11_B04.tif", red(1), TILE)
    study = study_of(tmp_path, "{date}_{band}.tif")
    features, report, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert [(feature["id"], feature["assets"]["B04"]["raster:scale"]) for feature in features] == [("2020-05-01", 1.0)]
    assert "no scale declared" in report["set_aside"][0]["reason"]


@pytest.mark.parametrize(
    ("names", "pattern", "message"),
    [
        (["a.tif"], "{date}_{band}.tif", r"no file of source\.folder .* fits .* \(its first is a\.tif"),
        (["20201341_B04.tif"], "{date}_{band}.tif", "20201341 in its name is no date"),
        (["x/20200501_B04.tif", "y/20200501_B04.tif"], "{date}_{band}.tif", "both hold B04"),
        (["a.tif"], "{day}_{band}.tif", "unknown field {day}"),
        (["a.tif"], "{band}.tif", "{date} must stand once"),
    ],
)
def test_names_that_do_not_fit_are_the_users_error(tmp_path: Path, names: list[str], pattern: str, message: str):
    for name in names:
        write_tiff(tmp_path / "images" / name, red(1), TILE)
    with pytest.raises(InputError, match=message):
        resolve_tiles(study_of(tmp_path, pattern))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"pattern": "{date}.tif"}, "give the files' bands in order"),
        ({"pattern": "{date}_{band}.tif", "order": ["B04"]}, "bands in order"),
        ({"scale": 1e-4}, "scale are for plain GeoTIFFs"),
        ({"catalog": "c.json"}, "exactly one of catalog, api, folder"),
    ],
)
def test_keys_that_contradict_each_other_are_named(tmp_path: Path, source: dict, message: str):
    with pytest.raises(InputError, match=message):
        make_study(tmp_path, source={"folder": "images", **source})


def test_a_field_that_stands_twice_must_agree():
    assert compiled("{tile}/{date}_{tile}_{band}.tif").fullmatch("T31/20200501_T31_B04.tif")
    assert not compiled("{tile}/{date}_{tile}_{band}.tif").fullmatch("T31/20200501_T32_B04.tif")
