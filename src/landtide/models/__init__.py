"""Sequence models: pixel series in, class probabilities a year out. One file an architecture."""

import dataclasses
import difflib
import hashlib
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

from landtide.core.errors import InputError
from landtide.io import storage
from landtide.models.card import Card
from landtide.models.trained import Across, Scorer, SequenceModel, TrainedModel

__all__ = [
    "CARD",
    "LAYERED",
    "NAMES",
    "NETWORKS",
    "Across",
    "Scorer",
    "SequenceModel",
    "TrainedModel",
    "assemble",
    "build",
    "check_type",
    "config",
    "load",
    "module_of",
    "on_runtime",
    "optimisation",
    "save",
    "unknown_setting",
]

NETWORKS = ("lstm", "tempcnn", "ltae", "transformer", "convlstm")
"""Those that the training loop trains."""

LAYERED = ("transformer",)
"""Networks of many equal layers, which processes can divide."""

NAMES = ("svm", "forest", *NETWORKS, "ensemble")

CARD = "model.json"


def config(name: str, settings: dict[str, Any]) -> Any:
    """Return the config of an architecture, with the given settings over its defaults.

    Raises InputError for an unknown architecture or setting, naming the nearest, and for a value of the wrong type.
    """
    kind = module_of(name).Config
    known = {field.name: field for field in dataclasses.fields(kind)}
    for key, value in settings.items():
        if key not in known:
            raise InputError(unknown_setting(name, key, list(known)))
        check_type(name, key, value, known[key].type)
    return kind(**settings)


def optimisation(name: str) -> dict[str, Any]:
    """Return where a network's optimisation differs from the training loop's defaults."""
    return dict(module_of(name).OPTIMISATION) if name in NETWORKS else {}


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
        wanted = " or ".join(
            {float: "a number", int: "a whole number", str: "text", bool: "true or false", type(None): "null"}[one] for one in kinds
        )
        raise InputError(f"model {name!r}: setting {key} = {value!r} must be {wanted}")


def build(name: str, *, channels: int, steps: int, classes: int, seen: list[int], **settings: Any) -> Any:
    """Return an untrained model: a torch module for the networks, a scikit-learn estimator for the others.

    seen  labels (1..K) that have samples: a network gives the others probability 0
    """
    return module_of(name).build(config(name, settings), channels=channels, steps=steps, classes=classes, seen=seen)


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
    module = module_of(card.name)
    names = module.files_of(card) if card.name == "ensemble" else module.FILES
    files = {name: storage.read_bytes(storage.join(folder_uri, name)) for name in names}
    return TrainedModel(card, module.load(card, files), _identity(data, files))


def on_runtime(model: TrainedModel, runtime: str, threads: int) -> TrainedModel:
    """Return the same model whose network, if it is one, is run by ``torch``, ``openvino`` or (``auto``) OpenVINO where it is installed.

    Raises InputError where OpenVINO is asked for and missing.
    """
    if model.name in NETWORKS:
        return dataclasses.replace(model, scorer=_on_runtime(model.scorer, runtime, threads))
    if model.name == "ensemble":
        from landtide.models.ensemble import Ensemble

        assert isinstance(model.scorer, Ensemble)
        members = zip(model.scorer.names, model.scorer.scorers, strict=True)
        scorers = tuple(_on_runtime(scorer, runtime, threads) if name in NETWORKS else scorer for name, scorer in members)
        return dataclasses.replace(model, scorer=Ensemble(model.scorer.names, scorers))
    return model


def _on_runtime(scorer: Scorer, runtime: str, threads: int) -> Scorer:
    from landtide.models.network import Network
    from landtide.models.runtime import chosen

    assert isinstance(scorer, Network)
    return dataclasses.replace(scorer, runtime=chosen(runtime), threads=threads)


def module_of(name: str) -> ModuleType:
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
