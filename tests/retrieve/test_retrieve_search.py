"""Search in catalogs: years, clouds, missing assets, duplicates."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pystac
import pytest
from made import TILE, make_study, red, write_collection, write_item

from landtide.core.errors import InputError
from landtide.core.tile import mgrs_tile
from landtide.io.stac import read_items
from landtide.retrieve import resolve_tiles
from landtide.retrieve.search import Acquisition, drop_duplicates, find


def acquisition(name: str, when: str, **properties: Any) -> Acquisition:
    item = pystac.Item(name, TILE.footprint(), None, datetime.fromisoformat(when), {"grid:code": "MGRS-31UFS", **properties})
    item.add_asset("B04", pystac.Asset("B04.tif"))
    return Acquisition(item, {"B04": "B04"})


def ids(found: list[Acquisition]) -> list[str]:
    return [one.item.id for one in found]


def test_the_highest_baseline_of_an_acquisition_is_kept():
    old = acquisition("old", "2020-05-01T10:20:31+00:00", **{"platform": "sentinel-2a", "s2:processing_baseline": "02.14"})
    new = acquisition("new", "2020-05-01T10:20:31+00:00", **{"platform": "Sentinel-2A", "s2:processing_baseline": "05.00"})
    kept, aside = drop_duplicates([old, new])
    assert ids(kept) == ["new"]
    assert [(one.id, one.reason) for one in aside] == [("old", "another processing of new, which is kept")]


def test_baseline_5_10_is_higher_than_5_09():
    found = [acquisition(name, "2023-05-01T10:20:31+00:00", **{"s2:processing_baseline": name}) for name in ("05.10", "05.09")]
    assert ids(drop_duplicates(found)[0]) == ["05.10"]


def test_of_one_baseline_the_last_generated_is_kept():
    found = [
        acquisition(made, "2020-05-01T10:20:31+00:00", **{"s2:processing_baseline": "05.00", "s2:generation_time": made})
        for made in ("2023-02-01T00:00:00Z", "2023-01-01T00:00:00Z")
    ]
    assert ids(drop_duplicates(found)[0]) == ["2023-02-01T00:00:00Z"]


def test_two_datastrips_of_one_pass_complement_each_other():
    strips = [
        "S2A_OPER_MSI_L2A_DS_2APS_20200501T130000_S20200501T102024_N05.00",
        "S2A_OPER_MSI_L2A_DS_2APS_20200501T130000_S20200501T102455_N05.00",
    ]
    found = [
        acquisition(f"{n}", f"2020-05-01T10:2{n}:31+00:00", **{"s2:processing_baseline": "05.00", "s2:datastrip_id": strip})
        for n, strip in enumerate(strips)
    ]
    assert ids(drop_duplicates(found)[0]) == ["0", "1"]


def test_other_satellites_tiles_and_passes_are_other_acquisitions():
    found = [
        acquisition("a", "2020-05-01T10:20:31+00:00", platform="sentinel-2a"),
        acquisition("b", "2020-05-01T10:20:51+00:00", platform="sentinel-2c"),
        acquisition("c", "2020-05-01T10:20:31+00:00", **{"platform": "sentinel-2a", "grid:code": "MGRS-31UGS"}),
        acquisition("d", "2020-05-01T12:01:00+00:00", platform="sentinel-2a"),
    ]
    assert sorted(ids(drop_duplicates(found)[0])) == ["a", "b", "c", "d"]


def test_real_items_of_one_acquisition_generated_twice_give_one(shared: Path):
    paths = sorted((shared / "data/stac/items").glob("stactools_*T01WCP*.json"))
    found = [Acquisition(pystac.Item.from_dict(json.loads(path.read_text())), {"B04": "red"}) for path in paths]
    assert len(found) == 2
    kept, _ = drop_duplicates(found)
    assert len(kept) == 1


def test_slovenian_years_hold_one_image_a_pass(shared: Path, tmp_path: Path):
    catalog = str(shared / "catalogs/slovenia/collection.json")
    study = make_study(
        tmp_path,
        source={"catalog": catalog, "max_cloud": 100},
        bands=["NDVI"],
        mask={"asset": "CLM", "drop": [1]},
        years=[2015, 2016, 2017],
    )
    (tile,) = resolve_tiles(study)
    found = {year: find(study, tile, year) for year in study.all_years()}
    days = {item.datetime.date() for item in read_items(catalog)}
    assert {one.item.datetime.date() for year in found.values() for one in year.acquisitions} == days
    assert sum(len(year.acquisitions) for year in found.values()) == 67  # 68 items; 2015-12-08 is one pass, processed twice
    assert [one.id for one in found[2015].set_aside] == ["slovenia_20151208T100409"]


def test_scenes_above_the_cloud_limit_are_set_aside_with_their_cover(shared: Path, tmp_path: Path):
    study = make_study(tmp_path, source={"catalog": str(shared / "catalogs/l2a_scl_cube/collection.json"), "max_cloud": 60}, years=[2023])
    found = find(study, resolve_tiles(study)[0], 2023)
    assert ids(list(found.acquisitions)) == ["l2a_scl_cube_20231007", "l2a_scl_cube_20231022", "l2a_scl_cube_20231226"]
    assert len(found.set_aside) == 16
    assert "cloud cover 100 % above source.max_cloud 60 %" in found.set_aside[0].reason


def test_items_without_the_band_are_set_aside_by_name(shared: Path, tmp_path: Path):
    catalog = str(shared / "catalogs/slovenia/collection.json")
    study = make_study(tmp_path, source={"catalog": catalog, "max_cloud": 100}, bands=["red"], years=[2015])
    found = find(study, resolve_tiles(study)[0], 2015)
    assert [one.item.datetime.strftime("%m-%d") for one in found.acquisitions] == ["07-11", "07-31", "08-20", "08-30", "09-09"]
    assert {one.reason for one in found.set_aside} == {"lacks asset B04"}


def test_band_in_no_item_names_the_nearest(shared: Path, tmp_path: Path):
    study = make_study(tmp_path, source={"catalog": str(shared / "catalogs/belgium_a/collection.json")}, bands=["B8A"], years=[2021])
    with pytest.raises(InputError, match=r"band 'B8A' is not among the assets; nearest: B08"):
        resolve_tiles(study)


def test_months_belong_to_the_year_of_their_start(shared: Path, tmp_path: Path):
    study = make_study(tmp_path, source={"catalog": str(shared / "catalogs/belgium_a/collection.json")}, years=[2021])
    found = find(study, resolve_tiles(study)[0], 2021)
    assert [one.item.datetime.month for one in found.acquisitions] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]  # January has no item


def test_default_mask_may_be_missing_but_not_one_that_was_asked_for(shared: Path, tmp_path: Path):
    source = {"catalog": str(shared / "catalogs/belgium_a/collection.json")}
    asked = make_study(tmp_path, source=source, years=[2021], mask={"asset": "SCL", "drop": [3]})
    tile = resolve_tiles(asked)[0]
    with pytest.raises(InputError, match="mask asset 'SCL' is in no item"):
        find(asked, tile, 2021)
    default = asked.model_validate(asked.model_dump(by_alias=True, exclude={"mask"}))
    assert find(default, tile, 2021).mask is None


def test_neighbours_of_a_tile_are_left_out(tmp_path: Path):
    for name in ("31UFS", "31UGS"):  # they overlap by 9.8 km
        write_item(tmp_path, name, "2020-05-01T10:00:00Z", {"B04": red()}, **{"grid:code": f"MGRS-{name}"})
        path = tmp_path / "items" / name / f"{name}.json"
        record = json.loads(path.read_text())
        tile = mgrs_tile(name)
        record["properties"] |= {"proj:transform": list(tile.transform), "proj:shape": list(tile.shape)}
        record["geometry"] = tile.footprint()
        path.write_text(json.dumps(record))
    study = make_study(tmp_path, area={"tiles": ["31UFS"]}, source={"catalog": str(write_collection(tmp_path))})
    (tile,) = resolve_tiles(study)
    assert tile == mgrs_tile("31UFS")
    assert ids(list(find(study, tile, 2020).acquisitions)) == ["31UFS"]
