"""Patches of the cubes around the samples: what a network learns from that reads images, with labels at some of their pixels."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from rasterio.windows import Window

from landtide.core.errors import InputError
from landtide.io.cube import Cube, open_cube
from landtide.models.card import standardise
from landtide.train.batches import Batch, Division, seed_of
from landtide.train.data import Facts, TrainingData, class_weights, look, read, usable, validation_mask
from landtide.train.group import Group
from landtide.train.spec import Optimisation, TrainSpec

log = logging.getLogger(__name__)

LEAST_STEPS = 500
"""Steps of the weights in a training: where there are few patches, each pass shows them several times."""


@dataclass(frozen=True)
class Marked:
    """Samples by the patch that they lie in."""

    patch: np.ndarray
    """(N,) int64 number of the patch."""

    row: np.ndarray
    """(N,) int64 within the patch."""

    column: np.ndarray
    where: list[tuple[str, int, int]]
    """Of each patch: tile, first row and column in it."""


class Patches:
    """Batches of patches with all years of a place where a state is carried, else of one year each."""

    def __init__(self, spec: TrainSpec, settings: Optimisation, group: Group, *, patch: int, most: int, carried: bool) -> None:
        data = read(spec)
        self.facts = Facts.of(data, settings.balance, len(spec.legend))
        weight = class_weights(data.y, data.trust, settings.balance)
        marked = mark(spec, data, patch)
        years = [tuple(sorted({int(year) for year in data.year}))] if carried else [(int(year),) for year in np.unique(data.year)]
        chosen = np.random.default_rng(spec.seed).permutation(len(marked.where))[: max(most // len(years), 1)]
        parts = [
            part
            for number in np.sort(chosen).tolist()
            for span in years
            for part in _patch(spec, data, weight, marked, number, span, patch)
        ]
        whole = Batch(
            *(torch.stack(values) for values in zip(*((one.x, one.mask, one.doy, one.target, one.weight) for one in parts), strict=True))
        )
        self._all = Batch(*(values.to(group.device) for values in (whole.x, whole.mask, whole.doy, whole.target, whole.weight)))
        held = (
            validation_mask(np.ones(len(parts), np.uint8), np.arange(len(parts)), spec.seed)
            if len(parts) > 5
            else np.zeros(len(parts), bool)
        )
        self._rows = torch.from_numpy(np.flatnonzero(~held))
        self.validation = self._all.take(torch.from_numpy(np.flatnonzero(held)[group.rank :: group.world]))
        self._division = Division.of(len(self._rows), settings, group)
        self._steps = max(self._division.steps, -(-LEAST_STEPS // settings.epochs))
        self._settings, self._seed, self._group = settings, spec.seed, group
        if group.first:
            log.info("%d patches of %d pixels, %d steps a pass", len(parts), patch, self._steps)

    @property
    def steps(self) -> int:
        return self._steps

    def batches(self, epoch: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed_of(self._seed, epoch))
        size = self._division.batch
        for first in range(0, self._steps, self._division.steps):
            order = self._rows[torch.randperm(len(self._rows), generator=generator)]
            for number in range(min(self._division.steps, self._steps - first) * self._settings.accumulate):
                start = (number * self._group.world + self._group.rank) * size
                yield self._all.take(order[start : start + size].to(self._all.target.device))


def mark(spec: TrainSpec, data: TrainingData, patch: int) -> Marked:
    """Say in which patch of which tile each sample lies. The patches are those of a grid over the tile.

    Raises InputError where the samples do not fit the memory.
    """
    parts = [usable(file.uri, file.read(), spec) for file in look(spec)]
    if sum(map(len, parts)) != len(data):
        raise InputError(
            f"{sum(map(len, parts))} samples do not fit compute.memory, and patches need them all: lower extract.per_class, or raise it"
        )
    tile, xy = np.concatenate([part.tile for part in parts]), np.concatenate([part.xy for part in parts])
    row, column = np.zeros(len(data), np.int64), np.zeros(len(data), np.int64)
    for name in np.unique(tile):
        own = tile == name
        affine = _cube(spec, str(name), int(data.year[own][0])).tile.affine
        columns, rows = ~affine @ (xy[own, 0], xy[own, 1])
        row[own], column[own] = np.floor(rows), np.floor(columns)
    names, number = np.unique(tile, return_inverse=True)
    keys, place = np.unique(np.stack([number, row // patch, column // patch], axis=1), axis=0, return_inverse=True)
    where = [(str(names[key]), int(top) * patch, int(left) * patch) for key, top, left in keys]
    return Marked(place.reshape(-1), row % patch, column % patch, where)


def _patch(
    spec: TrainSpec, data: TrainingData, weight: np.ndarray, marked: Marked, number: int, years: tuple[int, ...], side: int
) -> Iterator[Batch]:
    """Yield the patch of these years with its labels, nothing where it has none. Pixels beyond the tile are missing."""
    own = np.flatnonzero((marked.patch == number) & np.isin(data.year, years))
    if not own.size:
        return
    tile, top, left = marked.where[number]
    x = np.full((len(years), spec.steps, side, side, len(spec.bands)), np.nan, np.float32)
    doy = np.zeros((len(years), spec.steps), np.int16)
    target, heavy = np.zeros((side, side, len(years)), np.uint8), np.zeros((side, side, len(years)), np.float32)
    for at, year in enumerate(years):
        cube = _cube(spec, tile, year)
        high, wide = min(side, cube.tile.shape[0] - top), min(side, cube.tile.shape[1] - left)
        x[at, :, :high, :wide] = cube.read(Window(left, top, wide, high)).transpose(0, 2, 3, 1)
        doy[at] = cube.doy
        rows = own[data.year[own] == year]
        target[marked.row[rows], marked.column[rows], at] = data.y[rows]
        heavy[marked.row[rows], marked.column[rows], at] = weight[rows]
    x = standardise(x.reshape(-1, *x.shape[2:]), tuple(data.mean), tuple(data.std))
    heavy *= heavy.size / len(own)  # the loss is a mean over all pixels: so it is one over the labels
    if len(years) == 1:
        target, heavy = target[..., 0], heavy[..., 0]
    one = Batch.of(x[None], doy.reshape(1, -1), np.maximum(target, 1)[None], heavy[None], "cpu")
    yield Batch(one.x[0], one.mask[0], one.doy[0], one.target[0], one.weight[0])


def _cube(spec: TrainSpec, tile: str, year: int) -> Cube:
    return open_cube(spec.cubes[tile][str(year)])
