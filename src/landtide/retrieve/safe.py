"""Sentinel-2 products as ESA ships them, folders ``.SAFE`` or zips of one, as STAC items.

Everything comes from the product's own metadata: ``MTD_MSIL2A.xml`` (baseline, quantification, offset of each band, no data),
``MTD_TL.xml`` (grid, clouds) and ``manifest.safe`` (checksums). Source: Sentinel-2 Products Specification Document, issues 14 and 15.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import pystac
import shapely

from landtide.core.errors import LandtideError
from landtide.core.tile import Tile
from landtide.retrieve.place import outline

METADATA = "MTD_MSIL2A.xml"

IMAGE = re.compile(
    r"(?:^|/)IMG_DATA/(?:.*/)?(?:L2A_)?T?(?P<tile>\d{2}[C-X][A-Z]{2})_\d{8}T\d{6}_(?P<band>B\d\d|B8A|SCL)_(?P<metres>[126]0)m\.jp2$"
)
"""A band's file. Old products write ``L2A_`` before the tile's name."""

PHYSICAL = {f"B{number}": f"B{number:02}" for number in range(1, 13)} | {"B8A": "B8A"}
"""Band in the metadata -> ESA id."""

CHECKSUMS = {"MD5": "d50110", "SHA3-256": "1620"}
"""Hash function in ``manifest.safe`` -> prefix of ``file:checksum`` (function code and length)."""


class BrokenProductError(LandtideError):
    """A product's metadata are missing or cannot be read."""


@dataclass(frozen=True)
class Product:
    """Where the parts of a product lie."""

    name: str
    files: dict[str, str]
    """Path within the product -> URI."""

    read: Callable[[str], bytes]
    """Return the bytes behind a URI."""


def product_item(product: Product) -> pystac.Item:
    """Return the item of a Level-2A product: an asset a band and resolution (``B04_10m``), with scale, offset and grid.

    Raises BrokenProductError where the metadata are missing, cut or contradictory.
    """
    try:
        return _item(product)
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise BrokenProductError(f"metadata of product {product.name} cannot be read ({_line(error)}): get the product again") from error


def _item(product: Product) -> pystac.Item:
    metadata = _parse(product, METADATA)
    granule = next((path for path in product.files if re.search(r"(^|/)MTD_TL\.xml$", path)), None)
    if granule is None:
        raise BrokenProductError(f"product {product.name} has no MTD_TL.xml: get the product again")
    place = _parse(product, granule)
    grids = _grids(place)
    images = {match["band"] + f"_{match['metres']}m": path for path in product.files if (match := IMAGE.search(path))}
    if not images:
        raise BrokenProductError(f"product {product.name} has no image (IMG_DATA/*.jp2): get the product again")
    item = pystac.Item(
        id=_text(metadata, "PRODUCT_URI", product.name).removesuffix(".SAFE"),
        geometry=_footprint(metadata) or shapely.geometry.mapping(outline(grids[10])),
        bbox=None,
        datetime=_moment(_text(metadata, "PRODUCT_START_TIME")),
        properties=_properties(metadata, place, product.name),
    )
    checksums = _checksums(product)
    for key, path in sorted(images.items()):
        item.add_asset(key, _asset(key, product.files[path], grids, metadata, checksums.get(path)))
    return item


def _properties(metadata: ElementTree.Element, place: ElementTree.Element, name: str) -> dict[str, Any]:
    clouds = _text(place, "CLOUDY_PIXEL_PERCENTAGE", "") or _text(metadata, "Cloud_Coverage_Assessment")
    tile = re.search(r"_T(\d{2}[C-X][A-Z]{2})_N", _text(place, "TILE_ID"))
    if tile is None:
        raise ValueError(f"TILE_ID {_text(place, 'TILE_ID')} names no tile")
    return {
        "constellation": "sentinel-2",
        "platform": _text(metadata, "SPACECRAFT_NAME").lower(),
        "grid:code": f"MGRS-{tile[1]}",
        "proj:code": _text(place, "HORIZONTAL_CS_CODE"),
        "eo:cloud_cover": float(clouds),
        "s2:processing_baseline": _text(metadata, "PROCESSING_BASELINE"),
        "s2:product_uri": _text(metadata, "PRODUCT_URI", name),
        "s2:generation_time": _text(metadata, "GENERATION_TIME"),
        "s2:datastrip_id": _text(place, "DATASTRIP_ID"),
    }


def _asset(key: str, href: str, grids: dict[int, Tile], metadata: ElementTree.Element, checksum: str | None) -> pystac.Asset:
    band, metres = key.split("_")
    grid = grids[int(metres.removesuffix("m"))]
    fields: dict[str, Any] = {"proj:transform": list(grid.transform), "proj:shape": list(grid.shape), "nodata": _missing(metadata)}
    if checksum is not None:
        fields["file:checksum"] = checksum
    if band != "SCL":
        quantification = float(_text(metadata, "BOA_QUANTIFICATION_VALUE"))
        fields |= {"raster:scale": 1 / quantification, "raster:offset": _offsets(metadata).get(band, 0.0) / quantification}
    return pystac.Asset(href, media_type="image/jp2", roles=["data"], extra_fields=fields)


def _offsets(metadata: ElementTree.Element) -> dict[str, float]:
    """Return what is to be added to the digital numbers of each band; nothing before baseline 04.00."""
    names = {node.get("bandId"): PHYSICAL[str(node.get("physicalBand"))] for node in _nodes(metadata, "Spectral_Information")}
    told = {node.get("band_id"): float(str(node.text)) for node in _nodes(metadata, "BOA_ADD_OFFSET")}
    lost = sorted(str(number) for number in told if number not in names)
    if lost:
        raise ValueError(f"BOA_ADD_OFFSET of band_id {', '.join(lost)}, which Spectral_Information does not name")
    return {names[number]: value for number, value in told.items()}


def _missing(metadata: ElementTree.Element) -> float:
    for node in _nodes(metadata, "Special_Values"):
        if _text(node, "SPECIAL_VALUE_TEXT") == "NODATA":
            return float(_text(node, "SPECIAL_VALUE_INDEX"))
    return 0.0


def _grids(place: ElementTree.Element) -> dict[int, Tile]:
    """Return the grid of each resolution in m."""
    crs, name = _text(place, "HORIZONTAL_CS_CODE"), _text(place, "TILE_ID")
    shapes = {int(node.attrib["resolution"]): (int(_text(node, "NROWS")), int(_text(node, "NCOLS"))) for node in _nodes(place, "Size")}
    grids = {}
    for node in _nodes(place, "Geoposition"):
        metres = int(node.attrib["resolution"])
        west, north, dx, dy = (float(_text(node, tag)) for tag in ("ULX", "ULY", "XDIM", "YDIM"))
        grids[metres] = Tile(name, crs, (dx, 0.0, west, 0.0, dy, north), shapes[metres])
    return grids


def _footprint(metadata: ElementTree.Element) -> dict[str, Any] | None:
    """Return the outline of the imaged part as GeoJSON; ESA writes latitude before longitude, in old products with a height."""
    node = next(iter(_nodes(metadata, "EXT_POS_LIST")), None)
    if node is None or not node.text:
        return None
    values = [float(value) for value in node.text.split()]
    width = 3 if len(values) % 3 == 0 and all(value == 0 for value in values[2::3]) else 2
    ring = list(zip(values[1::width], values[0::width], strict=False))
    return {"type": "Polygon", "coordinates": [[list(point) for point in ring]]} if len(ring) >= 4 else None


def _checksums(product: Product) -> dict[str, str]:
    """Return the ``file:checksum`` of each file that ``manifest.safe`` tells one of."""
    path = next((path for path in product.files if path == "manifest.safe"), None)
    if path is None:
        return {}
    found = {}
    for node in _nodes(_parse(product, path), "byteStream"):
        location, checksum = node.find("fileLocation"), node.find("checksum")
        prefix = CHECKSUMS.get(str(checksum.get("checksumName")).upper()) if checksum is not None else None
        if location is not None and checksum is not None and prefix is not None and checksum.text:
            found[str(location.get("href")).removeprefix("./")] = prefix + checksum.text.strip().lower()
    return found


def _parse(product: Product, path: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(product.read(product.files[path]))
    except KeyError:
        raise BrokenProductError(f"product {product.name} has no {path}: get the product again") from None


def _nodes(element: ElementTree.Element, tag: str) -> Iterable[ElementTree.Element]:
    """Yield the descendants of a name, whatever their namespace, which changes with the baseline."""
    return (node for node in element.iter() if node.tag.rpartition("}")[2] == tag)


def _text(element: ElementTree.Element, tag: str, default: str | None = None) -> str:
    node = next(iter(_nodes(element, tag)), None)
    if node is not None and node.text:
        return node.text.strip()
    if default is None:
        raise ValueError(f"no {tag}")
    return default


def _moment(text: str) -> datetime:
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
