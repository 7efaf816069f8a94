"""What a cleaning method sees and what it gives back: bare arrays, whatever they came from."""

from dataclasses import dataclass

import numpy as np

from landtide.core.study import Extract
from landtide.extract.features import principal_scores, standardise
from landtide.extract.select import Selection
from landtide.extract.vocabulary import Evidence

COMPONENTS = 24
"""Principal components that words are made of. The 8 to 20 that hold 95 % of the variance lose water and mineral; more add noise."""

CUT = float(Extract().trust)
"""Trust from which samples are used unless the study says otherwise. Methods that only say yes or no put their own cut here."""


@dataclass(frozen=True)
class Places:
    """N labelled places of one extraction."""

    scores: np.ndarray
    """(N, D) float32 principal scores of the mean year."""

    deviation: np.ndarray
    """(D,) float32 standard deviation of each."""

    shown: np.ndarray
    """(N, F) float32 standardised series of the year that the old map shows, or of the mean year."""

    label: np.ndarray
    """(N,) uint8 label that the place bears, 0 = none."""

    polygon: np.ndarray
    """(N,) int64 group whose labels are right or wrong together; -1 = none."""

    bag: np.ndarray
    """(N,) int64 polygon, or piece of a large one: what one code describes as a whole."""

    mixed: bool
    """Whether a polygon may hold more classes than the one it is called after, as those of maps do."""

    depth: np.ndarray
    """(N,) float32 pixels to the polygon's edge; infinite where there is no such thing."""

    erosion: float
    """Positional accuracy of the labels, pixels."""

    evidence: Evidence

    def __len__(self) -> int:
        return len(self.label)

    @property
    def classes(self) -> int:
        """K"""
        return len(self.evidence.members)


@dataclass(frozen=True)
class Judged:
    """Labels and trust of N places."""

    label: np.ndarray
    """(N,) uint8 label, 0 = none: what the method thinks right, which need not be the old label."""

    trust: np.ndarray
    """(N,) float32 probability that the label is right; below `CUT` where the method refuses the place."""

    selection: Selection | None = None
    """What became of each polygon, for methods that judge polygons."""

    rescued: tuple[int, ...] = ()
    """Labels whose samples come from their own polygons alone."""

    features: dict[str, np.ndarray] | None = None
    """What trust was computed from, each (N,)."""


def places_of(x: np.ndarray, label: np.ndarray, polygon: np.ndarray, classes: int) -> Places:
    """Describe labelled series that come from no map: a polygon is a group of series whose labels err together.

    x        (N, F) float32 series, NaN = missing
    label    (N,) uint8 label 1..K, 0 = none
    polygon  (N,) int64
    """
    shown = standardise(x, np.zeros(len(x), np.int64))
    scores = principal_scores(shown, explained=0.999, most=COMPONENTS)
    members = np.concatenate([np.zeros((classes, 1)), np.eye(classes)], axis=1)  # column 0: no label, which says nothing
    weight = np.where(label > 0, 1.0, 0.0)
    evidence = Evidence(label.astype(np.int64), polygon.astype(np.int64), weight, members, len(np.unique(polygon)))
    depth = np.full(len(x), np.inf, np.float32)
    group = polygon.astype(np.int64)
    return Places(scores.values, scores.deviation, shown, label.astype(np.uint8), group, group, False, depth, 0.0, evidence)
