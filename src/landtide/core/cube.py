"""The cube contract: what every (time, band, y, x) array in landtide promises."""

import numpy as np
import xarray as xr

from landtide.core.errors import LandtideError

DIMS = ("time", "band", "y", "x")
SCALE = 1e-4
"""Reflectance or index a digital number, on disk."""

NODATA = -32768
"""On disk. Dark water after the offset may lie below 0 and an index lies in -1 to 1, so -9999 would be a value."""

CLIP = 1.6
"""Reflectance above this is clipped: clouds and glint saturate there, and int16 ends at 3.2."""


def check_cube(cube: xr.DataArray) -> xr.DataArray:
    """Return the cube if it holds the contract: dims ``(time, band, y, x)``, float32 or int16, unique bands, ordered times.

    Raises LandtideError that names the first broken promise: a wrong cube is a fault of ours, not of the user's.
    """
    if cube.dims != DIMS:
        raise LandtideError(f"cube has dims {cube.dims}, expected {DIMS}")
    if cube.dtype not in (np.dtype("float32"), np.dtype("int16")):
        raise LandtideError(f"cube has dtype {cube.dtype}, expected float32 (memory) or int16 (disk)")
    bands = [str(name) for name in cube["band"].values]
    if len(set(bands)) != len(bands):
        raise LandtideError(f"cube repeats a band: {bands}")
    times = cube["time"].values
    if (np.diff(times.astype("int64")) <= 0).any():
        raise LandtideError("cube times are not in rising order")
    return cube


def encode(values: np.ndarray) -> np.ndarray:
    """Turn float32 reflectance or index (NaN = missing) into int16 digital numbers of 1e-4."""
    digital = np.rint(np.minimum(values, CLIP) / SCALE)
    return np.where(np.isnan(values), NODATA, np.clip(digital, NODATA + 1, 32767)).astype(np.int16)


def decode(digital: np.ndarray) -> np.ndarray:
    """Turn int16 digital numbers of 1e-4 into float32 reflectance or index, NaN = missing."""
    values = digital.astype(np.float32) * np.float32(SCALE)
    values[digital == NODATA] = np.nan
    return values
