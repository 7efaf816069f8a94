"""The picture of benchmarks/label_noise.py, as SVG: small multiples, a row a set and a column a kind of noise."""

from collections.abc import Iterator

import numpy as np

COLOURS = {
    "truth": "#000000",
    "landtide": "#d1495b",
    "vocabulary": "#edae49",
    "paris": "#00a6a6",
    "cleanlab": "#274690",
    "som": "#7b5ea7",
    "ancestor": "#5a9e5a",
    "raw": "#9a9a9a",
}
WIDTH, HEIGHT, LEFT, TOP, GAP = 210, 130, 90, 72, 26
IN_A_ROW = 4
"""Names of the legend."""


Record = dict[str, float | str]


def plot(records: list[Record], sets: list[str], kinds: list[str], methods: list[str]) -> str:
    """Return an SVG of overall accuracy (mean over seeds) against the share of wrong labels."""
    width, height = LEFT + max(2, len(kinds)) * (WIDTH + GAP), TOP + len(sets) * (HEIGHT + GAP) + 24
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"']
    parts[0] += ' font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
    for place, method in enumerate(methods):
        x, y = LEFT + place % IN_A_ROW * 105, 14 + place // IN_A_ROW * 18
        parts.append(f'<line x1="{x}" y1="{y}" x2="{x + 22}" y2="{y}" {_stroke(method)}/><text x="{x + 27}" y="{y + 4}">{method}</text>')
    for column, kind in enumerate(kinds):
        parts.append(f'<text x="{LEFT + column * (WIDTH + GAP) + WIDTH / 2}" y="{TOP - 10}" text-anchor="middle">{kind}</text>')
    for row, name in enumerate(sets):
        own = [record for record in records if record["set"] == name]
        values = [float(record["accuracy"]) for record in own]
        low = max(0.0, np.floor(10 * np.quantile(values, 0.02)) / 10)
        high = min(1.0, np.ceil(20 * max(values)) / 20)
        for column, kind in enumerate(kinds):
            corner = LEFT + column * (WIDTH + GAP), TOP + row * (HEIGHT + GAP)
            parts.extend(_panel(own, kind, methods, corner, (float(low), float(high)), name if column == 0 else ""))
    x = LEFT + len(kinds) * (WIDTH + GAP) / 2
    parts.append(f'<text x="{x}" y="{height - 8}" text-anchor="middle">share of wrong labels; up: overall accuracy on true labels</text>')
    return "\n".join([*parts, "</svg>\n"])


def _stroke(method: str) -> str:
    dash = ' stroke-dasharray="4 3"' if method == "truth" else ""
    return f'fill="none" stroke="{COLOURS[method]}" stroke-width="{2.4 if method == "landtide" else 1.4}"{dash}'


def _panel(
    records: list[Record], kind: str, methods: list[str], corner: tuple[float, float], span: tuple[float, float], name: str
) -> Iterator[str]:
    left, top = corner
    low, high = span

    def at(level: float, value: float) -> str:
        up = min(max((value - low) / (high - low), 0), 1)
        return f"{left + level / 0.5 * WIDTH:.1f},{top + (1 - up) * HEIGHT:.1f}"

    yield f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#cccccc"/>'
    for part in (0, 0.5, 1):
        y = top + (1 - part) * HEIGHT
        yield f'<line x1="{left}" x2="{left + WIDTH}" y1="{y}" y2="{y}" stroke="#eeeeee"/>'
        if name:
            yield f'<text x="{left - 5}" y="{y + 4}" text-anchor="end">{low + part * (high - low):.2f}</text>'
    if name:
        yield f'<text x="14" y="{top + HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {top + HEIGHT / 2})">{name}</text>'
    for level in (0.0, 0.2, 0.4):
        yield f'<text x="{left + level / 0.5 * WIDTH}" y="{top + HEIGHT + 13}" text-anchor="middle">{100 * level:.0f} %</text>'
    for method in methods:
        own = [record for record in records if record["method"] == method and (record["kind"] == kind or record["level"] == 0)]
        levels = sorted({float(record["level"]) for record in own})
        means = [np.mean([float(record["accuracy"]) for record in own if record["level"] == level]) for level in levels]
        points = " ".join(at(level, float(value)) for level, value in zip(levels, means, strict=True))
        yield f'<polyline points="{points}" {_stroke(method)}/>'
