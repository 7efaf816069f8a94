"""Several models that share their probabilities evenly: what they confuse differs, so the mean is better than the best of them.

Source: Hansen & Salamon 1990, doi:10.1109/34.58871; for networks Lakshminarayanan et al. 2017, arXiv:1612.01474.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from landtide import models
from landtide.core.errors import InputError
from landtide.models.card import Card

__all__ = ["Config", "Ensemble", "files_of", "load"]


@dataclass(frozen=True)
class Config:
    """Settings of the ensemble. Settings of the training loop that the study gives reach every network among the members."""

    members: str = "tempcnn, lstm, ltae, transformer, forest"
    """Names of models; one that stands twice is trained twice, from another seed. By default one of each way to read a series:
    convolution, memory, attention, trees (docs/models.md). A member's own settings follow its name: ``forest trees=500 leaf=1, lstm``."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in models.NAMES or name == "ensemble"]
        if unknown or len(self.names) < 2:
            known = ", ".join(name for name in models.NAMES if name != "ensemble")
            raise InputError(f"model 'ensemble': members = {self.members!r} must name two models or more, separated by commas, of {known}")

    @property
    def parts(self) -> list[tuple[str, dict[str, Any]]]:
        """Name and own settings of each member, of the model and of the training loop. Raises InputError where one is not ``key=value``."""
        parts = []
        for member in filter(None, map(str.split, self.members.split(","))):
            name, *given = member
            wrong = [word for word in given if not all(word.partition("="))]
            if wrong:
                raise InputError(f"model 'ensemble': members = {self.members!r}: {wrong[0]!r} must be a setting of {name}, key=value")
            if any(word.startswith("years=") for word in given):
                raise InputError(f"model 'ensemble': members = {self.members!r}: members classify each year for itself, without years")
            parts.append((name, {key: _value(text) for key, _, text in (word.partition("=") for word in given)}))
        return parts

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.parts)


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
    config = Config(**card.settings)
    scorers: list[Any] = []
    for number, (name, given) in enumerate(config.parts):
        module = models.module_of(name)
        fields = [field.name for field in dataclasses.fields(module.Config)]
        settings = models.config(name, {key: value for key, value in given.items() if key in fields})
        own = dataclasses.replace(card, name=name, settings=dataclasses.asdict(settings))
        scorers.append(module.load(own, {file: files[_prefixed(number, name, file)] for file in module.FILES}))
    return Ensemble(config.names, tuple(scorers))


def _value(text: str) -> Any:
    """Return what a setting says: a number, true, false, null, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _prefixed(number: int, name: str, file: str) -> str:
    return f"{number}-{name}.{file}"
