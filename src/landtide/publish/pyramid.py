"""Tile pyramids: the 256-pixel pictures of a static web map, in the map's own grid."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from rasterio import Affine
from rasterio.windows import Window

from landtide.core.tile import Tile
from landtide.io import storage
from landtide.publish.pictures import FILLS, Reader, Source, Style, encode, halve

SIDE = 256
"""Pixels along the side of a picture."""

BRANCH = 4
"""Levels that one worker builds at a time: 16 x 16 pictures, 4096 pixels. Enough work a call, and few branches are half empty."""

WRITERS = 8
"""Threads that write: a picture is small, so its write is mostly waiting for the disk or the object store."""

Write = Callable[[np.ndarray, int, int, int], None]


@dataclass(frozen=True)
class Grid:
    """The pixel space that the tiles of one study share."""

    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]

    @property
    def levels(self) -> int:
        """Zoom level of the full resolution; level 0 holds everything in one picture."""
        return max(0, math.ceil(math.log2(max(self.shape) / SIDE)))

    def offset(self, tile: Tile) -> tuple[int, int]:
        """Return row and column of a tile's upper left pixel."""
        column, row = ~Affine(*self.transform) * (tile.transform[2], tile.transform[5])
        return round(row), round(column)


@dataclass(frozen=True)
class Layer:
    """One map, or image, of all tiles of a grid."""

    id: str
    style: Style
    grid: Grid
    sources: tuple[Source, ...]
    uri: str
    """Folder of the pictures: ``<uri>/<z>/<x>/<y>.<suffix>``."""

    palette: np.ndarray | None = field(default=None, compare=False)
    """(256, 3) uint8 colour of each value; None for an image."""

    @property
    def suffix(self) -> str:
        """Values need an exact format; photographs are a tenth of the size as WebP."""
        return "webp" if self.style == "image" else "png"

    @cached_property
    def boxes(self) -> list[tuple[int, int, int, int]]:
        """Return left, top, right, bottom of each tile in pixels of the grid: no picture exists outside them."""
        found = []
        for source in self.sources:
            row, column = self.grid.offset(source.tile)
            found.append((column, row, column + source.tile.shape[1], row + source.tile.shape[0]))
        return found


def common_grids(tiles: list[Tile]) -> list[tuple[Grid, list[Tile]]]:
    """Group tiles whose pixels coincide (same CRS, pixel and phase), and return the grid that spans each group."""
    groups: list[list[Tile]] = []
    for tile in tiles:
        home = next((group for group in groups if _coincide(group[0], tile)), None)
        if home is None:
            groups.append([tile])
        elif tile not in home:
            home.append(tile)
    return [(_span(group), group) for group in groups]


def build(layer: Layer, pool: Any = None) -> np.ndarray:
    """Write every picture of a layer and return how often each value occurs, (256,) int64; zeros for an image.

    Pictures are made depth first, each from its four children, so a worker holds a handful of them whatever the area.
    """
    start = max(0, layer.grid.levels - BRANCH)
    branches = _positions(layer, start)
    run = map if pool is None else pool.map
    tops: dict[tuple[int, int], np.ndarray] = {}
    counts = np.zeros(256, np.int64)
    for position, (top, found) in zip(branches, run(partial(_branch, layer, start), branches), strict=True):
        tops[position] = top
        counts += found
    if start > 0:
        with _writing(layer) as write:
            _grow(layer, (0, 0, 0), start, lambda x, y: tops[x, y], write)
    return counts


def _branch(layer: Layer, start: int, position: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Build one branch from its pixels up to its top picture; return that and the counts of values at full resolution."""
    counts = np.zeros(256, np.int64)
    with _opened(layer) as read, _writing(layer) as write:

        def leaf(x: int, y: int) -> np.ndarray:
            block = read(x, y)
            if layer.style != "image":
                counts[:] += np.bincount(block.ravel(), minlength=256)
            write(block, layer.grid.levels, x, y)
            return block

        top = _grow(layer, (start, *position), layer.grid.levels, leaf, write)
    return top, counts


def _grow(layer: Layer, position: tuple[int, int, int], last: int, leaf: Callable[[int, int], np.ndarray], write: Write) -> np.ndarray:
    """Return the picture at (z, x, y): ``leaf`` at level ``last``, else made from its four children and written."""
    z, x, y = position
    if z == last:
        return leaf(x, y)
    whole = _empty(layer.style, 2 * SIDE)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        child = (z + 1, 2 * x + right, 2 * y + down)
        if _exists(layer, *child):
            part = _grow(layer, child, last, leaf, write)
            whole[down * SIDE : (down + 1) * SIDE, right * SIDE : (right + 1) * SIDE] = part
    block = np.ascontiguousarray(halve(whole, layer.style))
    write(block, z, x, y)
    return block


@contextmanager
def _writing(layer: Layer) -> Iterator[Write]:
    """Lend a function that writes a picture in a thread, with at most a few waiting; it raises what a write raised."""
    with ThreadPoolExecutor(WRITERS) as writers:
        waiting: list[Future[None]] = []

        def write(block: np.ndarray, z: int, x: int, y: int) -> None:
            if len(waiting) >= 4 * WRITERS:
                waiting.pop(0).result()
            uri = storage.join(layer.uri, str(z), str(x), f"{y}.{layer.suffix}")
            waiting.append(writers.submit(storage.write_bytes, uri, encode(block, layer.style, layer.palette)))

        yield write
        for future in waiting:
            future.result()


@contextmanager
def _opened(layer: Layer) -> Iterator[Callable[[int, int], np.ndarray]]:
    """Lend a reader of full-resolution pictures; each source is opened at its first pixel and stays open."""
    with ExitStack() as stack:
        readers: dict[int, Reader] = {}
        boxes = layer.boxes

        def read(x: int, y: int) -> np.ndarray:
            block = _empty(layer.style, SIDE)
            for index, box in enumerate(boxes):
                window, place = _overlap(box, x, y)
                if window is None:
                    continue
                if index not in readers:
                    readers[index] = stack.enter_context(layer.sources[index].open())
                _lay(block[place], readers[index](window), layer.style)
            return block

        yield read


def _overlap(box: tuple[int, int, int, int], x: int, y: int) -> tuple[Window | None, tuple[slice, slice]]:
    """Return the window of a tile that a full-resolution picture shows, and its place in the picture."""
    left, top = max(box[0], x * SIDE), max(box[1], y * SIDE)
    right, bottom = min(box[2], (x + 1) * SIDE), min(box[3], (y + 1) * SIDE)
    place = (slice(top - y * SIDE, bottom - y * SIDE), slice(left - x * SIDE, right - x * SIDE))
    if right <= left or bottom <= top:
        return None, place
    return Window(left - box[0], top - box[1], right - left, bottom - top), place


def _lay(below: np.ndarray, values: np.ndarray, style: Style) -> None:
    """Fill the empty pixels of a picture, in place: where tiles overlap, the first with data wins."""
    empty = below[..., 3] == 0 if style == "image" else below == FILLS[style]
    below[empty] = values[empty]


def _empty(style: Style, side: int) -> np.ndarray:
    return np.full((side, side, 4) if style == "image" else (side, side), FILLS[style], np.uint8)


def _positions(layer: Layer, z: int) -> list[tuple[int, int]]:
    size = SIDE << (layer.grid.levels - z)
    rows, columns = layer.grid.shape
    return [(x, y) for y in range(math.ceil(rows / size)) for x in range(math.ceil(columns / size)) if _exists(layer, z, x, y)]


def _exists(layer: Layer, z: int, x: int, y: int) -> bool:
    """Say whether a picture holds any pixel of a tile."""
    size = SIDE << (layer.grid.levels - z)
    west, north, east, south = x * size, y * size, (x + 1) * size, (y + 1) * size
    return any(left < east and right > west and top < south and bottom > north for left, top, right, bottom in layer.boxes)


def _coincide(one: Tile, other: Tile) -> bool:
    if one.crs != other.crs or not np.allclose(_pixel(one.transform), _pixel(other.transform), rtol=1e-9):
        return False
    column, row = ~one.affine * (other.transform[2], other.transform[5])
    return bool(abs(column - round(column)) < 1e-3 and abs(row - round(row)) < 1e-3)


def _span(tiles: list[Tile]) -> Grid:
    first = tiles[0]
    corners = []
    for tile in tiles:
        column, row = ~first.affine * (tile.transform[2], tile.transform[5])
        corners.append((round(column), round(row), round(column) + tile.shape[1], round(row) + tile.shape[0]))
    left, top = min(c[0] for c in corners), min(c[1] for c in corners)
    right, bottom = max(c[2] for c in corners), max(c[3] for c in corners)
    west, north = first.affine * (left, top)
    a, b, _, d, e, _ = first.transform
    return Grid(first.crs, (a, b, west, d, e, north), (bottom - top, right - left))


def _pixel(transform: tuple[float, ...]) -> tuple[float, ...]:
    return (transform[0], transform[1], transform[3], transform[4])
