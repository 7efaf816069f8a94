"""The report: one self-contained HTML page that says what a study's maps are worth and what they rest on.

``render`` takes one record. Every key but ``study`` may be missing, null or empty: its section then says so in a line. ::

    {
      "study": {
        "name": "slovenia", "years": [2015, 2016, 2017], "tiles": ["33TVL"], "model": "lstm", "bands": ["NDVI"],
        "text": "name: slovenia\\n..."                     the study file
      },
      "run": {"id": "...", "version": "0.1.0", "finished": "2026-05-04T10:00:00Z", "seconds": 312.0, "runner": "local",
              "versions": {"python": "3.11.2", ...},        what computed it
              "manifests": [{"step": "classify", "tile": "33TVL", "period": "2017", "id": "5e884898da280471"}, ...]},
      "warnings": ["tile 33TVL, 2017: ..."],                shown first
      "evaluation": report.json                              of `landtide.evaluate` (results.py)
      "refused": [{"stage": "old map", "report": refused.json}, ...]        of `landtide.extract` (report.py)
      "retrieval": [retrieval.json, ...]                     of `landtide.retrieve`, one a tile and year
      "plan": {"rows": [{"tile": "33TVL", "year": 2017, "planned": {"images": 25, "bytes": ..., "seconds": ...}, "actual": {...}}, ...],
               "peak_memory": 2000000000},                   what was planned when the run began, and what it came to
      "composite": [composite.json, ...]                     of `landtide.composite`, one a tile and year
      "training": [{"stage": "svm", "report": training.json}, ...]           of `landtide.train`
      "maps": [{"scene": "33TVL", "title": "Land cover 2017", "kind": "label" | "old_map" | "confidence" | "image",
                "year": 2017, "width": 100, "height": 101, "src": "data:image/png;base64,..."}, ...]
    }

Class names, paths and the study's text come from users: the template escapes everything, and the page forbids scripts besides.
"""

import base64
from collections.abc import Iterable
from typing import Any

from landtide.io import storage
from landtide.publish import sections
from landtide.publish.webmap import page_environment, thumbnails

Record = dict[str, Any]

REASONS = {
    "eroded": "nothing left inside the map's positional accuracy",
    "small": "too few pixels",
    "share": "no class covers half of it",
    "consistency": "unlike its class",
    "margin": "nearer to another class",
}
"""Column heads for the reasons of refusal; a reason not listed here is shown by its own name."""


def write_report(published_uri: str, record: Record) -> None:
    """Write ``report.html`` and, where there is an evaluation, its numbers as ``report.json``.

    Where the record has no maps, small pictures are taken from the web map that stands in the same folder.
    """
    if not record.get("maps"):
        record = {**record, "maps": _maps_beside(published_uri)}
    if record.get("evaluation"):
        storage.write_json(storage.join(published_uri, "report.json"), record["evaluation"])
    storage.write_bytes(storage.join(published_uri, "report.html"), render(record).encode())


def render(record: Record) -> str:
    """Return the report as HTML; see the module's docstring for the record."""
    evaluation = record.get("evaluation")
    template = page_environment().get_template("report.html")
    return template.render(
        study={"name": "study", "years": [], "tiles": [], "model": None, "bands": [], "text": None, **record.get("study", {})},
        run={"id": None, "version": None, "finished": None, "seconds": None, "runner": None, "versions": {}, "manifests": []}
        | (record.get("run") or {}),
        warnings=record.get("warnings") or [],
        evaluation=evaluation,
        headline=sections.headline(evaluation) if evaluation else None,
        assessments=sections.assessments(evaluation) if evaluation else [],
        areas=sections.areas(evaluation) if evaluation else None,
        changes=sections.changes(evaluation) if evaluation else None,
        old_map=sections.old_map(evaluation) if evaluation else None,
        scenes=_by_scene(record.get("maps") or []),
        refused=record.get("refused") or [],
        reasons=REASONS,
        retrieval=sections.retrieval(record.get("retrieval") or []),
        plan=sections.plan(record["plan"]) if record.get("plan") else None,
        composites=sections.composites(record.get("composite") or []),
        training=sections.training(record.get("training") or []),
    )


def as_maps(pictures: Iterable[Record]) -> list[Record]:
    """Return thumbnails in the form that the record's ``maps`` has: their bytes as a data address."""
    return [
        {
            **{key: value for key, value in picture.items() if key not in ("image", "media_type")},
            "src": f"data:{picture['media_type']};base64,{base64.b64encode(picture['image']).decode()}",
        }
        for picture in pictures
    ]


def _maps_beside(published_uri: str) -> list[Record]:
    try:
        layers = storage.read_json(storage.join(published_uri, "layers.json"))
    except FileNotFoundError:
        return []
    return as_maps(thumbnails(published_uri, layers))


def _by_scene(maps: list[Record]) -> list[Record]:
    """Group pictures by scene and year: the old map first, then a row a year with map, confidence and image."""
    scenes: dict[str, dict[int | None, list[Record]]] = {}
    order = {"label": 0, "confidence": 1, "image": 2, "old_map": 3}
    for picture in sorted(maps, key=lambda picture: order[picture["kind"]]):
        rows = scenes.setdefault(picture["scene"], {})
        rows.setdefault(None if picture["kind"] == "old_map" else picture["year"], []).append(picture)
    return [
        {
            "name": name,
            "old": rows.get(None, []),
            "years": sorted(((year, row) for year, row in rows.items() if year is not None), reverse=True),
        }
        for name, rows in scenes.items()
    ]
