"""What whole polygons are called, explained by the mixture of their words; and what a place's own code adds."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import approx_fprime

from landtide.extract.bags import DOMINANCE, ROWS_HELD, Bags, _bag_gradients, _softmax, explain_polygons, make_bags
from landtide.extract.methods import heed_own_code
from landtide.extract.vocabulary import Evidence


def some_bags(rng: np.random.Generator) -> tuple[Bags, np.ndarray]:
    share = rng.random((7, 5)) * (rng.random((7, 5)) < 0.6) + 0.01
    share /= share.sum(axis=1, keepdims=True)
    weight = rng.random(7)
    assumed = rng.random((3, 4)) + 0.1
    return Bags(sparse.csr_matrix(share), rng.integers(0, 4, 7), weight / weight.sum()), assumed / assumed.sum(axis=1, keepdims=True)


def loss(classes: np.ndarray, logits: np.ndarray, bags: Bags, assumed: np.ndarray) -> float:
    """Return what the network minimises over the bags, by the formula."""
    rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total = 0.0
    for share, code, weight in zip(bags.share.toarray(), bags.code, bags.weight, strict=True):
        power = (share @ classes) ** DOMINANCE
        total -= weight * np.log((power / power.sum()) @ rows[:, code])
    return float(total + ROWS_HELD * (assumed * np.log(assumed / rows)).sum())


def test_slopes_agree_with_finite_differences():
    rng = np.random.default_rng(0)
    bags, assumed = some_bags(rng)
    classes, logits = _softmax(rng.normal(size=(5, 3))), rng.normal(size=(3, 4))
    by_class, by_row = _bag_gradients(classes, logits, bags, assumed)
    numeric = approx_fprime(classes.ravel(), lambda at: loss(at.reshape(5, 3), logits, bags, assumed), 1e-7)
    assert by_class.ravel() == pytest.approx(numeric, abs=1e-4)
    numeric = approx_fprime(logits.ravel(), lambda at: loss(classes, at.reshape(3, 4), bags, assumed), 1e-7)
    assert by_row.ravel() == pytest.approx(numeric, abs=1e-4)


def test_bags_are_shares_of_words_and_leave_out_what_has_no_code():
    evidence = Evidence(np.array([1, 1, 1, 2, 0]), np.zeros(5, np.int64), np.array([1.0, 1, 1, 1, 0]), np.eye(3), 2)
    bags = make_bags(np.array([5, 5, 5, 9, 9]), np.array([0, 0, 1, 2, 2]), 3, evidence)
    assert bags.share.toarray() == pytest.approx(np.array([[2 / 3, 1 / 3, 0], [0, 0, 1]]))
    assert bags.code.tolist() == [1, 2]
    assert bags.weight == pytest.approx(np.array([3**0.5, 1]) / (3**0.5 + 1))


def test_a_class_that_is_a_minority_in_most_polygons_is_told_from_the_one_that_names_them():
    """A third of every forest polygon is clearings, which only a few polygons are called after."""
    rng = np.random.default_rng(3)
    polygon = np.repeat(np.arange(60), 40)
    share = np.where(np.arange(60) < 50, 0.35, 0.9)  # of clearings in each polygon
    clearing = rng.random(len(polygon)) < share[polygon]
    x = np.column_stack([np.where(clearing, 2.0, -2.0), np.zeros(len(polygon))]) + rng.normal(0, 0.5, (len(polygon), 2))
    code = np.where(share[polygon] > 0.5, 1, 0)
    evidence = Evidence(code.astype(np.int64), polygon, np.ones(len(polygon)), np.eye(2), 60)
    undecided = np.full((len(polygon), 2), 0.5)
    posterior = explain_polygons(x.astype(np.float32), x.std(axis=0), polygon, evidence, undecided, 1)
    # codes alone would call clearings forest: more of them lie in polygons of that name
    assert (code[clearing] == 0).mean() > 0.6
    assert (posterior.argmax(axis=1) == clearing).mean() > 0.95


def test_an_own_code_counts_as_much_as_codes_tell_classes_apart():
    posterior = np.tile([[0.5, 0.5]], (1000, 1))
    posterior[:450], posterior[500:950] = [0.99, 0.01], [0.01, 0.99]
    code = np.repeat([0, 1], 500)

    def evidence(code: np.ndarray) -> Evidence:
        return Evidence(code, np.zeros(1000, np.int64), np.ones(1000), np.eye(2), 10)

    trusty = heed_own_code(posterior, evidence(code), 1.0)
    assert trusty[470, 0] > 0.9
    worthless = heed_own_code(posterior, evidence(np.tile([0, 1], 500)), 1.0)
    assert worthless[470, 0] == pytest.approx(0.5, abs=0.05)


def test_a_place_without_a_code_keeps_its_posterior():
    posterior = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    evidence = Evidence(np.array([0, 0, 1]), np.zeros(3, np.int64), np.array([0.0, 1, 1]), np.eye(2), 2)
    assert heed_own_code(posterior, evidence, 1.0)[0] == pytest.approx([0.7, 0.3])
