"""Sample sets as arrays that a model can be fitted on."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from landtide.core.errors import InputError, LandtideError
from landtide.core.samples import SampleSet
from landtide.io import table
from landtide.models.card import standardise
from landtide.models.series import fill_gaps
from landtide.train.spec import TrainSpec

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

    draw: np.ndarray
    """(N,) uint32 bit mask of ensemble draws."""

    mean: np.ndarray
    """(C,) float64 that was subtracted."""

    std: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    @property
    def seen(self) -> list[int]:
        """Labels that occur."""
        return [int(label) for label in np.unique(self.y)]


def read(spec: TrainSpec) -> TrainingData:
    """Read and join the sample sets of a spec, without what is not trusted or was never observed.

    Raises InputError where fewer than two classes are left, LandtideError where samples do not fit the spec.
    """
    parts = [table.read_samples(uri) for uri in spec.samples]
    for uri, part in zip(spec.samples, parts, strict=True):
        _check(uri, part, spec)
    origin = np.concatenate([np.full(len(part), index) for index, part in enumerate(parts)])
    samples = SampleSet.concatenate(parts)
    usable = (samples.trust >= spec.trust) & ~np.isnan(samples.x).all(axis=(1, 2)) & (samples.y > 0)
    samples, origin = samples.take(usable), origin[usable]
    seen = [spec.legend.names[label - 1] for label in np.unique(samples.y)]
    if len(seen) < 2:
        raise InputError(
            f"samples hold {len(samples)} usable series of {len(seen)} class ({', '.join(seen) or 'none'}) at trust >= {spec.trust:g}: "
            "at least 2 classes are needed. Lower extract.trust, or give an old map or points that show more classes"
        )
    mean, std = band_statistics(samples.x)
    x = standardise(samples.x, tuple(mean), tuple(std))
    group = number_groups(origin, samples.tile, samples.polygon)
    return TrainingData(x, samples.y, samples.doy, samples.trust.astype(np.float32), group, samples.draw, mean, std)


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
    """Return (N,) int64 group: polygon numbers begin anew in each sample set and tile."""
    tiles = np.unique(tile, return_inverse=True)[1]
    return np.unique(np.stack([origin, tiles, polygon], axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


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
            chosen[np.isin(group, group[y == label])] = False
    return chosen


def _check(uri: str, part: SampleSet, spec: TrainSpec) -> None:
    if part.bands != spec.bands or part.x.shape[1] != spec.steps:
        raise LandtideError(
            f"samples {uri} have {part.x.shape[1]} steps of bands {', '.join(part.bands)}; "
            f"the training asks for {spec.steps} steps of {', '.join(spec.bands)}"
        )
    if part.y.size and part.y.max() > len(spec.legend):
        raise LandtideError(f"samples {uri} hold label {part.y.max()}, legend {spec.legend.name!r} has {len(spec.legend)} classes")
