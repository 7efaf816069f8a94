"""The words mean what the field means by them."""

import csv
import itertools
import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from landtide.core import cube, units
from landtide.core.bands import band_id, find_asset, is_reflectance
from landtide.core.errors import InputError, LandtideError
from landtide.core.landcover import LandCoverMap
from landtide.core.legend import (
    builtin_crosswalk,
    builtin_legend,
    corine_codes,
    identity_crosswalk,
    parse_crosswalk,
    parse_legend,
)
from landtide.core.period import Period, parse_duration
from landtide.core.samples import SampleSet
from landtide.core.study import parse_study
from landtide.core.tile import Tile, mgrs_tile

STUDY = """
name: demo
area: {catalog-extent: true}
years: [2018, 2019]
source: {catalog: data/collection.json}
old_map: {uri: "{catalog}/old.tif", crosswalk: corine}
"""
TODAY = date(2026, 11, 22)


def study(text: str = STUDY, **overrides: object):
    return parse_study(text, "/home/user/project", TODAY, {key.replace("__", "."): value for key, value in overrides.items()})


def test_paths_start_at_the_study_file_and_at_the_catalog() -> None:
    parsed = study()
    assert parsed.source.catalog == "/home/user/project/data/collection.json"
    assert parsed.old_map is not None
    assert parsed.old_map.uri == "/home/user/project/data/old.tif"
    assert parsed.old_map.crosswalk == "corine"
    assert parsed.workspace == "/home/user/project/work"
    assert study(workspace="s3://bucket/prefix").workspace == "s3://bucket/prefix"
    assert parse_study(STUDY.replace("data/", "../data/"), "/a/b", TODAY).source.catalog == "/a/data/collection.json"
    assert parse_study(STUDY, "s3://bucket/studies", TODAY).source.catalog == "s3://bucket/studies/data/collection.json"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STUDY + "colour: 1", "unknown key 'colour'; nearest known key"),
        (STUDY.replace("crosswalk", "croswalk"), "unknown key 'old_map.croswalk'; nearest known key: 'crosswalk'"),
        (STUDY.replace("name: demo", ""), "key 'name' is missing"),
        (STUDY.replace("demo", "De mo"), "lower-case"),
        (STUDY + "model: {name: lstn}", "model.name"),
        (STUDY + "mask: {dilate: 60}", "mask.dilate: length 60 is not a number with a unit"),
        (STUDY + "composite: {period: monthly}", "ISO 8601"),
        (STUDY.replace("[2018, 2019]", "[2012]"), "before Sentinel-2"),
        (STUDY.replace("[2018, 2019]", "{from: 2026}"), "years that are over"),
        (STUDY.replace("{catalog-extent: true}", "{tiles: [31UFT], bbox: [1, 2, 3, 4]}"), "exactly one"),
        (STUDY.replace("old_map", "# old_map"), "no label to learn from"),
        ("[1, 2]", "no table of keys"),
        ("a: [", "no YAML"),
    ],
)
def test_wrong_study_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        study(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_years_from_follow_the_calendar() -> None:
    assert study(STUDY.replace("[2018, 2019]", "{from: 2024}")).all_years() == [2024, 2025]


def test_lengths_and_memory_carry_units() -> None:
    assert units.parse_length("0.1 km") == 100.0
    assert units.parse_memory("4GiB") == 4 * 2**30
    assert units.format_bytes(559e9) == "559.0 GB"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("red", "B04"),
        ("B4", "B04"),
        ("b8a", "B8A"),
        ("nir08", "B8A"),
        ("S2-L2A-B02", "B02"),
        ("nbart_red", "B04"),
        ("B11_20m", "B11"),
        ("NDVI", "NDVI"),
    ],
)
def test_every_spelling_of_a_band_gives_its_esa_id(name: str, expected: str) -> None:
    assert band_id(name) == expected


def test_finest_asset_is_found_and_a_wrong_name_gets_the_nearest() -> None:
    assert find_asset("B04", ["B04_60m", "B04_20m", "B04_10m"]) == "B04_10m"
    assert find_asset("B04", ["red-jp2", "red"]) == "red"
    with pytest.raises(InputError, match="nearest: NDVI"):
        find_asset("NDWI", ["NDVI", "CLM"])
    assert is_reflectance("red")
    assert not is_reflectance("NDVI")


def test_tile_origins_are_those_of_real_products(shared: Path) -> None:
    checked = 0
    for path in (shared / "data/stac/items").glob("*.json"):
        item = json.loads(path.read_text())
        code = item["properties"].get("grid:code", "")
        grids = [
            a.get("proj:transform") for k, a in item["assets"].items() if band_id(k) == "B04" and a.get("proj:transform", [0])[0] == 10
        ]
        if not code.startswith("MGRS-") or "mosaic" in path.name or "T34LBQ" in path.name or not grids:
            continue  # the item of 34LBQ was made by hand: it carries its neighbour's grid
        assert list(mgrs_tile(code.removeprefix("MGRS-")).transform) == [float(v) for v in grids[0][:6]], path.name
        checked += 1
    assert checked >= 20


def test_wrong_tile_name_is_refused() -> None:
    for name in ("31UF", "61UFT", "31IFT", "hello"):
        with pytest.raises(InputError, match="tile"):
            mgrs_tile(name)


def test_windows_cover_a_tile_once() -> None:
    tile = Tile("t", "EPSG:32631", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), (300, 130))
    seen = np.zeros(tile.shape, int)
    for window in tile.windows(128):
        seen[window.row_off : window.row_off + window.height, window.col_off : window.col_off + window.width] += 1
    assert (seen == 1).all()
    assert tile.pixel_area == 0.01
    assert tile.bounds == (0.0, -3000.0, 1300.0, 0.0)


def test_year_is_cut_into_months_seasons_and_fortnights() -> None:
    year = Period.of_year(2020)
    assert [p.name for p in year.split("P1M")][::11] == ["2020-01", "2020-12"]
    assert len(year.split("P3M")) == 4
    fortnights = year.split("P16D")
    assert len(fortnights) == 23
    assert fortnights[-1].end == date(2021, 1, 1)
    assert year.name == "2020"
    assert year.contains(datetime(2020, 12, 31, 23, 59, tzinfo=UTC))
    assert year.interval() == "2020-01-01T00:00:00Z/2020-12-31T23:59:59Z"


@given(st.integers(1, 200), st.sampled_from("DWMY"))
def test_steps_of_any_length_tile_the_year_without_gap(count: int, unit: str) -> None:
    steps = Period.of_year(2019).split(f"P{count}{unit}")
    assert steps[0].start == date(2019, 1, 1)
    assert steps[-1].end == date(2020, 1, 1)
    assert all(a.end == b.start for a, b in itertools.pairwise(steps))
    assert parse_duration(f"P{count}{unit}")[0] >= count


def test_corine_table_has_all_classes_in_the_official_order(shared: Path) -> None:
    official = list(csv.DictReader((shared / "data/corine/clc_legend.csv").open()))
    codes = {int(row["grid_code"]): int(row["clc_code"]) for row in official if row["grid_code"].isdigit() and int(row["grid_code"]) <= 44}
    assert len(codes) == 44
    np.testing.assert_array_equal(corine_codes(np.array(list(codes))), list(codes.values()))
    np.testing.assert_array_equal(corine_codes(np.array([0, 48, 999, 211, 523])), [0, 0, 0, 211, 523])
    with pytest.raises(InputError, match="code 46"):
        corine_codes(np.array([1, 46]))
    with pytest.raises(InputError, match="no CORINE code"):
        corine_codes(np.array([12, 211]))


def test_corine_classes_go_where_the_methods_say() -> None:
    legend = builtin_legend("landtide10")
    table = builtin_crosswalk("corine", legend)
    expected = {
        111: 1,
        112: 1,
        211: 3,
        213: 4,
        231: 2,
        311: 6,
        312: 7,
        322: 8,
        323: 8,
        331: 5,
        335: 10,
        512: 9,
        313: 0,
        243: 0,
        124: 0,
        324: 0,
    }
    got = table.translate(np.array(list(expected)), nodata=None)
    np.testing.assert_array_equal(got, list(expected.values()))
    assert len(table.labels) == 44


def test_merged_legends_merge_crops_and_trees() -> None:
    nine, eight = builtin_legend("landtide9"), builtin_legend("landtide8")
    assert builtin_crosswalk("corine", nine).labels["211"] == builtin_crosswalk("corine", nine).labels["213"] == nine.label_of("crop")
    assert builtin_crosswalk("corine", eight).labels["311"] == builtin_crosswalk("corine", eight).labels["312"] == eight.label_of("tree")
    assert builtin_crosswalk("worldcover", eight).labels["10"] == eight.label_of("tree")
    assert builtin_crosswalk("worldcover", builtin_legend("landtide10")).labels["10"] is None


def test_labels_follow_legend_order_and_code_zero_may_be_a_class(shared: Path) -> None:
    crops = parse_legend((shared / "catalogs/belgium_a/worldcereal_legend.csv").read_text(), "crops")
    assert crops.names == ("no", "yes", "not cropland")
    np.testing.assert_array_equal(identity_crosswalk(crops).translate(np.array([[0, 100], [254, 255]]), nodata=255), [[1, 2], [3, 0]])
    cover = parse_legend((shared / "catalogs/slovenia/legend.csv").read_text(), "cover")
    assert len(cover) == 10
    assert cover.label_of("artificial surface") == cover.label_of(8) == 8


def test_unknown_codes_and_classes_are_named() -> None:
    legend = builtin_legend("landtide8")
    with pytest.raises(InputError, match="code 77"):
        identity_crosswalk(legend).translate(np.array([1, 77]), nodata=None)
    with pytest.raises(InputError, match="line 2: class 'tre' is not in legend 'landtide8'; nearest: tree"):
        parse_crosswalk("code,target\n10,tre\n", "mine", legend)
    with pytest.raises(InputError, match="excludes every code"):
        parse_crosswalk("code,target\n10,\n", "mine", legend)
    with pytest.raises(InputError, match="lacks column code, target"):
        parse_crosswalk("code;target\n10;tree\n", "mine", legend)
    with pytest.raises(InputError, match="repeats code 1"):
        parse_legend("code,name,color\n1,a,#000000\n1,b,#000000\n", "mine")


@given(st.lists(st.floats(-1.5, 1.5, width=32) | st.just(float("nan")), min_size=1, max_size=20))
def test_digital_numbers_keep_reflectance_to_half_a_step(values: list[float]) -> None:
    array = np.array(values, np.float32)
    back = cube.decode(cube.encode(array))
    np.testing.assert_array_equal(np.isnan(back), np.isnan(array))
    np.testing.assert_allclose(back, array, atol=0.5001e-4, equal_nan=True)


def test_cube_contract_names_the_broken_promise() -> None:
    times = np.array(["2018-01-01", "2018-02-01"], "datetime64[ns]")
    good = xr.DataArray(np.zeros((2, 1, 3, 3), np.float32), dims=cube.DIMS, coords={"time": times, "band": ["B04"]})
    assert cube.check_cube(good) is good
    with pytest.raises(LandtideError, match="dims"):
        cube.check_cube(good.transpose("band", "time", "y", "x"))
    with pytest.raises(LandtideError, match="rising order"):
        cube.check_cube(good.isel(time=[1, 0]))
    with pytest.raises(LandtideError, match="dtype"):
        cube.check_cube(good.astype("float64"))


def test_samples_refuse_arrays_of_other_lengths() -> None:
    rows = {
        "y": np.ones(2, np.uint8),
        "doy": np.ones((2, 3), np.int16),
        "xy": np.zeros((2, 2)),
        "year": np.ones(2, np.int16),
        "trust": np.ones(2, np.float32),
    }
    rest = {
        "polygon": np.zeros(2, np.int64),
        "tile": np.array(["t", "t"]),
        "draw": np.ones(2, np.uint32),
        "bands": ("B04",),
        "origin": "points",
    }
    samples = SampleSet(x=np.zeros((2, 3, 1), np.float32), **rows, **rest)
    assert len(SampleSet.concatenate([samples, samples.take(np.array([1]))])) == 3
    with pytest.raises(LandtideError, match="samples trust has shape"):
        SampleSet(x=np.zeros((2, 3, 1), np.float32), **{**rows, "trust": np.ones(3)}, **rest)


def test_map_refuses_labels_outside_its_legend() -> None:
    tile = Tile("t", "EPSG:32631", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), (2, 2))
    with pytest.raises(LandtideError, match=r"labels \[11\] outside"):
        LandCoverMap(
            np.array([[0, 11], [1, 254]], np.uint8),
            np.zeros((2, 2), np.uint8),
            builtin_legend("landtide10"),
            tile,
            Period.of_year(2018),
            "m",
        )
