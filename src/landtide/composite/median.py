"""The median of a pixel's valid observations, for many pixels at once.

Observations are int16 digital numbers of 1e-4, -32768 = missing. All pixels of a block go through the same sorting network, compare by
compare, so each compare is a minimum and a maximum of two rows, which the compiler turns into vector instructions. Missing observations are
put behind all values and before them in turn: so the median lies in the two middle rows, however many are missing.
"""

from functools import lru_cache

import numpy as np
from numba import njit

from landtide.core.cube import NODATA

MISSING = np.int16(NODATA)
LAST = np.int16(32767)
"""Stands for a missing observation that is to go behind every value; MISSING itself goes before every one."""

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
    _median(stack, middle_network(len(stack)), middle(len(stack)), composite, count, seen, pixels.start, pixels.stop)
    return seen


def middle(size: int) -> tuple[int, int]:
    """Return the sorted places of `size` values between which the median lies; of an odd number it is the second."""
    return max(size // 2 - 1, 0), size // 2


@lru_cache
def middle_network(size: int) -> np.ndarray:
    """Return (M, 2) the compares, in order, that bring the middle two of `size` values to their sorted places."""
    return _network(size, set(middle(size)))


@lru_cache
def sorting_network(size: int) -> np.ndarray:
    """Return (M, 2) the compares, in order, that bring the lower half of `size` values, and the middle, to their sorted places.

    Missing values sort last, so the median lies in the lower half, however many are missing.
    """
    return _network(size, set(range(size // 2 + 1)))


def _network(size: int, needed: set[int]) -> np.ndarray:
    """Return the compares that sort `size` values, without those that serve none of the needed places.

    Source: odd-even merge sort, Batcher 1968, doi:10.1145/1468075.1468121.
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
    kept = []
    for low, high in reversed(compares):
        if low in needed or high in needed:
            kept.append((low, high))
            needed |= {low, high}
    return np.array(kept[::-1], np.int64).reshape(-1, 2)


@njit(cache=True, nogil=True)
def _median(
    stack: np.ndarray,
    network: np.ndarray,
    places: tuple[int, int],
    composite: np.ndarray,
    count: np.ndarray,
    seen: np.ndarray,
    begin: int,
    end: int,
) -> None:
    observations, bands, _ = stack.shape
    values = np.empty((observations, BLOCK), np.int16)
    valid = np.empty(BLOCK, np.int16)
    full = np.empty((observations, BLOCK), np.uint8)
    low, high = places
    alone = high if observations % 2 else low
    for first in range(begin, end, BLOCK):
        size = min(BLOCK, end - first)
        full[:] = 1
        for band in range(bands):
            valid[:] = 0
            for n in range(observations):
                _load(stack[n, band, first : first + size], np.int16(n), values[n, :size], valid[:size], full[n, :size])
            for step in range(network.shape[0]):
                _compare(values[network[step, 0], :size], values[network[step, 1], :size])
            _mean(values[low, :size], values[high, :size], values[alone, :size], valid, composite[band, first : first + size])
        _count(full[:, :size], count[first : first + size], valid, seen)


@njit(cache=True, nogil=True)
def _load(observed: np.ndarray, before: np.int16, values: np.ndarray, valid: np.ndarray, full: np.ndarray) -> None:
    """Take one observation; of those missing, the first goes behind all values, the second before them, and so on.

    before  observations taken already, of which ``valid`` were
    """
    for p in range(observed.size):
        is_valid = observed[p] != MISSING
        in_turn = (before - valid[p]) & np.int16(1)
        values[p] = observed[p] if is_valid or in_turn else LAST  # MISSING is the least int16
        valid[p] += np.int16(is_valid)
        full[p] &= np.uint8(is_valid)


@njit(cache=True, nogil=True)
def _compare(low: np.ndarray, high: np.ndarray) -> None:
    for p in range(low.size):
        a, b = low[p], high[p]
        low[p] = min(a, b)
        high[p] = max(a, b)


@njit(cache=True, nogil=True)
def _mean(low: np.ndarray, high: np.ndarray, alone: np.ndarray, valid: np.ndarray, composite: np.ndarray) -> None:
    """Write the mean of the middle two of an even number of valid values, the middle one of an odd number."""
    for p in range(composite.size):
        is_even = valid[p] & np.int16(1) == 0
        a = low[p] if is_even else alone[p]
        b = high[p] if is_even else alone[p]
        odd = (a ^ b) & np.int16(1)
        half = (a & b) + ((a ^ b) >> np.int16(1))  # of the sum, rounded down, without a carry that int16 lacks
        value = half + (odd & half)  # an odd sum ends in .5: up where that makes it even
        composite[p] = value if valid[p] != 0 else MISSING


@njit(cache=True, nogil=True)
def _count(full: np.ndarray, count: np.ndarray, valid: np.ndarray, seen: np.ndarray) -> None:
    valid[:] = 0
    for n in range(seen.size):
        row, total = full[n], 0
        for p in range(count.size):
            total += row[p]
        seen[n] += total
        for p in range(count.size):
            valid[p] += row[p]
    for p in range(count.size):
        count[p] = min(valid[p], np.int16(MOST))
