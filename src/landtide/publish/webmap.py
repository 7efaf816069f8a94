"""The static web map: pictures of every layer, a description of them, and the pages that show them."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from rasterio.warp import transform as reproject

from landtide.core.landcover import DO_NOT_KNOW
from landtide.core.legend import Legend
from landtide.core.tile import Tile
from landtide.io import storage
from landtide.io.cube import open_cube
from landtide.publish import words
from landtide.publish.charts import color
from landtide.publish.images import channels, color_stretch, summer
from landtide.publish.pictures import (
    CubeSource,
    RasterSource,
    Source,
    Style,
    confidence_palette,
    decode,
    encode,
    label_palette,
)
from landtide.publish.pyramid import SIDE, Grid, Layer, build, common_grids

SCRIPTS = ("grid.js", "pictures.js", "map.js", "panel.js", "viewer.js")
LATTICE = 9
"""Points a side at which longitude and latitude are given; bilinear in between is right to about a metre on a Sentinel-2 tile."""

STYLES: dict[str, Style] = {"label": "label", "old_map": "label", "confidence": "confidence", "image": "image"}


@dataclass(frozen=True)
class MapLayer:
    """What one tile has of one year."""

    kind: Literal["label", "confidence", "old_map", "image"]
    tile: Tile
    uri: str
    """COG of labels or confidence; for an image the cube (Zarr)."""

    year: int | None = None
    """None: an old map whose year is not known."""


@dataclass(frozen=True)
class Site:
    """What the web map shows."""

    title: str
    legend: Legend
    layers: tuple[MapLayer, ...]
    old_map: str = "Old map"
    """Name of the old map for people."""

    links: tuple[tuple[str, str], ...] = (("Accuracy report", "report.html"), ("STAC catalog", "catalog.json"))
    """Title and relative address of what stands beside the web map."""


def write_viewer(published_uri: str, site: Site, pool: Any = None) -> dict[str, Any]:
    """Write the web map and return its description, which also stands in ``layers.json``.

    The pages come last and ``index.html`` at the very end: a reader never meets a page whose pictures are missing.
    """
    tiles = list({layer.tile.name: layer.tile for layer in site.layers}.values())
    stretch = color_stretch([(layer.tile, layer.uri) for layer in site.layers if layer.kind == "image"])
    grids = common_grids(tiles)
    scenes = [_write_scene(published_uri, site, grid, members, len(grids), stretch, pool) for grid, members in grids]
    record = _describe(site, scenes)
    storage.write_json(storage.join(published_uri, "layers.json"), record)
    _write_pages(published_uri, site, record)
    return record


def thumbnails(published_uri: str, record: dict[str, Any], size: int = 640) -> Iterable[dict[str, Any]]:
    """Yield a small picture of every layer, from the pyramid: ``scene``, ``title``, ``kind``, ``year``, ``width``, ``height``,
    ``media_type``, ``image`` (bytes).

    The largest level that is no larger than ``size`` pixels a side is taken.
    """
    for scene in record["scenes"]:
        z = scene["levels"]
        while z > 0 and max(scene["width"], scene["height"]) >> (scene["levels"] - z) > size:
            z -= 1
        shrink = scene["levels"] - z
        width, height = -(-scene["width"] >> shrink), -(-scene["height"] >> shrink)
        for layer in scene["layers"]:
            folder = storage.join(published_uri, "tiles", scene["id"], layer["id"], str(z))
            values = _stitch(folder, layer, width, height, SIDE << shrink)
            yield {
                **{key: layer[key] for key in ("kind", "year", "title")},
                "scene": scene["title"],
                "width": width,
                "height": height,
                "media_type": "image/webp" if layer["kind"] == "image" else "image/png",
                "image": _picture(values, layer, record),
            }


def _write_scene(
    published_uri: str,
    site: Site,
    grid: Grid,
    tiles: list[Tile],
    count: int,
    stretch: tuple[tuple[float, ...], tuple[float, ...]],
    pool: Any,
) -> dict[str, Any]:
    """Write the pictures of every layer of one grid; return the scene's description."""
    names = {tile.name for tile in tiles}
    title = tiles[0].name if len(tiles) == 1 else f"{len(tiles)} tiles, {grid.crs}"
    scene_id = _plain(tiles[0].name if len(tiles) == 1 or count > 1 else grid.crs)
    held: dict[tuple[str, int | None], list[MapLayer]] = {}
    for layer in site.layers:
        if layer.tile.name in names:
            held.setdefault((layer.kind, layer.year), []).append(layer)
    area = tiles[0].pixel_area
    described = []
    for (kind, year), members in held.items():
        name = kind if year is None else f"{kind}-{year}"
        uri = storage.join(published_uri, "tiles", scene_id, name)
        built = Layer(name, STYLES[kind], grid, _sources(kind, members, stretch), uri, _palette(kind, site.legend))
        counts = build(built, pool)
        described.append(
            {
                "id": name,
                "kind": kind,
                "year": year,
                "title": _title(site, kind, year),
                "suffix": built.suffix,
                "boxes": built.boxes,
                "hectares": {str(label): round(counts[label] * area, 2) for label in [*range(1, len(site.legend) + 1), DO_NOT_KNOW]}
                if STYLES[kind] == "label"
                else None,
            }
        )
    return {
        "id": scene_id,
        "title": title,
        "crs": grid.crs,
        "transform": list(grid.transform),
        "width": grid.shape[1],
        "height": grid.shape[0],
        "levels": grid.levels,
        "lonlat": _lattice(grid),
        "layers": described,
        "downloads": [
            {"title": f"{layer.tile.name} {layer.year}", "href": f"maps/{layer.tile.name}/{layer.year}.tif"}
            for layer in site.layers
            if layer.kind == "label" and layer.tile.name in names
        ],
    }


def _describe(site: Site, scenes: list[dict[str, Any]]) -> dict[str, Any]:
    palette = label_palette([item.rgb for item in site.legend.classes])
    classes = [
        {"label": label, "name": item.name, "color": _hex(palette[label])} for label, item in enumerate(site.legend.classes, start=1)
    ]
    unknown = str(DO_NOT_KNOW)
    if any((layer["hectares"] or {}).get(unknown) for scene in scenes for layer in scene["layers"]):
        classes.append({"label": DO_NOT_KNOW, "name": "do not know", "color": _hex(palette[DO_NOT_KNOW])})
    version = storage.digest(json.dumps([[layer.kind, layer.year, layer.uri] for layer in site.layers]).encode())[:12]
    return {
        "title": site.title,
        "version": version,
        "legend": classes,
        "confidence": [_hex(color) for color in confidence_palette()[:101]],
        "links": [{"title": title, "href": href} for title, href in site.links],
        "scenes": scenes,
    }


def _write_pages(published_uri: str, site: Site, record: dict[str, Any]) -> None:
    """Write scripts, style, ``layers.js`` (pages opened as files may not fetch JSON) and, last, ``index.html``."""
    folder = resources.files("landtide.publish") / "viewer"
    for name in (*SCRIPTS, "viewer.css"):
        storage.write_bytes(storage.join(published_uri, name), (folder / name).read_bytes())
    text = json.dumps(record, separators=(",", ":")).replace("<", "\\u003c")
    storage.write_bytes(storage.join(published_uri, "layers.js"), f"window.LANDTIDE_LAYERS = {text};\n".encode())
    page = page_environment().get_template("index.html").render(title=site.title, record=record, scripts=SCRIPTS)
    storage.write_bytes(storage.join(published_uri, "index.html"), page.encode())


def page_environment() -> Environment:
    """Return the template environment of every page: everything is escaped unless it was made by our own chart functions."""
    environment = Environment(
        loader=PackageLoader("landtide.publish", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("percent", "share", "points", "count", "hectares", "gigabytes", "duration"):
        environment.filters[name] = getattr(words, name)
    environment.filters["color"] = color
    return environment


def _sources(kind: str, members: list[MapLayer], stretch: tuple[tuple[float, ...], tuple[float, ...]]) -> tuple[Source, ...]:
    if kind != "image":
        return tuple(RasterSource(layer.tile, layer.uri) for layer in members)
    found = []
    for layer in members:
        cube = open_cube(layer.uri)
        found.append(CubeSource(layer.tile, layer.uri, channels(cube.bands), summer(cube.periods, layer.tile), *stretch))
    return tuple(found)


def _palette(kind: str, legend: Legend) -> np.ndarray | None:
    if kind == "image":
        return None
    return confidence_palette() if kind == "confidence" else label_palette([item.rgb for item in legend.classes])


def _title(site: Site, kind: str, year: int | None) -> str:
    names = {"label": "Land cover", "old_map": site.old_map, "confidence": "Confidence", "image": "Satellite image"}
    return names[kind] if year is None else f"{names[kind]} {year}"


def _lattice(grid: Grid) -> dict[str, list[list[float]]]:
    """Return longitude and latitude at evenly spaced points of a grid, edges included, row by row."""
    a, b, west, d, e, north = grid.transform
    down, right = np.meshgrid(np.linspace(0, grid.shape[0], LATTICE), np.linspace(0, grid.shape[1], LATTICE), indexing="ij")
    x, y = west + a * right + b * down, north + d * right + e * down
    lon, lat = reproject(grid.crs, "EPSG:4326", x.ravel().tolist(), y.ravel().tolist())
    shaped = {"lon": np.reshape(lon, x.shape), "lat": np.reshape(lat, x.shape)}
    return {name: np.round(values, 7).tolist() for name, values in shaped.items()}


def _stitch(folder: str, layer: dict[str, Any], width: int, height: int, span: int) -> np.ndarray:
    """Join the pictures of one level into one array; ``span`` is a picture's side in full-resolution pixels."""
    whole: np.ndarray | None = None
    for x in range(-(-width // SIDE)):
        for y in range(-(-height // SIDE)):
            if not any(
                left < (x + 1) * span and right > x * span and top < (y + 1) * span and bottom > y * span
                for left, top, right, bottom in layer["boxes"]
            ):
                continue
            block = decode(storage.read_bytes(storage.join(folder, str(x), f"{y}.{layer['suffix']}")))
            if whole is None:
                fill = 255 if layer["kind"] == "confidence" else 0
                whole = np.full((-(-height // SIDE) * SIDE, -(-width // SIDE) * SIDE, *block.shape[2:]), fill, np.uint8)
            whole[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE] = block
    assert whole is not None
    return whole[:height, :width]


def _picture(values: np.ndarray, layer: dict[str, Any], record: dict[str, Any]) -> bytes:
    if layer["kind"] == "image":
        return encode(values, "image", None)
    colors = {item["label"]: item["color"] for item in record["legend"]}
    if layer["kind"] == "confidence":
        colors = dict(enumerate(record["confidence"]))
    palette = np.zeros((256, 3), np.uint8)
    for value, text in colors.items():
        palette[value] = [int(text[at : at + 2], 16) for at in (1, 3, 5)]
    return encode(values, STYLES[layer["kind"]], palette)


def _hex(color: np.ndarray) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in color)


def _plain(name: str) -> str:
    """Return a name that is safe in a path and an address."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-").lower() or "area"
