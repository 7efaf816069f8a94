"""Clouds found by s2cloudless, a classifier of pixels on Level-1C, where it is installed.

Source: Zupanc 2017, https://github.com/sentinel-hub/sentinel2-cloud-detector. It needs ten bands on one grid of 60 m, and sees no shadows.
"""

from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.windows import Window

from landtide.composite.acquisitions import Layer
from landtide.composite.mask import Dropped, disk, write_dropped
from landtide.composite.radiometry import held
from landtide.composite.resample import KNOT, read_band
from landtide.core.errors import InputError
from landtide.core.study import Mask
from landtide.core.tile import Tile
from landtide.io.raster import open_raster

PIXEL = 60.0
"""m: of the coarsest bands, which carry the cirrus; a finer grid would be 36 times the work and see no more."""

AVERAGED = 2
"""Pixels over which probabilities are averaged: its authors' value for 60 m."""

CLOUD, UNSEEN = 1, 255
CODES = [CLOUD, UNSEEN]


@lru_cache(maxsize=2)
def detector(threshold: float) -> Any:
    """Return the classifier. Raises InputError where its package is missing."""
    try:
        from s2cloudless import S2PixelCloudDetector
    except ImportError as error:
        raise InputError("mask.method is s2cloudless, whose package is not installed: pip install s2cloudless") from error
    return S2PixelCloudDetector(threshold=threshold, average_over=AVERAGED, dilation_size=None)


def note_clouds(layers: tuple[Layer, ...], tile: Tile, rows: tuple[int, int], mask: Mask, path: Path) -> Dropped:
    """Find the clouds of an acquisition and write into a file which pixels they drop in some rows of a tile.

    layers  the bands of `Mask.bands`, of top-of-atmosphere reflectance

    The result does not depend on the rows: those around them that averaging and dilation reach are classified too.
    """
    grid = coarse(tile)
    factor = abs(grid.transform[4] / tile.transform[4])
    first, last = int(rows[0] // factor), min(int(-(-rows[1] // factor)), grid.shape[0])
    around = AVERAGED + len(disk(mask.dilate, height=PIXEL, width=PIXEL)) // 2
    top = max(first - around, 0) // KNOT * KNOT
    probability, seen = _probability(layers, grid, (top, min(last + around, grid.shape[0])), detector(mask.threshold))
    cloudy = detector(mask.threshold).get_mask_from_prob(probability[None])[0]
    codes = np.where(seen, np.where(cloudy > 0, CLOUD, 0), UNSEEN).astype(np.uint8)
    found = mask.model_copy(update={"asset": "cloud", "drop": CODES, "bits": None})
    return write_dropped(codes, top, grid, (first, last), found, UNSEEN, path)


def coarse(tile: Tile) -> Tile:
    """Return the grid of 60 m that has the tile's upper left corner and covers it."""
    a, b, c, d, e, f = tile.transform
    across, down = PIXEL / abs(a), PIXEL / abs(e)
    shape = (int(-(-tile.shape[0] // down)), int(-(-tile.shape[1] // across)))
    return Tile(tile.name, tile.crs, (a * across, b, c, d, e * down, f), shape)


def _probability(layers: tuple[Layer, ...], grid: Tile, rows: tuple[int, int], classifier: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the cloud probability (h, w) float32 of some rows of a grid, 0 where a band has no data, and where all have (h, w) bool."""
    probability = np.zeros((rows[1] - rows[0], grid.shape[1]), np.float32)
    seen = np.zeros(probability.shape, bool)
    with ExitStack() as stack:
        datasets = [stack.enter_context(open_raster(layer.href)) for layer in layers]
        for start in range(*rows, KNOT):
            window = Window(0, start, grid.shape[1], min(KNOT, rows[1] - start))
            part, bands = slice(start - rows[0], start - rows[0] + int(window.height)), []
            seen[part] = True
            for layer, dataset in zip(layers, datasets, strict=True):
                declared = held(dataset.nodata if layer.nodata is None else layer.nodata, dataset.dtypes[0])
                fill = 0.0 if declared is None else declared
                raw = read_band(dataset, grid, window, fill=fill)
                seen[part] &= raw != fill
                bands.append(raw.astype(np.float32) * layer.scale + layer.offset)
            if seen[part].any():
                found = classifier.get_cloud_probability_maps(np.stack(bands, axis=-1)[None])[0]
                probability[part] = np.where(seen[part], found, 0)
    return probability, seen
