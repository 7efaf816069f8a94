"""The first extraction on polygon worlds whose truth is known, and on everything that can be wrong with an old map."""

import dataclasses

import numpy as np
import pytest

from landtide.core.errors import InputError
from landtide.extract import LabelledPoint
from landtide.extract.select import select_pixels
from landtide.extract.trust import calibration_error
from tests.extract.conftest import Bench, PolygonWorld, polygon_world


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_at_thirty_per_cent_wrong_polygons_retained_labels_are_97_per_cent_right_at_recall_40(bench: Bench, seed: int):
    world = polygon_world(seed)
    assert (world.old == world.truth).mean() < 0.62
    found = bench.extract(world, seed=seed, per_class=20_000)
    right = found.samples.y == found.truth
    assert right.mean() >= 0.97
    assert right.sum() >= 0.4 * world.truth.size
    assert set(found.samples.y.tolist()) == {1, 2, 3, 4}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_per_polygon_selection_alone_beats_the_raw_map(seed: int):
    world = polygon_world(seed, side=24)
    rows = np.arange(world.truth.size)
    x = world.x[0].reshape(-1, len(rows)).T
    polygon = np.kron(np.arange(100).reshape(10, 10), np.ones((24, 24), int)).ravel()
    old, truth = world.old.ravel().astype(np.uint8), world.truth.ravel()
    core = select_pixels(x, polygon, old, np.full(len(rows), 9.0), 0.0, 1).core
    assert (old == truth)[core].mean() > (old == truth).mean() + 0.2


def test_a_pure_polygon_is_not_split():
    world = polygon_world(4, pure=True, wrong=0.0, side=24)
    polygon = np.kron(np.arange(100).reshape(10, 10), np.ones((24, 24), int)).ravel()
    x = world.x[0].reshape(-1, world.truth.size).T
    verdicts = select_pixels(x, polygon, world.old.ravel().astype(np.uint8), np.full(world.truth.size, 9.0), 0.0, 1).verdicts
    assert {verdict.clusters for verdict in verdicts} == {1}


def test_trust_is_calibrated(bench: Bench):
    found = bench.extract(polygon_world(5), trust=0.0, per_class=20_000)
    assert calibration_error(found.samples.trust, found.samples.y == found.truth) < 0.1


def test_the_same_seed_gives_the_same_samples(bench: Bench, tmp_path):
    world = polygon_world(6)
    first, second = bench.extract(world, seed=3), Bench(tmp_path / "again").extract(world, seed=3)
    assert first.samples.x.tobytes() == second.samples.x.tobytes()
    assert (first.samples.draw == second.samples.draw).all()
    assert first.candidates.equals(second.candidates)


def test_samples_carry_the_series_of_their_place_and_year(bench: Bench):
    world = polygon_world(7, years=2)
    found = bench.extract(world)
    column = ((found.samples.xy[:, 0] - 500_000) // 10).astype(int)
    row = ((5_000_000 - found.samples.xy[:, 1]) // 10).astype(int)
    expected = world.x[found.samples.year - 2018, :, :, row, column]
    assert found.samples.x == pytest.approx(expected, abs=1e-4)
    assert set(found.samples.year.tolist()) == {2018, 2019}


def test_a_place_whose_land_changed_between_the_years_is_left_out_that_year(bench: Bench):
    world = polygon_world(8, years=3, wrong=0.0)
    x = world.x.copy()
    x[2, :, :, :16, :16] = 0.9
    found = bench.extract(dataclasses.replace(world, x=x), per_class=20_000)
    inside = (found.samples.xy[:, 0] < 500_160) & (found.samples.xy[:, 1] > 5_000_000 - 160)
    assert (found.samples.year[inside] == 2020).mean() < 0.1


def test_a_legend_class_that_the_old_map_lacks_is_reported_and_left_out(bench: Bench):
    world = polygon_world(9)
    world = dataclasses.replace(world, old=np.where(world.old == 3, 0, world.old))
    found = bench.extract(world)
    assert 3 not in found.samples.y
    forest = found.refused["classes"][2]
    assert forest["name"] == "forest"
    assert "holds none of it" in forest["why_none"]


def test_a_class_with_too_few_samples_is_dropped_and_named_or_stops_the_run(bench: Bench, tmp_path):
    world = with_a_crumb(10)
    found = bench.extract(world)
    assert 4 not in found.samples.y
    assert any(line.startswith("town: no samples") for line in found.refused["lines"])
    with pytest.raises(InputError, match=r"class 'town' keeps \d+ samples, at least 10 are needed"):
        Bench(tmp_path / "stop").extract(world, few="stop")


def with_a_crumb(seed: int) -> PolygonWorld:
    """Return a world of three classes and six pixels of the fourth, which is a class of its own on the ground as well."""
    world = polygon_world(seed, wrong=0.1)
    old, truth, x = np.where(world.old == 4, 2, world.old).astype(np.int32), np.where(world.truth == 4, 2, world.truth), world.x.copy()
    x[0] = np.where(world.truth == 4, polygon_world(seed).x[0][:, :, :1, :1] * 0 + 0.3, x[0])
    old[:2, :3], truth[:2, :3] = 4, 4
    return PolygonWorld(truth, old, x)


def test_a_map_of_one_class_is_an_input_error(bench: Bench):
    world = polygon_world(11)
    with pytest.raises(InputError, match="leads to 1 class"):
        bench.extract(dataclasses.replace(world, old=np.ones_like(world.old)))


def test_a_map_of_no_class_is_an_input_error(bench: Bench):
    world = polygon_world(11)
    with pytest.raises(InputError, match="leads to 0 class"):
        bench.extract(dataclasses.replace(world, old=np.zeros_like(world.old)))


def test_pixels_of_nan_alone_are_never_used(bench: Bench):
    world = polygon_world(12)
    x = world.x.copy()
    x[:, :, :, 40:80, 40:80] = np.nan
    found = bench.extract(dataclasses.replace(world, x=x))
    assert np.isfinite(found.samples.x).all()
    hidden = found.candidates.row.between(40, 79) & found.candidates.column.between(40, 79)
    assert not hidden.any()


def test_a_world_without_any_observation_is_an_input_error(bench: Bench):
    world = polygon_world(12)
    with pytest.raises(InputError, match="no valid observation"):
        bench.extract(dataclasses.replace(world, x=np.full_like(world.x, np.nan)))


def test_polygons_smaller_than_the_erosion_lower_the_floors_and_say_so(bench: Bench):
    world = polygon_world(13, side=4, count=25, wrong=0.1)
    found = bench.extract(world)
    assert (found.samples.y == found.truth).mean() > 0.9
    assert any("floors lowered" in line for line in found.refused["lines"])


def test_a_small_binary_map_of_one_band_gives_a_usable_result(bench: Bench):
    world = polygon_world(14, side=10, count=5, wrong=0.1, bands=1)
    old, truth = np.where(world.old <= 2, 1, 3).astype(np.int32), np.where(world.truth <= 2, 1, 3)
    found = bench.extract(PolygonWorld(truth, old, world.x))
    assert set(found.samples.y.tolist()) == {1, 3}
    assert (found.samples.y == found.truth).mean() > (old == truth).mean() + 0.05


def test_candidates_cover_excluded_places_as_well(bench: Bench):
    world = polygon_world(15)
    found = bench.extract(dataclasses.replace(world, old=np.where(world.old == 4, 0, world.old)), candidates=1000)
    assert len(found.candidates) == 1000
    assert (found.candidates.old_label == 0).sum() > 100
    assert {"tile", "row", "column", "old_label"} <= set(found.candidates)


def test_refused_polygons_are_listed_with_place_and_reason(bench: Bench):
    found = bench.extract(polygon_world(16, side=24))
    records = found.refused["refused_polygons"]
    assert records
    assert {record["reason"] for record in records} <= {"share", "consistency", "margin"}
    assert all(14.9 < record["bbox"][0] < record["bbox"][2] < 15.1 for record in records)
    assert [record["area_ha"] for record in records] == sorted((record["area_ha"] for record in records), reverse=True)


def test_points_alone_are_the_samples(bench: Bench):
    world = polygon_world(17, years=2)
    places = np.argwhere(world.truth > 0)[::97]
    points = [LabelledPoint("t", int(row), int(column), int(world.truth[row, column]), 2019) for row, column in places]
    found = bench.extract(world, points=points, old=False)
    assert found.samples.origin == "points"
    assert len(found.samples) == len(points)
    assert (found.samples.y == found.truth).all()
    assert (found.samples.year == 2019).all()
    assert len(found.candidates) == 2000


def test_points_join_the_old_map(bench: Bench):
    world = polygon_world(18)
    found = bench.extract(world, points=[LabelledPoint("t", 5, column, int(world.truth[5, column])) for column in range(60)])
    assert (found.samples.polygon >= 1 << 60).sum() == 60


def test_a_point_outside_the_legend_is_an_input_error(bench: Bench):
    with pytest.raises(InputError, match="has label 9"):
        bench.extract(polygon_world(19), points=[LabelledPoint("t", 0, 0, 9)])
