"""Plain ways to clean labels: none at all, and K-means a class. What a better method has to beat."""

import numpy as np

from landtide.extract.clusters import assign, kmeans
from landtide.extract.places import Judged, Places

CLUSTERS = 4
KEPT_CLUSTERS = 3
QUANTILE = 0.75
EROSION = 3.0
"""Pixels."""

FIT = 20_000
"""Places of a class that centres are fitted on."""


def raw(places: Places, seed: int) -> Judged:
    """Take every label at its word."""
    return Judged(places.label, (places.label > 0).astype(np.float32))


def ancestor(places: Places, seed: int) -> Judged:
    """Keep the inner part of the larger clusters of each class.

    Polygons are eroded by 3 pixels where that leaves a class enough to be clustered; each class is cut into 4 clusters, the smallest is
    dropped, and in the others what lies beyond the 0.75 quantile of the distances to the centre. Trust is 1 or 0: the method knows no
    degrees. Source: the published configuration of the workflow behind Sedona et al. 2022 (LiangTian49/EO-Workflow-with-Airflow);
    written from its description, on our features.
    """
    keep = np.zeros(len(places), bool)
    for value in np.unique(places.label[places.label > 0]):
        members = np.flatnonzero(places.label == value)
        inner = members[places.depth[members] > EROSION]
        if len(inner) >= 10 * CLUSTERS:
            members = inner
        keep[members[_inner(places.scores[members], seed)]] = True
    return Judged(places.label, keep.astype(np.float32))


def _inner(x: np.ndarray, seed: int) -> np.ndarray:
    """Say which points (n, D) lie in the 3 largest of 4 clusters and not too far out, (n,) bool."""
    k = min(CLUSTERS, len(x))
    step = max(1, len(x) // FIT)
    centres = kmeans(x[::step], k, seed).centres
    own = assign(x, centres)
    distance = np.linalg.norm(x - centres[own], axis=1)
    largest = np.argsort(-np.bincount(own, minlength=k), kind="stable")[:KEPT_CLUSTERS]
    keep = np.zeros(len(x), bool)
    for cluster in largest:
        members = np.flatnonzero(own == cluster)
        if len(members):
            keep[members] = distance[members] <= np.quantile(distance[members], QUANTILE)
    return keep
