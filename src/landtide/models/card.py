"""The card of a model: everything that must travel with the weights for them to mean anything."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import landtide
from landtide.core.errors import LandtideError
from landtide.core.legend import Legend

FORMAT = 1
"""Version of model.json."""


@dataclass(frozen=True)
class Card:
    """What a model was made from and what its outputs mean."""

    name: str
    """Architecture: one of `landtide.models.NAMES`."""

    settings: dict[str, Any]
    """Fields of the architecture's config."""

    legend: Legend
    bands: tuple[str, ...]
    """Channels, in order."""

    steps: int
    """Time steps a year."""

    mean: tuple[float, ...]
    """Per band; inputs are standardised as (x - mean) / std."""

    std: tuple[float, ...]
    classes_seen: tuple[int, ...]
    """Labels (1..K) that had samples; all others keep probability 0."""

    prior: tuple[float, ...]
    """(K,) effective class shares in training, after weighting: an HMM divides by them."""

    training: dict[str, Any]
    """Summary: seed, samples a class, scores."""

    def to_json(self) -> bytes:
        """Return the bytes of model.json."""
        record = {
            "format": FORMAT,
            "landtide": landtide.__version__,
            **{key: value for key, value in asdict(self).items() if key != "legend"},
            "legend": self.legend.to_dict(),
        }
        return (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "Card":
        """Read model.json. Raises LandtideError where it is cut off, or of another format: its fields would mean something else."""
        try:
            record = json.loads(data)
        except ValueError as error:
            raise LandtideError(f"model {where}: model.json ({len(data)} bytes) is cut off or damaged ({error}): train it again") from None
        if record.get("format") != FORMAT:
            raise LandtideError(f"model {where} has format {record.get('format')!r}, this landtide reads {FORMAT}: train it again")
        return cls(
            name=record["name"],
            settings=record["settings"],
            legend=Legend.from_dict(record["legend"]),
            bands=tuple(record["bands"]),
            steps=record["steps"],
            mean=tuple(record["mean"]),
            std=tuple(record["std"]),
            classes_seen=tuple(record["classes_seen"]),
            prior=tuple(record["prior"]),
            training=record["training"],
        )


def standardise(x: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Return (..., C) float32 values with mean 0 and deviation 1 a band; NaN stays NaN."""
    repeat = x.shape[-2] if x.ndim > 1 else 1  # a long last axis takes a third of the time of one of a few bands
    flat = x.reshape(*x.shape[:-2], repeat * x.shape[-1])
    scaled = (flat - np.tile(np.asarray(mean, np.float32), repeat)) / np.tile(np.asarray(std, np.float32), repeat)
    result: np.ndarray = scaled.reshape(x.shape)
    return result
