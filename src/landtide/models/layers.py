"""Layers that several networks share: dated inputs, the encoding of dates, and classes that were never seen."""

import torch
from torch import Tensor, nn

LAST_DAY = 366
DATED = 3
"""Channels that `dated` adds: validity, sine and cosine of the day of year."""

PERIOD = 1000.0
"""Longest wavelength of the date encoding over 2 pi, in days: a year then turns its slowest pair of channels by 21 degrees at least.
Source: Sainte Fare Garnot & Landrieu 2020, arXiv:2007.00586 (tau = 1000)."""


def dated(x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
    """Return (B, ..., C+3): values (B, ..., C) with 0 where missing, validity, sine and cosine of the day of year (B, ...)."""
    angle = doy.to(x.dtype) * (2 * torch.pi / 365.25)
    seen = mask.unsqueeze(-1)
    return torch.cat([x * seen, seen.to(x.dtype), angle.sin().unsqueeze(-1), angle.cos().unsqueeze(-1)], dim=-1)


class DateEncoding(nn.Module):
    """Sines and cosines of the day of year at wavelengths from 2 pi to 2 pi x 1000 days.

    Source: Vaswani et al. 2017, arXiv:1706.03762, with days in place of positions.
    """

    table: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        rate = PERIOD ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
        angle = torch.arange(LAST_DAY + 1, dtype=torch.float64)[:, None] * rate
        table = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]
        # looked up, not computed: an angle of 366 in bfloat16 is wrong by a whole radian
        self.register_buffer("table", table.float(), persistent=False)

    def forward(self, doy: Tensor) -> Tensor:
        return self.table[doy.long()]  # (B, T) -> (B, T, D)


class Unseen(nn.Module):
    """Give classes that had no sample the logit of probability 0."""

    unseen: Tensor

    def __init__(self, classes: int, seen: list[int]) -> None:
        super().__init__()
        unseen = torch.ones(classes, dtype=torch.bool)
        unseen[torch.tensor(seen) - 1] = False
        self.register_buffer("unseen", unseen)

    def forward(self, logits: Tensor) -> Tensor:
        return logits.masked_fill(self.unseen, -torch.inf)  # (B, K)
