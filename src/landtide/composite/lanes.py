"""Observations of a few pixels side by side, so that arithmetic on them becomes vector instructions."""

import numpy as np
from numba import njit

from landtide.core.cube import NODATA

MISSING = np.int16(NODATA)

LANES = 64
"""Pixels worked on together. Loops over 16, one vector register of float32, spend four times as long in their own checks; 60 observations
of 10 bands of 64 pixels are 150 KiB, which stay in the second-level cache."""

MOST = 255
"""Count is uint8: more observations than this are as many as this."""


@njit(cache=True, nogil=True)
def gather(stack: np.ndarray, first: int, size: int, packed: np.ndarray, held: np.ndarray, seen: np.ndarray) -> int:
    """Pack the complete observations of some pixels to the front; return the largest number that one of them has.

    stack   (N, B, P) int16, -32768 = missing
    first   of P, `size` <= LANES pixels from there
    packed  (N, B, LANES) written: observations in order of time, those with a missing band left out; the rest of a lane is zero
    held    (LANES,) int64 written: observations that a lane holds
    seen    (N,) int64, added to: pixels that each acquisition saw in all bands
    """
    observations, bands, _ = stack.shape
    complete = np.empty(LANES, np.uint8)
    packed[:] = 0
    held[:] = 0
    for n in range(observations):
        complete[:] = 0
        complete[:size] = 1
        for band in range(bands):
            observed = stack[n, band, first : first + size]
            for lane in range(size):
                complete[lane] &= np.uint8(observed[lane] != MISSING)
        for lane in range(size):
            if complete[lane]:
                row = packed[held[lane]]
                for band in range(bands):
                    row[band, lane] = stack[n, band, first + lane]
                held[lane] += 1
                seen[n] += 1
    return int(held.max())
