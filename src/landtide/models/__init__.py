"""Sequence models: pixel series in, class probabilities a year out. One file an architecture."""

import dataclasses
import difflib
import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol, get_args, get_origin

import numpy as np

from landtide.core.errors import InputError, LandtideError
from landtide.core.legend import Legend
from landtide.io import storage
from landtide.models.card import Card, standardise

NETWORKS = ("lstm", "tempcnn", "ltae", "transformer")
"""Those that the training loop trains."""

NAMES = ("svm", "forest", *NETWORKS)

CARD = "model.json"


class SequenceModel(Protocol):
    """What classify asks of a model."""

    @property
    def name(self) -> str: ...
    @property
    def legend(self) -> Legend: ...
    @property
    def bands(self) -> tuple[str, ...]: ...
    @property
    def steps(self) -> int: ...
    @property
    def classes_seen(self) -> list[int]: ...
    @property
    def prior(self) -> np.ndarray: ...
    @property
    def id(self) -> str: ...
    def predict_proba(self, x: np.ndarray, doy: np.ndarray, year: np.ndarray) -> np.ndarray:
        """Return (N, Y, K) float32 class probabilities a year, summing to 1.

        x     (N, Y*T, C) float32 reflectance or index, NaN = missing
        doy   (N, Y*T) int16 day of year
        year  (N, Y*T) int16
        """


class Scorer(Protocol):
    """The part of a model that differs between architectures."""

    def probability(self, x: np.ndarray, doy: np.ndarray) -> np.ndarray:
        """Return (N, K) float32 from standardised series (N, T, C), NaN = missing, and days of year (N, T)."""

    def files(self) -> dict[str, bytes]:
        """Return what must be stored beside model.json."""


@dataclass(frozen=True)
class TrainedModel:
    """A `SequenceModel`: a card and the scorer that it describes."""

    card: Card
    scorer: Scorer
    id: str
    """16 hex digits over card and weights."""

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def legend(self) -> Legend:
        return self.card.legend

    @property
    def bands(self) -> tuple[str, ...]:
        return self.card.bands

    @property
    def steps(self) -> int:
        return self.card.steps

    @property
    def classes_seen(self) -> list[int]:
        return list(self.card.classes_seen)

    @property
    def prior(self) -> np.ndarray:
        """(K,) effective class shares in training."""
        return np.asarray(self.card.prior, np.float64)

    def predict_proba(self, x: np.ndarray, doy: np.ndarray, year: np.ndarray) -> np.ndarray:
        """Return (N, Y, K) float32 class probabilities a year; a year without any observation gets equal shares of the classes seen.

        x     (N, Y*T, C) float32 reflectance or index, NaN = missing
        doy   (N, Y*T) int16 day of year
        year  (N, Y*T) int16; each run of T steps must be of one year

        Raises LandtideError where the shapes are not those that the model was trained for.
        """
        count, length, channels = x.shape
        self._check(length, channels, year)
        years = length // self.steps
        series = standardise(x.reshape(count * years, self.steps, channels), self.card.mean, self.card.std)  # (N, Y*T, C) -> (N*Y, T, C)
        seen = ~np.isnan(series).all(axis=(1, 2))
        result = np.zeros((count * years, len(self.legend)), np.float32)
        result[:, np.asarray(self.card.classes_seen) - 1] = 1 / len(self.card.classes_seen)
        if seen.any():
            result[seen] = self.scorer.probability(series[seen], doy.reshape(count * years, self.steps)[seen])
        return result.reshape(count, years, -1)  # (N*Y, K) -> (N, Y, K)

    def _check(self, length: int, channels: int, year: np.ndarray) -> None:
        if channels != len(self.bands) or length % self.steps or not length:
            raise LandtideError(
                f"model {self.name} {self.id} takes whole years of {self.steps} steps and bands {', '.join(self.bands)}; "
                f"it was given {length} steps of {channels} bands"
            )
        parts = year.reshape(-1, self.steps)
        if (parts != parts[:, :1]).any():
            raise LandtideError(f"model {self.name} takes series whose years have {self.steps} steps each; a given year is cut elsewhere")


def config(name: str, settings: dict[str, Any]) -> Any:
    """Return the config of an architecture, with the given settings over its defaults.

    Raises InputError for an unknown architecture or setting, naming the nearest, and for a value of the wrong type.
    """
    kind = _module(name).Config
    known = {field.name: field for field in dataclasses.fields(kind)}
    for key, value in settings.items():
        if key not in known:
            raise InputError(unknown_setting(name, key, list(known)))
        check_type(name, key, value, known[key].type)
    return kind(**settings)


def optimisation(name: str) -> dict[str, Any]:
    """Return where a network's optimisation differs from the training loop's defaults."""
    return dict(_module(name).OPTIMISATION) if name in NETWORKS else {}


def unknown_setting(name: str, key: str, known: list[str]) -> str:
    """Return the line that names the nearest setting of a model."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"model {name!r} has no setting {key!r}; nearest: {near[0] if near else 'none'!r} (it has {', '.join(sorted(known))})"


def check_type(name: str, key: str, value: Any, kind: Any) -> None:
    """Raise InputError where a setting's value is not of the field's type; a whole number may stand for a fraction."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InputError(f"model {name!r}: setting {key} = {value!r} must be {' or '.join(get_args(kind))}")
        return
    kinds = get_args(kind) or (kind,)
    allowed = (*kinds, int) if float in kinds else kinds
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join({float: "a number", int: "a whole number", bool: "true or false", type(None): "null"}[one] for one in kinds)
        raise InputError(f"model {name!r}: setting {key} = {value!r} must be {wanted}")


def build(name: str, *, channels: int, steps: int, classes: int, seen: list[int], **settings: Any) -> Any:
    """Return an untrained model: a torch module for the networks, a scikit-learn estimator for the others.

    seen  labels (1..K) that have samples: a network gives the others probability 0
    """
    return _module(name).build(config(name, settings), channels=channels, steps=steps, classes=classes, seen=seen)


def assemble(card: Card, scorer: Scorer) -> TrainedModel:
    """Join a card and a scorer into a model with its id."""
    return TrainedModel(card, scorer, _identity(card.to_json(), scorer.files()))


def save(model: TrainedModel, folder: str | Path) -> dict[str, str]:
    """Write the weights, then model.json, into a folder (path or URI); return the SHA-256 of each file."""
    contents = {**model.scorer.files(), CARD: model.card.to_json()}
    for name, data in contents.items():
        storage.write_bytes(storage.join(str(folder), name), data)
    return {name: storage.digest(data) for name, data in contents.items()}


def load(folder_uri: str) -> TrainedModel:
    """Read a model from its folder.

    Raises FileNotFoundError where there is none, LandtideError where its format is unknown, or a file cut off or damaged.
    """
    data = storage.read_bytes(storage.join(folder_uri, CARD))
    card = Card.from_json(data, folder_uri)
    module = _module(card.name)
    files = {name: storage.read_bytes(storage.join(folder_uri, name)) for name in module.FILES}
    return TrainedModel(card, module.load(card, files), _identity(data, files))


def _module(name: str) -> ModuleType:
    """Import an architecture only when it is used: an SVM needs no torch."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.0)
        raise InputError(f"model {name!r} is unknown; nearest: {near[0]!r} (known: {', '.join(NAMES)})")
    return importlib.import_module(f"landtide.models.{name}")


def _identity(card: bytes, files: dict[str, bytes]) -> str:
    digest = hashlib.sha256(card)
    for name in sorted(files):
        digest.update(name.encode() + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()[:16]
