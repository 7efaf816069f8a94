"""From a raster's own numbers to int16 digital numbers of 1e-4, by the scale and offset that retrieval decided for the item."""

from functools import lru_cache

import numpy as np
from numba import njit

from landtide.core.cube import NODATA, SCALE

MISSING = np.int16(NODATA)


def to_digital(
    raw: np.ndarray, dropped: np.ndarray, out: np.ndarray, *, scale: float, offset: float, nodata: float, clip: float | None
) -> None:
    """Write the digital numbers of an observation into `out`.

    raw      (h, w) the raster's numbers, of any type
    dropped  (h, w) bool, True = masked
    out      (h, w) int16, written; -32768 where masked, no data or NaN
    scale    of one raw number, and
    offset   of raw zero, in reflectance or index
    clip     highest value kept, of reflectance (cloud and glint exceed it); None for an index, which is never clipped
    """
    if raw.dtype.itemsize > 2 or raw.dtype.kind not in "iu":
        out[...] = np.where(dropped, MISSING, _encode(raw, scale, offset, nodata, clip))
        return
    _look_up(raw.view(f"u{raw.dtype.itemsize}"), dropped, _table(raw.dtype.str, scale, offset, nodata, clip), out)


def held(nodata: float | None, dtype: str) -> float | None:
    """Return a no-data value where a type can hold it, else None: catalogs declare -9999 for unsigned bands, which then never occurs."""
    if nodata is None or np.dtype(dtype).kind == "f":
        return nodata
    limits = np.iinfo(dtype)
    return nodata if float(nodata).is_integer() and limits.min <= nodata <= limits.max else None


@lru_cache(maxsize=64)
def _table(dtype: str, scale: float, offset: float, nodata: float, clip: float | None) -> np.ndarray:
    """Return the digital number of every raw number of a type of one or two bytes, indexed by its bits."""
    bits = 8 * np.dtype(dtype).itemsize
    raw = np.arange(2**bits, dtype=f"u{bits // 8}").view(dtype)
    return _encode(raw, scale, offset, nodata, clip)


def _encode(raw: np.ndarray, scale: float, offset: float, nodata: float, clip: float | None) -> np.ndarray:
    values = raw.astype(np.float64) * scale + offset
    if clip is not None:
        values = np.minimum(values, clip)
    missing = np.isnan(values) | (raw == nodata)
    digital = np.clip(np.rint(values / SCALE), NODATA + 1, 32767)
    return np.where(missing, NODATA, digital).astype(np.int16)


@njit(cache=True, nogil=True)
def _look_up(raw: np.ndarray, dropped: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    rows, columns = raw.shape
    for row in range(rows):
        for column in range(columns):
            out[row, column] = MISSING if dropped[row, column] else table[raw[row, column]]
