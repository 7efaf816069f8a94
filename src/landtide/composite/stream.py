"""One raster of a series, read block by block in raster order, each block once.

A band of 20 m is interpolated between pixel centres, so an output pixel at the edge of a block needs source pixels of the next block.
Instead of reading neighbours twice, the output lags behind: a few source rows and columns of the blocks above and to the left are kept,
and the last output pixels of a block are made when its neighbours have come.
"""

import math
from dataclasses import dataclass

import numpy as np
import rasterio
from numba import njit
from rasterio.crs import CRS
from rasterio.windows import Window

from landtide.composite.acquisitions import Layer
from landtide.composite.radiometry import held
from landtide.composite.resample import KNOT, read_band
from landtide.core.bands import is_reflectance
from landtide.core.tile import Tile
from landtide.io.raster import GRID_TOLERANCE, open_raster, read_dataset_on_grid


@dataclass(frozen=True)
class Alignment:
    """How a raster's pixels lie on a tile's: each covers `factor` x `factor` of them."""

    factor: int
    row: int
    """Of the source, in which the tile's first row lies; may be negative."""

    column: int


def alignment(dataset: rasterio.DatasetReader, tile: Tile) -> Alignment | None:
    """Return how a raster is aligned to a tile, None where its grid is another: projection, rotation, or pixels that straddle."""
    ours, theirs = tile.affine, dataset.transform
    if dataset.crs != CRS.from_user_input(tile.crs) or any((ours.b, ours.d, theirs.b, theirs.d)):
        return None
    factor = round(theirs.a / ours.a)
    span = max(*tile.shape, *dataset.shape)
    if factor < 1 or any(abs(t - factor * o) * span > GRID_TOLERANCE * abs(o) for t, o in ((theirs.a, ours.a), (theirs.e, ours.e))):
        return None
    column, row = ~theirs @ (ours.c, ours.f)
    if abs(column - round(column)) > GRID_TOLERANCE or abs(row - round(row)) > GRID_TOLERANCE:
        return None
    return Alignment(factor, round(row), round(column))


def lag_of(factor: int, size: int) -> int:
    """Return the output pixels before a block's end that need the next block; `size` is the side of the blocks in output pixels."""
    if factor == 1:
        return 0
    return factor // 2 if size % factor == 0 else math.ceil(1.5 * factor)


@dataclass(frozen=True)
class Cut:
    """A part of a tile, cut into blocks for reading, and into the regions that are made of them."""

    rows: tuple[int, int]
    columns: int
    size: int
    """Side of a block in output pixels."""

    lag: int
    """Output pixels by which the regions lag behind the blocks."""

    @property
    def row_edges(self) -> list[int]:
        return [*range(self.rows[0], self.rows[1], self.size), self.rows[1]]

    @property
    def column_edges(self) -> list[int]:
        return [*range(0, self.columns, self.size), self.columns]

    def region(self, i: int, j: int) -> Window:
        """Return the output window that can be made once block (i, j) has been read, in pixels of the tile."""
        top, bottom = _lagging(self.row_edges, i, self.lag)
        left, right = _lagging(self.column_edges, j, self.lag)
        return Window(left, top, right - left, bottom - top)

    def reach(self, i: int, j: int) -> Window:
        """Return the output pixels that block (i, j) may have a part in."""
        rows, columns = self.row_edges, self.column_edges
        top, left = max(rows[i] - self.lag - 1, self.rows[0]), max(columns[j] - self.lag - 1, 0)
        bottom, right = min(rows[i + 1] + self.lag + 1, self.rows[1]), min(columns[j + 1] + self.lag + 1, self.columns)
        return Window(left, top, right - left, bottom - top)


def _lagging(edges: list[int], index: int, lag: int) -> tuple[int, int]:
    first = edges[0] if index == 0 else max(edges[index] - lag, edges[0])
    last = edges[-1] if index == len(edges) - 2 else max(edges[index + 1] - lag, edges[0])
    return first, last


@dataclass(frozen=True)
class Header:
    """What a raster's header tells, asked once."""

    dtype: str
    fill: float
    """No-data value of the raw numbers."""

    alignment: Alignment | None
    block: int
    """Longer side of a block, in output pixels; 0 where the grid is another."""


def read_header(layer: Layer, tile: Tile) -> Header:
    """Return a raster's header. Raises RasterioIOError where it cannot be opened."""
    with open_raster(layer.href) as dataset:
        aligned = alignment(dataset, tile)
        block = max(dataset.block_shapes[0]) * aligned.factor if aligned else 0
        return Header(dataset.dtypes[0], _fill(dataset, layer), aligned, block)


def _fill(dataset: rasterio.DatasetReader, layer: Layer) -> float:
    """Return a band's no-data value: told by the item, by the file, or the one that nobody tells."""
    nodata = held(dataset.nodata if layer.nodata is None else layer.nodata, dataset.dtypes[0])
    if nodata is not None:
        return nodata
    if np.dtype(dataset.dtypes[0]).kind == "f":
        return np.nan
    if is_reflectance(layer.name):
        return 0.0  # in every Level-1C and Level-2A product
    return float(np.iinfo(dataset.dtypes[0]).min)


class Stream:
    """One band of one acquisition over a cut: give it the blocks in raster order, take regions on the tile's grid."""

    def __init__(self, layer: Layer, header: Header, tile: Tile, cut: Cut) -> None:
        self.layer = layer
        self.header = header
        self._tile = tile
        self._cut = cut
        if header.alignment is not None:
            factor = header.alignment.factor
            self._kept = cut.lag if factor == 1 else math.ceil(cut.lag / factor + 1.5)
            width = self._edge(cut.column_edges, len(cut.column_edges) - 1, 1) - self._edge(cut.column_edges, 0, 1)
            self._above = np.empty((self._kept, width), header.dtype)
            self._left = self._corner = np.empty((0, 0), header.dtype)

    def advance(self, i: int, j: int, *, wanted: bool) -> np.ndarray | None:
        """Read block (i, j) and return its region, (h, w) raw numbers on the tile's grid; None where it is not wanted.

        A block that no pixel wants is not read; its place is kept as no data for the neighbours, whose pixels do not want it either.
        """
        if self.header.alignment is None:
            return self._elsewhere(self._cut.region(i, j)) if wanted else None
        block = self._read(i, j) if wanted else None
        return self._region(block, i, j)

    def _elsewhere(self, region: Window) -> np.ndarray:
        """Read a region of a raster on another grid, with its surroundings: what is interpolated does not depend on the cut."""
        above, before = int(region.row_off) % KNOT, int(region.col_off) % KNOT
        wide = Window(region.col_off - before, region.row_off - above, region.width + before, region.height + above)
        with open_raster(self.layer.href) as dataset:
            return read_band(dataset, self._tile, wide, fill=self.header.fill)[above:, before:]

    def _edge(self, edges: list[int], index: int, axis: int) -> int:
        """Return where a block edge lies in the source; beyond the outermost ones lies what interpolation at the rim needs."""
        assert self.header.alignment is not None
        corner = (self.header.alignment.row, self.header.alignment.column)[axis]
        edge = corner + edges[index] // self.header.alignment.factor
        if index == 0:
            return edge - self._kept
        return -(-edges[index] // self.header.alignment.factor) + corner + self._kept if index == len(edges) - 1 else edge

    def _place(self, i: int, j: int) -> Window:
        rows, columns = self._cut.row_edges, self._cut.column_edges
        top, left = self._edge(rows, i, 0), self._edge(columns, j, 1)
        return Window(left, top, self._edge(columns, j + 1, 1) - left, self._edge(rows, i + 1, 0) - top)

    def _read(self, i: int, j: int) -> np.ndarray:
        with open_raster(self.layer.href) as dataset:
            own = Tile(self._tile.name, str(dataset.crs), tuple(dataset.transform)[:6], dataset.shape)
            return read_dataset_on_grid(dataset, own, self._place(i, j), fill=self.header.fill, nodata=self.header.fill)

    def _region(self, block: np.ndarray | None, i: int, j: int) -> np.ndarray | None:
        """Join a block to what is kept of its neighbours, keep its own last rows and columns, and make the region."""
        assert self.header.alignment is not None
        place, kept = self._place(i, j), self._kept
        height, width = int(place.height), int(place.width)
        start = int(place.col_off) - self._edge(self._cut.column_edges, 0, 1)
        across = slice(start, start + width)
        over, before = (kept if i else 0), (kept if j else 0)
        joined = np.empty((over + height, before + width), self.header.dtype)
        joined[over:, before:] = self.header.fill if block is None else block
        if kept:
            if over:
                joined[:over, before:] = self._above[:, across]
            if before:
                joined[over:, :before] = self._left
            if over and before:
                joined[:over, :before] = self._corner
            self._corner = self._above[:, across][:, -kept:].copy()
            self._left = joined[over:, before:][:, -kept:].copy()
            if height >= kept:
                self._above[:, across] = joined[over:, before:][-kept:]
        if block is None:
            return None
        region = self._cut.region(i, j)
        top, left = int(place.row_off) - over, int(place.col_off) - before
        factor = self.header.alignment.factor
        row, column = self.header.alignment.row, self.header.alignment.column
        rows, columns = int(region.height), int(region.width)
        if factor == 1:
            down, right = row + int(region.row_off) - top, column + int(region.col_off) - left
            return joined[down : down + rows, right : right + columns]
        out = np.empty((rows, columns), joined.dtype)
        i0, below = _places(int(region.row_off), rows, factor, row - top)
        j0, beside = _places(int(region.col_off), columns, factor, column - left)
        interpolate(joined, i0, below, j0, beside, joined.dtype.type(self.header.fill), joined.dtype.kind in "iu", out)
        return out


def _places(first: int, count: int, factor: int, corner: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the source pixel before each output pixel's centre, and the share of the way to the next; in whole numbers, so exact."""
    twice = 2 * (first + np.arange(count)) + 1 - factor
    return twice // (2 * factor) + corner, (twice % (2 * factor)) / (2 * factor)


@njit(cache=True, nogil=True)
def interpolate(
    source: np.ndarray,
    rows: np.ndarray,
    below: np.ndarray,
    columns: np.ndarray,
    beside: np.ndarray,
    fill: float,
    whole: bool,
    out: np.ndarray,
) -> None:
    """Interpolate (bilinear): first down, then across. No data where the nearest source pixel has none; the others count as far as valid.

    rows, below      (h,) source row before each output row, and the share of the way to the next; the same across
    whole            round the result
    """
    height, width = out.shape
    last = source.shape[1]
    blend = np.empty(last, np.float64)
    complete = np.zeros(source.shape[0], np.bool_)
    for i in range(source.shape[0]):
        complete[i] = _complete(source[i], fill)
    for y in range(height):
        i, down = rows[y], below[y]
        upper, lower = source[i], source[i + 1]
        for x in range(last):
            blend[x] = (1 - down) * upper[x] + down * lower[x]
        if complete[i] and complete[i + 1]:
            if whole:
                for x in range(width):
                    j, across = columns[x], beside[x]
                    out[y, x] = np.rint((1 - across) * blend[j] + across * blend[j + 1])
            else:
                for x in range(width):
                    j, across = columns[x], beside[x]
                    out[y, x] = (1 - across) * blend[j] + across * blend[j + 1]
        else:
            for x in range(width):
                value = _around(upper, lower, blend, columns[x], down, beside[x], fill)
                out[y, x] = np.rint(value) if whole and value == value else value


@njit(cache=True, nogil=True)
def _complete(row: np.ndarray, fill: float) -> bool:
    missing = 0
    for x in range(row.size):
        missing += row[x] == fill or row[x] != row[x]
    return missing == 0


@njit(cache=True, nogil=True)
def _around(upper: np.ndarray, lower: np.ndarray, blend: np.ndarray, j: int, down: float, across: float, fill: float) -> float:
    """Return the weighted mean of the valid pixels around a place; no data where the nearest has none."""
    a, b, c, d = upper[j], upper[j + 1], lower[j], lower[j + 1]
    good_a, good_b, good_c, good_d = _valid(a, fill), _valid(b, fill), _valid(c, fill), _valid(d, fill)
    if good_a and good_b and good_c and good_d:
        mean: float = (1 - across) * blend[j] + across * blend[j + 1]
        return mean
    upper_nearest, lower_nearest = (good_b, good_d) if across >= 0.5 else (good_a, good_c)
    if not (lower_nearest if down >= 0.5 else upper_nearest):
        return np.float64(fill)
    total, weight = 0.0, 0.0
    if good_a:
        total, weight = total + (1 - down) * (1 - across) * a, weight + (1 - down) * (1 - across)
    if good_b:
        total, weight = total + (1 - down) * across * b, weight + (1 - down) * across
    if good_c:
        total, weight = total + down * (1 - across) * c, weight + down * (1 - across)
    if good_d:
        total, weight = total + down * across * d, weight + down * across
    return total / weight


@njit(cache=True, nogil=True, inline="always")
def _valid(value: float, fill: float) -> bool:
    return value == value and value != fill
