"""How surely a polygon of the old map is wrong, and since when: from what the new maps and the extraction say of it, without any truth."""

from dataclasses import dataclass

import numpy as np

from landtide.extract.trust import logistic, logit

LITTLE = 0.02
"""Share of a polygon that is added to both sides of a ratio: of less than that a map knows nothing."""

# What `benchmarks/audit.py --fit` gives on the polygons of two simulated worlds (41 of 256 px, 51 of 128 px; 109 polygons, 12 of them
# wrong), held close to zero by its penalty: so few polygons leave more open. Verdicts on whole polygons were rare in them.
WRONG = {
    "constant": -1.91,
    "now": 0.13,
    "all_years": 0.13,
    "extraction": 0.36,
    "refused": -0.01,
    "kept": -0.01,
    "rivalry": -0.09,
    "confidence": -0.14,
    "size": 0.04,
    "mixed": -0.01,
}


@dataclass(frozen=True)
class Shares:
    """P polygons in Y years, as shares of what was mapped of each; 0 where nothing was."""

    own: np.ndarray
    """(Y, P) share of the classes that the code stands for."""

    foreign: np.ndarray
    """(Y, P) share of the largest other class."""

    rival: np.ndarray
    """(Y, P) int64 that class, 1..K."""

    largest: np.ndarray
    """(Y, P) int64 class of the largest share, 1..K."""

    share: np.ndarray
    """(Y, P) that share of all that is mapped with confidence."""

    confidence: np.ndarray
    """(Y, P) mean confidence."""


@dataclass(frozen=True)
class Said:
    """What the extraction says of P polygons."""

    places: np.ndarray
    """(P,) int64 places that it looked at."""

    own: np.ndarray
    """(P,) float64 sum of trust of those that it presumes to be of the code's classes."""

    foreign: np.ndarray
    """(P,) float64 sum of trust of the others."""

    refused: np.ndarray
    """(P,) bool: unlike its class, or nearer to another."""

    kept: np.ndarray
    """(P,) bool"""


def shares(mass: np.ndarray, seen: np.ndarray, allowed: np.ndarray) -> Shares:
    """Divide what was mapped in each polygon into the code's own classes and the others.

    mass     (Y, P, K) sums of confidence by class
    seen     (Y, P) mapped pixels
    allowed  (P, K) bool classes that the polygon's code stands for
    """
    total = np.maximum(seen, 1)
    other = np.where(allowed[None], 0, mass)
    sure = mass.sum(axis=2)
    largest = mass.argmax(axis=2)
    return Shares(
        np.where(allowed[None], mass, 0).sum(axis=2) / total,
        other.max(axis=2) / total,
        other.argmax(axis=2) + 1,
        largest + 1,
        np.take_along_axis(mass, largest[..., None], axis=2)[..., 0] / np.maximum(sure, 1e-9),
        sure / total,
    )


def features(told: Shares, said: Said, pixels: np.ndarray, allowed: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the probability is computed from, by name of the weight, each (P,).

    pixels   (P,) of each polygon
    allowed  (P, K) bool classes that its code stands for
    label    (P,) label of its code, 0 where it stands for several classes
    """
    return {
        "now": np.log((told.foreign[-1] + LITTLE) / (told.own[-1] + LITTLE)),
        "all_years": np.log((told.foreign.mean(axis=0) + LITTLE) / (told.own.mean(axis=0) + LITTLE)),
        "extraction": np.log((said.foreign + 1) / (said.own + 1)),
        "refused": said.refused.astype(np.float64),
        "kept": said.kept.astype(np.float64),
        "rivalry": _rivalry(told, pixels, label),
        "confidence": logit(told.confidence[-1]),
        "size": np.log10(np.maximum(pixels, 1)) - 2,
        "mixed": (allowed.sum(axis=1) > 1).astype(np.float64),
    }


def _rivalry(told: Shares, pixels: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the log odds that land under the same label goes to the polygon's rival: much is a doubt about the map, not the polygon."""
    rival = told.rival[-1]
    pair = label * (int(rival.max(initial=0)) + 1) + rival
    _, place = np.unique(pair, return_inverse=True)
    _, row = np.unique(label, return_inverse=True)
    to_rival = np.bincount(place, pixels * told.foreign[-1])[place]
    return logit(to_rival / np.maximum(np.bincount(row, pixels)[row], 1))


def probability_wrong(told: dict[str, np.ndarray]) -> np.ndarray:
    """Return the probability (P,) that a class which the code does not stand for covers more of the polygon today than those it does."""
    return logistic(told, WRONG)


def since(told: Shares) -> np.ndarray:
    """Return the number of the year (P,) from which on the rival leads without a break, Y where it does not lead in the last one."""
    leads = told.foreign > told.own
    return np.asarray(len(leads) - np.logical_and.accumulate(leads[::-1], axis=0).sum(axis=0))
