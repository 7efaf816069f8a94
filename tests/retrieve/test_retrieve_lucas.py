"""LUCAS points in the coding of each survey: what is dropped, by hand; what the others mean. The tables are synthetic."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from made import TILE, make_study, red, write_collection, write_item, write_tiff

from landtide.core import lucas
from landtide.core.errors import InputError
from landtide.core.legend import builtin_crosswalk, builtin_legend
from landtide.retrieve import Cover, check, labelled_points, points_crosswalk
from landtide.retrieve.points import points_frame

LEGEND = builtin_legend("landtide10")
GOOD_2018 = {"LC1": "C10", "LU1": "U120", "OBS_TYPE": 1, "OBS_DIRECT": 1, "OBS_DIST": 3, "PARCEL_AREA_HA": 3, "LC1_PERC": 90,
             "FEATURE_WIDTH": 2, "WM": 5, "SURVEY_DATE": "21/09/18"}  # fmt: skip

# one change to a good point -> the filter that drops it, None where it stays
CASES_2018 = [
    ({}, None),
    ({"OBS_TYPE": 2}, "not observed in the field within 100 m"),
    ({"OBS_TYPE": 7}, "not observed in the field within 100 m"),
    ({"OBS_DIRECT": 2}, "seen beside the point (look to the north or east)"),
    ({"OBS_DIST": 31}, "observed from more than 30 m"),
    ({"OBS_DIST": 30}, None),
    ({"OBS_DIST": 8888}, "observed from more than 30 m"),
    ({"PARCEL_AREA_HA": 1}, "parcel below 0.5 ha"),
    ({"PARCEL_AREA_HA": 2}, None),
    ({"PARCEL_AREA_HA": 8}, None),  # not relevant
    ({"LC1_PERC": 49}, "land cover below 50 % of the parcel"),
    ({"LC1_PERC": 50}, None),
    ({"LC1_PERC": 888}, None),
    ({"FEATURE_WIDTH": 1}, "linear feature"),
    ({"LC1": "A22", "FEATURE_WIDTH": 8}, "linear feature"),
    ({"LC1": "A22"}, None),
]
GOOD_2022 = {f"SURVEY_{name}".replace("SURVEY_SURVEY", "SURVEY"): value for name, value in GOOD_2018.items()} | {"SURVEY_PARCEL_AREA_HA": 4}
CASES_2022 = [
    ({}, None),
    ({"SURVEY_OBS_TYPE": 3}, "not observed in the field within 100 m"),
    ({"SURVEY_PARCEL_AREA_HA": 2}, "parcel below 0.5 ha"),  # 0.1 to 0.5 ha in 2022, 0.5 to 1 ha in 2018
    ({"SURVEY_PARCEL_AREA_HA": 3}, None),
    ({"SURVEY_FEATURE_WIDTH": 1}, "linear feature"),
]
GOOD_TEXT = {"lc1": "C10", "lu1": "U120", "obs_type": "In situ < 100 m", "obs_direct": "On the point", "obs_dist": 3.0,
             "parcel_area_ha": "1 - 10", "lc1_perc": "> 75 %", "feature_width": "> 20 m", "wm": "No visible water management",
             "year": 2015}  # fmt: skip
CASES_TEXT = [
    ({}, None),
    ({"obs_type": "In situ > 100 m"}, "not observed in the field within 100 m"),
    ({"obs_type": "In office PI"}, "not observed in the field within 100 m"),
    ({"obs_direct": "Look to the North"}, "seen beside the point (look to the north or east)"),
    ({"parcel_area_ha": "< 0.5"}, "parcel below 0.5 ha"),
    ({"parcel_area_ha": "0.5 - 1"}, None),
    ({"parcel_area_ha": "> 10"}, None),
    ({"parcel_area_ha": None}, None),
    ({"lc1_perc": "25 - 50 %"}, "land cover below 50 % of the parcel"),
    ({"lc1_perc": "50 - 75 %"}, None),
    ({"lc1_perc": "< 10 %"}, "land cover below 50 % of the parcel"),
    ({"feature_width": "< 20 m"}, "linear feature"),
]


def write(path: Path, rows: list[dict], places: tuple[str, str] = ("TH_LONG", "TH_LAT")) -> str:
    """Write points on different pixels of the tile, with the surveyor's place far away and without its sign, as the surveys have it."""
    west, _, _, north = TILE.bounds
    points = gpd.GeoSeries(gpd.points_from_xy([west + 10 * i + 5 for i in range(len(rows))], [north - 5] * len(rows)), crs=TILE.crs).to_crs(
        "EPSG:4326"
    )
    table = pd.DataFrame(rows)
    table[places[0]], table[places[1]] = points.x, points.y
    table["GPS_LONG"], table["GPS_LAT"] = 88.888888, 88.888888
    table.to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize(
    ("good", "cases", "places"),
    [
        (GOOD_2018, CASES_2018, ("TH_LONG", "TH_LAT")),
        (GOOD_2022, CASES_2022, ("POINT_LONG", "POINT_LAT")),
        (GOOD_TEXT, CASES_TEXT, ("th_long", "th_lat")),
    ],
    ids=["2018", "2022", "harmonised"],
)
def test_each_filter_drops_its_own(tmp_path: Path, good: dict, cases: list, places: tuple[str, str]):
    uri = write(tmp_path / "lucas.csv", [{**good, **change} for change, _ in cases], places)
    crosswalk = points_crosswalk(uri, LEGEND, TILE.crs)
    points = labelled_points(uri, crosswalk, TILE)
    assert points.pixel[:, 1].tolist() == [index for index, (_, why) in enumerate(cases) if why is None]
    expected = {name: sum(why == name for _, why in cases) for name in points.dropped}
    assert points.dropped == expected
    assert sum(expected.values()) == sum(why is not None for _, why in cases)


def test_year_and_place_are_those_of_the_survey(tmp_path: Path):
    rows = [{**GOOD_2018, "SURVEY_DATE": date} for date in ("03/04/18", "21/09/18")]
    points = labelled_points(write(tmp_path / "lucas.csv", rows), builtin_crosswalk("lucas", LEGEND), TILE)
    assert points.year == (2018, 2018)
    assert points.pixel.tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"LC1": "F40", "LU1": "U111"}, "crop (not irrigated)"),
        ({"LC1": "F40", "LU1": "U420"}, "mineral"),
        ({"LC1": "B16", "WM": 1}, "crop (irrigated)"),
        ({"LC1": "B16", "WM": 4}, "crop (irrigated)"),
        ({"LC1": "B16", "WM": 2}, "crop (not irrigated)"),
        ({"LC1": "B17"}, "crop (irrigated)"),
        ({"LC1": "B55", "WM": 1}, "grass"),
        ({"LC1": "c21"}, "conifer"),
    ],
)
def test_land_use_and_water_tell_what_the_cover_alone_does_not(tmp_path: Path, row: dict, name: str):
    uri = write(tmp_path / "lucas.csv", [{**GOOD_2018, **row}])
    points = labelled_points(uri, points_crosswalk(uri, LEGEND, TILE.crs), TILE)
    assert [LEGEND.names[label - 1] for label in points.label] == [name]


def test_orchards_are_known_and_left_out_even_where_irrigated(tmp_path: Path):
    uri = write(tmp_path / "lucas.csv", [{**GOOD_2018, "LC1": "B71", "WM": 1}])
    assert labelled_points(uri, points_crosswalk(uri, LEGEND, TILE.crs), TILE).excluded == 1


def test_a_table_without_the_columns_of_a_filter_is_not_sieved_by_it(tmp_path: Path):
    uri = write(tmp_path / "lucas.csv", [{"LC1": "C10", "OBS_TYPE": 1}, {"LC1": "C10", "OBS_TYPE": 2}])
    points = labelled_points(uri, builtin_crosswalk("lucas", LEGEND), TILE)
    assert points.dropped == {"not observed in the field within 100 m": 1}
    plain = write(tmp_path / "plain.csv", [{"LC1": "C10"}, {"LC1": "C10"}])
    assert labelled_points(plain, builtin_crosswalk("lucas", LEGEND), TILE).dropped == {}


def test_the_check_tells_what_was_dropped(tmp_path: Path):
    uri = write(tmp_path / "lucas.csv", [{**GOOD_2018, **change} for change, _ in CASES_2018])
    write_item(tmp_path / "catalog", "day01", "2020-05-01T10:00:00Z", {"B04": red(1)})
    study = make_study(tmp_path, source={"catalog": str(write_collection(tmp_path / "catalog"))}, points=uri)
    (note,) = [line for line in check(study).warnings if "LUCAS" in line]
    assert "7 of 16 LUCAS points are used" in note
    assert "not observed in the field within 100 m 2" in note


def test_a_file_without_a_usable_point_says_why(tmp_path: Path):
    uri = write(tmp_path / "lucas.csv", [{**GOOD_2018, "OBS_TYPE": 7}])
    with pytest.raises(InputError, match="0 of 1 LUCAS points are used; dropped: not observed in the field within 100 m 1"):
        points_frame(uri, TILE.crs)


def test_points_stand_in_one_class_of_the_old_map_with_the_pixels_around_them(tmp_path: Path):
    codes = np.full(TILE.shape, 312, np.int32)  # conifers
    codes[:, 5:10] = 211  # crop
    codes[:, 15:20] = 111  # urban, beside more of it
    codes[:, 20:25] = 112
    codes[:, 30:35] = 243  # no single class, two of that kind side by side
    codes[:, 35:40] = 313
    codes[:, 45:] = 0  # no data
    cover = Cover(str(write_tiff(tmp_path / "old_map.tif", codes, TILE)), builtin_crosswalk("corine", LEGEND))
    uri = write(tmp_path / "lucas.csv", [GOOD_2018] * 50)
    points = labelled_points(uri, builtin_crosswalk("lucas", LEGEND), TILE, cover)
    edges = {4, 5, 9, 10, 14, 15, 24, 25, 29, 30, 34, 35, 39, 40}  # of 111 and 112 there is none between, nor of 312 and no data
    assert points.pixel[:, 1].tolist() == [column for column in range(50) if column not in edges]
    assert points.dropped[lucas.MIXED] == len(edges)
    assert points.outside == 0


def test_other_points_are_not_asked_what_the_old_map_says(tmp_path: Path):
    codes = np.arange(TILE.shape[0] * TILE.shape[1], dtype=np.int32).reshape(TILE.shape) % 2 + 111
    codes[:, 1::2] = 311
    cover = Cover(str(write_tiff(tmp_path / "old_map.tif", codes, TILE)), builtin_crosswalk("corine", LEGEND))
    uri = write(tmp_path / "plain.csv", [{"LC1": "C10"}])
    points = labelled_points(uri, builtin_crosswalk("lucas", LEGEND), TILE, cover)
    assert (len(points.label), points.dropped) == (1, {})
