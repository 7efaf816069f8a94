"""An old land-cover map in the manner of CORINE: coarse, outdated, shifted, generalised, partly wrong, with mixed classes."""

from dataclasses import dataclass

import numpy as np
from rasterio.warp import transform, transform_bounds
from scipy import ndimage

from landtide.core.legend import builtin_crosswalk, builtin_legend
from landtide.core.tile import Tile
from landtide.simulate.landscape import BROADLEAF, CONIFER, CROP, GRASS, IRRIGATED, MINERAL, SHRUB, SNOW, URBAN, WATER
from landtide.simulate.mistakes import Pieces, polygons_of
from landtide.simulate.noise import field, stream
from landtide.simulate.world import SyntheticWorld

CRS, CELL = "EPSG:3035", 100.0
"""Grid of the European CORINE rasters."""

NODATA = 999
CARE = (1.0, 0.75, 0.5, 0.3)
"""Scales of displacement and generalisation, tried in order until the asked accuracy is within reach: finely cut land needs a finer map."""

SAMPLES = 5
"""Looks a cell and axis: one every 20 m."""


@dataclass(frozen=True)
class OldMap:
    """A raster of CORINE codes."""

    codes: np.ndarray
    """(R, C) int16 three-digit codes on `tile`, `NODATA` outside the world."""

    tile: Tile
    """Grid in EPSG:3035."""

    on_world: np.ndarray
    """(H, W) int16 the same codes on the world's grid (nearest)."""

    accuracy: float
    """Share of the world where the translated map equals the truth of the first year; mixed codes are not right."""


def draw_old_map(world: SyntheticWorld, accuracy: float = 0.63) -> OldMap:
    """Draw the map of the world's base year and spoil it until it has the asked accuracy.

    In order: shift, generalise to 100 m cells and a minimum mapping unit, then (where that alone is too poor) correct the class of
    polygons, then give polygons a plausible wrong class. What has changed since the base year comes on top.
    """
    tile = _grid(world.tile)
    cell = _cells(world.tile, tile)
    right = _right(world, cell, tile.shape[0] * tile.shape[1])
    for care in CARE:
        share, height = _fractions(world, tile, care)
        smallest = _smallest(int((share.sum(axis=2) > 0).sum()), care)
        codes = _generalise(_interpret(share, height, world.seed), smallest)
        pieces = Pieces.of(codes, right, world.seed)
        if pieces.now() >= accuracy * 1.03:
            break
    codes = pieces.spoil(accuracy)
    codes[share.sum(axis=2) == 0] = NODATA
    on_world = codes.ravel()[cell]
    legend = builtin_legend("landtide10")
    hit = builtin_crosswalk("corine", legend).translate(on_world, NODATA) == world.truth(world.years[0])
    return OldMap(codes.astype(np.int16), tile, on_world.astype(np.int16), float(hit.mean()))


def _grid(world: Tile) -> Tile:
    west, south, east, north = transform_bounds(world.crs, CRS, *world.bounds)
    left, top = np.floor(west / CELL) * CELL, np.ceil(north / CELL) * CELL
    shape = (int(np.ceil((top - south) / CELL)), int(np.ceil((east - left) / CELL)))
    return Tile(f"{world.name}-old", CRS, (CELL, 0.0, float(left), 0.0, -CELL, float(top)), shape)


def _fractions(world: SyntheticWorld, tile: Tile, care: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each label in each cell of the map, shifted as maps are, (R, C, 11) float32, and its height (R, C)."""
    rows, columns = tile.shape
    share, height = np.zeros((rows, columns, 11), np.float32), np.zeros((rows, columns), np.float32)
    labels, rng = world.labels(world.base_year), np.random.default_rng(stream(world.seed, "map-shift"))
    moved = care * rng.uniform(20, 55, 2) * rng.choice([-1, 1], 2) / 10  # pixels: within CORINE's stated 100 m
    step = (np.arange(SAMPLES) + 0.5) / SAMPLES
    for row in range(0, rows, 128):
        count = min(128, rows - row)
        down, right = (np.arange(count)[:, None] + row + step).ravel(), (np.arange(columns)[:, None] + step).ravel()
        y, x = _to_pixels(world.tile, tile, down, right)
        y = y + moved[0] + care * np.clip(2.5 * field(stream(world.seed, "drag-y"), 9, down, right), -8, 8)
        x = x + moved[1] + care * np.clip(2.5 * field(stream(world.seed, "drag-x"), 9, down, right), -8, 8)
        inside = (y >= -6) & (y < world.size + 6) & (x >= -6) & (x < world.size + 6)
        unit = world.unit[np.clip(y, 0, world.size - 1).astype(np.int64), np.clip(x, 0, world.size - 1).astype(np.int64)]
        label = np.where(inside, labels[unit], 0)
        for value in range(1, 11):
            share[row : row + count, :, value] = _block_mean(label == value)
        height[row : row + count] = _block_mean(world.patches.height[unit])
    return share, height


def _to_pixels(world: Tile, tile: Tile, down: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns on the world's grid of places on the map's grid (cells)."""
    shape = (len(down), len(right))
    x, y = tile.affine @ tuple(np.broadcast_to(part, shape).ravel() for part in (right[None, :], down[:, None]))
    east, north = transform(tile.crs, world.crs, x, y)
    column, row = ~world.affine @ (np.array(east), np.array(north))
    return row.reshape(shape), column.reshape(shape)


def _block_mean(values: np.ndarray) -> np.ndarray:
    rows, columns = values.shape
    return np.asarray(values.reshape(rows // SAMPLES, SAMPLES, columns // SAMPLES, SAMPLES).mean(axis=(1, 3), dtype=np.float32))


def _cells(world: Tile, tile: Tile) -> np.ndarray:
    """Return (H, W) int32 index of the map's cell in which each pixel's centre lies."""
    index = np.zeros(world.shape, np.int32)
    for window in world.windows(1024):
        rows, columns = np.arange(window.height) + window.row_off + 0.5, np.arange(window.width) + window.col_off + 0.5
        down, right = _to_pixels(tile, world, rows, columns)
        row, column = (np.clip(np.floor(at), 0, top - 1).astype(np.int32) for at, top in zip((down, right), tile.shape, strict=True))
        place = slice(window.row_off, window.row_off + window.height), slice(window.col_off, window.col_off + window.width)
        index[place] = row * tile.shape[1] + column
    return index


def _right(world: SyntheticWorld, cell: np.ndarray, cells: int) -> np.ndarray:
    """Return how many pixels of each true label of the first year each cell holds: (cells, 11) int32."""
    counts = np.zeros(cells * 11, np.int64)
    for window in world.tile.windows(1024):
        truth = world.truth(world.years[0], window)
        part = cell[window.row_off : window.row_off + window.height, window.col_off : window.col_off + window.width]
        counts += np.bincount((part.astype(np.int64) * 11 + truth).ravel(), minlength=len(counts))
    return counts.reshape(cells, 11).astype(np.int32)


def _interpret(share: np.ndarray, height: np.ndarray, seed: int) -> np.ndarray:
    """Name every cell as an interpreter would, from the shares around it (3 x 3 cells, the middle one counting most)."""
    kernel = np.array([[1, 2, 1], [2, 6, 2], [1, 2, 1]], np.float32)
    f = np.stack([ndimage.convolve(share[..., value], kernel / kernel.sum(), mode="nearest") for value in range(11)], axis=-1)
    total = np.maximum(f.sum(axis=-1), 1e-6)
    f = f / total[..., None]
    trees, farm = f[..., BROADLEAF] + f[..., CONIFER], f[..., CROP] + f[..., IRRIGATED] + f[..., GRASS]
    wild, arable = trees + f[..., SHRUB], f[..., CROP] + f[..., IRRIGATED]
    industry = field(stream(seed, "industry"), 5, np.arange(height.shape[0]), np.arange(height.shape[1])) > 0.9
    rules: list[tuple[np.ndarray, np.ndarray | int]] = [
        (f[..., URBAN] > 0.78, np.where(industry, 121, 111)),
        (f[..., URBAN] > 0.30, np.where(industry, 121, 112)),
        (f[..., WATER] > 0.30, np.where(f[..., WATER] > 0.75, 512, 511)),
        (f[..., SNOW] > 0.50, 335),
        (f[..., MINERAL] + f[..., SNOW] > 0.60, np.where(height > 0.85, 332, 131)),
        (f[..., MINERAL] + f[..., SNOW] > 0.28, np.where(height > 0.80, 333, np.where(height > 0.3, 131, 331))),
        (f[..., SHRUB] > 0.55, 322),
        ((f[..., SHRUB] > 0.22) & (wild > 0.5), 324),
        ((trees > 0.6) & (f[..., CONIFER] > 0.70 * trees), 312),
        ((trees > 0.6) & (f[..., BROADLEAF] > 0.70 * trees), 311),
        (trees > 0.6, 313),
        ((wild > 0.28) & (farm > 0.25), np.where(height > 0.75, 321, 243)),
        (wild > 0.5, 324),
        (f[..., GRASS] > 0.62 * farm, np.where(height > 0.72, 321, 231)),
        (f[..., IRRIGATED] > 0.55 * farm, 212),
        (f[..., CROP] > 0.55 * farm, 211),
        (arable > 0.75 * farm, np.where(f[..., CROP] > f[..., IRRIGATED], 211, 212)),
    ]
    conditions, named = [condition for condition, _ in rules], [np.asarray(code) for _, code in rules]
    return np.asarray(np.select(conditions, named, default=242), np.int32)


def _smallest(cells: int, care: float) -> int:
    """Return the minimum mapping unit in cells: 25 ha, less in small worlds, which would have no polygons left."""
    return max(1, round(care * min(max(cells // 240, 3), 25)))


def _generalise(codes: np.ndarray, smallest: int) -> np.ndarray:
    """Merge polygons below the minimum mapping unit into the neighbour with which they share most edges."""
    codes = codes.copy()
    for _ in range(12):
        polygon, size = polygons_of(codes)
        first, second = _edges(polygon)
        small = size < smallest
        # Only into larger ones (ties by number), so that two small neighbours cannot swap their codes for ever.
        larger = small[first] & ((size[second] > size[first]) | ((size[second] == size[first]) & (second > first)))
        if not larger.any():
            break
        pairs, count = np.unique(first[larger].astype(np.int64) * len(size) + second[larger], return_counts=True)
        order = np.lexsort((count, pairs // len(size)))
        source, target = pairs[order] // len(size), pairs[order] % len(size)
        table = np.zeros(len(size), codes.dtype)
        table[polygon.ravel()] = codes.ravel()
        merged = table.copy()
        merged[source] = table[target]  # of several targets, the last (longest border) stays
        codes = merged[polygon]
    return codes


def _edges(polygon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of neighbouring cells that lie in different polygons, both ways."""
    pairs = [(polygon[:-1], polygon[1:]), (polygon[:, :-1], polygon[:, 1:])]
    first = np.concatenate([part.ravel() for a, b in pairs for part in (a, b)])
    second = np.concatenate([part.ravel() for a, b in pairs for part in (b, a)])
    return first[first != second], second[first != second]
