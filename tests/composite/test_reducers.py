"""Medoid and geometric median against brute force and a general optimiser."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from landtide.composite.reducers import REDUCERS

MISSING = -32768


def reduce(method: str, stack: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    composite = np.zeros(stack.shape[1:], np.int16)
    count = np.zeros(stack.shape[2], np.uint8)
    seen = REDUCERS[method](stack, composite, count, slice(0, stack.shape[2]))
    return composite, count, seen


def objective(points: np.ndarray, centre: np.ndarray) -> float:
    """Return the sum of distances from a centre (B,) to the points (n, B)."""
    return float(np.sqrt(((points - centre) ** 2).sum(axis=1)).sum())


def least(points: np.ndarray, start: np.ndarray) -> float:
    """Return the least sum of distances that a general optimiser finds."""
    return float(minimize(lambda centre: objective(points, centre), start, method="Powell").fun)


def complete(stack: np.ndarray, pixel: int) -> np.ndarray:
    """Return the observations of a pixel that have all bands, (n, B) float64."""
    series = stack[:, :, pixel]
    return series[(series != MISSING).all(axis=1)].astype(np.float64)


@st.composite
def stacks(draw: st.DrawFn) -> np.ndarray:
    """(N, B, P) int16: spread out, crowded, collinear or repeated observations, any share of them missing in some band."""
    shape = (draw(st.integers(1, 30)), draw(st.integers(1, 5)), draw(st.sampled_from([1, 5, 70])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["spread", "crowded", "collinear", "repeated"]))
    if kind == "spread":
        stack = rng.integers(-2000, 12000, shape)
    elif kind == "crowded":
        stack = 3000 + rng.integers(-3, 4, shape)
    elif kind == "collinear":
        stack = 1000 + rng.integers(0, 500, (shape[0], 1, shape[2])) * np.arange(1, shape[1] + 1)[:, None]
    else:
        stack = rng.integers(0, 3000, (3, *shape[1:]))[rng.integers(0, 3, shape[0])]
    stack = stack.astype(np.int16)
    stack[rng.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.4]))] = MISSING
    return stack


@settings(max_examples=100, deadline=None)
@given(stacks())
def test_medoid_is_the_observation_with_the_least_sum(stack):
    composite, count, seen = reduce("medoid", stack)
    for pixel in range(stack.shape[2]):
        points = complete(stack, pixel)
        assert count[pixel] == len(points)
        if len(points) == 0:
            assert (composite[:, pixel] == MISSING).all()
            continue
        sums = [sum(float(np.sqrt(((one - other) ** 2).sum())) for other in points) for one in points]
        np.testing.assert_array_equal(composite[:, pixel], points[int(np.argmin(sums))])
    np.testing.assert_array_equal(seen, (stack != MISSING).all(axis=1).sum(axis=1))


@settings(max_examples=60, deadline=None)
@given(stacks())
def test_geomedian_reaches_the_least_sum_of_distances(stack):
    composite, count, seen = reduce("geomedian", stack)
    bands = stack.shape[1]
    for pixel in range(min(stack.shape[2], 5)):
        points = complete(stack, pixel)
        assert count[pixel] == len(points)
        if len(points) == 0:
            assert (composite[:, pixel] == MISSING).all()
            continue
        best = min(
            least(points, np.median(points, axis=0)), least(points, points.mean(axis=0)), *(objective(points, one) for one in points)
        )
        rounding = len(points) * 0.5 * np.sqrt(bands)  # how far the rounding of the result to whole numbers may move the sum
        assert objective(points, composite[:, pixel]) <= best * (1 + 1e-6) + rounding
    np.testing.assert_array_equal(seen, (stack != MISSING).all(axis=1).sum(axis=1))


def test_geomedian_arrives_where_half_of_the_observations_are_the_same():
    points = np.array([[2971, 1800]] * 6 + [[459, 66]] * 5 + [[122, 84]])  # on the way to the first the sum falls by 1 in 300
    incomplete = np.array([[459, MISSING]] * 4 + [[MISSING, 66]] * 4)  # let the way begin at the second
    composite, _, _ = reduce("geomedian", np.concatenate([points, incomplete])[:, :, None].astype(np.int16))
    assert objective(points, composite[:, 0]) <= objective(points, points[0]) + 0.5 * len(points)


def test_geomedian_does_not_lose_more_than_rounding_on_real_sizes():
    rng = np.random.default_rng(3)
    stack = (rng.integers(300, 4000, (1, 10, 200)) + rng.normal(0, 120, (40, 10, 200))).astype(np.int16)
    stack += 4000 * (rng.random((40, 1, 200)) < 0.15).astype(np.int16)  # clouds that the mask has missed
    composite, _, _ = reduce("geomedian", stack)
    for pixel in range(0, 200, 10):
        points = complete(stack, pixel)
        best = minimize(lambda m: objective(points, m), np.median(points, axis=0), method="L-BFGS-B", tol=1e-14).fun  # noqa: B023
        assert objective(points, composite[:, pixel]) <= best * (1 + 1e-5)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ([[10, 20]], [10, 20]),
        ([[10, 20], [20, 40]], [15, 30]),
        ([[0, 0], [0, 0], [900, 900]], [0, 0]),  # an observation that outweighs the rest
        ([[0, 0], [1000, 0], [0, 1000], [1000, 1000], [500, 500]], [500, 500]),
    ],
    ids=["one", "two", "majority", "met observation"],
)
def test_geomedian_of_few_observations(series, expected):
    stack = np.array(series, np.int16)[:, :, None]
    np.testing.assert_array_equal(reduce("geomedian", stack)[0][:, 0], expected)


def test_geomedian_leaves_a_start_that_meets_an_observation_which_is_not_the_median():
    points = np.array([[0, 0], [100, 0], [200, 10], [300, 1000], [-50, 900]], np.int16)  # the band medians meet none, the rotated ones do
    stack = np.concatenate([points, [[100, 10]]]).astype(np.int16)[:, :, None]
    centre = reduce("geomedian", stack)[0][:, 0]
    values = complete(stack, 0)
    best = min(
        minimize(lambda m: objective(values, m), s, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8}).fun for s in values
    )
    assert objective(values, centre) <= best + 0.5 * len(values)


@pytest.mark.parametrize("method", ["medoid", "geomedian"])
def test_parts_give_what_the_whole_gives(method):
    rng = np.random.default_rng(5)
    stack = rng.integers(-100, 9000, (9, 3, 333)).astype(np.int16)
    stack[rng.random(stack.shape) < 0.2] = MISSING
    whole, count, seen = reduce(method, stack)
    parts, parts_count = np.zeros_like(whole), np.zeros_like(count)
    sums = sum(REDUCERS[method](stack, parts, parts_count, slice(a, b)) for a, b in [(0, 1), (1, 100), (100, 333)])
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(parts_count, count)
    np.testing.assert_array_equal(sums, seen)
