"""What a patch of land looks like on any day of any year."""

from dataclasses import dataclass

import numpy as np

from landtide.simulate.landscape import BROADLEAF, CONIFER, CROP, IRRIGATED, WATER
from landtide.simulate.noise import normal, stream, uniform
from landtide.simulate.spectra import BANDS, ENDMEMBERS, NEIGHBOURS, SUBCLASSES


@dataclass(frozen=True)
class Difficulty:
    """How far patches of one class differ, and so how much classes overlap."""

    timing: float = 8.0
    """Days, standard deviation between patches."""

    cover: float = 0.075
    """Standard deviation of leaf cover between patches."""

    brightness: float = 0.07
    """Relative standard deviation between patches, all bands alike."""

    colour: float = 0.03
    """Relative standard deviation between patches, each band by itself."""

    blend: float = 0.06
    """Mean share of a patch that looks like a sub-class of a neighbouring class (trees in shrub, bushes in a meadow)."""

    sensor: float = 0.003
    """Reflectance, standard deviation of a pixel's noise on one date."""


_TABLE = [item for label in sorted(SUBCLASSES) for item in SUBCLASSES[label]]
_FIRST = {label: sum(len(SUBCLASSES[other]) for other in SUBCLASSES if other < label) for label in SUBCLASSES}
_ENDMEMBER = {name: index for index, name in enumerate(ENDMEMBERS)}
_SPECTRA = np.array(list(ENDMEMBERS.values()), np.float32)  # (E, B)


def subclass_of(key: np.ndarray, label: np.ndarray, seed: int, year: int) -> np.ndarray:
    """Return (U,) index into the table of sub-classes; arable fields change theirs every year (crop rotation)."""
    fixed, yearly = uniform(stream(seed, "subclass"), key), uniform(stream(seed, f"rotation-{year}"), key)
    index = np.zeros(len(key), np.int64)
    for value, choices in SUBCLASSES.items():
        chance = yearly if value in (CROP, IRRIGATED) else fixed
        edges = np.cumsum([item.share for item in choices])
        chosen = np.minimum(np.searchsorted(edges, chance), len(choices) - 1)
        index = np.where(label == value, _FIRST[value] + chosen, index)
    return index


def neighbour_of(key: np.ndarray, label: np.ndarray, seed: int) -> np.ndarray:
    """Return (U,) label of the class that each patch is blended with."""
    table = np.zeros((11, 2), np.uint8)
    for value, pair in NEIGHBOURS.items():
        table[value] = pair
    return np.asarray(table[label, (uniform(stream(seed, "neighbour"), key) < 0.4).astype(np.int64)])


@dataclass(frozen=True)
class Weather:
    """How a year differs from the mean."""

    shift: float
    """Days that the season comes late."""

    drought: float
    """0 (wet) to 1 (dry)."""

    snow: float
    """Relative duration of the snow cover."""

    @classmethod
    def of(cls, seed: int, year: int) -> "Weather":
        """Draw the weather of a year."""
        rng = np.random.default_rng([stream(seed, "weather") % 2**32, year])
        return cls(float(rng.normal(0, 8)), float(rng.beta(1.6, 2.0)), float(rng.uniform(0.75, 1.25)))


@dataclass(frozen=True)
class Season:
    """The patches of a window in one year, ready to be seen on any day."""

    leaf: np.ndarray
    """(U, B) float32 spectrum of the plants or of the surface."""

    ground: np.ndarray
    """(U, B) float32"""

    values: dict[str, np.ndarray]
    """(U,) float32 each: the fields of `SubClass`, varied by patch, height and weather."""

    label: np.ndarray
    """(U,) uint8"""

    high: np.ndarray
    """(U,) float32 quantile of elevation."""

    weather: Weather

    @classmethod
    def of(
        cls,
        key: np.ndarray,
        label: np.ndarray,
        high: np.ndarray,
        seed: int,
        year: int,
        difficulty: Difficulty,
        *,
        kind: np.ndarray | None = None,
    ) -> "Season":
        """Settle the phenology and colours of patches for a year.

        kind    (U,) index into the table of sub-classes; None = drawn by `subclass_of`
        """
        weather = Weather.of(seed, year)
        kind = subclass_of(key, label, seed, year) if kind is None else kind

        def draw(name: str, deviation: float) -> np.ndarray:
            return (deviation * normal(stream(seed, name), key)).astype(np.float32)

        values = {
            name: np.array([getattr(item, name) for item in _TABLE], np.float32)[kind]
            for name in ("low", "high", "pace", "straw", "thirst")
        }
        second = np.array([item.second or (0, 300, 400) for item in _TABLE], np.float32)[kind]
        flood = np.array([item.flood or (999, 999) for item in _TABLE], np.float32)[kind]
        flower = np.array([item.flower[1:] if item.flower else (999, 1) for item in _TABLE], np.float32)[kind]
        days = {name: np.array([getattr(item, name) for item in _TABLE], np.float32)[kind] for name in ("rise", "fall", "till")}
        late = weather.shift + 26.0 * np.maximum(high - 0.3, 0)
        early = late - 2 * (late - weather.shift)  # autumn comes sooner at height
        timing = draw("timing", difficulty.timing)
        yearly = draw(f"timing-{year}", 0.5 * difficulty.timing)
        values |= {
            "rise": days["rise"] + late + timing + yearly,
            "fall": np.maximum(days["fall"] + early + draw("harvest", difficulty.timing), days["rise"] + late + timing + 35),
            "till": days["till"] + draw("till", 1.5 * difficulty.timing),
            "second": second[:, 0],
            "second_rise": second[:, 1] + timing,
            "second_fall": second[:, 2] + timing,
            "flood_from": flood[:, 0] + timing,
            "flood_to": flood[:, 1] + timing,
            "flower": flower[:, 0] + late + 0.7 * timing,
            "flower_width": flower[:, 1],
        }
        values["low"] = np.clip(values["low"] + draw("low", 0.7 * difficulty.cover), 0, 1)
        values["high"] = np.clip(values["high"] + draw("cover", difficulty.cover) + draw(f"cover-{year}", 0.5 * difficulty.cover), 0.05, 1)
        values["high"] *= 1 - values.pop("thirst") * weather.drought * np.clip(1.3 - high, 0, 1)
        for number in range(3):
            days_cut = np.array([(*item.cuts, 999, 999, 999)[number] for item in _TABLE], np.float32)[kind]
            values[f"cut_{number}"] = days_cut + late + draw(f"cut-{year}-{number}", 9.0)
        tint = np.exp(draw("brightness", difficulty.brightness))[:, None] * np.exp(
            np.column_stack([draw(f"colour-{band}", difficulty.colour) for band in BANDS])
        )
        leaf = _SPECTRA[np.array([_ENDMEMBER[item.leaf] for item in _TABLE])[kind]] * tint
        soil = np.exp(draw("soil", 0.18))[:, None]
        ground = _SPECTRA[np.array([_ENDMEMBER[item.ground] for item in _TABLE])[kind]] * tint * soil
        return cls(leaf.astype(np.float32), ground.astype(np.float32), values, label, high, weather)

    def cover(self, day: float) -> tuple[np.ndarray, np.ndarray]:
        """Return leaf cover and cover of dead matter (U,) on a day of the year."""
        v = self.values
        grown = _step(day - v["rise"], v["pace"]) * _step(v["fall"] - day, v["pace"])
        cover = v["low"] + (v["high"] - v["low"]) * grown
        later = v["second"] * _step(day - v["second_rise"], 10) * _step(v["second_fall"] - day, 10)
        dead = (v["second"] > 0) | (v["straw"] > 0)  # annual crops: what stood before the harvest is gone after it
        cover = np.where(dead, cover * _step(v["fall"] + 12 - day, 5), cover)
        cover = np.maximum(cover, later)
        for number in range(3):
            since = day - v[f"cut_{number}"]
            cover = cover * np.where(since > 0, 1 - 0.5 * np.exp(-np.maximum(since, 0) / 16), 1)
        straw = v["straw"] * _step(day - v["fall"], 5) * _step(v["till"] - day, 4)
        return cover, np.minimum(straw, 1 - cover)

    def spectra(self, day: float) -> tuple[np.ndarray, np.ndarray]:
        """Return each patch's mean reflectance and the change of it by a unit more leaf: (U, B) float32 both."""
        cover, straw = self.cover(day)
        leaf, ground = self.leaf, self.ground
        v = self.values
        bloom = np.exp(-(((day - v["flower"]) / v["flower_width"]) ** 2))[:, None]
        leaf = leaf * (1 - bloom) + _SPECTRA[_ENDMEMBER["rape_flower"]] * bloom
        wet = (_step(day - v["flood_from"], 3) * _step(v["flood_to"] - day, 5))[:, None]
        paddy = ground[:, :1] < 0.05  # rice lies on water while flooded and on soil otherwise
        soil = np.where(paddy & (v["flood_from"] < 900)[:, None], _SPECTRA[_ENDMEMBER["soil_dark"]], ground)
        ground = soil * (1 - wet) + _SPECTRA[_ENDMEMBER["turbid"]] * wet
        ground = ground * np.float32(1 + 0.10 * np.cos(2 * np.pi * (day - 205) / 365))  # soils are drier, hence brighter, in summer
        bare = 1 - cover - straw
        mean = cover[:, None] * leaf + straw[:, None] * _SPECTRA[_ENDMEMBER["straw"]] + bare[:, None] * ground
        return mean.astype(np.float32), (leaf - ground).astype(np.float32)

    def snow(self, day: float) -> np.ndarray:
        """Return (U,) float32 cover of seasonal snow: months at height, a few days in the valley."""
        half = (14 + 175 * np.maximum(self.high - 0.25, 0)) * self.weather.snow
        distance = np.abs((day - 22 + 182) % 365 - 182)
        depth = _step(half - distance, 9) * np.clip(0.05 + 1.5 * (self.high - 0.2), 0, 0.97)
        trees = np.isin(self.label, (BROADLEAF, CONIFER))
        return np.where(self.label == WATER, 0.2 * depth * (self.high > 0.8), np.where(trees, 0.45 * depth, depth)).astype(np.float32)


def _step(days: np.ndarray, pace: np.ndarray | float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(days / pace, -30, 30)))
