"""Fit the SVM ensemble: tune once, then one machine a draw."""

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import SVC

from landtide.models import svm
from landtide.train.data import TrainingData, class_weights, features_of

log = logging.getLogger(__name__)

C_GRID = (0.1, 1.0, 10.0, 100.0, 1000.0)
GAMMA_GRID = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Times the number of features. Source of both grids: methods of the SVM ensemble, Paris & Bruzzone 2021, doi:10.1109/TGRS.2020.3001004."""

ALL_DRAWS = 0xFFFFFFFF
FOLDS = 5
UNTUNED = (10.0, 1.0)
"""C and gamma where there are too few groups to tune on: scikit-learn's own gamma, and a C that fits standardised data."""


@dataclass(frozen=True)
class Choice:
    """Outcome of the tuning."""

    c: float
    gamma: float
    """Times the number of features."""

    score: float | None
    """Mean recall over classes on held-out polygons; None where it was given or could not be tuned."""

    table: list[dict[str, float]]
    """Score of every point of the grid."""


def fit_svm(data: TrainingData, config: svm.Config, *, classes: int, seed: int, threads: int) -> tuple[svm.Ensemble, Choice]:
    """Tune once, then fit one machine a draw; return the ensemble and what was chosen."""
    features = features_of(data)
    weight = class_weights(data.y, data.trust, config.balance)
    choice = tune(features, data, weight, config, seed=seed, threads=threads)
    rows = [_limit(np.flatnonzero(member), data.y, config.member_samples, seed + e) for e, member in enumerate(draws(data.draw))]

    def fit(index: np.ndarray) -> SVC:
        machine = SVC(C=choice.c, gamma=choice.gamma / features.shape[1], cache_size=500)
        return machine.fit(features[index], data.y[index], sample_weight=weight[index])

    with ThreadPoolExecutor(threads) as pool:  # libsvm lets go of the interpreter while it fits
        members = list(pool.map(fit, rows))
    log.info("fitted %d machines on %s samples", len(members), ", ".join(str(len(index)) for index in rows))
    return svm.stack(members, rows, features, classes), choice


def draws(mask: np.ndarray) -> list[np.ndarray]:
    """Return one boolean row mask (N,) a draw; a sample set without draws is one draw.

    mask  (N,) uint32; bits that only samples of every draw have are no draw
    """
    partial = mask[mask != ALL_DRAWS]
    used = int(np.bitwise_or.reduce(partial)) if partial.size else 0
    bits = [bit for bit in range(32) if used >> bit & 1]
    return [(mask >> bit & 1).astype(bool) for bit in bits] or [np.ones(len(mask), bool)]


def tune(features: np.ndarray, data: TrainingData, weight: np.ndarray, config: svm.Config, *, seed: int, threads: int) -> Choice:
    """Choose C and gamma by cross-validation over polygons on at most ``tune_samples`` samples.

    The kernel of each gamma is computed once and shared by all folds and C: the same result as fitting anew, several times faster.
    """
    rows = _limit(np.arange(len(data)), data.y, config.tune_samples, seed)
    y, group = data.y[rows], data.group[rows]
    folds = _folds(y, group, seed)
    c_grid = (config.c,) if config.c is not None else C_GRID
    gamma_grid = (config.gamma,) if config.gamma is not None else GAMMA_GRID
    if not folds or len(c_grid) * len(gamma_grid) == 1:
        c, gamma = UNTUNED if not folds else (c_grid[0], gamma_grid[0])
        return Choice(c if config.c is None else config.c, gamma if config.gamma is None else config.gamma, None, [])
    distance = _squared_distance(features[rows])

    def score(gamma: float) -> list[dict[str, float]]:
        kernel = np.exp(-gamma / features.shape[1] * distance)
        return [{"c": c, "gamma": gamma, "score": _cross_validate(kernel, y, weight[rows], folds, c)} for c in c_grid]

    with ThreadPoolExecutor(threads) as pool:
        table = [row for part in pool.map(score, gamma_grid) for row in part]
    # of equal scores the smoothest machine: small C, small gamma
    best = max(table, key=lambda row: (round(row["score"], 4), -row["c"], -row["gamma"]))
    log.info("tuned on %d samples: C %g, gamma %g / features, mean recall %.4f", len(rows), best["c"], best["gamma"], best["score"])
    return Choice(best["c"], best["gamma"], best["score"], table)


def _cross_validate(kernel: np.ndarray, y: np.ndarray, weight: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]], c: float) -> float:
    """Return the mean over classes of the recall on held-out groups; a class that a fold could not learn is not asked for there."""
    right, asked = np.zeros(256), np.zeros(256)
    for training, held in folds:
        machine = SVC(C=c, kernel="precomputed", cache_size=100)
        machine.fit(kernel[np.ix_(training, training)], y[training], sample_weight=weight[training])
        known = held[np.isin(y[held], machine.classes_)]
        if known.size:
            hit = machine.predict(kernel[np.ix_(known, training)]) == y[known]
            right += np.bincount(y[known], weights=hit, minlength=256)
            asked += np.bincount(y[known], minlength=256)
    seen = asked > 0
    return float((right[seen] / asked[seen]).mean()) if seen.any() else 0.0


def _folds(y: np.ndarray, group: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split into folds that keep groups whole; fewer folds where classes have few groups, none where nothing can be held out."""
    groups_a_class = [len(np.unique(group[y == label])) for label in np.unique(y)]
    count = min(FOLDS, max(2, int(np.median(groups_a_class))), len(np.unique(group)), int(np.bincount(y).max()))
    if count < 2:
        return []
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)  # handled: see _cross_validate
        folds = list(splitter.split(y, y, group))
    return [(training, held) for training, held in folds if len(np.unique(y[training])) > 1 and held.size]


def _limit(rows: np.ndarray, y: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return at most ``most`` of the rows, in order: classes keep their shares, but none falls below 20 samples that it has."""
    if len(rows) <= most:
        return rows
    rng = np.random.default_rng(seed)
    labels, counts = np.unique(y[rows], return_counts=True)
    wanted = np.minimum(np.maximum(np.floor(most * counts / len(rows)), 20), counts).astype(int)
    chosen = [rng.choice(rows[y[rows] == label], size, replace=False) for label, size in zip(labels, wanted, strict=True)]
    return np.sort(np.concatenate(chosen))


def _squared_distance(rows: np.ndarray) -> np.ndarray:
    exact = rows.astype(np.float64)
    squares = np.einsum("nf,nf->n", exact, exact)
    distance: np.ndarray = np.maximum(squares[:, None] + squares - 2 * exact @ exact.T, 0)
    return distance


def describe(choice: Choice) -> dict[str, Any]:
    """Return a choice for training.json."""
    return {"c": choice.c, "gamma_times_features": choice.gamma, "mean_recall": choice.score, "grid": choice.table}
