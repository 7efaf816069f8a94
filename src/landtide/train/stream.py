"""Samples that do not fit the memory: one look at all of them, then every epoch a draw from row groups that are read one at a time."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from landtide.core.samples import SampleSet
from landtide.io.table import SampleFile
from landtide.models.card import standardise
from landtide.train.batches import Batch, Division, seed_of
from landtide.train.data import FOLDS, Facts, capacity, check_classes, hash_polygons, usable
from landtide.train.group import Group
from landtide.train.spec import Optimisation, TrainSpec

log = logging.getLogger(__name__)

MIXED = 16
"""Row groups whose samples are shuffled together, read one after the other: those of one group are neighbours, often of one class."""

JUDGED = 20_000
"""Samples set apart that are kept for validation; the other polygons set apart are not looked at again."""


@dataclass
class Survey:
    """Sums over all usable samples, by label 0..K where an array has K + 1 entries."""

    training: np.ndarray
    """(K+1,) samples to learn from."""

    held: np.ndarray
    """(K+1,) samples of polygons set apart."""

    trust: np.ndarray
    """(K+1,) sum of trust."""

    count: np.ndarray
    """(C,) valid values a band."""

    total: np.ndarray
    square: np.ndarray
    """(C,) sums of values, and of their squares."""

    @classmethod
    def empty(cls, classes: int, channels: int) -> "Survey":
        return cls(*(np.zeros(classes + 1) for _ in range(3)), *(np.zeros(channels) for _ in range(3)))

    def add(self, samples: SampleSet, held: np.ndarray) -> None:
        """Take in the samples of a row group; held (N,) bool."""
        size = len(self.training)
        self.training += np.bincount(samples.y[~held], minlength=size)
        self.held += np.bincount(samples.y[held], minlength=size)
        self.trust += np.bincount(samples.y, weights=samples.trust, minlength=size)
        valid = ~np.isnan(samples.x)
        value = np.where(valid, samples.x, 0).astype(np.float64)
        self.count += valid.sum(axis=(0, 1))
        self.total += value.sum(axis=(0, 1))
        self.square += (value**2).sum(axis=(0, 1))

    def over(self, group: Group) -> "Survey":
        """Return the sums over all processes."""
        parts = list(vars(self).values())
        joined = np.array(group.sum([float(value) for part in parts for value in part]))
        return Survey(*np.split(joined, np.cumsum([len(part) for part in parts])[:-1]))


class Streamed:
    """A `Source` that holds a row group and as many samples as fit, whatever their number.

    Row groups are divided among the processes anew in every epoch; polygons are set apart by a hash of their number.
    """

    def __init__(self, spec: TrainSpec, files: list[SampleFile], settings: Optimisation, group: Group) -> None:
        self._spec, self._files, self._settings, self._group = spec, files, settings, group
        self._pieces = [(number, part) for number, file in enumerate(files) for part in range(len(file.groups))]
        self._most = max(capacity(spec) // 2, 2 * settings.batch)
        survey, kept = self._look()
        survey = survey.over(group)
        self._whole = (survey.training == 0) & (survey.held > 0)  # labels of polygons set apart alone: learnt, and not validated
        counts = survey.training + survey.held
        check_classes(spec, counts[1:])
        effective = (survey.trust if survey.trust.any() else counts) * np.maximum(counts, 1) ** -settings.balance
        self._scale = np.maximum(counts, 1) ** -settings.balance * counts.sum() / effective.sum()
        self._rated = bool(survey.trust.any())
        mean = survey.total / np.maximum(survey.count, 1)
        std = np.sqrt(np.maximum(survey.square / np.maximum(survey.count, 1) - mean**2, 0))
        mean, std = mean.astype(np.float32).astype(np.float64), np.where(std > 1e-6, std, 1.0).astype(np.float32).astype(np.float64)
        self.facts = Facts(int(counts.sum()), counts[1:].astype(int), mean, std, (effective / effective.sum())[1:], None)
        learnt = int(survey.training.sum() + survey.held[self._whole].sum())
        self._division = Division.of(learnt, settings, group)
        self.validation = self._batch(kept.take(~self._whole[kept.y]))
        if group.rank == 0:
            log.info("%d samples do not fit compute.memory: at most %d of them are held at a time", counts.sum(), self._most)

    @property
    def steps(self) -> int:
        return self._division.steps

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield this process's batches of an epoch."""
        rng = np.random.default_rng(seed_of(self._spec.seed, epoch))
        shuffled = [self._pieces[index] for index in rng.permutation(len(self._pieces))]
        own = shuffled[self._group.rank :: self._group.world] or shuffled
        rng = np.random.default_rng(seed_of(self._spec.seed, epoch, self._group.rank))
        wanted, size = self.steps * self._settings.accumulate, self._division.batch
        made, place, rest = 0, 0, None
        while made < wanted:
            mix = [own[(place + offset) % len(own)] for offset in range(min(MIXED, len(own)))]
            place += len(mix)
            portion = self._portion(mix, min((wanted - made) * size, self._most), rng, rest)
            for start in range(0, len(portion) - size + 1, size):
                if made < wanted:
                    made += 1
                    yield self._batch(portion.take(np.arange(start, start + size)))
            rest = portion.take(np.arange(len(portion) // size * size, len(portion)))

    def _portion(self, pieces: list[tuple[int, int]], wanted: int, rng: np.random.Generator, rest: SampleSet | None) -> SampleSet:
        """Draw an equal share of each of some row groups, and return it shuffled."""
        quota = -(-wanted // len(pieces))
        parts = [rest] if rest is not None else []
        for piece in pieces:
            samples, held = self._read(piece)
            rows = np.flatnonzero(~held | self._whole[samples.y])
            parts.append(samples.take(rng.permutation(rows)[:quota]))
        joined = SampleSet.concatenate(parts)
        return joined.take(rng.permutation(len(joined)))

    def _look(self) -> tuple[Survey, SampleSet]:
        """Read this process's part of all samples once; return its sums, and a draw of the samples set apart."""
        spec, group = self._spec, self._group
        survey, kept = Survey.empty(len(spec.legend), len(spec.bands)), []
        share = min(1.0, JUDGED * FOLDS / max(sum(map(len, self._files)), 1))
        rng = np.random.default_rng(seed_of(spec.seed, group.rank))
        for piece in self._pieces[group.rank :: group.world]:
            samples, held = self._read(piece, tell=True)
            survey.add(samples, held)
            rows = np.flatnonzero(held)
            kept.append(samples.take(rows[rng.random(len(rows)) < share]))
        return survey, SampleSet.concatenate(kept or [self._read(self._pieces[0])[0].take(np.array([], int))])

    def _read(self, piece: tuple[int, int], *, tell: bool = False) -> tuple[SampleSet, np.ndarray]:
        """Return the usable samples of a row group, and which of them are set apart."""
        file = self._files[piece[0]]
        samples = usable(file.uri, file.read(piece[1]), self._spec, tell=tell)
        return samples, hash_polygons(samples.tile, samples.polygon, f"{self._spec.seed} {piece[0]}") % np.uint64(FOLDS) == 0

    def _batch(self, samples: SampleSet) -> Batch:
        mean, std = self.facts.mean, self.facts.std
        weight = (samples.trust if self._rated else 1.0) * self._scale[samples.y]
        return Batch.of(standardise(samples.x, tuple(mean), tuple(std)), samples.doy, samples.y, weight, self._group.device)
