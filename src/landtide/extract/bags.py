"""Classes of words from what whole polygons are called: a small network that explains the codes of mixed polygons.

A polygon is called after what covers most of it. A word that is common in polygons of one code may be a minority in all of them, and
then the code says little about it: another word explains the polygon. So the network gives every word a class, a polygon is the mixture of
its words' classes, and the code follows from the mixture through one code distribution a class, which is learnt along with it.

Source: learning from label proportions (Quadrianto et al. 2009, J. Mach. Learn. Res. 10) with a noise layer (Sukhbaatar et al. 2015,
arXiv:1406.2080); that both are joined, and held to the vocabularies' meaning, is ours.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from landtide.extract.clusters import assign, lloyd
from landtide.extract.vocabulary import FIT, ITERATIONS, Evidence, assumed_rows

WORDS = 600
PLACES_A_WORD = 20
MEMBERS = 4
"""Networks whose posteriors are averaged."""

HIDDEN = 32
DOMINANCE = 1.5
"""A polygon's code follows its classes' shares to this power: the largest class counts more than its share."""

HELD = 1.0
"""Weight of the vocabularies' meaning beside the polygons' codes. At 0.25 1 to 2 points of label accuracy were lost on simulated worlds;
without it 5."""

ROWS_HELD = 0.02
"""Weight of the assumed code distributions beside the polygons' codes."""

STEPS = 350
WARMUP = 100
"""Steps in which only the vocabularies' meaning is learnt."""

RATE = 1e-2
DECAY = 1e-3
DROPPED = 0.2
"""Share of hidden units left out in a step."""


@dataclass(frozen=True)
class Bags:
    """B pieces of polygons as mixtures of W words."""

    share: sparse.csr_matrix
    """(B, W) share of each word in each bag."""

    code: np.ndarray
    """(B,) int64 column of the bag's code."""

    weight: np.ndarray
    """(B,) sums to 1."""


def explain_polygons(
    scores: np.ndarray, deviation: np.ndarray, bag: np.ndarray, evidence: Evidence, meaning: np.ndarray, seed: int
) -> np.ndarray:
    """Return class posteriors of N places, (N, K) float32: what explains the polygons' codes and agrees with the vocabularies.

    scores     (N, D) float32 principal scores, ``deviation`` (D,) of each
    bag        (N,) int64 piece of a polygon that each place lies in
    meaning    (N, K) posterior of the vocabularies
    """
    result = np.zeros(meaning.shape, np.float32)
    for member in range(MEMBERS):
        rng = np.random.default_rng([seed, member])
        x = scores / np.sqrt(deviation) if member % 2 == 0 else scores
        centres, word = _words(x, rng)
        target = _word_means(word, meaning, len(centres))
        size = np.bincount(word, minlength=len(centres)) / len(word)
        bags = make_bags(bag, word, len(centres), evidence)
        posterior = fit((centres / np.maximum(centres.std(axis=0), 1e-6)), bags, evidence.members, target, size, rng)
        result += posterior[word].astype(np.float32) / MEMBERS
    return result


def _words(x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    sample = x[rng.permutation(len(x))[:FIT]]
    count = int(np.clip(len(x) // PLACES_A_WORD, 1, WORDS))
    centres = lloyd(sample, sample[:count], ITERATIONS).centres
    return centres, assign(x, centres)


def _word_means(word: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Return the mean of values (N, K) over the places of each word, (W, K); even shares for a word of no place."""
    size = np.bincount(word, minlength=count)
    total = np.stack([np.bincount(word, column, minlength=count) for column in values.T], axis=1)
    return np.where(size[:, None] > 0, total / np.maximum(size, 1)[:, None], 1 / values.shape[1])


def make_bags(bag: np.ndarray, word: np.ndarray, words: int, evidence: Evidence) -> Bags:
    """Count words in every bag that has a code. Weight = square root of its places: they are right or wrong together."""
    heard = np.flatnonzero(evidence.weight > 0)
    _, first, number = np.unique(bag[heard], return_index=True, return_inverse=True)
    count = sparse.coo_matrix((np.ones(len(heard)), (number, word[heard])), (len(first), words)).tocsr()
    size = np.asarray(count.sum(axis=1)).ravel()
    weight = np.sqrt(size)
    share = sparse.csr_matrix(sparse.diags_array(1 / size) @ count)
    return Bags(share, evidence.code[heard][first], weight / weight.sum())


def fit(x: np.ndarray, bags: Bags, members: np.ndarray, target: np.ndarray, size: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Train the network on W words; return their class posteriors, (W, K).

    x        (W, D) centres of the words
    members  (K, C) share of each class in each code by definition
    target   (W, K) meaning of the words that it is held to
    size     (W,) share of all places
    """
    codes = members.shape[1]
    overall = np.bincount(bags.code, bags.weight, minlength=codes)
    assumed = np.maximum(assumed_rows(members, overall), 1e-4)
    known = members.sum(axis=1) > 0
    values = {
        "in": rng.normal(0, np.sqrt(2 / x.shape[1]), (x.shape[1], HIDDEN)),
        "in_bias": np.zeros(HIDDEN),
        "out": rng.normal(0, np.sqrt(1 / HIDDEN), (HIDDEN, len(members))),
        "out_bias": np.where(known, 0.0, -30.0),
        "rows": np.log(assumed / assumed.sum(axis=1, keepdims=True)),
    }
    first, second = ({name: np.zeros_like(value) for name, value in values.items()} for _ in range(2))
    for step in range(1, STEPS + 1):
        kept = (rng.random(HIDDEN) >= DROPPED) / (1 - DROPPED)
        hidden = np.maximum(x @ values["in"] + values["in_bias"], 0) * kept  # (W, D) -> (W, HIDDEN)
        classes = _softmax(hidden @ values["out"] + values["out_bias"])  # (W, K)
        upward, rows = HELD * size[:, None] * (classes - target), np.zeros_like(values["rows"])
        if step > WARMUP:
            pull, rows = _bag_gradients(classes, values["rows"], bags, assumed)
            upward = upward + classes * (pull - (pull * classes).sum(axis=1, keepdims=True))
        below = (upward @ values["out"].T) * (hidden > 0) * kept
        slopes = {
            "in": x.T @ below,
            "in_bias": below.sum(axis=0),
            "out": hidden.T @ upward,
            "out_bias": np.where(known, upward.sum(axis=0), 0.0),
            "rows": rows,
        }
        _adam(values, slopes, first, second, step)
    return _softmax(np.maximum(x @ values["in"] + values["in_bias"], 0) @ values["out"] + values["out_bias"])


def _bag_gradients(classes: np.ndarray, logits: np.ndarray, bags: Bags, assumed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the slopes of the bags' negative log-likelihood by word classes (W, K) and by the logits of the rows (K, C)."""
    rows = _softmax(logits)
    mixture = np.maximum(bags.share @ classes, 1e-6)  # (B, W) x (W, K) -> (B, K)
    power = mixture**DOMINANCE
    total = power.sum(axis=1, keepdims=True)
    dominant = power / total
    likely = rows[:, bags.code].T  # (B, K): of the bag's code under each class
    code = np.maximum((dominant * likely).sum(axis=1, keepdims=True), 1e-6)
    by_power = -bags.weight[:, None] * (likely - code) / (code * total)
    by_class = bags.share.T @ (by_power * DOMINANCE * mixture ** (DOMINANCE - 1))
    answer = bags.weight[:, None] * dominant * likely / code  # (B, K) who is responsible for the code
    by_row = np.zeros_like(rows)
    np.add.at(by_row.T, bags.code, -answer)
    return np.asarray(by_class), by_row - rows * by_row.sum(axis=1, keepdims=True) + ROWS_HELD * (rows - assumed)


def _adam(
    values: dict[str, np.ndarray], slopes: dict[str, np.ndarray], first: dict[str, np.ndarray], second: dict[str, np.ndarray], step: int
) -> None:
    """Take one step in place. Source: Kingma and Ba 2015, with decoupled decay (Loshchilov and Hutter 2019)."""
    for name, slope in slopes.items():
        first[name] = 0.9 * first[name] + 0.1 * slope
        second[name] = 0.999 * second[name] + 0.001 * slope**2
        move = (first[name] / (1 - 0.9**step)) / (np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8)
        rate = 3 * RATE if name == "rows" else RATE
        values[name] -= rate * move + (RATE * DECAY * values[name] if name in ("in", "out") else 0.0)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
