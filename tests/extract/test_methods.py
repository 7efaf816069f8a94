"""Every cleaning method on bare arrays: series, labels and polygons, whatever they came from."""

import functools

import numpy as np
import pytest

from landtide.core.errors import InputError
from landtide.core.legend import Crosswalk
from landtide.extract.confident import out_of_fold
from landtide.extract.methods import METHODS
from landtide.extract.places import CUT, Judged, Places, places_of
from landtide.extract.rivals import ancestor
from landtide.extract.som import shares, train
from tests.extract.conftest import Bench, polygon_world, signature

SIDE = 8


@functools.cache
def given(seed: int, wrong: float = 0.3) -> tuple[Places, np.ndarray]:
    """Return the places of a world of 100 polygons, one of them without labels, and the true labels."""
    world = polygon_world(seed, side=SIDE, wrong=wrong)
    polygon = np.kron(np.arange(100).reshape(10, 10), np.ones((SIDE, SIDE), int))
    world.old[polygon == 0] = 0
    x = world.x[0].reshape(-1, world.truth.size).T
    return places_of(x, world.old.ravel().astype(np.uint8), polygon.ravel(), 4), world.truth.ravel()


@functools.cache
def judged(method: str) -> Judged:
    return METHODS[method](given(1)[0], 1)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "raw"])
def test_what_a_method_keeps_is_more_often_right_than_the_old_labels(method: str):
    places, truth = given(1)
    found = judged(method)
    kept = found.trust >= CUT
    assert (found.label == truth)[kept].mean() > (places.label == truth).mean() + 0.03
    assert kept.mean() > 0.1


@pytest.mark.parametrize("method", ["landtide", "vocabulary"])
def test_a_method_that_hears_all_polygons_finds_whole_wrong_polygons(method: str):
    _, truth = given(1)
    found = judged(method)
    assert (found.label == truth)[found.trust >= CUT].mean() > 0.95


@pytest.mark.parametrize("method", list(METHODS))
def test_a_place_without_a_label_is_never_trusted_with_none(method: str):
    found = judged(method)
    assert (found.trust[found.label == 0] == 0).all()
    assert np.isfinite(found.trust).all()


@pytest.mark.parametrize("method", list(METHODS))
def test_the_same_seed_gives_the_same_labels_and_trust(method: str):
    again = METHODS[method](given(1)[0], 1)
    assert (again.label == judged(method).label).all()
    assert again.trust.tobytes() == judged(method).trust.tobytes()


def test_raw_labels_are_taken_at_their_word():
    found = judged("raw")
    assert (found.label == given(1)[0].label).all()
    assert (found.trust == (found.label > 0)).all()


def test_the_ancestor_drops_a_quarter_of_three_clusters_and_all_of_the_smallest():
    centres = np.array([[0.0, 0], [50, 0], [0, 50], [50, 50]])
    sizes = [400, 300, 200, 100]
    rng = np.random.default_rng(0)
    x = np.concatenate([centre + rng.normal(0, 1, (size, 2)) for centre, size in zip(centres, sizes, strict=True)]).astype(np.float32)
    places = places_of(x, np.ones(1000, np.uint8), np.arange(1000), 2)
    kept = ancestor(places, 0).trust > 0
    assert kept[900:].sum() == 0
    assert [int(kept[start:stop].sum()) for start, stop in ((0, 400), (400, 700), (700, 900))] == pytest.approx([300, 225, 150], abs=1)


def test_a_self_organising_map_lays_near_things_on_near_neurons():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4000, 2)).astype(np.float32)
    neurons = train(x, 8, 0).reshape(8, 8, 2)
    along = np.linalg.norm(np.diff(neurons, axis=0), axis=2).mean()
    across = np.linalg.norm(neurons[:, None, :, None] - neurons[None, :, None, :], axis=-1).mean()
    assert along < across / 3
    error = np.linalg.norm(x[:, None] - neurons.reshape(1, 64, 2), axis=2).min(axis=1).mean()
    assert error < 0.25  # an 8 x 8 grid over the square leaves 0.1 on average, one point in the middle 0.77


def test_a_neuron_of_few_places_listens_to_its_neighbours():
    count = np.tile([[90.0, 10.0]], (9, 1))
    count[4] = [1, 1]
    prior, posterior = shares(count, 3)
    assert prior[4, 0] == 0.5
    assert posterior[4, 0] == pytest.approx(0.9, abs=0.01)
    assert posterior[0, 0] == pytest.approx(0.9, abs=0.02)


def test_probabilities_come_from_other_polygons():
    """A label that only one polygon bears is never learnt for that polygon."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (300, 3)).astype(np.float32)
    group = np.repeat(np.arange(10), 30)
    label = (group == 7).astype(np.int64)
    x[group == 7] += 9  # easy to tell, were it not for the groups
    assert out_of_fold(x, label, group, 0)[group == 7, 1].max() < 0.1


def test_series_are_cleaned_by_the_method_that_the_study_names(bench: Bench):
    world = polygon_world(6)
    found = bench.extract(world, method="paris")
    column, row = np.divmod(found.samples.xy - (500_000, 5_000_000), (10, -10))[0].astype(int).T
    assert (found.samples.y == world.old[row, column]).all()  # it never changes a label
    assert set(found.samples.trust.tolist()) == {1.0}
    assert found.refused["method"] == "paris"


def test_a_class_that_a_method_refuses_whole_is_named(bench: Bench):
    world = polygon_world(8, wrong=0.0, pure=True)
    world.old[world.old == 4] = 0
    world.old[:16, :16] = 4
    world.truth[:16, :16] = 1  # one polygon, of another class, is all that the map has of class 4
    world.x[:, :, :, :16, :16] = signature(world.truth[:16, :16], 3)
    with pytest.raises(InputError, match=r"class 'town' keeps 0 samples, at least 10"):
        bench.extract(world, method="cleanlab", few="stop", trust=0.7)
    went_on = bench.extract(world, method="cleanlab", few="drop", trust=0.7, seed=2)
    assert set(went_on.samples.y.tolist()) == {1, 2, 3}
    assert "only 0 series of it are trusted" in went_on.refused["classes"][3]["why_none"]


@pytest.mark.parametrize("method", ["som", "landtide"])
def test_a_crosswalk_that_leads_nowhere_is_named(bench: Bench, method: str):
    nowhere = Crosswalk("nowhere", {str(code): None for code in range(5)}, {})
    with pytest.raises(InputError, match=r"old map leads to 0 class \(none\) of legend 'four'"):
        bench.extract(polygon_world(9), method=method, crosswalk=nowhere)
