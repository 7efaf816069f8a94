"""Label cleaning by a self-organising map: what a place's neuron and its neighbours say of the label.

Source: Santos et al. 2021, ISPRS J. 177, doi:10.1016/j.isprsjprs.2021.04.014 (the method); Kohonen 2001 (the batch algorithm).
"""

import numpy as np

from landtide.extract.clusters import assign
from landtide.extract.places import Judged, Places

PRIOR = 0.6
"""Share of a neuron's places that must bear the label."""

POSTERIOR = 0.6
"""The same once the neighbouring neurons are heard; trust is this posterior, so that the cut of trust asks for it."""

REACH = 2.0
"""Neurons: how far neighbours are heard."""

EPOCHS = 15
FIT = 20_000


def som(places: Places, seed: int) -> Judged:
    """Trust labels that the places of their neuron share, as far as the neurons around agree."""
    labelled = np.flatnonzero(places.label > 0)
    side = max(3, round(np.sqrt(5 * np.sqrt(len(labelled)))))
    x = places.scores[labelled]
    neuron = assign(x, train(x, side, seed))
    label = places.label[labelled].astype(np.int64)
    count = np.zeros((side * side, places.classes))
    np.add.at(count, (neuron, label - 1), 1)
    prior, posterior = shares(count, side)
    trust = np.zeros(len(places), np.float32)
    own = neuron, label - 1
    trust[labelled] = np.where(prior[own] >= PRIOR, posterior[own], 0.0)
    return Judged(places.label, trust)


def train(x: np.ndarray, side: int, seed: int) -> np.ndarray:
    """Return the neurons (side * side, D) of a square map, by the batch algorithm with a Gaussian neighbourhood that shrinks.

    x  (N, D) float32
    """
    rng = np.random.default_rng(seed)
    sample = x[rng.permutation(len(x))[:FIT]]
    neurons = _plane(sample, side)
    grid = _distance(side)
    for epoch in range(EPOCHS):
        width = side / 4 * (2.0 / side) ** (epoch / (EPOCHS - 1))  # from a quarter of the map down to half a neuron
        own = assign(sample, neurons)
        count = np.bincount(own, minlength=len(neurons)).astype(np.float64)
        total = np.zeros(neurons.shape)
        np.add.at(total, own, sample)
        near = np.exp(-grid / (2 * width**2))
        mass = near @ count
        neurons = np.where(mass[:, None] > 1e-9, near @ total / np.maximum(mass, 1e-9)[:, None], neurons).astype(np.float32)
    return neurons


def _plane(x: np.ndarray, side: int) -> np.ndarray:
    """Lay the neurons out on the plane of the first two columns, which principal scores make the widest: the map starts unfolded."""
    start = np.tile(x.mean(axis=0), (side * side, 1)).astype(np.float32)
    steps = np.linspace(-1.5, 1.5, side)
    row, column = (values.ravel() for values in np.mgrid[:side, :side])
    start[:, 0] += steps[row] * x[:, 0].std()
    if x.shape[1] > 1:
        start[:, 1] += steps[column] * x[:, 1].std()
    return start


def _distance(side: int) -> np.ndarray:
    """Return the squared distances between all neurons on the map, (side^2, side^2)."""
    row, column = (values.ravel() for values in np.mgrid[:side, :side])
    return np.asarray((row[:, None] - row) ** 2 + (column[:, None] - column) ** 2, np.float64)


def shares(count: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each class in each neuron, and the same shrunk towards the neurons around it, both (M, K).

    count  (M, K) places of each class in each neuron

    The weight of the neighbours grows with the variance of a share of so few places and falls with the variance among the neighbours.
    """
    total = count.sum(axis=1)
    prior = count / np.maximum(total, 1)[:, None]
    near = (_distance(side) <= REACH**2) & (total > 0)[None, :]
    np.fill_diagonal(near, False)
    number = np.maximum(near.sum(axis=1), 1)[:, None]
    mean = near @ prior / number
    spread = np.maximum(near @ prior**2 / number - mean**2, 1e-6)
    error = (prior * (1 - prior) + 1 / np.maximum(total, 1)[:, None]) / np.maximum(total, 1)[:, None]
    own = spread / (spread + error)
    lonely = ~near.any(axis=1)[:, None]
    return prior, np.where(lonely, prior, own * prior + (1 - own) * mean)
