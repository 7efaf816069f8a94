"""An ensemble of RBF support-vector machines that vote, evaluated by matrix products instead of libsvm."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from sklearn.svm import SVC

from landtide.models.card import Card
from landtide.models.series import fill_gaps, pad, padded_blocks

FILES = ("weights.safetensors",)
BLOCK = 512
"""Rows a matrix product: the kernel of 5 000 support vectors, 10 MB, stays in the processor's cache."""

NEAR = 1e-6
"""A float32 decision nearer to 0 than this share of the sum of its coefficients is uncertain; the error measured is a tenth of it."""


@dataclass(frozen=True)
class Config:
    """Settings of the SVM ensemble."""

    c: float | None = None
    """Penalty; None = tuned by grouped cross-validation."""

    gamma: float | None = None
    """Kernel width of standardised features, times their number; None = tuned."""

    tune_samples: int = 2000
    """A grid on more samples takes minutes and picks the same corner."""

    member_samples: int = 8000
    """Samples a member at most: a fit takes 2 s and grows with the square. 2000 to 4000 won 1.4 points of accuracy on simulated worlds."""

    balance: float = 0.5
    """Class weight = count ** -balance: 0 trusts the samples' shares, 1 makes all classes equal."""


def build(config: Config, *, channels: int, steps: int, classes: int, seen: list[int]) -> SVC:
    """Return one untrained member."""
    gamma = (config.gamma or 1.0) / (channels * steps)
    return SVC(C=config.c or 10.0, kernel="rbf", gamma=gamma, cache_size=500)


@dataclass(frozen=True)
class Ensemble:
    """E machines over the union of their support vectors."""

    vectors: np.ndarray
    """(S, T*C) float32 standardised features, sorted by class."""

    labels: np.ndarray
    """(S,) int64 label 1..K of each vector."""

    coefficients: np.ndarray
    """(E, K, S) float64: coefficient of a vector against class d in member e; 0 where it is none."""

    intercepts: np.ndarray
    """(E, K, K) float64 of pair (i, j), i < j; NaN where the member lacks one of the two classes."""

    gamma: float

    def probability(self, x: np.ndarray, doy: np.ndarray) -> np.ndarray:
        """Return (N, K) float32: the share of members that vote for each class; a tie goes to the class with more pairwise wins."""
        features = fill_gaps(x).reshape(len(x), -1)
        result = np.empty((len(x), self.intercepts.shape[1]), np.float32)
        for rows, lacking in padded_blocks(len(x), BLOCK):
            result[rows] = _shares(self._wins(pad(features[rows], lacking)))[: BLOCK - lacking]
        return result

    def labels_of(self, features: np.ndarray) -> np.ndarray:
        """Return (E, N) int64 label of each member for features (N, T*C), as libsvm would give it."""
        parts = [
            np.argmax(self._wins(pad(features[rows], lacking))[: BLOCK - lacking], axis=2) + 1
            for rows, lacking in padded_blocks(len(features), BLOCK)
        ]
        return np.concatenate(parts).T if parts else np.empty((len(self.intercepts), 0), np.int64)

    def files(self) -> dict[str, bytes]:
        tensors = {"vectors": self.vectors, "labels": self.labels, "coefficients": self.coefficients, "intercepts": self.intercepts}
        return {FILES[0]: save_tensors({**tensors, "gamma": np.array([self.gamma])})}

    def _wins(self, features: np.ndarray) -> np.ndarray:
        """Return (B, E, K) int16 pairwise wins, in float32 where that settles the vote and in float64 where it does not."""
        decision = self._decide(features, self._single)  # (B, E, K, K)
        wins = _count_wins(decision)
        open_ = _unsettled(decision, wins, self._tolerance)
        if open_.any():
            wins[open_] = _count_wins(self._decide(features[open_], self._double))
        return wins

    @cached_property
    def _single(self) -> "Operands":
        return _operands(self, np.float32)

    @cached_property
    def _double(self) -> "Operands":
        return _operands(self, np.float64)

    @cached_property
    def _tolerance(self) -> np.ndarray:
        """(E, K, K) below which a float32 decision is uncertain: a share of the sum of absolute coefficients behind each pair."""
        sums = np.zeros((self.intercepts.shape[1], *self.coefficients.shape[:2]))
        np.add.at(sums, self.labels - 1, np.abs(self.coefficients).transpose(2, 0, 1))  # (S, E, K) summed over vectors of a class
        return NEAR * (sums.transpose(1, 0, 2) + sums.transpose(1, 2, 0))

    def _decide(self, features: np.ndarray, operands: "Operands") -> np.ndarray:
        """Return decision values (B, E, K, K) of pairs i < j, NaN elsewhere."""
        dtype = operands.vectors.dtype
        rows = features.astype(dtype)
        square = np.einsum("bf,bf->b", rows, rows)[:, None]
        kernel = np.concatenate([rows, square, np.ones_like(square)], axis=1) @ operands.vectors  # (B, F+2) -> (B, S), -gamma |a - b|^2
        np.exp(np.minimum(kernel, 0, out=kernel), out=kernel)
        members, classes = self.intercepts.shape[:2]
        sums = np.zeros((classes, len(rows), members, classes), dtype)  # class of the vectors first
        for label, span, weights in operands.weights:
            sums[label - 1] = (kernel[:, span] @ weights).reshape(-1, members, classes)
        # decision of (i, j) = sum over vectors of i against j, plus sum over vectors of j against i, plus intercept
        decision: np.ndarray = sums.transpose(1, 2, 0, 3) + sums.transpose(1, 2, 3, 0) + self.intercepts.astype(dtype)
        return decision


@dataclass(frozen=True)
class Operands:
    """What an ensemble multiplies with, in one precision."""

    vectors: np.ndarray
    """(F+2, S): times (row, |row|^2, 1) it gives -gamma |row - vector|^2 in one product."""

    weights: list[tuple[int, slice, np.ndarray]]
    """Per class with vectors: label, its span of S, coefficients (span, E*K)."""


def _operands(ensemble: Ensemble, dtype: type) -> Operands:
    vectors, gamma = ensemble.vectors.astype(np.float64), ensemble.gamma
    square = np.einsum("sf,sf->s", vectors, vectors)
    product: np.ndarray = np.concatenate([2 * gamma * vectors.T, np.full((1, len(vectors)), -gamma), -gamma * square[None]]).astype(dtype)
    weights: list[tuple[int, slice, np.ndarray]] = []
    for label in np.unique(ensemble.labels).tolist():
        start, stop = np.searchsorted(ensemble.labels, [label, label + 1]).tolist()
        part = ensemble.coefficients[:, :, start:stop].reshape(-1, stop - start).T
        weights.append((label, slice(start, stop), np.ascontiguousarray(part, dtype)))
    return Operands(np.ascontiguousarray(product), weights)


def stack(members: list[SVC], rows: list[np.ndarray], features: np.ndarray, classes: int) -> Ensemble:
    """Join fitted members into one ensemble; a vector that several members hold is stored, and its kernel computed, once.

    rows      (n_e,) per member: which rows of ``features`` it was fitted on
    features  (N, T*C) float32
    classes   K of the legend
    """
    held = [row[member.support_] for member, row in zip(members, rows, strict=True)]
    label_of = np.zeros(len(features), np.int64)
    for member, index in zip(members, held, strict=True):
        label_of[index] = np.repeat(member.classes_, member.n_support_)
    union = np.unique(np.concatenate(held))
    union = union[np.argsort(label_of[union], kind="stable")]
    place = np.zeros(len(features), np.int64)
    place[union] = np.arange(len(union))
    coefficients = np.zeros((len(members), classes, len(union)))
    intercepts = np.full((len(members), classes, classes), np.nan)
    for e, (member, index) in enumerate(zip(members, held, strict=True)):
        _place_member(member, place[index], coefficients[e], intercepts[e])
    gamma = float(members[0].gamma)
    return Ensemble(np.ascontiguousarray(features[union], np.float32), label_of[union], coefficients, intercepts, gamma)


def load(card: Card, files: dict[str, bytes]) -> Ensemble:
    """Read an ensemble from its file."""
    tensors = load_tensors(files[FILES[0]])
    return Ensemble(tensors["vectors"], tensors["labels"], tensors["coefficients"], tensors["intercepts"], float(tensors["gamma"][0]))


def _place_member(member: SVC, place: np.ndarray, coefficients: np.ndarray, intercepts: np.ndarray) -> None:
    """Spread libsvm's compact layout over labels.

    libsvm keeps, for a vector of the i-th class, K-1 coefficients: against class 0..i-1, i+1..K-1. scikit-learn turns the sign
    of a machine with two classes round. Source: libsvm README, svm_model.sv_coef; sklearn.svm._base.
    """
    present = member.classes_.astype(int)
    sign = -1.0 if len(present) == 2 else 1.0
    start = 0
    for i, count in enumerate(member.n_support_):
        span = slice(start, start + count)
        for position, other in enumerate(np.delete(present, i)):
            coefficients[other - 1, place[span]] = sign * member.dual_coef_[position, span]
        start += count
    pairs = [(i, j) for n, i in enumerate(present) for j in present[n + 1 :]]
    for (i, j), value in zip(pairs, member.intercept_, strict=True):
        intercepts[i - 1, j - 1] = sign * value


def _count_wins(decision: np.ndarray) -> np.ndarray:
    """Count pairwise wins (B, E, K): i wins where decision (i, j) > 0, else j; pairs a member lacks are NaN and count for none."""
    wins: np.ndarray = (decision > 0).sum(axis=3, dtype=np.int16) + (decision <= 0).sum(axis=2, dtype=np.int16)
    return wins


def _unsettled(decision: np.ndarray, wins: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Say which rows (B,) hold a vote that uncertain decisions could turn: the winner's surplus is no larger than they could take away."""
    uncertain = np.abs(decision) < tolerance  # NaN is never uncertain
    if not uncertain.any():
        return np.zeros(len(decision), bool)
    doubt = uncertain.sum(axis=3, dtype=np.int16) + uncertain.sum(axis=2, dtype=np.int16)  # (B, E, K)
    best = np.argmax(wins, axis=2)[..., None]
    lowest = np.take_along_axis(wins - doubt, best, axis=2)
    highest = wins + doubt
    np.put_along_axis(highest, best, -1, axis=2)
    # where nothing about the leading classes is uncertain, a tie is a tie and stays as it is
    rivals = (highest >= lowest) & ((doubt > 0) | (np.take_along_axis(doubt, best, axis=2) > 0))
    unsettled: np.ndarray = rivals.any(axis=(1, 2))
    return unsettled


def _shares(wins: np.ndarray) -> np.ndarray:
    """Turn wins (B, E, K) into vote shares (B, K)."""
    members, classes = wins.shape[1:]
    votes = np.eye(classes, dtype=np.float32)[np.argmax(wins, axis=2)].sum(axis=1)  # (B, E) -> (B, K)
    top = votes == votes.max(axis=1, keepdims=True)
    tied = top.sum(axis=1) > 1
    total = np.where(top, wins.sum(axis=1), -1)
    best = np.argmax(total, axis=1)
    shares: np.ndarray = votes / members
    # a nudge too small to show in per cent decides a tie; shares without one stay exact, since thresholds such as 0.8 meet them
    nudge = np.float32(1e-5)
    shares[tied] *= 1 - nudge
    shares[np.flatnonzero(tied), best[tied]] += nudge
    return shares
