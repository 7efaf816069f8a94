"""Old maps of polygons: which column holds the code, and the polygons that meet a tile."""

import re
from functools import lru_cache

import geopandas as gpd
import numpy as np
import shapely
from rasterio.warp import transform_bounds

from landtide.core.errors import InputError
from landtide.core.tile import Tile
from landtide.io import storage, vector
from landtide.retrieve import place
from landtide.retrieve.place import Box

CODE_COLUMNS = (
    r"code_?\d{2,4}",
    r"clc_?code",
    r"code",
    r"clc(_?\d{2,4})?",
    r"class(_?(id|code|value))?",
    r"label",
    r"lc1?",
    r"lulc_?id",
    r"value",
)
"""What columns with a map's code are called, the surest first. ``CODE_18`` is CORINE's own."""


class NoOverlapError(InputError):
    """A map and a tile do not meet."""


@lru_cache(maxsize=2)
def polygons(uri: str, layer: str | None, column: str | None, year: int | None, tile: Tile) -> gpd.GeoDataFrame:
    """Return the polygons that meet a tile, in its CRS, with their ``code`` as a whole number."""
    if not storage.exists(uri):
        raise InputError(f"old map {uri} does not exist: correct its path in the study file")
    info = vector.layer_info(uri, layer)
    if info["crs"] is None:
        raise InputError(f"old map {uri} has no CRS: its polygons cannot be placed")
    crs, bounds = str(info["crs"]), info["bounds"]
    assert isinstance(bounds, tuple)
    require_overlap(uri, crs, bounds, tile)
    name = code_column(uri, column, [str(field) for field in np.asarray(info["fields"]).tolist()], year)
    box = transform_bounds(tile.crs, crs, *tile.bounds, densify_pts=21)
    frame = vector.read_polygons(uri, layer, bbox=box).to_crs(tile.crs)
    frame = frame[~frame.geometry.isna() & ~frame.geometry.is_empty]
    return gpd.GeoDataFrame({"code": _whole(frame[name], uri, name)}, geometry=frame.geometry.values, crs=tile.crs)


def code_column(uri: str, asked: str | None, fields: list[str], year: int | None) -> str:
    """Return the column that holds the code: the one asked for, else the one that looks most like it.

    Files of changes hold the codes of two years (``Code_12``, ``Code_18``): that of the map's year counts, else the later.
    """
    if asked is not None:
        if asked not in fields:
            raise InputError(f"old map {uri} has no column {asked!r} (it has {', '.join(fields)}): correct old_map.column")
        return asked
    for pattern in CODE_COLUMNS:
        found = {field: _year_of(field) for field in fields if re.fullmatch(pattern, field, re.IGNORECASE)}
        if found:
            of_year = [field for field, told in found.items() if year is not None and told == year]
            return of_year[0] if of_year else max(found, key=lambda field: found[field])
    raise InputError(f"old map {uri} has no column that looks like a code (it has {', '.join(fields)}): name it in old_map.column")


def _year_of(field: str) -> int:
    """Return the year in a column's name, 0 where there is none: ``CODE_90`` is of 1990, ``CODE_06`` of 2006."""
    digits = re.search(r"(\d{4}|\d{2})$", field)
    if digits is None:
        return 0
    number = int(digits[0])
    return number if number > 99 else number + (1900 if number > 80 else 2000)


def _whole(values: "gpd.GeoSeries", uri: str, column: str) -> np.ndarray:
    """Return codes as int32, (N,); text such as ``311`` counts."""
    texts = [str(value).strip().removesuffix(".0") for value in values]
    wrong = sorted({text for text in texts if re.fullmatch(r"-?\d{1,9}", text) is None})
    if wrong:
        raise InputError(f"old map {uri}: column {column!r} holds {wrong[0]!r}, no whole number: name another in old_map.column")
    return np.array([int(text) for text in texts], np.int32)


def require_overlap(uri: str, crs: str, bounds: Box, tile: Tile) -> None:
    """Raise InputError where a map's extent and a tile's do not meet, naming both in degrees."""
    ours = place.outline(tile)
    theirs = shapely.box(*transform_bounds(crs, "EPSG:4326", *bounds, densify_pts=21))
    if not ours.intersects(theirs):
        raise NoOverlapError(
            f"old map {uri} covers {_degrees(theirs.bounds)} and does not overlap tile {tile.name}, {_degrees(ours.bounds)} "
            "(west, south, east, north): choose a map of the area, or correct `area`"
        )


def _degrees(box: Box) -> str:
    return "[" + ", ".join(f"{value:.4f}" for value in box) + "]"
