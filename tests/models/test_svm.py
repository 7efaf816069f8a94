"""The vote by matrix products against scikit-learn's own prediction."""

import numpy as np
import phenology
import pytest
from sklearn.svm import SVC

from landtide.models import svm


def features(seed: int, classes: int, per_class: int = 60, wrong: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    samples = phenology.samples(per_class, classes=classes, wrong=wrong, noise=0.05, seed=seed)
    x = (samples.x - samples.x.mean((0, 1))) / samples.x.std((0, 1))
    return x.reshape(len(x), -1), samples.y


@pytest.mark.parametrize(("classes", "c", "gamma"), [(2, 1.0, 0.02), (3, 100.0, 0.02), (6, 1000.0, 0.1), (5, 1.0, 1.0)])
def test_every_member_votes_as_scikit_learn_predicts(classes: int, c: float, gamma: float) -> None:
    x, y = features(1, classes)
    rng = np.random.default_rng(2)
    rows = [np.sort(rng.choice(len(x), len(x) // 2, replace=False)) for _ in range(3)]
    members = [SVC(C=c, gamma=gamma).fit(x[index], y[index]) for index in rows]
    asked = np.concatenate([features(3, classes)[0], rng.normal(0, 1.5, (700, x.shape[1])).astype(np.float32), x])
    got = svm.stack(members, rows, x, classes).labels_of(asked)
    for member, labels in zip(members, got, strict=True):
        np.testing.assert_array_equal(labels, member.predict(asked))


def test_a_member_may_lack_classes_that_others_know() -> None:
    x, y = features(1, 5)
    everything, some = np.arange(len(x)), np.flatnonzero(np.isin(y, [2, 5]))
    members = [SVC(gamma=0.02).fit(x[everything], y[everything]), SVC(gamma=0.02).fit(x[some], y[some])]
    ensemble = svm.stack(members, [everything, some], x, 5)
    asked = features(4, 5)[0]
    np.testing.assert_array_equal(ensemble.labels_of(asked)[1], members[1].predict(asked))
    assert set(ensemble.labels_of(asked)[1]) <= {2, 5}


def test_probability_is_the_share_of_the_vote() -> None:
    x, y = features(1, 4)
    rows = [np.arange(start, len(x), 3) for start in range(3)]
    members = [SVC(gamma=0.02).fit(x[index], y[index]) for index in rows]
    ensemble = svm.stack(members, rows, x, 4)
    asked = features(5, 4, wrong=0.0)[0]
    votes = np.stack([member.predict(asked) for member in members], axis=1)
    expected = np.stack([(votes == label).mean(axis=1) for label in range(1, 5)], axis=1)
    got = ensemble.probability(asked.reshape(len(asked), 12, 4), np.zeros((len(asked), 12), np.int16))
    np.testing.assert_allclose(got, expected, atol=2e-5)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-6)
    clear = np.sort(expected, axis=1)[:, -1] > np.sort(expected, axis=1)[:, -2]
    np.testing.assert_array_equal(got[clear], expected[clear].astype(np.float32))  # thresholds on the vote must hold exactly


def test_a_tie_goes_to_the_class_with_more_pairwise_wins() -> None:
    wins = np.array([[[3, 2, 1, 0], [2, 3, 0, 1]], [[3, 1, 2, 0], [0, 3, 2, 1]]], np.int16)  # (B=2, E=2, K=4)
    shares = svm._shares(wins)
    assert np.argmax(shares, axis=1).tolist() == [0, 1]  # 5 against 5 wins: the first; 3 against 4: the second
    np.testing.assert_allclose(shares[:, :2], 0.5, atol=2e-5)


def test_vectors_that_members_share_are_stored_once() -> None:
    x, y = features(1, 4)
    rows = [np.arange(len(x))] * 3
    members = [SVC(gamma=0.02).fit(x, y) for _ in rows]
    assert len(svm.stack(members, rows, x, 4).vectors) == len(members[0].support_)
