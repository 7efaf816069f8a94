"""Labelled points: where they are on a tile, which class they show, of which year."""

import re
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd

from landtide.core import lucas
from landtide.core.errors import InputError
from landtide.core.legend import Crosswalk, Legend, builtin_crosswalk, identity_crosswalk
from landtide.core.tile import Tile
from landtide.io.vector import read_points

LABEL_COLUMNS = ("code", "class", "label", "lc1", "survey_lc1", "landcover_label", "land_cover", "lc", "class_id", "reference")
YEAR_COLUMNS = ("year", "survey_year")
DATE_COLUMNS = ("date", "survey_date", "observation_date", "obs_date", "start_date")


@dataclass(frozen=True)
class LabelledPoints:
    """N points of one tile. Rows without a class in the legend, or outside the tile, are left out and counted."""

    xy: np.ndarray
    """(N, 2) float64, in the tile's CRS."""

    label: np.ndarray
    """(N,) uint8, 1..K in legend order."""

    pixel: np.ndarray
    """(N, 2) int64 row and column on the tile."""

    year: tuple[int | None, ...]
    """Year in which each was observed, None where the file does not tell."""

    columns: pd.DataFrame
    """The file's other columns, row by row: strata, weights, ids."""

    outside: int
    """Points that lie outside the tile."""

    excluded: int
    """Points whose code the crosswalk knows but gives no class."""

    dropped: dict[str, int]
    """Points of the whole file that a filter dropped, by filter: LUCAS points that do not show one land cover on their pixel."""


def labelled_points(uri: str, crosswalk: Crosswalk, tile: Tile) -> LabelledPoints:
    """Return the points of a file (Parquet, GeoPackage, GeoJSON, CSV) that lie on a tile.

    Raises InputError where the file cannot be read, has no column of classes, or holds a code that the crosswalk does not know.
    """
    everywhere, dropped = _sieved(uri, tile.crs)
    frame = on_tile(everywhere, tile)
    label = np.array([crosswalk.labels[code] or 0 for code in point_codes(uri, everywhere, crosswalk)], np.uint8)[frame.index]
    kept = label > 0
    xy = np.column_stack([frame.geometry.x, frame.geometry.y])[kept]
    columns, rows = ~tile.affine * (xy[:, 0], xy[:, 1])
    return LabelledPoints(
        xy=xy,
        label=label[kept],
        pixel=np.floor(np.column_stack([rows, columns])).astype(np.int64),
        year=tuple(year for year, keep in zip(_years(frame), kept, strict=True) if keep),
        columns=pd.DataFrame(frame.drop(columns=frame.geometry.name)).loc[kept].reset_index(drop=True),
        outside=len(everywhere) - len(frame),
        excluded=int((~kept).sum()),
        dropped=dropped,
    )


def on_tile(frame: gpd.GeoDataFrame, tile: Tile) -> gpd.GeoDataFrame:
    """Return the points that lie on a tile, in its CRS, under their old index."""
    projected = frame.to_crs(tile.crs)
    columns, rows = ~tile.affine * (projected.geometry.x.to_numpy(), projected.geometry.y.to_numpy())
    return projected[(columns >= 0) & (columns < tile.shape[1]) & (rows >= 0) & (rows < tile.shape[0])]


def points_crosswalk(uri: str, legend: Legend, crs: str) -> Crosswalk:
    """Return the crosswalk of training points: LUCAS's where their column is LUCAS's ``lc1``, else the legend's own codes."""
    column = _column(points_frame(uri, crs), LABEL_COLUMNS)
    return builtin_crosswalk("lucas", legend) if column is not None and column.lower() in lucas.LABELS else identity_crosswalk(legend)


def points_frame(uri: str, crs: str) -> gpd.GeoDataFrame:
    """Return the points of a file; ``crs`` is that of a table's columns x and y where it has no degrees.

    Points of LUCAS that do not show one land cover on their pixel are left out.
    """
    return _sieved(uri, crs)[0]


def points_note(uri: str, crs: str) -> str | None:
    """Return what the filters of LUCAS did to a file, None where it is no LUCAS file or loses no point."""
    frame, dropped = _sieved(uri, crs)
    return f"points {uri}: {lucas.describe(len(frame), dropped)}" if any(dropped.values()) else None


def _sieved(uri: str, crs: str) -> tuple[gpd.GeoDataFrame, dict[str, int]]:
    """Return the points of a file that can be used, and how many each filter dropped."""
    frame = read_points(uri, crs)
    if frame.crs is None:
        raise InputError(f"points {uri} have no CRS: give the file one, or columns lon and lat")
    frame = frame[frame.geometry.notna() & ~frame.geometry.is_empty].reset_index(drop=True)
    if not len(frame):
        raise InputError(f"points {uri} hold no point")
    if not lucas.is_survey(frame):
        return frame, {}
    kept, dropped = lucas.sieve(frame)
    if not len(kept):
        raise InputError(f"points {uri}: {lucas.describe(0, dropped)}. Choose a file with points observed in the field")
    return kept, dropped


def point_codes(uri: str, frame: gpd.GeoDataFrame, crosswalk: Crosswalk) -> list[str]:
    """Return the class codes of points as text, each known to the crosswalk."""
    column = _column(frame, LABEL_COLUMNS)
    if column is None:
        raise InputError(f"points {uri} have no column of classes (they have {', '.join(map(str, frame.columns))}): name it `class`")
    is_lucas = column.lower() in lucas.LABELS
    codes = lucas.codes(frame, column) if is_lucas else [re.sub(r"\.0$", "", str(value).strip()) for value in frame[column]]
    unknown = sorted(set(codes) - set(crosswalk.labels))
    if unknown:
        raise InputError(
            f"points {uri}: column {column!r} holds {', '.join(unknown[:8])}, which crosswalk {crosswalk.name!r} does not know: "
            "add the code to the crosswalk, with an empty target to exclude it"
        )
    return codes


def _years(frame: gpd.GeoDataFrame) -> list[int | None]:
    """Return each point's year, of its year or date column."""
    year, date = _column(frame, YEAR_COLUMNS), _column(frame, DATE_COLUMNS)
    if year is not None:
        found = pd.to_numeric(frame[year], errors="coerce")
    elif date is not None:
        found = lucas.years(frame[date])
    else:
        return [None] * len(frame)
    return [None if pd.isna(value) else int(value) for value in found]


def _column(frame: gpd.GeoDataFrame, names: tuple[str, ...]) -> str | None:
    lower = {str(column).lower(): str(column) for column in frame.columns}
    return next((lower[name] for name in names if name in lower), None)
