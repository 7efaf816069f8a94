"""The pixels of label maps, old maps and reference rasters, read as states window by window, each place once."""

from dataclasses import dataclass

import numpy as np
from rasterio.warp import transform
from rasterio.windows import Window

from landtide.core.tile import Tile
from landtide.evaluate.views import States
from landtide.io.raster import open_raster, read_dataset_on_grid

WINDOW = 1024
"""Pixels along the side of a work window: 1 Mpx of uint8 a raster, so a worker needs some ten MB."""


@dataclass(frozen=True)
class Layer:
    """A raster and what its values say."""

    uri: str
    states: States


def read_states(layer: Layer, tile: Tile, window: Window) -> np.ndarray:
    """Return the states (h, w) uint8 of a layer on a tile's grid, 0 where it has no data."""
    with open_raster(layer.uri) as dataset:
        missing = dataset.nodata
        if layer.states.codes is None:
            fill: float = 0
        else:
            fill = missing if missing is not None else _free_value(layer.states, np.dtype(dataset.dtypes[0]))
        return layer.states.of(read_dataset_on_grid(dataset, tile, window, fill=fill), fill)


def _free_value(states: States, dtype: np.dtype) -> int:
    """Return a value that is no code, to fill with where the raster declares no no-data value."""
    assert states.codes is not None
    value = int(np.iinfo(dtype).max)
    while str(value) in states.codes.labels:
        value -= 1
    return value


def neighbours(tile: Tile, tiles: list[Tile]) -> tuple[Tile, ...]:
    """Return the tiles before this one in the list that overlap it: Sentinel-2 tiles share strips of 10 km."""
    before = tiles[: [other.name for other in tiles].index(tile.name)]
    west, south, east, north = tile.lonlat_bounds()
    boxes = [(other, other.lonlat_bounds()) for other in before]
    return tuple(other for other, box in boxes if box[0] < east and box[2] > west and box[1] < north and box[3] > south)


def owned(tile: Tile, window: Window, before: tuple[Tile, ...]) -> np.ndarray:
    """Return (h, w) bool: the pixels whose centre lies in none of the tiles before, so that each place counts once."""
    rows, columns = int(window.height), int(window.width)
    own = np.ones((rows, columns), bool)
    if not before:
        return own
    row, column = np.mgrid[window.row_off : window.row_off + rows, window.col_off : window.col_off + columns] + 0.5
    x, y = tile.affine * (column, row)
    for other in before:
        own &= ~inside(other, x, y, tile.crs)
    return own


def inside(tile: Tile, x: np.ndarray, y: np.ndarray, crs: str) -> np.ndarray:
    """Return whether places in a CRS lie in a tile."""
    row, column = cells(tile, x, y, crs)
    return (row >= 0) & (row < tile.shape[0]) & (column >= 0) & (column < tile.shape[1])


def cells(tile: Tile, x: np.ndarray, y: np.ndarray, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column (int64) of the pixels that hold places in a CRS; they may lie outside the tile."""
    if crs != tile.crs:
        east, north = transform(crs, tile.crs, x.ravel(), y.ravel())
        x, y = np.reshape(east, x.shape), np.reshape(north, y.shape)
    column, row = ~tile.affine * (x, y)
    return np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)


def states_at(layer: Layer, tile: Tile, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the states (N,) uint8 at pixels of a tile, reading each window that holds some once."""
    result = np.zeros(len(rows), np.uint8)
    size = 256
    blocks = (rows // size) * (tile.shape[1] // size + 1) + columns // size
    for block in np.unique(blocks):
        chosen = np.flatnonzero(blocks == block)
        row, column = int(rows[chosen[0]]) // size * size, int(columns[chosen[0]]) // size * size
        window = Window(column, row, min(size, tile.shape[1] - column), min(size, tile.shape[0] - row))
        result[chosen] = read_states(layer, tile, window)[rows[chosen] - row, columns[chosen] - column]
    return result
