"""Count the labels of all years, their transitions and the old map beside them, in one pass over the windows of each tile."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from rasterio.windows import Window

from landtide.core.tile import Tile
from landtide.evaluate.pixels import WINDOW, Layer, neighbours, owned, read_states
from landtide.evaluate.views import States


class Pool(Protocol):
    """The workers that `launch` lends."""

    def map(self, fn: Any, iterable: Iterable[Any], /) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Maps:
    """All that is evaluated: maps of landtide, the old map, the tiles they lie on."""

    tiles: list[Tile]
    years: list[int]
    labels: dict[str, dict[int, str]]
    """Tile -> year -> URI of the label raster; a year without one has no data."""

    states: States
    old: dict[str, str]
    """Tile -> URI of the old map's codes; empty without old map."""

    old_states: States | None

    def label(self, tile: Tile, year: int) -> Layer | None:
        uri = self.labels.get(tile.name, {}).get(year)
        return Layer(uri, self.states) if uri else None

    def old_map(self, tile: Tile) -> Layer | None:
        uri = self.old.get(tile.name)
        return Layer(uri, self.old_states) if uri and self.old_states else None


@dataclass
class Tally:
    """Pixel counts; S states of the maps with 0 = no data, R of the old map likewise, Y years."""

    labels: np.ndarray
    """(Y, S)"""

    pairs: np.ndarray
    """(Y, Y, S, S) for each pair of years i < j; row = state in year i."""

    old: np.ndarray
    """(Y, R, S); row = state of the old map."""

    always: int
    """Pixels with a class in every year."""

    same: int
    """Of those, pixels with the same class in all years."""

    triples: int
    """Pixels with a class in three years running, counted for each such three."""

    flips: int
    """Of those, A-B-A."""

    def add(self, other: "Tally") -> None:
        self.labels += other.labels
        self.pairs += other.pairs
        self.old += other.old
        self.always += other.always
        self.same += other.same
        self.triples += other.triples
        self.flips += other.flips


@dataclass(frozen=True)
class _Task:
    maps: Maps
    tile: Tile
    window: Window
    before: tuple[Tile, ...]


def count_tile(maps: Maps, tile: Tile, pool: Pool) -> Tally:
    """Return the counts of one tile; places that an earlier tile holds too are left to it."""
    before = neighbours(tile, maps.tiles)
    total = _empty(maps)
    for part in pool.map(_count_window, [_Task(maps, tile, window, before) for window in tile.windows(WINDOW)]):
        total.add(part)
    return total


def _empty(maps: Maps) -> Tally:
    years, states, old = len(maps.years), len(maps.states) + 1, len(maps.old_states) + 1 if maps.old_states else 1
    return Tally(
        labels=np.zeros((years, states), np.int64),
        pairs=np.zeros((years, years, states, states), np.int64),
        old=np.zeros((years, old, states), np.int64),
        always=0,
        same=0,
        triples=0,
        flips=0,
    )


def _count_window(task: _Task) -> Tally:
    maps, tally = task.maps, _empty(task.maps)
    own = owned(task.tile, task.window, task.before)
    layers = [maps.label(task.tile, year) for year in maps.years]
    stack = np.stack([read_states(layer, task.tile, task.window)[own] if layer else np.zeros(int(own.sum()), np.uint8) for layer in layers])
    layer = maps.old_map(task.tile)
    old = read_states(layer, task.tile, task.window)[own] if layer else np.zeros(stack.shape[1], np.uint8)
    states = len(maps.states) + 1
    for index, now in enumerate(stack):
        tally.labels[index] = np.bincount(now, minlength=states)
        tally.old[index] = cross(old, now, tally.old.shape[1], states)
        for later in range(index + 1, len(stack)):
            tally.pairs[index, later] = cross(now, stack[later], states, states)
    _count_paths(tally, stack, states - 1)
    return tally


def _count_paths(tally: Tally, stack: np.ndarray, unknown: int) -> None:
    """Count what pairs of years cannot tell: (Y, N) states -> same in all years, A-B-A in three."""
    named = (stack > 0) & (stack < unknown)
    always = named.all(axis=0)
    tally.always, tally.same = int(always.sum()), int((always & (stack == stack[0]).all(axis=0)).sum())
    for first in range(len(stack) - 2):
        three = named[first : first + 3].all(axis=0)
        a, b, c = stack[first : first + 3]
        tally.triples += int(three.sum())
        tally.flips += int((three & (a == c) & (a != b)).sum())


def cross(rows: np.ndarray, columns: np.ndarray, row_count: int, column_count: int) -> np.ndarray:
    """Return (R, C) counts of the pairs of two arrays of states."""
    index = rows.astype(np.int32) * column_count + columns
    return np.bincount(index.ravel(), minlength=row_count * column_count).reshape(row_count, column_count)
