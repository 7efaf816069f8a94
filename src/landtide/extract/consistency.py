"""Consistency analysis: which polygons lie far from the distribution of their class."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import chdtr, chdtri

from landtide.extract.clusters import cluster

QUANTILE = 0.975
"""A polygon farther out than this share of its class's own distribution is refused."""

MIN_MEMBERS = 4
"""Polygons from which a sub-class of its own is estimated; fewer are no distribution."""

Verdict = Literal["kept", "consistency", "margin"]


@dataclass(frozen=True)
class SubClass:
    """One mode of a class in feature space."""

    label: int
    centre: np.ndarray
    """(D,)"""

    precision: np.ndarray
    """(D, D) inverse of the shrunk covariance."""

    members: int


def sub_classes(means: np.ndarray, label: int, pooled: np.ndarray, seed: int) -> list[SubClass]:
    """Split the polygons of one class into modes, so that rare phenologies survive, and estimate each robustly.

    means   (P, D) mean of each polygon
    pooled  (D, D) covariance within sub-classes over all classes: what a small sub-class shrinks to
    """
    groups = cluster(means, seed, most=min(8, max(1, len(means) // MIN_MEMBERS)))
    found = []
    for index in range(len(groups.centres)):
        members = means[groups.label == index]
        if len(members) >= MIN_MEMBERS or len(groups.centres) == 1:
            centre, covariance = robust_moments(members, pooled)
            found.append(SubClass(label, centre, np.linalg.inv(covariance), len(members)))
    if not found:
        centre, covariance = robust_moments(means, pooled)
        found.append(SubClass(label, centre, np.linalg.inv(covariance), len(means)))
    return found


def robust_moments(points: np.ndarray, pooled: np.ndarray, steps: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and covariance of the nearest three quarters of the points, the covariance shrunk to the pooled one.

    Concentration steps from the coordinate-wise median. Source: Rousseeuw and Van Driessen 1999, Technometrics 41 (FAST-MCD).
    The weight of the prior is D points: below that many a covariance matrix is singular.
    """
    dimension = points.shape[1]
    centre, covariance = np.median(points, axis=0), pooled
    keep = max(1, int(np.ceil(0.75 * len(points))))
    # the inner three quarters of a normal distribution are narrower than it by this factor (Croux and Haesbroeck 1999)
    inflate = 0.75 / chdtr(dimension + 2, chdtri(dimension, 0.25))
    for _ in range(steps):
        nearest = np.argsort(squared_distance(points, centre, np.linalg.inv(covariance)), kind="stable")[:keep]
        centre = points[nearest].mean(axis=0)
        scatter = (points[nearest] - centre).T @ (points[nearest] - centre)
        covariance = (inflate * scatter + dimension * pooled) / (keep + dimension)
    return centre, covariance


def squared_distance(points: np.ndarray, centre: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Return the squared Mahalanobis distance of every point, (N,)."""
    difference = points - centre
    return np.asarray(np.einsum("nd,de,ne->n", difference, precision, difference))


def analyse(means: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Judge every polygon against the sub-classes of its own and of the other classes.

    means   (P, D) mean of each polygon's dominant cluster
    labels  (P,) class that the old map gives it

    Returns verdicts (P,) of ``kept``, ``consistency`` (too far from every own sub-class) or ``margin`` (another class is nearer), and
    the squared distance to the nearest own sub-class (P,). A class of fewer than four polygons is not judged by distance: it has none.
    """
    means = means.astype(np.float64)
    pooled = _pooled(means, labels, seed)
    classes = np.unique(labels)
    modes = [mode for label in classes for mode in sub_classes(means[labels == label], int(label), pooled, seed)]
    modes = [mode for mode in modes if not _is_mistake(mode, modes)]
    owner = np.array([mode.label for mode in modes])
    distance = np.stack([squared_distance(means, mode.centre, mode.precision) for mode in modes], axis=1)  # (P, modes)
    own = np.where(owner[None] == labels[:, None], distance, np.inf).min(axis=1)
    other = np.where(owner[None] != labels[:, None], distance, np.inf).min(axis=1)
    few = np.isin(labels, [label for label in classes if (labels == label).sum() < MIN_MEMBERS])
    verdict = np.full(len(labels), "kept", dtype="<U11")
    verdict[(other < own) & ~few] = "margin"
    verdict[(own > chdtri(means.shape[1], 1 - QUANTILE)) & ~few & (verdict == "kept")] = "consistency"
    return verdict, own


def _is_mistake(mode: SubClass, modes: list[SubClass]) -> bool:
    """Say whether a mode lies inside a larger mode of another class: those are that class's polygons under a wrong name.

    The largest mode of a class never is: a class that another one covers must not vanish.
    """
    if mode.members == max(other.members for other in modes if other.label == mode.label):
        return False
    others = [other for other in modes if other.label != mode.label and other.members > mode.members]
    limit = chdtri(len(mode.centre), 1 - QUANTILE)
    return any(squared_distance(mode.centre[None], other.centre, other.precision)[0] < limit for other in others)


def _pooled(means: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the covariance of polygon means within sub-classes, with a ridge that keeps it regular."""
    residual = []
    for label in np.unique(labels):
        members = means[labels == label]
        groups = cluster(members, seed, most=min(8, max(1, len(members) // MIN_MEMBERS)))
        residual.append(members - groups.centres[groups.label])
    rows = np.concatenate(residual)
    spread = np.median(np.abs(rows), axis=0) * 1.4826
    clipped = np.clip(rows, -3 * np.maximum(spread, 1e-6), 3 * np.maximum(spread, 1e-6))
    covariance = clipped.T @ clipped / max(len(rows), 1)
    total = max(float(np.trace(np.cov(means.T).reshape(means.shape[1], -1))) if len(means) > 1 else 1.0, 1e-6)
    return np.asarray(covariance + 0.01 * total / means.shape[1] * np.eye(means.shape[1]))
