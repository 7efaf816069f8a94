"""Publish the maps: copy them to ``maps/<tile>/<year>.tif``, with category names and a QGIS style beside each."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pystac

from landtide.core.errors import LandtideError
from landtide.core.legend import Legend
from landtide.core.tile import Tile
from landtide.io import manifest, storage
from landtide.io.manifest import MULTIHASH_SHA256
from landtide.io.raster import categories_xml
from landtide.publish.style import confidence_style, label_style

FOLDER = "maps"
SUFFIXES = {"label": "", "confidence": "_confidence", "probability": "_probability"}
"""Asset of a map's manifest -> what its file's name adds to the year."""


@dataclass(frozen=True)
class PublishedFile:
    """One file of a published map."""

    href: str
    """Relative to the published folder."""

    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class PublishedMap:
    """One tile and year."""

    tile: Tile
    year: int
    files: dict[str, PublishedFile]
    """``label``, ``confidence``, where it was asked for ``probability``, and ``style``."""

    manifest: pystac.Item
    """What the map was copied from."""


def write_maps(published: str, manifests: dict[tuple[str, int], pystac.Item], legend: Legend) -> list[PublishedMap]:
    """Copy the maps of every (tile, year) into the published folder, each file atomically; return what lies there now.

    A map that a reader has open stays whole: a file is replaced, never changed. The catalog, which names the maps, comes later
    (`landtide.publish.stac.write_catalog`). Raises LandtideError where a copy differs from what its manifest promises.
    """
    return [_write_map(published, tile, year, item, legend) for (tile, year), item in sorted(manifests.items())]


def _write_map(published: str, name: str, year: int, item: pystac.Item, legend: Legend) -> PublishedMap:
    files: dict[str, PublishedFile] = {}
    for asset, suffix in SUFFIXES.items():
        if asset in item.assets:
            files[asset] = _copy(published, f"{FOLDER}/{name}/{year}{suffix}.tif", item.assets[asset])
    _write(published, f"{FOLDER}/{name}/{year}.tif.aux.xml", categories_xml(["no data", *legend.names]))
    files["style"] = _write(published, f"{FOLDER}/{name}/{year}.qml", label_style(legend))
    if "confidence" in files:
        _write(published, f"{FOLDER}/{name}/{year}_confidence.qml", confidence_style())
    return PublishedMap(manifest.tile_of(item), year, files, item)


def _copy(published: str, href: str, asset: pystac.Asset) -> PublishedFile:
    """Copy a raster, and see that it is what its manifest tells."""
    with tempfile.TemporaryDirectory(prefix="landtide-") as folder:
        local = Path(folder) / "map.tif"
        storage.download(asset.href, local)
        sha256, size = storage.sha256(str(local)), local.stat().st_size
        promised = asset.extra_fields.get("file:checksum")
        if promised not in (None, MULTIHASH_SHA256 + sha256):
            raise LandtideError(
                f"{asset.href} has changed since it was made (SHA-256 {sha256}, its manifest says {promised}): make it again"
            )
        storage.upload(local, storage.join(published, href))
    return PublishedFile(href, sha256, size)


def _write(published: str, href: str, text: str) -> PublishedFile:
    data = text.encode()
    storage.write_bytes(storage.join(published, href), data)
    return PublishedFile(href, storage.digest(data), len(data))
