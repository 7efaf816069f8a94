"""Sample sets as arrays that a model can be fitted on."""

import logging
import zlib
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from landtide.core.errors import InputError, LandtideError
from landtide.core.legend import Legend
from landtide.core.samples import SampleSet
from landtide.io import table
from landtide.models.card import standardise
from landtide.models.series import fill_gaps
from landtide.train.spec import TrainSpec

log = logging.getLogger(__name__)

SHARE = 0.5
"""Of the memory that a process may use, for samples: the libraries, the network and its gradients need the rest."""

COPIES = 4
"""Of the series that exist at once: as read, joined, standardised, and in the network's form."""

BESIDE = 200
"""Bytes of a sample beside its series."""

FOLDS = 6
"""One of this many parts of the polygons is set apart for validation."""


@dataclass(frozen=True)
class TrainingData:
    """N standardised series with label, weight and group."""

    x: np.ndarray
    """(N, T, C) float32 standardised, NaN = missing."""

    y: np.ndarray
    """(N,) uint8 label 1..K."""

    doy: np.ndarray
    """(N, T) int16."""

    trust: np.ndarray
    """(N,) float32, 0 to 1."""

    group: np.ndarray
    """(N,) int64 polygon, numbered over all sample sets and tiles."""

    place: np.ndarray
    """(N,) int64 pixel, numbered over all sample sets and tiles: its years are samples of one place."""

    year: np.ndarray
    """(N,) int16."""

    draw: np.ndarray
    """(N,) uint32 bit mask of ensemble draws."""

    origin: np.ndarray
    """(N,) int64 number of the sample set."""

    fold: np.ndarray
    """(N,) uint8 part of the polygons, 0 to FOLDS - 1, by a hash of tile and polygon: the same in every sample set of a tile."""

    mean: np.ndarray
    """(C,) float64 that was subtracted."""

    std: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: np.ndarray) -> "TrainingData":
        """Return the samples of an index or mask."""
        return TrainingData(**{name: value if name in ("mean", "std") else value[index] for name, value in vars(self).items()})

    @property
    def seen(self) -> list[int]:
        """Labels that occur."""
        return [int(label) for label in np.unique(self.y)]


@dataclass(frozen=True)
class Facts:
    """What the card of a model says of its samples."""

    samples: int
    counts: np.ndarray
    """(K,) samples a class."""

    mean: np.ndarray
    """(C,) float64 that is subtracted."""

    std: np.ndarray
    prior: np.ndarray
    """(K,) effective class shares."""

    polygons: int | None
    """None where they were not counted."""

    known: tuple[int, ...] = ()
    """Labels that the model knows beside those that occur: of a model that it goes on from."""

    @classmethod
    def of(cls, data: TrainingData, balance: float, classes: int) -> "Facts":
        """Return the facts of samples in memory."""
        counts = np.bincount(data.y, minlength=classes + 1)[1:]
        prior = class_prior(data.y, class_weights(data.y, data.trust, balance), classes)
        return cls(len(data), counts, data.mean, data.std, prior, len(np.unique(data.group)))

    @property
    def seen(self) -> list[int]:
        """Labels that the model knows."""
        return sorted({*self.known, *(int(label) + 1 for label in np.flatnonzero(self.counts))})

    def named(self, legend: Legend) -> dict[str, int]:
        """Return the samples a class by name."""
        return {legend.names[label - 1]: int(self.counts[label - 1]) for label in self.seen}


def read(
    spec: TrainSpec, files: list[table.SampleFile] | None = None, statistics: tuple[np.ndarray, np.ndarray] | None = None
) -> TrainingData:
    """Read and join the sample sets of a spec, without what is not trusted or was never observed.

    Where they do not fit the memory, a draw of them that fits is read.

    statistics  mean and deviation (C,) to standardise by; None = the samples' own

    Raises InputError where fewer than two classes are left, LandtideError where samples do not fit the spec.
    """
    files = files if files is not None else look(spec)
    share = min(1.0, capacity(spec) / max(sum(map(len, files)), 1))
    if share < 1:
        log.warning("samples: %d do not fit compute.memory; a draw of %.1f %% is used", sum(map(len, files)), 100 * share)
    parts, origin = [], []
    for number, file in enumerate(files):
        part = usable(file.uri, _drawn(file, share, spec.seed + number), spec)
        parts.append(part)
        origin.append(np.full(len(part), number))
    samples = SampleSet.concatenate(parts)
    check_classes(spec, np.bincount(samples.y, minlength=len(spec.legend) + 1)[1:])
    mean, std = statistics or band_statistics(samples.x)
    x = standardise(samples.x, tuple(mean), tuple(std))
    sets = np.concatenate(origin)
    group = number_groups(sets, samples.tile, samples.polygon)
    place = number_groups(sets, samples.tile, np.unique(samples.xy, axis=0, return_inverse=True)[1].reshape(-1))
    trust = samples.trust.astype(np.float32)
    fold = (hash_polygons(samples.tile, samples.polygon) % np.uint64(FOLDS)).astype(np.uint8)
    return TrainingData(x, samples.y, samples.doy, trust, group, place, samples.year, samples.draw, sets, fold, mean, std)


def described(facts: Facts, spec: TrainSpec) -> str:
    """Return the samples a class as words."""
    return f"{facts.samples} samples: {', '.join(f'{name} {count}' for name, count in facts.named(spec.legend).items())}"


def look(spec: TrainSpec) -> list[table.SampleFile]:
    """Open the sample sets of a spec. Raises LandtideError where one has other bands or steps than the training asks for."""
    files = [table.open_samples(uri) for uri in spec.samples]
    for file in files:
        if file.bands != spec.bands or file.steps != spec.steps:
            raise LandtideError(
                f"samples {file.uri} have {file.steps} steps of bands {', '.join(file.bands)}; "
                f"the training asks for {spec.steps} steps of {', '.join(spec.bands)}"
            )
    return files


def capacity(spec: TrainSpec) -> int:
    """Return how many samples a process can hold at once."""
    return int(SHARE * spec.memory / (COPIES * 4 * spec.steps * len(spec.bands) + BESIDE))


def usable(uri: str, samples: SampleSet, spec: TrainSpec, *, tell: bool = True) -> SampleSet:
    """Return the samples that can be learnt from, and tell in a line what is left out because it cannot.

    Raises InputError for an infinite value, LandtideError for a label that the legend lacks.
    """
    if samples.y.size and samples.y.max() > len(spec.legend):
        raise LandtideError(f"samples {uri} hold label {samples.y.max()}, legend {spec.legend.name!r} has {len(spec.legend)} classes")
    endless = np.argwhere(np.isinf(samples.x))
    if endless.size:
        sample, step, band = endless[0]
        raise InputError(
            f"samples {uri}: sample {sample} has an infinite value in band {spec.bands[band]}, step {step} "
            f"({len(endless)} values in all): missing values must be NaN"
        )
    never, unrated = np.isnan(samples.x).all(axis=(1, 2)), np.isnan(samples.trust)
    for count, reason in ((never.sum(), "no observation at all"), ((unrated & ~never).sum(), "no trust (NaN)")):
        if count and tell:
            log.warning("samples %s: %d of %d have %s and are left out", uri, count, len(samples), reason)
    return samples.take((samples.trust >= spec.trust) & ~never & (samples.y > 0))


def check_classes(spec: TrainSpec, counts: np.ndarray) -> None:
    """Raise InputError where fewer than two classes have samples; (K,) counts a class."""
    seen = [name for name, count in zip(spec.legend.names, counts, strict=True) if count]
    if len(seen) < 2:
        raise InputError(
            f"samples hold {int(counts.sum())} usable series of {len(seen)} class ({', '.join(seen) or 'none'}) at trust >= "
            f"{spec.trust:g}: at least 2 classes are needed. Lower extract.trust, or give an old map or points that show more classes"
        )


def _drawn(file: table.SampleFile, share: float, seed: int) -> SampleSet:
    """Read a file, or the same share of each of its row groups."""
    if share == 1:
        return file.read()
    rng, parts = np.random.default_rng(seed), []
    for number, rows in enumerate(file.groups):
        kept = np.sort(rng.choice(rows, int(share * rows), replace=False))
        parts.append(file.read(number).take(kept))
    return SampleSet.concatenate(parts)


def band_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation (C,) of each band over samples and steps; 0 and 1 where a band is empty or constant."""
    valid = ~np.isnan(x)
    count = np.maximum(valid.sum(axis=(0, 1)), 1)
    mean = np.where(valid, x, 0).sum(axis=(0, 1), dtype=np.float64) / count
    variance = np.where(valid, x - mean, 0.0) ** 2
    std = np.sqrt(variance.sum(axis=(0, 1)) / count)
    # rounding to float32 here keeps training, which standardises in float32, and model.json in step
    return mean.astype(np.float32).astype(np.float64), np.where(std > 1e-6, std, 1.0).astype(np.float32).astype(np.float64)


def number_groups(origin: np.ndarray, tile: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Return (N,) int64 group: numbers of polygons (or places) begin anew in each sample set and tile."""
    tiles = np.unique(tile, return_inverse=True)[1]
    return np.unique(np.stack([origin, tiles, polygon], axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def hash_polygons(tile: np.ndarray, polygon: np.ndarray, salt: str = "") -> np.ndarray:
    """Return (N,) uint64 that is the same for all samples of a polygon.

    Source: splitmix64, Steele et al. 2014, doi:10.1145/2660193.2660195.
    """
    names, place = np.unique(tile, return_inverse=True)
    base = np.array([zlib.crc32(f"{salt} {name}".encode()) for name in names], np.uint64)[place]
    value = polygon.astype(np.uint64) + (base << np.uint64(32)) + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def features_of(data: TrainingData) -> np.ndarray:
    """Return (N, T*C) float32 without gaps, as SVM and forest take a year."""
    return fill_gaps(data.x).reshape(len(data), -1)


def class_weights(y: np.ndarray, trust: np.ndarray, balance: float) -> np.ndarray:
    """Return (N,) float64 weight of each sample, trust x class count ** -balance, with mean 1.

    With everything at trust 0 the trust says nothing, and all samples count alike.
    """
    counts = np.bincount(y)
    weight: np.ndarray = (trust if trust.any() else np.ones(len(y))) * np.maximum(counts, 1)[y].astype(np.float64) ** -balance
    weight /= weight.mean()
    return weight


def class_prior(y: np.ndarray, weight: np.ndarray, classes: int) -> np.ndarray:
    """Return (K,) effective class shares of weighted samples."""
    shares: np.ndarray = np.bincount(y, weights=weight, minlength=classes + 1)[1:] / weight.sum()
    return shares


def validation_mask(y: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """Return (N,) bool, True = validation: whole groups, classes in proportion, and never the last group of a class.

    A class that lies in one group alone is learnt and not validated. All False where nothing can be spared.
    """
    groups = len(np.unique(group))
    folds = min(FOLDS, groups, int(np.bincount(y).max()))
    if folds < 2:
        return np.zeros(len(y), bool)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    chosen = np.zeros(len(y), bool)
    chosen[next(iter(splitter.split(y, y, group)))[1]] = True
    for label in np.unique(y):
        if chosen[y == label].all():
            log.info("label %d lies in one part of the polygons alone: it is learnt, and not validated", label)
            chosen[np.isin(group, group[y == label])] = False
    return chosen
