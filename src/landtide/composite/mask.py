"""Which pixels of an acquisition are dropped: cloud, shadow and the like, with their edges."""

import numpy as np
import rasterio
from numba import njit
from rasterio.crs import CRS
from rasterio.windows import Window

from landtide.core.bands import SCL, band_id
from landtide.core.study import Mask
from landtide.core.tile import Tile
from landtide.io.raster import read_dataset_on_grid

SCL_CLOUDS = frozenset({3, 8, 9, 10})
"""Shadow, cloud of medium and high probability, cirrus: they reach beyond their marked pixels. No data (0) and saturated (1) do not."""

ROUNDING = 1e-9
"""Share of a length by which a distance may exceed it: 60 m is six pixels of 10 m, whatever binary fractions say."""


def read_dropped(dataset: rasterio.DatasetReader, tile: Tile, window: Window, mask: Mask, nodata: float | None) -> np.ndarray:
    """Return (h, w) bool, True where a window of the tile is dropped.

    Codes are dilated on the mask's own pixels, with those around the window, and then brought to the tile (nearest): the result does not
    depend on how the tile is cut. Pixels without a code (outside the raster, no data) are dropped and not dilated.
    """
    grid = _mask_grid(dataset, tile, mask.dilate)
    rows, columns = _nearest(tile, grid, window)
    reach = disk(mask.dilate, height=abs(grid.transform[4]), width=abs(grid.transform[0]))
    halo_rows, halo_columns = len(reach) // 2, int(reach.max())
    top, left = int(rows.min()) - halo_rows, int(columns.min()) - halo_columns
    area = Window(left, top, int(columns.max()) + halo_columns + 1 - left, int(rows.max()) + halo_rows + 1 - top)
    codes = read_dataset_on_grid(dataset, grid, area, fill=0 if nodata is None else nodata, nodata=nodata)
    dropped = drop_codes(codes, mask, reach)
    if nodata is not None:
        dropped |= codes == nodata
    on_tile = np.ascontiguousarray(dropped[np.ix_(rows - top, columns - left)])
    on_tile[(rows < 0) | (rows >= grid.shape[0])] = True
    on_tile[:, (columns < 0) | (columns >= grid.shape[1])] = True
    return on_tile


def drop_codes(codes: np.ndarray, mask: Mask, reach: np.ndarray) -> np.ndarray:
    """Return (H, W) bool, True where a code is dropped or lies within reach of one that spreads."""
    spreading = SCL_CLOUDS.intersection(mask.drop) if band_id(mask.asset) == SCL else set(mask.drop)
    dropped = np.isin(codes, sorted(spreading))
    if dropped.any() and len(reach) > 1:
        dropped = dilate(dropped, reach)
    resting = sorted(set(mask.drop) - spreading)
    return dropped | np.isin(codes, resting) if resting else dropped


def disk(radius: float, *, height: float, width: float) -> np.ndarray:
    """Return (2R + 1,) how many columns a disk reaches to either side, for each row from R above its centre to R below.

    radius, height, width  m; the latter two of a pixel, which need not be square
    """
    radius *= 1 + ROUNDING
    rows = np.arange(-int(radius // height), int(radius // height) + 1)
    reach: np.ndarray = (np.sqrt(radius**2 - (rows * height) ** 2) // width).astype(np.int64)
    return reach


def dilate(marked: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return (H, W) bool, True within a disk's reach of a marked pixel."""
    return _dilate(_distance_in_row(marked), reach)


@njit(cache=True, nogil=True)
def _distance_in_row(marked: np.ndarray) -> np.ndarray:
    """Return (H, W) int32 columns to the nearest marked pixel of the same row; beyond the width where there is none."""
    rows, columns = marked.shape
    distance = np.empty((rows, columns), np.int32)
    for row in range(rows):
        last = -columns
        for column in range(columns):
            if marked[row, column]:
                last = column
            distance[row, column] = column - last
        last = 2 * columns
        for column in range(columns - 1, -1, -1):
            if marked[row, column]:
                last = column
            distance[row, column] = min(distance[row, column], last - column)
    return distance


@njit(cache=True, nogil=True)
def _dilate(distance: np.ndarray, reach: np.ndarray) -> np.ndarray:
    rows, columns = distance.shape
    radius = reach.size // 2
    near = np.zeros((rows, columns), np.bool_)
    for row in range(rows):
        for other in range(max(0, row - radius), min(rows, row + radius + 1)):
            limit = reach[other - row + radius]
            for column in range(columns):
                near[row, column] |= distance[other, column] <= limit
    return near


def _mask_grid(dataset: rasterio.DatasetReader, tile: Tile, dilate: float) -> Tile:
    """Return the grid to dilate on: the mask's own, or the tile's, wider by the dilation, where the mask is in another projection."""
    own = dataset.transform
    if dataset.crs == CRS.from_user_input(tile.crs) and own.b == own.d == tile.transform[1] == tile.transform[3] == 0:
        return Tile(tile.name, tile.crs, tuple(own)[:6], dataset.shape)
    pad = int(dilate // tile.pixel_size) + 2
    return tile.crop(Window(-pad, -pad, tile.shape[1] + 2 * pad, tile.shape[0] + 2 * pad))


def _nearest(tile: Tile, grid: Tile, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (h,) and columns (w,) of another grid of the same axes in which a window's pixel centres lie."""
    to_grid = ~grid.affine @ tile.affine
    rows = to_grid.f + to_grid.e * (window.row_off + np.arange(window.height) + 0.5)
    columns = to_grid.c + to_grid.a * (window.col_off + np.arange(window.width) + 0.5)
    return np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
