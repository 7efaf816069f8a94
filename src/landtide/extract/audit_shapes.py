"""Outlines of chosen polygons of the old map, made block by block and joined where a block or tile cuts them."""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from rasterio.features import shapes
from rasterio.windows import Window

from landtide.core.tile import Tile
from landtide.extract.audit_counts import owned
from landtide.extract.gather import Pool, Survey, code_reader
from landtide.extract.polygons import blocks, label_codes

EUROPE = "EPSG:3035"
"""CRS of outlines from tiles of several zones in Europe: equal-area, and that of CORINE."""

WORLD = "EPSG:6933"
"""The same elsewhere: the equal-area grid of the world."""


@dataclass(frozen=True)
class Outlines:
    """One block to outline: the task of a worker."""

    uri: str
    tile: Tile
    window: Window
    wanted: np.ndarray
    """(n + 1,) int64 polygon of each local area, -1 = not asked for."""

    earlier: tuple[Tile, ...]


def outline_block(task: Outlines) -> tuple[list[bytes], np.ndarray]:
    """Return the pieces of the wanted polygons in one block, as WKB in the tile's CRS, and their polygons."""
    with code_reader(task.uri) as read:
        codes = np.ascontiguousarray(read(task.window), np.int64)
    labels, _ = label_codes(codes)
    polygon = np.where(owned(task.tile, task.window, task.earlier), task.wanted[labels], -1)
    # GDAL takes 32 bits at most, and a study may hold more polygons than that has numbers: they are numbered within the block.
    known, number = np.unique(polygon, return_inverse=True)
    number = number.reshape(polygon.shape).astype(np.int32)
    found = list(shapes(number, mask=polygon >= 0, connectivity=4, transform=task.tile.crop(task.window).affine))
    pieces = [shapely.geometry.shape(shape) for shape, _ in found]
    return [shapely.to_wkb(piece) for piece in pieces], known[np.array([int(value) for _, value in found], np.int64)]


def outlines(surveys: list[Survey], group: np.ndarray, first: np.ndarray, chosen: np.ndarray, pool: Pool) -> gpd.GeoSeries:
    """Return the outlines of chosen polygons, in their order, in the tiles' CRS where they share one.

    group   (N,) polygon of each part
    first   (tiles + 1,) number of each tile's first part
    chosen  (M,) polygons, each once
    """
    crs = common_crs([item.tile for item in surveys])
    place = pd.Series(np.arange(len(chosen)), index=chosen)
    pieces, owners = [], []
    for number, item in enumerate(surveys):
        earlier = tuple(other.tile for other in surveys[:number])
        parts = group[first[number] : first[number + 1]]
        wanted = place.reindex(parts).fillna(-1).to_numpy(np.int64)
        tasks = []
        for window in blocks(item.tile.shape):
            roots = item.polygons.roots[int(window.row_off), int(window.col_off)]
            local = np.where(roots >= 0, wanted[roots] if len(wanted) else -1, -1)
            if (local >= 0).any():
                tasks.append(Outlines(item.uri, item.tile, window, local, earlier))
        for shape, owner in pool.map(outline_block, tasks):
            pieces.append(gpd.GeoSeries(shapely.from_wkb(shape), crs=item.tile.crs).to_crs(crs))
            owners.append(owner)
    every = gpd.GeoDataFrame({"owner": np.concatenate(owners)}, geometry=pd.concat(pieces, ignore_index=True), crs=crs)
    alone = ~every["owner"].duplicated(keep=False)
    joined = every[~alone].dissolve("owner")
    whole = pd.concat([every[alone].set_index("owner").geometry, joined.geometry])
    return gpd.GeoSeries(whole.reindex(np.arange(len(chosen))), crs=crs)


def common_crs(tiles: list[Tile]) -> str:
    """Return the CRS that outlines are written in: the tiles' own, or an equal-area one where they lie in several zones."""
    if len({tile.crs for tile in tiles}) == 1:
        return tiles[0].crs
    west, south, east, north = np.array([tile.lonlat_bounds() for tile in tiles]).T
    return EUROPE if west.min() > -35 and east.max() < 50 and south.min() > 24 and north.max() < 73 else WORLD
