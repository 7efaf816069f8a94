"""A local Sentinel-2 series of any size, cheaply made: texture with a season and clouds, as Cloud-Optimized GeoTIFF with blocks of 1024."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from scipy.ndimage import gaussian_filter

from landtide.core.bands import BANDS
from landtide.core.tile import Tile

RESOLUTION = {band.name: band.resolution for band in BANDS}
CORNER = (600000.0, 5100000.0)
BLOCK = 1024


def tile_of(side: int) -> Tile:
    return Tile("33TVM", "EPSG:32633", (10.0, 0.0, CORNER[0], 0.0, -10.0, CORNER[1]), (side, side))


def make_series(folder: Path, side: int, bands: tuple[str, ...], dates: int, seed: int, year: int = 2021) -> list[dict[str, Any]]:
    """Write a series and return its items: assets by band with scale and offset, SCL beside them; 30 % of the pixels are cloud."""
    rng = np.random.default_rng(seed)
    ground = {name: _texture(rng, 600, 3000) for name in bands}
    cloud = gaussian_filter(rng.standard_normal((BLOCK, BLOCK)), 24, mode="wrap")
    cloud = cloud > np.quantile(cloud, 0.7)
    items, jobs = [], []
    for n in range(dates):
        day = date(year, 1, 1) + timedelta(days=round((n + 0.5) * 364 / dates))
        shift, assets = tuple(rng.integers(0, BLOCK, 2)), {}
        for name in (*bands, "SCL"):
            step = 2 if name == "SCL" else RESOLUTION[name] // 10
            path = folder / f"{day.isoformat()}_{name}.tif"
            covered = np.roll(cloud, shift, (0, 1))[::step, ::step]
            if name == "SCL":
                pattern = np.where(covered, 9, 4).astype(np.uint8)
            else:
                season = 1 + 0.3 * np.sin(2 * np.pi * n / dates)
                pattern = np.where(covered, 7000, ground[name][::step, ::step] * season).astype(np.uint16)
            jobs.append((path, pattern, -(-side // step), 10.0 * step))
            assets[name] = {"href": str(path), "raster:scale": 1e-4, "raster:offset": 0.0, "nodata": 0}
        items.append(
            {
                "type": "Feature",
                "stac_version": "1.1.0",
                "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
                "id": f"S2_{day.isoformat()}",
                "geometry": tile_of(side).footprint(),
                "bbox": list(tile_of(side).lonlat_bounds()),
                "links": [],
                "properties": {"datetime": f"{day.isoformat()}T10:00:00Z", "proj:code": "EPSG:32633"},
                "assets": assets,
            }
        )
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda job: _write(*job), jobs))
    return items


def _texture(rng: np.random.Generator, low: int, high: int) -> np.ndarray:
    fields = gaussian_filter(rng.standard_normal((BLOCK, BLOCK)), 12, mode="wrap")
    fields = (fields - fields.min()) / np.ptp(fields)
    return low + (high - low) * fields + rng.normal(0, 40, (BLOCK, BLOCK))


def _write(path: Path, pattern: np.ndarray, side: int, size: float) -> None:
    repeat = -(-side // pattern.shape[0])
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": pattern.dtype, "crs": "EPSG:32633", "nodata": 0}
    transform = rasterio.Affine(size, 0, CORNER[0], 0, -size, CORNER[1])
    row = np.tile(pattern, (1, repeat))[:, :side]
    with rasterio.open(
        path,
        "w",
        **profile,
        transform=transform,
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        compress="zstd",
        zstd_level=1,
        predictor=2,
    ) as dataset:
        for top in range(0, side, len(pattern)):
            part = row[: min(len(pattern), side - top)]
            dataset.write(part, 1, window=rasterio.windows.Window(0, top, side, len(part)))
