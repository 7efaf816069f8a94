"""Evaluate the maps of a study: against references, against the old map, and against each other."""

from typing import Any

import numpy as np
from rasterio.errors import RasterioIOError

from landtide.core.errors import InputError
from landtide.core.legend import CROSSWALKS, Crosswalk, Legend, builtin_crosswalk, identity_crosswalk, parse_crosswalk
from landtide.core.study import Evaluate
from landtide.core.tile import Tile
from landtide.evaluate.assess import Assessment, Meaning
from landtide.evaluate.census import count_blocks
from landtide.evaluate.pixels import Layer
from landtide.evaluate.points import Points, load_points, match
from landtide.evaluate.results import build_report
from landtide.evaluate.score_blocks import assess_blocks
from landtide.evaluate.score_points import Extent, assess_points
from landtide.evaluate.tally import Maps, Pool, Tally, count_tile
from landtide.evaluate.temporal import describe_areas, describe_old_map, describe_years
from landtide.evaluate.views import code_states, map_states, views_of
from landtide.io import storage
from landtide.io.manifest import Writing
from landtide.io.raster import open_raster

REPORT = "report.json"


def run(
    *,
    maps: dict[str, dict[int, str]],
    old_maps: dict[str, str],
    crosswalk: Crosswalk | None,
    legend: Legend,
    tiles: dict[str, Tile],
    settings: Evaluate,
    seed: int,
    out: Writing,
    pool: Pool,
) -> None:
    """Write the asset ``report`` (report.json, see results.py), and its flat numbers as the property ``landtide:metrics``.

    maps      tile -> year -> URI of the label raster
    old_maps  tile -> URI of the old map's codes on the tile's grid; empty without old map, then ``crosswalk`` is None

    Raises InputError where the reference is of no year of the study, or holds a class that its crosswalk does not know.
    """
    record = evaluate(
        maps=maps, old_maps=old_maps, crosswalk=crosswalk, legend=legend, tiles=tiles, settings=settings, seed=seed, pool=pool
    )
    out.put_json(REPORT, record)
    out.add_asset("report", REPORT, media_type="application/json", roles=["metadata"], title="Accuracy, areas and agreement")
    out.properties["landtide:metrics"] = record["metrics"]


def evaluate(
    *,
    maps: dict[str, dict[int, str]],
    old_maps: dict[str, str],
    crosswalk: Crosswalk | None,
    legend: Legend,
    tiles: dict[str, Tile],
    settings: Evaluate,
    seed: int,
    pool: Pool,
) -> dict[str, Any]:
    """Return the report; see `run`."""
    views = views_of(legend)
    years = sorted({year for by_year in maps.values() for year in by_year})
    old_states = code_states(views, crosswalk) if crosswalk is not None and old_maps else None
    everything = Maps([tiles[name] for name in sorted(tiles)], years, maps, map_states(views), old_maps, old_states)
    tallies = {tile.name: count_tile(everything, tile, pool) for tile in everything.tiles}
    truth_crosswalk = load_crosswalk(settings.crosswalk, legend)
    meaning = Meaning(views, everything.states, old_states, code_states(views, truth_crosswalk))
    notes: list[str] = []
    assessments = _against_rasters(everything, meaning, settings, seed, pool, notes)
    assessments += _against_points(everything, meaning, settings, tallies, notes)
    if not assessments and old_states is not None:
        assessments = [_against_old_map(everything, meaning, seed, pool)]
    return build_report(
        legend,
        years,
        everything.tiles,
        assessments,
        areas=describe_areas(everything, legend, tallies),
        temporal=describe_years(everything, tallies),
        old_map=describe_old_map(everything, legend, tallies),
        notes=notes,
    )


def check(settings: Evaluate, legend: Legend, tiles: list[Tile], years: list[int]) -> None:
    """Find what is wrong with the references before anything is computed.

    Raises InputError for an unreadable crosswalk or points, classes unknown to the crosswalk, or years that are not mapped.
    """
    states = code_states(views_of(legend), load_crosswalk(settings.crosswalk, legend))
    for uri in reference_rasters(settings, years).values():
        _require_raster(uri)
    if settings.points:
        _years_of(load_points(settings.points, states, tiles, settings.year or years[-1]), years, settings.points)


def load_crosswalk(name: str, legend: Legend) -> Crosswalk:
    """Return a crosswalk by name, or from a CSV file. Raises InputError where there is no such file."""
    if name == "identity":
        return identity_crosswalk(legend)
    if name in CROSSWALKS:
        return builtin_crosswalk(name, legend)
    try:
        return parse_crosswalk(storage.read_text(name), name, legend)
    except FileNotFoundError as error:
        raise InputError(f"evaluate.crosswalk: {name} is no file, and none of identity, {', '.join(CROSSWALKS)}") from error


def reference_rasters(settings: Evaluate, years: list[int]) -> dict[int, str]:
    """Return year -> URI of the reference rasters that show a mapped year. Raises InputError where none does."""
    if settings.reference is None:
        return {}
    table = settings.reference if isinstance(settings.reference, dict) else {settings.year or years[-1]: settings.reference}
    held = {year: uri for year, uri in sorted(table.items()) if year in years}
    if not held:
        given, mapped = (", ".join(map(str, sorted(some))) for some in (table, years))
        raise InputError(f"evaluate.reference is of {given}, the maps are of {mapped}: set evaluate.year, or map that year")
    return held


def _require_raster(uri: str) -> None:
    """Raise InputError where a reference cannot be opened: it is the user's file, and everything else is done by then."""
    try:
        with open_raster(uri):
            pass
    except RasterioIOError as error:
        raise InputError(f"evaluate.reference: {uri} cannot be read as a raster: {' '.join(str(error).split())[:160]}") from error


def _against_rasters(maps: Maps, meaning: Meaning, settings: Evaluate, seed: int, pool: Pool, notes: list[str]) -> list[Assessment]:
    found = []
    for year, uri in reference_rasters(settings, maps.years).items():
        _require_raster(uri)
        blocks = count_blocks(maps, year, Layer(uri, meaning.truth), pool)
        made = assess_blocks(blocks, meaning, source="raster", name=_file(uri), year=year, pixel_area=_pixel_area(maps.tiles), seed=seed)
        if not made.used:
            raise InputError(f"evaluate.reference: {uri} has no class at any mapped pixel of {year}: does it cover the area?")
        found.append(made)
    unused = sorted(set(settings.reference) - set(maps.years)) if isinstance(settings.reference, dict) else []
    if unused:
        notes.append(f"References of {', '.join(map(str, unused))} are not used: these years are not mapped")
    return found


def _against_points(maps: Maps, meaning: Meaning, settings: Evaluate, tallies: dict[str, Tally], notes: list[str]) -> list[Assessment]:
    if settings.points is None:
        return []
    points = load_points(settings.points, meaning.truth, maps.tiles, settings.year or maps.years[-1])
    mapped, others = _years_of(points, maps.years, settings.points)
    if others:
        listed = ", ".join(f"{year} ({int((points.year == year).sum())})" for year in others)
        notes.append(f"Points of years that are not mapped are not used: {listed}")
    found = []
    for year in mapped:
        matched = match(points, maps, year)
        if len(matched.new):
            extent = _extent(maps, maps.years.index(year), tallies)
            found.append(assess_points(matched, meaning, extent, name=_file(settings.points), year=year))
        else:
            notes.append(f"No point of {year} lies on a pixel with data: " + ", ".join(f"{why} {count}" for why, count in matched.left_out))
    if not found:
        raise InputError(f"evaluate.points: no point of {settings.points} lies on a mapped pixel: do the coordinates fit the area?")
    return found


def _years_of(points: Points, years: list[int], uri: str) -> tuple[list[int], list[int]]:
    """Return the years of points that are mapped, and those that are not. Raises InputError where none is mapped."""
    held = [int(year) for year in np.unique(points.year)]
    mapped = [year for year in held if year in years]
    if not mapped:
        given, wanted = (", ".join(map(str, some)) for some in (held, years))
        raise InputError(
            f"evaluate.points: {uri} holds points of {given or 'no year'}, the maps are of {wanted}: map that year, or correct the dates"
        )
    return mapped, [year for year in held if year not in years]


def _against_old_map(maps: Maps, meaning: Meaning, seed: int, pool: Pool) -> Assessment:
    """Tell how far the newest maps agree with the old one: all that can be said without a reference."""
    assert meaning.old is not None
    year = maps.years[-1]
    layers = {name: Layer(uri, meaning.old) for name, uri in maps.old.items()}
    blocks = count_blocks(maps, year, layers, pool)
    alone = Meaning(meaning.views, meaning.new, meaning.old, meaning.old)
    return assess_blocks(blocks, alone, source="old_map", name="old map", year=year, pixel_area=_pixel_area(maps.tiles), seed=seed)


def _extent(maps: Maps, year: int, tallies: dict[str, Tally]) -> Extent:
    """Return the mapped area of each state, which weights the points."""
    area = {tile.name: tile.pixel_area for tile in maps.tiles}
    new = sum((tally.labels[year] * area[name] for name, tally in tallies.items()), np.zeros(len(maps.states) + 1))
    old = np.sum([tally.old[year].sum(axis=1) * area[name] for name, tally in tallies.items()], axis=0)
    return Extent(new, old, _pixel_area(maps.tiles))


def _pixel_area(tiles: list[Tile]) -> float:
    """Return the mean ha of a pixel; tiles of one study share their pixel size to a fraction of a per cent."""
    return float(np.mean([tile.pixel_area for tile in tiles]))


def _file(uri: str) -> str:
    """Return the file's name: reports are published, and the folders of a user are nobody's business."""
    return uri.rstrip("/").rsplit("/", 1)[-1]
