"""STAC Items and Collection of a synthetic world, with the fields that real providers of Level-2A give."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from rasterio.warp import transform

from landtide.core.bands import BANDS as SENTINEL_BANDS
from landtide.core.tile import Tile
from landtide.io import storage
from landtide.simulate.scene import Acquisition, offset_of
from landtide.simulate.world import GRID_CODE

EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/grid/v1.1.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
    "https://stac-extensions.github.io/view/v1.0.0/schema.json",
]
COG = pystac.MediaType.COG
SCALE = 0.0001


def item_id(acquisition: Acquisition, baseline: str) -> str:
    """Return the name of the product, built as ESA builds it."""
    made = (
        acquisition.moment + timedelta(hours=5) if baseline < "05.00" else datetime(2023, 5, 3, 7, 12, 9, tzinfo=acquisition.moment.tzinfo)
    )
    tile = GRID_CODE.removeprefix("MGRS-")
    return (
        f"S2{acquisition.platform[-1].upper()}_MSIL2A_{acquisition.moment:%Y%m%dT%H%M%S}_N{baseline.replace('.', '')}"
        f"_R{acquisition.orbit:03d}_T{tile}_{made:%Y%m%dT%H%M%S}"
    )


def make_item(acquisition: Acquisition, baseline: str, tile: Tile, files: dict[str, Path], scl: np.ndarray) -> pystac.Item:
    """Describe one acquisition.

    files    asset key -> local file, beside which the item will lie
    scl      (12,) pixels of each SCL class: cloud cover is what the provider's own mask says, not the truth
    """
    footprint = _footprint(acquisition, tile)
    corners = np.array(footprint)
    item = pystac.Item(
        item_id(acquisition, baseline),
        {"type": "Polygon", "coordinates": [footprint]},
        [float(value) for value in (*corners.min(axis=0), *corners.max(axis=0))],
        acquisition.moment,
        _properties(acquisition, baseline, tile, scl),
        stac_extensions=list(EXTENSIONS),
    )
    for key, path in files.items():
        item.add_asset(key, _asset(key, path, tile, baseline))
    return item


def make_collection(items: list[pystac.Item], title: str, description: str) -> pystac.Collection:
    """Gather the items in a collection; hrefs are relative, so that the folder can be moved."""
    boxes = np.array([item.bbox for item in items])
    moments = [item.datetime for item in items]
    extent = pystac.Extent(
        pystac.SpatialExtent([[float(value) for value in (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0))]]),
        pystac.TemporalExtent([[min(moments), max(moments)]]),  # type: ignore[type-var]
    )
    collection = pystac.Collection("sentinel-2-l2a-synthetic", description, extent, title=title, license="CC0-1.0")
    collection.add_items(items)
    return collection


def _properties(acquisition: Acquisition, baseline: str, tile: Tile, scl: np.ndarray) -> dict[str, Any]:
    valid = max(int(scl[1:].sum()), 1)
    return {
        "platform": acquisition.platform,
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "created": "2023-05-03T07:12:09Z" if baseline >= "05.00" else f"{acquisition.moment + timedelta(hours=5):%Y-%m-%dT%H:%M:%SZ}",
        "eo:cloud_cover": round(100 * float(scl[[8, 9, 10]].sum()) / valid, 3),
        "grid:code": GRID_CODE,
        "proj:code": tile.crs,
        "proj:shape": list(tile.shape),
        "proj:transform": list(tile.transform),
        "processing:level": "L2A",
        "processing:version": baseline,
        "s2:processing_baseline": baseline,
        "s2:nodata_pixel_percentage": round(100 * float(scl[0]) / max(int(scl.sum()), 1), 3),
        "sat:relative_orbit": acquisition.orbit,
        "sat:orbit_state": "descending",
        "view:sun_azimuth": 155.0,
        "view:sun_elevation": round(43.5 + 22.5 * float(np.cos(2 * np.pi * (acquisition.day - 172) / 365)), 2),
    }


def _asset(key: str, path: Path, tile: Tile, baseline: str) -> pystac.Asset:
    grid = grid_of(key, tile)
    fields: dict[str, Any] = {
        "gsd": int(grid.transform[0]),
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform),
        "file:checksum": f"1220{storage.sha256(str(path))}",
        "file:size": path.stat().st_size,
    }
    if key == "SCL":
        fields |= {"data_type": "uint8", "nodata": 0}
        return pystac.Asset(f"./{path.name}", "Scene classification", media_type=COG, roles=["data"], extra_fields=fields)
    band = next(band for band in SENTINEL_BANDS if band.name == key)
    fields["bands"] = [
        {
            "name": key,
            "data_type": "uint16",
            "nodata": 0,
            "raster:scale": SCALE,
            "raster:offset": -offset_of(baseline) * SCALE,
            "raster:spatial_resolution": int(grid.transform[0]),
            "eo:common_name": band.common_name,
            "eo:center_wavelength": band.wavelength / 1000,
        }
    ]
    return pystac.Asset(f"./{path.name}", f"{key}, surface reflectance", media_type=COG, roles=["data", "reflectance"], extra_fields=fields)


def grid_of(key: str, tile: Tile) -> Tile:
    """Return the grid of an asset: 10 m, or 20 m where its band has that."""
    band = next((band for band in SENTINEL_BANDS if band.name == key), None)
    if band is not None and band.resolution == 10:
        return tile
    _, _, west, _, _, north = tile.transform
    return Tile(tile.name, tile.crs, (20.0, 0.0, west, 0.0, -20.0, north), (tile.shape[0] // 2, tile.shape[1] // 2))


def _footprint(acquisition: Acquisition, tile: Tile) -> list[tuple[float, float]]:
    """Return the closed ring of longitudes and latitudes that the swath covers, counter-clockwise."""
    west, south, east, north = tile.bounds
    ring = [(west, north), (west, south), (east, south), (east, north)]
    if acquisition.cut is not None:
        top, bottom, left = acquisition.cut
        upper, lower = (west + (east - west) * min(max(share, 0.0), 1.0) for share in (top, bottom))
        ring = (
            [(west, north), (west, south), (lower, south), (upper, north)]
            if left
            else [(upper, north), (lower, south), (east, south), (east, north)]
        )
    ring.append(ring[0])
    lon, lat = transform(tile.crs, "EPSG:4326", [x for x, _ in ring], [y for _, y in ring])
    return [(round(a, 7), round(b, 7)) for a, b in zip(lon, lat, strict=True)]
