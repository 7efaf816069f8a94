"""Landsat Collection 2 Level-2: a real item, synthetic pixels."""

import json
from datetime import date
from pathlib import Path

import numpy as np
from made import TILE, make_study, run_fetch, write_tiff

from landtide.core.study import parse_study
from landtide.retrieve import api, place, resolve_tiles
from landtide.retrieve.search import find

NAME = "LC08_L2SP_028030_20200114_20200824_02_T1_SR"


def test_a_study_of_landsat_has_its_bands_its_mask_and_30_m(tmp_path: Path):
    record = {"name": "test", "years": [2020], "points": "p.csv", "area": {"tiles": ["31UFS"]},
              "source": {"api": "planetary-computer", "collection": "landsat-c2-l2"}}  # fmt: skip
    study = parse_study(json.dumps(record), str(tmp_path), date(2026, 1, 1))
    assert study.bands == ["B02", "B03", "B04", "B8A", "B11", "B12"]
    assert 21824 not in study.mask.codes  # clear
    assert {1, 22280, 21826} <= set(study.mask.codes)  # fill, cloud of high confidence, dilated cloud
    (tile,) = resolve_tiles(study)
    assert (tile.pixel_size, tile.shape) == (30, (3660, 3660))


def test_the_search_for_landsat_asks_for_no_tile_of_sentinel_2(tmp_path: Path, stac_api):
    url, asked = stac_api([])
    provider = api.PROVIDERS["planetary-computer"]
    api.PROVIDERS["planetary-computer"] = type(provider)(url, provider.collections, provider.tile_property)
    try:
        api.search("planetary-computer", "landsat-c2-l2", TILE, "2020-01-01/2020-12-31", 80)
    finally:
        api.PROVIDERS["planetary-computer"] = provider
    assert asked[0]["query"] == {"eo:cloud_cover": {"lte": 80}}


def test_a_scene_gives_reflectance_under_the_names_of_sentinel_2(shared: Path, tmp_path: Path):
    record = json.loads(next((shared / "data/stac/items").glob("odcstac_LC08*.json")).read_text())
    grid = place.snapped("scene", "EPSG:32615", (296_000.0, 4_763_000.0, 297_200.0, 4_764_500.0), 30)
    assert record["id"] == NAME
    for key in ("red", "nir08", "swir16", "qa_pixel"):
        numbers = np.full(grid.shape, 21824 if key == "qa_pixel" else 9000, np.uint16)
        record["assets"][key]["href"] = str(write_tiff(tmp_path / f"{key}.tif", numbers, grid, nodata=1 if key == "qa_pixel" else 0))
        record["assets"][key].pop("file:checksum", None)
    for name in ("proj:shape", "proj:transform"):
        del record["properties"][name]
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [record]}))
    source = {"catalog": str(tmp_path / "items.json")}
    study = make_study(tmp_path, source=source, bands=["red", "B8A", "swir1"], mask={"asset": "qa_pixel", "bits": [1, 3, 4]})
    (tile,) = resolve_tiles(study)
    assert len(find(study, tile, 2020).acquisitions) == 1
    features, _, _ = run_fetch(study, tile, 2020)
    for band in ("B04", "B8A", "B11"):
        asset = features[0]["assets"][band]
        assert (asset["raster:scale"], asset["raster:offset"], asset["nodata"]) == (2.75e-5, -0.2, 0.0)
