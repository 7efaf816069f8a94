"""Series without labels: every place with all its years, as the cubes have them."""

from pathlib import Path

import numpy as np
from rasterio.windows import Window

from landtide.core.cube import NODATA
from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.extract.unlabelled import draw_unlabelled
from landtide.io import manifest, table
from landtide.io.cube import create_cube, open_cube, write_window

TILE = Tile("33TVM", "EPSG:32633", (10.0, 0.0, 600000.0, 0.0, -10.0, 5100000.0), (200, 160))
BANDS = ("B04", "B08")


def test_places_come_with_all_their_years_and_never_seen_ones_not_at_all(tmp_path: Path) -> None:
    cubes = {"33TVM": {year: str(tmp_path / f"{year}.zarr") for year in (2018, 2019)}}
    for year, uri in cubes["33TVM"].items():
        create_cube(uri, TILE, Period.of_year(year).split("P6M"), BANDS)
        values = np.random.default_rng(year).integers(0, 5000, (2, 2, 200, 160)).astype(np.int16)
        values[:, :, :50] = NODATA  # a quarter of the tile that no year sees
        write_window(uri, Window(0, 0, 160, 200), values, np.ones((2, 200, 160), np.uint8))
    key = manifest.Key(str(tmp_path), "s", "unlabelled", "all", "2018", "0" * 16)
    with manifest.writing(key, period=Period.of_year(2018)) as out:
        draw_unlabelled(cubes, 400, 1, out)
    found = table.read_samples(out.item.assets["samples"].href)
    columns, rows = (found.xy - [600000, 5100000]).T / [[10], [-10]] - 0.5
    rows, columns = rows.round().astype(int), columns.round().astype(int)
    assert rows.min() >= 50
    assert 200 < len(found) <= 2 * 400
    assert (found.y == 0).all()
    places, counts = np.unique(found.xy, axis=0, return_counts=True)
    assert (counts == 2).all()
    assert len(np.unique(found.polygon)) > 1
    for year in (2018, 2019):
        own = found.year == year
        expected = open_cube(cubes["33TVM"][year]).read_pixels(rows[own], columns[own])
        np.testing.assert_array_equal(found.x[own], expected)
    assert len(places) * 2 == len(found)
