"""Labelled points as samples, beside or instead of an old map: cleaned and weighted as what comes out of a map is."""

from dataclasses import dataclass

import numpy as np

from landtide.core.errors import InputError
from landtide.core.legend import Legend
from landtide.extract.features import principal_scores, standardise
from landtide.extract.groups import FOLDS, judge_groups

AT_ITS_WORD = 0.99
"""Trust of a point of which nothing tells that it is wrong, where too few points are there to judge it."""

JUDGED = 50
"""Points from which on they can judge each other."""


@dataclass(frozen=True)
class LabelledPoint:
    """One point on the ground with its class."""

    tile: str
    row: int
    column: int
    label: int
    """1..K"""

    year: int | None = None
    """Year of the observation; None = it holds for all years of the study."""

    trust: float | None = None
    """Probability that the label is right, where somebody told it; None = the points judge each other."""

    group: int | None = None
    """Points of one group, such as a polygon, are right or wrong together; None = a group of its own."""


def point_series(points: list[LabelledPoint], tiles: list[str], years: list[int], legend: Legend) -> np.ndarray:
    """Return one row a (point, year) as int64 (N, 6): tile number, row, column, label, year number, point number.

    A point observed in a year of the study counts for that year; in another year for the nearest one.
    Raises InputError for a label outside the legend or a tile that the study does not have.
    """
    rows: list[tuple[int, ...]] = []
    for number, point in enumerate(points):
        if not 1 <= point.label <= len(legend):
            raise InputError(f"point {number} has label {point.label}, which legend {legend.name!r} of {len(legend)} classes does not have")
        if point.tile not in tiles:
            raise InputError(f"point {number} lies on tile {point.tile}, which the study does not have (it has {', '.join(tiles)})")
        held = range(len(years)) if point.year is None else [_nearest(point.year, years)]
        rows.extend((tiles.index(point.tile), point.row, point.column, point.label, year, number) for year in held)
    return np.array(rows, np.int64).reshape(-1, 6)


def point_trust(x: np.ndarray, label: np.ndarray, year: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """Return the probability (N,) float32 that each label is right, from what the other points say.

    x      (N, F) float32 series, NaN = missing
    label  (N,) 1..K
    year   (N,) number of the year
    group  (N,) points that are never judged by each other

    Too few points to judge each other are taken at their word. Source: see `landtide.extract.groups`.
    """
    kinds, own = np.unique(label, return_inverse=True)
    if len(kinds) < 2 or min(len(np.unique(group[own == k])) for k in range(len(kinds))) < FOLDS or len(np.unique(group)) < JUDGED:
        return np.full(len(label), AT_ITS_WORD, np.float32)
    scores = principal_scores(standardise(x, year))
    belief = judge_groups(scores.values / np.sqrt(scores.deviation), own + 1, group, len(kinds), seed)
    return belief[np.arange(len(own)), own]


def _nearest(year: int, years: list[int]) -> int:
    return min(range(len(years)), key=lambda index: (abs(years[index] - year), index))
