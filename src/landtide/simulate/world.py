"""A synthetic world in memory: its truth year by year, and what is seen of it on any date, window by window."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from rasterio.windows import Window
from scipy.ndimage import correlate1d

from landtide.core.errors import InputError
from landtide.core.tile import Tile
from landtide.simulate import noise
from landtide.simulate.change import changes
from landtide.simulate.composites import as_seen, compose
from landtide.simulate.landscape import Landscape, Patches
from landtide.simulate.phenology import Difficulty, Season, neighbour_of
from landtide.simulate.scene import Acquisition, Air, Sky, acquisitions, classify_scene, dilate, seen, through
from landtide.simulate.spectra import BANDS, MIXTURE, TEXTURE

WEST, NORTH, CRS = 600_000.0, 5_200_020.0, "EPSG:32632"
"""Upper left corner of tile 32TPS: the world lies in the southern Alps."""

GRID_CODE = "MGRS-32TPS"
BLOCK = 512
"""Pixels: side of the windows in which the landscape is laid out."""

MARGIN = 4
"""Pixels around a window that its blurring needs; even, so that 20 m pixels stay whole."""

DROP = (0, 1, 3, 8, 9, 10)
"""Codes of SCL that the composites here leave out."""


@dataclass(frozen=True)
class SyntheticWorld:
    """One seeded world. All arrays lie on `tile`."""

    tile: Tile
    years: tuple[int, ...]
    seed: int
    difficulty: Difficulty
    acquisitions: tuple[Acquisition, ...]

    base_year: int
    """Year that the old map shows."""

    unit: np.ndarray
    """(H, W) int32 patch of each pixel: index into `patches`."""

    patches: Patches
    """Of the whole world; its `unit` is empty."""

    wait: np.ndarray
    """(U,) float32 years after `base_year` at which a patch changes."""

    target: np.ndarray
    """(U,) uint8 label that it then has."""

    brightness: np.ndarray
    """(H, W) int8: texture of brightness in 1/32 standard deviations."""

    mixture: np.ndarray
    """(H, W) int8: texture of leaf share, likewise."""

    shade: np.ndarray
    """(H, W) int8: slope towards the sun in 1/127."""

    _seasons: dict[int, tuple[Season, Season, np.ndarray]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Pixels along one side."""
        return self.tile.shape[0]

    def labels(self, year: int) -> np.ndarray:
        """Return (U,) uint8 label of every patch in a year."""
        return np.where(self.wait <= year - self.base_year, self.target, self.patches.label).astype(np.uint8)

    def truth(self, year: int, window: Window | None = None) -> np.ndarray:
        """Return the true labels of a year, (h, w) uint8, 1..10 of legend landtide10."""
        return np.asarray(self.labels(year)[self.unit[_slices(window or self.everything)]])

    @property
    def everything(self) -> Window:
        return Window(0, 0, self.size, self.size)

    def surface(self, year: int, day: float, window: Window, *, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
        """Return the reflectance of the ground on a day, (h, w, B) float32 at 10 m, blurred by the optics; bands as in `BANDS`.

        shift    pixels (rows, columns) by which the scene lies beside the grid
        """
        padded, inner = _pad(window, self.size)
        colours = self._colours(year, day)
        return _blur(self._paint(padded, *colours), shift)[inner]

    def _paint(self, window: Window, mean: np.ndarray, change: np.ndarray, snow: np.ndarray, lit: float, label: np.ndarray) -> np.ndarray:
        place = _slices(window)
        unit = self.unit[place]
        texture, mixing = (np.zeros(11, np.float32) for _ in range(2))
        for value in TEXTURE:
            texture[value], mixing[value] = TEXTURE[value] / 32, MIXTURE[value] / 32
        cover = label[unit]
        mixed = (mixing[cover] * self.mixture[place])[..., None]
        value = mean[unit] + mixed * change[unit]
        value *= np.exp(texture[cover] * self.brightness[place])[..., None]
        white = np.clip(snow[unit] * (1 + 0.012 * self.mixture[place]), 0, 1)[..., None] * (snow[unit] > 0.01)[..., None]
        value = value * (1 - white) + _SNOW * white
        value *= (1 + np.float32(lit) * self.shade[place] / 127)[..., None]
        return np.asarray(np.clip(value, 0.002, 1.3), np.float32)

    def _colours(self, year: int, day: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray]:
        own, other, share = self.season(year)
        mean, change = own.spectra(day)
        beside, _ = other.spectra(day)
        mean = mean * (1 - share[:, None]) + beside * share[:, None]
        lit = 0.17 + 0.13 * np.cos(2 * np.pi * (day - 355) / 365)  # what the terrain correction leaves; more under a low sun
        return mean, change, own.snow(day), lit, own.label

    def season(self, year: int) -> tuple[Season, Season, np.ndarray]:
        """Return the phenology of every patch in a year, that of the class it is blended with, and the share of the latter (U,)."""
        if year not in self._seasons:
            key, label, high = self.patches.key, self.labels(year), self.patches.height
            other = neighbour_of(key, label, self.seed)
            chance = noise.uniform(noise.stream(self.seed, "blend"), key)
            share = np.clip(-self.difficulty.blend * np.log(chance), 0, 0.42) * _BLEND[label]
            own = Season.of(key, label, high, self.seed, year, self.difficulty)
            beside = Season.of(noise.hash_of(key, 1), other, high, self.seed, year, self.difficulty)
            self._seasons.clear()  # one year at a time: a large world has millions of patches
            self._seasons[year] = (own, beside, share.astype(np.float32))
        return self._seasons[year]

    def observe(self, acquisition: Acquisition, window: Window | None = None) -> "Observation":
        """Return what one acquisition shows of a window with even offsets and sides."""
        return Observation.of(self, acquisition, window or self.everything)

    def clean_composites(self, year: int, window: Window | None = None) -> np.ndarray:
        """Return what twelve perfect dates, the middles of the months, show: (12, B, h, w) float32, without air or noise."""
        frame = window or self.everything
        return np.stack([as_seen(self.surface(year, 15 + 30.4 * month, frame)) for month in range(12)])

    def composites(self, year: int, window: Window | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return monthly medians of the masked observations, gaps filled linearly in time.

        Returns (12, B, h, w) float32 (NaN where a pixel is never seen) and the count of valid observations (12, h, w) uint8.
        """
        frame = window or self.everything
        months: list[list[np.ndarray]] = [[] for _ in range(12)]
        for acquisition in self.acquisitions:
            if acquisition.moment.year == year:
                months[acquisition.moment.month - 1].append(self._masked(acquisition, frame))
        return compose(months, (len(BANDS), int(frame.height), int(frame.width)))

    def _masked(self, acquisition: Acquisition, window: Window) -> np.ndarray:
        seen_now = self.observe(acquisition, window)
        drop = dilate(np.isin(seen_now.scl, DROP) & (seen_now.scl > 0), 3).repeat(2, 0).repeat(2, 1)
        value = as_seen(seen_now.reflectance)
        value[:, drop | ~seen_now.inside] = np.nan
        return value


@dataclass(frozen=True)
class Observation:
    """A window of one acquisition."""

    reflectance: np.ndarray
    """(h, w, B) float32 at 10 m; bands of 20 m are not averaged yet."""

    scl: np.ndarray
    """(h/2, w/2) uint8 scene classification at 20 m, 0 outside the swath."""

    inside: np.ndarray
    """(h, w) bool: inside the swath."""

    air: Air

    @classmethod
    def of(cls, world: SyntheticWorld, acquisition: Acquisition, window: Window) -> "Observation":
        """Look at a window through the air of an acquisition."""
        sky = _sky(world.seed, world.size, acquisition)
        ground = world.surface(acquisition.moment.year, acquisition.day, window, shift=(float(sky.jitter[0]), float(sky.jitter[1])))
        air = sky.over(window)
        rng = np.random.default_rng([sky.seed % 2**32, int(window.row_off), int(window.col_off)])
        value = np.clip(through(ground, air, rng, world.difficulty.sensor), 0.0001, 1.6)
        inside = seen(acquisition, world.size, window)
        scl = classify_scene(value, air, acquisition, world.seed, window)
        scl[~inside[::2, ::2]] = 0
        return cls(value, scl, inside, air)


def world(
    size: int = 256,
    years: tuple[int, ...] = (2018, 2019, 2020),
    seed: int = 7,
    *,
    dates_per_year: int = 30,
    base_year: int | None = None,
    difficulty: Difficulty | None = None,
) -> SyntheticWorld:
    """Make a world of ``size`` x ``size`` pixels of 10 m.

    base_year    year that the old map shows; None = six years before the first

    Raises InputError for a size that is too small for all classes, or odd.
    """
    if size < 64 or size % 2:
        raise InputError(f"size {size} px of a synthetic world: give an even number from 64 on, since bands of 20 m need whole pixels")
    tile = Tile(GRID_CODE.removeprefix("MGRS-"), CRS, (10.0, 0.0, WEST, 0.0, -10.0, NORTH), (size, size))
    unit, patches, shade = _lay_out(Landscape.of(seed, size), tile)
    wait, target = changes(patches, seed)
    brightness, mixture = _textures(seed, tile)
    first = base_year if base_year is not None else min(years) - 6
    dates = tuple(acquisitions(seed, tuple(sorted(years)), dates_per_year))
    return SyntheticWorld(
        tile, tuple(sorted(years)), seed, difficulty or Difficulty(), dates, first, unit, patches, wait, target, brightness, mixture, shade
    )


def _lay_out(landscape: Landscape, tile: Tile) -> tuple[np.ndarray, Patches, np.ndarray]:
    """Join the patches of all windows; one that touches several windows is one."""
    unit = np.zeros(tile.shape, np.int32)
    shade = np.zeros(tile.shape, np.int8)
    parts: list[Patches] = []
    count = 0
    for window in tile.windows(BLOCK):
        part = landscape.patches(window.row_off, window.col_off, window.height, window.width)
        unit[_slices(window)] = part.unit + count
        y, x = np.arange(window.height) + window.row_off + 0.5, np.arange(window.width) + window.col_off + 0.5
        shade[_slices(window)] = np.rint(127 * landscape.shade(y, x))
        parts.append(part)
        count += len(part.key)
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("key", "kind", "label", "height", "urban")}
    _, first, same = np.unique(joined["key"], return_index=True, return_inverse=True)
    unit = same.astype(np.int32)[unit]
    return unit, Patches(np.zeros((0, 0), np.int32), **{name: values[first] for name, values in joined.items()}), shade


def _textures(seed: int, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """Return texture of brightness and of mixture, (H, W) int8: grain of 1 pixel, of 3 and of 12."""
    made = []
    for name in ("brightness", "mixture"):
        texture = np.zeros(tile.shape, np.int8)
        for window in tile.windows(BLOCK):
            y, x = np.arange(window.height) + window.row_off + 0.5, np.arange(window.width) + window.col_off + 0.5
            start = noise.stream(seed, name)
            fine = noise.normal(start, np.floor(y).astype(np.int64)[:, None], np.floor(x).astype(np.int64)[None, :])
            value = 0.6 * fine + 0.45 * noise.field(start + 1, 3, y, x) + 0.5 * noise.field(start + 2, 12, y, x)
            texture[_slices(window)] = np.clip(np.rint(32 * value), -127, 127)
        made.append(texture)
    return made[0], made[1]


_SNOW = np.array((0.80, 0.79, 0.77, 0.76, 0.75, 0.73, 0.70, 0.67, 0.11, 0.08), np.float32)
_BLEND = np.array([0, 0.9, 0.9, 0.5, 0.5, 1.0, 0.9, 0.7, 1.0, 0.3, 0.7], np.float32)
"""How much of the blending each class takes."""


@lru_cache(maxsize=4)
def _sky(seed: int, size: int, acquisition: Acquisition) -> Sky:
    return Sky(seed, size, acquisition)


def _slices(window: Window) -> tuple[slice, slice]:
    return (
        slice(int(window.row_off), int(window.row_off + window.height)),
        slice(int(window.col_off), int(window.col_off + window.width)),
    )


def _pad(window: Window, size: int) -> tuple[Window, tuple[slice, slice]]:
    """Return the window with its margin inside the world, and where the window lies in it."""
    top, left = max(0, window.row_off - MARGIN), max(0, window.col_off - MARGIN)
    bottom, right = min(size, window.row_off + window.height + MARGIN), min(size, window.col_off + window.width + MARGIN)
    row, column = int(window.row_off - top), int(window.col_off - left)
    return Window(left, top, right - left, bottom - top), (slice(row, row + int(window.height)), slice(column, column + int(window.width)))


def _blur(values: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """Blur (h, w, B) by the point spread of the optics, about half a pixel, moved by a part of a pixel."""
    taps = np.arange(-2, 3)
    for axis, moved in enumerate(shift):
        weight = np.exp(-((taps - moved) ** 2) / (2 * 0.5**2))
        values = correlate1d(values, (weight / weight.sum()).astype(np.float32), axis=axis, mode="nearest")
    return values
