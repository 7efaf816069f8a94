"""The report of an evaluation: the JSON that the HTML report, the metrics of the pipeline and the users' own scripts read.

``report.json`` (fractions 0-1, areas in ha, ``_ci95`` = half-width of the 95 % interval, null = undefined)::

    {
      "version": 1,
      "legend": {"name": "landtide10", "classes": [{"code": 1, "name": "urban", "color": "#D7263D"}, ...]},
      "years": [2015, 2016, 2017],
      "tiles": [{"name": "33TVL", "crs": "EPSG:32633", "rows": 101, "columns": 100, "hectares": 100.9}],
      "headline": {
        "kind": "accuracy" | "agreement" | "none",         "agreement" = against the old map, which is no reference
        "source": "raster" | "points" | "old_map" | null,  "year": 2017 | null,
        "new": 0.93, "new_ci95": 0.01,                     overall accuracy (or agreement) of the new map
        "old": 0.77, "old_ci95": 0.02,                     the old map by the same rule; null without one
        "gain": 0.16, "gain_ci95": 0.02,                   paired: both maps on the same units
        "sentence": "one sentence for people"
      },
      "assessments": [                                     the headline's first; one per source and year; may be []
        {
          "id": "raster-2017", "kind": "accuracy" | "agreement", "source": "raster" | "points" | "old_map",
          "name": "reference_2017.tif", "year": 2017,
          "design": "census" | "stratified" | "poststratified",
          "used": 9945,                                    reference units (pixels or points) that count
          "left_out": [{"reason": "no data in the map", "units": 12}, ...],
          "notes": ["class shrubland: ..."],
          "views": [                                       the study's legend first, then its merges (landtide9, landtide8)
            {
              "legend": "landtide10",
              "classes": [{"name": "urban", "color": "#D7263D"}, ...],   in the order of every report's arrays, but for a
                                                           last "no single class" that a report may have in addition
              "new": AccuracyReport.to_dict(),
              "old": AccuracyReport.to_dict() | null,      what the old map cannot name counts as wrong
              "old_translated": AccuracyReport.to_dict() | null,         only where the old map names a class; null where that is everywhere
              "gain": 0.16 | null, "gain_ci95": 0.02 | null
            }
          ]
        }
      ],
      "areas": {                                           counted from the maps; the assessments' areas are corrected by the reference
        "classes": ["urban", ...],
        "years": [{"year": 2015, "hectares": [12.1, ...], "no_data": 0.0, "do_not_know": 0.0}, ...],
        "tiles": [{"tile": "33TVL", "year": 2015, "hectares": [12.1, ...], "no_data": 0.0, "do_not_know": 0.0}, ...],
        "old_map": {"hectares": [...], "no_data": 0.0, "no_single_class": 3.0} | null
      },
      "temporal": {                                        null where there is one year
        "pixels": 10100,                                   with a label in every year
        "all_years": 0.78,                                 share of them with the same label in all years
        "pairwise": 0.85,                                  mean over all pairs of years
        "pairs": [{"from": 2015, "to": 2016, "pixels": 10100, "agreement": 0.84}, ...],
        "flips": {"share": 0.02, "triples": 10100} | null, A-B-A in three years running; null below three years
        "transitions": [{"from": 2015, "to": 2016, "hectares": [[...], ...]}, ...]   consecutive years; row = earlier class
      } | null,
      "old_map": {                                         the old map against the new ones; null without old map
        "agreement": [{"year": 2015, "pixels": 10100, "agreement": 0.8, "agreement_translated": 0.8}, ...],
        "rows": ["urban", ..., "no single class"], "columns": ["urban", ...],
        "transitions": [{"year": 2015, "hectares": [[...], ...]}, ...]   row = old class
      } | null,
      "metrics": {"overall_accuracy": 0.93, ...},          flat numbers, for `dsl.Metrics`
      "notes": ["..."]
    }

``AccuracyReport.to_dict()`` has classes, counts (row = map, column = reference), proportions, overall, overall_ci95, kappa, units,
protocol, and users, producers, area with their ``_ci95``, and f1: lists in the order of its own ``classes``.
"""

import math
from typing import Any

from landtide.core.legend import Legend
from landtide.core.tile import Tile
from landtide.evaluate.assess import Assessment

VERSION = 1
SOURCES = {"raster": 0, "points": 1, "old_map": 2}
"""Which comparison speaks for the map where there are several: every pixel before a sample, and the old map last."""


def build_report(
    legend: Legend,
    years: list[int],
    tiles: list[Tile],
    assessments: list[Assessment],
    *,
    areas: dict[str, Any],
    temporal: dict[str, Any] | None,
    old_map: dict[str, Any] | None,
    notes: list[str],
) -> dict[str, Any]:
    """Put the parts together as the module's docstring tells."""
    ordered = sorted(assessments, key=lambda item: (SOURCES[item.source], -item.year))
    records = [item.to_dict() for item in ordered]
    headline = _headline(records[0] if records else None)
    return {
        "version": VERSION,
        "legend": legend.to_dict(),
        "years": years,
        "tiles": [_tile(tile) for tile in tiles],
        "headline": headline,
        "assessments": records,
        "areas": areas,
        "temporal": temporal,
        "old_map": old_map,
        "metrics": _metrics(headline, records, temporal, old_map),
        "notes": notes,
    }


def _tile(tile: Tile) -> dict[str, Any]:
    rows, columns = tile.shape
    return {"name": tile.name, "crs": tile.crs, "rows": rows, "columns": columns, "hectares": rows * columns * tile.pixel_area}


def _headline(record: dict[str, Any] | None) -> dict[str, Any]:
    if record is None:
        empty = dict.fromkeys(("source", "year", "new", "new_ci95", "old", "old_ci95", "gain", "gain_ci95"))
        return {"kind": "none", **empty, "sentence": "No reference and no old map to compare the maps with."}
    view = record["views"][0]
    old = view["old"] or {"overall": None, "overall_ci95": None}
    headline = {
        "kind": record["kind"],
        "source": record["source"],
        "year": record["year"],
        "new": view["new"]["overall"],
        "new_ci95": view["new"]["overall_ci95"],
        "old": old["overall"],
        "old_ci95": old["overall_ci95"],
        "gain": view["gain"],
        "gain_ci95": view["gain_ci95"],
    }
    return {**headline, "sentence": _sentence(headline, record["name"])}


def _sentence(headline: dict[str, Any], name: str) -> str:
    new = _per_cent(headline["new"], headline["new_ci95"])
    if headline["kind"] == "agreement":
        agrees = f"The map of {headline['year']} agrees with the old map on {new} of the area."
        return f"{agrees} That is agreement, not accuracy: no reference was given."
    if headline["old"] is None:
        return f"The map of {headline['year']} is right on {new} of the area, measured against {name}."
    gain = _per_cent(headline["gain"], headline["gain_ci95"], "points")
    old = _per_cent(headline["old"], headline["old_ci95"])
    return (
        f"The map of {headline['year']} is right on {new} of the area, the old map on {old} (difference {gain}), measured against {name}."
    )


def _per_cent(value: float | None, half_width: float | None, unit: str = "%") -> str:
    if value is None:
        return "an unknown share"
    spread = "" if half_width is None else f" ± {100 * half_width:.1f}"
    return f"{100 * value:.1f}{spread} {unit}"


def _metrics(
    headline: dict[str, Any], records: list[dict[str, Any]], temporal: dict[str, Any] | None, old_map: dict[str, Any] | None
) -> dict[str, float]:
    """Return the flat numbers; what is undefined is left out."""
    what = "overall_accuracy" if headline["kind"] == "accuracy" else "agreement_with_old_map"
    found: dict[str, float | None] = {
        what: headline["new"],
        f"{what}_ci95": headline["new_ci95"],
        "old_map_overall_accuracy": headline["old"],
        "old_map_overall_accuracy_ci95": headline["old_ci95"],
        "gain": headline["gain"],
        "gain_ci95": headline["gain_ci95"],
    }
    for record in records if headline["kind"] == "accuracy" else []:
        prefix = record["id"].replace("-", "_")
        for view in record["views"]:
            found[f"{prefix}_overall_accuracy_{view['legend']}"] = view["new"]["overall"]
        found[f"{prefix}_mean_f1"] = _mean(record["views"][0]["new"]["f1"])
    if temporal:
        found["agreement_all_years"] = temporal["all_years"]
        found["agreement_pairwise"] = temporal["pairwise"]
        found["flip_share"] = temporal["flips"]["share"] if temporal["flips"] else None
    if old_map:
        found |= {f"agreement_with_old_map_{row['year']}": row["agreement"] for row in old_map["agreement"]}
    return {key: float(value) for key, value in found.items() if value is not None and math.isfinite(value)}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
