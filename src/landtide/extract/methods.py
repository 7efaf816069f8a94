"""The cleaning methods under one interface, by the name that a study gives: from labels that nobody can vouch for to labels with trust."""

from collections.abc import Callable

import numpy as np

from landtide.extract import trust
from landtide.extract.confident import confident
from landtide.extract.features import principal_scores
from landtide.extract.places import Judged, Places
from landtide.extract.rivals import ancestor, raw
from landtide.extract.select import Selection, select_pixels
from landtide.extract.som import som
from landtide.extract.vocabulary import read_meaning

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
    """Label every place by what its words mean over the whole map, and score it by that and by what its own polygon says.

    A class that the words lose keeps the pixels that the per-polygon selection vouches for.
    """
    meaning = read_meaning(places.scores, places.deviation, places.evidence, seed)
    selection = _select(places, seed)
    label = (meaning.posterior.argmax(axis=1) + 1).astype(np.uint8)
    features = trust.old_map_features(meaning, label, places.label, selection.core)
    score = trust.logistic(features, trust.OLD_MAP)
    rescued = _rescue(label, score, places.label, selection.core)
    return Judged(label, score, selection, rescued, features)


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
