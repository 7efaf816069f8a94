"""Gather pixels of all tiles for the extraction: a bounded sample of places, with their codes, polygons and series."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from rasterio.windows import Window

from landtide.core.errors import LandtideError
from landtide.core.tile import Tile
from landtide.extract.polygons import Polygons, ReadCodes, find_polygons, pixel_hash, polygons_at
from landtide.io.cube import CHUNK, open_cube
from landtide.io.raster import open_raster

SERIES = 200_000
"""Series (pixels times years) that are looked at: 100 MB of 12 months and 10 bands; the vocabularies gain little from more."""

CHUNKS = 256
"""Chunks of the cubes that are read for each year, over all tiles: 1 GB a year."""

TILE_STRIDE = 1 << 40
"""Added to the polygons of the second tile and so on, so that they differ between tiles."""


class Pool(Protocol):
    """Workers that do independent tasks and give their results in order."""

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Survey:
    """What the old map of one tile holds."""

    tile: Tile
    uri: str
    polygons: Polygons
    chunk_codes: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]
    """Upper left corner of a chunk -> codes and their pixels."""

    def areas(self) -> dict[int, int]:
        """Return the pixels of every code, no data (0) left out."""
        codes, inverse = np.unique(self.polygons.code, return_inverse=True)
        return {int(code): int(area) for code, area in zip(codes, np.bincount(inverse, self.polygons.area).astype(int), strict=True)}


@dataclass(frozen=True)
class Pixels:
    """N places with what the old map says of them."""

    tile: np.ndarray
    """(N,) int64 number of the tile."""

    row: np.ndarray
    column: np.ndarray
    code: np.ndarray
    """(N,) int64 code of the old map, 0 = no data."""

    polygon: np.ndarray
    """(N,) int64, unique over tiles; -1 = no data."""

    depth: np.ndarray
    """(N,) float32 pixels to the polygon's edge."""

    weight: np.ndarray
    """(N,) float64 pixels of the chosen chunks that this one stands for."""


CODE_ZERO = -1
"""How code 0 is called here where it is a class: inside the extraction, 0 is no data."""


@contextmanager
def code_reader(uri: str) -> Iterator[ReadCodes]:
    """Lend a reader of codes by window; no data is 0, and 0 is `CODE_ZERO` where the map has another value for no data."""
    with open_raster(uri) as dataset:
        missing = dataset.nodata

        def read(window: Window) -> np.ndarray:
            values: np.ndarray = dataset.read(1, window=window)
            if missing:
                values = np.where(values == missing, 0, np.where(values == 0, CODE_ZERO, values))
            return values

        yield read


def survey(tile: Tile, uri: str) -> Survey:
    """Find the polygons of a tile's old map, and which codes each chunk of the cubes holds."""
    held: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
    with code_reader(uri) as read:

        def reading(window: Window) -> np.ndarray:
            codes = read(window)
            for top in range(0, codes.shape[0], CHUNK):
                for left in range(0, codes.shape[1], CHUNK):
                    found = np.unique(codes[top : top + CHUNK, left : left + CHUNK], return_counts=True)
                    held[(int(window.row_off) + top, int(window.col_off) + left)] = found
            return codes

        polygons = find_polygons(reading, tile.shape)
    return Survey(tile, uri, polygons, held)


def choose_pixels(surveys: list[Survey], years: int, halo: int, seed: int) -> Pixels:
    """Choose places for the extraction: all where the area is small, else spread over space with rare codes preferred.

    halo  pixels up to which the distance to a polygon's edge matters
    """
    chosen = _choose_chunks(surveys, seed)
    areas: dict[int, int] = {}
    for number, corner in chosen:
        for code, area in zip(*surveys[number].chunk_codes[corner], strict=True):
            areas[int(code)] = areas.get(int(code), 0) + int(area)
    shares = sampling_shares(areas, SERIES // max(years, 1))
    parts = []
    for number, item in enumerate(surveys):
        corners = [corner for owner, corner in chosen if owner == number]
        if corners:
            parts.append(_pixels_of(item, number, corners, shares, halo, seed))
    return Pixels(*(np.concatenate([getattr(part, name) for part in parts]) for name in Pixels.__dataclass_fields__))


def _choose_chunks(surveys: list[Survey], seed: int) -> list[tuple[int, tuple[int, int]]]:
    """Choose half of the chunks at random and half for the rare codes that they hold."""
    every = [(number, corner) for number, item in enumerate(surveys) for corner in item.chunk_codes]
    if len(every) <= CHUNKS:
        return every
    total: dict[int, int] = {}
    for item in surveys:
        for code, area in item.areas().items():
            total[code] = total.get(code, 0) + area
    rarity = np.array([sum(area / total[code] for code, area in zip(*_held(surveys, chunk), strict=True) if code) for chunk in every])
    rng = np.random.default_rng(seed)
    first = rng.choice(len(every), CHUNKS // 2, replace=False)
    rarity[first] = 0
    second = rng.choice(len(every), min(CHUNKS // 2, int((rarity > 0).sum())), replace=False, p=rarity / rarity.sum())
    return [every[index] for index in np.sort(np.concatenate([first, second]))]


def _held(surveys: list[Survey], chunk: tuple[int, tuple[int, int]]) -> tuple[list[int], list[int]]:
    codes, areas = surveys[chunk[0]].chunk_codes[chunk[1]]
    return codes.tolist(), areas.tolist()


def sampling_shares(areas: dict[int, int], budget: int) -> dict[int, float]:
    """Return the share of each code's pixels to take: all if they fit the budget, else numbers that go by the square root of the area."""
    if sum(areas.values()) <= budget:
        return dict.fromkeys(areas, 1.0)
    low, high = 0.0, float(budget)
    for _ in range(60):
        factor = (low + high) / 2
        taken = sum(min(area, factor * area**0.5) for area in areas.values())
        low, high = (factor, high) if taken < budget else (low, factor)
    return {code: min(1.0, low * area**0.5 / max(area, 1)) for code, area in areas.items()}


def _pixels_of(item: Survey, number: int, corners: list[tuple[int, int]], shares: dict[int, float], halo: int, seed: int) -> Pixels:
    rows, columns, weights = [], [], []
    with code_reader(item.uri) as read:
        for top, left in corners:
            height, width = min(CHUNK, item.tile.shape[0] - top), min(CHUNK, item.tile.shape[1] - left)
            values, inverse = np.unique(read(Window(left, top, width, height)), return_inverse=True)
            share = np.array([shares[int(value)] for value in values])[inverse].reshape(height, width)
            row, column = np.mgrid[top : top + height, left : left + width]
            taken = pixel_hash(row, column, seed + number) < share
            rows.append(row[taken])
            columns.append(column[taken])
            weights.append(1 / share[taken])
        row, column = np.concatenate(rows), np.concatenate(columns)
        code, polygon, depth = polygons_at(read, item.polygons, row, column, halo)
    unique = np.where(polygon >= 0, polygon + number * TILE_STRIDE, -1)
    return Pixels(np.full(len(row), number, np.int64), row, column, code, unique, depth, np.concatenate(weights))


@dataclass(frozen=True)
class Reading:
    """One chunk to read: the task of a worker."""

    uris: tuple[str, ...]
    """Cube of each year."""

    rows: np.ndarray
    columns: np.ndarray


def read_chunk(task: Reading) -> np.ndarray:
    """Read the pixels of one chunk for all years, (n, Y, T, B) float32."""
    years = []
    for uri in task.uris:
        cube = open_cube(uri)
        values = cube.read_pixels(task.rows, task.columns)
        years.append(values)
    if len({values.shape for values in years}) > 1:
        raise LandtideError(f"cubes {', '.join(task.uris)} differ in steps or bands: build them again with one `composite.period`")
    return np.stack(years, axis=1)


def read_series(uris: list[tuple[str, ...]], tile: np.ndarray, row: np.ndarray, column: np.ndarray, pool: Pool) -> np.ndarray:
    """Read the series of places in all years, (N, Y, T, B) float32, NaN = missing; each chunk once.

    uris  for each tile the cubes of the years, in order
    """
    key = (tile * (1 << 20) + row // CHUNK) * (1 << 20) + column // CHUNK
    order = np.argsort(key, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(key[order])) + 1)
    tasks = [Reading(uris[int(tile[group[0]])], row[group], column[group]) for group in groups]
    result: np.ndarray | None = None
    for group, values in zip(groups, pool.map(read_chunk, tasks), strict=True):
        if result is None:
            result = np.empty((len(row), *values.shape[1:]), np.float32)
        result[group] = values
    assert result is not None
    return result
