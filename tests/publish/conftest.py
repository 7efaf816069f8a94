"""A small study to publish: two years and an old map on two tiles that overlap."""

from types import SimpleNamespace

import numpy as np
import pytest
from rasterio.windows import Window

from landtide.core.cube import encode
from landtide.core.legend import Legend, LegendClass
from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.io.cube import create_cube, write_window
from landtide.io.raster import CogWriter
from landtide.publish.webmap import MapLayer

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def legend():
    """Three classes, two of the same colour, one with a hostile name."""
    return Legend("own", (LegendClass(1, "field", "#F2C14E"), LegendClass(2, HOSTILE, "#3F9142"), LegendClass(9, "lake", "#3F9142")))


@pytest.fixture(scope="session")
def save_raster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rasters")

    def save(name, values, tile, nodata=0):
        path = folder / f"{name}.tif"
        with CogWriter(path, tile, dtype="uint8", nodata=nodata) as writer:
            writer.write(values, Window(0, 0, tile.shape[1], tile.shape[0]))
        return str(path)

    return save


@pytest.fixture(scope="session")
def world(save_raster, tmp_path_factory):
    """Labels and confidence of 2020 and 2021, the old map and a cube, on tile A (600 x 700) and B, which begins 500 columns further."""
    rng = np.random.default_rng(5)
    a = Tile("31UFT", "EPSG:32631", (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_800_000.0), (600, 700))
    b = Tile("31UGT", "EPSG:32631", (10.0, 0.0, 605_000.0, 0.0, -10.0, 5_800_000.0), (600, 300))
    whole = {year: np.kron(rng.integers(1, 4, (60, 80)), np.ones((10, 10))).astype(np.uint8) for year in (2012, 2020, 2021)}
    for labels in whole.values():
        labels[:50, :70] = 0
    layers = []
    for tile, columns in ((a, slice(0, 700)), (b, slice(500, 800))):
        for year in (2020, 2021):
            labels = whole[year][:, columns]
            confidence = np.where(labels == 0, 255, 20 + 25 * labels).astype(np.uint8)
            layers.append(MapLayer("label", tile, save_raster(f"{tile.name}-{year}", labels, tile), year))
            layers.append(MapLayer("confidence", tile, save_raster(f"{tile.name}-{year}-c", confidence, tile, 255), year))
        layers.append(MapLayer("old_map", tile, save_raster(f"{tile.name}-old", whole[2012][:, columns], tile), 2012))
    cube = str(tmp_path_factory.mktemp("cube") / "cube.zarr")
    periods = Period.of_year(2021).split("P3M")
    create_cube(cube, a, periods, ("B02", "B03", "B04"))
    values = rng.uniform(0.02, 0.3, (4, 3, 600, 700)).astype(np.float32)
    values[:, :, :50, :70] = np.nan
    write_window(cube, Window(0, 0, 700, 600), encode(values), np.ones((4, 600, 700), np.uint8))
    layers.append(MapLayer("image", a, cube, 2021))
    return SimpleNamespace(tiles=(a, b), labels=whole, layers=tuple(layers), cube=cube, reflectance=values)
