"""Samples of several years side by side: what a network learns from that reads more than one year of a place."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from landtide.models import Across
from landtide.train.batches import Batch, Division, InMemory, Source, seed_of
from landtide.train.data import Facts, TrainingData, class_weights, validation_mask
from landtide.train.group import Group
from landtide.train.spec import Optimisation


@dataclass(frozen=True)
class Places:
    """P places with the series of Y years one after another."""

    x: np.ndarray
    """(P, Y*T, C) float32 standardised; NaN = missing, or no sample of that year."""

    doy: np.ndarray
    """(P, Y*T) int16."""

    y: np.ndarray
    """(P, Y) uint8 label 1..K, 0 = no sample of that year."""

    trust: np.ndarray
    """(P, Y) float32."""

    group: np.ndarray
    """(P,) int64 polygon."""


def side_by_side(data: TrainingData) -> Places:
    """Join the samples of each place over all years that any place has."""
    place, row = np.unique(data.place, return_inverse=True)
    years, column = np.unique(data.year, return_inverse=True)
    shape, (steps, channels) = (len(place), len(years)), data.x.shape[1:]
    x = np.full((*shape, steps, channels), np.nan, np.float32)
    x[row, column] = data.x
    doy = np.empty((*shape, steps), np.int16)
    for number in range(len(years)):
        doy[:, number] = data.doy[column == number][0]  # where a place has no sample, the dates do not matter
    doy[row, column] = data.doy
    y, trust = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    y[row, column], trust[row, column] = data.y, data.trust
    group = np.zeros(len(place), np.int64)
    group[row] = data.group
    return Places(x.reshape(len(place), -1, channels), doy.reshape(len(place), -1), y, trust, group)


def source_of(data: TrainingData, settings: Optimisation, seed: int, group: Group, across: Across, *, classes: int) -> Source:
    """Return the batches that a network learns from: single years, or places with all their years."""
    if across == "separate":
        return InMemory(data, settings, seed, group, classes=classes)
    return Years(data, settings, seed, group, across, classes=classes)


class Years:
    """Batches of places: all years in their order where a state is carried, or windows of one year's length that begin anywhere."""

    def __init__(self, data: TrainingData, settings: Optimisation, seed: int, group: Group, across: Across, *, classes: int) -> None:
        self.facts = Facts.of(data, settings.balance, classes)
        places = side_by_side(data)
        known = places.y > 0
        weight = np.zeros(known.shape)
        weight[known] = class_weights(places.y[known], places.trust[known], settings.balance)
        held = validation_mask(places.y.max(axis=1), places.group, seed)
        self._length, self._across = data.x.shape[1], across
        self._training = _batch(places, weight, np.flatnonzero(~held), group.device)
        validation = _batch(places, weight, np.flatnonzero(held)[group.rank :: group.world], group.device)
        self.validation = validation if across == "carried" else one_by_one(validation, self._length)
        self._division = Division.of(len(self._training), settings, group)
        self._settings, self._seed, self._group = settings, seed, group

    @property
    def steps(self) -> int:
        return self._division.steps

    def batches(self, epoch: int) -> Iterator[Batch]:
        shared = torch.Generator().manual_seed(seed_of(self._seed, epoch))
        own = torch.Generator().manual_seed(seed_of(self._seed, epoch, 1 + self._group.rank))
        order = torch.randperm(len(self._training), generator=shared)[: self._division.samples]
        size = self._division.batch
        for number in range(self.steps * self._settings.accumulate):
            start = (number * self._group.world + self._group.rank) * size
            batch = self._training.take(order[start : start + size].to(self._training.target.device))
            batch = splice(batch, self._length, self._settings.splice, own)
            yield batch if self._across == "carried" else window(batch, self._length, own)


def splice(batch: Batch, length: int, share: float, generator: torch.Generator) -> Batch:
    """Let a share of the places turn into other places of the batch, from a random year on: change that is known to the day.

    Stable places alone would teach a network that nothing ever changes.
    """
    count, years = batch.target.shape
    if years == 1 or not share:
        return batch
    other = torch.randperm(count, generator=generator)
    since = torch.randint(1, years, (count,), generator=generator)
    chosen = torch.rand(count, generator=generator) < share
    turned = (chosen[:, None] & (torch.arange(years) >= since[:, None])).to(batch.target.device)  # (B, Y)
    turned_steps = turned.repeat_interleave(length, dim=1)  # (B, Y*T)

    def mixed(values: Tensor, where: Tensor) -> Tensor:
        return torch.where(where, values[other], values)

    return Batch(
        mixed(batch.x, turned_steps.unsqueeze(-1)),
        mixed(batch.mask, turned_steps),
        mixed(batch.doy, turned_steps),
        mixed(batch.target, turned),
        mixed(batch.weight, turned),
    )


def window(batch: Batch, length: int, generator: torch.Generator) -> Batch:
    """Cut one year's length out of all series, from a random step on; the label is that of the year with the larger part in it.

    Where the two years differ in label, the sample counts by the larger part alone.
    """
    years = batch.target.shape[1]
    start = int(torch.randint(0, (years - 1) * length + 1, (1,), generator=generator))
    year, late = divmod(start, length)
    main, side = (year, year + 1) if 2 * late <= length else (year + 1, year)
    side = side if late else main
    part = max(late, length - late) / length
    target, weight = batch.target[:, main], batch.weight[:, main]
    weight = torch.where(target == batch.target[:, side], weight, part * weight)
    span = slice(start, start + length)
    return Batch(batch.x[:, span], batch.mask[:, span], batch.doy[:, span], target, weight)


def one_by_one(batch: Batch, length: int) -> Batch:
    """Return the years of all places as samples of their own, without those that have no label."""
    known = batch.weight.flatten() > 0
    x = batch.x.reshape(-1, length, batch.x.shape[2])
    flat = Batch(x, batch.mask.reshape(-1, length), batch.doy.reshape(-1, length), batch.target.flatten(), batch.weight.flatten())
    return flat.take(known.nonzero().flatten())


def change_penalty(logits: Tensor, x: Tensor, mask: Tensor, gate: float) -> Tensor:
    """Return (B,) mean Jensen-Shannon divergence of successive years' classes, gated so that change in the series is not held back.

    logits  (B, Y, K)
    x       (B, Y*T, C) standardised, 0 at missing steps
    mask    (B, Y*T)
    gate    scale s of the weight exp(-d / s), d = mean absolute difference of the two years at the steps that both have

    Two years without a step in common have weight 0: nothing says that they are alike.
    """
    count, years, _ = logits.shape
    series, seen = x.reshape(count, years, -1, x.shape[2]), mask.reshape(count, years, -1)  # (B, Y, T, C), (B, Y, T)
    both = seen[:, 1:] & seen[:, :-1]
    steps = both.sum(dim=2)
    apart = (series[:, 1:] - series[:, :-1]).abs().mean(dim=3)  # (B, Y-1, T)
    distance = (apart * both).sum(dim=2) / steps.clamp(min=1)
    weight = torch.where(steps > 0, torch.exp(-distance / gate), 0.0)  # (B, Y-1)
    share = torch.softmax(logits, dim=2)
    early, late = share[:, :-1], share[:, 1:]
    middle = torch.log(((early + late) / 2).clamp(min=1e-12))
    divergence = (_entropy_to(early, middle) + _entropy_to(late, middle)) / 2  # (B, Y-1)
    return (weight * divergence).mean(dim=1)


def _entropy_to(share: Tensor, log_middle: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of ``share`` from the middle, over the last dimension."""
    return (share * (torch.log(share.clamp(min=1e-12)) - log_middle)).sum(dim=-1)


def _batch(places: Places, weight: np.ndarray, rows: np.ndarray, device: str) -> Batch:
    batch = Batch.of(places.x[rows], places.doy[rows], places.y[rows], weight[rows], device)
    return replace(batch, target=batch.target.clamp(min=0))  # a year without a label has weight 0
