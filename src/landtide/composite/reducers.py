"""The ways to reduce the observations of a composite step, by the name that a study gives them."""

from typing import Protocol

import numpy as np

from landtide.composite.geomedian import geomedian
from landtide.composite.median import median
from landtide.composite.medoid import medoid


class Reducer(Protocol):
    """Reduce the observations of one step for a part of the pixels; return (N,) int64 pixels that each acquisition saw in all bands.

    stack      (N, B, P) int16 observations, 1e-4; -32768 = missing
    composite  (B, P) int16, written; -32768 where there is no observation to reduce
    count      (P,) uint8, written: observations valid in all bands
    pixels     the part of P to do: threads share the work by it
    """

    def __call__(self, stack: np.ndarray, composite: np.ndarray, count: np.ndarray, pixels: slice) -> np.ndarray: ...


REDUCERS: dict[str, Reducer] = {"median": median, "medoid": medoid, "geomedian": geomedian}
