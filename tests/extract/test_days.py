"""Where steps are single dates, the days of each tile and year reach its samples."""

from datetime import date, timedelta

import numpy as np
from rasterio.windows import Window

from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.extract.series import Labelled, open_inputs, sample_set
from landtide.io.cube import create_cube, open_cube, write_window

DAYS = {("west", 2020): (10, 100, 200), ("west", 2021): (20, 110, 210), ("east", 2020): (30, 120, 220), ("east", 2021): (40, 130, 230)}


def test_each_sample_bears_the_days_of_its_own_tile_and_year(tmp_path):
    cubes: dict[str, dict[int, str]] = {}
    for (name, year), days in DAYS.items():
        tile = Tile(name, "EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), (8, 8))
        starts = [date(year, 1, 1) + timedelta(days=day - 1) for day in days]
        uri = str(tmp_path / f"{name}{year}.zarr")
        create_cube(uri, tile, [Period(start, start + timedelta(days=1)) for start in starts], ("B04", "NDVI"), {"year": year})
        write_window(uri, Window(0, 0, 8, 8), np.zeros((3, 2, 8, 8), np.int16), np.ones((3, 8, 8), np.uint8))
        assert open_cube(uri).doy.tolist() == list(days)
        assert open_cube(uri).year == year
        cubes.setdefault(name, {})[year] = uri
    inputs = open_inputs(cubes)
    names, years = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])  # tiles in order of name: east, west
    ones = np.ones(4)
    labelled = Labelled(np.zeros((4, 3, 2), np.float32), names, 0 * names, 0 * names, years, ones, ones, np.arange(4))
    samples = sample_set(labelled, np.ones(4, np.uint32), inputs, "old_map")
    assert [tuple(row) for row in samples.doy] == [DAYS[tile, year] for tile in ("east", "west") for year in (2020, 2021)]
    assert samples.bands == ("B04", "NDVI")
