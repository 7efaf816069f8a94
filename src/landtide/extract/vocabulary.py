"""Soft consistency over the whole area: words of phenology, and the class that each most likely means.

Mean years of all places are cut into many small clusters ("words"). A word occurs in many places under many codes of the old map, and the
places err independently: its histogram over codes tells its class although no single place can be trusted. Codes that are mixed by
definition are evidence too, so a class needs no pure polygon of its own.
"""

from dataclasses import dataclass

import numpy as np

from landtide.extract.clusters import assign, lloyd

WORDS_A_POLYGON = 11.0
"""Words = 11 * sqrt(polygons): about 100 for the 50 to 100 polygons of a 3 km square. The old map's polygons, not the pixels, are the
evidence: 800 words were 4 points of overall accuracy worse there, 60 as good, on seven worlds of two generators."""

WORDS = (8, 1000)
"""Fewest and most words of a vocabulary."""

PLACES_A_WORD = 40
"""Fewer make histograms of chance."""

SCALES = (0.6, 1.0, 2.0)
"""Coarse and fine vocabularies, as multiples of the number of words; together 0.8 points better than any one."""

VOCABULARIES = 8
"""Of each scale: half on scores and half on scores that are evened out, half of each on a random part of the components. Twice as many as
4 gain 0.3 points, the random parts as much again."""

PART = 0.7
"""Share of the components in such a part."""

FIT = 30_000
"""Places that a vocabulary is fitted on."""

ITERATIONS = 8
SMALL_POLYGONS = 0.3
"""Weight of a pixel = polygon area ** -0.3: the pixels of a polygon are right or wrong together, and where large polygons outvote small
ones a rare class drowns. 0 and 0.6 were worse on simulated worlds (mineral lost; overall accuracy lower)."""

EVIDENCE = 60.0
"""Independent cells that a word's histogram is worth at most: past that the model of one histogram a class errs, not chance."""

LIFT = 0.75
"""Start: share of a code's class in a word, divided by the class's frequency to this power."""

OWN = 0.6
"""Share of its own codes in the assumed row of a class; the rest is the map's overall distribution."""

PSEUDO = 1.0
"""Weight of the assumed rows, as a share of the mean mass of a class: rows that are
quite free drift (at 0.05, 1 to 6 points of overall accuracy lost), until they describe their mistakes."""

BACKGROUND = 0.02
"""Share of the overall distribution in every row: any place can be wrong in any way."""

STEPS = 30


@dataclass(frozen=True)
class Evidence:
    """What is known of N places beside their spectra."""

    code: np.ndarray
    """(N,) int64 column of the old map's code in `members`."""

    cell: np.ndarray
    """(N,) int64 cell of the old map; pixels of one cell are one piece of evidence."""

    weight: np.ndarray
    """(N,) float64 pixels that a place stands for, times its worth."""

    members: np.ndarray
    """(K, C) share of each class in each column by definition."""

    polygons: int
    """Polygons that the places lie in."""


@dataclass(frozen=True)
class Meaning:
    """Class of every place as the vocabularies see it."""

    posterior: np.ndarray
    """(N, K) float32; 0 for classes that no code leads to."""

    misfit: np.ndarray
    """(N,) float32 mean Kullback-Leibler divergence of the word's histogram from its class's, nats: low is a truth-free sign of quality."""


def read_meaning(
    scores: np.ndarray, deviation: np.ndarray, evidence: Evidence, seed: int, *, scales: tuple[float, ...] = SCALES
) -> Meaning:
    """Average the word posteriors of several vocabularies.

    scores     (N, D) float32 principal scores of the places
    deviation  (D,) their standard deviations
    """
    even = scores / np.sqrt(deviation)
    base = WORDS_A_POLYGON * max(evidence.polygons, 1) ** 0.5
    posterior = np.zeros((len(scores), len(evidence.members)), np.float32)
    misfit = np.zeros(len(scores), np.float32)
    vocabularies = len(scales) * VOCABULARIES
    for number in range(vocabularies):
        count = _word_count(base * scales[number // VOCABULARIES], len(scores))
        rng = np.random.default_rng([seed, number])
        x = even if number % 2 == 0 else scores
        word = _words(x if number % 4 < 2 else _part(x, rng), count, rng)
        classes, divergence = _translate(word, count, evidence)
        posterior += classes[word].astype(np.float32)
        misfit += divergence[word].astype(np.float32)
    return Meaning(posterior / vocabularies, misfit / vocabularies)


def _part(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random part of the columns: vocabularies that err differently are better together."""
    kept = np.sort(rng.permutation(x.shape[1])[: max(1, round(PART * x.shape[1]))])
    return np.ascontiguousarray(x[:, kept])


def _word_count(wanted: float, places: int) -> int:
    most = max(1, places // PLACES_A_WORD)
    return min(int(np.clip(round(wanted), *WORDS)), most)


def _words(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    sample = x[rng.choice(len(x), min(FIT, len(x)), replace=False)]
    return assign(x, lloyd(sample, sample[:count], ITERATIONS).centres)


def _translate(word: np.ndarray, count: int, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Return the class distribution (W, K) and the misfit (W,) of every word."""
    codes = evidence.members.shape[1]
    histogram = np.bincount(word * codes + evidence.code, evidence.weight, minlength=count * codes).reshape(count, codes)
    size = np.bincount(word, minlength=count).astype(np.float64)
    return soft_em(histogram, effective_cells(word, count, evidence.cell, evidence.weight), size, evidence.members)


def effective_cells(word: np.ndarray, count: int, cell: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the number of independent cells behind each word, (W,): (sum w)^2 / sum w^2 over cells. Source: Kish 1965."""
    _, place = np.unique(cell, return_inverse=True)
    cells = int(place.max()) + 1 if len(place) else 1
    key, pair = np.unique(word.astype(np.int64) * cells + place, return_inverse=True)
    mass = np.bincount(pair, weight)
    total = np.bincount(key // cells, mass, minlength=count)
    square = np.bincount(key // cells, mass**2, minlength=count)
    return np.asarray(total**2 / np.maximum(square, 1e-12))


def soft_em(histogram: np.ndarray, cells: np.ndarray, size: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the class of every word by expectation maximisation over one code distribution a class.

    histogram  (W, C) weighted pixels of each word under each code
    cells      (W,) independent cells behind it
    size       (W,) places of each word
    members    (K, C) share of each class in each code by definition

    Returns class posteriors (W, K) and misfit (W,).
    """
    share = histogram / np.maximum(histogram.sum(axis=1, keepdims=True), 1e-12)
    overall = histogram.sum(axis=0) / histogram.sum()
    known = members.sum(axis=1) > 0
    mass = np.maximum((members * overall).sum(axis=1), 1e-4)
    assumed = assumed_rows(members, overall)
    worth = np.minimum(cells, EVIDENCE)[:, None]
    posterior = _normalise(((share @ members.T) / mass**LIFT) ** 2)
    rows = assumed
    for _ in range(STEPS):
        rows, prior = _rows(posterior, share, size, assumed, overall)
        score = worth * (share @ np.log(rows + 1e-12).T) + np.log(prior)
        score[:, ~known] = -np.inf
        posterior = _normalise(np.exp(score - score.max(axis=1, keepdims=True)))
    best = rows[posterior.argmax(axis=1)]
    misfit = (share * (np.log(share + 1e-9) - np.log(best + 1e-9))).sum(axis=1)
    return posterior, misfit


def assumed_rows(members: np.ndarray, overall: np.ndarray) -> np.ndarray:
    """Return the code distribution that is assumed of each class before anything is learnt, (K, C): its own codes, and all others.

    members  (K, C) share of each class in each code by definition
    overall  (C,) share of each code in the map
    """
    assumed = OWN * members * overall / np.maximum((members * overall).sum(axis=1, keepdims=True), 1e-12) + (1 - OWN) * overall
    return np.asarray(assumed / assumed.sum(axis=1, keepdims=True))


def _rows(
    posterior: np.ndarray, share: np.ndarray, size: np.ndarray, assumed: np.ndarray, overall: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the code distribution of each class (K, C) and the class prior (K,)."""
    weight = size[:, None] * posterior
    mass = weight.sum(axis=0)
    pseudo = PSEUDO * size.sum() / len(mass)
    rows = (weight.T @ share + pseudo * assumed) / (mass + pseudo)[:, None]
    prior = mass + 0.01 * size.sum()
    return (1 - BACKGROUND) * rows + BACKGROUND * overall, prior / prior.sum()


def _normalise(values: np.ndarray) -> np.ndarray:
    total = values.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, values / np.maximum(total, 1e-300), 1.0 / values.shape[1]))
