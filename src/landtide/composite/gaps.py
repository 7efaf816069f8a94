"""Composite steps without a valid observation, filled along time."""

import numpy as np
from numba import njit

from landtide.core.cube import NODATA

MISSING = np.int16(NODATA)


def fill_linear(composite: np.ndarray, days: np.ndarray, pixels: slice) -> None:
    """Fill gaps in place: linear in time between the nearest valid steps, the nearest one at the ends of the series.

    composite  (T, B, P) int16, 1e-4; -32768 = missing. A series without any value stays missing
    days       (T,) int64 day that each step stands for
    pixels     the part of P to do
    """
    _fill_linear(composite, days, pixels.start, pixels.stop)


@njit(cache=True, nogil=True)
def _fill_linear(composite: np.ndarray, days: np.ndarray, begin: int, end: int) -> None:
    steps, bands, _ = composite.shape
    for band in range(bands):
        for p in range(begin, end):
            before = -1
            for after in range(steps):
                if composite[after, band, p] != MISSING:
                    if before == -1:
                        composite[:after, band, p] = composite[after, band, p]
                    elif after - before > 1:
                        _bridge(composite[:, band, p], days, before, after)
                    before = after
            if before != -1:
                composite[before + 1 :, band, p] = composite[before, band, p]


@njit(cache=True, nogil=True)
def _bridge(series: np.ndarray, days: np.ndarray, before: int, after: int) -> None:
    rise = np.float64(series[after]) - np.float64(series[before])
    for t in range(before + 1, after):
        share = (days[t] - days[before]) / (days[after] - days[before])
        series[t] = np.int16(np.rint(series[before] + rise * share))
