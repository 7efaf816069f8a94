"""Labels of groups: whole groups and single members that are called wrongly are found, and right labels are left alone."""

import numpy as np
import pytest

from landtide.extract.groups import explain_labels, judge_groups

GROUPS, MEMBERS, CLASSES = 150, 6, 3


def groups(seed: int, spread: float = 0.8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return series around one centre a class, their true labels and groups."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.integers(1, CLASSES + 1, GROUPS), MEMBERS)
    centres = rng.normal(0, 1, (CLASSES, 5))
    return (centres[truth - 1] + rng.normal(0, spread, (len(truth), 5))).astype(np.float32), truth, np.repeat(np.arange(GROUPS), MEMBERS)


def labels(found: np.ndarray) -> np.ndarray:
    return found.argmax(axis=1) + 1


@pytest.mark.parametrize("seed", [1, 2])
def test_whole_groups_that_are_called_wrongly_are_found(seed: int):
    x, truth, group = groups(seed, spread=0.5)
    wrong = (np.random.default_rng(seed).random(GROUPS) < 0.3)[group]
    label = np.where(wrong, truth % CLASSES + 1, truth).astype(np.uint8)
    assert (labels(judge_groups(x, label, group, CLASSES, 0)) == truth).mean() > 0.95


def test_single_members_that_are_called_wrongly_are_found():
    x, truth, group = groups(3)
    wrong = np.random.default_rng(3).random(len(truth)) < 0.3
    label = np.where(wrong, truth % CLASSES + 1, truth).astype(np.uint8)
    assert (labels(judge_groups(x, label, group, CLASSES, 0)) == truth).mean() > 0.97


def test_right_labels_stand_although_classifiers_err():
    x, truth, group = groups(4, spread=2.0)
    found = judge_groups(x, truth.astype(np.uint8), group, CLASSES, 0)
    assert (labels(found) == truth).mean() > 0.98


def test_members_of_another_class_than_their_group_are_told_apart():
    x, group_class, group = groups(5, spread=0.3)
    rng = np.random.default_rng(5)
    truth = np.where(rng.random(len(x)) < 0.4, rng.integers(1, CLASSES + 1, len(x)), group_class)
    x = x[np.array([np.flatnonzero(group_class == value)[number % 200] for number, value in enumerate(truth)])]
    found = labels(judge_groups(x, group_class.astype(np.uint8), group, CLASSES, 0))
    strangers = truth != group_class
    assert (found == truth)[strangers].mean() > 0.9
    assert (found == truth).mean() > 0.95


def test_what_groups_are_called_is_learnt():
    """A share of one class is called after another: the matrix of mistakes says so."""
    rng = np.random.default_rng(6)
    truth = rng.integers(0, CLASSES, 600)
    said = np.full((600, CLASSES), 0.05)
    said[np.arange(600), truth] = 0.9
    name = np.where((rng.random(600) < 0.3), (truth + 1) % CLASSES, truth)
    _, mistakes = explain_labels(said, np.arange(600), np.eye(CLASSES)[name])
    both = mistakes.group @ mistakes.member  # of single members nothing tells a group's name from its member's
    assert np.diag(both) == pytest.approx([0.7] * CLASSES, abs=0.12)
    assert both[np.arange(CLASSES), (np.arange(CLASSES) + 1) % CLASSES] == pytest.approx([0.3] * CLASSES, abs=0.12)


def test_no_label_says_nothing_and_classes_without_one_get_nothing():
    x, truth, group = groups(7)
    label = np.where(truth == 2, 0, truth).astype(np.uint8)
    found = judge_groups(x, label, group, 4, 0)
    assert (found[label == 0] == 0).all()
    assert (found[:, [1, 3]] == 0).all()
    assert found[label > 0].sum(axis=1) == pytest.approx(1.0)


def test_a_few_groups_are_taken_at_their_word():
    x, truth, group = groups(8)
    found = judge_groups(x[:12], truth[:12].astype(np.uint8), group[:12], CLASSES, 0)
    assert (labels(found) == truth[:12]).all()
    assert (found.max(axis=1) == 1).all()
