"""From places with old labels and their series to labelled series with trust: both ways of cleaning, joined."""

from dataclasses import dataclass

import numpy as np

from landtide.extract import trust
from landtide.extract.features import principal_scores, standardise, valid_series
from landtide.extract.gather import Pixels
from landtide.extract.mixtures import CodeColumns
from landtide.extract.select import Selection, changed, select_pixels
from landtide.extract.vocabulary import SCALES, SMALL_POLYGONS, Evidence, read_meaning

CELL = 100.0
"""m; pixels of one cell of this side are one piece of evidence. The cell of CORINE; finer maps err in patches too."""

COMPONENTS = 24
"""Principal components that words are made of. The 8 to 20 that hold 95 % of the variance lose water and mineral; more add noise."""

RESCUE = 100
"""Places under which a class also gets the pixels that the per-polygon selection alone vouches for."""

RESCUED_TRUST = 0.6
"""Trust of those: the word of some polygons against the rest of the map."""


@dataclass(frozen=True)
class OldLabels:
    """What the old map says at N places."""

    pixels: Pixels
    label: np.ndarray
    """(N,) uint8 label of the code, 0 = excluded or no data."""

    columns: CodeColumns
    area: np.ndarray
    """(N,) int64 pixels of the place's polygon."""


@dataclass(frozen=True)
class Cleaned:
    """M labelled series, one a valid and unchanged (place, year), with trust; all of them, trusted or not."""

    pixel: np.ndarray
    """(M,) int64 row of the places."""

    year: np.ndarray
    """(M,) int64 number of the year."""

    label: np.ndarray
    """(M,) uint8 label 1..K"""

    trust: np.ndarray
    """(M,) float32 probability that the label is right."""

    core: np.ndarray
    """(M,) bool: the per-polygon selection vouches for the old label of the place."""

    selection: Selection
    rescued: tuple[int, ...]
    """Labels whose samples come from the per-polygon selection alone."""

    changed: int
    """Series that were left out because their year differs from the place's other years."""

    features: dict[str, np.ndarray]
    """What trust was computed from, each (M,)."""


def clean_labels(
    x: np.ndarray,
    old: OldLabels,
    *,
    pixel_size: float,
    accuracy: float,
    reference: int | None,
    seed: int,
    scales: tuple[float, ...] = SCALES,
) -> Cleaned:
    """Label every place by the meaning of its words over the whole map, score it by that and by its polygon, and spread it over its years.

    x           (N, Y, F) float32 series of the places, NaN = missing
    pixel_size  m
    accuracy    m; positional accuracy of the old map
    reference   number of the year that the old map shows, None = none of them

    Years of a place that differ from its other years far more than is usual under the same old label are left out, as are years without
    enough values. The rest are averaged: nearly all land stays what it is from one year to the next, and noise and weather do not.
    """
    valid = np.stack([valid_series(x[:, number]) for number in range(x.shape[1])], axis=1)
    z = np.zeros(x.shape, np.float32)
    for number in range(x.shape[1]):
        seen = np.flatnonzero(valid[:, number])
        z[seen, number] = standardise(x[seen, number], np.zeros(len(seen), np.int64))
    same = valid & ~_moved(z, valid, old.label)
    places = np.flatnonzero(valid.any(axis=1))
    used = np.where(same[places].any(axis=1, keepdims=True), same[places], valid[places])
    mean = np.einsum("nyf,ny->nf", z[places], used / used.sum(axis=1, keepdims=True), dtype=np.float32, casting="same_kind")
    scores = principal_scores(mean, explained=0.999, most=COMPONENTS)
    meaning = read_meaning(scores.values, scores.deviation, _evidence(old, places, pixel_size), seed, scales=scales)
    shown = mean if reference is None else np.where(valid[places, reference, None], z[places, reference], mean)
    selection = _select(shown, old, places, accuracy / pixel_size, seed)
    label = (meaning.posterior.argmax(axis=1) + 1).astype(np.uint8)
    features = trust.old_map_features(meaning, label, old.label[places], selection.core)
    score = trust.logistic(features, trust.OLD_MAP)
    rescued = _rescue(label, score, old.label[places], selection.core)
    row, year = np.nonzero(used)
    left_out = int(valid.sum() - used.sum())
    told = {name: values[row] for name, values in features.items()}
    return Cleaned(places[row], year, label[row], score[row], selection.core[row], selection, rescued, left_out, told)


def _evidence(old: OldLabels, places: np.ndarray, pixel_size: float) -> Evidence:
    """Collect what each place has to say: its code, its cell and its weight. No data says nothing."""
    side = max(1, round(CELL / pixel_size))
    where = old.pixels
    cell = (where.tile * (1 << 20) + where.row // side) * (1 << 20) + where.column // side
    weight = np.where(where.code == 0, 0.0, where.weight * np.maximum(old.area, 1) ** -SMALL_POLYGONS)
    polygons = len(np.unique(where.polygon[where.polygon >= 0]))
    return Evidence(old.columns.of(where.code)[places], cell[places], weight[places], old.columns.members, polygons)


def _select(z: np.ndarray, old: OldLabels, places: np.ndarray, erosion: float, seed: int) -> Selection:
    """Run the per-polygon selection. z (n, F) standardised series of the places"""
    scores = principal_scores(z).values
    return select_pixels(scores, old.pixels.polygon[places], old.label[places], old.pixels.depth[places], erosion, seed)


def _moved(z: np.ndarray, valid: np.ndarray, old_label: np.ndarray) -> np.ndarray:
    """Say for each place and year whether it lies unusually far from the place's median year, (N, Y) bool; never where there is one year.

    z  (N, Y, F) standardised series. The median, since one changed year of three would drag the mean along.
    """
    result = np.zeros(valid.shape, bool)
    if valid.shape[1] < 2:
        return result
    middle = np.median(z, axis=1)
    gaps = np.flatnonzero(~valid.all(axis=1) & valid.any(axis=1))
    middle[gaps] = np.nanmedian(np.where(valid[gaps, :, None], z[gaps], np.nan), axis=1)
    for number in range(valid.shape[1]):
        own = np.flatnonzero(valid[:, number])
        result[own, number] = changed(middle[own], z[own, number], old_label[own])
    return result


def _rescue(label: np.ndarray, score: np.ndarray, old_label: np.ndarray, core: np.ndarray) -> tuple[int, ...]:
    """Give classes that the vocabularies lost the pixels of their consistent polygons, in place; return those labels."""
    rescued = []
    for value in np.unique(old_label[core]).tolist():
        if ((label == value) & (score >= RESCUED_TRUST)).sum() >= RESCUE:
            continue
        own = core & (old_label == value) & (label != value)
        if own.any():
            label[own] = value
            score[own] = RESCUED_TRUST
            rescued.append(int(value))
    return tuple(rescued)
