"""A transformer encoder over the observations of a pixel, which knows their days of year and skips missing ones.

Sources: Vaswani et al. 2017, arXiv:1706.03762; for pixel series Russwurm & Koerner 2020, doi:10.1016/j.isprsjprs.2020.06.006.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from landtide.core.errors import InputError
from landtide.models.card import Card
from landtide.models.layers import DATED, AlongTime, DateEncoding, MasterAttention, Unseen, dated
from landtide.models.network import FILES, Network, restore

__all__ = ["FILES", "OPTIMISATION", "Config", "Transformer", "build", "load"]

OPTIMISATION: dict[str, Any] = {"learning_rate": 1e-3}
"""Where it differs from the loop's defaults: attention diverges at rates that an LSTM bears."""


@dataclass(frozen=True)
class Config:
    """Settings of the network."""

    width: int = 64
    """Channels of a step, as in the tuned model of BreizhCrops."""

    layers: int = 2
    """Half the time of the tuned model's five; on 46 steps of UCR Crop an epoch takes 3 s of one core."""

    heads: int = 4
    dense: int = 128
    """Units of each layer's feed-forward part."""

    context: int = 3
    """Steps, odd, that the embedding of one step sees: slopes come for free, and attention need not learn them."""

    blocks: int = 0
    """Convolutions along time over the embedded steps, each added to its input, before the first layer."""

    queries: int = 0
    """Learned queries a head that pick dates, beside the mean and maximum over all; for long series, whose maximum says little."""

    dropout: float = 0.1

    years: Literal["separate", "window"] = "separate"
    """``window`` learns from windows of a year's length that begin anywhere, and classifies a year by the mean over all that touch it."""

    stride: int = 3
    """Steps between the windows; of monthly series, a season."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise InputError(f"model 'transformer': stride = {self.stride} must be at least 1")
        if self.width % self.heads or self.context % 2 == 0:
            raise InputError(
                f"model 'transformer': width = {self.width} must be a multiple of heads = {self.heads}, and context = {self.context} odd"
            )


class Attention(nn.Module):
    """Self-attention over the steps that were observed."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        count, steps, width = states.shape
        q, k, v = self.project(states).view(count, steps, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, T, 3D) -> 3 x (B, h, T, D/h)
        bias = torch.zeros_like(mask, dtype=states.dtype).masked_fill(~mask, -1e4)[:, None, None]  # (B, 1, 1, T)
        # torch's fused attention trains at half this speed in bf16 on CPUs: heads of 16 channels are too small for its blocks
        score = q @ k.transpose(2, 3) * (width // self.heads) ** -0.5 + bias  # (B, h, T, T)
        mixed = torch.softmax(score, dim=3) @ v  # (B, h, T, D/h)
        joined: Tensor = self.join(mixed.transpose(1, 2).reshape(count, steps, width))
        return joined


class Layer(nn.Module):
    """Attention and feed-forward part, each normalised before and added to its input."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.before_attention, self.before_dense = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.attend = Attention(config.width, config.heads)
        self.dense = nn.Sequential(nn.Linear(config.width, config.dense), nn.ReLU(), nn.Linear(config.dense, config.width))
        self.drop = nn.Dropout(config.dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        states = states + self.drop(self.attend(self.before_attention(states), mask))
        added: Tensor = states + self.drop(self.dense(self.before_dense(states)))
        return added


class Passed(nn.Module):
    """Stands where a layer lies in another stage of a pipeline."""

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        return states


class Transformer(nn.Module):
    """The network: dated, masked inputs; encoder; mean and maximum over the observed steps; head over the classes."""

    needs_float32 = True
    """In bfloat16 a trained network kept 99.3 % of its labels."""

    def __init__(self, config: Config, *, channels: int, steps: int, classes: int, seen: list[int]) -> None:
        super().__init__()
        self.width, self.classes = config.width, classes
        self.embed = nn.Conv1d(channels + DATED, config.width, config.context, padding=config.context // 2)
        self.date = DateEncoding(config.width)
        self.along = AlongTime(config.width, config.blocks)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.pick = MasterAttention(config.width, config.heads, config.width // config.heads, config.queries) if config.queries else None
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear((2 + config.queries) * config.width, classes))
        self.known = Unseen(classes, seen)

    def forward(self, x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
        """Return logits (B, K).

        x     (B, T, C) standardised; what stands at missing steps does not matter
        mask  (B, T) bool, True = observed
        doy   (B, T) day of year
        """
        return self.tell(self.attend(self.enter(x, mask, doy), mask), mask)

    def enter(self, x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
        """Return the states (B, T, D) before the first layer."""
        states = self.embed(dated(x, mask, doy).transpose(1, 2)).transpose(1, 2) + self.date(doy)  # (B, T, C+3) -> (B, T, D)
        along: Tensor = self.along(states)
        return along

    def attend(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the states (B, T, D) after all layers."""
        for layer in self.layers:
            states = layer(states, mask)
        return states

    def tell(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return logits (B, K) from the states (B, T, D) after the last layer."""
        states, seen = self.norm(states), mask.unsqueeze(-1)
        mean = (states * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1)  # (B, T, D) -> (B, D)
        highest = states.masked_fill(~seen, -1e4).amax(dim=1)
        parts = [mean, highest] if self.pick is None else [mean, highest, self.pick(states, mask)]
        logits: Tensor = self.known(self.head(torch.cat(parts, dim=1)))  # (B, (2 + q) D) -> (B, K)
        return logits

    def keep(self, stage: int, stages: int) -> None:
        """Drop all but one stage of a pipeline: its layers, in the first stage what enters them, in the last what is told after them.

        The names of the weights stay those of the whole network.
        """
        count = len(self.layers)
        for number in range(count):
            if number * stages // count != stage:
                self.layers[number] = Passed()
        if stage > 0:
            del self.embed, self.date, self.along
        if stage < stages - 1:
            del self.norm, self.pick, self.head, self.known


def build(config: Config, *, channels: int, steps: int, classes: int, seen: list[int]) -> Transformer:
    """Return an untrained network."""
    return Transformer(config, channels=channels, steps=steps, classes=classes, seen=seen)


def load(card: Card, files: dict[str, bytes]) -> Network:
    """Read a network from its files."""
    return restore(build, Config(**card.settings), card, files)
