"""The median of a pixel's valid observations, for many pixels at once.

Observations are int16 digital numbers of 1e-4, -32768 = missing. All pixels of a block go through the same sorting network, compare by
compare, so each compare is a minimum and a maximum of two rows, which the compiler turns into vector instructions.
"""

from functools import lru_cache

import numpy as np
from numba import njit

from landtide.core.cube import NODATA

MISSING = np.int16(NODATA)
LAST = np.int16(32767)
"""Stands for a missing observation while sorting: it goes behind every value."""

BLOCK = 1024
"""Pixels sorted together: 60 observations of them fill 120 KiB, which stays in the second-level cache."""

MOST = 255
"""Count is uint8: more observations than this are as many as this."""


def median(stack: np.ndarray, composite: np.ndarray, count: np.ndarray, pixels: slice) -> np.ndarray:
    """Reduce the observations of one composite step; return (N,) the number of pixels that each acquisition saw in all bands.

    stack      (N, B, P) int16 observations, 1e-4; -32768 = missing
    composite  (B, P) int16, written: median over the valid observations of each band; -32768 where there is none
    count      (P,) uint8, written: observations valid in all bands
    pixels     the part of P to do: threads share the work by it, and the lock of Python is free meanwhile

    Of an even number of observations it is the mean of the middle two, halves rounded to even, as `numpy.nanmedian` and `rint` do.
    """
    seen = np.zeros(len(stack), np.int64)
    _median(stack, sorting_network(len(stack)), composite, count, seen, pixels.start, pixels.stop)
    return seen


@lru_cache
def sorting_network(size: int) -> np.ndarray:
    """Return (M, 2) the compares, in order, that bring the lower half of `size` values, and the middle, to their sorted places.

    Missing values sort last, so the median lies in the lower half, however many are missing; compares that only serve the upper half
    are left out. Source: odd-even merge sort, Batcher 1968, doi:10.1145/1468075.1468121.
    """
    compares = []
    run = 1
    while run < size:
        gap = run
        while gap >= 1:
            for start in range(gap % run, size - gap, 2 * gap):
                for low in range(start, min(start + gap, size - gap)):
                    if low // (2 * run) == (low + gap) // (2 * run):
                        compares.append((low, low + gap))
            gap //= 2
        run *= 2
    needed = set(range(size // 2 + 1))
    kept = []
    for low, high in reversed(compares):
        if low in needed or high in needed:
            kept.append((low, high))
            needed |= {low, high}
    return np.array(kept[::-1], np.int64).reshape(-1, 2)


@njit(cache=True, nogil=True)
def _median(
    stack: np.ndarray, network: np.ndarray, composite: np.ndarray, count: np.ndarray, seen: np.ndarray, begin: int, end: int
) -> None:
    observations, bands, _ = stack.shape
    values = np.empty((observations, BLOCK), np.int16)
    valid = np.empty(BLOCK, np.int16)
    full = np.empty((observations, BLOCK), np.uint8)
    for first in range(begin, end, BLOCK):
        size = min(BLOCK, end - first)
        full[:] = 1
        for band in range(bands):
            valid[:] = 0
            for n in range(observations):
                _load(stack[n, band, first : first + size], values[n, :size], valid[:size], full[n, :size])
            for step in range(network.shape[0]):
                _compare(values[network[step, 0], :size], values[network[step, 1], :size])
            _pick_middle(values, valid, composite[band, first : first + size])
        _count(full, count[first : first + size], seen)


@njit(cache=True, nogil=True)
def _load(observed: np.ndarray, values: np.ndarray, valid: np.ndarray, full: np.ndarray) -> None:
    for p in range(observed.size):
        is_valid = observed[p] != MISSING
        values[p] = observed[p] if is_valid else LAST
        valid[p] += np.int16(is_valid)
        full[p] &= np.uint8(is_valid)


@njit(cache=True, nogil=True)
def _compare(low: np.ndarray, high: np.ndarray) -> None:
    for p in range(low.size):
        a, b = low[p], high[p]
        low[p] = min(a, b)
        high[p] = max(a, b)


@njit(cache=True, nogil=True)
def _pick_middle(values: np.ndarray, valid: np.ndarray, composite: np.ndarray) -> None:
    for p in range(composite.size):
        n = valid[p]
        if n == 0:
            composite[p] = MISSING
        else:
            total = np.int32(values[(n - 1) >> 1, p]) + np.int32(values[n >> 1, p])
            half = total >> 1
            composite[p] = half + (total & half & 1)  # an odd total ends in .5: up where that makes it even


@njit(cache=True, nogil=True)
def _count(full: np.ndarray, count: np.ndarray, seen: np.ndarray) -> None:
    for p in range(count.size):
        total = 0
        for n in range(seen.size):
            total += full[n, p]
            seen[n] += full[n, p]
        count[p] = min(total, MOST)
