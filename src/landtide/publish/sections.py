"""The sections of the report: what the pages of the template show, worked out from the records of the steps."""

from collections import Counter
from typing import Any

from landtide.publish.charts import Bar, Estimate, bars, columns, curves, stack, whiskers
from landtide.publish.words import count, hectares, percent

Record = dict[str, Any]
NAMELESS_COLOR = "#8a9693"


def headline(evaluation: Record) -> Record:
    """Return the numbers that stand first: the new map, the old map by the same rule, and what was gained."""
    told = evaluation["headline"]
    word = "Overall accuracy" if told["kind"] == "accuracy" else "Agreement with the old map"
    marks = [_estimate(told["new"], told["new_ci95"], "new", f"{word}, new map")]
    if told["old"] is not None:
        marks.append(_estimate(told["old"], told["old_ci95"], "old", f"{word}, old map"))
    return {**told, "word": word, "chart": whiskers(marks)}


def assessments(evaluation: Record) -> list[Record]:
    """Return every comparison with a reference, each with its legends, class table and confusion matrix."""
    return [{**told, "views": [_view(view, told) for view in told["views"]]} for told in evaluation["assessments"]]


def _view(view: Record, told: Record) -> Record:
    colors = {item["name"]: item["color"] for item in view["classes"]}
    new, old = view["new"], view["old"]
    return {
        **view,
        "overall": whiskers(_overall_marks(new, old)),
        "rows": [_class_row(index, name, colors, new, old) for index, name in enumerate(new["classes"])],
        "matrix": _matrix(new, colors),
        "old_matrix": _matrix(old, colors) if old else None,
        "only_correct": told["kind"] == "accuracy",
    }


def _overall_marks(new: Record, old: Record | None) -> list[Estimate]:
    marks = [_estimate(new["overall"], new["overall_ci95"], "new", "New map")]
    return marks + ([_estimate(old["overall"], old["overall_ci95"], "old", "Old map")] if old else [])


def _class_row(index: int, name: str, colors: dict[str, str], new: Record, old: Record | None) -> Record:
    """Return user's and producer's accuracy, F1 and area of one class, with the old map's beside them."""
    place = old["classes"].index(name) if old and name in old["classes"] else None
    row: Record = {"name": name, "color": colors.get(name, NAMELESS_COLOR)}
    for kind, title in (("users", "User's accuracy"), ("producers", "Producer's accuracy")):
        marks = [_estimate(new[kind][index], new[f"{kind}_ci95"][index], "new", f"{title} of {name}, new map")]
        before = None
        if old and place is not None:
            before = old[kind][place]
            marks.append(_estimate(before, old[f"{kind}_ci95"][place], "old", f"{title} of {name}, old map"))
        row[kind] = {"value": new[kind][index], "half": new[f"{kind}_ci95"][index], "old": before, "chart": whiskers(marks)}
    row["f1"] = new["f1"][index]
    row["old_f1"] = old["f1"][place] if old and place is not None else None
    row["area"], row["area_half"] = new["area"][index], new["area_ci95"][index]
    row["units"] = [sum(new["counts"][index]), sum(line[index] for line in new["counts"])]
    return row


def _matrix(report: Record, colors: dict[str, str]) -> Record:
    """Return the confusion matrix with the share of each row that fell into each column."""
    lines = []
    for index, (name, line) in enumerate(zip(report["classes"], report["counts"], strict=True)):
        total = sum(line)
        cells = [{"count": value, "share": value / total if total else 0.0, "right": column == index} for column, value in enumerate(line)]
        lines.append(
            {"name": name, "color": colors.get(name, NAMELESS_COLOR), "cells": cells, "total": total, "users": report["users"][index]}
        )
    columns_ = [
        {
            "name": name,
            "color": colors.get(name, NAMELESS_COLOR),
            "total": sum(line[index] for line in report["counts"]),
            "producers": report["producers"][index],
        }
        for index, name in enumerate(report["classes"])
    ]
    return {"rows": lines, "columns": columns_, "total": sum(line["total"] for line in lines), "overall": report["overall"]}


def areas(evaluation: Record) -> Record | None:
    """Return each class's area by year, counted from the maps, with the reference's estimate where a year has one."""
    told = evaluation["areas"]
    if not told["years"]:
        return None
    colors = {item["name"]: item["color"] for item in evaluation["legend"]["classes"]}
    estimates = _area_estimates(evaluation)
    panels = []
    for index, name in enumerate(told["classes"]):
        panel = [Bar(str(year["year"]), year["hectares"][index], estimates.get((year["year"], name))) for year in told["years"]]
        if told["old_map"]:
            panel.insert(0, Bar("old", told["old_map"]["hectares"][index], muted=True))
        color = colors.get(name, NAMELESS_COLOR)
        panels.append({"name": name, "color": color, "chart": bars(panel, color, f"Area of {name} by year"), "bars": panel})
    stacks = [(str(year["year"]), year["hectares"]) for year in told["years"]]
    if told["old_map"]:
        stacks.insert(0, ("old map", told["old_map"]["hectares"]))
    return {
        "panels": panels,
        "stacks": [
            {
                "name": name,
                "chart": stack(
                    [(kind, value, colors.get(kind, NAMELESS_COLOR)) for kind, value in zip(told["classes"], values, strict=True)],
                    f"Shares of the classes, {name}",
                ),
            }
            for name, values in stacks
        ],
        "years": told["years"],
        "old_map": told["old_map"],
        "has_estimates": bool(estimates),
    }


def _area_estimates(evaluation: Record) -> dict[tuple[int, str], Estimate]:
    found: dict[tuple[int, str], Estimate] = {}
    for told in evaluation["assessments"]:
        if told["kind"] != "accuracy":
            continue
        report = told["views"][0]["new"]
        for name, value, half in zip(report["classes"], report["area"], report["area_ci95"], strict=True):
            text = f"{name} {told['year']}, estimated from the reference: {hectares(value, half)}"
            found.setdefault((told["year"], name), Estimate(value, half, "estimate", text))
    return found


def transitions(rows: list[str], columns_: list[str], table: list[list[float]], colors: dict[str, str]) -> Record:
    """Return a table of hectares from one map's classes to another's; shading is by the share of the row, the diagonal is what stayed."""
    lines = []
    for name, values in zip(rows, table, strict=True):
        total = sum(values)
        cells = [
            {"value": value, "share": value / total if total else 0.0, "same": name == columns_[at]} for at, value in enumerate(values)
        ]
        lines.append({"name": name, "color": colors.get(name, NAMELESS_COLOR), "cells": cells, "total": total})
    totals = [sum(values[at] for values in table) for at in range(len(columns_))]
    heads = [{"name": name, "color": colors.get(name, NAMELESS_COLOR), "total": totals[at]} for at, name in enumerate(columns_)]
    return {"rows": lines, "columns": heads, "total": sum(totals)}


def changes(evaluation: Record) -> Record | None:
    """Return how far the years agree, and what became what between them."""
    told = evaluation["temporal"]
    if told is None:
        return None
    names = [item["name"] for item in evaluation["legend"]["classes"]]
    colors = {item["name"]: item["color"] for item in evaluation["legend"]["classes"]}
    tables = [{**pair, "table": transitions(names, names, pair["hectares"], colors)} for pair in told["transitions"]]
    return {**told, "tables": tables}


def old_map(evaluation: Record) -> Record | None:
    """Return how far the old map agrees with the new ones, and what became of its classes in the last year."""
    told = evaluation["old_map"]
    if told is None:
        return None
    colors = {item["name"]: item["color"] for item in evaluation["legend"]["classes"]}
    tables = [
        {"year": table["year"], "table": transitions(told["rows"], told["columns"], table["hectares"], colors)}
        for table in told["transitions"]
    ]
    return {**told, "tables": tables}


def retrieval(records: list[Record]) -> Record | None:
    """Return images and size a tile and year, what was set aside and why, and how radiometry was decided."""
    if not records:
        return None
    years = sorted({told["year"] for told in records})
    tiles = sorted({told["tile"] for told in records})
    by_place = {(told["tile"], told["year"]): told for told in records}
    rows = []
    for tile in tiles:
        cells = [by_place.get((tile, year)) for year in years]
        held = [cell for cell in cells if cell]
        rows.append({"tile": tile, "cells": cells, "images": sum(c["images"] for c in held), "bytes": sum(c["bytes"] for c in held)})
    aside = [{**item, "tile": told["tile"], "year": told["year"]} for told in records for item in told["set_aside"]]
    radiometry = Counter((line, tuple(item["offset"])) for told in records for item in told["acquisitions"] for line in item["radiometry"])
    return {
        "years": years,
        "rows": rows,
        "totals": [sum(by_place[tile, year]["images"] for tile in tiles if (tile, year) in by_place) for year in years],
        "images": sum(row["images"] for row in rows),
        "bytes": sum(row["bytes"] for row in rows),
        "untold": sum(told.get("assets_without_size", 0) for told in records),
        "masks": sorted({told["mask"] or "none" for told in records}),
        "set_aside": aside,
        "reasons": Counter(_kind_of(item["reason"]) for item in aside).most_common(),
        "radiometry": radiometry.most_common(),
    }


def _kind_of(reason: str) -> str:
    """Return a reason without its numbers, so that alike ones are counted together."""
    return "".join("…" if character.isdigit() else character for character in reason).replace("……", "…").split(":")[0]


def composites(records: list[Record]) -> list[Record]:
    """Return the share of pixels that each period really observed, a row a tile and year."""
    rows = []
    for told in records:
        periods = told["periods"]
        values = [
            (
                period["name"].rsplit("-", 1)[-1] if len(period["name"]) == 7 else str(at + 1),
                period["observed"],
                f"{period['name']}: {percent(period['observed'])} of the pixels observed, {count(period['acquisitions'])} acquisitions",
            )
            for at, period in enumerate(periods)
        ]
        year = str(told.get("year") or (periods[0]["name"][:4] if periods else ""))  # seasons may begin in the year before
        rows.append(
            {
                "tile": told["tile"],
                "year": year,
                "chart": columns(values, 1.0, f"Share of pixels observed, tile {told['tile']}, {year}"),
                "mean": sum(period["observed"] for period in periods) / len(periods) if periods else None,
                "least": min(periods, key=lambda period: period["observed"]) if periods else None,
                "empty": told["empty"],
                "settings": told["settings"],
            }
        )
    return sorted(rows, key=lambda row: (row["tile"], row["year"]))


def plan(record: Record) -> list[Record]:
    """Return what was planned beside what it came to, summed over the tiles and years that were planned."""
    rows = [row for row in record["rows"] if row["planned"]]

    def total(key: str) -> tuple[float | None, float | None]:
        planned, actual = ([row[side][key] for row in rows] for side in ("planned", "actual"))
        return (None if None in planned else sum(planned)), (None if None in actual else sum(actual))

    peaks = [row["actual"]["peak_memory"] for row in record["rows"] if row["actual"]["peak_memory"]]
    found = [
        ("Images", "count", *total("images")),
        ("Size, GB", "gigabytes", *total("bytes")),
        ("Time of compositing", "duration", *total("seconds")),
        ("Peak memory of compositing, GB", "gigabytes", record["peak_memory"], max(peaks, default=None)),
    ]
    return [
        {"what": what, "format": form, "planned": planned, "actual": actual, "ratio": actual / planned if planned and actual else None}
        for what, form, planned, actual in found
    ]


def training(records: list[Record]) -> list[Record]:
    """Return each training with its curves, drawn on one scale for both losses."""
    told = []
    for record in records:
        curve = record["report"].get("curve") or []
        losses = [("train", [epoch["loss"] for epoch in curve])]
        if any(epoch["validation"] is not None for epoch in curve):
            losses.append(("validation", [epoch["validation"] for epoch in curve]))
        values = [value for _, line in losses for value in line if value is not None]
        told.append(
            {
                **record,
                "epochs": len(curve),
                "loss_chart": curves(losses, "Loss by epoch") if curve else None,
                "loss_range": (min(values), max(values)) if values else None,
                "ledger": ledger(record["report"].get("ledger")),
                "best": min((e for e in curve if e["validation"] is not None), key=lambda e: e["validation"], default=None),
            }
        )
    return told


def ledger(record: Record | None) -> Record | None:
    """Return the forgetting ledger as a table: a row a model, a column a year; None where a training opened none."""
    if record is None:
        return None
    years = sorted({year for row in record["rows"] for year in row["accuracy"]})
    rows = [
        {"years": ", ".join(map(str, row["years"])), "cells": [(row["accuracy"].get(year), int(year) in row["years"]) for year in years]}
        for row in record["rows"]
    ]
    return {"years": years, "rows": rows, **{name: record[name] for name in ("acc", "bwt", "fwt", "method")}}


def _estimate(value: float | None, half: float | None, kind: str, title: str) -> Estimate:
    return Estimate(value, half, kind, f"{title}: {percent(value, half)}")
