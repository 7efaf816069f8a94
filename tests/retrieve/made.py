"""Small catalogs, studies and a file server for the tests of retrieval."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from landtide.core.period import Period
from landtide.core.study import Study, parse_study
from landtide.core.tile import Tile
from landtide.io import storage
from landtide.io.manifest import Key, writing
from landtide.retrieve import fetch

TILE = Tile("31UFS", "EPSG:32631", (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_700_000.0), (40, 50))


class Here:
    """A pool of no workers: everything in this process."""

    def map(self, function: Callable[[Any], Any], arguments: Iterable[Any], /) -> Iterator[Any]:
        return map(function, arguments)


def make_study(folder: Path, **keys: Any) -> Study:
    """Return a study; keys of the file as given."""
    record = {
        "name": "test",
        "area": {"catalog-extent": True},
        "years": [2020],
        "bands": ["B04"],
        "points": "points.csv",
        "mask": None,
        "workspace": str(folder / "work"),
        **keys,
    }
    return parse_study(json.dumps(record), str(folder), date(2026, 1, 1))


def write_tiff(path: Path, array: np.ndarray, tile: Tile, *, nodata: float | None = 0, block: int = 16) -> Path:
    """Write one band on a tile's grid, tiled, so that a cut file still opens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": 1, "height": array.shape[0], "width": array.shape[1], "dtype": array.dtype}
    with rasterio.open(
        path, "w", **profile, crs=tile.crs, transform=tile.affine, nodata=nodata, tiled=True, blockxsize=block, blockysize=block
    ) as out:
        out.write(array, 1)
    return path


def write_item(folder: Path, name: str, when: str, arrays: dict[str, np.ndarray], tile: Tile = TILE, **properties: Any) -> Path:
    """Write an item of a static catalog with one GeoTIFF an asset."""
    home = folder / "items" / name
    assets = {}
    for key, array in arrays.items():
        write_tiff(home / f"{key}.tif", array, tile)
        band = {"raster:scale": 1e-4, "raster:offset": 0} if array.dtype == np.uint16 else {}
        assets[key] = {"href": f"./{key}.tif", "type": "image/tiff", "roles": ["data"], "bands": [{"name": key, "nodata": 0, **band}]}
    record = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "geometry": tile.footprint(),
        "bbox": list(tile.lonlat_bounds()),
        "properties": {
            "datetime": when,
            "constellation": "sentinel-2",
            "proj:code": tile.crs,
            "proj:transform": list(tile.transform),
            "proj:shape": list(tile.shape),
            **properties,
        },
        "links": [],
        "assets": assets,
    }
    path = home / f"{name}.json"
    path.write_text(json.dumps(record))
    return path


def write_collection(folder: Path, name: str = "made") -> Path:
    """Write the collection of the items that lie under a folder."""
    links = [{"rel": "item", "href": f"./items/{path.stem}/{path.name}"} for path in sorted(folder.glob("items/*/*.json"))]
    path = folder / "collection.json"
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    record = {"type": "Collection", "stac_version": "1.1.0", "id": name, "description": name, "license": "other", "extent": extent}
    path.write_text(json.dumps({**record, "links": links}))
    return path


def truncate(path: Path, keep: float = 0.6) -> None:
    """Cut a file off, as a download that broke does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def red(seed: int = 0, low: int = 200, high: int = 600) -> np.ndarray:
    """Return digital numbers on `TILE`."""
    return np.random.default_rng(seed).integers(low, high, TILE.shape).astype(np.uint16)


def run_fetch(study: Study, tile: Tile, year: int) -> tuple[list[dict[str, Any]], dict[str, Any], Any]:
    """Fetch a tile and year; return the items, the report and the manifest."""
    key = Key(study.workspace, study.name, "retrieve", tile.name, str(year), "id")
    with writing(key, period=Period.of_year(year), tile=tile) as out:
        fetch(study, tile, year, out, Here())
    return storage.read_json(out.path("items.json"))["features"], storage.read_json(out.path("retrieval.json")), out.item


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder with ranges; counts the bytes of bodies."""

    served: list[str]

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        asked = self.headers.get("Range")
        self.served.append(self.path)
        if asked is None:
            self.send_response(200)
        else:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
            data = data[start : end + 1]
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(data)


class RecordedApi(BaseHTTPRequestHandler):
    """A STAC API that gives recorded answers to searches, one after the other, and keeps what it was asked."""

    landing: dict[str, Any]
    answers: list[dict[str, Any]]
    asked: list[dict[str, Any]]
    home: str

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(self.landing)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        empty = {"type": "FeatureCollection", "features": [], "links": []}
        self._answer(self.answers[len(self.asked) - 1] if len(self.asked) <= len(self.answers) else empty)

    def _answer(self, record: dict[str, Any]) -> None:
        local = f"http://{self.headers['Host']}"
        data = json.dumps(record).replace(self.home, local).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
