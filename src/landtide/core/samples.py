"""Training samples: labelled pixel series with their place, year, polygon and trust."""

from dataclasses import dataclass, replace

import numpy as np

from landtide.core.errors import LandtideError

ROWS = ("x", "y", "doy", "xy", "year", "trust", "polygon", "tile", "draw")
"""Fields with one entry a sample."""


@dataclass(frozen=True)
class SampleSet:
    """N labelled series of T steps and C channels."""

    x: np.ndarray
    """(N, T, C) float32 reflectance or index; NaN = missing."""

    y: np.ndarray
    """(N,) uint8 label, 1..K in legend order."""

    doy: np.ndarray
    """(N, T) int16 day of year, 1..366."""

    xy: np.ndarray
    """(N, 2) float64 pixel centre, in the tile's CRS."""

    year: np.ndarray
    """(N,) int16 year of the series."""

    trust: np.ndarray
    """(N,) float32 probability that the label is right, 0 to 1."""

    polygon: np.ndarray
    """(N,) int64 polygon of the old map (or group of a point): never split across folds."""

    tile: np.ndarray
    """(N,) str name of the tile."""

    draw: np.ndarray
    """(N,) uint32 bit mask: bit e is set where the sample belongs to draw e of the ensemble; all bits where there is one set."""

    bands: tuple[str, ...]
    """Channel names, in order."""

    origin: str
    """Where the labels come from: ``old_map``, ``stable`` or ``points``."""

    def __post_init__(self) -> None:
        count, steps, channels = self.x.shape if self.x.ndim == 3 else (-1, -1, -1)
        if channels != len(self.bands):
            raise LandtideError(f"samples x has shape {self.x.shape}, expected (N, T, {len(self.bands)}) for bands {self.bands}")
        shapes = {"y": (count,), "doy": (count, steps), "xy": (count, 2), "year": (count,), "trust": (count,), "polygon": (count,)}
        for name, shape in {**shapes, "tile": (count,), "draw": (count,)}.items():
            if getattr(self, name).shape != shape:
                raise LandtideError(f"samples {name} has shape {getattr(self, name).shape}, expected {shape}")

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: np.ndarray) -> "SampleSet":
        """Return the rows of an index or mask, in its order."""
        return replace(self, **{name: getattr(self, name)[index] for name in ROWS})

    @classmethod
    def concatenate(cls, parts: list["SampleSet"]) -> "SampleSet":
        """Join sample sets of the same bands and steps.

        Raises LandtideError where the parts differ in bands: their channels would be mixed up in silence.
        """
        first = parts[0]
        for part in parts[1:]:
            if part.bands != first.bands:
                raise LandtideError(f"samples of bands {part.bands} cannot join samples of bands {first.bands}")
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ROWS}
        return cls(**joined, bands=first.bands, origin=first.origin)
