"""Spectral indices of a composite: channels computed from its bands, after gaps are filled, so that they agree with what is stored."""

import numpy as np

from landtide.core.cube import NODATA, SCALE, decode
from landtide.core.indices import Index

TOGETHER = 1 << 16
"""Pixels computed together: what a formula holds on its way stays in the cache."""

LIMIT = 32767
"""Digital number beyond which int16 ends."""


def add_indices(composite: np.ndarray, bands: tuple[str, ...], indices: tuple[Index, ...], pixels: slice) -> None:
    """Write the index channels of a composite from its band channels.

    composite  (T, B + I, P) int16, 1e-4, -32768 = missing: the bands, then the indices, which are written
    pixels     the part of P to do

    Neither clipped nor offset: a value that int16 cannot hold at 1e-4 (beyond 3.2767, where a denominator comes near 0) is missing.
    """
    place = {name: bands.index(name) for index in indices for name in index.bands}
    for step in composite:
        for start in range(pixels.start, pixels.stop, TOGETHER):
            part = slice(start, min(start + TOGETHER, pixels.stop))
            values = {name: decode(step[row, part]) for name, row in place.items()}
            for n, index in enumerate(indices):
                digital = np.rint(index.compute(values) / np.float32(SCALE))
                with np.errstate(invalid="ignore"):
                    step[len(bands) + n, part] = np.where(np.abs(digital) <= LIMIT, digital, NODATA).astype(np.int16)
