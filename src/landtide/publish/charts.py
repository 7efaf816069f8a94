"""Charts of the report as inline SVG: sizes in per cent, so that they follow the page's width, and colours from its style sheet.

A number drawn here always stands as text beside it; the charts are for the eye, and screen readers get their title.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

BAR_HEIGHT = 84
"""Pixels of the plot in a panel of bars."""

CURVE_HEIGHT = 160
GREY = "#8a9693"


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float | None
    half: float | None = None
    """Half-width of the interval; None = not known."""

    kind: str = "new"
    """Style class of the mark: ``new``, ``old``, ``users``, ``producers``."""

    title: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar of a panel: a mapped area and, where a reference corrects it, the estimate."""

    label: str
    value: float
    estimate: Estimate | None = None
    muted: bool = False
    """The old map's bar, which is no year of the study."""


def color(text: str) -> str:
    """Return a colour if it is ``#RRGGBB``, else grey: colours come from users' legends and go into style attributes."""
    return text if re.fullmatch(r"#[0-9A-Fa-f]{6}", text) else GREY


def whiskers(estimates: Sequence[Estimate], low: float = 0.0, high: float = 1.0) -> Markup:
    """Draw numbers as dots with their intervals on one line from ``low`` to ``high``, ticks at the quarters."""
    height = 8 + 12 * len(estimates)
    parts = [f'<line class="tick" x1="{quarter}%" x2="{quarter}%" y1="0" y2="{height}"/>' for quarter in (0, 25, 50, 75, 100)]
    for row, estimate in enumerate(estimates):
        if estimate.value is None:
            continue
        y = 10 + 12 * row
        at = _share(estimate.value, low, high)
        if estimate.half:
            left, right = _share(estimate.value - estimate.half, low, high), _share(estimate.value + estimate.half, low, high)
            parts.append(f'<line class="whisker {estimate.kind}" x1="{left}%" x2="{right}%" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="dot {estimate.kind}" cx="{at}%" cy="{y}" r="4.5"><title>{escape(estimate.title)}</title></circle>')
    label = "; ".join(estimate.title for estimate in estimates if estimate.value is not None and estimate.title)
    return _svg("whiskers", height, label, parts)


def bars(panel: Sequence[Bar], fill: str, title: str) -> Markup:
    """Draw one class's area as a bar a year, with the reference's estimate as a dot and its interval over the bar of its year."""
    tops = [bar.value for bar in panel]
    tops += [bar.estimate.value + (bar.estimate.half or 0) for bar in panel if bar.estimate and bar.estimate.value is not None]
    most = max([*tops, 1e-9])
    slot = 100 / max(1, len(panel))
    parts = [f'<line class="axis" x1="0" x2="100%" y1="{BAR_HEIGHT}" y2="{BAR_HEIGHT}"/>']
    for index, bar in enumerate(panel):
        x, wide = index * slot + slot * 0.16, slot * 0.68
        tall = max(0.5, BAR_HEIGHT * 0.94 * bar.value / most)
        kind = "bar muted" if bar.muted else "bar"
        parts.append(
            f'<rect class="{kind}" x="{x:.2f}%" width="{wide:.2f}%" y="{BAR_HEIGHT - tall:.1f}" height="{tall:.1f}" fill="{color(fill)}">'
            f"<title>{escape(bar.label)}: {bar.value:,.1f} ha</title></rect>"
        )
        if bar.estimate is not None and bar.estimate.value is not None:
            parts += _standing(bar.estimate, index * slot + slot / 2, most)
        if len(panel) <= 6 or index in (0, len(panel) - 1):
            parts.append(f'<text x="{index * slot + slot / 2:.2f}%" y="{BAR_HEIGHT + 15}" text-anchor="middle">{escape(bar.label)}</text>')
    return _svg("bars", BAR_HEIGHT + 20, title, parts)


def stack(parts_of: Sequence[tuple[str, float, str]], title: str) -> Markup:
    """Draw shares of a whole, (name, value, colour), as one bar."""
    whole = sum(value for _, value, _ in parts_of) or 1.0
    drawn, left = [], 0.0
    for name, value, fill in parts_of:
        wide = 100 * value / whole
        drawn.append(
            f'<rect x="{left:.3f}%" width="{wide:.3f}%" y="0" height="22" fill="{color(fill)}">'
            f"<title>{escape(name)}: {wide:.1f} %</title></rect>"
        )
        left += wide
    return _svg("stack", 22, title, drawn)


def curves(series: Sequence[tuple[str, Sequence[float | None]]], title: str) -> Markup:
    """Draw series over their index, each (style class, values); missing values leave gaps. The axes' numbers are the page's."""
    values = [value for _, line in series for value in line if value is not None]
    if not values:
        return Markup("")
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    paths = []
    for kind, line in series:
        last = max(1, len(line) - 1)
        points = [
            None if value is None else (1000 * index / last, CURVE_HEIGHT - 4 - (CURVE_HEIGHT - 8) * (value - low) / span)
            for index, value in enumerate(line)
        ]
        paths.append(f'<path class="curve {escape(kind)}" vector-effect="non-scaling-stroke" d="{_path(points)}"/>')
    return Markup(
        f'<svg class="curves" role="img" aria-label="{escape(title)}" width="100%" height="{CURVE_HEIGHT}" '
        f'viewBox="0 0 1000 {CURVE_HEIGHT}" preserveAspectRatio="none">{"".join(paths)}</svg>'
    )


def columns(values: Sequence[tuple[str, float, str]], most: float, title: str) -> Markup:
    """Draw small columns in a row, (label, value, tooltip), scaled to ``most``: a year of composites at a glance."""
    slot = 100 / max(1, len(values))
    parts = ['<line class="axis" x1="0" x2="100%" y1="46" y2="46"/>']
    for index, (label, value, tip) in enumerate(values):
        tall = max(0.5, 44 * value / (most or 1))
        parts.append(
            f'<rect class="column" x="{index * slot + slot * 0.1:.2f}%" width="{slot * 0.8:.2f}%" y="{46 - tall:.1f}" height="{tall:.1f}">'
            f"<title>{escape(tip)}</title></rect>"
        )
        if len(values) <= 12 or index % 4 == 0:
            parts.append(f'<text x="{index * slot + slot / 2:.2f}%" y="59" text-anchor="middle">{escape(label)}</text>')
    return _svg("columns", 62, title, parts)


def _standing(estimate: Estimate, centre: float, most: float) -> list[str]:
    """Draw an estimate over a bar: an upright interval with a dot."""

    def height(value: float) -> float:
        return BAR_HEIGHT - BAR_HEIGHT * 0.94 * max(0.0, value) / most

    assert estimate.value is not None
    half = estimate.half or 0.0
    x = f"{centre:.2f}%"
    top, bottom = height(estimate.value + half), height(estimate.value - half)
    return [
        f'<line class="whisker estimate" x1="{x}" x2="{x}" y1="{top:.1f}" y2="{bottom:.1f}"/>',
        f'<circle class="dot estimate" cx="{x}" cy="{height(estimate.value):.1f}" r="4"><title>{escape(estimate.title)}</title></circle>',
    ]


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Return an SVG path that is interrupted where a point is missing."""
    text, pen_down = [], False
    for point in points:
        if point is not None:
            text.append(f"{'L' if pen_down else 'M'}{point[0]:.1f} {point[1]:.1f}")
        pen_down = point is not None
    return "".join(text)


def _share(value: float, low: float, high: float) -> float:
    return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)


def _svg(kind: str, height: int, label: str, parts: Sequence[str]) -> Markup:
    named = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    return Markup(f'<svg class="{kind}" {named} width="100%" height="{height}">{"".join(parts)}</svg>')
