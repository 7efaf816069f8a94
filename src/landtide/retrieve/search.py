"""Search: which acquisitions of a catalog or STAC API a tile and year have."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

import pystac

from landtide.core.bands import find_asset
from landtide.core.errors import InputError
from landtide.core.study import Study
from landtide.core.tile import Tile
from landtide.io import http, storage
from landtide.io.stac import read_items
from landtide.retrieve import api, folder, hls, items
from landtide.retrieve.place import agree, meet, shows

ONE_PASS = timedelta(minutes=20)
"""A satellite sees a tile in seconds and is back after 100 minutes at the earliest; a datatake, whose start some providers give as
the time of all its tiles, lasts up to 15 minutes."""


@dataclass(frozen=True)
class SetAside:
    """An acquisition that is not used, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Acquisition:
    """An item that is used."""

    item: pystac.Item
    assets: dict[str, str]
    """Band of the study, or name of the mask asset -> the item's asset key."""


@dataclass(frozen=True)
class Found:
    """What a search for one tile and year gave, in order of time."""

    acquisitions: tuple[Acquisition, ...]
    set_aside: tuple[SetAside, ...]
    mask: str | None
    """Name of the mask asset, None where the series is read unmasked."""


def find(study: Study, tile: Tile, year: int) -> Found:
    """Return the acquisitions of a tile and year, one for each pass of a satellite.

    Raises InputError where the catalog cannot be read, or no item has an asked band or the mask that was asked for.
    """
    http.behave(study.source.requests)
    candidates = [item for item in candidates_of(study, tile, year) if study.composite.span(year).contains(items.moment(item))]
    aside = _broken(study, tile, year)
    if candidates:
        require_bands(candidates, study.band_ids, f"items of tile {tile.name} in {year}")
    clear = []
    for item in sorted(candidates, key=lambda item: (items.moment(item), item.id)):
        cover = items.cloud_cover(item)
        if cover is not None and cover > study.source.max_cloud:
            aside.append(SetAside(item.id, f"cloud cover {cover:.0f} % above source.max_cloud {study.source.max_cloud:.0f} %"))
        else:
            clear.append(item)
    mask = mask_asset(study, clear)
    usable = []
    for item in clear:
        assets, lacking = assets_of(item, study.band_ids, mask)
        if lacking:
            aside.append(SetAside(item.id, f"lacks asset {', '.join(lacking)}"))
        else:
            usable.append(Acquisition(item, assets))
    kept, doubles = drop_duplicates(usable)
    return Found(tuple(kept), tuple(aside + doubles), mask)


def candidates_of(study: Study, tile: Tile, year: int) -> list[pystac.Item]:
    """Return the items that may show a tile: all of a static catalog's, or the API's of that year, as far as they reach the tile."""
    offered: Iterable[pystac.Item]
    if study.source.api is None:
        offered = static_items(study)
    else:
        offered = api.search(study.source.api, study.source.collection, tile, study.composite.span(year).interval(), study.source.max_cloud)
    return [item for item in offered if _reaches(item, tile, study)]


def static_items(study: Study) -> tuple[pystac.Item, ...]:
    """Return all items of a study's static catalog or folder."""
    if study.source.folder is not None:
        return folder.listing(study.source).items
    assert study.source.catalog is not None
    return catalog_items(study.source.catalog)


def static_name(study: Study) -> str:
    """Return the id of a study's static catalog, or the name of its file or folder where it has none."""
    if study.source.folder is not None:
        return study.source.folder.rstrip("/").rsplit("/", 1)[-1]
    assert study.source.catalog is not None
    return catalog_id(study.source.catalog)


def _broken(study: Study, tile: Tile, year: int) -> list[SetAside]:
    """Return the products of a folder that cannot be used, as far as their names do not place them elsewhere."""
    if study.source.folder is None:
        return []
    found = []
    for name, reason in folder.listing(study.source).broken:
        told = items.PRODUCT.match(name)
        elsewhere = told is not None and (told["year"] != str(year) or (items.MGRS_NAME.fullmatch(tile.name) and told["tile"] != tile.name))
        if not elsewhere:
            found.append(SetAside(name, reason))
    return found


@lru_cache(maxsize=4)
def catalog_items(uri: str) -> tuple[pystac.Item, ...]:
    """Return all items of a static catalog, read once a process."""
    found = tuple(hls.harmonised(item) for item in read_items(uri))
    if not found:
        raise InputError(f"catalog {uri} holds no item: correct `source.catalog`")
    return found


def catalog_id(uri: str) -> str:
    """Return the id of a static catalog, or its file name where it has none."""
    record = storage.read_json(uri)
    name = record.get("id") if isinstance(record, dict) else None
    return str(name or uri.rstrip("/").rsplit("/", 1)[-1].removesuffix(".json"))


def require_bands(offered: Iterable[pystac.Item], bands: Iterable[str], where: str) -> None:
    """Raise InputError where a band is in none of the items; items that lack it alone are set aside later."""
    keys = sorted({key for item in offered for key in item.assets})
    for band in bands:
        try:
            find_asset(band, keys)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def mask_asset(study: Study, offered: list[pystac.Item]) -> str | None:
    """Return the mask asset to read, None where there is none to read.

    Raises InputError where the study asks for one that no item has; only the default mask may be missing.
    """
    if study.mask is None or study.mask.method != "asset" or not offered:
        return None
    keys = sorted({key for item in offered for key in item.assets})
    try:
        find_asset(study.mask.asset, keys)
    except InputError:
        if study.default_mask:
            return None
        raise InputError(
            f"mask asset {study.mask.asset!r} is in no item (assets: {', '.join(keys[:12])}): correct `mask` in the study file"
        ) from None
    return study.mask.asset


def drop_duplicates(found: list[Acquisition]) -> tuple[list[Acquisition], list[SetAside]]:
    """Keep one item of each acquisition: that of the highest processing baseline, then the one generated last.

    One acquisition = one satellite over one tile within one pass. Two parts of a pass (other datastrips of the same baseline)
    complement each other and both stay.
    """
    kept: list[Acquisition] = []
    aside: list[SetAside] = []
    for group in _passes(found):
        best = max(items.baseline(one.item) or 0.0 for one in group)
        strips: dict[str | None, Acquisition] = {}
        for one in sorted(group, key=_freshness):
            if (items.baseline(one.item) or 0.0) == best:
                strips[_datastrip(one.item)] = one
        chosen = {id(one) for one in strips.values()}
        winner = next(one for one in group if id(one) in chosen)
        aside += [SetAside(one.item.id, f"another processing of {winner.item.id}, which is kept") for one in group if id(one) not in chosen]
        kept += [one for one in group if id(one) in chosen]
    once = {one.item.id: one for one in reversed(kept)}
    aside += [SetAside(one.item.id, "its id stands twice in the catalog") for one in kept if once[one.item.id] is not one]
    return sorted(once.values(), key=lambda one: (items.moment(one.item), one.item.id)), aside


def _passes(found: list[Acquisition]) -> Iterator[list[Acquisition]]:
    """Yield groups of items of one satellite, place and pass."""
    places = defaultdict(list)
    for one in found:
        grid = items.grid(one.item, next(iter(one.assets.values())))
        # the grid tells crops of one MGRS tile apart; the name stands in where the item tells no grid
        places[(items.platform(one.item), items.mgrs_name(one.item), (grid.transform[2], grid.transform[5]) if grid else None)].append(one)
    for group in places.values():
        group.sort(key=lambda one: items.moment(one.item))
        current: list[Acquisition] = []
        for one in group:
            if current and items.moment(one.item) - items.moment(current[0].item) > ONE_PASS:
                yield current
                current = []
            current.append(one)
        yield current


def _freshness(one: Acquisition) -> tuple[str, str, str]:
    properties = one.item.properties
    made = [str(properties.get(key) or "") for key in ("s2:generation_time", "processing:datetime")]
    return (made[0] or made[1], str(properties.get("updated") or properties.get("created") or ""), one.item.id)


def _datastrip(item: pystac.Item) -> str | None:
    """Return the sensing start that names a datastrip, which all processings share."""
    text = str(item.properties.get("s2:datastrip_id") or item.properties.get("eopf:datastrip_id") or "")
    return next((part for part in text.split("_") if part.startswith("S20") and "T" in part), None)


def assets_of(item: pystac.Item, bands: tuple[str, ...], mask: str | None) -> tuple[dict[str, str], list[str]]:
    """Return the asset key of each band and of the mask, and the names that the item lacks."""
    assets, lacking = {}, []
    for name in (*bands, *([mask] if mask else [])):
        try:
            assets[name] = find_asset(name, list(item.assets))
        except InputError:
            lacking.append(name)
    return assets, lacking


def _reaches(item: pystac.Item, tile: Tile, study: Study) -> bool:
    """Say whether an item shows a tile. An MGRS tile takes its own items only: the neighbours' repeat them in the overlap."""
    grid = item_grid(item, study)
    if study.area.catalog_extent and grid is not None:
        return agree(grid, tile)
    name = items.mgrs_name(item)
    if name is not None and name != tile.name and items.MGRS_NAME.fullmatch(tile.name):
        return False
    if grid is not None and not meet(grid, tile):
        return False
    return shows(item.geometry, tile)


def item_grid(item: pystac.Item, study: Study) -> Tile | None:
    """Return the finest grid among an item's bands of the study, None where the item tells none."""
    keys = assets_of(item, study.band_ids, None)[0].values()
    grids = [grid for grid in (items.grid(item, key) for key in keys) if grid is not None]
    return min(grids, key=lambda grid: grid.pixel_size) if grids else None
