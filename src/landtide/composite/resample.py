"""Bands of any grid on the tile's grid, so that the result of a window does not depend on how the tile is cut."""

import math

import numpy as np
import rasterio
import rasterio.warp
from numba import njit
from rasterio.crs import CRS
from rasterio.windows import Window

from landtide.core.tile import Tile
from landtide.io.raster import grid_offset, read_dataset_on_grid

KNOT = 128
"""Pixels between the points whose place in the source is computed; the pixels between lie on straight lines. Over 1.28 km two UTM zones
differ from straight by centimetres. Windows start at multiples of it, so every window sees the same points."""


def read_band(dataset: rasterio.DatasetReader, tile: Tile, window: Window, *, fill: float) -> np.ndarray:
    """Return a window of the tile, (h, w) in the raster's own type: a copy on its own grid, else interpolated (bilinear).

    fill  no-data value: of the raster, of pixels outside it, and of the result where the nearest pixel has none. The other three
          neighbours count as far as they are valid

    GDAL's warper does the same four times slower (from another UTM zone 18 times), and there a value's last digit depends on the window.
    """
    if grid_offset(dataset, tile) is not None:
        return read_dataset_on_grid(dataset, tile, window, fill=fill, nodata=fill)
    rows, columns = _knots(dataset, tile, window)
    top, left = math.floor(rows.min()) - 1, math.floor(columns.min()) - 1
    area = Window(left, top, math.floor(columns.max()) + 2 - left, math.floor(rows.max()) + 2 - top)
    own = Tile(tile.name, str(dataset.crs), tuple(dataset.transform)[:6], dataset.shape)
    source = read_dataset_on_grid(dataset, own, area, fill=fill, nodata=fill)
    out = np.empty((int(window.height), int(window.width)), source.dtype)
    _bilinear(source, rows - top, columns - left, source.dtype.type(fill), source.dtype.kind in "iu", out)
    return out


def _knots(dataset: rasterio.DatasetReader, tile: Tile, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns, in pixels of the source, of the points around and in a window; each (I, J) float64."""
    down = np.arange(window.row_off, window.row_off + window.height + KNOT, KNOT)
    right = np.arange(window.col_off, window.col_off + window.width + KNOT, KNOT)
    y, x = (axis.ravel().astype(np.float64) for axis in np.meshgrid(down, right, indexing="ij"))
    to_crs, to_source = tile.affine, ~dataset.transform
    x, y = to_crs.a * x + to_crs.b * y + to_crs.c, to_crs.d * x + to_crs.e * y + to_crs.f
    crs = CRS.from_user_input(tile.crs)
    if dataset.crs != crs:
        x, y = (np.array(axis) for axis in rasterio.warp.transform(crs, dataset.crs, x, y))
    columns = to_source.a * x + to_source.b * y + to_source.c
    rows = to_source.d * x + to_source.e * y + to_source.f
    return rows.reshape(len(down), len(right)), columns.reshape(len(down), len(right))


@njit(cache=True, nogil=True)
def _bilinear(source: np.ndarray, rows: np.ndarray, columns: np.ndarray, fill: float, whole: bool, out: np.ndarray) -> None:
    """Interpolate; `rows` and `columns` are the knots in pixels of `source`, `whole` asks for rounding."""
    height, width = out.shape
    for y in range(height):
        i, down = y // KNOT, (y % KNOT + 0.5) / KNOT
        for j in range((width + KNOT - 1) // KNOT):
            row = rows[i, j] + (rows[i + 1, j] - rows[i, j]) * down - 0.5
            column = columns[i, j] + (columns[i + 1, j] - columns[i, j]) * down - 0.5
            row_step = (rows[i, j + 1] + (rows[i + 1, j + 1] - rows[i, j + 1]) * down - 0.5 - row) / KNOT
            column_step = (columns[i, j + 1] + (columns[i + 1, j + 1] - columns[i, j + 1]) * down - 0.5 - column) / KNOT
            for x in range(j * KNOT, min(width, (j + 1) * KNOT)):
                along = x - j * KNOT + 0.5
                value = _between(source, row + row_step * along, column + column_step * along, fill)
                if whole:
                    value = np.rint(value)
                out[y, x] = value


@njit(cache=True, nogil=True)
def _between(source: np.ndarray, row: float, column: float, fill: float) -> float:
    """Return the weighted mean of the valid pixels around a place; no data where the nearest has none."""
    top, left = int(np.floor(row)), int(np.floor(column))
    below, beside = row - top, column - left
    a, b, c, d = source[top, left], source[top, left + 1], source[top + 1, left], source[top + 1, left + 1]
    weight_a, weight_b = (1 - below) * (1 - beside), (1 - below) * beside
    weight_c, weight_d = below * (1 - beside), below * beside
    if _valid(a, fill) and _valid(b, fill) and _valid(c, fill) and _valid(d, fill):
        mean: float = weight_a * a + weight_b * b + weight_c * c + weight_d * d
        return mean
    nearest = source[top + (below >= 0.5), left + (beside >= 0.5)]
    if not _valid(nearest, fill):
        return fill
    total, weight = 0.0, 0.0
    for value, share in ((a, weight_a), (b, weight_b), (c, weight_c), (d, weight_d)):
        if _valid(value, fill):
            total += share * value
            weight += share
    return total / weight


@njit(cache=True, nogil=True, inline="always")
def _valid(value: float, fill: float) -> bool:
    return value == value and value != fill
