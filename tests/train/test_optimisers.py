"""Steps and rates against their formulas, written out in NumPy, and against torch's own schedule."""

import numpy as np
import pytest
import torch
from torch import nn

from landtide.train.optimisers import Course, Lamb, Lars
from landtide.train.spec import Optimisation

WEIGHT = np.array([[1.0, -2.0], [0.5, 3.0]])
GRADIENTS = [np.array([[0.1, 0.2], [-0.3, 0.05]]), np.array([[-0.2, 0.1], [0.4, 0.3]]), np.array([[0.0, 0.6], [0.1, -0.1]])]


def steps(optimiser_of: type[torch.optim.Optimizer], **options: float) -> np.ndarray:
    weight = nn.Parameter(torch.tensor(WEIGHT))
    optimiser = optimiser_of([weight], **options)  # type: ignore[call-arg]
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient)
        optimiser.step()
    return weight.detach().numpy()


def test_lars_agrees_with_its_formula() -> None:
    w, v = WEIGHT.copy(), np.zeros_like(WEIGHT)
    for g in GRADIENTS:
        local = 0.001 * np.linalg.norm(w) / (np.linalg.norm(g) + 0.01 * np.linalg.norm(w))
        v = 0.9 * v + 2.0 * local * (g + 0.01 * w)
        w = w - v
    np.testing.assert_allclose(steps(Lars, lr=2.0, weight_decay=0.01), w, rtol=1e-6)


def test_lamb_agrees_with_its_formula() -> None:
    w, m, v = WEIGHT.copy(), np.zeros_like(WEIGHT), np.zeros_like(WEIGHT)
    for t, g in enumerate(GRADIENTS, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        r = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6) + 0.01 * w
        w = w - 0.02 * min(np.linalg.norm(w), 10) / np.linalg.norm(r) * r
    np.testing.assert_allclose(steps(Lamb, lr=0.02, weight_decay=0.01), w, rtol=1e-6)


@pytest.mark.parametrize("kind", [Lars, Lamb])
def test_a_tensor_of_zeros_still_moves(kind: type[torch.optim.Optimizer]) -> None:
    weight = nn.Parameter(torch.zeros(3, 3))
    optimiser = kind([weight], lr=0.1)  # type: ignore[call-arg]
    weight.grad = torch.ones(3, 3)
    optimiser.step()
    assert bool((weight < 0).all())


def test_the_rate_runs_as_torch_s_own_one_cycle_does() -> None:
    settings = Optimisation(epochs=10, learning_rate=0.01)
    course = Course(settings, steps=20, factor=1)
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([parameter], lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, 200, pct_start=0.1)
    for step in range(200):
        near = [course.rate(max(step - 1, 0)), course.rate(step), course.rate(min(step + 1, 199))]
        assert min(near) - 1e-6 <= optimiser.param_groups[0]["lr"] <= max(near) + 1e-4  # torch ends its climb a step earlier
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize(("scaling", "peak"), [("none", 0.01), ("linear", 0.08), ("sqrt", 0.01 * 8**0.5)])
def test_the_peak_grows_with_the_batch_and_is_climbed_to_from_the_rate_of_one(scaling: str, peak: float) -> None:
    course = Course(Optimisation(epochs=20, learning_rate=0.01, scaling=scaling), steps=10, factor=8)  # type: ignore[arg-type]
    rates = [course.rate(step) for step in range(200)]
    assert max(rates) == pytest.approx(peak, rel=0.01)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    if scaling != "none":
        assert rates[0] == pytest.approx(0.01)
        assert np.argmax(rates) == pytest.approx(5 * 10, abs=1)  # five epochs of warm-up
