"""Monthly composites of a synthetic world, made here by themselves so that experiments need no catalog."""

import numpy as np

from landtide.simulate.scene import FINE
from landtide.simulate.spectra import BANDS


def as_seen(values: np.ndarray) -> np.ndarray:
    """Turn (h, w, B) into (B, h, w) with bands of 20 m averaged and repeated."""
    height, width = values.shape[:2]
    coarse = values.reshape(height // 2, 2, width // 2, 2, -1).mean(axis=(1, 3)).repeat(2, 0).repeat(2, 1)
    return np.stack([values[..., k] if name in FINE else coarse[..., k] for k, name in enumerate(BANDS)])


def compose(months: list[list[np.ndarray]], shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the median of each month's dates, gaps filled, (T, B, h, w) float32, and the count of valid dates (T, h, w) uint8.

    months    for each month a list of (B, h, w) with NaN where masked
    """
    value = np.full((len(months), *shape), np.nan, np.float32)
    count = np.zeros((len(months), *shape[1:]), np.uint8)
    for month, dates in enumerate(months):
        if dates:
            stack = np.sort(np.stack(dates), axis=0)  # NaN sorts last
            valid = np.isfinite(stack[:, 0]).sum(axis=0)
            count[month] = valid
            low, high = np.maximum(valid - 1, 0) // 2, valid // 2
            pick = [np.take_along_axis(stack, np.minimum(at, len(dates) - 1)[None, None], axis=0)[0] for at in (low, high)]
            value[month] = np.where(valid > 0, (pick[0] + pick[1]) / 2, np.nan)
    return _fill(value), count


def _fill(value: np.ndarray) -> np.ndarray:
    """Fill gaps linearly between the nearest valid steps, by the nearest at the ends. value (T, B, h, w)."""
    steps = len(value)
    have = np.isfinite(value[:, 0])  # (T, h, w)
    index = np.arange(steps)[:, None, None]
    before = np.maximum.accumulate(np.where(have, index, -1), axis=0)
    after = np.minimum.accumulate(np.where(have, index, steps)[::-1], axis=0)[::-1]
    lower = np.where(before < 0, np.minimum(after, steps - 1), before)
    upper = np.where(after >= steps, np.maximum(before, 0), after)
    weight = np.where(upper > lower, (index - lower) / np.maximum(upper - lower, 1), 0).astype(np.float32)[:, None]
    first, last = (np.take_along_axis(value, at[:, None], axis=0) for at in (lower, upper))
    return first * (1 - weight) + last * weight
