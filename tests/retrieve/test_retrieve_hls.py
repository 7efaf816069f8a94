"""HLS v2 as one virtual constellation. The answers are synthetic: laid out as CMR-STAC's, with the packing of the HLS user guide."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from made import make_study, run_fetch, write_tiff

from landtide.core.study import parse_study
from landtide.core.tile import mgrs_tile
from landtide.io.raster import read_on_grid
from landtide.retrieve import api, hls, items, place, resolve_tiles
from landtide.retrieve.radiometry import decide
from landtide.retrieve.search import find

FULL = place.coarsened(mgrs_tile("31UFS"), 30)
PART = FULL.crop(rasterio.windows.Window(100, 100, 40, 30))
"""Where the synthetic images lie: a part of the tile, so that they are small."""

BANDS = {
    "L30": ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09", "B10", "B11", "Fmask"],
    "S30": ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12", "Fmask"],
}
WAVELENGTHS = {  # nm; Source: HLS user guide, table of spectral bands
    "L30": {"B02": 482, "B03": 561, "B04": 655, "B05": 865, "B06": 1609, "B07": 2201, "B10": 10_895, "B11": 12_005},
    "S30": {"B02": 490, "B03": 560, "B04": 665, "B08": 842, "B8A": 865, "B11": 1610, "B12": 2190},
}
LIKE = {name: value for name, value in WAVELENGTHS["S30"].items() if name != "B08"}


def granule(sensor: str, day: int, minute: int = 50) -> str:
    return f"HLS.{sensor}.T31UFS.2020{day:03}T10{minute:02}31.v2.0"


def record(sensor: str, day: int, home: str, minute: int = 50) -> dict:
    """An item as CMR-STAC gives it: no grid, no scale, no platform."""
    name = granule(sensor, day, minute)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.0.0/schema.json"],
        "id": name,
        "collection": f"HLS{sensor}_2.0",
        "geometry": PART.footprint(),
        "bbox": list(PART.lonlat_bounds()),
        "properties": {"datetime": f"2020-05-{day - 121:02}T10:{minute}:31.000Z", "eo:cloud_cover": 7},
        "links": [],
        "assets": {key: {"href": f"{home}/{name}.{key}.tif", "type": "image/tiff"} for key in BANDS[sensor]},
    }


def value(sensor: str, band: str) -> int:
    """A number that tells where it is from: the wavelength in nm."""
    return WAVELENGTHS[sensor].get(band, 1)


def write_granule(folder: Path, sensor: str, day: int, minute: int = 50) -> None:
    for key in BANDS[sensor]:
        path = folder / f"{granule(sensor, day, minute)}.{key}.tif"
        if key == "Fmask":
            clear = np.zeros(PART.shape, np.uint8)
            clear[:5], clear[5:7], clear[-1] = 0b0000_0010, 0b1100_0000, 255  # cloud, high aerosol, fill
            write_tiff(path, clear, PART, nodata=255)
        else:
            numbers = np.full(PART.shape, value(sensor, key), np.int16)
            numbers[-1] = -9999
            write_tiff(path, numbers, PART, nodata=-9999)


@pytest.fixture
def constellation(tmp_path: Path, serve, stac_api, monkeypatch: pytest.MonkeyPatch):
    """A search that gives a Landsat and two Sentinel-2 granules, one of them minutes after Landsat's."""
    (tmp_path / "granules").mkdir()
    for sensor, day, minute in (("L30", 122, 50), ("S30", 122, 58), ("S30", 127, 50)):
        write_granule(tmp_path / "granules", sensor, day, minute)
    files, served = serve(tmp_path / "granules")
    features = [record("L30", 122, files), record("S30", 122, files, 58), record("S30", 127, files)]
    url, asked = stac_api([{"type": "FeatureCollection", "numberMatched": 3, "features": features, "links": []}])
    monkeypatch.setitem(api.PROVIDERS, "hls", replace(api.PROVIDERS["hls"], url=url))
    return asked, served


def study_of(tmp_path: Path, **keys):
    keys = {"source": {"api": "hls"}, "bands": ..., "mask": ..., "area": {"tiles": ["31UFS"]}, **keys}
    record = {name: kept for name, kept in keys.items() if kept is not ...}
    base = make_study(tmp_path, **record)
    if "bands" in record:
        return base
    raw = {"name": "test", "years": [2020], "points": "points.csv", "workspace": str(tmp_path / "work"), **record}
    return parse_study(json.dumps(raw), str(tmp_path), date(2026, 1, 1))


def test_both_sensors_come_as_one_series_on_30_m(tmp_path: Path, constellation):
    asked, served = constellation
    study = study_of(tmp_path)
    assert study.bands == ["B02", "B03", "B04", "B8A", "B11", "B12"]
    assert study.mask.bits == [1, 2, 3]
    (tile,) = resolve_tiles(study)
    assert (tile.shape, tile.pixel_size) == ((3660, 3660), 30)
    assert tile.bounds == mgrs_tile("31UFS").bounds
    features, report, _ = run_fetch(study, tile, 2020)
    assert [feature["id"] for feature in features] == [granule("L30", 122), granule("S30", 122, 58), granule("S30", 127)]
    assert report["mask"] == "Fmask"
    assert asked[0]["collections"] == ["HLSL30_2.0", "HLSS30_2.0"]
    for feature in features:
        for band, wavelength in LIKE.items():
            asset = feature["assets"][band]
            here = read_on_grid(asset["href"], PART, fill=0)
            assert abs(int(here[10, 10]) - wavelength) <= 20  # a Landsat band under the name of its like
            assert (asset["raster:scale"], asset["raster:offset"], asset["nodata"]) == (1e-4, 0.0, -9999.0)
            assert (here[-1] == 0).all()
        assert feature["assets"]["Fmask"]["nodata"] == 255
    assert all("HLS v2" in line for one in report["acquisitions"] for line in one["radiometry"])
    assert not any(path.endswith((".B10.tif", ".B09.tif")) for path in served)


def test_thermal_bands_never_pass_for_short_wave_infrared():
    item = hls.harmonised(pystac.Item.from_dict(record("L30", 122, "https://x")))
    assert item.assets["B11"].href.endswith(".B06.tif")
    assert item.assets["B12"].href.endswith(".B07.tif")
    assert item.assets["B8A"].href.endswith(".B05.tif")
    assert item.assets["TIRS2"].href.endswith(".B11.tif")
    assert "B05" not in item.assets
    assert "B08" not in item.assets


@pytest.mark.parametrize("collection", ["hls2-l30", "HLSL30_2.0", "HLSL30.v2.0"])
def test_other_catalogs_of_hls_are_known_by_their_collection(collection: str):
    told = record("L30", 122, "https://x")
    item = hls.harmonised(pystac.Item.from_dict({**told, "id": "scene", "collection": collection}))
    assert hls.sensor_of(item) == "L30"
    assert not items.is_sentinel2(item)
    assert decide(item, "B11").offset == 0


def test_sentinel_2_of_hls_has_no_offset_although_its_platform_is_sentinel_2():
    told = record("S30", 122, "https://x")
    told["properties"]["platform"] = "Sentinel-2A"
    item = hls.harmonised(pystac.Item.from_dict(told))
    assert (decide(item, "B04").offset, decide(item, "B04").testable) == (0.0, False)


def test_items_of_sentinel_2_stay_as_they_are(shared: Path):
    told = json.loads(next((shared / "data/stac/items").glob("pc_S2A_MSIL2A_20240823*.json")).read_text())
    before, after = (pystac.Item.from_dict(told), hls.harmonised(pystac.Item.from_dict(told)))
    assert after.properties == before.properties
    assert {key: asset.to_dict() for key, asset in after.assets.items()} == {key: asset.to_dict() for key, asset in before.assets.items()}


def test_the_mask_drops_cloud_and_keeps_aerosol(tmp_path: Path):
    study = study_of(tmp_path)
    assert 0b0000_0010 in study.mask.codes
    assert 0b0000_1000 in study.mask.codes
    assert 0b1100_0000 not in study.mask.codes
    assert 0b0001_0000 not in study.mask.codes  # snow


def test_asked_bands_and_mask_are_kept(tmp_path: Path, constellation):
    study = study_of(tmp_path, bands=["B04", "B05"], mask=None)
    assert study.bands == ["B04", "B05"]
    found = find(study, resolve_tiles(study)[0], 2020)
    assert [one.item.id for one in found.acquisitions] == [granule("S30", 122, 58), granule("S30", 127)]
    assert [(one.id, one.reason) for one in found.set_aside] == [(granule("L30", 122), "lacks asset B05")]


def test_granules_in_a_folder_are_read_by_their_names(tmp_path: Path):
    for sensor, day in (("L30", 122), ("S30", 127)):
        write_granule(tmp_path / "granules", sensor, day)
    source = {"folder": str(tmp_path / "granules"), "pattern": "HLS.{sensor}.T{tile}.{date}.v2.0.{band}.tif"}
    study = make_study(tmp_path, source=source, bands=["B11"], mask={"asset": "Fmask", "bits": [1, 2, 3]})
    (tile,) = resolve_tiles(study)
    assert (tile.name, tile.pixel_size) == ("31UFS", 30)
    features, _, _ = run_fetch(study, tile, 2020)
    assert [feature["id"] for feature in features] == [granule("L30", 122), granule("S30", 127)]
    assert [int(read_on_grid(one["assets"]["B11"]["href"], tile, fill=0)[10, 10]) for one in features] == [1609, 1610]
    assert {one["assets"]["B11"]["raster:scale"] for one in features} == {1e-4}


def test_a_box_is_cut_from_the_30_m_grid(tmp_path: Path):
    west, south, east, north = PART.lonlat_bounds()
    study = study_of(tmp_path, area={"bbox": [west + 1e-4, south + 1e-4, east - 1e-4, north - 1e-4]})
    (tile,) = resolve_tiles(study)
    assert tile.pixel_size == 30
    assert [(tile.transform[index] - FULL.transform[index]) % 30 for index in (2, 5)] == [0, 0]
