"""True change: which patches become another land cover, and when."""

import numpy as np

from landtide.simulate.landscape import (
    BROADLEAF,
    CONIFER,
    CROP,
    GRASS,
    IRRIGATED,
    MINERAL,
    SHRUB,
    SNOW,
    URBAN,
    WATER,
    Kind,
    Patches,
)
from landtide.simulate.noise import stream, uniform

TRANSITIONS: dict[tuple[int, Kind | None], tuple[tuple[int, float], ...]] = {
    (CROP, None): ((GRASS, 0.0100), (IRRIGATED, 0.0050)),
    (IRRIGATED, None): ((CROP, 0.0080),),
    (GRASS, Kind.FIELD): ((CROP, 0.0160), (SHRUB, 0.0030)),
    (GRASS, Kind.OPEN): ((SHRUB, 0.0060),),
    (GRASS, Kind.LOT): ((URBAN, 0.0100),),
    (BROADLEAF, Kind.STAND): ((SHRUB, 0.0110),),
    (CONIFER, Kind.STAND): ((SHRUB, 0.0130), (GRASS, 0.0020)),
    (SHRUB, Kind.STAND): ((BROADLEAF, 0.0250), (CONIFER, 0.0200)),
    (SHRUB, Kind.EDGE): ((BROADLEAF, 0.0120), (GRASS, 0.0100)),
    (SHRUB, Kind.FIELD): ((GRASS, 0.0150), (BROADLEAF, 0.0200)),
    (MINERAL, Kind.QUARRY): ((WATER, 0.0120), (SHRUB, 0.0150)),
    (MINERAL, Kind.BAR): ((WATER, 0.0200), (SHRUB, 0.0150)),
    (SNOW, None): ((MINERAL, 0.0120),),
}
"""Class and kind of patch (None = any) -> classes that it may become, with the rate a year."""

SPRAWL = 0.03
"""A year: the rate at which fields beside a town are built on, falling to 0 within one town radius of its edge."""


def changes(patches: Patches, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return when each patch changes, in years after the base year (U,) float32, and into which label (U,) uint8.

    A patch changes at most once; the waiting time is exponential.
    """
    rate, target = _rates(patches, uniform(stream(seed, "target"), patches.key))
    with np.errstate(divide="ignore"):
        wait = -np.log(uniform(stream(seed, "wait"), patches.key)) / rate
    return wait.astype(np.float32), target


def _rates(patches: Patches, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rate, target = np.zeros(len(patches.key)), patches.label.copy()
    for (label, kind), choices in TRANSITIONS.items():
        there = (patches.label == label) & ((patches.kind == kind) if kind is not None else True)
        total = sum(part for _, part in choices)
        rate[there] = total
        share = 0.0
        for becomes, part in reversed(choices):
            share += part / total
            target[there & (chance >= 1 - share) & (chance < 1 - share + part / total)] = becomes
    farmed = (patches.kind == Kind.FIELD) & np.isin(patches.label, (CROP, GRASS, IRRIGATED))
    sprawl = np.where(farmed, SPRAWL * np.clip(1 + patches.urban, 0, 1) ** 2, 0)
    built = sprawl > rate
    return np.maximum(rate, sprawl), np.where(built, URBAN, target).astype(np.uint8)
