"""A bidirectional LSTM over one year of a pixel, with an optional temporal convolution beside it."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from landtide.models.card import Card
from landtide.models.layers import DATED, Unseen, dated
from landtide.models.network import FILES, Network, restore

__all__ = ["FILES", "OPTIMISATION", "Config", "Lstm", "build", "load"]

OPTIMISATION: dict[str, Any] = {}
"""Where it differs from the loop's defaults: nowhere, since those were found on it."""


@dataclass(frozen=True)
class Config:
    """Settings of the network."""

    hidden: int = 64
    """Units in each direction; 48, with 32 channels below, lost 1 point of accuracy on simulated worlds."""

    layers: int = 1
    """Twelve monthly steps are short: a second layer would double the time."""

    convolution: int = 64
    """Channels of the TempCNN branch, 0 = the LSTM alone. For twice the time it wins 1.4 points of accuracy on simulated worlds (0.856)
    and 2.5 on UCR Crop, thinned to 12 steps and with 15 % wrong labels (0.675)."""

    dropout: float = 0.2
    """Before the head alone: in the branch it cost a seventh of the training time, and the accuracy was no better for it."""

    years: Literal["separate", "carried"] = "separate"
    """``carried`` reads the years of a pixel in their order and hands the state of the forward direction from one to the next; the backward
    direction begins anew in each, so that a map never waits for the years after it."""


class AttentionPool(nn.Module):
    """Weigh the steps by a learned query; missing steps get weight 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        score = self.score(states).squeeze(-1).masked_fill(~mask, -1e4)  # (B, T, D) -> (B, T)
        pooled: Tensor = (torch.softmax(score, dim=1).unsqueeze(-1) * states).sum(dim=1)  # (B, T, D) -> (B, D)
        return pooled


class TemporalConvolution(nn.Module):
    """Three convolutions along time, flattened, so that the place in the year stays known.

    Source: Pelletier et al. 2019, Remote Sens. 11(5):523, doi:10.3390/rs11050523.
    """

    def __init__(self, channels: int, steps: int, width: int) -> None:
        super().__init__()
        sizes = [channels, width, width, width]
        self.blocks = nn.Sequential(
            *(nn.Sequential(nn.Conv1d(before, after, 5, padding=2), nn.BatchNorm1d(after), nn.ReLU()) for before, after in pairwise(sizes))
        )
        self.dense = nn.Sequential(nn.Linear(steps * width, 2 * width), nn.LayerNorm(2 * width), nn.ReLU())

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.blocks(inputs.transpose(1, 2))  # (B, T, D) -> (B, W, T)
        dense: Tensor = self.dense(features.flatten(1))  # (B, W, T) -> (B, 2W)
        return dense


class Lstm(nn.Module):
    """The network: dated, masked inputs; BiLSTM pooled by attention and mean; head over the classes."""

    def __init__(self, config: Config, *, channels: int, steps: int, classes: int, seen: list[int]) -> None:
        super().__init__()
        self.steps, self.carries = steps, config.years == "carried"
        inputs = channels + DATED
        self.embed = nn.Sequential(nn.Linear(inputs, config.hidden), nn.LayerNorm(config.hidden), nn.ReLU())
        self.lstm = nn.LSTM(config.hidden, config.hidden, config.layers, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(2 * config.hidden)
        self.pool = AttentionPool(2 * config.hidden)
        self.branch = TemporalConvolution(inputs, steps, config.convolution) if config.convolution else None
        width = 4 * config.hidden + 2 * config.convolution + (config.hidden if self.carries else 0)
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(width, classes))
        self.known = Unseen(classes, seen)

    def forward(self, x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
        """Return logits (B, K); where the state is carried, (B, Y, K) of the whole years that the series holds.

        x     (B, T, C) standardised; what stands at missing steps does not matter. Y*T where the state is carried
        mask  (B, T) bool, True = observed
        doy   (B, T) day of year
        """
        if not self.carries:
            return self.year(x, mask, doy)[0]
        logits, state = [], None
        for year in range(0, x.shape[1], self.steps):
            span = slice(year, year + self.steps)
            one, state = self.year(x[:, span], mask[:, span], doy[:, span], state)
            logits.append(one)
        return torch.stack(logits, dim=1)  # Y x (B, K) -> (B, Y, K)

    def year(self, x: Tensor, mask: Tensor, doy: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits (B, K) of one year and the state (B, 2LH) at its end, which a year without observation leaves as it was.

        state  cell and hidden state of the forward direction in each layer at the end of the year before; None = 0
        """
        inputs = dated(x, mask, doy)  # (B, T, C+3)
        if state is None:
            state = x.new_zeros(len(x), self.state_width)
        states, (hidden, cell) = self.lstm(self.embed(inputs), self._begin(state))
        after = torch.cat([hidden[::2], cell[::2]]).transpose(0, 1).flatten(1)  # 2 x (L, B, H) -> (B, 2LH)
        states = self.norm(states)  # (B, T, 2H)
        parts = [self.pool(states, mask), states.mean(dim=1)]
        if self.branch is not None:
            parts.append(self.branch(inputs))
        if self.carries:
            parts.append(hidden[-2])
        logits: Tensor = self.known(self.head(torch.cat(parts, dim=1)))  # (B, K)
        return logits, torch.where(mask.any(dim=1, keepdim=True), after, state)

    @property
    def state_width(self) -> int:
        """Values of the state of one pixel."""
        return 2 * self.lstm.num_layers * self.lstm.hidden_size

    def _begin(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden and cell state (2L, B, H) to start from: the forward direction's are given, the backward direction's are 0."""
        layers = state.view(len(state), 2, self.lstm.num_layers, self.lstm.hidden_size).permute(1, 2, 0, 3)  # (2, L, B, H)
        both = torch.stack([layers, torch.zeros_like(layers)], dim=2).flatten(1, 2)  # forward, backward of each layer by turns
        return both[0].contiguous(), both[1].contiguous()


def build(config: Config, *, channels: int, steps: int, classes: int, seen: list[int]) -> Lstm:
    """Return an untrained network."""
    return Lstm(config, channels=channels, steps=steps, classes=classes, seen=seen)


def load(card: Card, files: dict[str, bytes]) -> Network:
    """Read a network from its files."""
    return restore(build, Config(**card.settings), card, files)
