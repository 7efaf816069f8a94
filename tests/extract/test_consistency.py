"""Mislabelled polygons are found, rare phenologies are not taken for mistakes."""

import numpy as np

from landtide.extract.consistency import analyse


def classes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    means = np.concatenate([rng.normal(0, 1, (40, 3)), rng.normal(10, 1, (40, 3))])
    return means, np.repeat([1, 2], 40)


def test_polygons_of_the_other_class_are_refused_by_margin():
    means, labels = classes(1)
    labels[[0, 1, 2, 50]] = [2, 2, 2, 1]
    verdict, _ = analyse(means, labels, 0)
    assert (verdict[[0, 1, 2, 50]] == "margin").all()
    assert (verdict == "kept").mean() > 0.85


def test_a_polygon_far_from_everything_is_refused_by_consistency():
    means, labels = classes(2)
    means[5] = [-30, 0, 20]
    assert analyse(means, labels, 0)[0][5] == "consistency"


def test_a_second_phenology_of_a_class_survives():
    rng = np.random.default_rng(3)
    means = np.concatenate([rng.normal(0, 1, (40, 3)), rng.normal(-12, 1, (15, 3)), rng.normal(10, 1, (40, 3))])
    verdict, _ = analyse(means, np.repeat([1, 1, 2], [40, 15, 40]), 0)
    assert (verdict[40:55] == "kept").mean() > 0.8


def test_single_polygons_are_not_judged():
    assert analyse(np.array([[0.0, 0], [5.0, 5]]), np.array([1, 2]), 0)[0].tolist() == ["kept", "kept"]
