"""Labelled points as samples, beside or instead of an old map."""

from dataclasses import dataclass

import numpy as np

from landtide.core.errors import InputError
from landtide.core.legend import Legend


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


def _nearest(year: int, years: list[int]) -> int:
    return min(range(len(years)), key=lambda index: (abs(years[index] - year), index))
