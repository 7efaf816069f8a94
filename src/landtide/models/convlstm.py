"""A convolutional LSTM over the images of a year: what stands beside a pixel is read together with how it changes.

Source: Shi et al. 2015, arXiv:1506.04214.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from landtide.core.errors import InputError
from landtide.models.card import Card
from landtide.models.layers import DATED, Unseen, dated
from landtide.models.network import FILES, restored
from landtide.models.patches import PatchNetwork

__all__ = ["FILES", "OPTIMISATION", "Config", "ConvLstm", "build", "load"]

OPTIMISATION: dict[str, Any] = {"batch": 4, "epochs": 20, "learning_rate": 5e-3, "drop": 0.1}
"""Where it differs from the loop's defaults: a sample is a patch with some tens of labels, so that four are a batch of some hundred."""


@dataclass(frozen=True)
class Config:
    """Settings of the network."""

    hidden: int = 32
    """Channels of the state."""

    kernel: int = 3
    """Pixels that the gates see, odd. A step carries the neighbourhood one pixel further, so a year of months sees 13 pixels around."""

    patch: int = 32
    """Pixels along a training patch, whose labels are sparse: 320 m hold a parcel with its neighbours."""

    patches: int = 600
    """Most patches that are kept in memory; of 12 months and 10 bands they take 300 MB."""

    dropout: float = 0.1
    years: Literal["separate", "carried"] = "separate"
    """``carried`` hands the state of each pixel from one year to the next."""

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0 or self.patch < 2 * self.kernel:
            raise InputError(f"model 'convlstm': kernel = {self.kernel} must be odd, and patch = {self.patch} at least twice as large")


class Cell(nn.Module):
    """One step of the recurrence, with peepholes a channel wide, so that images of any size can be read."""

    def __init__(self, inputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs + hidden, 4 * hidden, kernel, padding=kernel // 2)
        self.peep = nn.Parameter(torch.zeros(3, hidden, 1, 1))
        assert self.gates.bias is not None
        with torch.no_grad():
            self.gates.bias[hidden : 2 * hidden].fill_(1.0)  # remember at first

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next hidden and cell state (B, D, H, W)."""
        enter, forget, new, leave = self.gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
        keep = torch.sigmoid(forget + self.peep[1] * cell) * cell
        after = keep + torch.sigmoid(enter + self.peep[0] * cell) * torch.tanh(new)
        return torch.sigmoid(leave + self.peep[2] * after) * torch.tanh(after), after


class ConvLstm(nn.Module):
    """The network: dated, masked images; convolutional LSTM; last state and mean of the states; head over the classes at each pixel."""

    def __init__(self, config: Config, *, channels: int, steps: int, classes: int, seen: list[int]) -> None:
        super().__init__()
        self.steps, self.carries, self.hidden = steps, config.years == "carried", config.hidden
        self.embed = nn.Sequential(nn.Conv2d(channels + DATED, config.hidden, 1), nn.ReLU())
        self.cell = Cell(config.hidden, config.hidden, config.kernel)
        self.head = nn.Sequential(nn.LayerNorm(2 * config.hidden), nn.Dropout(config.dropout), nn.Linear(2 * config.hidden, classes))
        self.known = Unseen(classes, seen)
        self.halo = steps * (config.kernel // 2)

    @property
    def state_width(self) -> int:
        """Values of the state of one pixel."""
        return 2 * self.hidden

    def forward(self, x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
        """Return logits (B, H, W, K); where the state is carried, (B, H, W, Y, K) of the whole years that the series holds.

        x     (B, T, H, W, C) standardised; what stands at missing pixels does not matter. Y*T steps where the state is carried
        mask  (B, T, H, W) bool, True = observed
        doy   (B, T) day of year

        Series (B, T, C) with masks (B, T) are images of one pixel, and give (B, K) or (B, Y, K).
        """
        if not self.carries:
            return self.year(x, mask, doy)[0]
        logits, state = [], None
        for start in range(0, x.shape[1], self.steps):
            span = slice(start, start + self.steps)
            one, state = self.year(x[:, span], mask[:, span], doy[:, span], state)
            logits.append(one)
        return torch.stack(logits, dim=-2)

    def year(self, x: Tensor, mask: Tensor, doy: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits (B, H, W, K) of one year and the state (B, 2D, H, W) at its end, from the state at the end of the year before.

        Of series (B, T, C): logits (B, K) and state (B, 2D).
        """
        if x.dim() == 3:
            image = None if state is None else state[:, :, None, None]
            logits, after = self.year(x[:, :, None, None], mask[:, :, None, None], doy, image)
            return logits[:, 0, 0], after[:, :, 0, 0]
        count, steps, height, width, _ = x.shape
        if state is None:
            state = x.new_zeros(count, self.state_width, height, width)
        hidden, cell = state.chunk(2, dim=1)
        days = doy[:, :, None, None].expand(count, steps, height, width)
        total, seen = torch.zeros_like(hidden), x.new_zeros(count, 1, height, width)
        for step in range(steps):
            inputs = self.embed(dated(x[:, step], mask[:, step], days[:, step]).permute(0, 3, 1, 2))  # (B, H, W, C+3) -> (B, D, H, W)
            observed = mask[:, step].unsqueeze(1)  # (B, 1, H, W)
            next_hidden, next_cell = self.cell(inputs * observed, hidden, cell)
            hidden, cell = torch.where(observed, next_hidden, hidden), torch.where(observed, next_cell, cell)
            total, seen = total + hidden * observed, seen + observed
        told = torch.cat([hidden, total / seen.clamp(min=1)], dim=1).permute(0, 2, 3, 1)  # (B, H, W, 2D)
        return self.known(self.head(told)), torch.cat([hidden, cell], dim=1)


def build(config: Config, *, channels: int, steps: int, classes: int, seen: list[int]) -> ConvLstm:
    """Return an untrained network."""
    return ConvLstm(config, channels=channels, steps=steps, classes=classes, seen=seen)


def load(card: Card, files: dict[str, bytes]) -> PatchNetwork:
    """Read a network from its files."""
    return PatchNetwork(restored(build, Config(**card.settings), card, files))
