"""Everything that can be wrong with a study's input, found before any work starts."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from landtide.core.errors import InputError
from landtide.core.legend import Crosswalk, Legend
from landtide.core.study import OldMap, Study
from landtide.core.tile import Tile
from landtide.io.embedding import check_embedding
from landtide.retrieve import items
from landtide.retrieve.area import resolve_tiles
from landtide.retrieve.digest import embedding_of, embedding_source
from landtide.retrieve.legends import load_crosswalk, load_legend
from landtide.retrieve.old_map import known_codes
from landtide.retrieve.place import shows
from landtide.retrieve.points import on_tile, point_codes, points_crosswalk, points_frame, points_note
from landtide.retrieve.polygons import NoOverlapError
from landtide.retrieve.records import size_of
from landtide.retrieve.report import SizeTable, size_table
from landtide.retrieve.search import Found, find, static_items


@dataclass(frozen=True)
class Planned:
    """What a tile and year will need."""

    tile: str
    year: int
    images: int
    bytes: int
    assets_without_size: int
    set_aside: tuple[tuple[str, str], ...]
    """Id and reason of acquisitions that the search already leaves out."""


@dataclass(frozen=True)
class Checked:
    """A study whose input has been looked at."""

    tiles: tuple[Tile, ...]
    legend: Legend
    crosswalk: Crosswalk | None
    """Of the old map."""

    mask: str | None
    """Mask asset that is there, None where the series is read unmasked."""

    planned: tuple[Planned, ...]
    warnings: tuple[str, ...]

    @property
    def table(self) -> SizeTable:
        """Images and size a tile and year."""
        return size_table([{"tile": one.tile, "year": one.year, "images": one.images, "bytes": one.bytes} for one in self.planned])


def check(study: Study) -> Checked:
    """Return what a study's input is, before anything runs.

    Raises InputError with one line for the first thing that is wrong: legend and crosswalks, catalog, bands, mask, years without
    an acquisition, old map, reference and points.
    """
    legend = load_legend(study)
    crosswalk = load_crosswalk(study.old_map.crosswalk, legend) if study.old_map is not None else None
    tiles = resolve_tiles(study)
    found = {(tile.name, year): _found(study, tile, tiles, year) for tile in tiles for year in study.all_years()}
    warnings: list[str] = []
    mask = next((one.mask for one in found.values() if one.mask), None)
    if study.mask is not None and study.mask.method == "asset" and mask is None:
        warnings.append(f"no item has the default mask {study.mask.asset}: the series is read unmasked, with its clouds")
    if study.old_map is not None and crosswalk is not None:
        warnings += _check_map(study.old_map, crosswalk, tiles, "old map")
    for year in study.all_years():
        _check_embedding(study, year, tiles)
    _check_reference(study, legend, tiles, warnings)
    if study.points is not None:
        _check_points(study.points, tiles, warnings)
        meaning = points_crosswalk(study.points, legend, tiles[0].crs)
        point_codes(study.points, points_frame(study.points, tiles[0].crs), meaning)
    return Checked(tuple(tiles), legend, crosswalk, mask, tuple(_planned(*key, one) for key, one in found.items()), tuple(warnings))


def _planned(tile: str, year: int, found: Found) -> Planned:
    size, untold = size_of(found.acquisitions)
    return Planned(tile, year, len(found.acquisitions), size, untold, tuple((one.id, one.reason) for one in found.set_aside))


def _found(study: Study, tile: Tile, tiles: list[Tile], year: int) -> Found:
    """Search a tile and year. Raises InputError where nothing is left, with the years that there are."""
    found = find(study, tile, year)
    if found.acquisitions:
        return found
    if found.set_aside:
        first = found.set_aside[0]
        raise InputError(
            f"no acquisition of tile {tile.name} in {year} is usable: {len(found.set_aside)} are set aside, the first ({first.id}) because "
            f"{first.reason}. Correct `years` or `source`"
        )
    raise InputError(f"no acquisition of tile {tile.name} in {year}{_years_there(study, tiles)}: correct `years` in the study file")


def _years_there(study: Study, tiles: list[Tile]) -> str:
    """Return which years a static catalog has, for the message."""
    if study.source.api is not None:
        return f" ({study.source.api})"
    over = [item for item in static_items(study) if any(shows(item.geometry, tile) for tile in tiles)]
    years = Counter(items.moment(item).year for item in over)
    listed = ", ".join(f"{year} ({count})" for year, count in sorted(years.items()))
    return f"; years with acquisitions: {listed or 'none over this area'}"


def _check_embedding(study: Study, year: int, tiles: list[Tile]) -> None:
    """Check that the embeddings of a year can be read and cover a part of every tile."""
    embedding = embedding_of(study, year)
    if embedding is None:
        return
    embedding_source(embedding)
    for tile in tiles:
        if not check_embedding(embedding, tile):
            raise InputError(f"embeddings: {embedding.uri} of {year} lies beside tile {tile.name}: correct embeddings.rasters")


def _check_map(settings: OldMap, crosswalk: Crosswalk, tiles: list[Tile], what: str) -> list[str]:
    """Check that a map overlaps the area and holds known codes; return a warning for each tile that it leaves empty."""
    empty = []
    for tile in tiles:
        try:
            with _named(what):
                codes = known_codes(settings, crosswalk, tile)
        except NoOverlapError as error:
            empty.append(str(error).replace("old map", what, 1))
            continue
        if not codes:
            empty.append(f"{what} {settings.uri} holds only no data over tile {tile.name}: choose a map of the area")
    if len(empty) == len(tiles):
        raise InputError(empty[0])
    return empty


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Let errors that speak of an old map name what the map really is."""
    try:
        yield
    except NoOverlapError:
        raise
    except InputError as error:
        raise InputError(str(error).replace("old map", what, 1)) from None


def _check_reference(study: Study, legend: Legend, tiles: list[Tile], warnings: list[str]) -> None:
    settings = study.evaluate
    if settings.reference is None and settings.points is None:
        return
    crosswalk = load_crosswalk(settings.crosswalk, legend)
    references = settings.reference.values() if isinstance(settings.reference, dict) else [settings.reference] if settings.reference else []
    for uri in references:
        warnings += _check_map(OldMap(uri=uri, crosswalk=settings.crosswalk), crosswalk, tiles, "reference")
    if settings.points is not None:
        _check_points(settings.points, tiles, warnings)


def _check_points(uri: str, tiles: list[Tile], warnings: list[str]) -> None:
    """Raise InputError where none of a file's points lies inside the area; note what the filters of LUCAS drop."""
    note = points_note(uri, tiles[0].crs)
    warnings += [note] if note and note not in warnings else []
    frame = points_frame(uri, tiles[0].crs)
    if not any(len(on_tile(frame, tile)) for tile in tiles):
        box = ", ".join(f"{value:.4f}" for value in frame.to_crs("EPSG:4326").total_bounds)
        raise InputError(f"points {uri}, at [{box}] (west, south, east, north), have none inside the area: correct `area` or the file")
