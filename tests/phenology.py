"""A tiny generator of labelled series: classes differ in the course of the year, polygons and years in level and timing."""

import numpy as np

from landtide.core.legend import Legend, LegendClass
from landtide.core.samples import SampleSet

STEPS = 12
BANDS = ("B03", "B04", "B08", "B11")
DOY = np.array([16, 46, 75, 106, 136, 167, 197, 228, 259, 289, 320, 350], np.int16)
COLORS = ("#AA0000", "#00AA00", "#0000AA", "#AAAA00", "#AA00AA", "#00AAAA")


def legend(classes: int) -> Legend:
    """Return a legend of K invented classes."""
    return Legend("invented", tuple(LegendClass(10 * k, f"class {k}", COLORS[k % 6]) for k in range(1, classes + 1)))


def curves(labels: np.ndarray, shift: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return (N, T, C) reflectance of labels 1..K: a season whose peak, length and height depend on the class."""
    k = labels[:, None].astype(np.float64)
    season = np.exp(-(((DOY - (90 + 28 * k + shift[:, None])) / (35 + 12 * (k % 3))) ** 2))  # (N, T)
    strength = 0.12 + 0.06 * (k % 4)
    red, infrared = 0.14 - 0.5 * strength * season + 0.01 * k, 0.18 + strength * season
    return np.stack([0.9 * red, red, infrared, 0.25 - 0.3 * strength * season], axis=2) * (1 + level)[:, None, None]


def samples(
    per_class: int = 60,
    *,
    classes: int = 4,
    years: tuple[int, ...] = (2018,),
    polygons: int = 12,
    wrong: float = 0.0,
    missing: float = 0.0,
    noise: float = 0.02,
    draws: int = 1,
    seed: int = 0,
) -> SampleSet:
    """Return samples of every class; a share ``wrong`` carries another class's label, a share ``missing`` of the steps is NaN."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(1, classes + 1), per_class)
    count = len(truth)
    polygon = truth * 1000 + rng.integers(0, polygons, count)
    keys, place = np.unique(polygon, return_inverse=True)
    year = rng.choice(np.array(years), count)
    shift = rng.normal(0, 10, len(keys))[place] + 8 * np.sin(year * 1.7)
    x = curves(truth, shift, rng.normal(0, 0.05, len(keys))[place]) + rng.normal(0, noise, (count, STEPS, len(BANDS)))
    x[rng.random((count, STEPS)) < missing] = np.nan
    labels = np.where(rng.random(count) < wrong, rng.integers(1, classes + 1, count), truth)
    bits = np.full(count, 0xFFFFFFFF, np.uint32)
    if draws > 1:
        bits = (rng.integers(1, 2**draws, count)).astype(np.uint32)
    return SampleSet(
        x=x.astype(np.float32),
        y=labels.astype(np.uint8),
        doy=np.tile(DOY, (count, 1)),
        xy=rng.random((count, 2)) * 1000,
        year=year.astype(np.int16),
        trust=np.ones(count, np.float32),
        polygon=polygon.astype(np.int64),
        tile=np.full(count, "31UFT"),
        draw=bits,
        bands=BANDS,
        origin="old_map",
    )
