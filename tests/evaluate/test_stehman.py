"""Stehman's estimator; the oracles are Olofsson's closed form, and populations of which everything is known."""

import numpy as np
import pytest

from landtide.evaluate.area import area_adjusted_accuracy
from landtide.evaluate.stehman import stratified_accuracy, stratified_mean

COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
CLASSES = ("a", "b", "c", "d")


def test_equals_olofsson_where_the_strata_are_the_map_classes():
    cells = np.zeros((4, 4, 4))
    cells[np.arange(4), np.arange(4)] = COUNTS
    general = stratified_accuracy(cells, PIXELS, CLASSES, "", unit_area=0.09, finite=False)
    closed = area_adjusted_accuracy(COUNTS, PIXELS * 0.09, CLASSES)
    for name in ("overall", "users", "producers", "area", "overall_error", "users_error", "producers_error", "area_error", "f1", "kappa"):
        np.testing.assert_allclose(getattr(general, name), getattr(closed, name), rtol=1e-10, err_msg=name)


@pytest.fixture(scope="module")
def population():
    """60 000 pixels: stratum, map class and reference class depend on each other, and none is another."""
    rng = np.random.default_rng(5)
    stratum = rng.choice(3, 60_000, p=[0.6, 0.3, 0.1])
    chances = np.array([[0.8, 0.15, 0.05], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]])
    truth = (rng.random(60_000)[:, None] > chances[stratum].cumsum(axis=1)).sum(axis=1)
    said = np.where(rng.random(60_000) < 0.8, truth, rng.integers(0, 3, 60_000))
    return stratum, said, truth


def draw(population, rng, sizes=(600, 400, 300)):
    stratum, said, truth = population
    chosen = np.concatenate([rng.choice(np.flatnonzero(stratum == h), n, replace=False) for h, n in enumerate(sizes)])
    cells = np.zeros((3, 3, 3))
    np.add.at(cells, (stratum[chosen], said[chosen], truth[chosen]), 1)
    return cells, chosen


def test_is_unbiased_and_its_intervals_hold_the_truth_19_times_in_20(population):
    stratum, said, truth = population
    sizes, rng = np.bincount(stratum), np.random.default_rng(6)
    reports = [stratified_accuracy(draw(population, rng)[0], sizes, ("a", "b", "c"), "", unit_area=1.0) for _ in range(600)]
    right = said == truth
    known = {
        "overall": right.mean(),
        "users": np.array([right[said == k].mean() for k in range(3)]),
        "producers": np.array([right[truth == k].mean() for k in range(3)]),
        "area": np.bincount(truth).astype(float),
    }
    for name, value in known.items():
        estimates = np.array([getattr(report, name) for report in reports])
        errors = np.array([getattr(report, f"{name}_error") for report in reports])
        np.testing.assert_allclose(estimates.mean(axis=0), value, rtol=0.01, err_msg=name)
        np.testing.assert_allclose(errors.mean(axis=0), estimates.std(axis=0), rtol=0.12, err_msg=name)
        covered = (np.abs(estimates - value) <= 1.96 * errors).mean(axis=0)
        assert np.all((covered > 0.91) & (covered < 0.98)), (name, covered)


def test_mean_of_a_difference_is_unbiased_with_honest_error(population):
    stratum, said, truth = population
    sizes, rng = np.bincount(stratum), np.random.default_rng(9)
    values = (said == truth).astype(float) - (truth == 0)
    found = []
    for _ in range(400):
        _, chosen = draw(population, rng)
        found.append(stratified_mean(values[chosen], stratum[chosen], sizes))
    means, errors = np.array(found).T
    assert means.mean() == pytest.approx(values.mean(), abs=0.005)
    assert errors.mean() == pytest.approx(means.std(), rel=0.1)


def test_stratum_taken_whole_adds_no_sampling_error():
    cells = np.zeros((2, 2, 2))
    cells[0] = [[5, 3], [1, 2]]  # all 11 pixels of the stratum
    cells[1] = [[10, 0], [0, 0]]
    report = stratified_accuracy(cells, np.array([11, 1000]), ("a", "b"), "", unit_area=1.0)
    assert report.overall_error == 0


def test_stratum_with_size_and_no_unit_is_refused():
    with pytest.raises(ValueError, match="Strata"):
        stratified_accuracy(np.zeros((1, 2, 2)), np.array([10]), ("a", "b"), "", unit_area=1.0)
