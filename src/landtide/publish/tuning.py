"""The page of a search for settings: what it found, the curves of its trials, and every trial with its settings."""

from typing import Any

from landtide.publish import words
from landtide.publish.charts import curves
from landtide.publish.webmap import page_environment

SHOWN = 200
"""Trials listed on the page; all are in tune.json."""


def render(record: dict[str, Any]) -> str:
    """Return the page of a search as HTML.

    record  ``study``, ``model``, ``space``, and what `landtide.train.search.report` returns
    """
    environment = page_environment()
    for name in ("percent", "count", "duration"):
        environment.filters[name] = getattr(words, name)
    environment.filters["setting"] = _setting
    judged = [trial for trial in record["trials"] if trial["curve"]]
    longest = max((len(trial["curve"]) for trial in judged), default=0)
    best = record["best"]["number"]
    lines = [("best" if trial["number"] == best else "trial", _padded(trial["curve"], longest)) for trial in judged]
    values = [value for trial in judged for value in trial["curve"]]
    return environment.get_template("tuning.html").render(
        record=record,
        settings=list(record["best"]["settings"]),
        chart=curves(sorted(lines, key=lambda line: line[0] == "best"), "Best mean recall so far, by pass over the samples"),
        progress=curves([("best", _best_so_far(judged))], "Best mean recall so far, by trial"),
        low=min(values, default=0.0),
        high=max(values, default=0.0),
        first=_best_so_far(judged)[0] if judged else 0.0,
        longest=longest,
        ranked=sorted(judged, key=lambda trial: -trial["value"])[:SHOWN],
        failed=[trial for trial in record["trials"] if trial["state"] == "fail"],
    )


def _padded(curve: list[float], length: int) -> list[float | None]:
    return [*curve, *([None] * (length - len(curve)))]


def _best_so_far(trials: list[dict[str, Any]]) -> list[float]:
    best, line = 0.0, []
    for trial in trials:
        best = max(best, trial["value"])
        line.append(best)
    return line


def _setting(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
