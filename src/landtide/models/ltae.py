"""A lightweight temporal attention encoder: one learned query a head picks the dates that tell the classes apart.

Source: Sainte Fare Garnot & Landrieu 2020, arXiv:2007.00586.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from landtide.core.errors import InputError
from landtide.models.card import Card
from landtide.models.layers import DATED, AlongTime, DateEncoding, MasterAttention, Unseen, dated
from landtide.models.network import FILES, Network, restore

__all__ = ["FILES", "OPTIMISATION", "Config", "Ltae", "build", "load"]

OPTIMISATION: dict[str, Any] = {"learning_rate": 2e-3}
"""Where it differs from the loop's defaults."""


@dataclass(frozen=True)
class Config:
    """Settings of the network."""

    width: int = 128
    """Channels of a step, split over the heads."""

    heads: int = 16
    """As published."""

    keys: int = 8
    """Channels of a key, as published."""

    context: int = 5
    """Steps, odd, that the embedding of one step sees. The published 1 leaves the slope between dates to be guessed from weighted sums."""

    queries: int = 1
    """Learned queries a head, each of which picks its own dates: long series have more dates that tell than the published 1 can."""

    blocks: int = 0
    """Convolutions along time over the embedded steps, each added to its input, before the heads look."""

    dense: int = 128
    """Units between the heads and the classes."""

    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.width % self.heads or self.context % 2 == 0:
            raise InputError(
                f"model 'ltae': width = {self.width} must be a multiple of heads = {self.heads}, and context = {self.context} odd"
            )


class Embedding(nn.Module):
    """Turn each step, with its neighbours and its date, into D channels."""

    def __init__(self, channels: int, width: int, context: int, blocks: int) -> None:
        super().__init__()
        self.near = nn.Conv1d(channels, width, context, padding=context // 2)
        self.date = DateEncoding(width)
        self.mix = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU())
        self.along = AlongTime(width, blocks)

    def forward(self, inputs: Tensor, doy: Tensor) -> Tensor:
        near = self.near(inputs.transpose(1, 2)).transpose(1, 2)  # (B, T, C+3) -> (B, T, D)
        states: Tensor = self.along(self.mix(near + self.date(doy)))
        return states


class Ltae(nn.Module):
    """The network: dated, masked inputs; embedding; attention of a learned query; dense head over the classes."""

    needs_float32 = True
    """In bfloat16 a trained network kept 98.9 % of its labels."""

    def __init__(self, config: Config, *, channels: int, steps: int, classes: int, seen: list[int]) -> None:
        super().__init__()
        self.embed = Embedding(channels + DATED, config.width, config.context, config.blocks)
        self.attend = MasterAttention(config.width, config.heads, config.keys, config.queries)
        self.dense = nn.Sequential(
            nn.Linear(config.queries * config.width, config.dense), nn.LayerNorm(config.dense), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.head = nn.Linear(config.dense, classes)
        self.known = Unseen(classes, seen)

    def forward(self, x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
        """Return logits (B, K).

        x     (B, T, C) standardised; what stands at missing steps does not matter
        mask  (B, T) bool, True = observed
        doy   (B, T) day of year
        """
        states = self.embed(dated(x, mask, doy), doy)  # (B, T, D)
        logits: Tensor = self.known(self.head(self.dense(self.attend(states, mask))))  # (B, K)
        return logits


def build(config: Config, *, channels: int, steps: int, classes: int, seen: list[int]) -> Ltae:
    """Return an untrained network."""
    return Ltae(config, channels=channels, steps=steps, classes=classes, seen=seen)


def load(card: Card, files: dict[str, bytes]) -> Network:
    """Read a network from its files."""
    return restore(build, Config(**card.settings), card, files)
