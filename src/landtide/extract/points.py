"""Labelled points as samples, beside or instead of an old map: cleaned and weighted as what comes out of a map is."""

from dataclasses import dataclass

import numpy as np

from landtide.core.errors import InputError
from landtide.core.legend import Legend
from landtide.extract.features import principal_scores, standardise

AT_ITS_WORD = 0.99
"""Trust of a point of which nothing tells that it is wrong, where too few points are there to judge it."""

FOLDS = 5
TREES = 200

SHARPNESS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
NOISE = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Values among which the data choose."""

JUDGED = 50
"""Points from which on they can judge each other."""


@dataclass(frozen=True)
class LabelledPoint:
    """One point on the ground with its class."""

    tile: str
    row: int
    column: int
    label: int
    """1..K"""

    year: int | None = None
    """Year of the observation; None = it holds for all years of the study."""

    trust: float | None = None
    """Probability that the label is right, where somebody told it; None = the points judge each other."""

    group: int | None = None
    """Points of one group, such as a polygon, are right or wrong together; None = a group of its own."""


def point_series(points: list[LabelledPoint], tiles: list[str], years: list[int], legend: Legend) -> np.ndarray:
    """Return one row a (point, year) as int64 (N, 6): tile number, row, column, label, year number, point number.

    A point observed in a year of the study counts for that year; in another year for the nearest one.
    Raises InputError for a label outside the legend or a tile that the study does not have.
    """
    rows: list[tuple[int, ...]] = []
    for number, point in enumerate(points):
        if not 1 <= point.label <= len(legend):
            raise InputError(f"point {number} has label {point.label}, which legend {legend.name!r} of {len(legend)} classes does not have")
        if point.tile not in tiles:
            raise InputError(f"point {number} lies on tile {point.tile}, which the study does not have (it has {', '.join(tiles)})")
        held = range(len(years)) if point.year is None else [_nearest(point.year, years)]
        rows.extend((tiles.index(point.tile), point.row, point.column, point.label, year, number) for year in held)
    return np.array(rows, np.int64).reshape(-1, 6)


def point_trust(x: np.ndarray, label: np.ndarray, year: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """Return the probability (N,) float32 that each label is right, from what the other points say.

    x      (N, F) float32 series, NaN = missing
    label  (N,) 1..K
    year   (N,) number of the year
    group  (N,) points that are never judged by each other

    Classifiers that did not see a point's group give it class probabilities p. Its label is taken to come from p ** sharpness with
    probability 1 - noise, and from any class at random else; the sharpness of p (forests are too modest) and the noise are those under
    which the labels as they are were likeliest. The trust is then the chance of the first. Source: ours, in the manner of the noise model
    of Mnih and Hinton 2012, ICML.
    """
    classes, own = np.unique(label, return_inverse=True)
    if len(classes) < 2 or min(len(np.unique(group[own == k])) for k in range(len(classes))) < FOLDS or len(np.unique(group)) < JUDGED:
        return np.full(len(label), AT_ITS_WORD, np.float32)
    from sklearn.ensemble import ExtraTreesClassifier  # seconds to load, and most studies have no points
    from sklearn.model_selection import StratifiedGroupKFold

    scores = principal_scores(standardise(x, year)).values
    p = np.zeros((len(label), len(classes)))
    for train, test in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(scores, own, group):
        forest = ExtraTreesClassifier(TREES, min_samples_leaf=2, class_weight="balanced", random_state=seed, n_jobs=1)
        held = forest.fit(scores[train], own[train]).classes_
        p[np.ix_(test, held)] = forest.predict_proba(scores[test])
    return _from_own_class(p, own)


def _from_own_class(p: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return the probability (N,) float32 that a label comes from its class probabilities rather than from chance.

    p    (N, K) probabilities by points of other groups
    own  (N,) column of each point's label
    """
    best, found = -np.inf, np.zeros(len(own))
    logs = np.log(np.maximum(p, 1e-3))
    for sharpness in SHARPNESS:
        powered = np.exp(sharpness * (logs - logs.max(axis=1, keepdims=True)))
        mine = (powered / powered.sum(axis=1, keepdims=True))[np.arange(len(own)), own]
        for noise in NOISE:
            signal, chance = (1 - noise) * mine, noise / p.shape[1]
            likelihood = float(np.log(signal + chance).sum())
            if likelihood > best:
                best, found = likelihood, signal / (signal + chance)
    return np.asarray(found, np.float32)


def _nearest(year: int, years: list[int]) -> int:
    return min(range(len(years)), key=lambda index: (abs(years[index] - year), index))
