"""What compositing will take, before it is begun: time from a short measured job, memory from the plan of the work itself."""

import json
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.windows import Window

from landtide.composite.budget import LARGEST, SHARE, Load, sizes_down
from landtide.composite.engine import Pool, build
from landtide.composite.outliers import looked_bands
from landtide.core.bands import BANDS, is_reflectance
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.core.tile import Tile
from landtide.io import manifest, storage
from landtide.io.raster import CogWriter

SIDE, DATES = 512, 24
"""Of the measured job: large enough that its start does not count, small enough for seconds."""


@dataclass(frozen=True)
class Rate:
    """What a measured job took."""

    samples: float
    """Pixels x dates x bands a second, with all threads."""

    cpu: float
    """CPU seconds a second of it."""


def measure(folder: Path, bands: tuple[str, ...], settings: Composite, memory: int, pool: Pool) -> Rate:
    """Composite a made-up series with the study's own settings, twice, and return the second's rate: the first compiles the kernels."""
    tile = Tile("calibration", "EPSG:32633", (10.0, 0.0, 600000.0, 0.0, -10.0, 5100000.0), (SIDE, SIDE))
    rng, items = np.random.default_rng(0), []
    ground = (600 + 2000 * rng.random((SIDE, SIDE))).astype(np.uint16)
    scl = np.where(rng.random((SIDE // 2, SIDE // 2)) < 0.3, 9, 4).astype(np.uint8)
    for n in range(DATES):
        day = date(2021, 1, 1) + timedelta(days=round((n + 0.5) * 364 / DATES))
        assets = {name: _asset(folder / f"{n}_{name}.tif", np.roll(ground, 7 * n), tile) for name in bands}
        assets["SCL"] = _asset(folder / f"{n}_SCL.tif", np.roll(scl, 5 * n), tile)
        items.append(_item(f"c{n}", day, assets))
    uri = str(folder / "items.json")
    storage.write_json(uri, {"type": "FeatureCollection", "features": items})
    for turn in range(2):
        key = manifest.Key(str(folder / "work"), "calibration", "composite", tile.name, "2021", str(turn))
        began, cpu = time.perf_counter(), time.process_time()
        with manifest.writing(key, period=Period.of_year(2021), tile=tile) as out:
            build(uri, tile, 2021, bands=bands, mask=Mask(), settings=settings, memory=memory, out=out, pool=pool)
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
    return Rate(SIDE * SIDE * DATES * len(bands) / seconds, used / seconds)


RESOLUTIONS = {band.name: band.resolution for band in BANDS}


def peak_memory(
    tile: Tile, year: int, images: int, *, bands: tuple[str, ...], channels: int, settings: Composite, memory: int, threads: int
) -> int:
    """Return the bytes that compositing a year of a tile will take: the largest blocks that the memory holds are used.

    bands     that are read
    channels  that are made

    Twice the mean number of images is taken for the busiest step; without a catalog's pixels the rasters' blocks are not known.
    """
    factors = frozenset(max(1, round(RESOLUTIONS.get(name, 10) / tile.pixel_size)) for name in bands)
    steps, looked = settings.steps(year), looked_bands(bands) if settings.outliers == "drop" else ()
    taken = min(images, settings.clearest or images)
    load = Load(tile.shape, factors, steps, len(bands), channels, -(-2 * taken // steps), taken, len(looked), threads)
    sizes = sizes_down(LARGEST)
    return next((needed for size in sizes if (needed := load.memory(size)) <= memory * SHARE), load.memory(sizes[-1]))


def _asset(path: Path, values: np.ndarray, tile: Tile) -> dict[str, Any]:
    factor = tile.shape[0] // values.shape[0]
    a, b, c, d, e, f = tile.transform
    grid = Tile(tile.name, tile.crs, (a * factor, b, c, d, e * factor, f), (values.shape[0], values.shape[1]))
    with CogWriter(path, grid, dtype=str(values.dtype), nodata=0, codes=not is_reflectance(path.stem.split("_")[1])) as writer:
        writer.write(values, Window(0, 0, values.shape[1], values.shape[0]))
    return {"href": str(path), "raster:scale": 1e-4, "raster:offset": 0.0, "nodata": 0}


def _item(name: str, day: date, assets: dict[str, Any]) -> dict[str, Any]:
    base: dict[str, Any] = json.loads('{"type": "Feature", "stac_version": "1.1.0", "stac_extensions": [], "geometry": null, "links": []}')
    return {**base, "id": name, "properties": {"datetime": f"{day.isoformat()}T10:00:00Z"}, "assets": assets}
