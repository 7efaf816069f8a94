"""K-means and its choice of k, against data whose clusters are known."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from landtide.extract import clusters
from landtide.extract.clusters import assign, cluster, kmeans, lloyd


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


def test_a_cloud_of_many_dimensions_is_not_split():
    x = np.random.default_rng(7).normal(size=(600, 120)).astype(np.float32)
    assert len(cluster(x, 0, most=8).centres) == 1


def test_the_number_is_found_in_many_dimensions():
    assert len(cluster(blobs(6, 6, 5.0, 120), 0, most=9).centres) == 6


@pytest.mark.parametrize("k", [3, 40])
def test_a_pass_gives_what_numpy_gives(k):
    rng = np.random.default_rng(k)
    x, centres = rng.normal(size=(1500, 7)).astype(np.float32), rng.normal(size=(k, 7)).astype(np.float32)
    distance = ((x[:, None] - centres[None]) ** 2).sum(axis=2)
    label = distance.argmin(axis=1)
    assert (assign(x, centres) == label).all()
    found = lloyd(x, centres, 0)
    assert (found.label == label).all()
    assert found.inertia == pytest.approx(distance.min(axis=1).sum(), rel=1e-5)
    moved = lloyd(x, centres, 1).centres
    for index in np.unique(label):
        assert moved[index] == pytest.approx(x[label == index].mean(axis=0), abs=1e-5)


def test_a_large_set_is_fitted_on_a_part_of_it_and_assigned_whole(monkeypatch):
    monkeypatch.setattr(clusters, "FIT", 400)
    x = blobs(8, 4, 8.0, 6)[np.random.default_rng(1).permutation(600)]
    x = np.concatenate([x] * 10) + np.random.default_rng(2).normal(0, 0.1, (6000, 6)).astype(np.float32)
    found = cluster(x, 0)
    assert len(found.centres) == 4
    assert found.label.shape == (6000,)
    assert found.inertia <= 1.01 * KMeans(4, n_init=3, random_state=0).fit(x).inertia_


def test_three_points_in_a_row_are_one_cluster():
    assert len(cluster(np.array([[0.0], [1.0], [2.0]], np.float32), 0).centres) == 1


def test_the_same_seed_gives_the_same_clusters():
    x = blobs(4, 3, 2.0)
    assert (kmeans(x, 3, 5).label == kmeans(x, 3, 5).label).all()
