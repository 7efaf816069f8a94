"""The first extraction: from an old map (and points) to trusted samples of all years, with a report of what was refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from landtide.core.errors import InputError
from landtide.core.legend import Crosswalk, Legend
from landtide.core.samples import SampleSet
from landtide.core.study import Extract
from landtide.extract import report
from landtide.extract.clean import Cleaned, OldLabels, clean_labels
from landtide.extract.draw import class_targets, draw
from landtide.extract.gather import CODE_ZERO, TILE_STRIDE, Pixels, Pool, Survey, choose_pixels, read_series, survey
from landtide.extract.methods import READS_MIXED_CODES
from landtide.extract.mixtures import code_columns
from landtide.extract.points import LabelledPoint, point_series, point_trust
from landtide.extract.series import FEW, Inputs, Labelled, open_inputs, sample_set
from landtide.io.manifest import Writing
from landtide.io.table import encode_frame, encode_samples

GROUP_BLOCK = 128
"""Pixels: a polygon larger than such a square is cut into blocks of this side for grouping, or one polygon would fill a fold."""

POINT_GROUP = 1 << 60
"""Added to the numbers of points, so that their groups never meet those of polygons."""


def from_old_map(
    *,
    cubes: dict[str, dict[int, str]],
    old_maps: dict[str, str],
    crosswalk: Crosswalk,
    legend: Legend,
    accuracy: float,
    map_year: int | None,
    points: list[LabelledPoint] | None,
    settings: Extract,
    seed: int,
    out: Writing,
    pool: Pool,
) -> None:
    """Extract samples from an old map, from points, or from both; write samples, candidates and what was refused.

    cubes     tile -> year -> URI of the cube
    old_maps  tile -> URI of the old map's codes on the tile's grid; empty for points alone
    accuracy  m; positional accuracy of the old map
    map_year  year that the old map shows; None = before the first year

    Raises InputError where fewer than two classes have samples, or one has too few and the study says to stop.
    """
    inputs, crosswalk = open_inputs(cubes), with_code_zero(crosswalk)
    given = _from_points(points or [], inputs, legend, seed, pool)
    if old_maps:
        surveys = [survey(tile, old_maps[cubes_tile]) for tile, cubes_tile in zip(inputs.tiles, sorted(cubes), strict=True)]
        x, old, cleaned = _from_map(surveys, inputs, crosswalk, legend, accuracy, map_year, settings.method, seed, pool)
        found = _labelled(x, old.pixels, old.area, cleaned)
        candidates = choose_candidates(old, cleaned, settings.candidates, seed)
    else:
        surveys, cleaned, found = [], None, None
        candidates = _random_candidates(inputs, settings.candidates, seed)
    samples, record = _draw(found, given, cleaned, surveys, inputs, crosswalk, legend, settings, seed)
    names = np.array(sorted(cubes))
    candidates["tile"] = names[candidates["tile"].to_numpy()]
    out.put("samples.parquet", encode_samples(samples))
    out.add_asset("samples", "samples.parquet", media_type="application/vnd.apache.parquet", title="Samples from the old map")
    out.put("candidates.parquet", encode_frame(candidates))
    out.add_asset("candidates", "candidates.parquet", media_type="application/vnd.apache.parquet", title="Places for preliminary labels")
    if cleaned is not None:
        out.put("verdicts.parquet", encode_frame(report.verdict_frame(cleaned.selection, sorted(cubes))))
        out.add_asset("verdicts", "verdicts.parquet", media_type="application/vnd.apache.parquet", title="What was found of each polygon")
    out.put_json("refused.json", record)
    out.properties["landtide:samples"] = len(samples)
    out.add_asset("refused", "refused.json", media_type="application/json", roles=["metadata"], title="What was refused, and why")


def with_code_zero(crosswalk: Crosswalk) -> Crosswalk:
    """Let a crosswalk know code 0 by the name it has inside the extraction."""
    if crosswalk.labels.get("0") is None:
        return crosswalk
    name = {str(CODE_ZERO): crosswalk.exact["0"]} if "0" in crosswalk.exact else {}
    return replace(crosswalk, labels={**crosswalk.labels, str(CODE_ZERO): crosswalk.labels["0"]}, exact={**crosswalk.exact, **name})


def _from_map(
    surveys: list[Survey],
    inputs: Inputs,
    crosswalk: Crosswalk,
    legend: Legend,
    accuracy: float,
    map_year: int | None,
    method: str,
    seed: int,
    pool: Pool,
) -> tuple[np.ndarray, OldLabels, Cleaned]:
    """Choose places, read their series and clean their labels."""
    areas: dict[int, int] = {}
    for item in surveys:
        for code, area in item.areas().items():
            areas[code] = areas.get(code, 0) + area
    codes = np.array(sorted(areas), np.int64)
    classes = np.unique(crosswalk.translate(codes, 0)) if len(codes) else np.zeros(0)
    pixel_size = inputs.tiles[0].pixel_size
    columns = code_columns(crosswalk, np.union1d([0], codes), len(legend))
    if len(classes[classes > 0]) < 2 and (method not in READS_MIXED_CODES or (columns.members.sum(axis=1) > 0).sum() < 2):
        held = ", ".join(legend.names[int(value) - 1] for value in classes if value) or "none"
        raise InputError(
            f"old map leads to {len(classes[classes > 0])} class ({held}) of legend {legend.name!r} over the area: "
            "at least 2 are needed to tell land covers apart; widen the area or check the crosswalk"
        )
    pixels = choose_pixels(surveys, len(inputs.years), max(2, round(accuracy / pixel_size) + 2), seed)
    x = read_series(inputs.uris, pixels.tile, pixels.row, pixels.column, pool)
    reference = inputs.years.index(map_year) if map_year in inputs.years else None
    old = OldLabels(pixels, crosswalk.translate(pixels.code, 0), columns, _polygon_area(pixels, surveys))
    if not np.isfinite(x).any():
        raise InputError("no valid observation at any place of the old map: check mask and period of the composites")
    flat = x.reshape(len(x), x.shape[1], -1)
    cleaned = clean_labels(flat, old, pixel_size=pixel_size, accuracy=accuracy, reference=reference, seed=seed, method=method)
    return x, old, cleaned


def _polygon_area(pixels: Pixels, surveys: list[Survey]) -> np.ndarray:
    area = np.zeros(len(pixels.tile), np.int64)
    for number, item in enumerate(surveys):
        own = np.flatnonzero((pixels.tile == number) & (pixels.polygon >= 0))
        area[own] = item.polygons.area[pixels.polygon[own] % TILE_STRIDE]
    return area


def _labelled(x: np.ndarray, pixels: Pixels, area: np.ndarray, cleaned: Cleaned) -> Labelled:
    place = cleaned.pixel
    group = group_of(pixels.tile, pixels.row, pixels.column, pixels.polygon, area)
    return Labelled(
        x[place, cleaned.year],
        pixels.tile[place],
        pixels.row[place],
        pixels.column[place],
        cleaned.year,
        cleaned.label,
        cleaned.trust,
        group[place],
    )


def group_of(tile: np.ndarray, row: np.ndarray, column: np.ndarray, polygon: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Return the group of each place, (N,) int64: its polygon, or the block of 128 pixels in which it lies if the polygon is larger."""
    block = (tile * 4096 + row // GROUP_BLOCK) * 4096 + column // GROUP_BLOCK
    return np.asarray(np.where((area > GROUP_BLOCK**2) | (polygon < 0), -1 - block, polygon))


def _from_points(points: list[LabelledPoint], inputs: Inputs, legend: Legend, seed: int, pool: Pool) -> Labelled | None:
    """Read the series of labelled points. A trust that was told stands; the others are judged by each other."""
    if not points:
        return None
    table = point_series(points, [tile.name for tile in inputs.tiles], inputs.years, legend)
    tile, row, column, label, year, number = table.T
    x = read_series(inputs.uris, tile, row, column, pool)[np.arange(len(table)), year]
    told = np.array([np.nan if point.trust is None else point.trust for point in points], np.float32)[number]
    group = POINT_GROUP + np.array([number if point.group is None else point.group for number, point in enumerate(points)])[number]
    found = Labelled(x, tile, row, column, year, label.astype(np.uint8), told, group).take(np.isfinite(x).any(axis=(1, 2)))
    if np.isnan(found.trust).any():
        judged = point_trust(found.x.reshape(len(found.x), -1), found.label, found.year, found.group, seed)
        found = replace(found, trust=np.where(np.isnan(found.trust), judged, found.trust))
    return found


def _draw(
    found: Labelled | None,
    given: Labelled | None,
    cleaned: Cleaned | None,
    surveys: list[Survey],
    inputs: Inputs,
    crosswalk: Crosswalk,
    legend: Legend,
    settings: Extract,
    seed: int,
) -> tuple[SampleSet, dict[str, Any]]:
    """Draw samples of every class, join the points, and write down what happened."""
    classes = len(legend)
    area = np.bincount(found.label, minlength=classes + 1)[1:] if found is not None else np.zeros(classes, np.int64)
    sure = np.flatnonzero(found.trust >= settings.trust) if found is not None else np.zeros(0, np.int64)
    trusted = found.take(sure) if found is not None else None
    offered = len(given.label) if given is not None else 0
    given = given.take(np.flatnonzero(given.trust >= settings.trust)) if given is not None else None
    kept = _count(trusted, classes) + _count(given, classes)
    held = _count(given, classes) + sum((_held(item, crosswalk, classes) for item in surveys), np.zeros(classes, np.int64))
    dropped = _too_few(kept, held, legend, settings)
    lifted: list[int] = []
    parts = []
    if trusted is not None:
        target = class_targets(np.where(kept >= FEW, np.maximum(area, 1), 0), settings.per_class)
        kind = cleaned.kind[sure] if cleaned is not None else None
        mask, lifted = draw(trusted.label, trusted.group, target, settings.draws, seed, kind)
        drawn = np.flatnonzero(mask)
        parts.append(sample_set(trusted.take(drawn), mask[drawn], inputs, "old_map"))
    if given is not None:
        every = np.full(len(given.label), (1 << settings.draws) - 1, np.uint32)
        held = np.flatnonzero(kept[given.label.astype(int) - 1] >= FEW)
        parts.append(sample_set(given.take(held), every[held], inputs, "points"))
    samples = SampleSet.concatenate(parts)
    records = report.class_records(
        legend, cleaned.selection if cleaned else None, kept, np.bincount(samples.y, minlength=classes + 1)[1:], dropped
    )
    rescued = list(cleaned.rescued) if cleaned else []
    return samples, {
        "stage": "old_map" if cleaned else "points",
        "classes": records,
        "method": settings.method if cleaned else None,
        "refused_polygons": report.refused_polygons(cleaned.selection, surveys, legend) if cleaned and cleaned.selection else [],
        "excluded_codes": report.excluded_codes(surveys, crosswalk),
        "series": len(found.label) if found is not None else 0,
        "trusted": len(trusted.label) if trusted is not None else 0,
        "points": len(given.label) if given is not None else 0,
        "points_refused": offered - (len(given.label) if given is not None else 0),
        "rescued": [legend.names[label - 1] for label in rescued],
        "lines": report.text_lines(records, lifted, legend.names)
        + [
            f"{legend.names[label - 1]}: its samples come from its own polygons alone, the rest of the map speaks for another class"
            for label in rescued
        ]
        + (
            [f"{offered - len(given.label)} of {offered} labelled series of points refused"] if given and offered > len(given.label) else []
        ),
    }


def _count(labelled: Labelled | None, classes: int) -> np.ndarray:
    if labelled is None:
        return np.zeros(classes, np.int64)
    return np.bincount(labelled.label, minlength=classes + 1)[1:]


def _held(item: Survey, crosswalk: Crosswalk, classes: int) -> np.ndarray:
    """Return the pixels of each class in the old map of a tile, (K,)."""
    label = crosswalk.translate(item.polygons.code, 0)
    return np.bincount(label, item.polygons.area, minlength=classes + 1)[1:].astype(np.int64)


def _too_few(kept: np.ndarray, held: np.ndarray, legend: Legend, settings: Extract) -> dict[int, str]:
    """Return why classes have no samples, by label.

    Raises InputError where the study says to stop at such a class, or where fewer than two classes are left.
    """
    dropped = {}
    for label in np.flatnonzero(kept < FEW) + 1:
        count = int(kept[label - 1])
        if held[label - 1] == 0 and count == 0:
            dropped[int(label)] = "the old map holds none of it, nor does any point"
            continue
        dropped[int(label)] = f"only {count} series of it are trusted, at least {FEW} are needed"
        if settings.few == "stop":
            raise InputError(
                f"class {legend.names[label - 1]!r} keeps {count} samples, at least {FEW} are needed: "
                "add labelled points, lower `extract.trust`, or set `extract.few: drop` to go on without it"
            )
    if len(kept) - len(dropped) < 2:
        left = [name for label, name in enumerate(legend.names, start=1) if label not in dropped]
        raise InputError(
            f"fewer than two classes have samples ({', '.join(left) or 'none'}): nothing can be told apart; "
            "add labelled points, lower `extract.trust`, or check the crosswalk"
        )
    return dropped


def choose_candidates(old: OldLabels, cleaned: Cleaned, most: int, seed: int) -> pd.DataFrame:
    """Choose places that get preliminary labels: half at random, half evenly over presumed classes, excluded codes as well.

    Columns tile (number), row, column, old_label, and what the extraction presumes: presumed (label), trust and kind (sub-class).
    """
    places = old.pixels
    presumed = np.zeros(len(places.row), np.int64)
    presumed[cleaned.pixel] = cleaned.label
    score = np.zeros(len(places.row), np.float32)
    score[cleaned.pixel] = cleaned.trust
    kind = np.zeros(len(places.row), np.int64)
    kind[cleaned.pixel] = cleaned.kind
    seen = np.flatnonzero(presumed > 0)
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(places.row), bool)
    chosen[rng.permutation(seen)[: most // 2]] = True
    stratum = presumed * 2 + (old.label == 0)
    rest = rng.permutation(seen[~chosen[seen]])
    rest = rest[np.argsort(stratum[rest], kind="stable")]
    _, start, count = np.unique(stratum[rest], return_index=True, return_counts=True)
    rank = np.arange(len(rest)) - np.repeat(start, count)
    chosen[rest[np.argsort(rank, kind="stable")[: most - int(chosen.sum())]]] = True
    index = np.flatnonzero(chosen)
    return pd.DataFrame(
        {
            "tile": places.tile[index],
            "row": places.row[index],
            "column": places.column[index],
            "old_label": old.label[index].astype(np.uint8),
            "presumed": presumed[index].astype(np.uint8),
            "trust": score[index],
            "kind": kind[index].astype(np.uint8),
        }
    )


def _random_candidates(inputs: Inputs, most: int, seed: int) -> pd.DataFrame:
    """Choose places at random over all tiles, for a study without an old map."""
    rng = np.random.default_rng(seed)
    sizes = np.array([tile.shape[0] * tile.shape[1] for tile in inputs.tiles])
    flat = np.sort(rng.choice(int(sizes.sum()), min(most, int(sizes.sum())), replace=False))
    ends = np.cumsum(sizes)
    tile = np.searchsorted(ends, flat, side="right")
    local = flat - (ends - sizes)[tile]
    widths = np.array([tile.shape[1] for tile in inputs.tiles])[tile]
    return pd.DataFrame({"tile": tile, "row": local // widths, "column": local % widths, "old_label": np.zeros(len(flat), np.uint8)})
