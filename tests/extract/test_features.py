"""Standardisation and components."""

import numpy as np
import pytest

from landtide.extract.features import principal_scores, standardise, valid_series


def test_standardised_features_have_median_0_and_half_range_1():
    x = np.random.default_rng(1).normal(5, 3, (5000, 2)).astype(np.float32)
    z = standardise(x, np.zeros(5000))
    assert np.median(z, axis=0) == pytest.approx([0, 0], abs=0.02)
    assert np.subtract(*np.quantile(z, [0.84, 0.16], axis=0)) == pytest.approx([2, 2], abs=0.02)


def test_each_year_is_standardised_for_itself():
    x = np.random.default_rng(2).normal(0, 1, (400, 3)).astype(np.float32)
    year = np.repeat([0, 1], 200)
    shifted = x + year[:, None].astype(np.float32) * 7
    assert standardise(shifted, year) == pytest.approx(standardise(x, year), abs=1e-4)


def test_missing_values_become_the_median_and_never_nan():
    x = np.random.default_rng(3).normal(0, 1, (100, 4)).astype(np.float32)
    x[::2, 1] = np.nan
    x[:, 3] = np.nan
    z = standardise(x, np.zeros(100))
    assert np.isfinite(z).all()
    assert (z[::2, 1] == 0).all()
    assert (z[:, 3] == 0).all()


def test_series_of_nan_alone_are_not_valid():
    x = np.array([[np.nan] * 4, [1, np.nan, np.nan, np.nan], [1, 2, np.nan, np.nan]])
    assert valid_series(x).tolist() == [False, False, True]


def test_components_hold_the_asked_variance():
    rng = np.random.default_rng(4)
    x = (rng.normal(size=(2000, 2)) @ rng.normal(size=(2, 30)) * 5 + 0.1 * rng.normal(size=(2000, 30))).astype(np.float32)
    scores = principal_scores(x, 0.95, 20)
    assert scores.values.shape[1] == 2
    assert scores.values.var(axis=0).sum() > 0.95 * x.var(axis=0).sum()


def test_one_feature_has_one_component():
    assert principal_scores(np.random.default_rng(5).normal(size=(50, 1)).astype(np.float32)).values.shape == (50, 1)
