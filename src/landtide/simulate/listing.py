"""A catalog without pixels: what a provider would list for some tiles and years, for planning at full size.

Counts and sizes are those of a study of ten Dutch tiles over three years: 554 images with little cloud, 559 GB.
"""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from landtide.core.bands import BANDS, SCL
from landtide.core.errors import InputError
from landtide.core.tile import Tile, mgrs_tile
from landtide.io import storage

TILES = ("31UES", "31UET", "31UFS", "31UFT", "31UFU", "31UFV", "31UGS", "31UGT", "31UGU", "31UGV")
"""The Netherlands."""

PASSES = 73
"""A year, of two satellites over one place: every fifth day."""

MAX_CLOUD = 20.0
"""Per cent: a study that takes only clear scenes. A quarter of the Dutch passes is as clear."""

CLEAR = 554 / (10 * 3 * PASSES)
"""Share of the passes below it."""

IMAGE_SIZE = 559e9 / 554
"""Bytes of a whole image, all bands and SCL."""

SPREAD = 0.12
"""Relative spread of that size: haze and snow compress differently."""

LEVEL2A = tuple(band for band in BANDS if band.name != "B10")


def list_catalog(folder: Path, tiles: tuple[str, ...], years: tuple[int, ...], seed: int) -> int:
    """Write ``items.json`` (an ItemCollection), ``points.csv`` and ``study.yaml`` into a new folder; return the number of items.

    Raises InputError where the folder holds anything, or a name is no MGRS tile.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"folder {folder} is not empty: give a new folder for the catalog")
    rng, items, points = np.random.default_rng(seed), [], ["lon,lat,class"]
    for number, name in enumerate(tiles):
        tile = mgrs_tile(name)
        west, south, east, north = tile.lonlat_bounds()
        points += [
            f"{west + (east - west) * x:.5f},{south + (north - south) * y:.5f},{n + 1}"
            for n, (x, y) in enumerate(rng.uniform(0.3, 0.7, (8, 2)))
        ]
        for year in years:
            items += [_item(tile, day, number, rng) for day in _days(year, rng)]
    folder.mkdir(parents=True, exist_ok=True)
    storage.write_bytes(str(folder / "items.json"), json.dumps({"type": "FeatureCollection", "features": items}).encode())
    storage.write_bytes(str(folder / "points.csv"), "\n".join([*points, ""]).encode())
    storage.write_bytes(str(folder / "study.yaml"), _study(tiles, years).encode())
    return len(items)


def _days(year: int, rng: np.random.Generator) -> list[date]:
    first = date(year, 1, 1) + timedelta(days=int(rng.integers(0, 5)))
    return [day for n in range(PASSES) if (day := first + timedelta(days=5 * n)).year == year]


def _item(tile: Tile, day: date, number: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return an item as Earth Search lists it; its assets lie nowhere."""
    clear = rng.random() < CLEAR
    cloud = float(rng.uniform(0, MAX_CLOUD) if clear else rng.uniform(MAX_CLOUD, 100) ** 0.5 * 10)
    size = IMAGE_SIZE * float(np.clip(rng.normal(1, SPREAD), 0.5, 1.5))
    moment = datetime(day.year, day.month, day.day, 10, 40, number, tzinfo=UTC)
    platform = "ab"[day.toordinal() // 5 % 2]
    name = f"S2{platform.upper()}_{tile.name}_{day:%Y%m%d}_0_L2A"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "collection": "sentinel-2-l2a",
        "geometry": tile.footprint(),
        "bbox": list(tile.lonlat_bounds()),
        "links": [],
        "properties": {
            "datetime": moment.isoformat().replace("+00:00", "Z"),
            "platform": f"sentinel-2{platform}",
            "constellation": "sentinel-2",
            "eo:cloud_cover": round(cloud, 2),
            "grid:code": f"MGRS-{tile.name}",
            "proj:code": tile.crs,
            "s2:processing_baseline": "05.00",
            "earthsearch:boa_offset_applied": True,
        },
        "assets": _assets(tile, name, size),
    }


def _assets(tile: Tile, name: str, size: float) -> dict[str, Any]:
    """Return an asset a band; bytes go by the number of pixels, SCL packs ten times better."""
    weights = {band.name: (10 / band.resolution) ** 2 for band in LEVEL2A} | {SCL: 0.025}
    resolutions = {band.name: band.resolution for band in LEVEL2A} | {SCL: 20}
    keys = {band.name: band.common_name for band in LEVEL2A} | {SCL: "scl"}
    a, b, c, d, e, f = tile.transform
    assets = {}
    for band, weight in weights.items():
        factor = resolutions[band] // 10
        assets[keys[band]] = {
            "href": f"./no-pixels/{name}/{band}.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "proj:shape": [side // factor for side in tile.shape],
            "proj:transform": [a * factor, b, c, d, e * factor, f],
            "file:size": round(size * weight / sum(weights.values())),
        }
    return assets


def _study(tiles: tuple[str, ...], years: tuple[int, ...]) -> str:
    bands = ", ".join(band.name for band in LEVEL2A)
    return (
        "# A catalog without pixels: `landtide plan` tells what a study of this size needs. It cannot be run.\n"
        f"name: listing\narea: {{tiles: [{', '.join(tiles)}]}}\nyears: [{', '.join(map(str, years))}]\n"
        f"source: {{catalog: items.json, max_cloud: {MAX_CLOUD:g}}}\nbands: [{bands}]\npoints: points.csv\nworkspace: ./work\n"
    )
