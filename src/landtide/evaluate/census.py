"""Score maps against a raster that tells the class of every pixel, with intervals from a bootstrap over spatial blocks."""

from dataclasses import dataclass

import numpy as np
from rasterio.windows import Window

from landtide.core.report import AccuracyReport
from landtide.core.tile import Tile
from landtide.evaluate.area import cohen_kappa, f1_score, ratio
from landtide.evaluate.pixels import WINDOW, Layer, neighbours, owned, read_states
from landtide.evaluate.tally import Maps, Pool, cross

BLOCK_METRES = 1000.0
"""Side of a block where the tile allows it: land cover is alike over some hundred metres, so pixels within a block are not independent."""

REPLICATES = 1000
"""Enough that the standard error itself is known to about 2 %."""

FEWEST_BLOCKS = 5
"""With fewer blocks the spread between them says nothing: no interval is given."""


@dataclass(frozen=True)
class Blocks:
    """Confusion matrices of B blocks. The new map's pixels are split by whether the old map has data there: gains need both."""

    new: np.ndarray
    """(B, 2, S, T) int32; [:, 1] = where the old map has data too; row = state of the map, column = of the reference, 0 = no data."""

    old: np.ndarray
    """(B, R, T) int32; pixels where the new map has data too."""


@dataclass(frozen=True)
class _Task:
    tile: Tile
    window: Window
    before: tuple[Tile, ...]
    side: int
    new: Layer
    old: Layer | None
    reference: Layer


def count_blocks(maps: Maps, year: int, reference: Layer | dict[str, Layer], pool: Pool) -> Blocks:
    """Compare the maps of a year with a reference (one raster, or one a tile) and return a matrix for each spatial block."""
    new, old = [], []
    for tile in maps.tiles:
        label = maps.label(tile, year)
        truth = reference if isinstance(reference, Layer) else reference.get(tile.name)
        if label is None or truth is None:
            continue
        side = block_side(tile)
        before = neighbours(tile, maps.tiles)
        windows = tile.windows(side * max(1, WINDOW // side))
        for part in pool.map(_count_window, [_Task(tile, window, before, side, label, maps.old_map(tile), truth) for window in windows]):
            new.append(part.new)
            old.append(part.old)
    return Blocks(np.concatenate(new), np.concatenate(old))


def block_side(tile: Tile) -> int:
    """Return the side of a block in pixels: 1 km, but at least 64 blocks in a small tile and about 1000 in a large one."""
    side = min(tile.shape)
    wanted = max(round(BLOCK_METRES / tile.pixel_size), side // 32)
    return max(1, min(wanted, side // 8))


def _count_window(task: _Task) -> Blocks:
    rows, columns = int(task.window.height), int(task.window.width)
    across = -(-columns // task.side)
    block = (np.arange(rows)[:, None] // task.side) * across + np.arange(columns)[None, :] // task.side
    own = owned(task.tile, task.window, task.before)
    new, truth = (read_states(layer, task.tile, task.window) for layer in (task.new, task.reference))
    old = read_states(task.old, task.tile, task.window) if task.old else np.zeros_like(new)
    s, t = len(task.new.states) + 1, len(task.reference.states) + 1
    r = len(task.old.states) + 1 if task.old else 1
    count = across * -(-rows // task.side)
    pair = block * 2 + (old > 0)
    both = own & (new > 0)
    return Blocks(
        _by_block(pair[own], new[own], truth[own], (count * 2, s, t)).reshape(count, 2, s, t),
        _by_block(block[both], old[both], truth[both], (count, r, t)),
    )


def _by_block(block: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    cells = cross(block * shape[1] + rows, columns, shape[0] * shape[1], shape[2])
    return cells.reshape(shape).astype(np.int32)


def census_accuracy(blocks: np.ndarray, classes: tuple[str, ...], protocol: str, *, pixel_area: float, seed: int) -> AccuracyReport:
    """Return accuracy where every pixel is a reference unit; errors tell what another area of the same kind could give.

    blocks      (B, K, K) pixel counts of each spatial block; row = map class, column = reference class
    pixel_area  ha
    """
    held = blocks[blocks.sum(axis=(1, 2)) > 0].astype(float)
    total = held.sum(axis=0)
    estimate = _estimates(total[None])
    spread = _bootstrap(held, seed)
    users, producers = estimate["users"][0], estimate["producers"][0]
    enough = len(held) >= FEWEST_BLOCKS
    mapped_in, true_in = ((held.sum(axis=axis) > 0).sum(axis=0) for axis in (2, 1))  # blocks in which each class occurs
    pixels = float(total.sum())
    return AccuracyReport(
        classes=classes,
        counts=total.astype(np.int64),
        proportions=total / max(pixels, 1),
        overall=float(estimate["overall"][0]),
        overall_error=float(spread["overall"]) if enough else float("nan"),
        users=users,
        users_error=np.where(mapped_in >= FEWEST_BLOCKS, spread["users"], np.nan),
        producers=producers,
        producers_error=np.where(true_in >= FEWEST_BLOCKS, spread["producers"], np.nan),
        f1=f1_score(users, producers),
        area=total.sum(axis=0) * pixel_area,
        area_error=np.where(true_in >= FEWEST_BLOCKS, spread["area"] * pixels * pixel_area, np.where(true_in == 0, 0.0, np.nan)),
        kappa=cohen_kappa(total / max(pixels, 1)),
        protocol=protocol,
    )


def census_gain(new_right: np.ndarray, old_right: np.ndarray, pixels: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the difference in overall accuracy on the same pixels and its standard error, from right pixels in each of B blocks."""
    held = pixels > 0
    gain, count = (new_right - old_right)[held].astype(float), pixels[held].astype(float)
    if not held.any():
        return float("nan"), float("nan")
    weights = _weights(len(gain), seed)
    error = float(np.std((weights @ gain) / (weights @ count), ddof=1)) if len(gain) >= FEWEST_BLOCKS else float("nan")
    return float(gain.sum() / count.sum()), error


def _bootstrap(blocks: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return the standard deviation of each estimate over replicates that draw whole blocks with replacement."""
    count, size = len(blocks), blocks.shape[1]
    if count < 2:
        return {name: np.full(size if name != "overall" else (), np.nan) for name in ("overall", "users", "producers", "area")}
    replicates = (_weights(count, seed) @ blocks.reshape(count, -1)).reshape(-1, size, size)
    return {name: _deviation(values) for name, values in _estimates(replicates).items()}


def _weights(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=REPLICATES).astype(float)


def _estimates(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Return estimates of (N, K, K) matrices: overall (N,), the others (N, K)."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    mapped, true = matrices.sum(axis=2), matrices.sum(axis=1)
    whole = matrices.sum(axis=(1, 2))
    return {
        "overall": ratio(right.sum(axis=1), whole),
        "users": ratio(right, mapped),
        "producers": ratio(right, true),
        "area": ratio(true, np.broadcast_to(whole[:, None], true.shape)),
    }


def _deviation(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation over replicates in which the estimate exists, NaN where fewer than two do."""
    exists = ~np.isnan(values)
    number = exists.sum(axis=0)
    mean = ratio(np.where(exists, values, 0).sum(axis=0), number)
    squares = (np.where(exists, values - mean, 0) ** 2).sum(axis=0)
    deviation: np.ndarray = np.sqrt(ratio(squares, np.maximum(number - 1, 0)))
    return deviation
