"""Coarse looks at acquisitions, for the test whether the baseline offset is in the pixels."""

import math

import numpy as np

from landtide.core.tile import Tile
from landtide.io.raster import read_on_grid
from landtide.retrieve.cache import Kept
from landtide.retrieve.offset_test import Look

SIDE = 256
"""Pixels along the longer side of a look: stands of vegetation are still seen at 430 m, and overviews make it cheap."""

TESTED = {"blue": ("B02",), "red": ("B04",), "nir": ("B08", "B8A")}
"""Which bands of the study serve the test."""


def bands_tested(bands: tuple[str, ...]) -> dict[str, str]:
    """Return which of a study's bands serve as blue, red and near infrared; empty where red or near infrared is not among them."""
    found = {role: next(name for name in names if name in bands) for role, names in TESTED.items() if set(names) & set(bands)}
    return found if {"red", "nir"} <= found.keys() else {}


def coarse(tile: Tile) -> Tile:
    """Return a grid over the same ground with at most `SIDE` pixels a side."""
    factor = max(1, math.ceil(max(tile.shape) / SIDE))
    rows, columns = (math.ceil(side / factor) for side in tile.shape)
    a, b, c, d, e, f = tile.transform
    down, across = tile.shape[0] / rows, tile.shape[1] / columns
    return Tile(tile.name, tile.crs, (a * across, b * down, c, d * across, e * down, f), (rows, columns))


def read_numbers(kept: Kept, nodata: float | None, tile: Tile) -> np.ndarray:
    """Return the digital numbers of an asset on a coarse grid, (h, w), its no-data value where there is none."""
    return read_on_grid(kept.href, coarse(tile), fill=nodata if nodata is not None else 0, nodata=nodata)


def look(
    name: str,
    day: float,
    numbers: dict[str, np.ndarray],
    scales: dict[str, float],
    nodata: dict[str, float | None],
    *,
    mask: np.ndarray | None,
    drop: list[int],
) -> Look:
    """Return a look in reflectance without offset from digital numbers by role (blue, red, nir)."""
    masked = np.isin(mask, drop) if mask is not None else False
    values = {}
    for role, array in numbers.items():
        missing = masked | (array == nodata[role]) if nodata[role] is not None else masked
        values[role] = np.where(missing, np.nan, array.astype(np.float32) * np.float32(scales[role])).astype(np.float32)
    blank = np.full_like(values["red"], np.nan)
    return Look(name, day, values.get("blue", blank), values["red"], values["nir"])
