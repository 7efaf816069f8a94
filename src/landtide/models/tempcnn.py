"""A temporal convolutional network over one year of a pixel.

Source: Pelletier et al. 2019, Remote Sens. 11(5):523, doi:10.3390/rs11050523.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from landtide.core.errors import InputError
from landtide.models.card import Card
from landtide.models.eight_bit import EightBit
from landtide.models.layers import DATED, Unseen, dated
from landtide.models.network import FILES, Network, restore

__all__ = ["FILES", "OPTIMISATION", "Config", "TempCnn", "build", "load"]

OPTIMISATION: dict[str, Any] = {"learning_rate": 2e-3}
"""Where it differs from the loop's defaults."""


@dataclass(frozen=True)
class Config:
    """Settings of the network."""

    filters: int = 64
    """Channels of each convolution, as published; 128 double the time."""

    kernel: int = 5
    """Steps that a convolution spans, odd; the published best of 3 to 17 in all band sets."""

    layers: int = 3
    dense: int = 256
    """Units between the flattened series and the classes."""

    dropout: float = 0.2
    """Within the convolutions; half of the dense units are dropped besides, as published."""

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise InputError(f"model 'tempcnn': kernel = {self.kernel} must be odd, so that a series keeps its length")


class Block(nn.Sequential):
    """Convolution along time that keeps the length."""

    def __init__(self, before: int, after: int, kernel: int, dropout: float) -> None:
        super().__init__(
            nn.Conv1d(before, after, kernel, padding=kernel // 2, bias=False), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(dropout)
        )


class TempCnn(nn.Module):
    """The network: dated, masked inputs; convolutions; a dense layer over the flattened series, so that the place in the year counts."""

    def __init__(self, config: Config, *, channels: int, steps: int, classes: int, seen: list[int]) -> None:
        super().__init__()
        sizes = [channels + DATED, *[config.filters] * config.layers]
        self.blocks = nn.Sequential(*(Block(before, after, config.kernel, config.dropout) for before, after in pairwise(sizes)))
        self.dense = nn.Sequential(
            nn.Linear(steps * config.filters, config.dense, bias=False), nn.BatchNorm1d(config.dense), nn.ReLU(), nn.Dropout(0.5)
        )
        self.head = nn.Linear(config.dense, classes)
        self.known = Unseen(classes, seen)

    def forward(self, x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
        """Return logits (B, K).

        x     (B, T, C) standardised; what stands at missing steps does not matter
        mask  (B, T) bool, True = observed
        doy   (B, T) day of year
        """
        features = self.blocks(dated(x, mask, doy).transpose(1, 2))  # (B, T, C+3) -> (B, W, T)
        logits: Tensor = self.known(self.head(self.dense(features.flatten(1))))  # (B, W, T) -> (B, K)
        return logits

    def eight_bit(self) -> EightBit:
        """Return the trained network in 8-bit products; it shares the head's weights."""
        return EightBit(self.blocks, self.dense, self.head, self.known)


def build(config: Config, *, channels: int, steps: int, classes: int, seen: list[int]) -> TempCnn:
    """Return an untrained network."""
    return TempCnn(config, channels=channels, steps=steps, classes=classes, seen=seen)


def load(card: Card, files: dict[str, bytes]) -> Network:
    """Read a network from its files."""
    return restore(build, Config(**card.settings), card, files)
