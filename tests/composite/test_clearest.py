"""The clearest dates of a year, evenly spread."""

from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from landtide.composite import budget
from landtide.composite.acquisitions import Acquisition
from landtide.composite.clearest import PULL, clearest_steps, spread
from landtide.composite.engine import slab_rows
from landtide.core.cube import NODATA
from landtide.core.period import Period
from landtide.core.study import Mask
from landtide.io import raster as raster_io

YEAR = Period.of_year(2021)


def seen(day: str, name: str = "a") -> Acquisition:
    return Acquisition(name, datetime.fromisoformat(f"{day}T10:00:00").replace(tzinfo=UTC), 0, (), None)


@given(st.integers(0, 2**32 - 1), st.integers(4, 9), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_the_choice_is_the_best_of_all(seed, dates, count):
    rng = np.random.default_rng(seed)
    days, clear = np.sort(rng.choice(365, dates, replace=False)), rng.random(dates)
    spacing = 365 / count

    def cost(chosen: tuple[int, ...]) -> float:
        places = (np.arange(count) + 0.5) * spacing
        return float(sum((1 - clear[n]) + PULL * ((days[n] + 0.5 - place) / spacing) ** 2 for n, place in zip(chosen, places, strict=True)))

    best = min(cost(chosen) for chosen in combinations(range(dates), count))
    assert cost(tuple(spread(days, clear, 365, count))) == pytest.approx(best)


def test_dates_of_one_day_are_one_and_cloud_moves_the_choice():
    found = [seen("2021-02-10", "cloudy"), seen("2021-03-02", "west"), seen("2021-03-02", "east"), seen("2021-09-20"), seen("2021-10-30")]
    periods, chosen = clearest_steps(found, [0.1, 0.5, 0.5, 0.95, 0.95], YEAR, 2)
    assert [period.middle for period in periods] == [date(2021, 3, 2), date(2021, 9, 20)]
    assert [(one.id, one.step) for one in chosen] == [("west", 0), ("east", 0), ("a", 1)]


def test_a_year_of_few_dates_gets_empty_steps_in_its_gaps():
    periods, chosen = clearest_steps([seen("2021-06-01"), seen("2021-06-11")], [1.0, 1.0], YEAR, 5)
    days = [period.middle for period in periods]
    assert len(set(days)) == 5
    assert days == sorted(days)
    assert [periods[one.step].middle for one in chosen] == [date(2021, 6, 1), date(2021, 6, 11)]
    assert max((b - a).days for a, b in zip([date(2020, 12, 31), *days], [*days, date(2022, 1, 1)], strict=True)) <= 110


DAYS = [date(2021, 1, 1) + timedelta(days=round((n + 0.5) * 365 / 8)) for n in range(8)]


@pytest.fixture
def cloudy_year(write_raster, item, asset):
    """Eight dates, the even ones under cloud but for a corner; values tell the date."""
    items = []
    for n in range(8):
        scl = np.full((32, 32), 9 if n % 2 == 0 else 4, np.uint8)
        scl[20:, 20:] = 4
        assets = {
            "B04": asset(write_raster(f"b{n}", np.full((64, 64), 1000 + n, np.uint16))),
            "SCL": asset(write_raster(f"s{n}", scl, size=20), nodata=0),
        }
        items.append(item(f"i{n}", f"{DAYS[n].isoformat()}T10:00:00Z", assets))
    return items


def test_the_cube_holds_the_clear_dates_with_their_day_of_year(run, cloudy_year, make_tile, monkeypatch):
    reads: list[str] = []
    original = raster_io._read_boundless
    monkeypatch.setattr(raster_io, "_read_boundless", lambda dataset, *rest: (reads.append(dataset.name), original(dataset, *rest))[1])
    opened, report, written = run(cloudy_year, make_tile(64, 64), mask=Mask(dilate=0.0), clearest=4, gaps="none")
    days = [DAYS[n].timetuple().tm_yday for n in (1, 3, 5, 7)]
    assert opened.doy.tolist() == days
    assert opened.year == 2021
    assert opened.read_digital(Window(0, 0, 1, 1))[:, 0, 0, 0].tolist() == [1001, 1003, 1005, 1007]
    assert opened.read_count(Window(0, 0, 64, 64)).min() == 1
    assert [period["acquisitions"] for period in report["periods"]] == [1, 1, 1, 1]
    assert written.assets["cube"].extra_fields["periods"][0] == "2021-03-10--P1D"
    assert len(reads) == len(set(reads)) == 12  # every mask once, and the bands of the chosen dates


@pytest.fixture
def long_year(write_raster, item, asset):
    """Eight dates on a tile of three blocks down; cloud hides the upper part of every second date, and a stripe of the others."""
    items = []
    for n in range(8):
        scl = np.full((150, 32), 4, np.uint8)
        scl[: 140 if n % 2 == 0 else 20 + n] = 9
        values = (1000 + 100 * n + np.arange(300)[:, None] % 97 + np.zeros((1, 64))).astype(np.uint16)
        assets = {"B04": asset(write_raster(f"b{n}", values)), "SCL": asset(write_raster(f"s{n}", scl, size=20), nodata=0)}
        items.append(item(f"i{n}", f"{DAYS[n].isoformat()}T10:00:00Z", assets))
    return items


def test_slabs_in_processes_give_the_same_series(run, long_year, make_tile, monkeypatch):
    monkeypatch.setattr(budget, "LARGEST", 128)  # else such a small tile is one block
    tile = make_tile(300, 64)
    once = run(long_year, tile, mask=Mask(), clearest=4, gaps="none")[0].read_digital(Window(0, 0, 64, 300))
    apart = run(long_year, tile, mask=Mask(), clearest=4, gaps="none", workers=2, slabs=3)[0].read_digital(Window(0, 0, 64, 300))
    np.testing.assert_array_equal(once, apart)
    assert (once == NODATA).any()


def test_slabs_read_every_block_and_every_mask_once(run, long_year, make_tile, monkeypatch):
    monkeypatch.setattr(budget, "LARGEST", 128)
    reads: list[tuple[str, int]] = []
    original = raster_io._read_boundless

    def counted(dataset, window, *rest):
        reads.append((Path(dataset.name).stem, int(window.row_off)))
        return original(dataset, window, *rest)

    monkeypatch.setattr(raster_io, "_read_boundless", counted)
    run(long_year, make_tile(300, 64), mask=Mask(), clearest=4, gaps="none", slabs=3)
    assert sorted(reads) == sorted([(f"s{n}", 0) for n in range(8)] + [(f"b{n}", top) for n in (1, 3, 5, 7) for top in (0, 128, 256)])


def test_more_slabs_than_blocks_are_as_many_as_the_blocks(run, cloudy_year, make_tile):
    assert slab_rows(300, 2048, 3) == [(0, 300)]
    assert slab_rows(300, 128, 5) == [(0, 128), (128, 256), (256, 300)]
    assert slab_rows(300, 128, 2) == [(0, 128), (128, 300)]
    run(cloudy_year, make_tile(64, 64), slabs=7)


def test_without_a_mask_the_catalogs_cloud_cover_decides(run, cloudy_year, make_tile):
    for n, one in enumerate(cloudy_year):
        one["properties"]["eo:cloud_cover"] = 5.0 if n % 2 == 0 else 90.0
    opened, _, _ = run(cloudy_year, make_tile(64, 64), clearest=4, gaps="none")
    assert opened.read_digital(Window(0, 0, 1, 1))[:, 0, 0, 0].tolist() == [1000, 1002, 1004, 1006]
