"""Several models that share their probabilities evenly: what they confuse differs, so the mean is better than the best of them.

Source: Hansen & Salamon 1990, doi:10.1109/34.58871; for networks Lakshminarayanan et al. 2017, arXiv:1612.01474.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from landtide import models
from landtide.core.errors import InputError
from landtide.models.card import Card

__all__ = ["Config", "Ensemble", "files_of", "load"]


@dataclass(frozen=True)
class Config:
    """Settings of the ensemble. Its members have their defaults; settings of the training loop reach every network among them."""

    members: str = "tempcnn, lstm, ltae, transformer, forest"
    """Names of models; one that stands twice is trained twice, from another seed. By default one of each way to read a series:
    convolution, memory, attention, trees (docs/models.md)."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in models.NAMES or name == "ensemble"]
        if unknown or len(self.names) < 2:
            known = ", ".join(name for name in models.NAMES if name != "ensemble")
            raise InputError(f"model 'ensemble': members = {self.members!r} must name two models or more, separated by commas, of {known}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.members.split(",") if name.strip())


@dataclass(frozen=True)
class Ensemble:
    """Fitted members."""

    names: tuple[str, ...]
    scorers: tuple[models.Scorer, ...]

    def probability(self, x: np.ndarray, doy: np.ndarray) -> np.ndarray:
        """Return (N, K) float32 mean of the members' probabilities."""
        total = self.scorers[0].probability(x, doy).astype(np.float64)
        for scorer in self.scorers[1:]:
            total += scorer.probability(x, doy)
        return (total / len(self.scorers)).astype(np.float32)

    def files(self) -> dict[str, bytes]:
        members = enumerate(zip(self.names, self.scorers, strict=True))
        return {_prefixed(number, name, file): data for number, (name, scorer) in members for file, data in scorer.files().items()}


def files_of(card: Card) -> list[str]:
    """Return the names of the files beside model.json."""
    names = Config(**card.settings).names
    return [_prefixed(number, name, file) for number, name in enumerate(names) for file in models.module_of(name).FILES]


def load(card: Card, files: dict[str, bytes]) -> Ensemble:
    """Read an ensemble from its files."""
    names = Config(**card.settings).names
    scorers: list[Any] = []
    for number, name in enumerate(names):
        module = models.module_of(name)
        own = dataclasses.replace(card, name=name, settings=dataclasses.asdict(models.config(name, {})))
        scorers.append(module.load(own, {file: files[_prefixed(number, name, file)] for file in module.FILES}))
    return Ensemble(names, tuple(scorers))


def _prefixed(number: int, name: str, file: str) -> str:
    return f"{number}-{name}.{file}"
