"""Scale and offset of every real item, and the traps among them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pystac
import pytest

from landtide.retrieve.offset_test import Verdict
from landtide.retrieve.radiometry import Radiometry, UnknownRadiometryError, decide, settle

# file (its start) -> offset of the red band. By hand from inventory.csv and the rules of the providers:
# baseline 04.00 and later hold +1000, unless the provider has taken it off again.
EXPECTED = {
    "cdse_S2B_MSIL2A_20200322": -0.1,  # a scene of 2020, processed again with 05.00
    "cdse_S2C_MSIL2A_20260527": -0.1,
    "cdse_mosaic_Sentinel-2_mosaic_2023": 0.0,  # quarterly composite
    "earthsearch_v1_c1_S2A_T13TDE_20240422": -0.1,
    "earthsearch_v1_c1_S2B_T13TDE_20240417": -0.1,
    "earthsearch_v1_c1_S2B_T13TDE_20240420": -0.1,
    "earthsearch_v1_l2a_S2A_13TDE_20231008": 0.0,  # boa_offset_applied true and raster:bands offset -0.1
    "earthsearch_v1_l2a_S2B_20EPT_20250731": 0.0,
    "earthsearch_v1_l2a_S2B_24MUV_20250731": 0.0,
    "odcstac_S2A_28QCH_20200714": 0.0,  # no field at all but the product's name, N0214
    "odcstac_S2B_MSIL2A_20190629": 0.0,
    "pc_S2A_MSIL2A_20190101T000001_R116_T60VUJ": 0.0,
    "pc_S2A_MSIL2A_20190101T000001_R116_T60VUK": 0.0,
    "pc_S2A_MSIL2A_20240823": -0.1,
    "pc_S2B_MSIL2A_20240419T095549_R122_T46XER": -0.1,
    "pc_S2B_MSIL2A_20240419T095549_R122_T46XES": -0.1,
    "pc_S2B_MSIL2A_20240419T095549_R122_T47XMJ": -0.1,
    "pc_S2B_MSIL2A_20240419T095549_R122_T47XML": -0.1,
    "pc_S2B_MSIL2A_20240825": -0.1,
    "stactools_S2A_MSIL1C_20200717": 0.0,
    "stactools_S2A_MSIL1C_20210908": 0.0,
    "stactools_S2A_MSIL2A_20190212": 0.0,
    "stactools_S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022157": -0.1,
    "stactools_S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022158": -0.1,
    "stactools_S2A_MSIL2A_20230625T234621_N0509_R073_T01WCS": -0.1,
    "stactools_S2A_MSIL2A_20230821": -0.1,
    "stactools_S2A_OPER_MSI_L1C_TL_SGS": 0.0,
    "stactools_S2A_OPER_MSI_L2A_TL_2APS_20240108": -0.1,
    "stactools_S2A_OPER_MSI_L2A_TL_SGS": 0.0,
    "stactools_S2A_OPER_MSI_L2A_TL_VGS1_20220401T110010_A035382_T34LBP": -0.1,
    "stactools_S2A_OPER_MSI_L2A_TL_VGS1_20220401T110010_A035382_T34LBQ": -0.1,  # declares -0.7, baseline 04.00
    "stactools_S2A_T60CWS_20240109": -0.1,
    "stactools_S2B_MSIL2A_20191228": 0.0,
    "stactools_S2B_MSIL2A_20200914": -0.1,  # a scene of 2020, processed again with 05.00
    "stactools_S2B_MSIL2A_20220413": -0.1,
    "stactools_esa_S2B_MSIL2A_20210122": 0.0,
}


def read(path: Path) -> pystac.Item:
    return pystac.Item.from_dict(json.loads(path.read_text()))


def red_key(item: pystac.Item) -> str:
    return next(key for key in ("red", "B04", "B04_10m") if key in item.assets)


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "data" / "stac" / "items"


@pytest.mark.parametrize("start", sorted(EXPECTED))
def test_every_real_item_gets_its_offset(folder: Path, start: str):
    (path,) = folder.glob(f"{start}*.json")
    item = read(path)
    told = decide(item, red_key(item))
    assert told.scale == pytest.approx(1e-4)
    assert told.offset == pytest.approx(EXPECTED[start])


def test_the_table_names_every_item_but_landsat(folder: Path):
    named = {path.name for start in EXPECTED for path in folder.glob(f"{start}*.json")}
    assert {path.name for path in folder.glob("*.json")} - named == {"odcstac_LC08_L2SP_028030_20200114_20200824_02_T1_SR.json"}


def test_landsat_has_the_scale_of_its_own_level_2(folder: Path):
    item = read(next(folder.glob("odcstac_LC08*.json")))
    told = decide(item, "red")
    assert (told.scale, told.offset, told.testable) == (2.75e-5, -0.2, False)
    # USGS guide: valid numbers 7273 to 43636 are reflectance 0 to 1
    assert 7273 * told.scale + told.offset == pytest.approx(0, abs=1e-4)
    assert 43636 * told.scale + told.offset == pytest.approx(1, abs=1e-4)


def test_another_sensor_without_scale_is_refused_and_not_read_as_sentinel_2(folder: Path):
    item = read(next(folder.glob("odcstac_LC08*.json")))
    item.id = "scene"
    with pytest.raises(UnknownRadiometryError, match="no scale declared and not of Sentinel-2"):
        decide(item, "red")


def test_jp2_beside_applied_cogs_still_holds_the_offset(folder: Path):
    item = read(next(folder.glob("earthsearch_v1_l2a_S2B_20EPT*.json")))
    assert decide(item, "red-jp2").offset == pytest.approx(-0.1)


def test_applied_false_is_uncertain_and_the_pixels_decide(folder: Path):
    item = read(next(folder.glob("earthsearch_v1_l2a_S2A_13TDE*.json")))
    item.properties["earthsearch:boa_offset_applied"] = False
    told = decide(item, "red")
    assert told.offset == pytest.approx(-0.1)
    assert not told.certain
    settled, line = settle(told, Verdict("absent", "dark"))
    assert settled is not None
    assert settled.offset == 0
    assert "the pixels decide" in line


def test_applied_missing_in_the_corrected_collection_is_uncertain(folder: Path):
    item = read(next(folder.glob("earthsearch_v1_l2a_S2A_13TDE*.json")))
    del item.properties["earthsearch:boa_offset_applied"]
    told = decide(item, "red")
    assert (told.offset, told.certain) == (pytest.approx(-0.1), False)
    assert "missing" in told.reason


def test_the_flag_of_the_corrected_collection_says_nothing_about_collection_1(folder: Path):
    item = read(next(folder.glob("earthsearch_v1_c1_S2A*.json")))
    item.properties.pop("earthsearch:boa_offset_applied", None)
    told = decide(item, "red")
    assert (told.offset, told.certain) == (pytest.approx(-0.1), True)


def test_dark_land_is_not_clipped_at_the_offset(folder: Path):
    # the Planetary Computer's own recipe lifts numbers below 1000 to 1000, where land would meet no data
    told = decide(read(next(folder.glob("pc_S2A_MSIL2A_20240823*.json"))), "B04")
    assert 950 * told.scale + told.offset == pytest.approx(-0.005)


def test_harmonised_numbers_that_say_so_have_no_offset():
    # as exports of harmonised collections carry them: scale and offset declared, no baseline
    item = pystac.Item("20220501", None, None, datetime(2022, 5, 1, tzinfo=UTC), {"constellation": "sentinel-2"})
    item.add_asset("B04", pystac.Asset("B04.tif", extra_fields={"raster:scale": 1e-4, "raster:offset": 0}))
    told = decide(item, "B04")
    assert (told.scale, told.offset, told.certain) == (1e-4, 0.0, True)


def test_applied_false_before_baseline_4_has_no_offset_whatever_is_declared(folder: Path):
    item = read(next(folder.glob("earthsearch_v1_l2a_S2A_13TDE*.json")))
    item.properties |= {"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "02.14"}
    assert decide(item, "red").offset == 0


def test_the_date_plays_no_part(folder: Path):
    item = read(next(folder.glob("pc_S2A_MSIL2A_20240823*.json")))
    before = decide(item, "B04")
    item.datetime = item.datetime.replace(year=2017)
    item.properties["datetime"] = "2017-08-23T17:49:01Z"
    assert decide(item, "B04") == before


def test_no_field_at_all_is_uncertain(folder: Path):
    item = read(next(folder.glob("pc_S2A_MSIL2A_20240823*.json")))
    item.properties = {"constellation": "sentinel-2"}
    item.id = "scene"
    told = decide(item, "B04")
    assert (told.scale, told.offset, told.certain) == (1e-4, 0.0, False)


def test_scale_in_the_file_counts_where_the_item_tells_none(folder: Path):
    item = read(next(folder.glob("pc_S2A_MSIL2A_20240823*.json")))
    told = decide(item, "B04", tags=(1e-4, -0.1))
    assert (told.scale, told.offset) == (1e-4, -0.1)


def test_masks_and_indices_are_left_alone(folder: Path):
    item = read(next(folder.glob("cdse_S2C*.json")))
    told = decide(item, "SCL_20m")
    assert (told.scale, told.offset, told.testable) == (1.0, 0.0, False)


@pytest.mark.parametrize(("offset", "answer"), [(0.0, "present"), (-0.1, "absent")])
def test_certain_metadata_against_the_pixels_refuse_the_item(offset: float, answer: str):
    settled, line = settle(Radiometry(1e-4, offset, "declared"), Verdict(answer, "seen"))
    assert settled is None
    assert "contradicts itself" in line


def test_undecided_pixels_leave_it_to_the_metadata():
    told = Radiometry(1e-4, -0.1, "declared")
    assert settle(told, Verdict("undecided", "cloud"))[0] == told


def offset_by_the_providers_rule(record: dict) -> float:
    """Return the offset of the red band by the table of the providers, read off the raw record, not by the code under test."""
    properties, assets = record["properties"], record["assets"]
    if "earthsearch:boa_offset_applied" in properties and record["collection"] == "sentinel-2-l2a":
        return 0.0 if properties["earthsearch:boa_offset_applied"] else float("nan")
    if "B04_10m" in assets:  # Copernicus Data Space
        return float(assets["B04_10m"]["raster:offset"])
    if "red" in assets:  # Earth Search, Collection 1
        return float(assets["red"]["raster:bands"][0]["offset"])
    return -0.1 if float(properties["s2:processing_baseline"]) >= 4 else 0.0  # Planetary Computer


@pytest.mark.parametrize(
    "answer",
    [
        "cdse_2020_N0500_featurecollection.json",
        "cdse_2026_N0512_featurecollection.json",
        "earthsearch_v1_sentinel-2-c1-l2a_10items.json",
        "pc_13items_2020_jun_jul_35MNM.geojson",
        "pc_9items_20200606_africa_strip.geojson",
        "recorded_earthsearch_v1_search_paged.json",
        "recorded_pc_datetime_search.json",
    ],
)
def test_recorded_answers_of_each_provider_give_the_right_reflectance(shared: Path, answer: str):
    told = json.loads((shared / "data/stac/responses" / answer).read_text())
    pages = [page["response"] for page in told] if isinstance(told, list) else [told]
    records = [record for page in pages if isinstance(page, dict) for record in page.get("features", [])]
    checked = 0
    for record in records:
        key = next((key for key in ("red", "B04", "B04_10m") if key in record["assets"]), None)
        if key is None or "l1c" in record["collection"] or "sentinel-2" not in record["collection"]:
            continue
        expected = offset_by_the_providers_rule(record)
        decided = decide(pystac.Item.from_dict(record), key)
        assert 1500 * decided.scale + decided.offset == pytest.approx(0.15 + expected), record["id"]
        checked += 1
    assert checked > 0
