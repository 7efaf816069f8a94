"""The flat forest against scikit-learn's own prediction."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from landtide.models.flat_trees import flatten


@pytest.mark.parametrize(("leaf", "classes", "count"), [(1, 3, 500), (5, 9, 2000), (400, 2, 500)])
def test_probabilities_are_those_of_scikit_learn_to_the_last_bit(leaf: int, classes: int, count: int) -> None:
    rng = np.random.default_rng(leaf)
    y = rng.integers(0, classes, count)
    x = (rng.normal(size=(classes, 20))[y] + rng.normal(size=(count, 20))).astype(np.float32)
    forest = ExtraTreesClassifier(15, min_samples_leaf=leaf, random_state=0).fit(x, y)
    trees = flatten(forest)
    assert trees is not None
    asked = np.concatenate([x, rng.normal(0, 3, (4101, 20)).astype(np.float32)])
    np.testing.assert_array_equal(trees.probability(asked), forest.predict_proba(asked))


def test_a_value_on_a_threshold_goes_to_the_same_side() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)).astype(np.float32)
    forest = ExtraTreesClassifier(5, random_state=0).fit(x, rng.integers(0, 2, 300))
    trees = flatten(forest)
    assert trees is not None
    cuts = np.unique(np.concatenate([tree.tree_.threshold[tree.tree_.feature >= 0] for tree in forest.estimators_]))
    near = cuts.astype(np.float32)
    asked = np.stack(
        np.meshgrid(np.concatenate([near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9))])[:60], near[:60])
    )
    asked = asked.reshape(2, -1).T.copy()
    np.testing.assert_array_equal(trees.probability(asked), forest.predict_proba(asked))


def test_trees_with_too_many_features_are_left_to_scikit_learn() -> None:
    x = np.random.default_rng(0).normal(size=(20, 4096)).astype(np.float32)
    assert flatten(ExtraTreesClassifier(1, random_state=0).fit(x, np.arange(20) % 2)) is None
