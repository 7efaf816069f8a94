"""Labelled points: those with a wrong label are found, what was told stands, and both go into the samples by their trust."""

import numpy as np
import pytest

from landtide.core.errors import InputError
from landtide.extract import LabelledPoint
from landtide.extract.points import AT_ITS_WORD, point_trust
from landtide.extract.trust import calibration_error
from tests.extract.conftest import Bench, PolygonWorld, polygon_world


def noisy(seed: int, count: int, share: float) -> tuple[PolygonWorld, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A world, and rows, columns, labels and true labels of points of which a share is mislabelled."""
    world = polygon_world(seed)
    rng = np.random.default_rng(seed)
    row, column = rng.integers(0, world.truth.shape[0], (2, count))
    truth = world.truth[row, column]
    label = np.where(rng.random(count) < share, (truth + rng.integers(0, 3, count)) % 4 + 1, truth)
    return world, row, column, label, truth


def trust_of(seed: int, count: int = 400, share: float = 0.2, noise: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    world, row, column, label, truth = noisy(seed, count, share)
    x = np.moveaxis(world.x[0][:, :, row, column], -1, 0).reshape(count, -1)
    x = (x + np.random.default_rng(seed).normal(0, noise, x.shape)).astype(np.float32)
    return point_trust(x, label, np.zeros(count, int), np.arange(count), 0), label == truth


@pytest.mark.parametrize("seed", [1, 2])
def test_a_fifth_of_wrong_labels_is_found(seed):
    trust, right = trust_of(seed)
    found = trust < 0.5
    assert (~right).sum() > 50
    assert (found & ~right).sum() / (~right).sum() > 0.85
    assert (found & ~right).sum() / found.sum() > 0.85
    assert calibration_error(trust, right) < 0.08


def test_points_that_are_all_right_keep_their_trust():
    trust, right = trust_of(3, share=0.0)
    assert right.all()
    assert (trust > 0.6).mean() > 0.97


def test_few_points_are_taken_at_their_word():
    assert trust_of(1, count=30)[0].tolist() == pytest.approx([AT_ITS_WORD] * 30)


def test_mislabelled_points_are_no_samples_and_the_report_says_how_many(bench: Bench):
    world, row, column, label, truth = noisy(4, 300, 0.2)
    points = [LabelledPoint("t", int(a), int(b), int(c)) for a, b, c in zip(row, column, label, strict=True)]
    result = bench.extract(world, points=points, old=False)
    assert (result.samples.y == result.truth).mean() > 0.97
    assert (label == truth).mean() < 0.85
    refused = result.refused["points_refused"]
    assert 30 < refused < 90
    assert len(result.samples) + refused == result.refused["points"] + refused
    assert any("labelled series of points refused" in line for line in result.refused["lines"])


def test_a_trust_that_was_told_stands_and_pixels_of_one_polygon_are_one_group(bench: Bench):
    world, row, column, label, _ = noisy(5, 240, 0.3)
    points = [
        LabelledPoint("t", int(a), int(b), int(c), trust=0.7 if number % 2 else 0.2, group=number // 10)
        for number, (a, b, c) in enumerate(zip(row, column, label, strict=True))
    ]
    samples = bench.extract(world, points=points, old=False).samples
    assert len(samples) == 120, "what is told to be less sure than the study asks for is left out"
    assert samples.trust == pytest.approx(0.7)
    assert len(np.unique(samples.polygon)) == 24


def test_points_of_one_class_alone_are_refused_in_a_line(bench: Bench):
    world = polygon_world(6)
    points = [LabelledPoint("t", number, number, 1) for number in range(60)]
    with pytest.raises(InputError, match="fewer than two classes have samples"):
        bench.extract(world, points=points, old=False)
