"""The synthetic world in memory: truth, change, scenes and the old map. Oracles are counts over the arrays themselves."""

import numpy as np
import pytest
from rasterio.windows import Window

from landtide.core.errors import InputError
from landtide.core.legend import builtin_crosswalk, builtin_legend
from landtide.simulate import SyntheticWorld, draw_old_map, world
from landtide.simulate.noise import field, field_at, uniform, voronoi
from landtide.simulate.old_map import NODATA
from landtide.simulate.scene import Sky


@pytest.fixture(scope="module")
def made() -> SyntheticWorld:
    return world(256, seed=7)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = world(64, seed=3), world(64, seed=3), world(64, seed=4)
    acquisition = first.acquisitions[5]
    assert first.truth(2019).tobytes() == again.truth(2019).tobytes() != other.truth(2019).tobytes()
    assert first.observe(acquisition).reflectance.tobytes() == again.observe(acquisition).reflectance.tobytes()
    assert draw_old_map(first).codes.tobytes() == draw_old_map(again).codes.tobytes()


@pytest.mark.parametrize("seed", [1, 2, 3, 7])
def test_every_class_exists_and_areas_are_unequal(seed: int) -> None:
    truth = world(256, seed=seed).truth(2018)
    share = np.bincount(truth.ravel(), minlength=11)[1:] / truth.size
    assert share.min() > 0.01
    assert share.max() > 4 * share.min()
    assert share.sum() == 1


@pytest.mark.parametrize("seed", [1, 3])
def test_true_change_is_one_to_two_per_cent_a_year(seed: int) -> None:
    made = world(384, seed=seed)
    changed = [np.mean(made.truth(year) != made.truth(year + 1)) for year in (2018, 2019)]
    assert 0.005 < np.mean(changed) < 0.025


@pytest.mark.parametrize(("size", "seed"), [(128, 1), (256, 2), (384, 3)])
def test_the_old_map_has_the_asked_accuracy(size: int, seed: int) -> None:
    made = world(size, seed=seed)
    old = draw_old_map(made, 0.63)
    labels = builtin_crosswalk("corine", builtin_legend("landtide10")).translate(old.on_world, NODATA)
    measured = np.mean(labels == made.truth(2018))
    assert measured == pytest.approx(0.63, abs=0.03)
    assert old.accuracy == pytest.approx(measured)


def test_the_old_map_is_coarse_holds_mixed_codes_and_polygons_of_a_wrong_class(made: SyntheticWorld) -> None:
    old = draw_old_map(made)
    crosswalk = builtin_crosswalk("corine", builtin_legend("landtide10"))
    labels = crosswalk.translate(old.on_world, NODATA)
    assert old.tile.crs == "EPSG:3035"
    assert old.tile.transform[0] == 100
    assert 0.03 < np.mean(labels == 0) < 0.35
    wrong = (labels > 0) & (labels != made.truth(made.base_year))
    assert wrong.mean() > 0.12  # wrong even in the year that the map shows


def test_patches_do_not_depend_on_the_windows_in_which_they_are_made() -> None:
    large = world(530, seed=5)  # more than one block
    small = large.truth(2018, Window(490, 490, 40, 40))
    assert np.array_equal(small, large.truth(2018)[490:530, 490:530])
    inside = large.surface(2018, 180.0, Window(490, 490, 40, 40))
    around = large.surface(2018, 180.0, Window(450, 450, 80, 80))
    np.testing.assert_allclose(inside, around[40:, 40:], atol=1e-6)


def test_reflectance_stays_in_the_physical_range_and_vegetation_is_dark_in_red(made: SyntheticWorld) -> None:
    for acquisition in made.acquisitions[:30:5]:
        value = made.observe(acquisition).reflectance
        assert value.min() > 0
        assert value.max() <= 1.6
    clean = made.clean_composites(2018)[6]  # (B, H, W) in July
    forest = np.isin(made.truth(2018), (6, 7))
    assert np.median(clean[2][forest]) < 0.05
    assert np.median(clean[6][forest]) > 0.12


def test_scl_agrees_with_the_true_clouds_mostly_but_not_always(made: SyntheticWorld) -> None:
    agree, missed, false = [], [], []
    for acquisition in [item for item in made.acquisitions if 0.1 < item.cloud < 0.8][:14]:
        look = made.observe(acquisition)
        cloud = look.air.opacity.reshape(128, 2, 128, 2).mean(axis=(1, 3)) > 0.2
        said = np.isin(look.scl, (8, 9, 10))
        seen = look.scl > 0
        agree.append(np.mean((cloud == said)[seen]))
        missed.append(np.mean((cloud & ~said)[seen]))
        false.append(np.mean((~cloud & said)[seen]))
    assert 0.85 < np.mean(agree) < 0.99
    assert np.mean(missed) > 0.002
    assert np.mean(false) > 0.002


def test_clouds_throw_a_shadow_beside_themselves(made: SyntheticWorld) -> None:
    acquisition = next(item for item in made.acquisitions if 0.15 < item.cloud < 0.5)
    sky = Sky(made.seed, made.size, acquisition)
    air = sky.over(Window(0, 0, 256, 256))
    down, right = round(0.75 * sky.top), round(0.66 * sky.top)  # the sun stands in the south-east: the cloud lies there of its shadow
    assert np.corrcoef(air.shadow[: 256 - down, : 256 - right].ravel(), air.thick[down:, right:].ravel())[0, 1] > 0.97
    assert np.corrcoef(air.shadow.ravel(), air.thick.ravel())[0, 1] < 0.97


def test_acquisitions_have_gaps_swaths_duplicates_and_hopeless_scenes(made: SyntheticWorld) -> None:
    days = np.array([item.moment.timestamp() for item in made.acquisitions]) / 86_400
    assert np.diff(days).min() > 4.9
    assert len(made.acquisitions) == 90
    assert 0.15 < np.mean([item.cut is not None for item in made.acquisitions]) < 0.55
    assert any(len(item.baselines) == 2 for item in made.acquisitions)
    assert sum(item.cloud > 0.8 for item in made.acquisitions) >= 3
    early = [item.baselines[-1] for item in made.acquisitions]
    assert "05.00" in early  # reprocessed: the date does not tell the offset
    assert any(baseline < "04.00" for baseline in early)
    partial = next(item for item in made.acquisitions if item.cut is not None)
    assert 0 < made.observe(partial).inside.mean() < 1


def test_composites_fill_all_gaps_and_count_what_was_seen(made: SyntheticWorld) -> None:
    window = Window(64, 64, 64, 64)
    value, count = made.composites(2018, window)
    assert value.shape == (12, 10, 64, 64)
    assert np.isfinite(value).all()
    assert count.max() <= 6
    assert (count == 0).any()
    clean = made.clean_composites(2018, window)
    assert np.corrcoef(value[6].ravel(), clean[6].ravel())[0, 1] > 0.8


def test_surfaces_agree_on_grids_and_at_places_and_are_uniform_in_distribution() -> None:
    y, x = np.arange(20.0), np.arange(-30.0, 5.0)
    surface = field(11, 6.0, y, x)
    places = field_at(11, 6.0, np.repeat(y, len(x)), np.tile(x, len(y)))
    np.testing.assert_allclose(surface.ravel(), places, atol=1e-5)
    assert field(1, 4.0, np.arange(400.0), np.arange(400.0)).std() == pytest.approx(1, abs=0.1)
    numbers = uniform(5, np.arange(100_000))
    assert numbers.mean() == pytest.approx(0.5, abs=0.005)
    assert np.histogram(numbers, 10, (0, 1))[0].min() > 9_700


def test_voronoi_centres_are_the_nearest_of_their_neighbourhood() -> None:
    y, x = np.mgrid[0:30, 0:30] + 0.5
    key, centre_y, centre_x = voronoi(2, 6.0, y, x)
    centres = np.unique(np.column_stack([centre_y.ravel(), centre_x.ravel()]), axis=0)
    assert len(np.unique(key)) == len(centres)
    distance = np.hypot(y[..., None] - centres[:, 0], x[..., None] - centres[:, 1])
    own = np.hypot(y - centre_y, x - centre_x)
    assert np.mean(own <= distance.min(axis=2) + 1e-4) > 0.995  # a seed two cells away is nearer once in a long while


@pytest.mark.parametrize("size", [63, 32, 101])
def test_a_size_that_is_too_small_or_odd_is_refused(size: int) -> None:
    with pytest.raises(InputError, match="even number from 64 on"):
        world(size)
