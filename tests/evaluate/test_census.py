"""Wall-to-wall scoring; the oracles are scikit-learn and simulated fields whose correlation is known."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, f1_score, precision_score, recall_score
from small_maps import grid, maps_of

from landtide.core.legend import identity_crosswalk
from landtide.evaluate import census
from landtide.evaluate.pixels import Layer
from landtide.evaluate.views import code_states, views_of

SHAPE = (90, 70)


@pytest.fixture
def fields():
    rng = np.random.default_rng(3)
    truth = rng.integers(1, 4, SHAPE).astype(np.uint8)
    label = np.where(rng.random(SHAPE) < 0.7, truth, rng.integers(1, 4, SHAPE)).astype(np.uint8)
    label[:5] = 0
    codes = (truth * 10).astype(np.int16)
    codes[:, -3:] = 0
    return label, codes


def blocks_of(save, legend, pool, label, codes):
    tile = grid("t", label.shape)
    maps = maps_of(legend, [tile], {"t": {2020: save("map", label, tile)}})
    truth = code_states(views_of(legend), identity_crosswalk(legend))
    return census.count_blocks(maps, 2020, Layer(save("truth", codes, tile), truth), pool), truth


def fold(blocks, truth):
    """Return (B, K, K) in the order of the labels."""
    states = [int(np.flatnonzero(truth.labels[0] == label)[0]) for label in (1, 2, 3)]
    return blocks.new.sum(axis=1)[:, 1:4][:, :, states]


def test_equals_scikit_learn(save, legend, pool, fields):
    label, codes = fields
    blocks, truth = blocks_of(save, legend, pool, label, codes)
    report = census.census_accuracy(fold(blocks, truth), legend.names, "", pixel_area=0.01, seed=1)
    both = (label > 0) & (codes > 0)
    said, right = label[both], codes[both] // 10
    np.testing.assert_array_equal(report.counts, confusion_matrix(right, said).T)
    assert report.overall == pytest.approx(accuracy_score(right, said))
    assert report.kappa == pytest.approx(cohen_kappa_score(right, said))
    np.testing.assert_allclose(report.users, precision_score(right, said, average=None))
    np.testing.assert_allclose(report.producers, recall_score(right, said, average=None))
    np.testing.assert_allclose(report.f1, f1_score(right, said, average=None))
    np.testing.assert_allclose(report.area, np.bincount(right)[1:] * 0.01)


def test_counts_do_not_depend_on_how_the_tile_is_cut(save, legend, pool, fields, monkeypatch):
    whole, _ = blocks_of(save, legend, pool, *fields)
    monkeypatch.setattr(census, "WINDOW", 20)
    cut, _ = blocks_of(save, legend, pool, *fields)
    np.testing.assert_array_equal(whole.new.sum(axis=0), cut.new.sum(axis=0))
    assert sorted(map(tuple, whole.new.reshape(len(whole.new), -1))) == sorted(map(tuple, cut.new.reshape(len(cut.new), -1)))


def test_block_intervals_hold_the_truth_where_pixel_intervals_would_not():
    """Errors come in patches of 8 x 8 pixels; the expected accuracy of the process is 0.8."""
    rng, held, naive = np.random.default_rng(4), 0, 0
    for trial in range(200):
        right = np.kron(rng.random((16, 16)) < 0.8, np.ones((8, 8), bool))
        blocks = right.reshape(8, 16, 8, 16).transpose(0, 2, 1, 3).reshape(64, 256).sum(axis=1)
        cells = np.zeros((64, 2, 2))
        cells[:, 0, 0], cells[:, 0, 1] = blocks, 256 - blocks
        report = census.census_accuracy(cells, ("a", "b"), "", pixel_area=0.01, seed=trial)
        held += abs(report.overall - 0.8) <= report.interval("overall")
        naive += abs(report.overall - 0.8) <= 1.96 * np.sqrt(0.16 / right.size)
    assert held >= 180
    assert naive < 100


def test_same_seed_gives_the_same_intervals(fields, save, legend, pool):
    blocks, truth = blocks_of(save, legend, pool, *fields)
    first, second = (census.census_accuracy(fold(blocks, truth), legend.names, "", pixel_area=0.01, seed=3) for _ in range(2))
    assert first.overall_error == second.overall_error > 0


def test_too_few_blocks_give_no_interval():
    report = census.census_accuracy(np.array([[[5, 1], [0, 4]]] * 3), ("a", "b"), "", pixel_area=0.01, seed=1)
    assert report.overall == pytest.approx(0.9)
    assert np.isnan(report.overall_error)
    assert np.isnan(report.producers_error).all()


def test_gain_is_paired():
    """Both maps err in the same blocks, so their difference is far surer than either."""
    rng = np.random.default_rng(2)
    pixels = np.full(64, 100)
    old = rng.integers(20, 80, 64)
    gain, error = census.census_gain(old + 10, old, pixels, seed=1)
    assert gain == pytest.approx(0.1)
    assert error == pytest.approx(0, abs=1e-9)


def test_blocks_are_a_kilometre_and_at_least_64():
    assert census.block_side(grid("t", (2000, 2000))) == 100
    assert census.block_side(grid("t", (100, 101))) == 12
    assert census.block_side(grid("t", (10_980, 10_980))) == 343
    assert census.block_side(grid("t", (5, 5))) == 1
