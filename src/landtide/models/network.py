"""A torch module as a scorer: what every network shares."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from landtide.core.errors import LandtideError
from landtide.models.card import Card
from landtide.models.runtime import Forward, Shares, Year, compiled, eager
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
    runtime: Literal["torch", "openvino"] = "torch"
    threads: int = 1
    """That the compiled network may use; PyTorch's are set by the process."""

    def probability(self, x: np.ndarray, doy: np.ndarray) -> np.ndarray:
        """Return (N, K) float32 softmax."""
        parts = []
        for rows, lacking in padded_blocks(len(x), BLOCK):
            share = self._shares([*_inputs(pad(x[rows], lacking), pad(doy[rows], lacking))])[0]
            parts.append(share[: BLOCK - lacking])
        return np.concatenate(parts)

    @property
    def width(self) -> int:
        """Values of the state that is handed on from year to year."""
        return int(cast(Any, self.module).state_width)

    def advance(self, x: np.ndarray, doy: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, K) float32 softmax of one year and the state (N, S) at its end, from the state before it."""
        shares, states = [], []
        for rows, lacking in padded_blocks(len(x), BLOCK):
            share, after = self._year([*_inputs(pad(x[rows], lacking), pad(doy[rows], lacking)), pad(state[rows], lacking)])
            shares.append(share[: BLOCK - lacking])
            states.append(after[: BLOCK - lacking])
        return np.concatenate(shares), np.concatenate(states)

    @cached_property
    def _shares(self) -> Forward:
        return self._forward(Shares(self.module))

    @cached_property
    def _year(self) -> Forward:
        return self._forward(Year(self.module))

    def _forward(self, module: nn.Module) -> Forward:
        if self.runtime == "torch":
            return eager(module.eval())
        return compiled(module.eval(), self.threads, exact=getattr(self.module, "needs_float32", False))

    def files(self) -> dict[str, bytes]:
        return {FILES[0]: save_tensors({key: value.cpu().contiguous() for key, value in self.module.state_dict().items()})}


def _inputs(x: np.ndarray, doy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what a network takes: values with 0 for missing, which steps were observed, days of year."""
    values, mask = split_mask(x)
    return values.numpy(), mask.numpy(), doy.astype(np.float32)


def split_mask(x: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return values (N, T, ..., C) with 0 for missing, and where (N, T, ...) there is an observation in any band."""
    missing = np.isnan(x)
    blind = missing[..., 0].copy()
    for band in range(1, x.shape[-1]):  # in half the time of all(axis=-1), whose rows are a few bytes long
        blind &= missing[..., band]
    values = x.astype(np.float32)
    np.copyto(values, np.float32(0), where=missing)  # half the time of np.where
    return torch.from_numpy(values), torch.from_numpy(~blind)


def restore(build: Builder, config: Any, card: Card, files: dict[str, bytes]) -> Network:
    """Return the network of a card with its stored weights; see `restored`."""
    return Network(restored(build, config, card, files))


def restored(build: Builder, config: Any, card: Card, files: dict[str, bytes]) -> nn.Module:
    """Build the module of a card and fill it with stored weights.

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
    return module.eval()
