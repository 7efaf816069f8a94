"""The area of a study as tiles: the grids on which everything is computed."""

import re

import pystac
import shapely

from landtide.core.errors import InputError
from landtide.core.study import Study
from landtide.core.tile import RESOLUTION, Tile, mgrs_tile
from landtide.io import http, storage
from landtide.io.raster import open_raster
from landtide.retrieve import hls, items, place
from landtide.retrieve.place import Box
from landtide.retrieve.search import assets_of, item_grid, require_bands, static_items, static_name


def resolve_tiles(study: Study) -> list[Tile]:
    """Return the tiles of a study, in order of their names.

    Items of a static catalog or folder that share a grid of their own are used on it as they are; an MGRS name otherwise gives the full
    Sentinel-2 tile, a box or polygon the part of one tile, or a grid of its own in the UTM zone of its centre.
    Raises InputError where the area holds nothing of the catalog.
    """
    http.behave(study.source.requests)
    own = catalog_grids(study) if study.source.api is None else []
    if study.area.catalog_extent:
        if not own:
            raise InputError("area: catalog-extent needs source.catalog or source.folder: give tiles, bbox or geojson for an API")
        return sorted(own, key=lambda tile: tile.name)
    if study.area.tiles is not None:
        return [_named(name, own, _resolution(study)) for name in sorted(set(study.area.tiles))]
    return _of_box(study, _box(study), own)


def catalog_grids(study: Study) -> list[Tile]:
    """Return the different grids of a static catalog's or folder's items, named after ``grid:code`` or the catalog."""
    offered = static_items(study)
    require_bands(offered, study.band_ids, f"catalog {study.source.catalog}" if study.source.catalog else f"folder {study.source.folder}")
    grids: list[Tile] = []
    for item in offered:
        grid = item_grid(item, study) or _opened_grid(item, study)
        if grid is None or any(place.agree(grid, known) for known in grids):
            continue
        name = items.mgrs_name(item) or re.sub(r"[^A-Za-z0-9_.-]+", "-", static_name(study))
        taken = sum(known.name.split("_part")[0] == name for known in grids)
        grids.append(Tile(f"{name}_part{taken + 1}" if taken else name, grid.crs, grid.transform, grid.shape))
    return grids


def _opened_grid(item: pystac.Item, study: Study) -> Tile | None:
    """Return the grid of an item that tells none, from its first raster."""
    assets, _ = assets_of(item, study.band_ids, None)
    if not assets:
        return None
    with open_raster(item.assets[next(iter(assets.values()))].href) as dataset:
        return Tile(item.id, dataset.crs.to_string(), tuple(dataset.transform)[:6], dataset.shape)


def _resolution(study: Study) -> float:
    """Return the pixel of the grid that a study without a catalog of its own works on, in m."""
    return hls.RESOLUTION if study.source.of_30_m else RESOLUTION


def _named(name: str, own: list[Tile], resolution: float) -> Tile:
    """Return the tile of an MGRS name: the catalog's own grid of that name where it has just one, else the full tile."""
    full = place.coarsened(mgrs_tile(name), resolution)
    of_name = [tile for tile in own if tile.name.split("_part")[0] == full.name]
    return of_name[0] if len(of_name) == 1 else full


def _box(study: Study) -> Box:
    """Return the box in degrees of a bbox or GeoJSON area."""
    if study.area.bbox is not None:
        return study.area.bbox
    uri = study.area.geojson
    assert uri is not None
    try:
        text = storage.read_text(uri)
    except FileNotFoundError:
        raise InputError(f"area.geojson {uri} does not exist: correct its path in the study file") from None
    try:
        west, south, east, north = (float(value) for value in shapely.from_geojson(text).bounds)
    except shapely.errors.GEOSException as error:
        raise InputError(f"area.geojson {uri} is no GeoJSON: {' '.join(str(error).split())}") from error
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise InputError(
            f"area.geojson {uri} spans {_degrees((west, south, east, north))}, no area in WGS 84 degrees: GeoJSON is in longitude, latitude"
        )
    return (west, south, east, north)


def _of_box(study: Study, box: Box, own: list[Tile]) -> list[Tile]:
    """Return the one tile of a box in degrees."""
    if own:
        return [_of_catalog(study, box, own)]
    tile = place.coarsened(place.mgrs_tile_at((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), _resolution(study))
    needed = place.projected(box, tile.crs)
    part = place.crop(tile, needed) if place.inside(needed, tile.bounds) else None
    return [part or place.snapped(study.name, tile.crs, needed, _resolution(study))]


def _of_catalog(study: Study, box: Box, own: list[Tile]) -> Tile:
    """Return the part of a catalog's grid that a box needs; a box over several grids gets a grid of its own over their ground."""
    parts = [(tile, place.crop(tile, place.projected(box, tile.crs))) for tile in own]
    met = [(tile, part) for tile, part in parts if part is not None]
    if not met:
        there = "; ".join(_degrees(place.outline(tile).bounds) for tile in own[:4])
        raise InputError(f"area {_degrees(box)} does not overlap the catalog's {there} (west, south, east, north): correct `area`")
    holding = [part for tile, part in met if place.inside(place.projected(box, tile.crs), tile.bounds)]
    if holding:
        return holding[0]
    if len(met) == 1:
        return met[0][1]
    crs = place.mgrs_tile_at((box[0] + box[2]) / 2, (box[1] + box[3]) / 2).crs
    return place.snapped(study.name, crs, place.projected(box, crs))


def _degrees(box: Box) -> str:
    return "[" + ", ".join(f"{value:.4f}" for value in box) + "]"
