"""How a cube becomes a picture: which bands, which months, which values are black and full."""

import re

import numpy as np
from rasterio.windows import Window

from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.io.cube import CHUNK, Cube, open_cube

COLOURS = (("B04", "B03", "B02"), ("B8A", "B04", "B03"), ("B08", "B04", "B03"), ("B11", "B8A", "B04"))
"""Natural colours, else infrared in place of red, else short-wave infrared: the first of which the cube has all bands."""

SAMPLED_CUBES = 4
SAMPLED_WINDOWS = 3
"""The colour stretch comes from this many cubes, and windows along the side of each."""


def channels(bands: tuple[str, ...]) -> tuple[int, ...]:
    """Return the places of the bands that become red, green and blue; of the first band alone, in grey, where no combination is there."""
    found = next((names for names in COLOURS if set(names) <= set(bands)), None)
    return tuple(bands.index(name) for name in found) if found else (0,)


def summer(periods: tuple[Period, ...], tile: Tile) -> tuple[int, ...]:
    """Return the steps of local summer, when the sun stands high and most land is green; all steps where none falls there."""
    southern = re.fullmatch(r"EPSG:327\d\d", tile.crs) is not None
    months = (12, 1, 2) if southern else (6, 7, 8)
    found = tuple(step for step, period in enumerate(periods) if period.middle.month in months)
    return found or tuple(range(len(periods)))


def color_stretch(cubes: list[tuple[Tile, str]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the values that become black and full, a channel each: 1st and 98.5th percentile of some windows, the same for every year.

    cubes  tile and URI of each
    """
    samples = []
    for tile, uri in cubes[:: max(1, len(cubes) // SAMPLED_CUBES)]:
        cube = open_cube(uri)
        steps, shown = list(summer(cube.periods, tile)), list(channels(cube.bands))
        for window in _spread(cube):
            values = cube.read(window)[steps][:, shown]  # (S, C, h, w)
            samples.append(np.moveaxis(values, 1, 0).reshape(len(shown), -1))
    if not samples:
        return (0.0,), (1.0,)
    values = np.concatenate(samples, axis=1)  # (C, n)
    if np.isnan(values).all(axis=1).any():
        return (0.0,) * len(values), (0.3,) * len(values)
    low, high = np.nanpercentile(values, (1, 98.5), axis=1)
    return tuple(low.tolist()), tuple(np.maximum(high, low + 1e-3).tolist())


def _spread(cube: Cube) -> list[Window]:
    """Return some chunks, spread evenly over a cube."""
    rows, columns = cube.tile.shape
    starts = [sorted({int(at) for at in np.linspace(0, (size - 1) // CHUNK, SAMPLED_WINDOWS)}) for size in (rows, columns)]
    return [
        Window(right * CHUNK, down * CHUNK, min(CHUNK, columns - right * CHUNK), min(CHUNK, rows - down * CHUNK))
        for down in starts[0]
        for right in starts[1]
    ]
