"""Curves as an SVG picture, for benchmarks whose result is one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

COLOURS = ("#d1495b", "#274690", "#edae49", "#5a9e5a", "#7b5ea7")
WIDTH, HEIGHT, LEFT, TOP = 460, 240, 70, 16


@dataclass(frozen=True)
class Line:
    """One curve."""

    name: str
    x: list[float]
    y: list[float]
    dots: bool = False
    """Mark the points: they are measured, and what lies between is not."""


def plot(lines: list[Line], across: str, up: str, *, doubling: bool = False) -> str:
    """Return an SVG of curves with both axes named.

    doubling  both axes are logarithmic, with a tick at each doubling of x; otherwise both are linear
    """
    xs, ys = [value for line in lines for value in line.x], [value for line in lines for value in line.y]
    at = _scale(min(xs) if doubling else 0.0, max(xs), WIDTH, doubling)
    low, high = (min(ys), max(ys)) if doubling else (math.floor(20 * min(ys)) / 20, math.ceil(20 * max(ys)) / 20)
    height = _scale(low, high, HEIGHT, doubling)
    whole = (LEFT + WIDTH + 20, TOP + HEIGHT + 46)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole[0]} {whole[1]}" width="{whole[0]}" height="{whole[1]}"']
    parts[0] += ' font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
    for value in _ticks(low, high, doubling):
        y = TOP + HEIGHT - height(value)
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for value in _ticks(min(xs) if doubling else 0.0, max(xs), doubling):
        parts.append(f'<text x="{LEFT + at(value):.1f}" y="{TOP + HEIGHT + 15}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#bbbbbb"/>')
    for number, line in enumerate(lines):
        points = [(LEFT + at(x), TOP + HEIGHT - height(y)) for x, y in zip(line.x, line.y, strict=True)]
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points if line.dots]
        y = TOP + (18 + 17 * number if doubling else HEIGHT - 12 - 17 * (len(lines) - 1 - number))
        x = LEFT + (14 if doubling else WIDTH - 150)
        parts.append(f'<line x1="{x}" x2="{x + 22}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="1.8"/>')
        parts.append(f'<text x="{x + 28}" y="{y + 4}">{line.name}</text>')
    parts.append(f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 36}" text-anchor="middle">{across}</text>')
    parts.append(f'<text x="14" y="{TOP + HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {TOP + HEIGHT / 2})">{up}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _scale(low: float, high: float, length: float, doubling: bool) -> Callable[[float], float]:
    if doubling:
        return lambda value: math.log(value / low) / math.log(high / low) * length
    return lambda value: (value - low) / (high - low) * length


def _ticks(low: float, high: float, doubling: bool) -> list[float]:
    if doubling:
        return [low * 2**number for number in range(int(math.log2(high / low) + 1e-9) + 1)]
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if (high - low) / step <= 6)
    return [round(low + step * number, 6) for number in range(int((high - low) / step + 1e-9) + 1)]
