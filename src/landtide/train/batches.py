"""Samples as the loop takes them: batches on the device, each process its own part of every epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from landtide.core.errors import InputError
from landtide.models.network import split_mask
from landtide.train.data import Facts, TrainingData, class_weights, validation_mask
from landtide.train.group import Group
from landtide.train.spec import Optimisation


@dataclass(frozen=True)
class Batch:
    """B samples on the device."""

    x: Tensor
    mask: Tensor
    doy: Tensor
    target: Tensor
    """(B,) int64 class 0..K-1."""

    weight: Tensor

    def take(self, index: Tensor | slice) -> "Batch":
        return Batch(self.x[index], self.mask[index], self.doy[index], self.target[index], self.weight[index])

    def __len__(self) -> int:
        return len(self.target)

    @classmethod
    def joined(cls, parts: Sequence["Batch"]) -> "Batch":
        """Return the samples of several batches as one."""
        return cls(*(torch.cat([getattr(part, item.name) for part in parts]) for item in fields(cls)))

    @classmethod
    def of(cls, x: np.ndarray, doy: np.ndarray, y: np.ndarray, weight: np.ndarray, device: str) -> "Batch":
        """Put standardised series (B, T, C), days (B, T), labels 1..K and weights (B,) on a device."""
        values, mask = split_mask(x)
        days, target = torch.from_numpy(doy.astype(np.float32)), torch.from_numpy(y.astype(np.int64) - 1)
        return cls(*(part.to(device) for part in (values, mask, days, target, torch.from_numpy(weight.astype(np.float32)))))


class Source(Protocol):
    """Where the loop takes its samples from."""

    @property
    def facts(self) -> Facts: ...
    @property
    def steps(self) -> int:
        """Steps of the weights an epoch, the same in every process."""

    @property
    def validation(self) -> Batch:
        """This process's share of the samples set apart."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield this process's batches of an epoch: ``accumulate`` for each step."""


@dataclass(frozen=True)
class Division:
    """How an epoch is divided into steps, and each step among the processes."""

    samples: int
    """Of an epoch, all processes together."""

    batch: int
    """Samples that a process takes at a time."""

    steps: int

    @classmethod
    def of(cls, available: int, settings: Optimisation, group: Group) -> "Division":
        """Divide an epoch. A last short step is left out: batch norm needs more than one sample.

        Raises InputError where there are fewer samples than processes can share.
        """
        parts = group.world * settings.accumulate
        samples = min(available, settings.epoch_samples)
        batch = min(settings.batch, samples // parts)
        if batch < min(2, available):
            raise InputError(
                f"training has {available} samples for {group.world} processes x {settings.accumulate} batches a step: "
                "lower train.processes, train.nodes or model.accumulate"
            )
        return cls(samples, batch, max(samples // (batch * parts), 1))


class InMemory:
    """Samples that fit the memory: every process has all of them, and takes its part of one order that all share.

    So one process with batch 2b takes the same samples in each step as two with batch b.
    """

    def __init__(self, data: TrainingData, settings: Optimisation, seed: int, group: Group, *, classes: int) -> None:
        self.facts = Facts.of(data, settings.balance, classes)
        weight = class_weights(data.y, data.trust, settings.balance)
        held = validation_mask(data.y, data.group, seed)
        self._training = _batch(data, weight, np.flatnonzero(~held), group.device)
        self.validation = _batch(data, weight, np.flatnonzero(held)[group.rank :: group.world], group.device)
        self._division = Division.of(len(self._training), settings, group)
        self._seed, self._group, self._accumulate = seed, group, settings.accumulate

    @property
    def steps(self) -> int:
        return self._division.steps

    def batches(self, epoch: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed_of(self._seed, epoch))
        order = torch.randperm(len(self._training), generator=generator)[: self._division.samples]
        size = self._division.batch
        for number in range(self.steps * self._accumulate):
            start = (number * self._group.world + self._group.rank) * size
            yield self._training.take(order[start : start + size].to(self._training.target.device))


def seed_of(*parts: int) -> int:
    """Return a seed that differs for every combination of parts, such as seed, epoch and process."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _batch(data: TrainingData, weight: np.ndarray, rows: np.ndarray, device: str) -> Batch:
    return Batch.of(data.x[rows], data.doy[rows], data.y[rows], weight[rows], device)
