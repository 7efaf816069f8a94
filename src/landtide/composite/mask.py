"""Which pixels of an acquisition are dropped: cloud, shadow and the like, with their edges."""

import zlib
from dataclasses import dataclass
from pathlib import Path

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

STRIPE = 1024
"""Rows dilated together: what dilation needs beside the codes stays small."""

ROUNDING = 1e-9
"""Share of a length by which a distance may exceed it: 60 m is six pixels of 10 m, whatever binary fractions say."""


@dataclass(frozen=True)
class Dropped:
    """Which pixels of an acquisition are dropped, a bit for each pixel of its mask, in a file: memory holds one window of it."""

    path: Path
    grid: Tile
    """The mask's own grid, or the tile's where the mask is in another projection."""

    rows: tuple[int, int]
    """Rows of the grid that the file holds."""

    def window(self, tile: Tile, window: Window) -> np.ndarray:
        """Return a window of the tile, (h, w) bool, nearest; pixels outside the mask are dropped."""
        rows, columns = _nearest(tile, self.grid, window)
        inside = (rows >= self.rows[0]) & (rows < self.rows[1])
        if not inside.any():
            return np.ones((len(rows), len(columns)), bool)
        top, bottom = int(rows[inside].min()), int(rows[inside].max()) + 1
        stride = (self.grid.shape[1] + 7) // 8
        with self.path.open("rb") as file:
            file.seek((top - self.rows[0]) * stride)
            packed = np.frombuffer(file.read((bottom - top) * stride), np.uint8).reshape(bottom - top, stride)
        dropped = np.unpackbits(packed, axis=1, count=self.grid.shape[1]).view(bool)
        on_tile = dropped[np.ix_(np.clip(rows - top, 0, bottom - top - 1), np.clip(columns, 0, self.grid.shape[1] - 1))]
        on_tile[~inside] = True
        on_tile[:, (columns < 0) | (columns >= self.grid.shape[1])] = True
        return on_tile

    def clear(self, tile: Tile) -> float:
        """Return the share of a tile that is not dropped, counted on the mask's own pixels."""
        rows, columns = (np.unique(places) for places in _nearest(tile, self.grid, Window(0, 0, tile.shape[1], tile.shape[0])))
        inside_rows = rows[(rows >= self.rows[0]) & (rows < self.rows[1])]
        inside = columns[(columns >= 0) & (columns < self.grid.shape[1])]
        if not inside_rows.size or not inside.size:
            return 0.0
        packed = np.fromfile(self.path, np.uint8).reshape(self.rows[1] - self.rows[0], -1)
        kept = 0
        for start in range(0, len(inside_rows), STRIPE):
            part = packed[inside_rows[start : start + STRIPE] - self.rows[0]]
            dropped = np.unpackbits(part, axis=1, count=self.grid.shape[1])[:, inside[0] : inside[-1] + 1]
            kept += dropped.size - int(dropped.sum(dtype=np.int64))
        return kept / (len(rows) * len(columns))

    def part(self, tile: Tile, rows: tuple[int, int]) -> "Part":
        """Return what some rows of a tile need of this, small enough to be sent to another machine."""
        needed = _nearest(tile, self.grid, Window(0, rows[0], 1, rows[1] - rows[0]))[0]
        first, last = max(int(needed.min()), self.rows[0]), min(int(needed.max()) + 1, self.rows[1])
        if last <= first:
            return Part(self.grid, (0, 0), zlib.compress(b""))
        stride = (self.grid.shape[1] + 7) // 8
        with self.path.open("rb") as file:
            file.seek((first - self.rows[0]) * stride)
            return Part(self.grid, (first, last), zlib.compress(file.read((last - first) * stride), 1))


@dataclass(frozen=True)
class Part:
    """Some rows of which pixels are dropped, on the way to who composites them."""

    grid: Tile
    rows: tuple[int, int]
    packed: bytes

    def unpack(self, path: Path) -> Dropped:
        """Write the bits into a file of this machine."""
        path.write_bytes(zlib.decompress(self.packed))
        return Dropped(path, self.grid, self.rows)


def note_dropped(
    dataset: rasterio.DatasetReader, tile: Tile, rows: tuple[int, int], mask: Mask, nodata: float | None, path: Path
) -> Dropped:
    """Read a mask once and write into a file which pixels it drops in some rows of the tile.

    Codes are dilated on the mask's own pixels, with those around the rows, so the result does not depend on how the tile is cut. Pixels
    without a code (outside the raster, no data) are dropped and not dilated.
    """
    grid = _mask_grid(dataset, tile, mask.dilate)
    reach = disk(mask.dilate, height=abs(grid.transform[4]), width=abs(grid.transform[0]))
    halo = len(reach) // 2
    needed = _nearest(tile, grid, Window(0, rows[0], 1, rows[1] - rows[0]))[0]
    first, last = max(int(needed.min()), 0), min(int(needed.max()) + 1, grid.shape[0])
    if last <= first:
        path.write_bytes(b"")
        return Dropped(path, grid, (0, 0))
    top = max(first - halo, 0)
    area = Window(0, top, grid.shape[1], min(last + halo, grid.shape[0]) - top)
    codes = read_dataset_on_grid(dataset, grid, area, fill=0 if nodata is None else nodata, nodata=nodata)
    return write_dropped(codes, top, grid, (first, last), mask, nodata, path)


def write_dropped(codes: np.ndarray, top: int, grid: Tile, rows: tuple[int, int], mask: Mask, nodata: float | None, path: Path) -> Dropped:
    """Write into a file which pixels codes drop.

    codes  (H, W) of the grid's rows from `top` on, with those around `rows` that dilation reaches
    rows   of the grid, that the file is to hold
    """
    reach = disk(mask.dilate, height=abs(grid.transform[4]), width=abs(grid.transform[0]))
    halo = len(reach) // 2
    with path.open("wb") as file:
        for start in range(*rows, STRIPE):
            stop = min(start + STRIPE, rows[1])
            above, under = max(start - halo, top), min(stop + halo, top + len(codes))
            part = codes[above - top : under - top]
            dropped = drop_codes(part, mask, reach, nodata)
            if nodata is not None:
                dropped |= part == nodata
            file.write(np.packbits(dropped[start - above : stop - above], axis=1).tobytes())
    return Dropped(path, grid, rows)


def drop_codes(codes: np.ndarray, mask: Mask, reach: np.ndarray, nodata: float | None = None) -> np.ndarray:
    """Return (H, W) bool, True where a code is dropped or lies within reach of one that spreads."""
    spreading = (SCL_CLOUDS.intersection(mask.codes) if band_id(mask.asset) == SCL else set(mask.codes)) - {nodata}
    dropped = np.isin(codes, sorted(spreading))
    if dropped.any() and len(reach) > 1:
        dropped = dilate(dropped, reach)
    resting = sorted(set(mask.codes) - spreading)
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
