"""What the new maps show inside every polygon of the old map, counted block by block over all tiles."""

from dataclasses import dataclass

import numpy as np
from rasterio.warp import transform as reproject
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from landtide.core.landcover import NO_CONFIDENCE
from landtide.core.tile import Tile
from landtide.extract.gather import Pool, Survey, code_reader
from landtide.extract.polygons import blocks, label_codes, polygons_at
from landtide.io.raster import open_raster

Maps = tuple[tuple[str, str], ...]
"""For each year the URIs of label and confidence."""


@dataclass(frozen=True)
class Counts:
    """P polygons of all tiles, one after the other; those that a tile's border cuts are one group."""

    code: np.ndarray
    """(P,) int64 code of the old map, of the first part."""

    group: np.ndarray
    """(N,) int64 polygon of each part; parts are numbered through the tiles in order."""

    first_part: np.ndarray
    """(tiles + 1,) int64 number of each tile's first part."""

    area: np.ndarray
    """(P,) float64 ha."""

    pixels: np.ndarray
    """(P,) int64"""

    centre: np.ndarray
    """(P, 2) float64 lon, lat of the centre of mass."""

    mass: np.ndarray
    """(Y, P, K) float32 sum of the confidence (0 to 1) of the pixels mapped as each class."""

    seen: np.ndarray
    """(Y, P) int64 mapped pixels."""


@dataclass(frozen=True)
class Block:
    """One block to count: the task of a worker."""

    uri: str
    """Codes of the old map."""

    tile: Tile
    window: Window
    maps: Maps
    classes: int
    earlier: tuple[Tile, ...]
    """Tiles that come first: what they cover is counted there."""


@dataclass(frozen=True)
class BlockCounts:
    """Sums of the n areas in a block."""

    pixels: np.ndarray
    """(n,)"""

    place: np.ndarray
    """(n, 2) sums of rows and columns."""

    mass: np.ndarray
    """(Y, n, K)"""

    seen: np.ndarray
    """(Y, n)"""


def count(surveys: list[Survey], maps: list[Maps], classes: int, pool: Pool) -> Counts:
    """Count every polygon of every tile. Memory goes by polygons x years x classes, never by pixels.

    maps     for each tile
    classes  K
    """
    sizes = [len(item.polygons) for item in surveys]
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    group = _groups(surveys, first)
    total, years = int(group.max()) + 1 if len(group) else 0, len(maps[0])
    pixels, area, place = np.zeros(total, np.int64), np.zeros(total), np.zeros((total, 2))
    mass, seen = np.zeros((years, total, classes), np.float32), np.zeros((years, total), np.int64)
    for number, item in enumerate(surveys):
        earlier = tuple(other.tile for other in surveys[:number])
        tasks = [Block(item.uri, item.tile, window, maps[number], classes, earlier) for window in blocks(item.tile.shape)]
        own_pixels, own_place = np.zeros(sizes[number], np.int64), np.zeros((sizes[number], 2))
        for task, found in zip(tasks, pool.map(count_block, tasks), strict=True):
            part = item.polygons.roots[int(task.window.row_off), int(task.window.col_off)][1:]
            np.add.at(own_pixels, part, found.pixels)
            np.add.at(own_place, part, found.place)
            whole = group[part + first[number]]
            for year in range(years):
                np.add.at(mass[year], whole, found.mass[year])
                np.add.at(seen[year], whole, found.seen[year])
        whole = group[first[number] : first[number + 1]]
        np.add.at(pixels, whole, own_pixels)
        np.add.at(area, whole, own_pixels * item.tile.pixel_area)
        np.add.at(place, whole, _lonlat(item.tile, own_place, own_pixels) * own_pixels[:, None])
    code = np.zeros(total, np.int64)
    code[group[::-1]] = np.concatenate([item.polygons.code for item in surveys])[::-1] if surveys else 0
    return Counts(code, group, first, area, pixels, place / np.maximum(pixels, 1)[:, None], mass, seen)


def count_block(task: Block) -> BlockCounts:
    """Count the areas of one block in all years."""
    with code_reader(task.uri) as read:
        codes = np.ascontiguousarray(read(task.window), np.int64)
    labels, areas = label_codes(codes)
    labels[~owned(task.tile, task.window, task.earlier)] = 0
    flat = labels.ravel()
    row, column = (values.ravel() for values in np.indices(codes.shape))
    corner = int(task.window.row_off), int(task.window.col_off)
    place = [np.bincount(flat, values + start + 0.5, minlength=areas + 1)[1:] for values, start in zip((row, column), corner, strict=True)]
    mass = np.zeros((len(task.maps), areas, task.classes), np.float32)
    seen = np.zeros((len(task.maps), areas), np.int64)
    for year, (label_uri, confidence_uri) in enumerate(task.maps):
        label, sure = _read(label_uri, task.window).ravel(), _read(confidence_uri, task.window).ravel()
        valid = (flat > 0) & (label > 0) & (label <= task.classes) & (sure != NO_CONFIDENCE)
        key = (flat[valid] - 1) * task.classes + label[valid] - 1
        mass[year] = np.bincount(key, sure[valid] / 100.0, minlength=areas * task.classes).reshape(areas, task.classes)
        seen[year] = np.bincount(flat[valid] - 1, minlength=areas)
    return BlockCounts(np.bincount(flat, minlength=areas + 1)[1:], np.stack(place, axis=1), mass, seen)


def owned(tile: Tile, window: Window, earlier: tuple[Tile, ...]) -> np.ndarray:
    """Say which pixels of a window no earlier tile covers, (h, w) bool: where tiles overlap, the first counts."""
    result = np.ones((int(window.height), int(window.width)), bool)
    part = tile.crop(window)
    for other in earlier:
        west, south, east, north = transform_bounds(part.crs, other.crs, *part.bounds)
        left, bottom, right, top = other.bounds
        if west >= right or east <= left or south >= top or north <= bottom:
            continue
        row, column = (values.ravel() for values in np.indices(result.shape))
        rows, columns = _on(other, *_project(part, row, column, other.crs))
        inside = (rows >= 0) & (rows < other.shape[0]) & (columns >= 0) & (columns < other.shape[1])
        result &= ~inside.reshape(result.shape)
    return result


def _groups(surveys: list[Survey], first: np.ndarray) -> np.ndarray:
    """Return the polygon of each part: parts of one code that go on across a tile's border are one."""
    parent = np.arange(first[-1])

    def root(index: int) -> int:
        while parent[index] != index:
            index = int(parent[index])
        return index

    for number, item in enumerate(surveys):
        for later in range(number + 1, len(surveys)):
            for mine, theirs in _met(item, surveys[later]):
                a, b = root(mine + int(first[number])), root(theirs + int(first[later]))
                parent[max(a, b)] = min(a, b)
    for index in np.flatnonzero(parent != np.arange(len(parent))).tolist():
        parent[index] = root(index)
    return np.unique(parent, return_inverse=True)[1].astype(np.int64)


def _met(item: Survey, other: Survey) -> list[tuple[int, int]]:
    """Return the pairs of polygons of two tiles that meet at the first one's border with the same code."""
    rows, columns = item.tile.shape
    down, right = np.arange(rows), np.arange(columns)
    edge = np.concatenate([down, down, np.zeros(columns, int), np.full(columns, rows - 1)])
    side = np.concatenate([np.zeros(rows, int), np.full(rows, columns - 1), right, right])
    step_row = np.concatenate([np.zeros(2 * rows, int), np.full(columns, -1), np.ones(columns, int)])
    step_column = np.concatenate([np.full(rows, -1), np.ones(rows, int), np.zeros(2 * columns, int)])
    at_row, at_column = _on(other.tile, *_project(item.tile, edge + step_row, side + step_column, other.tile.crs))
    inside = (at_row >= 0) & (at_row < other.tile.shape[0]) & (at_column >= 0) & (at_column < other.tile.shape[1])
    if not inside.any():
        return []
    with code_reader(item.uri) as read:
        code, mine, _ = polygons_at(read, item.polygons, edge[inside], side[inside], 1)
    with code_reader(other.uri) as read:
        beside, theirs, _ = polygons_at(read, other.polygons, at_row[inside], at_column[inside], 1)
    same = (code == beside) & (code != 0)
    return [(int(a), int(b)) for a, b in np.unique(np.stack([mine[same], theirs[same]], axis=1), axis=0)]


def _project(tile: Tile, row: np.ndarray, column: np.ndarray, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of pixel centres in a CRS."""
    x, y = tile.affine @ (column + 0.5, row + 0.5)
    if tile.crs == crs:
        return x, y
    east, north = reproject(tile.crs, crs, x, y)
    return np.asarray(east), np.asarray(north)


def _on(tile: Tile, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of places in the tile's CRS."""
    column, row = ~tile.affine @ (x, y)
    return np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)


def _lonlat(tile: Tile, place: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return lon and lat of centres of mass, (P, 2); place is their sums of rows and columns."""
    middle = place / np.maximum(pixels, 1)[:, None]
    x, y = tile.affine @ (middle[:, 1], middle[:, 0])
    return np.stack(reproject(tile.crs, "EPSG:4326", x, y), axis=1) if len(place) else np.zeros((0, 2))


def _read(uri: str, window: Window) -> np.ndarray:
    with open_raster(uri) as dataset:
        return np.asarray(dataset.read(1, window=window))
