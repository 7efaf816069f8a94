"""A second look for cloud and shadow that the mask has missed, by the series of each pixel itself.

Cloud is bright and short: an observation that is far brighter in blue than the pixel was before AND after, and not darker in the short-wave
infrared (as snow is), is dropped. Its shadow is dark and short in the infrared. What stays changed, such as a harvest, a burn or a new
building, agrees with what comes after; what comes slowly, such as growth, agrees with both sides.
"""

import numpy as np
from numba import njit

from landtide.composite.lanes import LANES, MISSING
from landtide.composite.median import sorting_network

BRIGHT, DARK = "B02", "B11"
"""Blue sees cloud best against land; 1610 nm tells it from snow, and is dark in shadow, where blue keeps the light of the sky."""

TIMES = np.float32(2.5)
"""Robust standard deviations of the pixel's own noise that an outlier must exceed; chosen with what follows on simulated worlds 1 to 3."""

CLOUD = np.float32(400)
"""Digital numbers of 1e-4: a step in blue below this is haze, which a median stands."""

SHADOW = np.float32(0.25)
"""Share of the infrared that a shadow takes away at the least."""

SNOW = np.float32(0.4)
"""Of (blue - infrared) / (blue + infrared): above lies snow."""

ENDS = np.float32(6.0)
"""Factor for the first and last observation of the year, which have neighbours on one side alone: only thick cloud is dropped there."""

FEWEST = 5
"""Observations without which a year tells nothing about its outliers."""

LAST = np.float32(np.inf)


def looked_bands(bands: tuple[str, ...]) -> tuple[str, ...]:
    """Return the bands that the second look reads; empty where the series has not both of them."""
    return (BRIGHT, DARK) if BRIGHT in bands and DARK in bands else ()


def drop_outliers(year: np.ndarray, dropped: np.ndarray, pixels: slice) -> np.ndarray:
    """Mark the outliers in time; return (N,) int64 how many pixels each acquisition loses.

    year     (N, 2, P) int16 blue and infrared of every acquisition in order of time, 1e-4; -32768 = missing
    dropped  (N, P) bool, written: True is added where an observation is an outlier
    pixels   the part of P to do
    """
    lost = np.zeros(len(year), np.int64)
    if len(year) >= FEWEST:
        _look(year, dropped, sorting_network(len(year) - 1), lost, pixels.start, pixels.stop)
    return lost


@njit(cache=True, nogil=True)
def _look(year: np.ndarray, dropped: np.ndarray, network: np.ndarray, lost: np.ndarray, begin: int, end: int) -> None:
    observations = year.shape[0]
    blue = np.empty((observations + 2, LANES), np.float32)
    dark = np.empty((observations + 2, LANES), np.float32)
    held = np.empty(LANES, np.int64)
    blue_noise, dark_noise = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    outlier = np.empty((observations, LANES), np.bool_)
    for first in range(begin, end, LANES):
        size = min(LANES, end - first)
        most = _pack(year, dropped, first, size, blue, dark, held)
        if most < FEWEST:
            continue
        _noise(blue, held, network, blue_noise)
        _noise(dark, held, network, dark_noise)
        for n in range(most):
            _judge(blue, dark, held, n, blue_noise, dark_noise, outlier[n])
        _mark(year, dropped, first, size, outlier, lost)


@njit(cache=True, nogil=True)
def _pack(year: np.ndarray, dropped: np.ndarray, first: int, size: int, blue: np.ndarray, dark: np.ndarray, held: np.ndarray) -> int:
    """Move the valid observations of each lane to the front, in order of time; return the most that a lane has."""
    held[:] = 0
    for n in range(year.shape[0]):
        for lane in range(size):
            p = first + lane
            if year[n, 0, p] != MISSING and year[n, 1, p] != MISSING and not dropped[n, p]:
                blue[held[lane], lane] = year[n, 0, p]
                dark[held[lane], lane] = year[n, 1, p]
                held[lane] += 1
    return int(held.max())


@njit(cache=True, nogil=True)
def _noise(values: np.ndarray, held: np.ndarray, network: np.ndarray, noise: np.ndarray) -> None:
    """Write the robust standard deviation of each lane: from differences of neighbours in time, whose median a season hardly moves."""
    count = values.shape[0] - 3
    steps = np.empty((count, LANES), np.float32)
    for n in range(count):
        for lane in range(LANES):
            steps[n, lane] = abs(values[n + 1, lane] - values[n, lane]) if n + 1 < held[lane] else LAST
    for m in range(network.shape[0]):
        low, high = network[m, 0], network[m, 1]
        for lane in range(LANES):
            a, b = steps[low, lane], steps[high, lane]
            steps[low, lane] = min(a, b)
            steps[high, lane] = max(a, b)
    for lane in range(LANES):
        noise[lane] = np.float32(1.4826 * 0.70710678) * steps[max(held[lane] - 2, 0) // 2, lane]


@njit(cache=True, nogil=True)
def _judge(
    blue: np.ndarray, dark: np.ndarray, held: np.ndarray, n: int, blue_noise: np.ndarray, dark_noise: np.ndarray, outlier: np.ndarray
) -> None:
    """Write for each lane whether its observation n stands out from those before and after it."""
    for lane in range(LANES):
        count = held[lane]
        outlier[lane] = False
        if n >= count or count < FEWEST:
            continue
        blue_before, dark_before = _side(blue, lane, n, -1, count, True), _side(dark, lane, n, -1, count, False)
        blue_after, dark_after = _side(blue, lane, n, 1, count, True), _side(dark, lane, n, 1, count, False)
        high, low = max(blue_before, blue_after), min(dark_before, dark_after)
        factor = ENDS if n == 0 or n == count - 1 else np.float32(1)
        b, d = blue[n, lane], dark[n, lane]
        rise, fall = factor * max(TIMES * blue_noise[lane], CLOUD), factor * TIMES * dark_noise[lane]
        bright = b > high + rise and d > low - TIMES * dark_noise[lane] - CLOUD and b - d < SNOW * (b + d)
        outlier[lane] = bright or (d < low * (1 - factor * SHADOW) and d < low - fall and b < high + rise)


@njit(cache=True, nogil=True, inline="always")
def _side(values: np.ndarray, lane: int, n: int, step: int, count: int, highest: bool) -> float:
    """Return the level on one side of an observation: the median of the three nearest; of fewer, the one that hides more."""
    there = n if step < 0 else count - 1 - n
    level = np.float32(-np.inf) if highest else np.float32(np.inf)
    if there > 0:
        level = values[n + step, lane]
    if there > 1:
        a, b = level, values[n + 2 * step, lane]
        level = max(a, b) if highest else min(a, b)
        if there > 2:
            level = max(min(a, b), min(max(a, b), values[n + 3 * step, lane]))
    return float(level)


@njit(cache=True, nogil=True)
def _mark(year: np.ndarray, dropped: np.ndarray, first: int, size: int, outlier: np.ndarray, lost: np.ndarray) -> None:
    rank = np.zeros(LANES, np.int64)
    for n in range(year.shape[0]):
        for lane in range(size):
            p = first + lane
            if year[n, 0, p] != MISSING and year[n, 1, p] != MISSING and not dropped[n, p]:
                if outlier[rank[lane], lane]:
                    dropped[n, p] = True
                    lost[n] += 1
                rank[lane] += 1
