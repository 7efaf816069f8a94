"""Confident learning: labels that a classifier trained on other polygons confidently contradicts are dropped."""

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GroupKFold

from landtide.core.errors import InputError
from landtide.extract.places import CUT, Judged, Places

FOLDS = 5
TREES = 60
FIT = 12_000
"""Places that each fold's classifier learns from."""


def confident(places: Places, seed: int) -> Judged:
    """Drop what the library cleanlab finds wrong, from probabilities that no place's own polygon had a part in.

    Trust is the probability of the label, laid above `CUT` for labels that pass and below it for those that do not.
    Raises InputError where cleanlab is not installed.
    Source: Northcutt, Jiang and Chuang 2021, J. Artif. Intell. Res. 70, doi:10.1613/jair.1.12125.
    """
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ModuleNotFoundError as error:
        raise InputError("extract.method cleanlab needs the package cleanlab: pip install landtide[cleanlab]") from error
    labelled = np.flatnonzero(places.label > 0)
    known, label = np.unique(places.label[labelled], return_inverse=True)
    trust = np.zeros(len(places), np.float32)
    if len(known) < 2:
        trust[labelled] = CUT
        return Judged(places.label, trust)
    probability = out_of_fold(places.scores[labelled], label, places.polygon[labelled], seed)
    wrong = find_label_issues(label, probability, filter_by="prune_by_noise_rate", n_jobs=1)
    quality = get_label_quality_scores(label, probability)
    trust[labelled] = np.where(wrong, CUT * 0.99 * quality, CUT + (1 - CUT) * quality)
    return Judged(places.label, trust)


def out_of_fold(x: np.ndarray, label: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """Return class probabilities (N, K) of every place from a forest that saw none of its group.

    label  (N,) int64 0..K-1
    """
    folds = min(FOLDS, len(np.unique(group)))
    classes = int(label.max()) + 1
    result = np.full((len(x), classes), 1 / classes)
    if folds < 2:
        return result
    rng = np.random.default_rng(seed)
    for learnt, held in GroupKFold(folds, shuffle=True, random_state=seed).split(x, label, group):
        taken = rng.permutation(learnt)[:FIT]
        forest = ExtraTreesClassifier(TREES, min_samples_leaf=3, random_state=seed, n_jobs=1).fit(x[taken], label[taken])
        result[held] = 0.0
        result[np.ix_(held, forest.classes_)] = forest.predict_proba(x[held])
    # a class that lies in one polygon alone is unknown to the forest of its fold: it must not be impossible
    result = 0.99 * result + 0.01 / classes
    return np.asarray(result / result.sum(axis=1, keepdims=True))
