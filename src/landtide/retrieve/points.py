"""Labelled points and polygons: where they are on a tile, which class they show, of which year, and how sure that is."""

import re
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from rasterio.features import geometry_mask
from rasterio.windows import Window
from scipy import ndimage

from landtide.core import lucas
from landtide.core.errors import InputError
from landtide.core.legend import Crosswalk, Legend, builtin_crosswalk, identity_crosswalk
from landtide.core.study import Study
from landtide.core.tile import Tile
from landtide.io.raster import open_raster
from landtide.io.vector import read_points

LABEL_COLUMNS = ("code", "class", "label", "lc1", "survey_lc1", "landcover_label", "land_cover", "lc", "class_id", "reference")
YEAR_COLUMNS = ("year", "survey_year")
REVIEW_COLUMN = "reviewed_class"
"""Where people correct the polygons of an audit; rows without an entry are not labels."""

TRUST_COLUMNS = ("trust", "weight")
REVIEWED = 0.99
"""Trust of a label that a person gave after looking, where the file does not tell another."""

POLYGON_PIXELS = 50
"""Pixels taken of a labelled polygon at most: they are right or wrong together, and many of one would outvote other polygons."""

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

    trust: tuple[float | None, ...]
    """Probability that each label is right, None where the file does not tell."""

    row: np.ndarray
    """(N,) int64 row of the file, counted without rows that are no labels: pixels of one polygon share it."""

    columns: pd.DataFrame
    """The file's other columns, row by row: strata, weights, ids."""

    outside: int
    """Points that lie outside the tile."""

    excluded: int
    """Points whose code the crosswalk knows but gives no class."""

    dropped: dict[str, int]
    """Points that a filter dropped, by filter: LUCAS points that do not show one land cover on their pixel. What the survey's own columns
    tell drops points of the whole file, the old map points of the tile."""


@dataclass(frozen=True)
class Cover:
    """An old map on a tile's grid, by which points of LUCAS are told whether they stand in one land cover."""

    uri: str
    """Raster of codes, as `warp_old_map` writes it."""

    crosswalk: Crosswalk
    """Codes of one class count as one land cover; each of the others is one of its own."""


def labelled_points(uri: str, crosswalk: Crosswalk, tile: Tile, cover: Cover | None = None) -> LabelledPoints:
    """Return the points of a file (Parquet, GeoPackage, GeoJSON, CSV) that lie on a tile; of polygons some of their inner pixels.

    cover  the old map of the tile, where there is one: points of LUCAS at whose place it changes class are dropped

    Raises InputError where the file cannot be read, has no column of classes, or holds a code that the crosswalk does not know.
    """
    everywhere, dropped = _sieved(uri, tile.crs)
    here = on_tile(everywhere, tile)
    outside = len(everywhere) - len(here)
    if cover is not None and lucas.is_survey(everywhere):
        alone = _in_one_cover(here, tile, cover)
        here, dropped = here[alone], {**dropped, lucas.MIXED: int((~alone).sum())}
    label = np.array([crosswalk.labels[code] or 0 for code in point_codes(uri, everywhere, crosswalk)], np.uint8)[here.index]
    trust = [_trusts(uri, everywhere)[row] for row in here.index]
    frame, xy = _as_points(here[label > 0], tile)
    place = here.index.get_indexer(frame.index)
    columns, rows = ~tile.affine @ (xy[:, 0], xy[:, 1])
    return LabelledPoints(
        xy=xy,
        label=label[place],
        pixel=np.floor(np.column_stack([rows, columns])).astype(np.int64),
        year=tuple(_years(frame)),
        trust=tuple(trust[index] for index in place),
        row=frame.index.to_numpy(np.int64),
        columns=pd.DataFrame(frame.drop(columns=frame.geometry.name)).reset_index(drop=True),
        outside=outside,
        excluded=int((label == 0).sum()),
        dropped=dropped,
    )


def on_tile(frame: gpd.GeoDataFrame, tile: Tile) -> gpd.GeoDataFrame:
    """Return the points that lie on a tile, and the polygons that reach into it, in its CRS, under their old index."""
    projected = frame.to_crs(tile.crs)
    areal = projected.geometry.geom_type.isin(["Polygon", "MultiPolygon"]).to_numpy()
    place = projected.geometry.where(~areal, projected.geometry.representative_point())
    columns, rows = ~tile.affine @ (place.x.to_numpy(), place.y.to_numpy())
    inside = (columns >= 0) & (columns < tile.shape[1]) & (rows >= 0) & (rows < tile.shape[0])
    reaching = projected.geometry.intersects(shapely.box(*tile.bounds)).to_numpy()
    return projected[np.where(areal, reaching, inside)]


def _in_one_cover(frame: gpd.GeoDataFrame, tile: Tile, cover: Cover) -> np.ndarray:
    """Say of each point (N,) bool whether the pixels around it are of one class in an old map; pixels without data do not count.

    Polygons pass: the surveyor drew them within one land cover.
    """
    alone = np.ones(len(frame), bool)
    reach = lucas.WINDOW // 2
    with open_raster(cover.uri) as dataset:
        for number, place in enumerate(frame.geometry):
            if place.geom_type != "Point":
                continue
            column, row = (int(value) for value in np.floor(~tile.affine @ (place.x, place.y)))
            top, left = max(row - reach, 0), max(column - reach, 0)
            bottom, right = min(row + reach + 1, tile.shape[0]), min(column + reach + 1, tile.shape[1])
            codes = dataset.read(1, window=Window(left, top, right - left, bottom - top))
            alone[number] = lucas.uniform(_covers(codes, dataset.nodata, cover.crosswalk))
    return alone


def _covers(codes: np.ndarray, fill: float | None, crosswalk: Crosswalk) -> np.ndarray:
    """Return a number for each land cover, int64: its class, below 0 for a code without a class, 0 = no data."""
    label = crosswalk.translate(codes, fill).astype(np.int64)
    _, other = np.unique(codes, return_inverse=True)
    return np.where(codes == fill, 0, np.where(label > 0, label, -1 - other.reshape(codes.shape)))


def _as_points(frame: gpd.GeoDataFrame, tile: Tile) -> tuple[gpd.GeoDataFrame, np.ndarray]:
    """Return a row a pixel, and its centre (N, 2): a point's own place, and some of a polygon's inner pixels."""
    index: list[int] = []
    places: list[np.ndarray] = []
    for row, shape in zip(frame.index, frame.geometry, strict=True):
        found = np.array([[shape.x, shape.y]]) if shape.geom_type == "Point" else _inner_pixels(shape, tile, int(row))
        places.append(found)
        index += [row] * len(found)
    return frame.loc[index], np.concatenate(places) if places else np.zeros((0, 2))


def _inner_pixels(shape: shapely.Geometry, tile: Tile, seed: int) -> np.ndarray:
    """Return centres (n, 2) of pixels inside a polygon and not at its edge if it has such; of one smaller than a pixel its own place."""
    shape = shapely.intersection(shape, shapely.box(*tile.bounds))
    if shape.is_empty or shape.area == 0:
        return np.zeros((0, 2))
    west, south, east, north = shape.bounds
    left, top = (int(value) for value in np.floor(~tile.affine @ (west, north)))
    right, bottom = (int(value) for value in np.ceil(~tile.affine @ (east, south)))
    part = tile.crop(Window(left, top, max(1, right - left), max(1, bottom - top)))
    inside = geometry_mask([shape], part.shape, part.affine, invert=True)
    deep = ndimage.binary_erosion(inside)
    row, column = np.nonzero(deep if deep.any() else inside)
    if not len(row):
        middle = shape.representative_point()
        return np.array([[middle.x, middle.y]])
    chosen = np.sort(np.random.default_rng(seed).permutation(len(row))[:POLYGON_PIXELS])
    return np.column_stack(part.affine @ (column[chosen] + 0.5, row[chosen] + 0.5))


def near_reference(study: Study, tile: Tile, pixel: np.ndarray) -> np.ndarray:
    """Say which pixels of a tile (N, 2) lie on or beside the pixel of a reference point of the study, (N,) bool."""
    if study.evaluate.points is None or not len(pixel):
        return np.zeros(len(pixel), bool)
    frame = on_tile(points_frame(study.evaluate.points, tile.crs), tile)
    columns, rows = ~tile.affine @ (frame.geometry.x.to_numpy(), frame.geometry.y.to_numpy())
    places = {
        (int(row) + down, int(column) + right)
        for row, column in zip(rows, columns, strict=True)
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    }
    return np.array([(row, column) in places for row, column in pixel.tolist()])


def points_crosswalk(uri: str, legend: Legend, crs: str) -> Crosswalk:
    """Return the crosswalk of training points: LUCAS's where their column is LUCAS's ``lc1``, else the legend's own codes."""
    column = _label_column(points_frame(uri, crs))
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
    frame = frame[frame.geometry.notna() & ~frame.geometry.is_empty]
    kinds = sorted(set(frame.geometry.geom_type) - {"Point", "Polygon", "MultiPolygon"})
    if kinds:
        raise InputError(f"points {uri} hold {', '.join(kinds)}: only points and polygons can be labels")
    if not len(frame):
        raise InputError(f"points {uri} hold no point")
    review = _column(frame, (REVIEW_COLUMN,))
    if review is not None:
        frame = frame[frame[review].fillna("").astype(str).str.strip() != ""]
        if not len(frame):
            raise InputError(f"points {uri} hold no review: fill in column {review!r} of at least some rows")
    frame = frame.reset_index(drop=True)
    if not lucas.is_survey(frame):
        return frame, {}
    kept, dropped = lucas.sieve(frame)
    if not len(kept):
        raise InputError(f"points {uri}: {lucas.describe(0, dropped)}. Choose a file with points observed in the field")
    return kept, dropped


def point_codes(uri: str, frame: gpd.GeoDataFrame, crosswalk: Crosswalk) -> list[str]:
    """Return the class codes of points as text, each known to the crosswalk."""
    column = _label_column(frame)
    if column is None:
        raise InputError(f"points {uri} have no column of classes (they have {', '.join(map(str, frame.columns))}): name it `class`")
    if column.lower() in lucas.LABELS:
        codes = lucas.codes(frame, column)
    else:
        names = {name.casefold(): code for code, name in crosswalk.exact.items()}
        texts = [re.sub(r"\.0$", "", str(value).strip()) for value in frame[column]]
        codes = [text if text in crosswalk.labels else names.get(text.casefold(), text) for text in texts]
    unknown = sorted(set(codes) - set(crosswalk.labels))
    if unknown:
        raise InputError(
            f"points {uri}: column {column!r} holds {', '.join(unknown[:8])}, which crosswalk {crosswalk.name!r} does not know: "
            "add the code to the crosswalk, with an empty target to exclude it"
        )
    return codes


def _trusts(uri: str, frame: gpd.GeoDataFrame) -> list[float | None]:
    """Return each point's trust, of its trust or weight column; that of a review where there is none.

    Raises InputError for a value that is no number from 0 to 1.
    """
    column, given = _column(frame, TRUST_COLUMNS), REVIEWED if _column(frame, (REVIEW_COLUMN,)) else None
    if column is None:
        return [given] * len(frame)
    values = pd.to_numeric(frame[column], errors="coerce")
    wrong = frame[column][(frame[column].notna() & values.isna()) | (values < 0) | (values > 1)]
    if len(wrong):
        raise InputError(f"points {uri}: column {column!r} holds {wrong.tolist()[0]!r}; a trust is a number from 0 to 1")
    return [given if pd.isna(value) else float(value) for value in values]


def _label_column(frame: gpd.GeoDataFrame) -> str | None:
    return _column(frame, (REVIEW_COLUMN, *LABEL_COLUMNS))


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
