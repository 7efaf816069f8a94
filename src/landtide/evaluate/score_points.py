"""Score the new and the old map at reference points, by the points' own strata or post-stratified by what the map says."""

from dataclasses import dataclass

import numpy as np

from landtide.core.report import AccuracyReport
from landtide.evaluate.area import area_adjusted_accuracy
from landtide.evaluate.assess import Assessment, Meaning, Scope, describe_view, explain_scope, trim
from landtide.evaluate.points import Matched
from landtide.evaluate.stehman import stratified_accuracy, stratified_mean


@dataclass(frozen=True)
class Extent:
    """What the maps cover."""

    new: np.ndarray
    """(S + 1,) ha of each state of the new map."""

    old: np.ndarray
    """(R + 1,) ha of each state of the old map."""

    pixel_area: float
    """ha"""


def assess_points(matched: Matched, meaning: Meaning, extent: Extent, *, name: str, year: int) -> Assessment:
    """Score the maps of a year at its points: Stehman 2014 where the points tell their strata, else Olofsson 2014."""
    scorer = _Scorer(matched, meaning, extent, name)
    compared = meaning.old is not None and bool((matched.old > 0).any())
    views = [describe_view(view, index, scorer, scorer.gain(index) if compared else None) for index, view in enumerate(meaning.views)]
    given = matched.points.stratum is not None
    notes = scorer.strata(False).notes()
    return Assessment("points", name, year, "stratified" if given else "poststratified", len(matched.new), matched.left_out, views, notes)


@dataclass(frozen=True)
class _Strata:
    """The strata of N units."""

    index: np.ndarray
    """(N,)"""

    sizes: np.ndarray
    """(H,) pixels of the sample's own strata, ha of post-strata"""

    asked: np.ndarray
    """(H,) units of each stratum, left out or not"""

    def sizes_of(self, used: np.ndarray) -> np.ndarray:
        """Return the sizes of the part of each stratum that the used units stand for; 0 where a stratum has none."""
        count = np.bincount(self.index[used], minlength=len(self.sizes))
        sizes: np.ndarray = self.sizes * count / np.maximum(self.asked, 1)
        return sizes

    def notes(self) -> list[str]:
        lost = (self.asked == 0) & (self.sizes > 0)
        share = self.sizes[lost].sum() / max(self.sizes.sum(), 1e-12)
        return [f"{int(lost.sum())} strata without any point, {share:.2%} of the area, are left out of the estimate"] if lost.any() else []


@dataclass(frozen=True)
class _Scorer:
    matched: Matched
    meaning: Meaning
    extent: Extent
    name: str

    def strata(self, is_old: bool) -> _Strata:
        points, said = self.matched.points, self.matched.old if is_old else self.matched.new
        if points.stratum is not None and points.sizes is not None and self.matched.asked is not None:
            return _Strata(points.stratum, points.sizes, self.matched.asked)
        area = (self.extent.old if is_old else self.extent.new).copy()
        area[0] = 0.0  # no data
        return _Strata(said.astype(int), area, np.bincount(said, minlength=len(area)))

    def __call__(self, view: int, is_old: bool, scope: Scope) -> AccuracyReport:
        classes = self.meaning.classes(view)
        said = self.matched.old if is_old else self.matched.new
        label = self.meaning.of_map(is_old).labels[view][said].astype(int)
        truth = self.meaning.truth.labels[view][self.matched.points.truth].astype(int)
        used = (said > 0) & (truth > 0) & ((label > 0) | (scope == "all"))
        strata = self.strata(is_old)
        sizes = strata.sizes_of(used)
        cells = np.zeros((len(sizes), len(classes), len(classes)))
        np.add.at(cells, (strata.index[used], label[used] - 1, truth[used] - 1), 1)  # label 0 is the last row
        cells, names = trim(cells, classes)
        given = self.matched.points.stratum is not None
        protocol = explain_scope(self._protocol(int(used.sum())), names, is_old, scope)
        if not given and view == 0:
            mapped = np.zeros(len(classes))
            np.add.at(mapped, self.meaning.of_map(is_old).labels[view].astype(int) - 1, sizes)
            return area_adjusted_accuracy(cells.sum(axis=0), mapped[: len(names)], names, protocol)
        return stratified_accuracy(cells, sizes, names, protocol, unit_area=self.extent.pixel_area if given else 1.0, finite=given)

    def gain(self, view: int) -> tuple[float, float]:
        """Return the paired difference of overall accuracy at points where both maps have data, and its standard error."""
        truth = self.meaning.truth.labels[view][self.matched.points.truth]
        right = [
            (self.meaning.of_map(is_old).labels[view][said] == truth).astype(float)
            for is_old, said in ((False, self.matched.new), (True, self.matched.old))
        ]
        used = (self.matched.old > 0) & (truth > 0)
        if not used.any():
            return float("nan"), float("nan")
        strata = self.strata(False)
        given = self.matched.points.stratum is not None
        return stratified_mean((right[0] - right[1])[used], strata.index[used], strata.sizes_of(used), finite=given)

    def _protocol(self, units: int) -> str:
        strata = self.matched.points.strata
        if strata is not None:
            return f"{units} points of {self.name}, a random sample in strata by {strata}, weighted by their sizes (Stehman 2014)"
        return f"{units} points of {self.name}, post-stratified by map class and weighted by mapped area (Olofsson et al. 2014)"
