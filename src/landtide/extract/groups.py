"""Labels of parcels and points: groups of series that are mostly of one class, whose labels were given once for all or one by one.

Classifiers that never saw a group say what it looks like, and its labels say what it is called. Which of the two is believed depends on
how often they part, and for which classes: that is learnt from all groups at once.
"""

from dataclasses import dataclass

import numpy as np

FOLDS = 5
TREES = 60
FIT = 12_000
"""Series that a fold's classifiers learn from."""

ROUNDS = 3
"""Rounds of learning from what the round before made of the labels; the first takes them as they are."""

SHARPNESS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Powers of what classifiers say of a group, among which the labels choose: forests are too modest, and wrong labels make them more so."""

TOGETHER = 0.5
"""Series of a group are not independent: n of them are worth n ** 0.5."""

LANDMARKS = 800
"""Series that the kernel regression is spanned by."""

RIDGE = 3.0
"""Weight of the kernels' size in their regression: smooth enough that a wrong label does not sway its neighbours alone."""

ODD = 0.1
"""Share of groups that look like any class by chance. Without it the classifiers' mistakes pass for the labels'."""

SHARED = 1000.0
"""Groups that the share of mistakes of all classes together is worth beside the class's own. With 5, right labels of rare classes that
are hard to tell were overruled: 6 % of all labels of a simulated world without any wrong one."""

STRANGERS = (0.05, 20.0)
"""Share of members that are of another class than their group, beforehand, and the groups that this is worth."""

RIGHT = 0.5
"""Least share of groups, and of members, that bear their own name: else two classes may swap their names and explain all labels as well."""

STEPS = 40
PSEUDO = 0.02
"""Groups, as a share of all, that are given beforehand to every mistake: none is impossible."""

LEAST = 1e-3
"""Least probability that classifiers give a class: some dozens of trees say no less."""


@dataclass(frozen=True)
class Mistakes:
    """How labels come about: a group is called something, and its members are called after it, more or less."""

    group: np.ndarray
    """(K, K) probability that a group of the class of the row is called the class of the column."""

    member: np.ndarray
    """(K, K) probability that a member of a group called the row bears the label of the column."""


def judge_groups(x: np.ndarray, label: np.ndarray, group: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Return the probability of every class for every series, (N, K) float32; 0 for classes that no label names.

    x        (N, D) float32 features, of like scales
    label    (N,) uint8 1..K, 0 = none
    group    (N,) int64; series of one group are mostly one class, -1 = a group of its own
    classes  K

    With fewer groups than folds, or one class, labels are taken at their word.
    Source: noise models of two levels by expectation maximisation (Dawid and Skene 1979, J. R. Stat. Soc. C 28, doi:10.2307/2346806)
    around classifiers that are trained by folds of groups on the labels as they are now believed; confident learning (Northcutt et al.
    2021, doi:10.1613/jair.1.12125) trains once, on the labels as they are. That groups err as a whole and singly is ours.
    """
    result = np.zeros((len(x), classes), np.float32)
    labelled = np.flatnonzero(label > 0)
    known, own = np.unique(label[labelled], return_inverse=True)
    group = np.where(group < 0, group.max(initial=0) + 1 + np.arange(len(group)), group)[labelled]
    _, group = np.unique(group, return_inverse=True)
    belief = np.eye(len(known))[own]
    if len(known) > 1 and group.max() + 1 >= FOLDS:
        named = np.stack([np.bincount(group, column) for column in belief.T], axis=1)
        for turn in range(ROUNDS):
            said = out_of_fold(x[labelled], belief, group, seed + turn)
            belief = explain_labels(said, group, named)[0]
    result[np.ix_(labelled, known.astype(np.int64) - 1)] = belief
    return result


def out_of_fold(x: np.ndarray, belief: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """Return class probabilities (N, K) of every series from classifiers that saw none of its group: trees and kernels, averaged.

    belief  (N, K) probability of each class as believed now: doubt is learnt as doubt
    """
    from sklearn.ensemble import ExtraTreesRegressor  # seconds to load, and most extractions do without
    from sklearn.model_selection import StratifiedGroupKFold

    rng = np.random.default_rng(seed)
    result = np.zeros_like(belief)
    for learnt, held in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(x, belief.argmax(axis=1), group):
        taken = rng.permutation(learnt)[:FIT]
        forest = ExtraTreesRegressor(TREES, min_samples_leaf=3, max_features="sqrt", random_state=seed, n_jobs=1)
        by_trees = forest.fit(x[taken], belief[taken]).predict(x[held])
        result[held] = (by_trees + kernel_regression(x[taken], belief[taken], x[held], rng)) / 2
    result = np.maximum(result, LEAST)
    return np.asarray(result / result.sum(axis=1, keepdims=True))


def kernel_regression(x: np.ndarray, belief: np.ndarray, asked: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return class probabilities (M, K) of the series asked for, by ridge regression on Gaussian kernels around some of the series.

    x       (N, D) series with ``belief`` (N, K)
    asked   (M, D)
    """
    width = x.shape[1] * max(float(x.var()), 1e-12)
    landmarks = x[rng.permutation(len(x))[:LANDMARKS]]
    near = _kernel(x, landmarks, width)
    ridge = RIDGE * (_kernel(landmarks, landmarks, width) + 1e-3 * np.eye(len(landmarks)))
    base = belief.mean(axis=0)
    weight = np.linalg.solve(near.T @ near + ridge, near.T @ (belief - base))
    found = np.maximum(_kernel(asked, landmarks, width) @ weight + base, LEAST)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _kernel(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.exp(-np.maximum(square, 0) / width))


def explain_labels(said: np.ndarray, group: np.ndarray, named: np.ndarray) -> tuple[np.ndarray, Mistakes]:
    """Return the class probabilities of each series (N, K), and the mistakes that explain the labels of all groups best.

    said   (N, K) what classifiers say of each series, > 0
    group  (N,) 0..G-1
    named  (G, K) members that bear each label
    """
    ratio = np.log(said) - np.log(said.mean(axis=0))
    tried = [_explain(ratio * sharpness, group, named) for sharpness in SHARPNESS]
    best = max(range(len(tried)), key=lambda number: tried[number][2])
    return tried[best][0], tried[best][1]


def _explain(looks: np.ndarray, group: np.ndarray, named: np.ndarray) -> tuple[np.ndarray, Mistakes, float]:
    """Return the class probabilities of each series, the mistakes and the log-likelihood, with looks (N, K) of one sharpness."""
    classes = named.shape[1]
    size = named.sum(axis=1)
    weight = size**TOGETHER
    prior = (named * (weight / size)[:, None]).sum(axis=0) / weight.sum()
    even, same = np.full((classes, classes), 1 / classes), np.eye(classes)
    called, member, strangers = 0.8 * same + 0.2 * even, 0.95 * same + 0.05 * even, STRANGERS[0]
    spread, shared = PSEUDO * weight.sum() / classes, SHARED * weight.mean()
    looks = np.exp(looks - looks.max(axis=1, keepdims=True))
    for _ in range(STEPS):
        odd = strangers * (looks @ prior)[:, None]
        like = (1 - strangers) * looks + odd  # (N, K) of a member, given the class of its group
        seen = _normalise(prior * _likelihood(np.log(like), group, weight / size))
        seen = (1 - ODD) * seen + ODD * prior  # (G, K) of the class, by looks
        told = named @ np.log(member).T
        top = told.max(axis=1)
        told = np.exp(told - top[:, None])  # (G, K) of the labels, given what the group is called
        joint = seen * (told @ called.T)
        likelihood = joint.sum(axis=1)
        total = float((weight * (np.log(likelihood) + top)).sum())
        belief = joint / likelihood[:, None]
        pairs = called * ((seen * (weight / likelihood)[:, None]).T @ told)  # (K, K) groups of a class that are called something
        names = told * (seen @ called) / likelihood[:, None]  # (G, K)
        called = _group_mistakes(pairs, spread, shared)
        member = _mostly_right(_normalise((names * (weight / size)[:, None]).T @ named + spread * (0.9 * same + 0.1 * even)))
        prior = _normalise((belief * weight[:, None]).sum(axis=0) + 0.01 * weight.sum() / classes)
        share = belief[group] / like  # (N, K)
        stranger = (share * odd).sum(axis=1) @ (weight / size)[group]
        strangers = float((stranger + STRANGERS[0] * STRANGERS[1] * weight.mean()) / (weight.sum() + STRANGERS[1] * weight.mean()))
    own = (1 - strangers) * share * looks + strangers * prior * looks * share.sum(axis=1, keepdims=True)
    return _normalise(own), Mistakes(called, member), total


def _likelihood(logs: np.ndarray, group: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """Return the product of the members' likelihoods (N, K), each to the power of its group's worth, as (G, K) up to a factor."""
    total = np.stack([np.bincount(group, column) for column in logs.T], axis=1) * worth[:, None]
    return np.asarray(np.exp(total - total.max(axis=1, keepdims=True)))


def _group_mistakes(pairs: np.ndarray, spread: float, shared: float) -> np.ndarray:
    """Return what groups of each class are called, (K, K): how often wrongly is drawn towards the share of all, as what is not."""
    right, whole = np.diag(pairs), pairs.sum(axis=1)
    stay = (right + shared * right.sum() / whole.sum()) / (whole + shared)
    other = pairs + spread / len(pairs)
    np.fill_diagonal(other, 0.0)
    return _mostly_right(np.diag(stay) + (1 - stay)[:, None] * _normalise(other))


def _mostly_right(mistakes: np.ndarray) -> np.ndarray:
    """Return the rows with a diagonal of at least `RIGHT`."""
    stay = np.diag(mistakes)
    kept = np.maximum(stay, RIGHT)
    result: np.ndarray = mistakes * ((1 - kept) / np.maximum(1 - stay, 1e-12))[:, None]
    np.fill_diagonal(result, kept)
    return result


def _normalise(values: np.ndarray) -> np.ndarray:
    """Return the values with sums of one along the last axis."""
    return np.asarray(values / values.sum(axis=-1, keepdims=True))
