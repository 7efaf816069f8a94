"""A small polygon world with known truth: the only oracle that cleaning can have."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from landtide.core.cube import encode
from landtide.core.legend import Crosswalk, Legend, LegendClass, identity_crosswalk
from landtide.core.period import Period
from landtide.core.study import Extract
from landtide.core.tile import Tile
from landtide.extract import LabelledPoint, from_old_map
from landtide.io import cube, manifest, table

LEGEND = Legend("four", tuple(LegendClass(code, name, "#000000") for code, name in ((1, "water"), (2, "crop"), (3, "forest"), (4, "town"))))
STEPS = 12


class Here:
    """A pool of no workers."""

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return map(fn, items)


@dataclass(frozen=True)
class PolygonWorld:
    """Square polygons of one old code each, with a true class at every pixel."""

    truth: np.ndarray
    """(H, W) 1..4"""

    old: np.ndarray
    """(H, W) int32 codes 1..4, 0 = no data"""

    x: np.ndarray
    """(Y, T, B, H, W) float32"""


def signature(label: np.ndarray, bands: int) -> np.ndarray:
    """Return the noise-free series (T, B, H, W) of true classes 1..4: four seasons that no band confuses."""
    time = np.arange(STEPS) / STEPS * 2 * np.pi
    curves = np.stack([0 * time + 0.05, 0.3 - 0.25 * np.cos(time), 0.55 + 0.1 * np.sin(time), 0 * time + 0.25])  # (4, T)
    gain = np.linspace(1.0, 0.6, bands)
    return np.moveaxis(curves[label - 1], -1, 0)[:, None] * gain[None, :, None, None]


def polygon_world(
    seed: int, *, side: int = 16, count: int = 10, wrong: float = 0.3, pure: bool = False, bands: int = 3, years: int = 1
) -> PolygonWorld:
    """Make ``count`` x ``count`` polygons: purity by Beta(4, 2), a share ``wrong`` of them with another class's code."""
    rng = np.random.default_rng(seed)
    dominant = rng.integers(1, 5, (count, count))
    code = np.where(rng.random((count, count)) < wrong, dominant % 4 + 1, dominant)
    purity = np.ones((count, count)) if pure else rng.beta(4, 2, (count, count))
    wide = np.ones((side, side), int)
    stay = rng.random((count * side, count * side)) < np.kron(purity, wide)
    truth = np.where(stay, np.kron(dominant, wide), rng.integers(1, 5, stay.shape))
    x = np.stack([signature(truth, bands) + rng.normal(0, 0.03, (STEPS, bands, *truth.shape)) for _ in range(years)])
    return PolygonWorld(truth, np.kron(code, wide).astype(np.int32), x.astype(np.float32))


@dataclass(frozen=True)
class Result:
    """What an extraction wrote."""

    samples: Any
    refused: dict[str, Any]
    candidates: Any
    truth: np.ndarray
    """(N,) true class of each sample"""


@dataclass(frozen=True)
class Bench:
    """Writes worlds as cubes and old maps, and runs the extraction on them."""

    folder: Path

    def tile(self, world: PolygonWorld) -> Tile:
        return Tile("t", "EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), world.truth.shape)

    def cubes(self, world: PolygonWorld) -> dict[str, dict[int, str]]:
        tile, made = self.tile(world), {}
        bands = tuple(f"B{number}" for number in range(world.x.shape[2]))
        for number, values in enumerate(world.x):
            uri = str(self.folder / f"{2018 + number}.zarr")
            cube.create_cube(uri, tile, Period.of_year(2018 + number).split("P1M"), bands)
            for window in tile.windows(cube.CHUNK):
                rows, columns = window.toslices()
                part = values[:, :, rows, columns]
                cube.write_window(uri, window, encode(part), np.ones((STEPS, *part.shape[2:]), np.uint8))
            made[2018 + number] = uri
        return {"t": made}

    def old_map(self, world: PolygonWorld) -> dict[str, str]:
        tile, path = self.tile(world), self.folder / "old.tif"
        shape = {"height": tile.shape[0], "width": tile.shape[1], "count": 1}
        with rasterio.open(path, "w", driver="GTiff", dtype="int32", crs=tile.crs, transform=tile.affine, nodata=0, **shape) as target:
            target.write(world.old, 1)
        return {"t": str(path)}

    def extract(
        self,
        world: PolygonWorld,
        *,
        points: list[LabelledPoint] | None = None,
        old: bool = True,
        seed: int = 1,
        crosswalk: Crosswalk | None = None,
        **settings: Any,
    ) -> Result:
        key = manifest.Key(str(self.folder), "s", "extract", "all", "2018", f"id{seed}")
        with manifest.writing(key, period=Period.of_year(2018)) as out:
            from_old_map(
                cubes=self.cubes(world),
                old_maps=self.old_map(world) if old else {},
                crosswalk=crosswalk or identity_crosswalk(LEGEND),
                legend=LEGEND,
                accuracy=10.0,
                map_year=2012,
                points=points,
                settings=Extract(**{"candidates": 2000, **settings}),
                seed=seed,
                out=out,
                pool=Here(),
            )
        assets = out.item.assets
        samples = table.read_samples(assets["samples"].href)
        column = ((samples.xy[:, 0] - 500_000) // 10).astype(int)
        row = ((5_000_000 - samples.xy[:, 1]) // 10).astype(int)
        from landtide.io import storage

        return Result(
            samples, storage.read_json(assets["refused"].href), table.read_frame(assets["candidates"].href), world.truth[row, column]
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
