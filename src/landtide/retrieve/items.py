"""What a STAC item says of itself, whichever provider and STAC version wrote it."""

import math
import re
from datetime import UTC, datetime
from typing import Any

import pystac

from landtide.core.errors import InputError
from landtide.core.tile import Tile
from landtide.retrieve import hls

PRODUCT = re.compile(r"S2[A-D]_MSI(?P<level>L\w\w)_(?P<year>\d{4})\d{4}T\d{6}_N(?P<baseline>\d{4})_R\d{3}_T(?P<tile>\w{5})_")
"""Name of an ESA product. Source: Sentinel-2 Products Specification Document, compact naming."""

MGRS_NAME = re.compile(r"\d{2}[C-X][A-Z]{2}")


def moment(item: pystac.Item) -> datetime:
    """Return when an item was acquired, in UTC: its ``datetime``, else ``start_datetime``."""
    when = item.datetime or item.common_metadata.start_datetime
    if when is None:
        raise InputError(f"item {item.id} has neither datetime nor start_datetime: it cannot be given to a year")
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _product(item: pystac.Item) -> re.Match[str] | None:
    """Return the match of the first field that holds an ESA product name."""
    fields = (item.properties.get("s2:product_uri"), item.properties.get("sentinel:product_id"), item.id)
    return next((match for match in (PRODUCT.match(str(text)) for text in fields if text) if match), None)


def baseline(item: pystac.Item) -> float | None:
    """Return the processing baseline (``05.10`` as 5.1), None where nothing tells it."""
    properties = item.properties
    for key in ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version"):
        if re.fullmatch(r"\d{1,2}\.\d{1,2}", str(properties.get(key, ""))):
            return float(properties[key])
    product = _product(item)
    if product is not None:
        return int(product["baseline"]) / 100
    granule = re.search(r"_N(\d{2})\.(\d{2})$", str(properties.get("s2:datatake_id") or properties.get("eopf:datatake_id") or ""))
    return float(f"{granule[1]}.{granule[2]}") if granule else None


def is_composite(item: pystac.Item) -> bool:
    """Say whether an item is made of several acquisitions (Level-3): its maker has already brought them to one radiometry."""
    properties = item.properties
    level = str(properties.get("processing:level") or "")
    kind = str(properties.get("product:type") or properties.get("s2:product_type") or "")
    return level.startswith("L3") or "L3" in kind or "mosaic" in str(item.collection_id or "")


def is_sentinel2(item: pystac.Item) -> bool:
    """Say whether an item is of Sentinel-2 as ESA processes it."""
    if hls.sensor_of(item) is not None:
        return False
    properties = item.properties
    texts = (item.collection_id, properties.get("constellation"), properties.get("platform"), item.id)
    return any(re.search(r"sentinel[- ]?(2|s2)|^S2[A-D]_", str(text), re.IGNORECASE) for text in texts if text)


def provider(item: pystac.Item) -> str | None:
    """Return the provider whose conventions an item follows: ``earth-search``, ``cdse``, ``planetary-computer`` or None."""
    homes = [link.target for link in item.links if isinstance(link.target, str)]  # not .href, which fetches the root
    homes += [asset.href for asset in item.assets.values()]
    hosts = {
        "earth-search": ("earth-search.aws.element84.com", "sentinel-cogs", "e84-earth-search"),
        "planetary-computer": ("planetarycomputer.microsoft.com", "sentinel2l2a01.blob.core.windows.net"),
        "cdse": ("dataspace.copernicus.eu", "s3://eodata/"),
    }
    return next((name for name, marks in hosts.items() if any(mark in home for home in homes for mark in marks)), None)


def offset_applied(item: pystac.Item) -> bool | None:
    """Return what Earth Search says on whether the baseline offset is already in the pixels, None where it says nothing."""
    for key in ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"):
        if key in item.properties:
            return bool(item.properties[key])
    return None


def mgrs_name(item: pystac.Item) -> str | None:
    """Return the MGRS tile of an item, such as ``31UFS``."""
    properties = item.properties
    parts = [properties.get(f"mgrs:{part}") for part in ("utm_zone", "latitude_band", "grid_square")]
    if not parts[0]:
        parts = [properties.get(f"sentinel:{part}") for part in ("utm_zone", "latitude_band", "grid_square")]
    product = _product(item)
    names = [
        str(properties.get("grid:code", "")).removeprefix("MGRS-"),
        str(properties.get("s2:mgrs_tile", "")),
        "".join(str(part).zfill(2) for part in parts) if all(parts) else "",
        product["tile"] if product else "",
    ]
    return next((name.zfill(5) for name in names if MGRS_NAME.fullmatch(name.zfill(5))), None)


def platform(item: pystac.Item) -> str | None:
    """Return the satellite in one spelling, such as ``sentinel-2a``."""
    text = item.properties.get("platform")
    return str(text).lower().replace(" ", "-") if text else None


def cloud_cover(item: pystac.Item) -> float | None:
    """Return the scene's cloud cover in per cent, None where it is not told."""
    value = item.properties.get("eo:cloud_cover")
    return float(value) if value is not None else None


def grid(item: pystac.Item, key: str) -> Tile | None:
    """Return the grid of an asset as the item tells it (projection extension), None where it does not."""
    fields = item.assets[key].extra_fields
    told = {name: fields.get(name, item.properties.get(name)) for name in ("proj:transform", "proj:shape", "proj:code", "proj:epsg")}
    crs = told["proj:code"] or (f"EPSG:{told['proj:epsg']}" if told["proj:epsg"] else None)
    if not (crs and told["proj:transform"] and told["proj:shape"]):
        return None
    a, b, c, d, e, f = (float(value) for value in told["proj:transform"][:6])
    rows, columns = told["proj:shape"]
    return Tile(mgrs_name(item) or item.id, str(crs), (a, b, c, d, e, f), (int(rows), int(columns)))


def packing(asset: pystac.Asset) -> dict[str, Any]:
    """Return the ``scale``, ``offset``, ``nodata`` and ``data_type`` that an asset declares; what it does not tell is left out.

    STAC 1.1 has them as common fields (on the asset or its one band), the raster extension 1.x in ``raster:bands``.
    """
    fields = asset.extra_fields
    sources: list[dict[str, Any]] = [fields, *fields.get("bands", [])[:1], *fields.get("raster:bands", [])[:1]]
    found: dict[str, Any] = {}
    for name, keys in {
        "scale": ("raster:scale", "scale"),
        "offset": ("raster:offset", "offset"),
        "nodata": ("nodata", "raster:nodata"),
        "data_type": ("data_type", "raster:data_type"),
    }.items():
        value = next((source[key] for source in sources for key in keys if source.get(key) is not None), None)
        if value is not None:
            found[name] = value if name == "data_type" else float(value)
    if math.isnan(found.get("nodata", 0.0)):
        del found["nodata"]
    return found
