"""Acquisitions: which part of the world a satellite sees on a day, through which air, and what the scene classification says."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from rasterio.windows import Window
from scipy.ndimage import uniform_filter

from landtide.simulate.noise import field, fractal, stream
from landtide.simulate.spectra import BANDS

FINE = ("B02", "B03", "B04", "B08")
"""Bands of 10 m; the others have 20 m."""

HAZE = np.array([1.0, 0.78, 0.58, 0.48, 0.40, 0.36, 0.32, 0.30, 0.12, 0.06], np.float32)
"""How much each band of BANDS gains from haze, relative to B02."""

CLOUD = np.array([0.98, 0.97, 0.97, 0.97, 0.97, 0.96, 0.96, 0.95, 0.66, 0.52], np.float32)
"""Colour of a thick cloud."""

REPROCESSED = "05.00"
OFFSET_FROM = datetime(2022, 1, 25, tzinfo=UTC)
"""First day of processing baseline 04.00, which adds 1000 to every digital number."""


@dataclass(frozen=True)
class Acquisition:
    """One overpass and how the air was."""

    number: int
    """Counts the overpasses of the world: seed of everything random about this one."""

    moment: datetime
    platform: str
    orbit: int
    """Relative orbit."""

    cloud: float
    """Share of the world under thick cloud."""

    cirrus: float
    """Share under thin cloud."""

    cut: tuple[float, float, bool] | None
    """Edge of the swath: column at the first row and at the last (fractions of the width), and whether the west is seen; None = all."""

    baselines: tuple[str, ...]
    """Processing baselines in which the acquisition is published; two make a duplicate."""

    @property
    def day(self) -> float:
        return float(self.moment.timetuple().tm_yday)


def acquisitions(seed: int, years: tuple[int, ...], dates_per_year: int) -> list[Acquisition]:
    """Draw the overpasses of a world: every 5 days at most, cloudier in winter, about a third of them cut by the swath's edge."""
    rng = np.random.default_rng(stream(seed, "acquisitions"))
    phase = int(rng.integers(0, 5))
    found: list[Acquisition] = []
    for year in years:
        start = datetime(year, 1, 1, 10, 10, 31, tzinfo=UTC)
        first = (phase - start.toordinal()) % 5  # the five-day cycle runs on over the turn of the year
        edges = np.linspace(0, 73, min(dates_per_year, 73) + 1).astype(np.int64)  # spread over the year, so that no month is empty
        slots = rng.integers(edges[:-1], edges[1:])
        hopeless = set(rng.choice(slots, min(2, len(slots) // 8), replace=False).tolist())
        twice = int(rng.choice(slots))
        for slot in slots.tolist():
            moment = start + timedelta(days=first + 5 * slot)
            found.append(_acquisition(rng, len(found), moment, hopeless=slot in hopeless, twice=slot == twice))
    return found


def _acquisition(rng: np.random.Generator, number: int, moment: datetime, *, hopeless: bool, twice: bool) -> Acquisition:
    winter = 0.5 + 0.5 * np.cos(2 * np.pi * (moment.timetuple().tm_yday - 10) / 365)
    clear = rng.random() < 0.62 - 0.22 * winter
    cloud = rng.uniform(0.0, 0.06) if clear else rng.beta(0.9 + 0.5 * winter, 1.6)
    side = rng.random() < 0.34
    edge = rng.uniform(0.15, 0.85)
    cut = (float(edge + 0.12), float(edge - 0.12), bool(rng.random() < 0.5)) if side else None
    native = "04.00" if moment >= OFFSET_FROM else ("02.12" if moment.year < 2020 else "02.14")
    draw = rng.random()
    baselines = (native, REPROCESSED) if twice or draw < 0.04 else (REPROCESSED,) if draw < 0.32 else (native,)
    cirrus = float(rng.uniform(0.1, 0.6)) if rng.random() < 0.3 else 0.0
    return Acquisition(
        number,
        moment + timedelta(seconds=int(rng.integers(0, 900))),
        "sentinel-2a" if rng.random() < 0.5 else "sentinel-2b",
        22 if side else 65,
        float(rng.uniform(0.9, 0.99) if hopeless else min(cloud, 0.97)),
        cirrus,
        cut,
        baselines,
    )


def offset_of(baseline: str) -> int:
    """Return what a processing baseline adds to digital numbers: 1000 from 04.00 on, else 0."""
    return 1000 if baseline >= "04.00" else 0


def seen(acquisition: Acquisition, size: int, window: Window) -> np.ndarray:
    """Return (h, w) bool: inside the swath. The edge lies on 20 m pixels, so that all bands end together."""
    rows = (np.arange(window.height) + window.row_off) // 2 * 2 / size
    columns = (np.arange(window.width) + window.col_off) // 2 * 2 / size
    if acquisition.cut is None:
        return np.ones((window.height, window.width), bool)
    top, bottom, west = acquisition.cut
    edge = top + (bottom - top) * rows
    return np.asarray((columns[None, :] < edge[:, None]) == west)


@dataclass(frozen=True)
class Air:
    """The atmosphere above one window on one date."""

    thick: np.ndarray
    """(h, w) float32 opacity of thick cloud, 0 to 1."""

    thin: np.ndarray
    """(h, w) float32 opacity of cirrus."""

    shadow: np.ndarray
    """(h, w) float32 share of the sunlight that clouds take away."""

    haze: np.ndarray
    """(h, w) float32 reflectance added to B02."""

    gain: np.ndarray
    """(B,) float32 error of the atmospheric correction, a factor a band."""

    bright: np.ndarray
    """(h, w) float32 reflectance of the cloud tops."""

    @property
    def opacity(self) -> np.ndarray:
        """(h, w) float32 opacity of all cloud."""
        return np.asarray(1 - (1 - self.thick) * (1 - self.thin))


class Sky:
    """The atmosphere of one acquisition, for any window of the world."""

    def __init__(self, seed: int, size: int, acquisition: Acquisition) -> None:
        self.acquisition = acquisition
        self.seed = stream(seed, f"sky-{acquisition.number}")
        rng = np.random.default_rng(self.seed)
        self.grain = float(rng.uniform(35, 110))
        self.top = float(rng.uniform(6, 34))
        """Pixels: shadow's distance from its cloud, north-west of it (the sun stands in the south-east)."""
        self.amount = abs(float(rng.normal(0, 0.007)))
        self.gain = np.exp(rng.normal(0, 0.02) + rng.normal(0, 0.013, len(BANDS))).astype(np.float32)
        self.jitter = rng.uniform(-0.15, 0.15, 2)
        """Pixels: how far the scene lies beside the grid (rows, columns)."""
        sample = np.linspace(0, size, 64)
        self.threshold = float(np.quantile(self._surface(sample, sample), 1 - acquisition.cloud))
        self.cirrus_from = float(np.quantile(self._cirrus(sample, sample), 1 - acquisition.cirrus))

    def over(self, window: Window) -> Air:
        """Return the air over a window."""
        y, x = np.arange(window.height) + window.row_off + 0.5, np.arange(window.width) + window.col_off + 0.5
        deep = self._surface(y, x) - self.threshold
        thin = np.clip(self._cirrus(y, x) - self.cirrus_from, 0, 2) if self.acquisition.cirrus else np.zeros_like(deep)
        shade = self._thick(self._surface(y + 0.75 * self.top, x + 0.66 * self.top) - self.threshold)
        haze = self.amount * (1 + 0.6 * field(self.seed + 3, 60, y, x)) + 0.010 * np.clip(
            1 + 2 * deep, 0, 1
        )  # clouds whiten the air around them
        bright = 0.52 + 0.13 * np.tanh(deep) + 0.05 * field(self.seed + 4, 9, y, x)
        return Air(self._thick(deep), 0.42 * (1 - np.exp(-0.9 * thin)), 0.62 * shade, haze, self.gain, bright)

    def _surface(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return fractal(self.seed + 1, self.grain, y, x, octaves=5)

    def _cirrus(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return fractal(self.seed + 2, self.grain * 1.5, y, x, octaves=3)

    @staticmethod
    def _thick(deep: np.ndarray) -> np.ndarray:
        return np.asarray((1 - np.exp(-3.2 * np.maximum(deep, 0))), np.float32)


def through(surface: np.ndarray, air: Air, rng: np.random.Generator, sensor: float) -> np.ndarray:
    """Return what the satellite measures of a surface (h, w, B) float32: haze, cloud, shadow, calibration and noise."""
    light = 1 - air.shadow * (1 - air.opacity)
    value = surface * light[..., None] * air.gain + air.haze[..., None] * HAZE
    cloud = air.bright[..., None] * CLOUD
    opacity = air.opacity[..., None]
    value = value * (1 - opacity) + cloud * opacity
    common = rng.standard_normal((*surface.shape[:2], 1), np.float32) * np.float32(0.015)
    noise = rng.standard_normal(surface.shape, np.float32)
    return np.asarray(value * (1 + common) + noise * (np.float32(sensor) + np.float32(0.012) * value))


def classify_scene(observed: np.ndarray, air: Air, acquisition: Acquisition, seed: int, window: Window) -> np.ndarray:
    """Return the scene classification (SCL, Level-2A codes) of a window, (h/2, w/2) uint8 at 20 m, with the mistakes of a real one.

    observed    (h, w, B) float32 reflectance at 10 m

    Missed: thin cloud, cloud edges, part of the shadows. Taken for cloud: bright roofs, sand, snow.
    Taken for shadow: water, dark conifers.
    """
    blue, green, red, nir, swir = (_coarse(observed[..., BANDS.index(name)]) for name in ("B02", "B03", "B04", "B08", "B11"))
    thick, thin, shadow = _coarse(air.thick), _coarse(air.thin), _coarse(air.shadow)
    y = (np.arange(blue.shape[0]) + window.row_off // 2 + 0.5) * 2
    x = (np.arange(blue.shape[1]) + window.col_off // 2 + 0.5) * 2
    start = stream(seed, f"scl-{acquisition.number}")
    blunder, doubt = field(start, 16, y, x), field(start + 1, 9, y, x)
    ndvi = (nir - red) / np.maximum(nir + red, 0.01)
    ndsi = (green - swir) / np.maximum(green + swir, 0.01)
    scl = np.where(ndvi > 0.42, 4, 5)
    scl[(ndvi > 0.30) & (ndvi < 0.42) & (doubt > 1.6)] = 7
    scl[(green > nir) & (nir < 0.10)] = 6
    scl[(nir < 0.115) & (scl != 6)] = 2
    scl[(ndsi > 0.42) & (nir > 0.25)] = 11
    scl[(scl == 6) & (blunder > 1.5)] = 3
    scl[(scl == 2) & (blunder > 1.1)] = 3
    scl[(nir < 0.17) & (ndvi > 0.5) & (blunder > 1.9)] = 3
    scl[(scl == 11) & (blunder > 1.35)] = 9
    scl[(blue > 0.13) & np.isin(scl, (5, 7)) & (blunder > 1.05)] = 8
    scl[(shadow > 0.13) & (doubt > -1.05)] = 3
    scl[(thin > 0.085 + 0.04 * doubt) & (thin > thick)] = 10
    scl[thick > 0.20 + 0.08 * doubt] = 8
    scl[thick > 0.62] = 9
    scl[(thick < 0.55) & (blunder < -2.2) & (scl == 8)] = 7  # now and then a whole thin cloud is missed
    return scl.astype(np.uint8)


def _coarse(values: np.ndarray) -> np.ndarray:
    """Average 2 x 2 pixels: (h, w) -> (h/2, w/2)."""
    return np.asarray(values.reshape(values.shape[0] // 2, 2, values.shape[1] // 2, 2).mean(axis=(1, 3)))


def dilate(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Return a mask grown by a number of pixels to every side (square)."""
    return np.asarray(uniform_filter(mask.astype(np.float32), 2 * pixels + 1, mode="nearest") > 1e-6)
