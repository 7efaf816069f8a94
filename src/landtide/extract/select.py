"""The unsupervised selection of reliable pixels: dominant cluster of each polygon, consistent polygons, pixels near the centre, no change.

Source: the two steps of Paris, Bruzzone and Fernandez-Prieto 2019 (IEEE TGRS 57(7)), as far as their abstract tells; distances and
thresholds are our own.
"""

from dataclasses import dataclass

import numpy as np

from landtide.extract.clusters import assign, cluster
from landtide.extract.consistency import analyse

MIN_PIXELS = 50
"""Pixels that a polygon must keep after erosion; lowered for classes that would lose most of what they have."""

MIN_CLUSTER = 20
"""A dominant cluster of fewer pixels is no evidence of anything."""

MIN_SHARE = 0.5
"""The label of a polygon is that of its dominant class: without a majority there is none."""

NEAREST = 0.7
"""Share of a dominant cluster's pixels that is kept, nearest to its centre first."""

FIT = 1000
"""Pixels a polygon that are clustered; the others are assigned."""

MOST_POLYGONS = 3000
"""Polygons that are examined; a country's map holds a million, and a class needs some hundreds."""

CHANGE = 3.0
"""Robust z of the change between two years beyond which a pixel's land has changed."""

ENOUGH = 400
"""Pixels that a class should keep after erosion; below that the floors are lowered step by step."""


@dataclass(frozen=True)
class Verdict:
    """What became of one polygon."""

    polygon: int
    label: int
    pixels: int
    """Examined pixels, before erosion."""

    kept: int
    clusters: int
    share: float
    """Of the dominant cluster; 0 where the polygon was not clustered."""

    reason: str
    """``kept``, ``eroded``, ``small``, ``share``, ``consistency`` or ``margin``."""

    distance: float
    """Squared robust distance to the class, in the units of chi-squared; 0 where it was not reached."""


@dataclass(frozen=True)
class Floors:
    """The demands that one class was held to."""

    erosion: float
    """Pixels."""

    pixels: int
    lowered: bool


@dataclass(frozen=True)
class Selection:
    """Which pixels carry their polygon's label reliably."""

    core: np.ndarray
    """(N,) bool"""

    verdicts: list[Verdict]
    floors: dict[int, Floors]
    """By label."""


def select_pixels(scores: np.ndarray, polygon: np.ndarray, label: np.ndarray, depth: np.ndarray, erosion: float, seed: int) -> Selection:
    """Find the pixels whose polygon's label can be trusted.

    scores   (N, D) float32 principal scores of one year
    polygon  (N,) int64 polygon of each pixel
    label    (N,) uint8 class of its code, 0 = excluded
    depth    (N,) float32 distance to the polygon's edge, pixels
    erosion  positional accuracy of the map, pixels
    """
    floors = {int(value): _floors(polygon[label == value], depth[label == value], erosion) for value in np.unique(label[label > 0])}
    order = np.flatnonzero(label > 0)
    order = order[np.argsort(polygon[order], kind="stable")]
    members = np.split(order, np.flatnonzero(np.diff(polygon[order])) + 1) if len(order) else []
    if len(members) > MOST_POLYGONS:
        members = [members[index] for index in _spread(members, label, seed)]
    looked = [
        _dominant(scores, group, int(polygon[group[0]]), depth, floors[int(label[group[0]])], int(label[group[0]]), seed)
        for group in members
    ]
    return _judge(scores, looked, floors, seed)


def _floors(polygon: np.ndarray, depth: np.ndarray, erosion: float) -> Floors:
    """Return the strictest demands under which a class keeps enough pixels, or the laxest where it never does."""
    for part, pixels in ((1.0, MIN_PIXELS), (0.5, MIN_PIXELS), (0.25, MIN_PIXELS), (0.25, MIN_CLUSTER), (0.0, MIN_CLUSTER)):
        inside = polygon[depth > erosion * part]
        _, count = np.unique(inside, return_counts=True)
        if count[count >= pixels].sum() >= ENOUGH:
            return Floors(erosion * part, pixels, part < 1.0)
    return Floors(0.0, 4, True)


def _spread(members: list[np.ndarray], label: np.ndarray, seed: int) -> list[int]:
    """Choose polygons at random, as many of each class as of any other where there are enough."""
    rng = np.random.default_rng(seed)
    classes = np.array([label[group[0]] for group in members])
    rank = np.empty(len(members), np.int64)
    for value in np.unique(classes):
        own = np.flatnonzero(classes == value)
        rank[own] = rng.permutation(len(own))
    return [int(index) for index in np.sort(np.argsort(rank, kind="stable")[:MOST_POLYGONS])]


def _dominant(
    scores: np.ndarray, group: np.ndarray, polygon: int, depth: np.ndarray, floors: Floors, label: int, seed: int
) -> tuple[Verdict, np.ndarray]:
    """Cluster one polygon; return what was found and the pixels of its dominant cluster, nearest to the centre first."""
    inside = group[depth[group] > floors.erosion]
    nothing = np.zeros(0, np.int64)
    if len(inside) < floors.pixels:
        reason = "eroded" if len(group) >= floors.pixels else "small"
        return Verdict(polygon, label, len(group), 0, 0, 0.0, reason, 0.0), nothing
    x = scores[inside]
    step = max(1, len(x) // FIT)
    found = cluster(x[::step], seed)
    of = assign(x, found.centres)
    sizes = np.bincount(of, minlength=len(found.centres))
    largest = int(sizes.argmax())
    share = float(sizes[largest] / len(x))
    own = np.flatnonzero(of == largest)
    if share < MIN_SHARE or len(own) < min(MIN_CLUSTER, floors.pixels):
        return Verdict(polygon, label, len(group), 0, len(sizes), share, "share", 0.0), nothing
    near = np.argsort(((x[own] - found.centres[largest]) ** 2).sum(axis=1), kind="stable")
    kept = inside[own[near]]
    return Verdict(polygon, label, len(group), len(kept), len(sizes), share, "kept", 0.0), kept


def _judge(scores: np.ndarray, looked: list[tuple[Verdict, np.ndarray]], floors: dict[int, Floors], seed: int) -> Selection:
    """Drop the polygons that are inconsistent with their class, then the outer pixels of the others."""
    core = np.zeros(len(scores), bool)
    alive = [index for index, (verdict, _) in enumerate(looked) if verdict.reason == "kept"]
    verdicts = [verdict for verdict, _ in looked]
    if not alive:
        return Selection(core, verdicts, floors)
    means = np.stack([scores[looked[index][1]].mean(axis=0) for index in alive])
    labels = np.array([verdicts[index].label for index in alive])
    judged, distance = analyse(means, labels, seed)
    for place, index in enumerate(alive):
        verdict, pixels = looked[index]
        keep = pixels[: max(1, int(NEAREST * len(pixels)))] if judged[place] == "kept" else pixels[:0]
        core[keep] = True
        verdicts[index] = Verdict(
            verdict.polygon,
            verdict.label,
            verdict.pixels,
            len(keep),
            verdict.clusters,
            verdict.share,
            str(judged[place]),
            float(distance[place]),
        )
    return Selection(core, verdicts, floors)


def changed(reference: np.ndarray, other: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Say which pixels changed between two years, (N,) bool: outliers of the change magnitude within their class.

    reference, other  (N, D) scores of the two years, standardised a year, so that weather alone moves no pixel
    label             (N,) class; only pixels of one class are compared with each other
    """
    magnitude = np.linalg.norm(other - reference, axis=1)
    result = np.zeros(len(label), bool)
    for value in np.unique(label):
        own = label == value
        middle = np.median(magnitude[own])
        spread = 1.4826 * np.median(np.abs(magnitude[own] - middle))
        result[own] = magnitude[own] - middle > CHANGE * max(float(spread), 1e-6)
    return result
