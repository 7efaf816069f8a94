"""What the extraction refused and why, for machines and for people."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from rasterio.warp import transform_bounds

from landtide.core.legend import Crosswalk, Legend
from landtide.extract.gather import TILE_STRIDE, Survey
from landtide.extract.select import Floors, Selection, Verdict

LISTED = 50
"""Refused polygons that are listed one by one, the largest first."""

REASONS = {
    "eroded": "nothing left inside the map's positional accuracy",
    "small": "too few pixels",
    "share": "no class covers half of it",
    "consistency": "unlike the other polygons of its class",
    "margin": "nearer to another class than to its own",
}
"""Why a polygon is refused, in words for people."""


def class_records(
    legend: Legend, selection: Selection | None, kept: np.ndarray, drawn: np.ndarray, why_none: dict[int, str]
) -> list[dict[str, Any]]:
    """Return for every class what came in, what was refused and what was kept.

    kept   (K,) series with enough trust
    drawn  (K,) samples in the draws together
    """
    records = []
    for label, name in enumerate(legend.names, start=1):
        verdicts = [verdict for verdict in selection.verdicts if verdict.label == label] if selection else []
        reasons = Counter(verdict.reason for verdict in verdicts)
        floors = selection.floors.get(label) if selection else None
        records.append(
            {
                "label": label,
                "name": name,
                "polygons": len(verdicts),
                "kept_polygons": reasons["kept"],
                "refused": {reason: reasons[reason] for reason in REASONS},
                "floors": _floors_record(floors),
                "series": int(kept[label - 1]),
                "samples": int(drawn[label - 1]),
                **({"why_none": why_none[label]} if label in why_none else {}),
            }
        )
    return records


def _floors_record(floors: Floors | None) -> dict[str, Any] | None:
    if floors is None:
        return None
    return {"erosion_pixels": round(floors.erosion, 2), "polygon_pixels": floors.pixels, "lowered": floors.lowered}


def refused_polygons(selection: Selection, surveys: list[Survey], legend: Legend) -> list[dict[str, Any]]:
    """Return the largest refused polygons with their place (lon/lat), size and reason."""
    refused = [verdict for verdict in selection.verdicts if verdict.reason in ("share", "consistency", "margin")]
    refused.sort(key=lambda verdict: (-_area(verdict, surveys), verdict.polygon))
    return [_polygon_record(verdict, surveys[verdict.polygon // TILE_STRIDE], legend) for verdict in refused[:LISTED]]


def verdict_frame(selection: Selection | None, tiles: list[str]) -> pd.DataFrame:
    """Return a row a polygon that the selection examined: tile, polygon (its number on the tile), reason, share and distance.

    No row where the method makes no selection by polygon.

    tiles  names, in the order of their numbers
    """
    verdicts = selection.verdicts if selection else []
    return pd.DataFrame(
        {
            "tile": np.array([tiles[verdict.polygon // TILE_STRIDE] for verdict in verdicts], object),
            "polygon": np.array([verdict.polygon % TILE_STRIDE for verdict in verdicts], np.int64),
            "reason": np.array([verdict.reason for verdict in verdicts], object),
            "share": np.array([verdict.share for verdict in verdicts], np.float32),
            "distance": np.array([verdict.distance for verdict in verdicts], np.float32),
        }
    )


def _area(verdict: Verdict, surveys: list[Survey]) -> int:
    return int(surveys[verdict.polygon // TILE_STRIDE].polygons.area[verdict.polygon % TILE_STRIDE])


def _polygon_record(verdict: Verdict, survey: Survey, legend: Legend) -> dict[str, Any]:
    index = verdict.polygon % TILE_STRIDE
    top, left, bottom, right = survey.polygons.box[index].tolist()
    west, north = survey.tile.affine * (left, top)
    east, south = survey.tile.affine * (right + 1, bottom + 1)
    box = transform_bounds(survey.tile.crs, "EPSG:4326", min(west, east), min(south, north), max(west, east), max(south, north))
    return {
        "tile": survey.tile.name,
        "code": max(0, int(survey.polygons.code[index])),  # code 0 has another name inside the extraction
        "class": legend.names[verdict.label - 1],
        "area_ha": round(float(survey.polygons.area[index]) * survey.tile.pixel_area, 2),
        "bbox": [round(value, 6) for value in box],
        "reason": verdict.reason,
        "why": REASONS[verdict.reason],
        "dominant_share": round(verdict.share, 3),
        "distance": round(verdict.distance, 1),
    }


def excluded_codes(surveys: list[Survey], crosswalk: Crosswalk) -> list[dict[str, Any]]:
    """Return the codes of the old map that lead to no class, with their area, the largest first."""
    found: dict[int, float] = {}
    for survey in surveys:
        for code, pixels in survey.areas().items():
            if crosswalk.labels.get(str(code)) is None:
                found[code] = found.get(code, 0.0) + pixels * survey.tile.pixel_area
    return [
        {"code": code, "name": crosswalk.exact.get(str(code), str(code)), "area_ha": round(area, 2)}
        for code, area in sorted(found.items(), key=lambda item: (-item[1], item[0]))
    ]


def text_lines(classes: list[dict[str, Any]], lifted: list[int], names: tuple[str, ...]) -> list[str]:
    """Return the report's sentences for people."""
    lines = []
    for record in classes:
        name, floors = record["name"], record["floors"]
        if "why_none" in record:
            lines.append(f"{name}: no samples, {record['why_none']}")
            continue
        refused = sum(record["refused"].values())
        lines.append(
            f"{name}: {record['samples']} samples; {record['kept_polygons']} of {record['polygons']} polygons consistent, {refused} refused"
        )
        if floors and floors["lowered"]:
            lines.append(
                f"{name}: floors lowered, as few pixels lie deep inside its polygons: eroded by {floors['erosion_pixels']} pixels, "
                f"polygons from {floors['polygon_pixels']} pixels on"
            )
    for label in lifted:
        lines.append(f"{names[label - 1]}: more than 50 samples a polygon, as it has few polygons")
    return lines
