"""The audit's folder: the list and the outlines to review, and a page with the surest polygons before and after."""

import base64
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pystac
import shapely
from rasterio.windows import Window
from shapely.affinity import affine_transform

import landtide
from landtide.core.legend import Legend
from landtide.core.tile import Tile
from landtide.io import manifest, storage
from landtide.io.cube import open_cube
from landtide.io.vector import read_polygons
from landtide.publish.images import channels, summer
from landtide.publish.pictures import encode, median, shade
from landtide.publish.webmap import page_environment

PUBLISHED = "published.json"
SHOWN = 200
"""Pixels along the side of a picture: more land than that is shown coarser."""

WIDEST = 600
"""Pixels of the cube that are read for one picture at most, so that a polygon as large as a tile costs no more than others."""

MARGIN = 0.25
"""Of a polygon's extent, around it: what it borders on tells a reviewer most."""

STRETCH = (1, 98)
"""Percentiles of a polygon's surroundings, both years together, that become black and full."""

LEAST = 32
"""Pixels along the side of a picture at least."""


@dataclass(frozen=True)
class Audit:
    """What is published of an audit."""

    study: str
    legend: Legend
    item: pystac.Item
    """Manifest of the audit."""

    cubes: dict[str, dict[int, str]]
    """Tile -> year -> URI."""

    map_year: int | None
    chips: int
    """Polygons with pictures."""


def audit_content(made: Audit) -> str:
    """Return the id of what the audit's folder shows."""
    return manifest.content_id("audit-page/1", {"chips": made.chips}, [manifest.source_of(made.item)])


def publish_audit(folder: str, made: Audit) -> None:
    """Write the list, the outlines and, last, the page. Outlines that somebody has worked on in the folder are left as they are."""
    name = _free_name(folder, made)
    _copy(made.item.assets["polygons"].href, storage.join(folder, name))
    _copy(made.item.assets["csv"].href, storage.join(folder, "audit.csv"))
    table = read_polygons(made.item.assets["polygons"].href).head(made.chips)
    record = storage.read_json(made.item.assets["summary"].href)
    storage.write_bytes(storage.join(folder, "index.html"), render(made, record, table, name).encode())
    digests = {**_published(folder).get("outlines", {}), name: storage.sha256(storage.join(folder, name))}
    storage.write_json(storage.join(folder, PUBLISHED), {"id": audit_content(made), "outlines": digests})


def _published(folder: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = storage.read_json(storage.join(folder, PUBLISHED))
    except FileNotFoundError:
        return {}
    return record


def _free_name(folder: str, made: Audit) -> str:
    """Return the name for the outlines: another one where the usual file is no longer as it was written, for it holds reviews."""
    usual, written = "audit.gpkg", _published(folder).get("outlines", {})
    there = storage.join(folder, usual)
    own = str(made.item.assets["polygons"].extra_fields["file:checksum"])
    if not storage.exists(there) or (digest := storage.sha256(there)) == written.get(usual) or own.endswith(digest):
        return usual
    return f"audit-{made.item.id[:8]}.gpkg"


def _copy(source: str, target: str) -> None:
    with tempfile.TemporaryDirectory(prefix="landtide-") as scratch:
        local = Path(scratch) / "copy"
        storage.download(source, local)
        storage.upload(local, target)


def render(made: Audit, summary: dict[str, Any], table: gpd.GeoDataFrame, outlines: str) -> str:
    """Return the page as HTML.

    summary   ``summary.json`` of `landtide.extract.audit`
    table     the polygons to show
    outlines  name of the file with the outlines, beside the page
    """
    return (
        page_environment()
        .get_template("audit.html")
        .render(
            study=made.study,
            version=landtide.__version__,
            summary=summary,
            cards=_cards(made, table),
            colors=dict(zip(made.legend.names, (item.color for item in made.legend.classes), strict=True)),
            legend=made.legend.classes,
            outlines=outlines,
        )
    )


def _cards(made: Audit, table: gpd.GeoDataFrame) -> list[dict[str, Any]]:
    """Return what the page shows of each polygon: its record, a picture of the first and of the last year, and its outline."""
    tiles = {name: open_cube(next(iter(years.values()))).tile for name, years in made.cubes.items()}
    shapes = {tile.crs: table.geometry.to_crs(tile.crs) for tile in tiles.values()}
    cards = []
    for place, row in enumerate(table.drop(columns="geometry").to_dict("records")):
        name = str(row["tile"]).split()[0]
        tile, years = tiles[name], sorted(made.cubes[name])
        first = made.map_year if made.map_year in years else years[0]
        window, step = view_of(tile, shapes[tile.crs].iloc[place])
        shown = [first, years[-1]] if first != years[-1] else [first]
        pictures = _pictures(tile, [made.cubes[name][year] for year in shown], window, step)
        told = [{"year": year, "src": picture} for year, picture in zip(shown, pictures, strict=True)]
        height, width = -(-int(window.height) // step), -(-int(window.width) // step)
        path = outline_path(shapes[tile.crs].iloc[place], tile.crop(window), step)
        since = None if pd.isna(row["since"]) else int(row["since"])
        cards.append({**row, "since": since, "pictures": told, "width": width, "height": height, "path": path})
    return cards


def _pictures(tile: Tile, cubes: list[str], window: Window, step: int) -> list[str]:
    """Return a window of each cube as a picture, the colours stretched alike: what looks different is different."""
    seen = []
    for uri in cubes:
        cube = open_cube(uri)
        values = cube.read(window)[list(summer(cube.periods, tile))][:, list(channels(cube.bands)), ::step, ::step]  # (S, C, h, w)
        seen.append(median(values))
    every = np.concatenate([values.reshape(len(values), -1) for values in seen], axis=1)  # (C, n)
    low, high = (0.0,) * len(every), (0.3,) * len(every)
    if not np.isnan(every).all(axis=1).any():
        found = np.nanpercentile(every, STRETCH, axis=1)
        low, high = tuple(found[0].tolist()), tuple(np.maximum(found[1], found[0] + 0.02).tolist())
    return [f"data:image/webp;base64,{base64.b64encode(encode(shade(values, low, high), 'image', None)).decode()}" for values in seen]


def view_of(tile: Tile, shape: shapely.Geometry) -> tuple[Window, int]:
    """Return the square window of a tile that shows a polygon with its surroundings, and the step by which its pixels are taken."""
    within = shapely.intersection(shape, shapely.box(*tile.bounds))
    west, south, east, north = (shape if within.is_empty else within).bounds
    left, top = ~tile.affine @ (west, north)
    right, bottom = ~tile.affine @ (east, south)
    side = min(WIDEST, max(LEAST, round(max(right - left, bottom - top) * (1 + 2 * MARGIN))))
    corner = [
        int(np.clip(round((low + high - side) / 2), 0, max(0, size - side)))
        for low, high, size in ((top, bottom, tile.shape[0]), (left, right, tile.shape[1]))
    ]
    height, width = min(side, tile.shape[0]), min(side, tile.shape[1])
    return Window(corner[1], corner[0], width, height), -(-max(height, width) // SHOWN)


def outline_path(shape: shapely.Geometry, tile: Tile, step: int) -> str:
    """Return the outline as the path of an SVG whose unit is a pixel of the picture; it may leave the picture, which cuts it off."""
    inverse = ~tile.affine
    pixels = affine_transform(
        shape, [inverse.a / step, inverse.b / step, inverse.d / step, inverse.e / step, inverse.c / step, inverse.f / step]
    )
    simple = shapely.intersection(pixels.simplify(0.4), shapely.box(-9, -9, tile.shape[1] / step + 9, tile.shape[0] / step + 9))
    parts = [part for part in getattr(simple, "geoms", [simple]) if part.geom_type == "Polygon"]
    rings = [ring for part in parts for ring in (part.exterior, *part.interiors)]
    return "".join("M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in ring.coords[:-1]) + "Z" for ring in rings)
