"""K-means with the number of clusters chosen from the data, fast enough for all candidate pixels of a tile.

Starts and the number of clusters are tried on a sample; only the last two passes see every point. A pass (assignment, sums and inertia at
once) is one compiled loop without temporary arrays and without threads of its own: tiles run in parallel, and threads inside of threads
cost more than they give. It releases Python's lock.
"""

from dataclasses import dataclass

import numba
import numpy as np

ROWS = 8192
"""Points assigned at once to many centres: the distances of 8192 points to 1000 centres are 32 MB."""

FEW = 32
"""Centres up to which the compiled loop beats a matrix product."""

FIT = 32_768
"""Points on which a large set is clustered. The centres' own error then adds k / FIT to the inertia, 0.02 % for 8 clusters."""

TRY = 8192
"""Points on which numbers of clusters are compared."""

HELD_OUT = 16
"""Points from which on clusters are judged by points that had no part in making them."""

APART = 0.26
"""Two clusters are one cloud where the variance within them is more than this share of that along the line between their centres. Halves
of a normal distribution have 1 - 2 / pi = 0.36, halves of an even one 0.25, two normal clouds 0.26 at a distance of 3.4 deviations."""

MIN_SILHOUETTE = 0.25
"""Asked of two clusters besides where no points can be held out. Source: Kaufman and Rousseeuw 1990, "no substantial structure"."""


@dataclass(frozen=True)
class Clustering:
    """A partition of N points into k clusters."""

    centres: np.ndarray
    """(k, D) float32"""

    label: np.ndarray
    """(N,) int64 cluster of each point."""

    inertia: float
    """Sum of squared distances to the own centre."""


def cluster(x: np.ndarray, seed: int, *, most: int = 5) -> Clustering:
    """Partition points into 1 to ``most`` clusters: the most of which any two neighbours stand apart.

    x  (N, D) float32

    Half of the points make the clusters, the other half judges them: in many dimensions any cut looks like a gap to the points that it was
    fitted to. That two clusters are judged along the line between them is the idea of Duda and Hart 1973; holding out half is ours.
    """
    x = np.ascontiguousarray(x, np.float32)
    sample = _sample(x, FIT, seed)
    one = sample.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    if len(x) < 4 or _sweep(sample, one)[1] <= 1e-9 * len(sample):
        return lloyd(x, one, 1)
    count = _choose(_sample(sample, TRY, seed), seed, most)
    return kmeans(x, count, seed) if count > 1 else lloyd(x, one, 1)


def kmeans(x: np.ndarray, k: int, seed: int, *, starts: int = 4, iterations: int = 50) -> Clustering:
    """Partition points by Lloyd's algorithm from k-means++ starts; the best of several. A large set is fitted on a part of it.

    x  (N, D) float32

    Source: Arthur and Vassilvitskii 2007, SODA.
    """
    x = np.ascontiguousarray(x, np.float32)
    sample, rng = _sample(x, FIT, seed), np.random.default_rng(seed)
    runs = [lloyd(sample, _plus_plus(sample, k, rng), iterations) for _ in range(starts if k > 1 else 1)]
    best = min(runs, key=lambda run: run.inertia)
    return best if len(sample) == len(x) else lloyd(x, best.centres, 1)


def lloyd(x: np.ndarray, centres: np.ndarray, iterations: int) -> Clustering:
    """Move centres to the means of their points until nothing changes; a centre that loses all its points stays where it is."""
    x, centres = np.ascontiguousarray(x, np.float32), centres.astype(np.float32)
    label, inertia, sums, count = _sweep(x, centres)
    for _ in range(iterations):
        filled = count > 0
        centres[filled] = sums[filled] / count[filled, None]
        before = label
        label, inertia, sums, count = _sweep(x, centres)
        if (before == label).all():
            break
    return Clustering(centres, label, inertia)


def assign(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the nearest centre of every point, (N,) int64, in pieces of bounded memory."""
    if len(centres) <= FEW:
        return _sweep(np.ascontiguousarray(x, np.float32), centres.astype(np.float32))[0]
    half = np.einsum("kd,kd->k", centres, centres) / 2
    label = np.empty(len(x), np.int64)
    for start in range(0, len(x), ROWS):
        label[start : start + ROWS] = (x[start : start + ROWS] @ centres.T - half).argmax(axis=1)
    return label


def _choose(x: np.ndarray, seed: int, most: int) -> int:
    """Return the largest number of clusters of which any two neighbours stand apart, 1 where there is none."""
    held_out = len(x) >= 2 * HELD_OUT
    order = np.random.default_rng(seed).permutation(len(x)) if held_out else np.arange(len(x))
    made, judges = (np.ascontiguousarray(x[part]) for part in ((order[::2], order[1::2]) if held_out else (order, order)))
    for count in range(min(most, len(made) // 2), 1, -1):
        if stand_apart(judges, kmeans(made, count, seed).centres, silhouette=not held_out):
            return count
    return 1


def stand_apart(x: np.ndarray, centres: np.ndarray, *, silhouette: bool = False) -> bool:
    """Say whether the points between any two neighbouring centres are two clouds rather than a cut through one.

    x           (N, D) points that judge
    silhouette  ask for a simplified silhouette of 0.25 as well
    """
    label = assign(x, centres)
    if np.bincount(label, minlength=len(centres)).min() < 2:
        return False
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    pairs = {(min(own, near), max(own, near)) for own in range(len(centres)) for near in distance[own].argsort()[:2] if near != own}
    if silhouette and _simplified_silhouette(x, centres) < MIN_SILHOUETTE:
        return False
    return all(_overlap(x[label == first], x[label == second], centres[second] - centres[first]) < APART for first, second in pairs)


def _overlap(first: np.ndarray, second: np.ndarray, axis: np.ndarray) -> float:
    """Return the share of the variance along an axis that lies within two groups, both counting alike whatever their sizes."""
    one, other = first @ axis, second @ axis
    within = (float(one.var()) + float(other.var())) / 2
    return within / max(within + (float(one.mean()) - float(other.mean())) ** 2 / 4, 1e-30)


def _simplified_silhouette(x: np.ndarray, centres: np.ndarray) -> float:
    """Return the mean silhouette by distances to centres instead of to points. Source: Hruschka et al. 2004, WI."""
    near = np.sort(np.stack([np.linalg.norm(x - centre, axis=1) for centre in centres], axis=1), axis=1)
    return float(np.mean((near[:, 1] - near[:, 0]) / np.maximum(near[:, 1], 1e-12)))


def _sample(x: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(x) <= most:
        return x
    return np.ascontiguousarray(x[np.sort(np.random.default_rng(seed).choice(len(x), most, replace=False, shuffle=False))])


def _plus_plus(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Choose k points far from each other; each is the best of a few drawn by squared distance."""
    chosen = [int(rng.integers(len(x)))]
    distance = _squared(x, x[chosen[0]])
    for _ in range(k - 1):
        total = distance.cumsum(dtype=np.float64)
        drawn = np.minimum(np.searchsorted(total, rng.random(2 + int(np.log(k))) * total[-1]), len(x) - 1)
        options = [np.minimum(distance, _squared(x, x[index])) for index in drawn]
        best = min(range(len(drawn)), key=lambda number: float(options[number].sum(dtype=np.float64)))
        chosen.append(int(drawn[best]))
        distance = options[best]
    return x[chosen]


def _sweep(x: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """Return label (N,), inertia, sums (k, D) float64 and count (k,) of a pass over the points."""
    k, dimensions = centres.shape
    sums, count = np.zeros((k, dimensions)), np.zeros(k, np.int64)
    if k <= FEW:
        label = np.empty(len(x), np.int64)
        return label, float(_pass(x, np.ascontiguousarray(centres), label, sums, count)), sums, count
    label = assign(x, centres)
    return label, float(_totals(x, centres, label, sums, count)), sums, count


@numba.njit(cache=True, fastmath=True, nogil=True)
def _squared(x: np.ndarray, centre: np.ndarray) -> np.ndarray:
    result = np.empty(len(x), np.float32)
    for row in range(len(x)):
        total = np.float32(0)
        for column in range(x.shape[1]):
            difference = x[row, column] - centre[column]
            total += difference * difference
        result[row] = total
    return result


@numba.njit(cache=True, fastmath=True, nogil=True)
def _pass(x: np.ndarray, centres: np.ndarray, label: np.ndarray, sums: np.ndarray, count: np.ndarray) -> float:
    """Assign points to the nearest centre and sum them, in place; return the inertia."""
    rows, dimensions = x.shape
    part = np.zeros(sums.shape, np.float32)
    inertia = np.float64(0)
    for start in range(0, rows, 1024):  # sums of more points in single precision would lose digits
        part[:] = 0
        for row in range(start, min(start + 1024, rows)):
            best, own = np.float32(np.inf), 0
            for centre in range(len(centres)):
                total = np.float32(0)
                for column in range(dimensions):
                    difference = x[row, column] - centres[centre, column]
                    total += difference * difference
                if total < best:
                    best, own = total, centre
            label[row] = own
            count[own] += 1
            inertia += best
            for column in range(dimensions):
                part[own, column] += x[row, column]
        sums += part
    return float(inertia)


@numba.njit(cache=True, fastmath=True, nogil=True)
def _totals(x: np.ndarray, centres: np.ndarray, label: np.ndarray, sums: np.ndarray, count: np.ndarray) -> float:
    """Sum the points of each centre in place; return the inertia."""
    inertia = np.float64(0)
    for row in range(len(x)):
        own, total = label[row], np.float32(0)
        count[own] += 1
        for column in range(x.shape[1]):
            difference = x[row, column] - centres[own, column]
            total += difference * difference
            sums[own, column] += x[row, column]
        inertia += total
    return float(inertia)
