"""Hand-made scenes: rasters on disk, the items.json that retrieval would write for them, and one call that composites them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from landtide import composite
from landtide.core.indices import Index
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.core.tile import Tile
from landtide.io import cube, manifest, storage
from landtide.io.embedding import Embedding
from landtide.launch.workers import open_pool


@pytest.fixture
def write_raster(tmp_path: Path) -> Callable[..., str]:
    """Write an array as a GeoTIFF with the upper left corner of the tile; returns its path."""

    def write(name: str, array: np.ndarray, corner: tuple[float, float] = (600000, 5100000), size: float = 10, **options: Any) -> str:
        path = tmp_path / f"{name}.tif"
        options = {"crs": "EPSG:32633", "nodata": None, "tiled": True, "blockxsize": 128, "blockysize": 128, **options}
        transform = rasterio.Affine(size, 0, corner[0], 0, -size, corner[1])
        rows, columns = array.shape
        with rasterio.open(
            path, "w", driver="GTiff", width=columns, height=rows, count=1, dtype=array.dtype, transform=transform, **options
        ) as dataset:
            dataset.write(array, 1)
        return str(path)

    return write


@pytest.fixture
def make_tile() -> Callable[..., Tile]:
    """Return a 10 m tile of a shape."""

    def make(rows: int, columns: int) -> Tile:
        return Tile("33TVM", "EPSG:32633", (10.0, 0.0, 600000.0, 0.0, -10.0, 5100000.0), (rows, columns))

    return make


@pytest.fixture
def item() -> Callable[..., dict[str, Any]]:
    """Return a STAC item as retrieval prepares it; `when` is a datetime or a start/end interval."""

    def make(identifier: str, when: str, assets: dict[str, dict[str, Any]]) -> dict[str, Any]:
        start, _, end = when.partition("/")
        times = {"datetime": None, "start_datetime": start, "end_datetime": end} if end else {"datetime": start}
        record = {"type": "Feature", "stac_version": "1.1.0", "stac_extensions": [], "geometry": None, "links": []}
        return {**record, "id": identifier, "properties": times, "assets": assets}

    return make


@pytest.fixture
def asset() -> Callable[..., dict[str, Any]]:
    """Return an asset as retrieval prepares it."""

    def make(href: str, scale: float = 1e-4, offset: float = 0.0, nodata: float | None = 0) -> dict[str, Any]:
        return {"href": href, "raster:scale": scale, "raster:offset": offset, "nodata": nodata}

    return make


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[cube.Cube, dict[str, Any], Any]]:
    """Composite items; returns the open cube, the report and the manifest."""

    def composite_items(
        items: list[dict[str, Any]],
        tile: Tile,
        year: int = 2021,
        *,
        bands: tuple[str, ...] = ("B04",),
        mask: Mask | None = None,
        memory: int = 2**30,
        workers: int = 1,
        slabs: int = 1,
        folder: str | None = None,
        indices: tuple[Index, ...] = (),
        embedding: Embedding | None = None,
        **settings: Any,
    ) -> tuple[cube.Cube, dict[str, Any], Any]:
        items_uri = str(tmp_path / "items.json")
        storage.write_json(items_uri, {"type": "FeatureCollection", "features": items})
        workspace = folder or str(tmp_path / f"work-{len(list(tmp_path.glob('work-*')))}")
        key = manifest.Key(workspace, "study", "composite", tile.name, str(year), "0")
        with open_pool(workers, 1, 2**30) as pool, manifest.writing(key, tile=tile, period=Period.of_year(year)) as out:
            composite.build(
                items_uri,
                tile,
                year,
                bands=bands,
                mask=mask,
                settings=Composite(**settings),
                memory=memory,
                out=out,
                pool=pool,
                slabs=slabs,
                indices=indices,
                embedding=embedding,
            )
        written = out.item
        return cube.open_cube(written.assets["cube"].href), storage.read_json(written.assets["report"].href), written

    return composite_items
