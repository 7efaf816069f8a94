"""Reference points: read them, and look up what the maps say there."""

from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
import pandas as pd

from landtide.core import lucas
from landtide.core.errors import InputError
from landtide.core.legend import Crosswalk
from landtide.core.tile import Tile
from landtide.evaluate.pixels import cells, states_at
from landtide.evaluate.tally import Maps
from landtide.evaluate.views import States
from landtide.io.vector import read_points

CLASS_COLUMNS = ("class", "code", "class_code", "label", "lc1", "lc1_18", "land_cover", "class_name")
SIZE_COLUMNS = ("stratum_pixels", "stratum_size")
DATE_COLUMNS = ("date", "datetime", "survey_date", "obs_date")


@dataclass(frozen=True)
class Points:
    """N reference points."""

    x: np.ndarray
    y: np.ndarray
    crs: str
    truth: np.ndarray
    """(N,) uint8 state of the reference; 0 = without class."""

    year: np.ndarray
    """(N,) int"""

    stratum: np.ndarray | None
    """(N,) int index into ``sizes`` where the points tell their sampling strata."""

    sizes: np.ndarray | None
    """(H,) pixels of each stratum."""

    strata: str | None
    """Column that names the strata."""

    def take(self, chosen: np.ndarray) -> "Points":
        """Return some of the points; the strata stay."""
        rows = {name: getattr(self, name)[chosen] for name in ("x", "y", "truth", "year")}
        return replace(self, **rows, stratum=None if self.stratum is None else self.stratum[chosen])


def load_points(uri: str, states: States, tiles: list[Tile], year: int) -> Points:
    """Read labelled points; ``year`` is that of points without a date.

    Points of LUCAS that do not show one land cover on their pixel are left out.
    Raises InputError where the class column is missing, a class is unknown, or strata have no or several sizes.
    """
    systems = {tile.crs for tile in tiles}
    frame = read_points(uri, systems.pop() if len(systems) == 1 else None)
    frame = frame[~frame.geometry.is_empty & frame.geometry.notna()]
    if frame.crs is None:
        raise InputError(f"{uri} does not tell its coordinate system: store it with one, or give columns lon, lat")
    if lucas.is_survey(frame):
        frame, _ = lucas.sieve(frame)
    columns = {str(name).lower(): str(name) for name in frame.columns}
    column = _class_column(uri, columns, states.codes)
    stratum, sizes, strata = _strata(uri, frame, columns, column)
    place = frame.geometry
    texts = lucas.codes(frame, column) if column.lower() in lucas.LABELS else _codes(frame[column], states.codes)
    truth = states.of_text(texts, f"{uri} column {column!r}: points")
    return Points(
        place.x.to_numpy(), place.y.to_numpy(), frame.crs.to_string(), truth, _years(frame, columns, year), stratum, sizes, strata
    )


def _class_column(uri: str, columns: dict[str, str], codes: Crosswalk | None) -> str:
    wanted = (*lucas.LABELS, "lc1_18", *CLASS_COLUMNS) if codes is not None and codes.name == "lucas" else CLASS_COLUMNS
    for name in wanted:
        if name in columns:
            return columns[name]
    raise InputError(f"{uri} has no class column: name it one of {', '.join(CLASS_COLUMNS)} (it has {', '.join(columns.values())})")


def _codes(values: pd.Series, codes: Crosswalk | None) -> list[str]:
    """Return the codes as text: 1.0 is 1, and a class's name stands for its code."""
    assert codes is not None
    by_name = {name.casefold(): code for code, name in codes.exact.items()}
    texts = values.map(lambda value: str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip())
    return [text if text in codes.labels else by_name.get(text.casefold(), text) for text in texts]


def _years(frame: gpd.GeoDataFrame, columns: dict[str, str], year: int) -> np.ndarray:
    if "year" in columns:
        found = pd.to_numeric(frame[columns["year"]], errors="coerce")
    else:
        dated = next((columns[name] for name in DATE_COLUMNS if name in columns), None)
        if dated is None:
            return np.full(len(frame), year)
        found = lucas.years(frame[dated])
    years: np.ndarray = found.fillna(year).to_numpy().astype(np.int64)
    return years


def _strata(
    uri: str, frame: gpd.GeoDataFrame, columns: dict[str, str], class_column: str
) -> tuple[np.ndarray | None, np.ndarray | None, str | None]:
    """Return index, sizes and name of the strata; without a column ``stratum`` the reference class is the stratum."""
    size = next((columns[name] for name in SIZE_COLUMNS if name in columns), None)
    if size is None:
        return None, None, None
    column = columns.get("stratum", class_column)
    names, index = np.unique(frame[column].astype(str).to_numpy(), return_inverse=True)
    values = pd.to_numeric(frame[size], errors="coerce").to_numpy()
    sizes = np.zeros(len(names))
    for stratum, name in enumerate(names):
        own = np.unique(values[index == stratum])
        if len(own) != 1 or not own[0] > 0:
            listed = ", ".join(f"{value:g}" for value in own[:4])
            raise InputError(f"{uri}: stratum {name!r} of column {column!r} has sizes {listed} in {size!r}: one positive size is needed")
        sizes[stratum] = own[0]
    return index, sizes, column


@dataclass(frozen=True)
class Matched:
    """What both maps say at N points of one year that lie on a pixel with data, and who was left out."""

    points: Points
    new: np.ndarray
    """(N,) uint8 state of the new map, never 0."""

    old: np.ndarray
    """(N,) uint8 state of the old map; 0 = it has no data there."""

    asked: np.ndarray | None
    """(H,) points of that year in each stratum, left out or not."""

    left_out: list[tuple[str, int]]


def match(points: Points, maps: Maps, year: int) -> Matched:
    """Look up the maps of a year at its points; in the strip that tiles share, the first tile with a label there counts."""
    here = points.take(points.year == year)
    new, old = np.zeros(len(here.x), np.uint8), np.zeros(len(here.x), np.uint8)
    within = np.zeros(len(here.x), bool)
    for tile in maps.tiles:
        row, column = cells(tile, here.x, here.y, here.crs)
        held = (row >= 0) & (row < tile.shape[0]) & (column >= 0) & (column < tile.shape[1])
        within |= held
        chosen = np.flatnonzero(held & (new == 0))
        layer, old_layer = maps.label(tile, year), maps.old_map(tile)
        if layer is None or not len(chosen):
            continue
        new[chosen] = states_at(layer, tile, row[chosen], column[chosen])
        if old_layer is not None:
            old[chosen] = states_at(old_layer, tile, row[chosen], column[chosen])
    reasons = {
        "outside the tiles": ~within,
        "no data in the map": within & (new == 0),
        "without a class of the legend": (new > 0) & (here.truth == 0),
    }
    used = (new > 0) & (here.truth > 0)
    asked = None if here.stratum is None or here.sizes is None else np.bincount(here.stratum, minlength=len(here.sizes))
    return Matched(
        here.take(used), new[used], old[used], asked, [(reason, int(mask.sum())) for reason, mask in reasons.items() if mask.any()]
    )
