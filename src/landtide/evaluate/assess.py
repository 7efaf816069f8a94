"""Assessments: one comparison of the new and the old map with one reference, told in each view of the legend (results.py)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from landtide.core.report import Z95, AccuracyReport
from landtide.evaluate.views import NAMELESS, States, View

Scope = Literal["all", "translated"]
"""``all``: where a map names no single class it is wrong; ``translated``: such places do not count."""

Score = Callable[[int, bool, Scope], AccuracyReport]
"""Scores a map in a view: index of the view, whether it is the old map, scope."""


@dataclass(frozen=True)
class Meaning:
    """What the new map, the old map and the reference can say."""

    views: tuple[View, ...]
    new: States
    old: States | None
    truth: States

    def of_map(self, is_old: bool) -> States:
        if is_old:
            assert self.old is not None
            return self.old
        return self.new

    def classes(self, view: int) -> tuple[str, ...]:
        """Return the names of a view's classes and, last, "no single class"."""
        return (*self.views[view].legend.names, NAMELESS)


@dataclass
class Assessment:
    """The JSON record in the making."""

    source: Literal["raster", "points", "old_map"]
    name: str
    """File of the reference."""

    year: int
    design: Literal["census", "stratified", "poststratified"]
    used: int
    left_out: list[tuple[str, int]]
    views: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": f"{self.source}-{self.year}",
            "kind": "agreement" if self.source == "old_map" else "accuracy",
            "source": self.source,
            "name": self.name,
            "year": self.year,
            "design": self.design,
            "used": self.used,
            "left_out": [{"reason": reason, "units": units} for reason, units in self.left_out if units],
            "notes": self.notes,
            "views": self.views,
        }


def describe_view(view: View, index: int, score: Score, gain: tuple[float, float] | None) -> dict[str, Any]:
    """Return one entry of ``views``; ``gain`` and its standard error, None where there is no old map to score beside the new one."""
    record: dict[str, Any] = {
        "legend": view.legend.name,
        "classes": [{"name": item.name, "color": item.color} for item in view.legend.classes],
        "new": score(index, False, "all").to_dict(),
        "old": None,
        "old_translated": None,
        "gain": None,
        "gain_ci95": None,
    }
    if gain is not None:
        old = score(index, True, "all")
        partly = NAMELESS in old.classes and bool(old.counts[:-1].any())
        record["old"] = old.to_dict()
        record["old_translated"] = score(index, True, "translated").to_dict() if partly else None
        record["gain"], record["gain_ci95"] = (None if np.isnan(number) else number for number in (gain[0], Z95 * gain[1]))
    return record


def explain_scope(protocol: str, report_classes: tuple[str, ...], is_old: bool, scope: Scope) -> str:
    """Append to a protocol what was done where the map names no single class."""
    if scope == "translated":
        return f"{protocol}; only where the old map names a class"
    if NAMELESS not in report_classes:
        return protocol
    return f"{protocol}; " + (
        "a code of the old map that stands for no single class counts as wrong" if is_old else "'do not know' counts as wrong"
    )


def trim(cells: np.ndarray, classes: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Drop the last class of (N, K + 1, K + 1) counts, "no single class", where no unit is of it."""
    return (cells, classes) if cells[:, -1, :].any() else (cells[:, :-1, :-1], classes[:-1])
