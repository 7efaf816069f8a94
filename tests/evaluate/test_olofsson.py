"""Olofsson's estimator; the oracle is the worked example of Olofsson et al. 2014, and a bootstrap that knows no formula."""

import numpy as np
import pytest

from landtide.evaluate.area import area_adjusted_accuracy

COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
HECTARES = PIXELS * 0.09  # 30 m pixels
CLASSES = ("deforestation", "forest gain", "stable forest", "stable non-forest")


@pytest.fixture(scope="module")
def report():
    return area_adjusted_accuracy(COUNTS, HECTARES, CLASSES)


def test_agrees_with_the_published_example_to_four_digits(report):
    assert report.overall == pytest.approx(0.9465, abs=5e-5)
    assert report.interval("overall") == pytest.approx(0.0185, abs=5e-5)
    np.testing.assert_allclose(report.users, [0.8800, 0.7333, 0.9273, 0.9631], atol=5e-5)
    np.testing.assert_allclose(report.interval("users"), [0.0740, 0.1008, 0.0397, 0.0205], atol=5e-5)
    np.testing.assert_allclose(report.producers, [0.7487, 0.8472, 0.9345, 0.9616], atol=5e-5)
    np.testing.assert_allclose(report.interval("producers"), [0.2133, 0.2544, 0.0343, 0.0184], atol=5e-5)
    np.testing.assert_allclose(report.area, [21158, 11686, 285770, 581386], atol=1)
    np.testing.assert_allclose(report.interval("area"), [6158, 3756, 15510, 16282], atol=1)


def test_intervals_agree_with_a_bootstrap(report):
    rng = np.random.default_rng(1)
    weight = PIXELS / PIXELS.sum()
    rows = [rng.multinomial(row.sum(), row / row.sum(), size=40_000) / row.sum() for row in COUNTS]
    p = np.stack([w * row for w, row in zip(weight, rows, strict=True)], axis=1)  # (N, K, K)
    right = np.diagonal(p, axis1=1, axis2=2)
    producers, area = right / p.sum(axis=1), p.sum(axis=1) * HECTARES.sum()
    # "Forest gain" has one wrong unit outside its stratum, so its producer's accuracy is far from linear: 7 % there, 1 % elsewhere.
    assert np.all(np.abs(producers.std(axis=0) / report.producers_error - 1) < [0.01, 0.07, 0.01, 0.01])
    np.testing.assert_allclose(area.std(axis=0), report.area_error, rtol=0.02)
    assert right.sum(axis=1).std() == pytest.approx(report.overall_error, rel=0.02)


def test_shares_sum_to_one_and_areas_to_the_whole(report):
    assert report.proportions.sum() == pytest.approx(1)
    assert report.area.sum() == pytest.approx(HECTARES.sum())
    assert report.units == 640


def test_f1_is_the_harmonic_mean_and_kappa_the_textbook_one(report):
    p = report.proportions
    chance = sum(p[k].sum() * p[:, k].sum() for k in range(4))
    assert report.kappa == pytest.approx((np.trace(p) - chance) / (1 - chance))
    assert report.f1[0] == pytest.approx(2 / (1 / report.users[0] + 1 / report.producers[0]))


def test_unsampled_class_is_named():
    with pytest.raises(ValueError, match=r"Map classes \['b'\] have no reference sample"):
        area_adjusted_accuracy(np.diag([5, 0, 3]), np.ones(3), ("a", "b", "c"))


def test_unsampled_class_that_is_not_mapped_is_undefined_and_harmless():
    report = area_adjusted_accuracy(np.array([[5, 1, 0], [1, 3, 0], [0, 0, 0]]), np.array([10.0, 10.0, 0.0]))
    assert np.isnan(report.users[2])
    assert np.isnan(report.producers[2])
    assert report.overall == pytest.approx((5 / 6 + 3 / 4) / 2)


def test_single_unit_of_a_class_does_not_pretend_certainty():
    report = area_adjusted_accuracy(np.array([[30, 10], [0, 1]]), np.array([50.0, 50.0]))
    assert np.isnan(report.users_error[1])
    alone = area_adjusted_accuracy(np.array([[30, 10], [0, 100]]), np.array([50.0, 50.0]))
    assert report.overall_error > alone.overall_error


def test_perfect_map_has_no_error():
    report = area_adjusted_accuracy(np.diag([10, 20]), np.array([1.0, 3.0]))
    assert report.overall == 1
    assert report.overall_error == 0
    np.testing.assert_array_equal(report.f1, [1, 1])
