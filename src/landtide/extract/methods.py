"""The cleaning methods under one interface, by the name that a study gives: from labels that nobody can vouch for to labels with trust."""

from collections.abc import Callable

import numpy as np

from landtide.extract import trust
from landtide.extract.bags import explain_polygons
from landtide.extract.confident import confident
from landtide.extract.features import principal_scores
from landtide.extract.groups import judge_groups
from landtide.extract.places import Judged, Places
from landtide.extract.rivals import ancestor, raw
from landtide.extract.select import Selection, select_pixels
from landtide.extract.som import som
from landtide.extract.vocabulary import BACKGROUND, Evidence, read_meaning

ROUNDS = 2
"""The second round is held to the mean of both: 0.3 points of label accuracy and 2 of the worst class's F1 on simulated worlds."""

MIXED_POWER = 3.0
"""Power of what the spectra say beside a place's own code, where polygons are mixed: the code is that of the whole polygon. On worlds
whose map is right on 0.63, 1 costs 3 points of label accuracy; maps with few mistakes gain by it."""

LEAST = 0.002
"""Least posterior of a class: an average of some networks says no more than that."""

RESCUE = 100
"""Places under which a class also gets the pixels that the per-polygon selection alone vouches for."""

RESCUED_TRUST = 0.6
"""Trust of those: the word of some polygons against the rest of the map."""


def paris(places: Places, seed: int) -> Judged:
    """Keep the dominant cluster of each polygon, and of the polygons those that are like their class.

    Trust is 1 or 0: the method knows no degrees. Source: see `landtide.extract.select`.
    """
    selection = _select(places, seed)
    return Judged(places.label, selection.core.astype(np.float32), selection)


def vocabulary(places: Places, seed: int) -> Judged:
    """Label every place by what its words mean over the whole map; trust is the mean posterior, as it is."""
    meaning = read_meaning(places.scores, places.deviation, places.evidence, seed)
    label = (meaning.posterior.argmax(axis=1) + 1).astype(np.uint8)
    return Judged(label, meaning.posterior.max(axis=1))


def landtide(places: Places, seed: int) -> Judged:
    """Label every place by the way made for labels of its kind: polygons of a map that may hold several classes, or groups of one."""
    return _of_map(places, seed) if places.mixed else _of_groups(places, seed)


def _of_groups(places: Places, seed: int) -> Judged:
    """Label groups of one class by what classifiers that never saw them say, and by what they are called; trust is the probability."""
    posterior = judge_groups(places.scores / np.sqrt(places.deviation), places.label, places.polygon, places.classes, seed)
    label = np.where(places.label > 0, posterior.argmax(axis=1) + 1, 0).astype(np.uint8)
    return Judged(label, posterior.max(axis=1))


def _of_map(places: Places, seed: int) -> Judged:
    """Label every place by what its words mean over the whole map, by what explains the codes of whole polygons, and by its own code.

    1. Vocabularies give every word a meaning from the codes around it. 2. Networks held to that meaning explain what polygons are
    called by the mixture of their words, twice over. 3. The place's own code is weighed by how often each class bears it. A class that
    all this loses keeps the pixels that the per-polygon selection vouches for.
    """
    meaning = read_meaning(places.scores, places.deviation, places.evidence, seed)
    posterior = meaning.posterior
    for turn in range(ROUNDS):
        found = explain_polygons(places.scores, places.deviation, places.bag, places.evidence, posterior, seed + turn)
        posterior = (found + meaning.posterior) / 2
    judged = heed_own_code(found, places.evidence, MIXED_POWER)
    selection = _select(places, seed)
    label = (judged.argmax(axis=1) + 1).astype(np.uint8)
    features = trust.old_map_features(judged, meaning.misfit, label, places.label)
    score = trust.logistic(features, trust.OLD_MAP)
    rescued = _rescue(label, score, places.label, selection.core)
    return Judged(label, score, selection, rescued, features)


def heed_own_code(posterior: np.ndarray, evidence: Evidence, power: float) -> np.ndarray:
    """Weigh the posterior of every place (N, K), to a power, by how likely its class bears the place's code.

    How likely that is comes from the posteriors, before any place's own code was heard: heard first, it would confirm itself.
    """
    weight, code = evidence.weight, evidence.code
    codes = evidence.members.shape[1]
    rows = np.stack([np.bincount(code, weight * column, minlength=codes) for column in posterior.T])
    overall = np.bincount(code, weight, minlength=codes) / weight.sum()
    rows = (1 - BACKGROUND) * rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-12) + BACKGROUND * overall
    own = np.where(weight[:, None] > 0, rows[:, code].T, 1.0)
    heard = np.maximum(posterior, LEAST) ** power * np.maximum(own, 1e-9) * (posterior.max(axis=0) > LEAST)
    return np.asarray(heard / heard.sum(axis=1, keepdims=True))


METHODS: dict[str, Callable[[Places, int], Judged]] = {
    "raw": raw,
    "ancestor": ancestor,
    "som": som,
    "cleanlab": confident,
    "paris": paris,
    "vocabulary": vocabulary,
    "landtide": landtide,
}
"""Name in the study file -> method; each takes the places and a seed."""

READS_MIXED_CODES = ("vocabulary", "landtide")
"""Methods that learn from codes of the old map that lead to no class of their own."""


def _select(places: Places, seed: int) -> Selection:
    """Run the per-polygon selection."""
    scores = principal_scores(places.shown).values
    return select_pixels(scores, places.polygon, places.label, places.depth, places.erosion, seed)


def _rescue(label: np.ndarray, score: np.ndarray, old_label: np.ndarray, core: np.ndarray) -> tuple[int, ...]:
    """Give classes that the vocabularies lost the pixels of their consistent polygons, in place; return those labels."""
    rescued = []
    for value in np.unique(old_label[core]).tolist():
        if ((label == value) & (score >= RESCUED_TRUST)).sum() >= RESCUE:
            continue
        own = core & (old_label == value) & (label != value)
        if own.any():
            label[own] = value
            score[own] = RESCUED_TRUST
            rescued.append(int(value))
    return tuple(rescued)
