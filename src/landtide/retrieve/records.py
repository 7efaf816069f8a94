"""What a retrieval hands on: the items that compositing reads, and the report of what was found and left out."""

from collections.abc import Iterable
from typing import Any

import pystac

from landtide.core.bands import is_reflectance
from landtide.core.tile import Tile
from landtide.retrieve import digest, items
from landtide.retrieve.cache import Kept
from landtide.retrieve.radiometry import Radiometry
from landtide.retrieve.search import Acquisition, SetAside

MISSING_DN = 0.0
"""No data of every Sentinel-2 product. Source: SPECIAL_VALUE NODATA in the product metadata."""


def size_of(acquisitions: Iterable[Acquisition]) -> tuple[int, int]:
    """Return the bytes of the assets used, and how many assets do not tell their size."""
    sizes = digest.asset_sizes([one.item.assets[key] for one in acquisitions for key in one.assets.values()])
    return sum(size for size in sizes if size is not None), sum(size is None for size in sizes)


def missing_number(name: str, told: float | None, kept: Kept) -> float | None:
    """Return the no-data value: the catalog's, else the file's, else that of Sentinel-2's reflectance."""
    if told is not None:
        return told
    return kept.nodata if kept.nodata is not None else (MISSING_DN if is_reflectance(name) else None)


def record_of(one: Acquisition, kept: dict[str, Kept], decided: dict[str, Radiometry], mask: str | None) -> dict[str, Any]:
    """Return the item as compositing reads it."""
    record = one.item.to_dict(include_self_link=False, transform_hrefs=False)
    home = one.item.get_self_href()
    record["links"] = [{"rel": "derived_from", "href": home}] if home else []
    for field in ("proj:shape", "proj:transform", "proj:bbox"):  # a window has another grid than its source
        record["properties"].pop(field, None)
    record["assets"] = {name: _asset(one.item.assets[key], name, kept[name], decided.get(name)) for name, key in one.assets.items()}
    return record


def _asset(asset: pystac.Asset, name: str, kept: Kept, radiometry: Radiometry | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"href": kept.href, "type": asset.media_type, "roles": asset.roles or ["data"], "data_type": kept.dtype}
    missing = missing_number(name, items.packing(asset).get("nodata"), kept)
    if missing is not None:
        fields["nodata"] = missing
    fields["file:checksum"] = kept.checksum
    if radiometry is not None:
        fields |= {"raster:scale": radiometry.scale, "raster:offset": radiometry.offset, "landtide:radiometry": radiometry.reason}
    return fields


def report_of(
    tile: Tile, year: int, kept: list[Acquisition], decided: dict[str, dict[str, Radiometry]], aside: list[SetAside], mask: str | None
) -> dict[str, Any]:
    size, untold = size_of(kept)
    return {
        "tile": tile.name,
        "year": year,
        "images": len(kept),
        "bytes": size,
        "assets_without_size": untold,
        "mask": mask,
        "acquisitions": [
            {
                "id": one.item.id,
                "datetime": items.moment(one.item).isoformat(),
                "cloud_cover": items.cloud_cover(one.item),
                "radiometry": sorted({told.reason for told in decided[one.item.id].values()}),
                "offset": sorted({told.offset for told in decided[one.item.id].values()}),
            }
            for one in kept
        ],
        "set_aside": [{"id": one.id, "reason": one.reason} for one in aside],
    }


def nothing_left(tile: Tile, year: int, aside: list[SetAside]) -> str:
    why = f"all {len(aside)} are set aside, the first ({aside[0].id}) because: {aside[0].reason}" if aside else "the catalog has none"
    return f"tile {tile.name} has no usable acquisition in {year}: {why}. Correct `years` or `source`"
