"""The medoid of a pixel's observations: the one among them with the least sum of distances to the others.

Unlike a median by band it is a spectrum that was really observed. Source: Flood 2013, doi:10.3390/rs5126481.
"""

import numpy as np
from numba import njit

from landtide.composite.lanes import LANES, MISSING, MOST, gather


def medoid(stack: np.ndarray, composite: np.ndarray, count: np.ndarray, pixels: slice) -> np.ndarray:
    """Reduce the observations of one composite step to their medoid by Euclidean distance; see `landtide.composite.reducers.Reducer`.

    Observations with a missing band are left out. Of several with the same sum, the earliest is taken.
    """
    seen = np.zeros(len(stack), np.int64)
    _medoid(stack, composite, count, seen, pixels.start, pixels.stop)
    return seen


@njit(cache=True, nogil=True)
def _medoid(stack: np.ndarray, composite: np.ndarray, count: np.ndarray, seen: np.ndarray, begin: int, end: int) -> None:
    observations, bands, _ = stack.shape
    packed = np.empty((observations, bands, LANES), np.float64)  # squares of differences of int16 are exact in it, in float32 not
    held = np.empty(LANES, np.int64)
    sums = np.empty((observations, LANES), np.float64)
    for first in range(begin, end, LANES):
        size = min(LANES, end - first)
        most = gather(stack, first, size, packed, held, seen)
        sums[:most] = 0
        for one in range(most):
            for other in range(one + 1, most):
                _add_distances(packed[one], packed[other], other, held, sums[one], sums[other])
        for lane in range(size):
            best = 0
            for n in range(1, held[lane]):
                if sums[n, lane] < sums[best, lane]:
                    best = n
            for band in range(bands):
                composite[band, first + lane] = np.int16(packed[best, band, lane]) if held[lane] else MISSING
            count[first + lane] = min(held[lane], MOST)


@njit(cache=True, nogil=True)
def _add_distances(one: np.ndarray, other: np.ndarray, index: int, held: np.ndarray, sum_one: np.ndarray, sum_other: np.ndarray) -> None:
    """Add the distances between two observations of each lane to their sums; `index` is the later one's, which a lane may not hold."""
    square = np.zeros(LANES, np.float64)
    for band in range(one.shape[0]):
        for lane in range(LANES):
            difference = one[band, lane] - other[band, lane]
            square[lane] += difference * difference
    for lane in range(LANES):
        distance = np.sqrt(square[lane]) if index < held[lane] else 0.0
        sum_one[lane] += distance
        sum_other[lane] += distance
