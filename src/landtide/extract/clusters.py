"""K-means in NumPy, with the number of clusters chosen from the data."""

from dataclasses import dataclass

import numpy as np

ROWS = 8192
"""Points assigned at once: the distances of 8192 points to 1000 centres are 32 MB."""

MIN_SILHOUETTE = 0.25
"""Two clusters that are less apart than this are one. Source: Kaufman and Rousseeuw 1990, "no substantial structure"."""

UNIMODAL_RATIO = 0.36
"""Within-cluster share of variance along the line between two centres that halving a normal distribution leaves: 1 - 2 / pi."""


@dataclass(frozen=True)
class Clustering:
    """A partition of N points into k clusters."""

    centres: np.ndarray
    """(k, D) float32"""

    label: np.ndarray
    """(N,) int64 cluster of each point."""

    inertia: float
    """Sum of squared distances to the own centre."""


def assign(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the nearest centre of every point, (N,) int64, in pieces of bounded memory."""
    half = np.einsum("kd,kd->k", centres, centres) / 2
    label = np.empty(len(x), np.int64)
    for start in range(0, len(x), ROWS):
        label[start : start + ROWS] = (x[start : start + ROWS] @ centres.T - half).argmax(axis=1)
    return label


def kmeans(x: np.ndarray, k: int, seed: int, *, starts: int = 4, iterations: int = 25) -> Clustering:
    """Partition points by Lloyd's algorithm from k-means++ starts; the best of several starts.

    x  (N, D) float32

    Source: Arthur and Vassilvitskii 2007, SODA.
    """
    rng = np.random.default_rng(seed)
    runs = [lloyd(x, _plus_plus(x, k, rng), iterations) for _ in range(starts if k > 1 else 1)]
    return min(runs, key=lambda run: run.inertia)


def lloyd(x: np.ndarray, centres: np.ndarray, iterations: int) -> Clustering:
    """Move centres to the means of their points until nothing changes; a centre that loses all its points stays where it is."""
    centres = centres.astype(np.float32).copy()
    label = assign(x, centres)
    for _ in range(iterations):
        centres = _means(x, label, centres)
        moved = assign(x, centres)
        if (moved == label).all():
            break
        label = moved
    difference = x - centres[label]
    return Clustering(centres, label, float(np.einsum("nd,nd->", difference, difference)))


def _means(x: np.ndarray, label: np.ndarray, centres: np.ndarray) -> np.ndarray:
    count = np.bincount(label, minlength=len(centres))
    order = np.argsort(label, kind="stable")
    filled = np.flatnonzero(count)
    starts = np.concatenate([[0], np.cumsum(count[filled])[:-1]])
    means = centres.copy()
    means[filled] = np.add.reduceat(x[order], starts, axis=0) / count[filled, None]
    return means


def _plus_plus(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    chosen = [int(rng.integers(len(x)))]
    distance = np.full(len(x), np.inf)
    for _ in range(k - 1):
        distance = np.minimum(distance, ((x - x[chosen[-1]]) ** 2).sum(axis=1))
        total = distance.sum()
        chosen.append(int(rng.choice(len(x), p=distance / total)) if total > 0 else int(rng.integers(len(x))))
    return x[chosen]


def calinski_harabasz(x: np.ndarray, clustering: Clustering) -> float:
    """Return [B / (k - 1)] / [W / (N - k)]. Source: Calinski and Harabasz 1974, Commun. Stat. 3."""
    k = len(clustering.centres)
    total = float(((x - x.mean(axis=0)) ** 2).sum())
    between = total - clustering.inertia
    return (between / (k - 1)) / max(clustering.inertia / max(len(x) - k, 1), 1e-12)


def is_one_cluster(x: np.ndarray, split: Clustering) -> bool:
    """Say whether a split in two is only a cut through one cloud of points.

    Two tests, either of which is enough: the simplified silhouette of the split is below 0.25, or the two halves overlap along the
    line between their centres as the halves of one normal distribution do (the idea of the Duda-Hart test in one dimension).
    """
    axis = split.centres[1] - split.centres[0]
    length = float(np.linalg.norm(axis))
    if length == 0 or np.bincount(split.label, minlength=2).min() == 0:
        return True
    along = (x @ axis) / length
    within = sum(float(((along[split.label == side] - along[split.label == side].mean()) ** 2).sum()) for side in (0, 1))
    ratio = within / max(float(((along - along.mean()) ** 2).sum()), 1e-12)
    distances = np.stack([np.linalg.norm(x - centre, axis=1) for centre in split.centres], axis=1)
    own, other = distances.min(axis=1), distances.max(axis=1)
    silhouette = float(np.mean((other - own) / np.maximum(other, 1e-12)))
    return silhouette < MIN_SILHOUETTE or ratio > 0.75 * UNIMODAL_RATIO


def cluster(x: np.ndarray, seed: int, *, most: int = 5) -> Clustering:
    """Partition points into 1 to ``most`` clusters: one unless two stand apart, else the best number by Calinski-Harabasz."""
    one = Clustering(x.mean(axis=0, keepdims=True), np.zeros(len(x), np.int64), float(((x - x.mean(axis=0)) ** 2).sum()))
    if len(x) < 4 or one.inertia <= 1e-9 * len(x):
        return one
    split = kmeans(x, 2, seed)
    if is_one_cluster(x, split):
        return one
    options = [split, *(kmeans(x, k, seed) for k in range(3, min(most, len(x) // 2) + 1))]
    return max(options, key=lambda option: calinski_harabasz(x, option))
