"""A legend, rasters on disk, and a pool that needs no processes."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from landtide.core.legend import Legend, LegendClass
from landtide.core.tile import Tile


class Here:
    """A pool that works in the calling process, and sends everything through pickle as other processes would."""

    def map(self, fn: Any, items: Any) -> Iterator[Any]:
        for item in items:
            task = pickle.loads(pickle.dumps((fn, item)))
            yield pickle.loads(pickle.dumps(task[0](task[1])))


@pytest.fixture
def pool() -> Here:
    return Here()


@pytest.fixture
def legend() -> Legend:
    return Legend("three", (LegendClass(10, "field", "#FFCC00"), LegendClass(20, "wood", "#006600"), LegendClass(30, "lake", "#0000FF")))


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """Write an array as a GeoTIFF on a tile's grid and return its path."""

    def write(name: str, values: Any, tile: Tile, nodata: float | None = 0) -> str:
        array, path = np.asarray(values), tmp_path / f"{name}.tif"
        kind = {"driver": "GTiff", "width": array.shape[1], "height": array.shape[0], "count": 1, "dtype": array.dtype}
        with rasterio.open(path, "w", **kind, crs=tile.crs, transform=tile.affine, nodata=nodata) as dataset:
            dataset.write(array, 1)
        return str(path)

    return write
