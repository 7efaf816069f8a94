"""Optimisers, and the course of their learning rate."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from landtide.train.spec import Optimisation

START = 25.0
"""The rate begins at the peak over this: torch's OneCycleLR does the same."""

WARM = 0.1
"""Share of all steps over which the rate climbs where it is not scaled."""

MOMENTUM = (0.95, 0.85)
"""First momentum of Adam at the ends and at the peak of the rate: it runs against the rate. Source: Smith 2018, arXiv:1803.09820."""


class Lars(torch.optim.Optimizer):
    """Momentum descent whose rate is scaled for each tensor by the size of its weights over that of its gradient.

    Biases and norms (tensors of one dimension) take the plain rate and no decay, as is customary.
    Source: You et al. 2017, arXiv:1708.03888.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                update, decay, rate = weight.grad, group["weight_decay"], group["lr"]
                if weight.ndim > 1:
                    size, slope = weight.norm(), update.norm()
                    local = group["trust"] * size / (slope + decay * size)
                    rate = rate * torch.where((size > 0) & (slope > 0), local, torch.ones_like(local))
                    update = update + decay * weight
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].mul_(group["momentum"]).add_(rate * update)
                weight.sub_(state["momentum"])


class Lamb(torch.optim.Optimizer):
    """Adam whose step is scaled for each tensor by the size of its weights over that of the step.

    Source: You et al. 2020, arXiv:1904.00962, algorithm 2, with its bias correction; phi clips the size of the weights to 0..10.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        most: float = 10.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "most": most})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "step" not in state:
                    state |= {"step": torch.tensor(0.0), "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
                state["step"] += 1
                count = state["step"].item()
                state["mean"].lerp_(weight.grad, 1 - first)
                state["square"].mul_(second).addcmul_(weight.grad, weight.grad, value=1 - second)
                root = (state["square"] / (1 - second**count)).sqrt_().add_(group["eps"])
                update = state["mean"] / (1 - first**count) / root
                decay = group["weight_decay"] if weight.ndim > 1 else 0.0
                update = update + decay * weight
                size, length = weight.norm().clamp(max=group["most"]), update.norm()
                ratio = torch.where((size > 0) & (length > 0), size / length, torch.ones_like(size))
                weight.sub_(group["lr"] * ratio * update)


def optimiser_of(network: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    """Return the optimiser that the settings name."""
    options: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    match settings.optimiser:
        case "lars":
            return Lars(network.parameters(), **options)
        case "lamb":
            return Lamb(network.parameters(), **options)
        case _:
            return torch.optim.AdamW(network.parameters(), **options)


class Course:
    """The learning rate of every step: a climb by half a cosine, then a fall to zero by another.

    factor  how many times more samples a step sees than one batch of one process
    """

    def __init__(self, settings: Optimisation, steps: int, factor: int) -> None:
        grown = {"none": 1.0, "linear": float(factor), "sqrt": math.sqrt(factor)}[settings.scaling]
        self.peak = settings.learning_rate * grown
        self.total = max(steps * settings.epochs, 2)
        # from the rate of one process where it is scaled, else from nearly nothing
        self.start = settings.learning_rate if grown > 1 else self.peak / START
        self.warm = min(max(WARM, settings.warm_up / settings.epochs if grown > 1 else 0.0), 0.5)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0 over all epochs."""
        done = step / (self.total - 1)
        if done < self.warm:
            return self.start + (self.peak - self.start) * _climb(done / self.warm)
        return self.peak * (1 - _climb((done - self.warm) / (1 - self.warm)))

    def apply(self, optimiser: torch.optim.Optimizer, step: int) -> None:
        """Set the rate of a step, and Adam's momentum against it."""
        done = step / (self.total - 1)
        near = _climb(done / self.warm) if done < self.warm else 1 - _climb((done - self.warm) / (1 - self.warm))
        for group in optimiser.param_groups:
            group["lr"] = self.rate(step)
            if "betas" in group:
                group["betas"] = (MOMENTUM[0] + (MOMENTUM[1] - MOMENTUM[0]) * near, group["betas"][1])


def _climb(done: float) -> float:
    return (1 - math.cos(math.pi * done)) / 2
