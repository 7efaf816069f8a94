"""The state of a training after each epoch, from which it goes on after a lost process: one file, replaced whole, and no pickle."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from landtide.core.errors import InputError
from landtide.io import storage
from landtide.train.spec import TrainSpec

NAME = "checkpoint.safetensors"
PARTS = ("weights", "best", "optimiser")


@dataclass(frozen=True)
class Epoch:
    """One line of the training curve."""

    epoch: int
    loss: float
    """Training loss."""

    validation: float | None
    """Loss on polygons set apart; None where none could be spared."""

    accuracy: float | None
    """Share of validation samples whose given label is met: of the labels, not of the truth."""

    recall: float | None
    """The same share a class, averaged over the classes: rare ones count alike."""


@dataclass(frozen=True)
class State:
    """Everything that the next epoch depends on; random numbers depend on seed and epoch alone."""

    curve: list[Epoch]
    best_loss: float | None
    since: int
    """Epochs since validation was best."""

    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    optimiser: dict[str, Any]
    """By ``<weight>|<name>``."""


@dataclass(frozen=True)
class Checkpoint:
    """Where the state lies, and of what training it must be."""

    uri: str
    identity: dict[str, Any]

    @classmethod
    def of(cls, spec: TrainSpec) -> "Checkpoint":
        """Return the checkpoint of a spec.

        The number of processes and what they divide are no part of its identity: they may change after a loss.
        """
        identity = {
            "model": spec.model,
            "legend": list(spec.legend.names),
            "bands": list(spec.bands),
            "steps": spec.steps,
            "settings": {key: value for key, value in spec.settings.items() if key != "parallel"},
            "samples": list(spec.samples),
            "trust": spec.trust,
            "seed": spec.seed,
        }
        return cls(spec.checkpoint or storage.join(spec.output, NAME), identity)

    def save(self, state: State) -> None:
        """Replace the stored state."""
        tensors, values = {}, {}
        for part in PARTS:
            for name, value in getattr(state, part).items():
                if isinstance(value, Tensor):
                    tensors[f"{part}/{name}"] = value.detach().cpu().clone().contiguous()  # safetensors refuses shared memory
                else:
                    values[f"{part}/{name}"] = value
        record = {
            "identity": self.identity,
            "curve": [asdict(epoch) for epoch in state.curve],
            "best_loss": state.best_loss,
            "since": state.since,
            "values": values,
        }
        storage.write_bytes(self.uri, save_tensors(tensors, {"landtide": json.dumps(record, allow_nan=False)}))

    def load(self) -> State | None:
        """Return the stored state, None where there is none.

        Raises InputError where the file is damaged, or was left by a training of another model, legend, bands or samples.
        """
        try:
            data = storage.read_bytes(self.uri)
        except FileNotFoundError:
            return None
        try:
            record = _record(data)
            tensors = load_tensors(data)
        except (SafetensorError, KeyError, ValueError) as error:
            raise InputError(
                f"checkpoint {self.uri} is truncated or damaged ({error}): remove it, and the training starts from the beginning"
            ) from error
        self._check(record["identity"])
        parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
        for name, value in (*tensors.items(), *record["values"].items()):
            part, _, rest = name.partition("/")
            parts[part][rest] = value
        return State([Epoch(**epoch) for epoch in record["curve"]], record["best_loss"], record["since"], **parts)

    def remove(self) -> None:
        """Forget the state: the training is done."""
        storage.delete(self.uri)

    def _check(self, found: dict[str, Any]) -> None:
        own = json.loads(json.dumps(self.identity))
        other = [key for key in own if found.get(key) != own[key]]
        if other:
            there = "; ".join(f"{key} {_short(found.get(key))} there, {_short(own[key])} here" for key in other)
            raise InputError(f"checkpoint {self.uri} is of another training: {there}. Remove it, or train into another folder")


def _record(data: bytes) -> dict[str, Any]:
    """Return the JSON in the header. Raises KeyError or ValueError where it has none."""
    length = int.from_bytes(data[:8], "little")  # a safetensors file: length of the header, header (JSON), tensors
    found: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["landtide"])
    return found


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
