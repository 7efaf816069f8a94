"""Where the land covers of a synthetic landscape lie: relief, rivers, towns, fields, forest stands and their ecotones."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from scipy.spatial import cKDTree

from landtide.simulate.noise import field, field_at, fractal, hash_of, normal, stream, uniform, voronoi

URBAN, GRASS, CROP, IRRIGATED, MINERAL, BROADLEAF, CONIFER, SHRUB, WATER, SNOW = range(1, 11)
"""Labels of legend landtide10."""


class Kind(IntEnum):
    """How a patch of land came to be; it decides which classes may stand there."""

    FIELD = 0
    STAND = 1
    EDGE = 2
    OPEN = 3
    HIGH = 4
    LOT = 5
    ROAD = 6
    QUARRY = 7
    BAR = 8
    WATER = 9


FOREST_SHARE = 0.30
"""Of the lowland's and the forest belt's area."""

HIGH_FROM, SNOW_FROM = 0.925, 0.965
"""Quantiles of elevation above which rock and permanent snow begin."""


@dataclass(frozen=True)
class Patches:
    """The patches (units) of a window: what is one field, stand or lot."""

    unit: np.ndarray
    """(h, w) int32 index into the arrays below."""

    key: np.ndarray
    """(U,) uint64 identity of the patch, the same in every window that it touches."""

    kind: np.ndarray
    """(U,) uint8, see `Kind`."""

    label: np.ndarray
    """(U,) uint8 land cover in the base year."""

    height: np.ndarray
    """(U,) float32 quantile of elevation at the patch's centre, 0 to 1."""

    urban: np.ndarray
    """(U,) float32 nearness to a town at the patch's centre: 1 in its middle, 0 at its edge, negative outside."""


@dataclass(frozen=True)
class Landscape:
    """A landscape of one seed; all its surfaces are functions of place."""

    seed: int
    size: int
    grain: float
    """Pixels: width of valleys and ranges."""

    heights: np.ndarray
    """Sorted sample of raw elevations, for quantiles."""

    forests: np.ndarray
    """Sorted sample of the forest surface."""

    moisture: np.ndarray
    """Sorted sample of the irrigation surface in the lowland."""

    towns: np.ndarray
    """(n, 3) float64 row, column and radius in pixels."""

    quarries: np.ndarray
    """(n, 3) float64 row, column and radius in pixels."""

    @classmethod
    def of(cls, seed: int, size: int) -> "Landscape":
        """Lay out the landscape of a seed: its relief is ranked, so that every class finds its place at any size."""
        grain = float(np.clip(size * 0.5, 48, 420))
        rng = np.random.default_rng(stream(seed, "layout"))
        y, x = rng.uniform(0, size, (2, 20_000))
        heights = _elevation(seed, grain, y, x, points=True)
        rank = np.searchsorted(np.sort(heights), heights) / len(heights)
        low = rank < 0.55
        forests = np.sort(_forest(seed, grain, y, x, points=True))
        moisture = np.sort(field_at(stream(seed, "moisture"), grain * 0.6, y[low], x[low]))
        towns = _towns(rng, y, x, rank, size)
        quarries = _quarries(rng, y, x, rank, size)
        return cls(seed, size, grain, np.sort(heights), forests, moisture, towns, quarries)

    def height(self, y: np.ndarray, x: np.ndarray, *, points: bool = False) -> np.ndarray:
        """Return elevation as a quantile, 0 (valley) to 1 (summit)."""
        raw = _elevation(self.seed, self.grain, y, x, points=points)
        return np.asarray(np.interp(raw, self.heights, np.linspace(0, 1, len(self.heights))), np.float32)

    def shade(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return (h, w) float32 slope towards the sun (south-east), about -1 to 1; steep where the land is high."""
        raw = _elevation(self.seed, self.grain, _padded(y), _padded(x))
        slope = (raw[2:, 1:-1] - raw[:-2, 1:-1]) * 0.8 - (
            raw[1:-1, 2:] - raw[1:-1, :-2]
        ) * 0.6  # rows run south: rising to the north faces the sun
        rise = np.interp(raw[1:-1, 1:-1], self.heights, np.linspace(0, 1, len(self.heights)))
        return np.asarray(np.clip(-slope * self.grain / 6 * (0.15 + 0.85 * rise), -1, 1), np.float32)

    def nearness(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return nearness to a town of broadcast places: 1 in the middle, 0 at the edge, down to -3."""
        shape = np.broadcast_shapes(y.shape, x.shape)
        best = np.full(shape, -3.0, np.float32)
        for row, column, radius in _within(self.towns, y, x, 4.0):
            best = np.maximum(best, 1 - np.hypot(y - row, x - column).astype(np.float32) / np.float32(radius))
        return best

    def patches(self, row: int, column: int, height: int, width: int) -> Patches:
        """Return the patches of a window given by its upper left pixel and its shape."""
        y, x = np.arange(row, row + height) + 0.5, np.arange(column, column + width) + 0.5
        kind, cell, centre_y, centre_x = self._places(y, x)
        keys = hash_of(stream(self.seed, "patch"), kind, cell)
        key, first, unit = np.unique(keys, return_index=True, return_inverse=True)
        kinds, at_y, at_x = kind.ravel()[first], centre_y.ravel()[first].astype(np.float64), centre_x.ravel()[first].astype(np.float64)
        high, near = self.height(at_y, at_x, points=True), self.nearness(at_y, at_x)
        label = self._labels(key, kinds, at_y, at_x, high, near)
        return Patches(unit.reshape(height, width).astype(np.int32), key, kinds, label, high, near)

    def _places(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return kind, cell key and the cell's centre (row, column) of every pixel."""
        seed = self.seed
        warp = [2.6 * field(stream(seed, f"warp-{axis}"), 16, y, x) + 0.5 * field(stream(seed, f"bend-{axis}"), 4, y, x) for axis in "yx"]
        warped_y, warped_x = y[:, None] + warp[0], x[None, :] + warp[1]
        kind = self._kinds(y, x)
        places = {
            name: make(warped_y, warped_x) for name, make in (("field", self._fields), ("stand", self._stands), ("lake", self._reaches))
        }
        places["lot"] = voronoi(stream(seed, "lots"), 2.4, y[:, None], x[None, :])
        cell, centre_y, centre_x = (part.copy() for part in places["stand"])
        for name, kinds in (("field", (Kind.FIELD,)), ("lot", (Kind.LOT,)), ("lake", (Kind.WATER,))):
            there = np.isin(kind, kinds)
            for target, source in zip((cell, centre_y, centre_x), places[name], strict=True):
                target[there] = source[there]
        return kind, cell, centre_y, centre_x

    def _kinds(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return (h, w) uint8 kind of every pixel; later rules lie on top of earlier ones."""
        seed = self.seed
        high = self.height(y, x)
        ragged = high + 0.012 * field(stream(seed, "ragged"), 7, y, x)
        forest = _forest(seed, self.grain, y, x) + _belt(high)
        edge = np.quantile(self.forests, 1 - FOREST_SHARE)
        kind = np.full(high.shape, Kind.FIELD, np.uint8)
        kind[ragged > 0.80] = Kind.OPEN
        kind[forest > edge - 0.015 - 0.32 * (field(stream(seed, "fringe"), 34, y, x) > 0.7)] = Kind.EDGE
        kind[forest > edge] = Kind.STAND
        kind[(field(stream(seed, "copse"), 7, y, x) > 2.3) & (kind == Kind.FIELD)] = Kind.STAND
        kind[ragged > HIGH_FROM] = Kind.HIGH
        near = self.nearness(y[:, None], x[None, :])
        town = near + 0.22 * field(stream(seed, "sprawl"), 8, y, x)
        for row, column, radius in _within(self.quarries, y[:, None], x[None, :], 2.0):
            kind[np.hypot(y[:, None] - row, x - column) < radius * (1 + 0.2 * field(stream(seed, "pit"), 7, y, x))] = Kind.QUARRY
        kind[(town > 0) & (ragged < 0.85)] = Kind.LOT
        road = _distance(stream(seed, "road"), self.grain * 0.8, y, x)
        kind[(road < 0.75) & (ragged < 0.7)] = Kind.ROAD
        river = _distance(stream(seed, "river"), self.grain * 1.2, y, x)
        width = 2.6 + 1.2 * field(stream(seed, "width"), 40, y, x)
        bar = (river < width + 3.0) & (field(stream(seed, "bar"), 12, y, x) > 0.35)
        kind[bar & (ragged < 0.75)] = Kind.BAR
        kind[(river < width) & (ragged < 0.86)] = Kind.WATER
        lake = field(stream(seed, "lake"), 32, y, x) > 2.0
        kind[lake & (ragged < 0.9)] = Kind.WATER
        return kind

    def _fields(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut the land into long fields: blocks with one direction each, strips in a block, fields in a strip."""
        seed = stream(self.seed, "fields")
        block, centre_y, centre_x = voronoi(seed, 80.0, y, x)
        angle = uniform(seed + 1, block) * np.pi
        length, width = 24 + 40 * uniform(seed + 2, block), 10 + 20 * uniform(seed + 3, block) ** 1.5
        cosine, sine = np.cos(angle), np.sin(angle)
        along, across = (x - centre_x) * cosine + (y - centre_y) * sine, (y - centre_y) * cosine - (x - centre_x) * sine
        strip = np.floor(across / width).astype(np.int64)
        offset = uniform(seed + 4, block, strip)
        piece = np.floor(along / length + offset).astype(np.int64)
        middle, side = (piece + 0.5 - offset) * length, (strip + 0.5) * width
        key = hash_of(seed + 5, block, strip, piece)
        return key, centre_y + middle * sine + side * cosine, centre_x + middle * cosine - side * sine

    def _stands(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return voronoi(stream(self.seed, "stands"), 17.0, y, x)

    def _reaches(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return voronoi(stream(self.seed, "reaches"), 60.0, y, x)

    def _labels(self, key: np.ndarray, kind: np.ndarray, y: np.ndarray, x: np.ndarray, high: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Return the base year's label of every patch from its kind, place and chance."""
        chance = uniform(stream(self.seed, "label"), key)
        label = np.select(
            [kind == Kind.WATER, kind == Kind.BAR, kind == Kind.ROAD, kind == Kind.QUARRY],
            [WATER, MINERAL, URBAN, np.where(chance < 0.9, MINERAL, WATER)],
            default=0,
        ).astype(np.uint8)
        rules = {
            Kind.LOT: _lot(chance, near),
            Kind.HIGH: _summit(chance, high, normal(stream(self.seed, "aspect"), key)),
            Kind.STAND: self._stand(key, chance, y, x, high),
            Kind.EDGE: _pick(chance, (SHRUB, 0.66), (BROADLEAF, 0.84), (GRASS, 1.0)),
            Kind.OPEN: self._alp(key, y, x),
            Kind.FIELD: self._field(key, chance, y, x, high),
        }
        for which, values in rules.items():
            label = np.where(kind == which, values, label).astype(np.uint8)
        return label

    def _stand(self, key: np.ndarray, chance: np.ndarray, y: np.ndarray, x: np.ndarray, high: np.ndarray) -> np.ndarray:
        patchy = 1.5 * field_at(stream(self.seed, "conifers"), 45, y, x) + 0.45 * normal(stream(self.seed, "stand"), key)
        trees = np.where(patchy + 5.0 * (high - 0.52) > 0, CONIFER, BROADLEAF)
        return np.select([chance < 0.03, chance < 0.055], [SHRUB, GRASS], default=trees)

    def _alp(self, key: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        scrub = 1.2 * field_at(stream(self.seed, "alp"), 34, y, x) + 0.7 * normal(stream(self.seed, "heath"), key)
        return np.select([scrub > 0.75, scrub < -2.2], [SHRUB, MINERAL], default=GRASS)

    def _field(self, key: np.ndarray, chance: np.ndarray, y: np.ndarray, x: np.ndarray, high: np.ndarray) -> np.ndarray:
        wet = field_at(stream(self.seed, "moisture"), self.grain * 0.6, y, x)
        district = (wet > np.quantile(self.moisture, 0.62)) & (high < 0.55)
        grassy = 1.5 * field_at(stream(self.seed, "pasture"), 60, y, x) + 0.5 * normal(stream(self.seed, "farm"), key) + 5.0 * (high - 0.36)
        cover = np.where(grassy > 0.55, GRASS, CROP)
        cover = np.where(district & (chance < 0.85), IRRIGATED, cover)
        return np.where(chance > 0.98, SHRUB, cover)


def _elevation(seed: int, grain: float, y: np.ndarray, x: np.ndarray, *, points: bool = False) -> np.ndarray:
    return fractal(stream(seed, "elevation"), grain, y, x, octaves=4, points=points)


def _forest(seed: int, grain: float, y: np.ndarray, x: np.ndarray, *, points: bool = False) -> np.ndarray:
    return fractal(stream(seed, "forest"), min(grain * 0.9, 130.0), y, x, octaves=4, points=points)


def _belt(high: np.ndarray) -> np.ndarray:
    """Raise the forest surface on slopes and lower it above the tree line and in the valley."""
    return np.asarray(np.interp(high, (0, 0.35, 0.55, 0.78, 0.86, 1), (-0.7, -0.2, 0.9, 0.9, -0.6, -2)), np.float32)


def _distance(seed: int, spacing: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the distance in pixels to the line where a surface is zero, to first order."""
    surface = fractal(seed, spacing, _padded(y), _padded(x), octaves=3)
    steep = np.hypot(surface[2:, 1:-1] - surface[:-2, 1:-1], surface[1:-1, 2:] - surface[1:-1, :-2]) / 2
    return np.asarray(np.abs(surface[1:-1, 1:-1]) / np.maximum(steep, 0.2 / spacing))


def _padded(axis: np.ndarray) -> np.ndarray:
    return np.concatenate([axis[:1] - 1, axis, axis[-1:] + 1])


def _within(circles: np.ndarray, y: np.ndarray, x: np.ndarray, reach: float) -> np.ndarray:
    """Return the circles whose reach (in radii) may touch the places."""
    if y.size == 0:
        return circles[:0]
    margin = circles[:, 2] * reach
    rows = (circles[:, 0] > y.min() - margin) & (circles[:, 0] < y.max() + margin)
    return np.asarray(circles[rows & (circles[:, 1] > x.min() - margin) & (circles[:, 1] < x.max() + margin)])


def _towns(rng: np.random.Generator, y: np.ndarray, x: np.ndarray, rank: np.ndarray, size: int) -> np.ndarray:
    """Place towns in the lowland, one for about 1.7 km2 of land, with a few large ones."""
    count = max(2, round((size / 130) ** 2))
    low = np.flatnonzero(rank < 0.45)
    chosen = _apart(rng, y[low], x[low], count, size * 0.6 / np.sqrt(count))
    radius = np.clip(rng.lognormal(2.75, 0.35, len(chosen)), 11, 45) * min(1.0, size / 200)
    return np.column_stack([y[low][chosen], x[low][chosen], radius])


def _quarries(rng: np.random.Generator, y: np.ndarray, x: np.ndarray, rank: np.ndarray, size: int) -> np.ndarray:
    count = max(2, round((size / 150) ** 2))
    slope = np.flatnonzero((rank > 0.2) & (rank < 0.75))
    chosen = _apart(rng, y[slope], x[slope], count, size * 0.5 / np.sqrt(count))
    return np.column_stack([y[slope][chosen], x[slope][chosen], rng.uniform(4, 10, len(chosen))])


def _apart(rng: np.random.Generator, y: np.ndarray, x: np.ndarray, count: int, distance: float) -> np.ndarray:
    """Choose up to ``count`` places that keep a distance from each other."""
    order = rng.permutation(len(y))
    close = cKDTree(np.column_stack([y, x]))
    free = np.ones(len(y), bool)
    chosen: list[int] = []
    for index in order:
        if free[index]:
            chosen.append(int(index))
            free[close.query_ball_point((y[index], x[index]), distance)] = False
        if len(chosen) == count:
            break
    return np.array(chosen, np.int64)


def _pick(chance: np.ndarray, *choices: tuple[int, float]) -> np.ndarray:
    """Return for each chance the first class whose cumulative share exceeds it."""
    return np.select([chance < share for _, share in choices], [label for label, _ in choices], default=choices[-1][0])


def _lot(chance: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Seal the middle of a town more than its edge; the rest is gardens, trees and bare ground."""
    sealed = np.clip(0.60 + 0.55 * near, 0.5, 0.97)
    rest = (chance - sealed) / np.maximum(1 - sealed, 1e-6)
    return np.where(chance < sealed, URBAN, _pick(rest, (GRASS, 0.58), (BROADLEAF, 0.90), (SHRUB, 0.95), (MINERAL, 1.0)))


def _summit(chance: np.ndarray, high: np.ndarray, aspect: np.ndarray) -> np.ndarray:
    snow = high + 0.008 * aspect > SNOW_FROM
    return np.where(snow, SNOW, _pick(chance, (MINERAL, 0.74), (GRASS, 0.90), (SHRUB, 1.0)))
