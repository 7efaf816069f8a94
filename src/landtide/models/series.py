"""Small operations on pixel series that every architecture shares."""

from collections.abc import Iterator

import numpy as np


def fill_gaps(x: np.ndarray) -> np.ndarray:
    """Fill missing steps of standardised series: linear between neighbours, held at the ends, 0 (the mean) where a channel is empty.

    x  (N, T, C) float32, NaN = missing

    Steps count as equally long: composites are regular, and SVM and forest see no dates.
    """
    holes = np.isnan(x)
    if not holes.any():
        return x
    broken = np.flatnonzero(holes.any(axis=(1, 2)))
    filled = x.copy()
    filled[broken] = _interpolate(x[broken], holes[broken])
    return filled


def _interpolate(x: np.ndarray, holes: np.ndarray) -> np.ndarray:
    steps = np.arange(x.shape[1])[None, :, None]
    before = np.maximum.accumulate(np.where(holes, -1, steps), axis=1)  # (N, T, C) last valid step, -1 = none
    after = np.minimum.accumulate(np.where(holes, x.shape[1], steps)[:, ::-1], axis=1)[:, ::-1]  # next valid step, T = none
    before, after = np.where(before < 0, after, before), np.where(after == x.shape[1], before, after)
    empty = holes.all(axis=1, keepdims=True)
    left, right = np.where(empty, 0, before), np.where(empty, 0, after)
    weight = ((steps - left) / np.maximum(right - left, 1)).astype(np.float32)
    low, high = np.take_along_axis(x, left, axis=1), np.take_along_axis(x, right, axis=1)
    values = low + weight * (high - low)
    return np.where(empty, np.float32(0), np.where(holes, values, x)).astype(np.float32)


def padded_blocks(count: int, size: int) -> Iterator[tuple[slice, int]]:
    """Cut ``count`` rows into blocks of ``size``: each block and how many rows it lacks.

    Matrix kernels round differently for different shapes. Blocks of one shape make a pixel's result independent of its neighbours,
    so that the cut into windows cannot be seen in the map.
    """
    for start in range(0, count, size):
        stop = min(start + size, count)
        yield slice(start, stop), size - (stop - start)


def pad(block: np.ndarray, lacking: int) -> np.ndarray:
    """Append rows of zeros."""
    return np.concatenate([block, np.zeros((lacking, *block.shape[1:]), block.dtype)]) if lacking else block
