"""Where things lie: outlines in degrees, UTM grids, and whether they meet."""

import json
import math
from functools import lru_cache
from typing import Any

import mgrs
import numpy as np
import shapely
import shapely.affinity
from rasterio.crs import CRS
from rasterio.warp import transform, transform_bounds
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from landtide.core.tile import RESOLUTION, Tile, mgrs_tile

EDGE_POINTS = 21
"""Points along each side of an outline: the side of a UTM tile bends in degrees by less than a pixel between them."""

ROUNDING = 1e-6
"""Pixels."""

Box = tuple[float, float, float, float]
"""West, south, east, north."""


@lru_cache(maxsize=256)
def outline(tile: Tile) -> BaseGeometry:
    """Return a tile's outline in WGS 84 degrees, in two parts where it crosses the antimeridian."""
    west, south, east, north = tile.bounds
    steps = np.linspace(0, 1, EDGE_POINTS)[:-1]
    xs = np.concatenate([west + steps * (east - west), np.full(steps.size, east), east - steps * (east - west), np.full(steps.size, west)])
    ys = np.concatenate(
        [np.full(steps.size, south), south + steps * (north - south), np.full(steps.size, north), north - steps * (north - south)]
    )
    lon, lat = (np.asarray(values) for values in transform(tile.crs, "EPSG:4326", xs.tolist(), ys.tolist()))
    if lon.max() - lon.min() <= 180:
        return shapely.Polygon(zip(lon, lat, strict=True))
    whole = shapely.Polygon(zip(np.where(lon < 0, lon + 360, lon), lat, strict=True))
    parts = [whole & shapely.box(0, -90, 180, 90), shapely.affinity.translate(whole & shapely.box(180, -90, 360, 90), xoff=-360)]
    return shapely.MultiPolygon([part for part in parts if part.area > 0])


def shows(geometry: dict[str, Any] | None, tile: Tile) -> bool:
    """Say whether a footprint in degrees reaches a tile; a footprint that is missing or spans the antimeridian cannot rule it out."""
    if geometry is None:
        return True
    shape = shapely.from_geojson(json.dumps(geometry))
    if shape.bounds[2] - shape.bounds[0] > 180:
        return True
    return bool(shapely.make_valid(shape).intersects(outline(tile)))


def agree(one: Tile, other: Tile) -> bool:
    """Say whether two grids cover the same ground, to half a pixel; their resolutions may differ."""
    limit = min(one.pixel_size, other.pixel_size) / 2
    return same_crs(one.crs, other.crs) and all(abs(a - b) < limit for a, b in zip(one.bounds, other.bounds, strict=True))


def meet(one: Tile, other: Tile) -> bool:
    """Say whether two grids share ground. Grids of different CRS may: their footprints decide."""
    return not same_crs(one.crs, other.crs) or overlap(one.bounds, other.bounds)


def overlap(one: Box, other: Box) -> bool:
    """Say whether two boxes of one CRS share an area."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def inside(inner: Box, outer: Box) -> bool:
    """Say whether a box lies in another of the same CRS."""
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


@lru_cache(maxsize=256)
def same_crs(one: str, other: str) -> bool:
    """Say whether two names mean one CRS."""
    return one == other or CRS.from_user_input(one) == CRS.from_user_input(other)


def mgrs_tile_at(lon: float, lat: float) -> Tile:
    """Return the Sentinel-2 tile whose 100 km square holds a point."""
    return mgrs_tile(mgrs.MGRS().toMGRS(lat, lon, MGRSPrecision=0))


def projected(box: Box, crs: str) -> Box:
    """Return the box in a CRS that encloses a box in degrees."""
    west, south, east, north = transform_bounds("EPSG:4326", crs, *box)
    return (west, south, east, north)


def window_of(grid: Tile, box: Box) -> Window | None:
    """Return the window of a grid that a box in its CRS needs, whole pixels outward; None where they do not meet."""
    left, top = ~grid.affine * (box[0], box[3])
    right, bottom = ~grid.affine * (box[2], box[1])
    # A box that lies on the grid already must not grow by a pixel from rounding.
    columns = (max(0, math.floor(left + ROUNDING)), min(grid.shape[1], math.ceil(right - ROUNDING)))
    rows = (max(0, math.floor(top + ROUNDING)), min(grid.shape[0], math.ceil(bottom - ROUNDING)))
    if columns[0] >= columns[1] or rows[0] >= rows[1]:
        return None
    return Window(columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0])


def widened(window: Window, grid: Tile, margin: int) -> Window:
    """Return a window of a grid with a margin on all sides, as far as the grid goes."""
    left, top = max(0, window.col_off - margin), max(0, window.row_off - margin)
    right = min(grid.shape[1], window.col_off + window.width + margin)
    bottom = min(grid.shape[0], window.row_off + window.height + margin)
    return Window(left, top, right - left, bottom - top)


def crop(grid: Tile, box: Box) -> Tile | None:
    """Return the part of a grid that a box in its CRS needs, None where they do not meet."""
    window = window_of(grid, box)
    return grid.crop(window) if window is not None else None


def snapped(name: str, crs: str, box: Box, resolution: float = RESOLUTION) -> Tile:
    """Return the grid that encloses a box, its corner on a multiple of the pixel as those of all Sentinel-2 grids are."""
    west, south = (math.floor(value / resolution) * resolution for value in box[:2])
    east, north = (math.ceil(value / resolution) * resolution for value in box[2:])
    shape = (round((north - south) / resolution), round((east - west) / resolution))
    return Tile(name, crs, (resolution, 0.0, west, 0.0, -resolution, north), shape)


def coarsened(tile: Tile, resolution: float) -> Tile:
    """Return the grid over the same ground with pixels of another size, which must divide its sides."""
    factor = resolution / tile.pixel_size
    a, b, c, d, e, f = tile.transform
    shape = (round(tile.shape[0] / factor), round(tile.shape[1] / factor))
    return Tile(tile.name, tile.crs, (a * factor, b * factor, c, d * factor, e * factor, f), shape)
