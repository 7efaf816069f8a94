"""The geometric median of a pixel's observations: the spectrum with the least sum of Euclidean distances to them.

It keeps the relations between bands, which a median by band breaks, and a third of the observations may be cloud without moving it far.
Source: Roberts, Mueller and McIntyre 2017, doi:10.1109/TGRS.2017.2723896.
"""

import numpy as np
from numba import njit

from landtide.composite.lanes import LANES, MISSING, gather
from landtide.composite.median import median

STEPS = 100
"""Iterations at most. With the acceleration below nine pixels of ten need fewer than twenty."""

STILL = np.float32(0.01)
"""Digital numbers of 1e-4: a step shorter than this no longer moves the rounded result by more than its last digit."""

SAME = np.float32(1e-3)
"""Digital numbers of 1e-4: the distance under which an iterate has met an observation, where the gradient does not exist."""

NOISE = np.float32(1 + 2e-6)
"""Factor by which float32 may err in a sum of distances: a sum that seems larger by less has not grown."""

BOLDEST = np.float32(4.0)
"""Longest step, in steps of Weiszfeld's."""


def geomedian(stack: np.ndarray, composite: np.ndarray, count: np.ndarray, pixels: slice) -> np.ndarray:
    """Reduce the observations of one composite step to their geometric median; see `landtide.composite.reducers.Reducer`.

    Observations with a missing band are left out. One observation is its own geomedian, of two it is their mean (every point between
    them is one). The result is rounded to 1e-4.

    Weiszfeld's iteration from the median of each band (`landtide.composite.median`). Where an iterate meets an observation it goes on as
    Vardi and Zhang 2000 (doi:10.1073/pnas.97.4.1423) found; steps are lengthened by the ratio of the last two residuals (Irons and Tuck
    1969, doi:10.1002/nme.1620010306), and a longer step that does not lessen the sum of distances is taken back.
    """
    seen = median(stack, composite, count, pixels)
    _refine(stack, composite, pixels.start, pixels.stop)
    return seen


@njit(cache=True, nogil=True)
def _refine(stack: np.ndarray, composite: np.ndarray, begin: int, end: int) -> None:
    """Turn medians of each band, (B, P), into geometric medians, in place."""
    observations, bands, _ = stack.shape
    packed = np.empty((observations, bands, LANES), np.float32)
    held = np.empty(LANES, np.int64)
    seen = np.empty(observations, np.int64)
    centre = np.zeros((bands, LANES), np.float32)
    for first in range(begin, end, LANES):
        size = min(LANES, end - first)
        most = gather(stack, first, size, packed, held, seen)
        for lane in range(size):
            for band in range(bands):
                centre[band, lane] = composite[band, first + lane]
                if held[lane] == 1 or held[lane] == 2:
                    centre[band, lane] = (packed[0, band, lane] + packed[held[lane] - 1, band, lane]) * np.float32(0.5)
        if most > 2:
            _descend(packed[:most], held, centre)
        for lane in range(size):
            for band in range(bands):
                composite[band, first + lane] = np.int16(np.rint(centre[band, lane])) if held[lane] else MISSING


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _pass(packed: np.ndarray, held: np.ndarray, centre: np.ndarray, step: np.ndarray, total: np.ndarray) -> None:
    """Write Weiszfeld's step from the centre, (B, LANES), and the sum of distances there, (LANES,)."""
    most, bands, _ = packed.shape
    weights = np.zeros(LANES, np.float32)
    met = np.zeros(LANES, np.float32)
    square = np.empty(LANES, np.float32)
    weight = np.empty(LANES, np.float32)
    step[:] = 0
    total[:] = 0
    for n in range(most):
        square[:] = 0
        for band in range(bands):
            for lane in range(LANES):
                difference = packed[n, band, lane] - centre[band, lane]
                square[lane] += difference * difference
        for lane in range(LANES):
            here = n < held[lane]
            apart = square[lane] > SAME * SAME
            distance = np.sqrt(square[lane])
            inverse = np.float32(1) / max(distance, SAME)
            weight[lane] = inverse if here and apart else np.float32(0)
            met[lane] += np.float32(1) if here and not apart else np.float32(0)
            total[lane] += distance if here else np.float32(0)
            weights[lane] += weight[lane]
        for band in range(bands):
            for lane in range(LANES):
                step[band, lane] += weight[lane] * (packed[n, band, lane] - centre[band, lane])
    square[:] = 0
    for band in range(bands):
        for lane in range(LANES):
            square[lane] += step[band, lane] * step[band, lane]
    for lane in range(LANES):
        pull = np.sqrt(square[lane])  # of the other observations; those met here hold against it with one each
        share = max(np.float32(0), np.float32(1) - met[lane] / max(pull, np.float32(1e-20)))
        weight[lane] = share / max(weights[lane], np.float32(1e-20))
    for band in range(bands):
        for lane in range(LANES):
            step[band, lane] *= weight[lane]


@njit(cache=True, nogil=True)
def _descend(packed: np.ndarray, held: np.ndarray, centre: np.ndarray) -> None:
    """Move the centre to the geometric median, in place."""
    bands = packed.shape[1]
    step = np.empty((bands, LANES), np.float32)
    trial = centre.copy()
    last_step = np.zeros((bands, LANES), np.float32)
    total = np.empty(LANES, np.float32)
    least = np.full(LANES, np.float32(np.inf))
    boldness = np.ones(LANES, np.float32)
    moving = np.ones(LANES, np.bool_)
    for _ in range(STEPS):
        _pass(packed, held, trial, step, total)
        for lane in range(LANES):
            moving[lane] = moving[lane] and held[lane] > 2
            if not moving[lane]:
                continue
            if total[lane] > least[lane] * NOISE:  # too bold: back to Weiszfeld's own step, which always descends
                _undo(centre[:, lane], last_step[:, lane], trial[:, lane])
                if boldness[lane] == 1:  # its own step did not lessen the sum: the end of float32's digits
                    trial[:, lane] = centre[:, lane]
                    moving[lane] = False
                boldness[lane] = 1
                continue
            length, along, change = np.float32(0), np.float32(0), np.float32(0)
            for band in range(bands):
                length += step[band, lane] * step[band, lane]
                difference = step[band, lane] - last_step[band, lane]
                along += last_step[band, lane] * difference
                change += difference * difference
            if length < STILL * STILL:
                moving[lane] = False
            first = least[lane] == np.float32(np.inf)
            bold = np.float32(1) if first or change == 0 else min(max(-boldness[lane] * along / change, np.float32(1)), BOLDEST)
            least[lane] = total[lane]
            boldness[lane] = bold
            for band in range(bands):
                centre[band, lane] = trial[band, lane]
                last_step[band, lane] = step[band, lane]
                trial[band, lane] += bold * step[band, lane]
        if not moving.any():
            break
    centre[:] = trial
    for lane in range(LANES):
        if moving[lane]:
            _settle(packed[: held[lane], :, lane], centre[:, lane])


@njit(cache=True, nogil=True)
def _settle(points: np.ndarray, centre: np.ndarray) -> None:
    """Move a centre (B,) that still creeps after all steps to the observation of points (n, B) that lies better, if one does.

    Where half of the observations are one and the same, the sum hardly falls on the way to it, and no number of steps would arrive.
    """
    best, least = -1, _sum(points, centre)
    for n in range(len(points)):
        total = _sum(points, points[n])
        if total < least:
            best, least = n, total
    if best >= 0:
        centre[:] = points[best]


@njit(cache=True, nogil=True)
def _sum(points: np.ndarray, centre: np.ndarray) -> float:
    total = 0.0
    for n in range(len(points)):
        square = 0.0
        for band in range(centre.size):
            square += (np.float64(points[n, band]) - centre[band]) ** 2
        total += np.sqrt(square)
    return total


@njit(cache=True, nogil=True)
def _undo(centre: np.ndarray, step: np.ndarray, trial: np.ndarray) -> None:
    for band in range(centre.size):
        trial[band] = centre[band] + step[band]
