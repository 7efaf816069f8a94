"""Layers that several networks share: dated inputs, the encoding of dates, convolutions and learned queries over series, unseen classes."""

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


class AlongTime(nn.Module):
    """Convolutions over the steps of (B, T, D), each added to its input; none with ``blocks`` = 0."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, width, 5, padding=2, bias=False), nn.BatchNorm1d(width), nn.ReLU()) for _ in range(blocks)
        )

    def forward(self, states: Tensor) -> Tensor:
        if not self.blocks:
            return states
        along = states.transpose(1, 2)  # (B, T, D) -> (B, D, T)
        for block in self.blocks:
            along = along + block(along)
        return along.transpose(1, 2)


class MasterAttention(nn.Module):
    """Weigh the steps, in each head for its own share of the channels, by keys against learned queries; missing steps get weight 0.

    Source: Sainte Fare Garnot & Landrieu 2020, arXiv:2007.00586, with one query a head.
    """

    def __init__(self, width: int, heads: int, keys: int, queries: int = 1) -> None:
        super().__init__()
        self.heads, self.queries = heads, queries
        self.key = nn.Linear(width, heads * keys)
        self.query = nn.Parameter(torch.randn(heads, queries * keys) * keys**-0.5)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        count, steps, width = states.shape
        values = states.view(count, steps, self.heads, width // self.heads)  # (B, T, h, D/h)
        score = nn.functional.linear(states, *self._scores()).masked_fill(~mask.unsqueeze(-1), -1e4)  # (B, T, D) -> (B, T, h q)
        weight = torch.softmax(score, dim=1)
        if self.queries == 1:
            return (weight.unsqueeze(-1) * values).sum(dim=1).flatten(1)  # (B, D)
        share = weight.view(count, steps, self.heads, self.queries).permute(0, 2, 3, 1)  # (B, h, q, T)
        return (share @ values.transpose(1, 2)).flatten(1)  # (B, h, q, T) x (B, h, T, D/h) -> (B, q D)

    def _scores(self) -> tuple[Tensor, Tensor]:
        """Return weight (h q, D) and bias (h q,) that lead from states to scores: keys meet no query but the learned ones, so that both
        products are one, an eighth as large."""
        query = self.query.view(self.heads, self.queries, -1)  # (h, q, k)
        weight = query @ self.key.weight.view(self.heads, -1, self.key.in_features)  # (h, q, k) x (h, k, D) -> (h, q, D)
        bias = query @ self.key.bias.view(self.heads, -1, 1)  # (h, q, 1)
        return weight.flatten(0, 1), bias.flatten()


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
