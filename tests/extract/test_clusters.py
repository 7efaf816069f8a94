"""K-means and its choice of k, against data whose clusters are known."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import calinski_harabasz_score

from landtide.extract.clusters import calinski_harabasz, cluster, kmeans


def blobs(seed: int, k: int, apart: float, dimensions: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.eye(max(k, dimensions))[:k, :] * apart
    return (np.repeat(centres, 150, axis=0) + rng.normal(size=(150 * k, centres.shape[1]))).astype(np.float32)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_the_number_of_separate_clusters_is_found(k):
    assert len(cluster(blobs(1, k, 10.0), 0).centres) == k


@pytest.mark.parametrize("dimensions", [1, 2, 5, 20])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_cloud_is_not_split(seed, dimensions):
    x = np.random.default_rng(seed).normal(size=(400, dimensions)).astype(np.float32)
    assert len(cluster(x, 0).centres) == 1


def test_constant_points_are_one_cluster():
    assert len(cluster(np.ones((30, 3), np.float32), 0).centres) == 1


def test_inertia_is_as_low_as_scikit_learns():
    x = blobs(2, 5, 4.0, 6)
    assert kmeans(x, 5, 0).inertia <= 1.01 * KMeans(5, n_init=10, random_state=0).fit(x).inertia_


def test_calinski_harabasz_agrees_with_scikit_learn():
    x = blobs(3, 3, 3.0)
    found = kmeans(x, 3, 0)
    assert calinski_harabasz(x, found) == pytest.approx(calinski_harabasz_score(x, found.label), rel=1e-4)


def test_the_same_seed_gives_the_same_clusters():
    x = blobs(4, 3, 2.0)
    assert (kmeans(x, 3, 5).label == kmeans(x, 3, 5).label).all()
