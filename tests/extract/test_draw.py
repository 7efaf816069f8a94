"""Draws follow the class targets, spread over polygons, and differ between draws."""

import numpy as np
import pytest

from landtide.extract.draw import PER_UNIT, class_targets, draw, sub_classes
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


def test_what_makes_up_little_of_a_class_is_drawn_by_its_square_root():
    kind = np.repeat([0, 1, 2], [9000, 900, 100])
    unit = np.arange(10_000)
    mask, _ = draw(np.ones(10_000, np.uint8), unit, np.array([400]), 1, 3, kind)
    taken = np.bincount(kind[mask > 0])
    assert taken == pytest.approx(400 * np.sqrt([9000, 900, 100]) / np.sqrt([9000, 900, 100]).sum(), abs=1)


def test_sub_classes_are_the_clouds_of_a_class():
    rng = np.random.default_rng(0)
    cloud = np.repeat(np.arange(6), 200)
    scores = (10 * rng.normal(size=(6, 5))[cloud] + rng.normal(0, 0.1, (1200, 5))).astype(np.float32)
    kind = sub_classes(scores, np.ones(1200, np.uint8), 4)
    pairs = np.unique(np.stack([cloud, kind], axis=1), axis=0)
    assert len(pairs) <= 7  # a start may split one cloud and join two
    assert set(sub_classes(scores, np.zeros(1200, np.uint8), 4).tolist()) == {0}
