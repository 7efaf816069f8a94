"""The kernels against plain numpy, on stacks that hypothesis makes up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landtide.composite.gaps import fill_linear
from landtide.composite.mask import dilate, disk
from landtide.composite.median import median, middle, middle_network, sorting_network
from landtide.composite.radiometry import held, to_digital

MISSING = -32768


def as_float(digital: np.ndarray) -> np.ndarray:
    return np.where(digital == MISSING, np.nan, digital.astype(np.float64))


def reduce(stack: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    composite = np.zeros(stack.shape[1:], np.int16)
    count = np.zeros(stack.shape[2], np.uint8)
    seen = median(stack, composite, count, slice(0, stack.shape[2]))
    return composite, count, seen


@st.composite
def stacks(draw: st.DrawFn) -> np.ndarray:
    """(N, B, P) int16 with any share of missing, extreme values among them."""
    shape = (draw(st.integers(1, 65)), draw(st.integers(1, 3)), draw(st.integers(1, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    low, high = draw(st.sampled_from([(-32767, 32768), (-50, 50), (0, 10000)]))
    stack = rng.integers(low, high, shape).astype(np.int16)
    stack[rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))] = MISSING
    return stack


@settings(max_examples=150, deadline=None)
@given(stacks())
@pytest.mark.filterwarnings("ignore:All-NaN slice")
def test_median_and_count_agree_with_numpy(stack):
    composite, count, seen = reduce(stack)
    expected = np.rint(np.nanmedian(as_float(stack), axis=0))
    np.testing.assert_array_equal(as_float(composite), expected)
    full = (stack != MISSING).all(axis=1)  # (N, P)
    np.testing.assert_array_equal(count, full.sum(axis=0))
    np.testing.assert_array_equal(seen, full.sum(axis=1))


def test_median_of_a_large_stack_crosses_blocks_and_parts():
    rng = np.random.default_rng(1)
    stack = rng.integers(-100, 10000, (7, 2, 2500)).astype(np.int16)
    whole, count, seen = reduce(stack)
    parts, parts_count = np.zeros_like(whole), np.zeros_like(count)
    seen_in_parts = sum(median(stack, parts, parts_count, slice(a, b)) for a, b in [(0, 1), (1, 1030), (1030, 2500)])
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(parts_count, count)
    np.testing.assert_array_equal(seen_in_parts, seen)


def test_more_than_255_observations_count_as_255():
    composite, count, _ = reduce(np.full((300, 1, 1), 5, np.int16))
    assert (composite[0, 0], count[0]) == (5, 255)


@pytest.mark.parametrize("size", range(1, 21))
def test_networks_sort_what_they_are_for_in_every_pattern_of_zeros_and_ones(size):
    patterns = np.arange(2 ** min(size, 14))
    given = (patterns[:, None] >> np.arange(size) & 1).astype(np.int16)  # by the 0-1 principle these suffice
    expected = np.sort(given, axis=1)
    for network, places in ((sorting_network(size), list(range(size // 2 + 1))), (middle_network(size), list(middle(size)))):
        values = given.copy()
        for low, high in network:
            values[:, [low, high]] = np.sort(values[:, [low, high]], axis=1)
        np.testing.assert_array_equal(values[:, places], expected[:, places])


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 24), st.integers(0, 2**32), st.sampled_from([0.2, 0.7, 1.0]))
def test_gaps_are_filled_as_numpy_interpolates(steps, seed, missing):
    rng = np.random.default_rng(seed)
    composite = rng.integers(-3000, 16000, (steps, 2, 9)).astype(np.int16)
    composite[rng.random(composite.shape) < missing] = MISSING
    days = np.cumsum(rng.integers(1, 60, steps)).astype(np.int64)
    before = composite.copy()
    fill_linear(composite, days, slice(0, 9))
    for band in range(2):
        for pixel in range(9):
            valid = before[:, band, pixel] != MISSING
            series = composite[:, band, pixel]
            if not valid.any():
                assert (series == MISSING).all()
                continue
            np.testing.assert_allclose(series, np.interp(days, days[valid], before[valid, band, pixel]), atol=0.5001)
            np.testing.assert_array_equal(series[valid], before[valid, band, pixel])


def test_a_mark_grows_to_a_disk_in_metres():
    marked = np.zeros((9, 9), bool)
    marked[4, 4] = True
    drawn = """
        .........
        ....#....
        ..#####..
        ..#####..
        .#######.
        ..#####..
        ..#####..
        ....#....
        .........
    """
    expected = np.array([[cell == "#" for cell in line.strip()] for line in drawn.strip().splitlines()])
    np.testing.assert_array_equal(dilate(marked, disk(60, height=20, width=20)), expected)


def test_a_disk_on_oblong_pixels_is_round_in_metres():
    assert disk(20, height=20, width=10).tolist() == [0, 2, 0]
    assert disk(60, height=9.99745, width=9.99479).tolist()[6] == 6
    assert disk(9, height=10, width=10).tolist() == [0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 75), st.sampled_from([10.0, 20.0]), st.sampled_from([10.0, 20.0]))
def test_dilation_agrees_with_the_distance_to_the_nearest_mark(seed, radius, height, width):
    rng = np.random.default_rng(seed)
    marked = rng.random((13, 17)) < 0.02
    rows, columns = np.nonzero(marked)
    y, x = np.mgrid[:13, :17]
    distance = np.hypot((y[..., None] - rows) * height, (x[..., None] - columns) * width)
    expected = (distance <= radius * (1 + 1e-9)).any(axis=-1)
    np.testing.assert_array_equal(dilate(marked, disk(radius, height=height, width=width)), expected)


def digital(raw: list[float], dtype: str, dropped: list[bool] | None = None, **options: object) -> list[int]:
    array = np.array([raw], dtype)
    out = np.zeros(array.shape, np.int16)
    arguments = {"scale": 1e-4, "offset": 0.0, "nodata": 0, "clip": 1.6, **options}
    to_digital(array, np.array([dropped or [False] * len(raw)]), out, **arguments)  # type: ignore[arg-type]
    return out[0].tolist()


def test_offset_comes_after_no_data_and_small_negatives_stay():
    assert digital([0, 1, 900, 1000, 1250, 11000], "uint16", offset=-0.1) == [MISSING, -999, -100, 0, 250, 10000]


def test_reflectance_is_clipped_above_1_6_and_an_index_is_not():
    assert digital([15999, 16001, 65535], "uint16") == [15999, 16000, 16000]
    assert digital([-10000, 0, 20000], "int16", nodata=-32768, clip=None) == [-10000, 0, 20000]


def test_masked_pixels_are_missing():
    assert digital([500, 600], "uint16", [True, False]) == [MISSING, 600]


def test_any_type_and_scale_gives_the_same_numbers():
    assert digital([0.05, np.nan, 1.7], "float32", scale=1.0, nodata=np.nan) == [500, MISSING, 16000]
    assert digital([0, 50, 200], "uint8", scale=0.005, nodata=255, clip=None) == [0, 2500, 10000]
    assert digital([5000, -9999], "int32", nodata=-9999) == [5000, MISSING]


def test_a_no_data_value_that_the_type_cannot_hold_never_occurs():
    assert held(-9999, "uint16") is None
    assert held(65535, "uint16") == 65535
    assert held(0.5, "uint8") is None
    assert held(-9999, "float32") == -9999
