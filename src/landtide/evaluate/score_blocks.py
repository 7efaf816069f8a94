"""Score the new and the old map against a raster of the truth, from the confusion matrices of spatial blocks."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from landtide.core.report import AccuracyReport
from landtide.evaluate.assess import Assessment, Meaning, Scope, describe_view, explain_scope, trim
from landtide.evaluate.census import FEWEST_BLOCKS, Blocks, census_accuracy, census_gain


def assess_blocks(
    blocks: Blocks, meaning: Meaning, *, source: Literal["raster", "old_map"], name: str, year: int, pixel_area: float, seed: int
) -> Assessment:
    """Score the maps of a year; where ``source`` is ``old_map`` the truth is the old map itself, and the result is agreement."""
    scorer = _Scorer(blocks, meaning, _protocol(source, name), pixel_area, seed)
    compared = source == "raster" and meaning.old is not None and bool(blocks.old[:, 1:, 1:].any())
    views = [describe_view(view, index, scorer, scorer.gain(index) if compared else None) for index, view in enumerate(meaning.views)]
    whole = blocks.new.sum(axis=(0, 1))  # (S, T)
    named = meaning.truth.labels[0] > 0
    reference = "the old map" if source == "old_map" else "the reference"
    left_out = [
        ("no data in the map", int(whole[0, 1:].sum())),
        (f"no data in {reference}", int(whole[1:, 0].sum())),
        (f"no single class in {reference}", int(whole[1:, 1:][:, ~named[1:]].sum())),
    ]
    used = int(whole[1:, named].sum())
    return Assessment(source, name, year, "census", used, left_out, views, _notes(scorer(0, False, "all")))


def _protocol(source: str, name: str) -> str:
    what = f"Every pixel of {name}"
    if source == "old_map":
        what = "Agreement, not accuracy: every pixel of the old map, which is no reference"
    return f"{what}; intervals from a bootstrap over spatial blocks, since neighbouring pixels are not independent"


@dataclass(frozen=True)
class _Scorer:
    blocks: Blocks
    meaning: Meaning
    protocol: str
    pixel_area: float
    seed: int

    def __call__(self, view: int, is_old: bool, scope: Scope) -> AccuracyReport:
        states, truth, classes = self.meaning.of_map(is_old), self.meaning.truth, self.meaning.classes(view)
        counts = self.blocks.old if is_old else self.blocks.new.sum(axis=1)  # (B, S, T)
        rows = _fold(states.labels[view], len(classes), nameless=scope == "all")
        columns = _fold(truth.labels[view], len(classes), nameless=False)
        cells, names = trim(np.einsum("bst,si,tj->bij", counts, rows, columns, optimize=True), classes)
        protocol = explain_scope(self.protocol, names, is_old, scope)
        return census_accuracy(cells, names, protocol, pixel_area=self.pixel_area, seed=self.seed)

    def gain(self, view: int) -> tuple[float, float]:
        """Return the paired difference of overall accuracy where both maps and the reference have data, and its standard error."""
        truth = self.meaning.truth.labels[view]
        hit = [(self.meaning.of_map(is_old).labels[view][:, None] == truth) & (truth > 0) for is_old in (False, True)]
        both = self.blocks.new[:, 1]
        right = [np.einsum("bst,st->b", counts[:, 1:], mask[1:]) for counts, mask in zip((both, self.blocks.old), hit, strict=True)]
        return census_gain(right[0], right[1], both[:, 1:, truth > 0].sum(axis=(1, 2)), self.seed)


def _fold(labels: np.ndarray, classes: int, *, nameless: bool) -> np.ndarray:
    """Return the (S + 1, C) 0/1 matrix that folds states into classes; what names no class goes into the last one, or nowhere."""
    matrix = np.zeros((len(labels), classes))
    for state, label in enumerate(labels.tolist()):
        if state and (label or nameless):
            matrix[state, label - 1] = 1  # label 0 is the last column
    return matrix


def _notes(report: AccuracyReport) -> list[str]:
    units = report.counts.sum(axis=0)
    bare = [name for name, count, error in zip(report.classes, units, report.producers_error, strict=True) if count and np.isnan(error)]
    return [f"{', '.join(bare)}: found in fewer than {FEWEST_BLOCKS} blocks of the reference, too few for an interval"] if bare else []
