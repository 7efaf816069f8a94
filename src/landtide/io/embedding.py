"""Embeddings of a year: channels of a pixel that stay the same from step to step, as a foundation model gives them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from landtide.core.cube import NODATA, SCALE
from landtide.core.errors import InputError
from landtide.core.tile import Tile
from landtide.io.raster import open_raster, read_dataset_on_grid

LARGEST = 32767
"""Digital number of 1e-4 at which int16 ends."""


@dataclass(frozen=True)
class Embedding:
    """The raster of one year; value = number x scale + offset."""

    uri: str
    names: tuple[str, ...]
    """Of its bands, as channels of a cube."""

    scale: float
    offset: float


def read_embedding(embedding: Embedding, tile: Tile, window: Window) -> np.ndarray:
    """Return a window of a tile, (E, h, w) int16 digital numbers of 1e-4, -32768 = missing: the nearest pixel of the raster.

    Raises InputError where the raster cannot be read, has other bands, or values that the cube cannot hold.
    """
    with _opened(embedding) as dataset:
        fill = np.nan if dataset.nodata is None else dataset.nodata
        rows = [read_dataset_on_grid(dataset, tile, window, band=band, fill=fill) for band in dataset.indexes]
    raw = np.stack(rows).astype(np.float64)
    missing = ~np.isfinite(raw) | (raw == fill)
    digital = np.where(missing, 0, np.rint((raw * embedding.scale + embedding.offset) / SCALE))
    if (np.abs(digital) > LARGEST).any():
        beyond = digital[np.abs(digital) > LARGEST][0] * SCALE
        raise InputError(f"embeddings: {embedding.uri} has the value {beyond:g}, a cube holds -3.2767 to 3.2767: give embeddings.scale")
    return np.where(missing, NODATA, digital).astype(np.int16)


def check_embedding(embedding: Embedding, tile: Tile) -> bool:
    """Say whether a raster covers any of a tile. Raises InputError where it cannot be read, or has other bands than it must."""
    with _opened(embedding) as dataset:
        west, south, east, north = rasterio.warp.transform_bounds(dataset.crs, tile.crs, *dataset.bounds)
    left, top = tile.affine @ (0, 0)
    right, bottom = tile.affine @ (tile.shape[1], tile.shape[0])
    return bool(west < right and east > left and south < top and north > bottom)


@contextmanager
def _opened(embedding: Embedding) -> Iterator[rasterio.DatasetReader]:
    uri, wanted = embedding.uri, len(embedding.names)
    try:
        with open_raster(uri) as dataset:
            if dataset.count != wanted:
                raise InputError(f"embeddings: {uri} has {dataset.count} bands, and embeddings.bands is {wanted}")
            if dataset.crs is None:
                raise InputError(f"embeddings: {uri} has no coordinate system: give it one, for example by gdal_edit.py -a_srs")
            if dataset.nodata is None and not np.issubdtype(dataset.dtypes[0], np.floating):
                raise InputError(f"embeddings: {uri} holds whole numbers and tells no no-data value: set one, by gdal_edit.py -a_nodata")
            yield dataset
    except RasterioError as error:
        raise InputError(f"embeddings: {uri} cannot be read ({' '.join(str(error).split())}): correct embeddings.rasters") from error
