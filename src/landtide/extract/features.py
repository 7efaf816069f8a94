"""Features for clustering: robustly standardised series, and their principal components."""

from dataclasses import dataclass

import numpy as np

CLIP = 6.0
"""Standardised values beyond this are cut: one cloud left in a series must not decide a distance."""

FIT = 40_000
"""Series from which scale and components are estimated; more change nothing in the third digit."""

MIN_VALID = 0.5
"""Share of a year's values that must be there; series with less would be clustered by their gaps."""


@dataclass(frozen=True)
class Scores:
    """Principal components of standardised series."""

    values: np.ndarray
    """(N, D) float32 scores."""

    deviation: np.ndarray
    """(D,) float32 standard deviation of each component, falling."""


def valid_series(x: np.ndarray) -> np.ndarray:
    """Say which series (N, F) hold enough values, (N,) bool; a series of NaN alone is never valid."""
    return np.asarray(np.isfinite(x).mean(axis=1) >= MIN_VALID)


def standardise(x: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Centre and scale every feature by median and half the 16-84 % range within each group (year); NaN becomes 0, the median.

    x      (N, F) float32 series, NaN = missing
    group  (N,) year of each series: years differ in weather and in calibration, which is no difference in land cover
    """
    result = np.empty(x.shape, np.float32)
    for value in np.unique(group):
        members = np.flatnonzero(group == value)
        low, middle, high = _quantiles(x[members[:: max(1, len(members) // FIT)]])
        scale = np.where(high - low > 1e-6, (high - low) / 2, 1.0)
        result[members] = np.clip(np.nan_to_num((x[members] - middle) / scale, nan=0.0), -CLIP, CLIP)
    return result


def _quantiles(sample: np.ndarray) -> np.ndarray:
    """Return the 16, 50 and 84 % quantiles of each column, (3, F); 0 for a column of NaN alone."""
    ordered = np.sort(sample, axis=0)  # NaN comes last
    count = np.isfinite(sample).sum(axis=0)
    place = np.array([[0.16], [0.5], [0.84]]) * np.maximum(count - 1, 0)
    low = np.floor(place).astype(int)
    part = place - low
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    columns = np.arange(sample.shape[1])
    return np.asarray(np.nan_to_num((1 - part) * ordered[low, columns] + part * ordered[high, columns], nan=0.0))


def principal_scores(z: np.ndarray, explained: float = 0.95, most: int = 20) -> Scores:
    """Project standardised series (N, F) on the fewest components that explain the given share of variance, at most ``most``.

    Euclidean distance in all of 120 dimensions is dominated by noise.
    """
    sample = z[:: max(1, len(z) // FIT)].astype(np.float64)
    centre = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(sample.T).reshape(z.shape[1], z.shape[1]) if len(sample) > 1 else np.eye(z.shape[1]))
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    share = np.cumsum(values) / max(values.sum(), 1e-12)
    count = min(int(np.searchsorted(share, explained)) + 1, most, z.shape[1])
    vectors = vectors[:, :count]
    vectors = vectors * np.where(
        vectors[np.abs(vectors).argmax(axis=0), np.arange(count)] < 0, -1.0, 1.0
    )  # the sign of LAPACK's vectors is free
    scores = (z - centre.astype(np.float32)) @ vectors.astype(np.float32)
    return Scores(scores, np.sqrt(np.maximum(values[:count], 1e-12)).astype(np.float32))
