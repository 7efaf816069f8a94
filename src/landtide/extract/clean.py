"""From places with old labels and their series of several years to labelled series with trust."""

from dataclasses import dataclass

import numpy as np

from landtide.extract.draw import sub_classes
from landtide.extract.features import principal_scores, standardise, valid_series
from landtide.extract.gather import Pixels
from landtide.extract.methods import METHODS
from landtide.extract.mixtures import CodeColumns
from landtide.extract.places import COMPONENTS, Places
from landtide.extract.select import Selection, changed
from landtide.extract.vocabulary import SMALL_POLYGONS, Evidence

PIECE = 600.0
"""m: a polygon larger than a square of this side is described piece by piece."""

CELL = 100.0
"""m; pixels of one cell of this side are one piece of evidence. The cell of CORINE; finer maps err in patches too."""


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
    """M labelled series, one a valid and unchanged (place, year) that has a label, with trust; all of them, trusted or not."""

    pixel: np.ndarray
    """(M,) int64 row of the places."""

    year: np.ndarray
    """(M,) int64 number of the year."""

    label: np.ndarray
    """(M,) uint8 label 1..K"""

    trust: np.ndarray
    """(M,) float32 probability that the label is right."""

    kind: np.ndarray
    """(M,) int64 sub-class of the label."""

    selection: Selection | None
    """What became of each polygon, where the method judges polygons."""

    rescued: tuple[int, ...]
    """Labels whose samples come from the per-polygon selection alone."""

    changed: int
    """Series that were left out because their year differs from the place's other years."""

    features: dict[str, np.ndarray]
    """What trust was computed from, each (M,)."""


@dataclass(frozen=True)
class MeanYears:
    """What a method is given, and the years that stand behind it."""

    places: Places
    index: np.ndarray
    """(n,) int64 row of each place among all."""

    used: np.ndarray
    """(n, Y) bool: years that are valid and like the place's other years."""

    changed: int


def clean_labels(
    x: np.ndarray,
    old: OldLabels,
    *,
    pixel_size: float,
    accuracy: float,
    reference: int | None,
    seed: int,
    method: str = "landtide",
) -> Cleaned:
    """Label and score every place by one of the methods, and spread that over its years.

    x           (N, Y, F) float32 series of the places, NaN = missing
    pixel_size  m
    accuracy    m; positional accuracy of the old map
    reference   number of the year that the old map shows, None = none of them
    method      a name of `METHODS`
    """
    given = mean_years(x, old, pixel_size=pixel_size, accuracy=accuracy, reference=reference)
    judged = METHODS[method](given.places, seed)
    row, year = np.nonzero(given.used & (judged.label > 0)[:, None])
    kind = sub_classes(given.places.scores, judged.label, seed)
    told = {name: values[row] for name, values in (judged.features or {}).items()}
    return Cleaned(
        given.index[row], year, judged.label[row], judged.trust[row], kind[row], judged.selection, judged.rescued, given.changed, told
    )


def mean_years(x: np.ndarray, old: OldLabels, *, pixel_size: float, accuracy: float, reference: int | None) -> MeanYears:
    """Screen the years of every place for change, and average the rest.

    Years of a place that differ from its other years far more than is usual under the same old label are left out, as are years without
    enough values. The rest are averaged: nearly all land stays what it is from one year to the next, and noise and weather do not.
    """
    valid = np.stack([valid_series(x[:, number]) for number in range(x.shape[1])], axis=1)
    z = np.zeros(x.shape, np.float32)
    for number in range(x.shape[1]):
        seen = np.flatnonzero(valid[:, number])
        z[seen, number] = standardise(x[seen, number], np.zeros(len(seen), np.int64))
    same = valid & ~_moved(z, valid, old.label)
    index = np.flatnonzero(valid.any(axis=1))
    used = np.where(same[index].any(axis=1, keepdims=True), same[index], valid[index])
    mean = np.einsum("nyf,ny->nf", z[index], used / used.sum(axis=1, keepdims=True), dtype=np.float32, casting="same_kind")
    shown = mean if reference is None else np.where(valid[index, reference, None], z[index, reference], mean)
    scores = principal_scores(mean, explained=0.999, most=COMPONENTS)
    places = Places(
        scores.values,
        scores.deviation,
        shown,
        old.label[index],
        old.pixels.polygon[index],
        _bags(old.pixels, pixel_size)[index],
        True,
        old.pixels.depth[index],
        accuracy / pixel_size,
        _evidence(old, index, pixel_size),
    )
    return MeanYears(places, index, used, int(valid.sum() - used.sum()))


def _evidence(old: OldLabels, places: np.ndarray, pixel_size: float) -> Evidence:
    """Collect what each place has to say: its code, its cell and its weight. No data says nothing."""
    side = max(1, round(CELL / pixel_size))
    where = old.pixels
    cell = (where.tile * (1 << 20) + where.row // side) * (1 << 20) + where.column // side
    weight = np.where(where.code == 0, 0.0, where.weight * np.maximum(old.area, 1) ** -SMALL_POLYGONS)
    polygons = len(np.unique(where.polygon[where.polygon >= 0]))
    return Evidence(old.columns.of(where.code)[places], cell[places], weight[places], old.columns.members, polygons)


def _bags(where: Pixels, pixel_size: float) -> np.ndarray:
    """Return the piece of a polygon in which each place lies, (N,) int64."""
    side = max(1, round(PIECE / pixel_size))
    block = (where.row // side) * (1 << 12) + where.column // side
    return np.unique(np.stack([where.polygon, block], axis=1), axis=0, return_inverse=True)[1].reshape(-1)


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
