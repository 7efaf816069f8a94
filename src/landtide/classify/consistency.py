"""Make the maps of several years agree: a hidden Markov model along the years of each pixel."""

from typing import Literal

import numpy as np

Method = Literal["none", "hmm"]

STAY = 0.97
"""Probability that a pixel keeps its class from one year to the next: land cover changes on a few per cent of the area a year."""

FLOOR = 1e-3
"""Least likelihood of a class in one year: a single sure but wrong year must not overrule all others."""


def smooth(probability: np.ndarray, prior: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return (N, Y, K) float32 posterior of each year given all years, by forward-backward.

    probability  (N, Y, K) of the classifier, each year for itself
    prior        (K,) class shares in its training: emissions are probability / prior; classes of prior 0 stay at 0
    observed     (N, Y) bool; a year without observation says nothing (emission 1)

    One year alone comes back as it is. Source: Rabiner 1989, Proc. IEEE 77(2):257, with the likelihood scaled by the training prior
    (Bourlard & Morgan 1994); annual land cover: Abercrombie & Friedl 2016, doi:10.1109/TGRS.2015.2463689.
    """
    seen = np.flatnonzero(prior > 0)
    start = (prior[seen] / prior[seen].sum()).astype(np.float32)
    emission = np.where(observed[..., None], np.maximum(probability[..., seen], FLOOR) / start, np.float32(1)).astype(np.float32)
    forward = np.empty_like(emission)
    backward = np.ones_like(emission)
    years = emission.shape[1]
    forward[:, 0] = _normalised(start * emission[:, 0])
    for year in range(1, years):
        forward[:, year] = _normalised(_step(forward[:, year - 1]) * emission[:, year])
    for year in range(years - 2, -1, -1):
        backward[:, year] = _normalised(_step(backward[:, year + 1] * emission[:, year + 1]))
    result = np.zeros(probability.shape, np.float32)
    result[..., seen] = _normalised(forward * backward)
    return result


def _step(mass: np.ndarray) -> np.ndarray:
    """Move (N, S) along one year: symmetric, so that it serves both directions; O(S) since all changes are equally likely."""
    classes = mass.shape[1]
    if classes == 1:
        return mass
    change = np.float32((1 - STAY) / (classes - 1))
    moved: np.ndarray = (np.float32(STAY) - change) * mass + change * mass.sum(axis=1, keepdims=True)
    return moved


def _normalised(mass: np.ndarray) -> np.ndarray:
    shares: np.ndarray = mass / mass.sum(axis=-1, keepdims=True)
    return shares
