"""One land-cover map: labels, confidence and class probabilities on a tile for a period."""

from dataclasses import dataclass

import numpy as np

from landtide.core.errors import LandtideError
from landtide.core.legend import Legend
from landtide.core.period import Period
from landtide.core.tile import Tile

NO_DATA = 0
"""Label of a pixel without a valid observation."""

DO_NOT_KNOW = 254
"""Label of a pixel that the model refuses to name, where that is asked for."""

NO_CONFIDENCE = 255
"""Confidence where there is no label."""


@dataclass(frozen=True)
class LandCoverMap:
    """A map of one tile and period."""

    label: np.ndarray
    """(H, W) uint8, 1..K in legend order, 0 = no data, 254 = "do not know"."""

    confidence: np.ndarray
    """(H, W) uint8, 0 to 100 per cent, 255 = no data."""

    legend: Legend
    tile: Tile
    period: Period
    model: str
    """Id of the model that made the map."""

    probability: np.ndarray | None = None
    """(K, H, W) uint8 per cent, 255 = no data; where asked for."""

    def __post_init__(self) -> None:
        for name in ("label", "confidence"):
            if getattr(self, name).shape != self.tile.shape:
                raise LandtideError(f"map {name} has shape {getattr(self, name).shape}, tile {self.tile.name} has {self.tile.shape}")
        unknown = set(np.unique(self.label).tolist()) - set(range(len(self.legend) + 1)) - {DO_NOT_KNOW}
        if unknown:
            raise LandtideError(f"map of tile {self.tile.name} holds labels {sorted(unknown)} outside the legend's 1..{len(self.legend)}")
