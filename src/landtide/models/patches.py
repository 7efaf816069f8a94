"""A torch module over images as a scorer: windows of any size, cut into blocks of one size with what they see around them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from landtide.models.network import Network, split_mask

BLOCK = 64
"""Pixels along a block whose classes are kept."""


@dataclass(frozen=True)
class PatchNetwork(Network):
    """A trained module whose ``year`` reads images; of single pixels it knows nothing around them."""

    @property
    def halo(self) -> int:
        """Pixels around a block that can reach its classes in one year."""
        return int(cast(Any, self.module).halo)

    @torch.inference_mode()
    def image(self, x: np.ndarray, doy: np.ndarray, state: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return (K, H, W) float32 softmax of one year and the state (S, H, W) at its end.

        x      (T, C, H, W) standardised, NaN = missing
        doy    (T,)
        state  (S, H, W) at the end of the year before; None = there was none
        """
        height, width = x.shape[2:]
        halo, module = self.halo, cast(Any, self.module)
        days = torch.from_numpy(doy.astype(np.float32))[None]
        padded = np.pad(x, ((0, 0), (0, 0), (halo, halo + BLOCK), (halo, halo + BLOCK)), constant_values=np.nan)
        before = None if state is None else np.pad(state, ((0, 0), (halo, halo + BLOCK), (halo, halo + BLOCK)))
        share, after = np.empty((0,), np.float32), np.empty((self.width, height, width), np.float32)
        for row, column in _corners(height, width):
            rows, columns = slice(row, row + BLOCK + 2 * halo), slice(column, column + BLOCK + 2 * halo)
            values, mask = split_mask(padded[:, :, rows, columns].transpose(0, 2, 3, 1)[None])  # (1, T, H, W, C)
            begun = None if before is None else torch.from_numpy(before[None, :, rows, columns])
            logits, told = module.year(values, mask, days, begun)
            inner = torch.softmax(logits, dim=3)[0, halo : halo + BLOCK, halo : halo + BLOCK].permute(2, 0, 1).numpy()
            if not share.size:
                share = np.empty((len(inner), height, width), np.float32)
            high, wide = min(BLOCK, height - row), min(BLOCK, width - column)
            share[:, row : row + high, column : column + wide] = inner[:, :high, :wide]
            kept = told[0, :, halo : halo + high, halo : halo + wide]
            after[:, row : row + high, column : column + wide] = kept.numpy()
        return share, after


def _corners(height: int, width: int) -> Iterator[tuple[int, int]]:
    for row in range(0, height, BLOCK):
        for column in range(0, width, BLOCK):
            yield row, column
