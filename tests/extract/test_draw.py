"""Draws follow the class targets, spread over polygons, and differ between draws."""

import numpy as np
import pytest

from landtide.extract.draw import PER_UNIT, class_targets, draw
from landtide.extract.gather import sampling_shares


def test_targets_lie_between_floor_and_the_study_s_limit():
    target = class_targets(np.array([100_000, 10_000, 100, 0]), 2000)
    assert target[3] == 0
    assert target[0] <= 2000
    assert target[2] == 500
    assert target[0] > target[1] >= target[2]


def test_no_polygon_gives_more_than_fifty_where_there_are_others():
    unit = np.repeat(np.arange(30), 200)
    mask, lifted = draw(np.ones(6000, np.uint8), unit, np.array([1000]), 3, 0)
    for bit in range(3):
        assert np.bincount(unit[mask >> bit & 1 == 1]).max() <= PER_UNIT
        assert (mask >> bit & 1).sum() == 1000
    assert lifted == []


def test_the_cap_is_lifted_and_named_where_polygons_are_few():
    mask, lifted = draw(np.full(900, 2, np.uint8), np.repeat([0, 1, 2], 300), np.array([0, 600]), 2, 0)
    assert lifted == [2]
    assert (mask & 1).sum() == 600


def test_draws_differ_and_are_reproducible():
    label, unit = np.ones(500, np.uint8), np.arange(500)
    first, _ = draw(label, unit, np.array([100]), 2, 3)
    assert (first & 1 != first >> 1 & 1).any()
    assert (first == draw(label, unit, np.array([100]), 2, 3)[0]).all()


def test_a_small_class_gives_all_it_has():
    mask, _ = draw(np.ones(12, np.uint8), np.zeros(12, np.int64), np.array([500]), 1, 0)
    assert (mask == 1).all()


def test_a_large_area_is_sampled_within_the_budget_and_rare_codes_more():
    areas = {1: 100_000_000, 2: 10_000, 3: 50}
    share = sampling_shares(areas, 60_000)
    assert sum(areas[code] * share[code] for code in areas) == pytest.approx(60_000, rel=0.01)
    assert share[3] >= share[2] > share[1]
