"""The clearest dates of a year, evenly spread: a series of observations as they were made, each with its own day.

Sedona et al. feed 10 or 20 acquisitions of a year to their networks, with the day of year as an input of its own.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import numpy as np

from landtide.composite.acquisitions import Acquisition
from landtide.core.period import Period

PULL = 1.0
"""What it costs to lie one spacing away from the even place, in shares of the tile under cloud: half a spacing away costs as much as
a quarter of the tile."""


def clearest_steps(
    acquisitions: list[Acquisition], clear: Sequence[float], span: Period, count: int
) -> tuple[list[Period], list[Acquisition]]:
    """Return one step a chosen date, in order, and the acquisitions of those dates, each with its step.

    clear  share of the tile that each acquisition shows, 0 to 1. Acquisitions of one day together make one date

    Where the year has fewer dates, empty steps are put into the widest gaps, since a model needs one number of steps.
    """
    shown: dict[date, float] = {}
    for acquisition, share in zip(acquisitions, clear, strict=True):
        day = acquisition.moment.date()
        shown[day] = min(1.0, shown.get(day, 0.0) + share)
    days = sorted(shown)
    if len(days) > count:
        days = [days[n] for n in spread(np.array([(day - span.start).days for day in days]), np.array([shown[d] for d in days]),
                                        (span.end - span.start).days, count)]  # fmt: skip
    days = _with_empty(days, span, count)
    place = {day: step for step, day in enumerate(days)}
    chosen = [replace(one, step=place[one.moment.date()]) for one in acquisitions if one.moment.date() in place]
    return [Period(day, day + timedelta(days=1)) for day in days], chosen


def spread(days: np.ndarray, clear: np.ndarray, length: int, count: int) -> list[int]:
    """Return the indices of `count` dates, rising, with the least sum of cloud and of squared distance from even places.

    days    (N,) days from the start of the span, rising; N >= count
    clear   (N,) share that is clear, 0 to 1
    length  days of the span

    Solved exactly, place by place (dynamic programming).
    """
    spacing = length / count
    places = (np.arange(count) + 0.5) * spacing
    cost = (1 - clear)[None] + PULL * ((days[None] + 0.5 - places[:, None]) / spacing) ** 2  # (count, N)
    total = cost[0].copy()
    came_from = np.zeros((count, len(days)), np.int64)
    for place in range(1, count):
        best = np.minimum.accumulate(total)
        arg = np.maximum.accumulate(np.where(total == best, np.arange(len(days)), 0))
        total = np.full(len(days), np.inf)
        total[1:] = best[:-1] + cost[place, 1:]
        came_from[place, 1:] = arg[:-1]
    chosen = [int(total.argmin())]
    for place in range(count - 1, 0, -1):
        chosen.append(int(came_from[place, chosen[-1]]))
    return chosen[::-1]


def _with_empty(days: list[date], span: Period, count: int) -> list[date]:
    """Add days in the middle of the widest gaps until there are `count`."""
    while len(days) < count:
        edges = [span.start - timedelta(days=1), *days, span.end]
        gaps = [(after - before).days for before, after in pairwise(edges)]
        widest = gaps.index(max(gaps))
        days = sorted([*days, edges[widest] + timedelta(days=gaps[widest] // 2)])
    return days
