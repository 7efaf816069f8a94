"""The auditor: polygons of the old map in the order of how surely they are wrong, for people to review."""

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from landtide.core.errors import InputError
from landtide.core.legend import Crosswalk, Legend
from landtide.extract.audit_counts import Counts, Maps, count
from landtide.extract.audit_score import Said, Shares, features, probability_wrong, shares, since
from landtide.extract.audit_shapes import outlines
from landtide.extract.gather import CODE_ZERO, Pool, Survey, code_reader, survey
from landtide.extract.mixtures import code_columns
from landtide.extract.oldmap import with_code_zero
from landtide.extract.polygons import polygons_at
from landtide.io.cube import open_cube
from landtide.io.manifest import Writing
from landtide.io.table import encode_frame, read_frame
from landtide.io.vector import write_polygons

CELL = 1.0
"""ha; pixels of one cell of CORINE's size are one piece of evidence."""

LEAST = 9
"""Pixels from which on a polygon is judged: what is smaller is all border, and a pixel there shows two covers."""

REVIEW = ("reviewed_class", "comment")
"""Columns that the reviewer fills in; `landtide.retrieve.points` reads the first."""


@dataclass(frozen=True)
class Audited:
    """What an audit knows of P polygons before it is written down."""

    counts: Counts
    told: Shares
    label: np.ndarray
    """(P,) label of the code, 0 where it stands for several classes or none."""

    judged: np.ndarray
    """(P,) bool: the code stands for a class, and the maps show the polygon."""

    features: dict[str, np.ndarray]
    probability: np.ndarray
    """(P,) that the polygon is wrong today."""

    said: Said


def audit(
    *,
    cubes: dict[str, str],
    maps: dict[str, dict[int, tuple[str, str]]],
    old_maps: dict[str, str],
    candidates_uri: str,
    verdicts_uri: str,
    crosswalk: Crosswalk,
    legend: Legend,
    map_year: int | None,
    most: int,
    out: Writing,
    pool: Pool,
) -> None:
    """Write ``audit.parquet`` and ``audit.csv``, a row a polygon, the surest wrong first; ``audit.gpkg`` with outlines of the first.

    cubes           tile -> URI of a cube of any year, for its grid
    maps            tile -> year -> URIs of label and confidence
    old_maps        tile -> URI of the old map's codes on the tile's grid
    candidates_uri  places that the extraction looked at
    verdicts_uri    what it found of polygons
    map_year        year that the old map shows
    most            polygons with an outline

    Raises InputError where no polygon can be judged.
    """
    crosswalk, names = with_code_zero(crosswalk), sorted(old_maps)
    surveys = [survey(open_cube(cubes[name]).tile, old_maps[name]) for name in names]
    years = sorted(maps[names[0]])
    paths: list[Maps] = [tuple(maps[name][year] for year in years) for name in names]
    found = judge(surveys, names, paths, read_frame(candidates_uri), read_frame(verdicts_uri), crosswalk, legend, pool)
    if not found.judged.any():
        raise InputError("no polygon of the old map can be judged: its codes stand for no class of the legend, or the maps show none of it")
    table = _table(found, years, map_year, names, crosswalk, legend)
    frame = table.drop(columns="polygon")
    out.put("audit.parquet", encode_frame(table))
    out.add_asset(
        "table", "audit.parquet", media_type="application/vnd.apache.parquet", title="Every judged polygon, the surest wrong first"
    )
    out.put("audit.csv", frame.to_csv(index=False).encode())
    out.add_asset("csv", "audit.csv", media_type="text/csv", title="The same as text")
    first = table.head(most)
    shapes = outlines(surveys, found.counts.group, found.counts.first_part, first["polygon"].to_numpy(), pool)
    layer = gpd.GeoDataFrame(frame.head(most).assign(**dict.fromkeys(REVIEW, "")), geometry=shapes.to_numpy(), crs=shapes.crs)
    local = out.scratch / "audit.gpkg"
    write_polygons(local, layer, "audit")
    out.upload(local, "audit.gpkg")
    out.add_asset("polygons", "audit.gpkg", media_type="application/geopackage+sqlite3", title="The first of them with outlines, to review")
    out.put_json("summary.json", _summary(found, table, years, map_year, legend))
    out.add_asset(
        "summary", "summary.json", media_type="application/json", roles=["metadata"], title="How much of the map is how surely wrong"
    )
    out.properties["landtide:polygons"] = len(table)


def judge(
    surveys: list[Survey],
    names: list[str],
    maps: list[Maps],
    candidates: pd.DataFrame,
    verdicts: pd.DataFrame,
    crosswalk: Crosswalk,
    legend: Legend,
    pool: Pool,
) -> Audited:
    """Compute for every polygon the probability that it is wrong today. Everything goes by tiles in the order of ``names``."""
    counts = count(surveys, maps, len(legend), pool)
    codes, place = np.unique(counts.code, return_inverse=True)
    columns = code_columns(crosswalk, codes, len(legend))
    allowed = (columns.members[:, columns.column] > 0).T[place]  # (P, K)
    label = np.where(allowed.sum(axis=1) == 1, allowed.argmax(axis=1) + 1, 0)
    told = shares(counts.mass, counts.seen, allowed)
    said = _said(surveys, names, counts, candidates, verdicts, allowed)
    described = features(told, said, counts.pixels, allowed, label)
    judged = allowed.any(axis=1) & (counts.seen[-1] > 0) & (counts.code != 0) & (counts.pixels >= LEAST)
    return Audited(counts, told, label, judged, described, probability_wrong(described), said)


def _said(
    surveys: list[Survey], names: list[str], counts: Counts, candidates: pd.DataFrame, verdicts: pd.DataFrame, allowed: np.ndarray
) -> Said:
    """Sum up by polygon what the extraction found."""
    total = len(counts.code)
    places, own, foreign = np.zeros(total, np.int64), np.zeros(total), np.zeros(total)
    refused, kept = np.zeros(total, bool), np.zeros(total, bool)
    for number, (name, item) in enumerate(zip(names, surveys, strict=True)):
        group = counts.group[counts.first_part[number] : counts.first_part[number + 1]]
        seen = candidates[(candidates["tile"] == name) & (candidates["presumed"] > 0)]
        with code_reader(item.uri) as read:
            _, part, _ = polygons_at(read, item.polygons, seen["row"].to_numpy(np.int64), seen["column"].to_numpy(np.int64), 1)
        seen, polygon = seen[part >= 0], group[part[part >= 0]]
        fits = allowed[polygon, seen["presumed"].to_numpy(np.int64) - 1]
        trust = seen["trust"].to_numpy(np.float64)
        places += np.bincount(polygon, minlength=total)
        own += np.bincount(polygon, np.where(fits, trust, 0), minlength=total)
        foreign += np.bincount(polygon, np.where(fits, 0, trust), minlength=total)
        here = verdicts[verdicts["tile"] == name]
        of = group[here["polygon"].to_numpy(np.int64)]
        refused[of[here["reason"].isin(["consistency", "margin"]).to_numpy()]] = True
        kept[of[(here["reason"] == "kept").to_numpy()]] = True
    return Said(places, own, foreign, refused, kept)


def _table(found: Audited, years: list[int], map_year: int | None, names: list[str], crosswalk: Crosswalk, legend: Legend) -> pd.DataFrame:
    """Return a row a judged polygon, the surest wrong first and the larger before the smaller."""
    counts, told = found.counts, found.told
    rows = np.flatnonzero(found.judged)
    rows = rows[np.lexsort((rows, -counts.area[rows], -found.probability[rows].round(3)))]
    code = counts.code[rows]
    class_names = np.array(["", *legend.names])
    kind, year = _since(told, years, map_year)
    own_name = np.where(found.label > 0, class_names[found.label], "")[rows]
    shown = {value: max(0, value) if value == CODE_ZERO else value for value in np.unique(code).tolist()}
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(rows) + 1),
            "code": [shown[value] for value in code.tolist()],
            "code_name": [crosswalk.exact.get(str(value), str(value)) for value in code.tolist()],
            "old_class": [name or "several" for name in own_name.tolist()],
            "area_ha": counts.area[rows].round(2),
            "p_wrong": found.probability[rows].astype(np.float64).round(3),
            "kind": kind[rows],
            "since": pd.array(np.where(year[rows] > 0, year[rows], 0), "Int64"),
            "class_now": class_names[told.largest[-1][rows]],
            "share_now": told.share[-1][rows].astype(np.float64).round(3),
            "old_share_now": (told.own[-1] / np.maximum(told.confidence[-1], 1e-9))[rows].astype(np.float64).round(3),
            "pixels": counts.pixels[rows],
            "evidence": np.maximum(1, np.rint(counts.area[rows] / CELL)).astype(np.int64),
            "places": found.said.places[rows],
            "year": years[-1],
            "tile": _tiles(counts, names)[rows],
            "lon": counts.centre[rows, 0].round(6),
            "lat": counts.centre[rows, 1].round(6),
            "polygon": rows,
        }
    ).assign(since=lambda table: table["since"].replace(0, pd.NA))


def _since(told: Shares, years: list[int], map_year: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return in words what each polygon is, and the year from which its land is another; 0 where that is not known.

    A polygon that was another class already in the first year was wrong from the start only if the map is of that year or later:
    else it may have been right once.
    """
    place = since(told)
    start = years.index(map_year) if map_year in years else 0
    early = "wrong from the start" if map_year in years else f"another class before {years[0]}"
    kind = np.where(place == len(years), "agrees", np.where(place <= start, early, "outdated"))
    year = np.where((place > start) & (place < len(years)), np.array([*years, 0])[place], 0)
    return kind.astype(object), year


def _tiles(counts: Counts, names: list[str]) -> np.ndarray:
    """Return the names of the tiles that each polygon lies on, (P,) text."""
    text = np.full(len(counts.code), "", object)
    for number, name in enumerate(names):
        here = np.unique(counts.group[counts.first_part[number] : counts.first_part[number + 1]])
        text[here] = [f"{before} {name}".strip() for before in text[here]]
    return text


def _summary(found: Audited, table: pd.DataFrame, years: list[int], map_year: int | None, legend: Legend) -> dict[str, Any]:
    """Return how much of the map is how surely wrong, by class."""
    area, wrong = table["area_ha"].to_numpy(np.float64), table["p_wrong"].to_numpy(np.float64)
    grouped = table.assign(wrong_ha=area * wrong).groupby("old_class", sort=False)
    classes = [
        {
            "name": str(name),
            "polygons": len(own),
            "area_ha": round(float(own["area_ha"].sum()), 2),
            "wrong_ha": round(float(own["wrong_ha"].sum()), 2),
        }
        for name, own in grouped
    ]
    order = {name: place for place, name in enumerate([*legend.names, "several"])}
    left = ~found.judged & (found.counts.code != 0)
    return {
        "years": years,
        "map_year": map_year,
        "polygons": len(table),
        "area_ha": round(float(area.sum()), 2),
        "expected_wrong": round(float(wrong.sum()), 1),
        "expected_wrong_ha": round(float((area * wrong).sum()), 2),
        "likely": int((wrong >= 0.5).sum()),
        "outdated": int((table["kind"] == "outdated").sum()),
        "not_judged": int(left.sum()),
        "not_judged_ha": round(float(found.counts.area[left].sum()), 2),
        "classes": sorted(classes, key=lambda item: order[str(item["name"])]),
    }
