"""Publish the STAC catalog: a Catalog, a Collection of the study, and an Item for every tile and year.

All links within the published folder are relative, so the folder can be copied to any static host. Times come from the maps and not from
the clock: publishing the same maps again gives the same bytes.
"""

import re
from collections.abc import Mapping
from typing import Any

import landtide
from landtide.core.landcover import DO_NOT_KNOW, NO_CONFIDENCE, NO_DATA
from landtide.core.legend import Legend
from landtide.core.period import Period
from landtide.io import storage
from landtide.io.manifest import MULTIHASH_SHA256
from landtide.publish.maps import PublishedFile, PublishedMap

STAC_VERSION = "1.1.0"
EXTENSIONS = [
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
]
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
JSON, GEOJSON, HTML, QML = "application/json", "application/geo+json", "text/html", "application/xml"
DOCUMENTS = {
    "report": ("report.json", JSON, "Accuracy, areas and agreement", ["metadata"]),
    "report_page": ("report.html", HTML, "Report for people", ["overview"]),
    "viewer": ("index.html", HTML, "Web map", ["visual"]),
}
"""What may stand beside the maps; it is listed where it is there."""

LINEAGE = (
    "Sentinel-2 acquisitions, masked and reduced to a regular series of composites; one classifier for all years, trained on the labels "
    "that the study gives (an outdated map, points, or both), applied to each pixel of each year."
)
NOTICE = "Contains modified Copernicus Sentinel data"


def write_catalog(
    published: str,
    *,
    study: str,
    legend: Legend,
    maps: list[PublishedMap],
    acquisitions: Mapping[tuple[str, int], list[str]] | None = None,
    notice: str = NOTICE,
) -> str:
    """Write items, collection and, last of all, ``catalog.json``; return its URI.

    acquisitions  (tile, year) -> hrefs of the acquisitions that the map rests on; they become ``derived_from`` links. Those of the
                  map's own manifest come beside them, so that a pixel can be traced through every step
    notice        attribution that the source of the images asks for

    Readers find maps through the catalog alone, so they never meet a map that is not there yet.
    """
    for item in maps:
        hrefs = [*_lineage(published, item), *(acquisitions or {}).get((item.tile.name, item.year), [])]
        storage.write_json(storage.join(published, _item_href(item)), _item(study, legend, item, hrefs))
    storage.write_json(storage.join(published, "collection.json"), _collection(published, study, legend, maps, notice))
    root = storage.join(published, "catalog.json")
    storage.write_json(root, _catalog(study))
    return root


def read_acquisitions(items_uri: str) -> list[str]:
    """Return the self hrefs of the acquisitions in a retrieval's ``items.json``, their id where they have none."""
    features = storage.read_json(items_uri)["features"]
    return [next((link["href"] for link in item.get("links", []) if link["rel"] == "self"), item["id"]) for item in features]


def class_list(legend: Legend) -> list[dict[str, Any]]:
    """Return ``classification:classes`` of the label maps; names are slugs, as the extension asks, titles are the legend's own."""
    slugs = [_slug(name) for name in legend.names]
    classes: list[dict[str, Any]] = [{"value": NO_DATA, "name": "no-data", "title": "no data", "nodata": True}]
    for label, item in enumerate(legend.classes, start=1):
        name = slugs[label - 1]
        unique = bool(name) and slugs.count(name) == 1  # names in other scripts leave nothing of themselves
        classes.append(
            {"value": label, "name": name if unique else f"class-{label}", "title": item.name, "color_hint": item.color[1:].upper()}
        )
    classes.append({"value": DO_NOT_KNOW, "name": "do-not-know", "title": "do not know", "color_hint": "808080"})
    return classes


def _catalog(study: str) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": f"{study}-catalog",
        "title": f"Land cover of {study}",
        "description": f"Annual land-cover maps of the study {study}.",
        "links": [
            {"rel": "root", "href": "./catalog.json", "type": JSON},
            {"rel": "child", "href": "./collection.json", "type": JSON, "title": f"Annual land cover, {study}"},
        ],
    }


def _collection(published: str, study: str, legend: Legend, maps: list[PublishedMap], notice: str) -> dict[str, Any]:
    boxes = [item.tile.lonlat_bounds() for item in maps]
    years = sorted({item.year for item in maps})
    start, end = Period.of_year(years[0]).interval().split("/")[0], Period.of_year(years[-1]).interval().split("/")[1]
    union = [min(box[0] for box in boxes), min(box[1] for box in boxes), max(box[2] for box in boxes), max(box[3] for box in boxes)]
    each = [list(box) for box in dict.fromkeys(boxes)]
    summaries: dict[str, Any] = {"proj:code": sorted({item.tile.crs for item in maps}), "landtide:year": years}
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": EXTENSIONS,
        "id": study,
        "title": f"Annual land cover, {study}",
        "description": f"One land-cover map a year of the study {study}. {LINEAGE} {notice}.",
        "keywords": ["land cover", "Sentinel-2", "classification"],
        "license": "other",
        "providers": [{"name": "Copernicus, European Union", "roles": ["producer", "licensor"], "url": "https://dataspace.copernicus.eu"}],
        "extent": {"spatial": {"bbox": [union, *each] if len(each) > 1 else each}, "temporal": {"interval": [[start, end]]}},
        "summaries": summaries,
        "item_assets": {"label": _without_file(_label_asset(legend)), "confidence": _without_file(_confidence_asset())},
        "assets": {
            key: {"href": f"./{name}", "type": media, "title": title, "roles": roles}
            for key, (name, media, title, roles) in DOCUMENTS.items()
            if storage.exists(storage.join(published, name))
        },
        "links": [
            {"rel": "root", "href": "./catalog.json", "type": JSON},
            {"rel": "parent", "href": "./catalog.json", "type": JSON},
            *({"rel": "item", "href": f"./{_item_href(item)}", "type": GEOJSON} for item in maps),
        ],
    }


def _item(study: str, legend: Legend, item: PublishedMap, derived_from: list[str]) -> dict[str, Any]:
    tile, told = item.tile, item.manifest.properties
    start, end = Period.of_year(item.year).interval().split("/")
    properties: dict[str, Any] = {
        "title": f"Land cover {item.year}, {tile.name}",
        "datetime": None,
        "start_datetime": start,
        "end_datetime": end,
        **{key: told[key] for key in ("created", "landtide:model") if key in told},
        "gsd": tile.pixel_size,
        "proj:code": tile.crs,
        "proj:shape": list(tile.shape),
        "proj:transform": list(tile.transform),
        "proj:bbox": list(tile.bounds),
        "processing:lineage": LINEAGE,
        "processing:software": told.get("processing:software", {"landtide": landtide.__version__}),
        "processing:version": landtide.__version__,
        "landtide:tile": tile.name,
        "landtide:year": item.year,
        "landtide:legend": legend.name,
    }
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": EXTENSIONS,
        "id": f"{study}-{tile.name}-{item.year}",
        "collection": study,
        "geometry": tile.footprint(),
        "bbox": list(tile.lonlat_bounds()),
        "properties": properties,
        "links": [
            {"rel": "root", "href": "../../catalog.json", "type": JSON},
            {"rel": "parent", "href": "../../collection.json", "type": JSON},
            {"rel": "collection", "href": "../../collection.json", "type": JSON},
            *({"rel": "derived_from", "href": href, "type": GEOJSON} for href in derived_from),
        ],
        "assets": _assets(legend, item),
    }


def _assets(legend: Legend, item: PublishedMap) -> dict[str, Any]:
    grid = {"raster:spatial_resolution": item.tile.pixel_size}
    templates = {
        "label": {**_label_asset(legend), **grid},
        "confidence": {**_confidence_asset(), **grid},
        "probability": {**_probability_asset(legend), **grid},
        "style": {"type": QML, "title": "QGIS style", "roles": ["metadata"]},
    }
    return {key: {"href": f"./{file.href.rsplit('/', 1)[-1]}", **templates[key], **_file_fields(file)} for key, file in item.files.items()}


def _label_asset(legend: Legend) -> dict[str, Any]:
    return {
        "type": COG,
        "title": "Land cover",
        "roles": ["data"],
        "data_type": "uint8",
        "nodata": NO_DATA,
        "raster:sampling": "area",
        "classification:classes": class_list(legend),
        "bands": [{"name": "label", "description": "Class: 1..K in legend order"}],
    }


def _confidence_asset() -> dict[str, Any]:
    return {
        "type": COG,
        "title": "Confidence",
        "roles": ["metadata"],
        "data_type": "uint8",
        "nodata": NO_CONFIDENCE,
        "unit": "%",
        "raster:sampling": "area",
        "bands": [{"name": "confidence", "description": "Probability of the class, as the classifier sees it"}],
    }


def _probability_asset(legend: Legend) -> dict[str, Any]:
    bands = [{"name": _slug(name), "description": f"Probability of {name}"} for name in legend.names]
    return {**_confidence_asset(), "title": "Class probabilities", "roles": ["data"], "bands": bands}


def _without_file(asset: dict[str, Any]) -> dict[str, Any]:
    """Return an asset as a collection tells it for all items."""
    return {key: asset[key] for key in asset if not key.startswith("file:")}


def _lineage(published: str, item: PublishedMap) -> list[str]:
    """Return the manifest of a map and those it was made from; relative where they lie in the study's own folder."""
    hrefs = [item.manifest.get_self_href(), *(link.href for link in item.manifest.links if link.rel == "derived_from")]
    home = storage.parent(published) + "/"
    return [f"../../../{href.removeprefix(home)}" if href.startswith(home) else href for href in hrefs if href]


def _file_fields(file: PublishedFile) -> dict[str, Any]:
    return {"file:checksum": MULTIHASH_SHA256 + file.sha256, "file:size": file.size}


def _item_href(item: PublishedMap) -> str:
    return f"maps/{item.tile.name}/{item.year}.json"


def _slug(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z_]+", "-", name).strip("-").lower()
