"""Polygons of an old map: connected areas of one code, found block by block so that memory does not grow with the tile."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numba
import numpy as np
from rasterio.windows import Window
from scipy import ndimage

BLOCK = 1024
"""Pixels along the side of a block; 4 MB of codes, a multiple of the cube's chunks."""

ReadCodes = Callable[[Window], np.ndarray]
"""Reads a window of the old map, (h, w) integer codes, 0 = no data."""


@dataclass(frozen=True)
class Polygons:
    """The polygons of one tile: per-polygon facts, and what it takes to find the polygon of any pixel again."""

    shape: tuple[int, int]
    code: np.ndarray
    """(P,) int64 code of the old map."""

    area: np.ndarray
    """(P,) int64 pixels."""

    box: np.ndarray
    """(P, 4) int64 first row, first column, last row, last column."""

    roots: dict[tuple[int, int], np.ndarray]
    """Upper left corner of a block -> (n + 1,) int64 polygon of each local label, -1 for label 0 (no data)."""

    def __len__(self) -> int:
        return len(self.code)


@numba.njit(cache=True)
def _find(parent: np.ndarray, index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


@numba.njit(cache=True)
def label_codes(codes: np.ndarray) -> tuple[np.ndarray, int]:
    """Label the 4-connected areas of equal code, 1..n in scan order of their first pixel; code 0 stays 0.

    codes  (h, w) int64
    """
    rows, columns = codes.shape
    labels = np.zeros((rows, columns), np.int64)
    parent = np.zeros(rows * columns + 1, np.int64)
    count = 0
    for row in range(rows):
        for column in range(columns):
            code = codes[row, column]
            if code == 0:
                continue
            up = labels[row - 1, column] if row > 0 and codes[row - 1, column] == code else 0
            left = labels[row, column - 1] if column > 0 and codes[row, column - 1] == code else 0
            if up == 0 and left == 0:
                count += 1
                parent[count] = count
                labels[row, column] = count
            elif up == 0 or left == 0:
                labels[row, column] = up + left
            else:
                first, second = _find(parent, up), _find(parent, left)
                parent[max(first, second)] = min(first, second)
                labels[row, column] = min(first, second)
    final = np.zeros(count + 1, np.int64)
    kept = 0
    for index in range(1, count + 1):
        root = _find(parent, index)
        if root == index:
            kept += 1
            final[index] = kept
        else:
            final[index] = final[root]
    for row in range(rows):
        for column in range(columns):
            labels[row, column] = final[labels[row, column]]
    return labels, kept


def blocks(shape: tuple[int, int], block: int = BLOCK) -> Iterator[Window]:
    """Yield the blocks of a tile row by row."""
    for row in range(0, shape[0], block):
        for column in range(0, shape[1], block):
            yield Window(column, row, min(block, shape[1] - column), min(block, shape[0] - row))


def find_polygons(read: ReadCodes, shape: tuple[int, int], block: int = BLOCK) -> Polygons:
    """Find the 4-connected areas of equal code in one pass over the blocks, joined across their borders by union-find."""
    parent: list[int] = []
    facts: list[np.ndarray] = []  # (n, 6) a block: code, area, box
    offsets: dict[tuple[int, int], tuple[int, int]] = {}
    above: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # column of a block -> codes and global labels of the last row seen there
    left: tuple[np.ndarray, np.ndarray] | None = None
    for window in blocks(shape, block):
        codes = np.ascontiguousarray(read(window), np.int64)
        labels, count = label_codes(codes)
        offset, corner = len(parent), (int(window.row_off), int(window.col_off))
        offsets[corner] = (offset, count)
        parent.extend(range(offset, offset + count))
        facts.append(_facts(codes, labels, count, corner))
        ids = np.where(labels > 0, labels + offset - 1, -1)
        if corner[1] in above:
            _join(parent, *above[corner[1]], codes[0], ids[0])
        if corner[1] > 0 and left is not None:
            _join(parent, *left, codes[:, 0], ids[:, 0])
        above[corner[1]], left = (codes[-1].copy(), ids[-1].copy()), (codes[:, -1].copy(), ids[:, -1].copy())
    return _merge(shape, np.array(parent, np.int64), facts, offsets)


def _join(parent: list[int], codes: np.ndarray, ids: np.ndarray, other_codes: np.ndarray, other_ids: np.ndarray) -> None:
    """Unite the areas that meet along a border, in place."""
    meet = (codes == other_codes) & (codes != 0)
    for first, second in np.unique(np.stack([ids[meet], other_ids[meet]], axis=1), axis=0).tolist():
        a, b = _root(parent, first), _root(parent, second)
        parent[max(a, b)] = min(a, b)


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _facts(codes: np.ndarray, labels: np.ndarray, count: int, corner: tuple[int, int]) -> np.ndarray:
    """Return (count, 6): code, area, first row, first column, last row, last column of each local area."""
    facts = np.zeros((count, 6), np.int64)
    facts[:, 1] = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    facts[labels[labels > 0] - 1, 0] = codes[labels > 0]
    for index, found in enumerate(ndimage.find_objects(labels)):
        rows, columns = found
        facts[index, 2:] = (corner[0] + rows.start, corner[1] + columns.start, corner[0] + rows.stop - 1, corner[1] + columns.stop - 1)
    return facts


def _merge(
    shape: tuple[int, int], parent: np.ndarray, facts: list[np.ndarray], offsets: dict[tuple[int, int], tuple[int, int]]
) -> Polygons:
    listed = parent.tolist()
    roots = np.array([_root(listed, index) for index in range(len(listed))], np.int64)
    kept, polygon = np.unique(roots, return_inverse=True)
    table = np.concatenate(facts) if facts else np.zeros((0, 6), np.int64)
    count = len(kept)
    area = np.zeros(count, np.int64)
    np.add.at(area, polygon, table[:, 1])
    box = np.concatenate([np.full((count, 2), np.iinfo(np.int64).max), np.full((count, 2), -1, np.int64)], axis=1)
    for column in (2, 3):
        np.minimum.at(box[:, column - 2], polygon, table[:, column])
    for column in (4, 5):
        np.maximum.at(box[:, column - 2], polygon, table[:, column])
    local = {corner: np.concatenate([[-1], polygon[start : start + n]]).astype(np.int64) for corner, (start, n) in offsets.items()}
    return Polygons(shape, table[kept, 0], area, box, local)


def polygons_at(
    read: ReadCodes, polygons: Polygons, rows: np.ndarray, columns: np.ndarray, halo: int, block: int = BLOCK
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return code (N,), polygon (N,) int64 and depth (N,) float32 of pixels; polygon -1 where the map has no data.

    depth is the distance in pixels to the nearest pixel of another code, cut at ``halo``; the tile's own border is no polygon edge.
    """
    code, polygon, depth = np.zeros(len(rows), np.int64), np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.float32)
    key = (rows // block) * (polygons.shape[1] // block + 1) + columns // block
    order = np.argsort(key, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(key[order])) + 1) if len(order) else []:
        top, left = int(rows[members[0]] // block * block), int(columns[members[0]] // block * block)
        window, (down, right) = _with_halo((top, left), polygons.shape, halo, block)
        wide = np.ascontiguousarray(read(window), np.int64)
        inner = wide[down : down + block, right : right + block]
        labels, _ = label_codes(np.ascontiguousarray(inner[: polygons.shape[0] - top, : polygons.shape[1] - left]))
        local = rows[members] - top, columns[members] - left
        code[members] = inner[local]
        polygon[members] = polygons.roots[(top, left)][labels[local]]
        depth[members] = depth_of(wide, halo)[local[0] + down, local[1] + right]
    return code, polygon, depth


def _with_halo(corner: tuple[int, int], shape: tuple[int, int], halo: int, block: int) -> tuple[Window, tuple[int, int]]:
    top, left = max(0, corner[0] - halo), max(0, corner[1] - halo)
    bottom, right = min(shape[0], corner[0] + block + halo), min(shape[1], corner[1] + block + halo)
    return Window(left, top, right - left, bottom - top), (corner[0] - top, corner[1] - left)


def depth_of(codes: np.ndarray, limit: int) -> np.ndarray:
    """Return the distance of every pixel to the nearest pixel of another code, in pixels, cut at ``limit``: 1 at a polygon's edge."""
    edge = np.zeros(codes.shape, bool)
    for axis in (0, 1):
        differs = np.diff(codes, axis=axis) != 0
        ahead = [slice(None), slice(None)]
        behind = [slice(None), slice(None)]
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        edge[tuple(ahead)] |= differs
        edge[tuple(behind)] |= differs
    if not edge.any():
        return np.full(codes.shape, limit, np.float32)
    distance: np.ndarray = ndimage.distance_transform_edt(~edge)
    return np.asarray(np.minimum(distance + 1, limit), np.float32)


def pixel_hash(rows: np.ndarray, columns: np.ndarray, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for every pixel that depends on place and seed alone, so that any window picks the same pixels.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood 2014, OOPSLA).
    """
    state = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + columns.astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
    state += np.uint64((seed * 0x94D049BB133111EB) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    state ^= state >> np.uint64(31)
    return np.asarray((state >> np.uint64(11)).astype(np.float64) / 2.0**53)
