"""A torch module as a scorer: what every network shares."""

from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from landtide.core.errors import LandtideError
from landtide.models.card import Card
from landtide.models.series import pad, padded_blocks

FILES = ("weights.safetensors",)
BLOCK = 1024
"""Pixels a forward pass: its states stay in the cache; 8192 run at half the speed."""


class Builder(Protocol):
    """The ``build`` of a network's file."""

    def __call__(self, config: Any, *, channels: int, steps: int, classes: int, seen: list[int]) -> nn.Module: ...


@dataclass(frozen=True)
class Network:
    """A trained module with ``forward(x, mask, doy) -> logits``, and ``year`` where it carries a state."""

    module: nn.Module

    @torch.inference_mode()
    def probability(self, x: np.ndarray, doy: np.ndarray) -> np.ndarray:
        """Return (N, K) float32 softmax."""
        parts = []
        for rows, lacking in padded_blocks(len(x), BLOCK):
            values, mask = split_mask(pad(x[rows], lacking))
            logits = self.module(values, mask, torch.from_numpy(pad(doy[rows], lacking)))
            parts.append(torch.softmax(logits, dim=1)[: BLOCK - lacking].numpy())
        return np.concatenate(parts)

    @property
    def width(self) -> int:
        """Values of the state that is handed on from year to year."""
        return int(cast(Any, self.module).state_width)

    @torch.inference_mode()
    def advance(self, x: np.ndarray, doy: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, K) float32 softmax of one year and the state (N, S) at its end, from the state before it."""
        shares, states = [], []
        for rows, lacking in padded_blocks(len(x), BLOCK):
            values, mask = split_mask(pad(x[rows], lacking))
            before = torch.from_numpy(pad(state[rows], lacking))
            logits, after = cast(Any, self.module).year(values, mask, torch.from_numpy(pad(doy[rows], lacking)), before)
            shares.append(torch.softmax(logits, dim=1)[: BLOCK - lacking].numpy())
            states.append(after[: BLOCK - lacking].numpy())
        return np.concatenate(shares), np.concatenate(states)

    def files(self) -> dict[str, bytes]:
        return {FILES[0]: save_tensors({key: value.cpu().contiguous() for key, value in self.module.state_dict().items()})}


def split_mask(x: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return values (N, T, C) with 0 for missing, and which steps (N, T) have an observation in any band."""
    missing = np.isnan(x)
    return torch.from_numpy(np.where(missing, np.float32(0), x)), torch.from_numpy(~missing.all(axis=2))


def restore(build: Builder, config: Any, card: Card, files: dict[str, bytes]) -> Network:
    """Build the network of a card and fill it with stored weights.

    Raises LandtideError where the file is cut off or holds the weights of another network.
    """
    module = build(config, channels=len(card.bands), steps=card.steps, classes=len(card.legend), seen=list(card.classes_seen))
    try:
        module.load_state_dict(load_tensors(files[FILES[0]]))
    except SafetensorError as error:
        raise LandtideError(
            f"model file {FILES[0]} ({len(files[FILES[0]])} bytes) is cut off or damaged ({error}): train it again"
        ) from None
    except RuntimeError as error:
        first = " ".join(str(error).split())
        raise LandtideError(f"model file {FILES[0]} holds the weights of another network than model.json names: {first}") from None
    return Network(module.eval())
