"""Points of the LUCAS survey: which of them show one land cover over the pixel they lie in.

The surveys of 2018 and 2022 as Eurostat gives them (codes as numbers; 2022 with ``SURVEY_`` before each name) and the harmonised
database (texts). Source: Eurostat, LUCAS 2018 and 2022 technical documents C1 (instructions) and record descriptors; d'Andrimont et al.
2020, Scientific Data 7:352, doi:10.1038/s41597-020-00675-z.
"""

import re
from collections.abc import Callable

import geopandas as gpd
import numpy as np
import pandas as pd

LABELS = ("lc1", "survey_lc1")

NEAR = 30.0
"""m between the surveyor and the point; beyond it, what was seen may not be what the pixel shows."""

SMALLEST = 0.5
"""ha of the parcel; below it a pixel of 10 m is likely to hold its neighbours too."""

LEAST = 50.0
"""Per cent of the parcel that the land cover must take."""

PARCELS = {
    "2018": {1: 0.0, 2: 0.5, 3: 1.0, 4: 10.0},
    "2022": {1: 0.0, 2: 0.1, 3: 0.5, 4: 1.0, 5: 10.0},
}
"""Survey -> code of ``parcel_area_ha`` -> smallest area in ha. The codes changed between the surveys."""

WINDOW = 3
"""Pixels along the side of the window around a point that must be of one land cover: the point may lie a pixel off (GPS, images)."""

NOT_ASKED = (888, 8888, 88.888888)
"""What stands for "not relevant" in measured columns."""

AGRICULTURE = re.compile(r"U11")
ANNUAL = re.compile(r"B(1[1-689]|2\d|3\d|4\d|5[1-4])")
"""Annual crops except rice, which is irrigated anyway, and temporary grassland."""

IRRIGATED = (1, 4)
"""Codes of ``wm``: irrigation, irrigation and drainage."""


def is_survey(frame: pd.DataFrame) -> bool:
    """Say whether a table is of LUCAS: it has the land cover and how it was observed."""
    names = {str(name).lower() for name in frame.columns}
    return any({label, label.replace("lc1", "obs_type")} <= names for label in LABELS)


def sieve(frame: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, dict[str, int]]:
    """Return the points that can be trusted on a pixel, and how many each filter dropped, in the order of the filters.

    A filter whose column is missing drops nothing. Points without an answer stay where the question is not asked for all land covers
    (parcel, percentage, width) and go where it is (how and from where the point was observed).
    """
    kept = np.ones(len(frame), bool)
    dropped = {}
    for name, test in FILTERS.items():
        passed = test(frame)
        if passed is not None:
            dropped[name] = int((kept & ~passed).sum())
            kept &= passed
    return frame[kept].reset_index(drop=True), dropped


def uniform(window: np.ndarray) -> bool:
    """Say whether the pixels around a point, any shape, bear one land cover; 0 = not known, which contradicts nothing."""
    known = window[window != 0]
    return known.size == 0 or bool((known == known[0]).all())


def codes(frame: pd.DataFrame, column: str) -> list[str]:
    """Return the land cover codes; what a second column makes another class of carries it: ``F40/U11`` is bare soil on farmland,
    ``B/irrigated`` an annual crop under irrigation."""
    found = [str(value).strip().upper() for value in frame[column]]
    use, water = _column(frame, "lu1"), _column(frame, "wm")
    if use is not None:
        farmland = [bool(AGRICULTURE.match(str(value).strip().upper())) for value in use]
        found = [f"{code}/U11" if code == "F40" and farm else code for code, farm in zip(found, farmland, strict=True)]
    if water is not None:
        number, text = _number(water), _text(water)
        irrigated = number.isin(IRRIGATED) | text.str.startswith("irrigation")
        found = ["B/irrigated" if ANNUAL.fullmatch(code) and wet else code for code, wet in zip(found, irrigated, strict=True)]
    return found


def describe(kept: int, dropped: dict[str, int]) -> str:
    """Return one line on what the filters did."""
    parts = ", ".join(f"{name} {count}" for name, count in dropped.items() if count)
    return f"{kept} of {kept + sum(dropped.values())} LUCAS points are used; dropped: {parts or 'none'}"


def _in_situ(frame: pd.DataFrame) -> np.ndarray | None:
    values = _column(frame, "obs_type")
    if values is None:
        return None
    text = _text(values)
    return (_number(values).eq(1) | text.str.contains("in situ < 100|<= ?100 m", regex=True)).to_numpy()


def _on_the_point(frame: pd.DataFrame) -> np.ndarray | None:
    values = _column(frame, "obs_direct")
    return None if values is None else (_number(values).eq(1) | _text(values).str.contains("on the point")).to_numpy()


def _near(frame: pd.DataFrame) -> np.ndarray | None:
    values = _column(frame, "obs_dist")
    if values is None:
        return None
    metres = _number(values)
    return (metres.between(0, NEAR) & ~metres.isin(NOT_ASKED)).to_numpy()


def _large(frame: pd.DataFrame) -> np.ndarray | None:
    values = _column(frame, "parcel_area_ha")
    if values is None:
        return None
    survey = "2022" if any(str(name).lower() == "survey_parcel_area_ha" for name in frame.columns) else "2018"
    number, text = _number(values), _text(values)
    by_code = number.map(PARCELS[survey])
    by_text = text.str.extract(r"^(?P<sign>[<>]?)=? ?(?P<area>\d+(?:\.\d+)?)")
    lowest = pd.to_numeric(by_text["area"], errors="coerce").mask(by_text["sign"].eq("<").fillna(False), 0.0)
    area = by_code if number.notna().any() else lowest
    return (area.isna() | (area >= SMALLEST)).to_numpy()


def _mostly(frame: pd.DataFrame) -> np.ndarray | None:
    values = _column(frame, "lc1_perc")
    if values is None:
        return None
    number, text = _number(values), _text(values)
    lowest = pd.to_numeric(text.str.extract(r"(\d+)")[0], errors="coerce").mask(text.str.startswith("<"), 0.0)
    share = number.where(number.between(0, 100)) if number.notna().any() else lowest
    return (share.isna() | (share >= LEAST)).to_numpy()


def _wide(frame: pd.DataFrame) -> np.ndarray | None:
    """Return which points lie on no linear feature: no narrow one by its width, no road or the like of unknown width."""
    values = _column(frame, "feature_width")
    if values is None:
        return None
    number, text = _number(values), _text(values)
    narrow = number.eq(1) | text.str.startswith("<")
    wide = number.eq(2) | text.str.startswith(">")
    linear = _text(_column(frame, "lc1")).eq("a22")
    return (~narrow & (~linear | wide)).to_numpy()


FILTERS: dict[str, Callable[[pd.DataFrame], np.ndarray | None]] = {
    "not observed in the field within 100 m": _in_situ,
    "seen beside the point (look to the north or east)": _on_the_point,
    f"observed from more than {NEAR:.0f} m": _near,
    f"parcel below {SMALLEST} ha": _large,
    f"land cover below {LEAST:.0f} % of the parcel": _mostly,
    "linear feature": _wide,
}
"""What is demanded of a point; each returns (N,) bool, None where the file does not tell."""

MIXED = f"{WINDOW} x {WINDOW} pixels around it not of one class in the old map"
"""The demand that needs a map, and is made where there is one."""


def years(values: pd.Series) -> pd.Series:
    """Return the years of survey dates, NaN where one is none; ``03/04/18`` is of April, as LUCAS writes."""
    european = values.astype("string").str.fullmatch(r"\d{1,2}/\d{1,2}/\d{2,4}").any()
    return pd.to_datetime(values, errors="coerce", utc=True, dayfirst=bool(european)).dt.year


def _column(frame: pd.DataFrame, name: str) -> pd.Series | None:
    found = next((column for column in frame.columns if str(column).lower().removeprefix("survey_") == name), None)
    return None if found is None else frame[found]


def _number(values: pd.Series) -> pd.Series:
    return pd.to_numeric(values, errors="coerce")


def _text(values: pd.Series | None) -> pd.Series:
    return pd.Series(values).astype("string").fillna("").str.strip().str.lower()
