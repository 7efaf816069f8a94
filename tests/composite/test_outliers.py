"""The second look for missed cloud and shadow."""

import numpy as np
import pytest
from rasterio.windows import Window

from landtide.composite import budget
from landtide.composite.outliers import drop_outliers, looked_bands
from landtide.core.cube import NODATA
from landtide.core.study import Mask

CLEAR = [(420, 2100), (410, 2150), (430, 2080), (415, 2120), (440, 2060), (405, 2110), (425, 2090), (418, 2130)]
"""Blue and 1610 nm of a field over a year, 1e-4."""


def dropped(series: list[tuple[int, int]]) -> list[int]:
    """Return the observations that the second look drops."""
    year = np.array(series, np.int16).reshape(len(series), 2, 1).repeat(70, axis=2)
    mark = np.zeros((len(series), 70), bool)
    lost = drop_outliers(year, mark, slice(0, 70))
    assert (mark == mark[:, :1]).all()
    assert (lost == 70 * mark[:, 0]).all()
    return np.flatnonzero(mark[:, 0]).tolist()


def replaced(**values: tuple[int, int]) -> list[tuple[int, int]]:
    return [values.get(f"at{n}", pair) for n, pair in enumerate(CLEAR)]


@pytest.mark.parametrize(
    ("what", "series", "expected"),
    [
        ("a clear year", CLEAR, []),
        ("a cloud", replaced(at3=(3200, 3900)), [3]),
        ("two clouds in a row", replaced(at3=(3200, 3900), at4=(2800, 3500)), [3, 4]),
        ("a thin cloud", replaced(at4=(1300, 2600)), [4]),
        ("a shadow", replaced(at5=(330, 900)), [5]),
        ("snow", replaced(at3=(7600, 900)), []),
        ("a harvest that stays", [*CLEAR[:4], (1100, 3300), (1150, 3250), (1080, 3350), (1120, 3300)], []),
        ("a burn that stays", [*CLEAR[:4], (300, 1000), (310, 1050), (290, 980), (305, 1020)], []),
        ("a flood that stays", [*CLEAR[:4], (500, 150), (480, 160), (510, 140), (490, 150)], []),
        ("slow growth", [(300 + 60 * n, 1200 + 150 * n) for n in range(8)], []),
        ("thick cloud on the first day", replaced(at0=(5200, 4500)), [0]),
        ("a change on the last day", replaced(at7=(1100, 3300)), []),
        ("too short a year", [*CLEAR[:3], (3200, 3900)], []),
    ],
)
def test_what_is_short_and_bright_or_dark_goes_and_what_stays_or_grows_is_kept(what, series, expected):
    assert dropped(series) == expected, what


def test_what_the_mask_dropped_is_no_neighbour():
    year = np.array(replaced(at2=(9000, 9000), at3=(3200, 3900), at4=(9000, 9000)), np.int16).reshape(8, 2, 1)
    mark = np.zeros((8, 1), bool)
    mark[[2, 4]] = True
    year[[2, 4]] = NODATA
    drop_outliers(year, mark, slice(0, 1))
    assert np.flatnonzero(mark).tolist() == [2, 3, 4]


def test_parts_of_the_pixels_give_what_all_give_and_each_pixel_its_own():
    rng = np.random.default_rng(1)
    year = np.stack([rng.normal(500, 40, (20, 333)), rng.normal(2000, 150, (20, 333))], axis=1).astype(np.int16)
    year += np.where(rng.random((20, 1, 333)) < 0.1, 2500, 0).astype(np.int16)
    year[np.broadcast_to((rng.random((20, 1, 333)) < 0.3), year.shape)] = NODATA
    whole, parts, single = (np.zeros((20, 333), bool) for _ in range(3))
    drop_outliers(year, whole, slice(0, 333))
    for start in range(0, 333, 50):
        drop_outliers(year, parts, slice(start, min(start + 50, 333)))
    for p in range(0, 333, 37):
        one = np.zeros((20, 1), bool)
        drop_outliers(np.ascontiguousarray(year[:, :, p : p + 1]), one, slice(0, 1))
        single[:, p] = one[:, 0]
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(whole[:, ::37], single[:, ::37])
    assert whole.any()
    assert not whole[(year == NODATA).any(axis=1)].any()


@pytest.fixture
def missed(write_raster, item, asset):
    """Eight dates of four bands; in the fourth a cloud that the mask does not know covers the middle."""
    items = []
    for n, (blue, dark) in enumerate(CLEAR):
        grown = {name: np.full((300 // step, 300 // step), value, np.uint16)
                 for name, value, step in (("B02", blue, 1), ("B04", 600, 1), ("B11", dark, 2))}  # fmt: skip
        if n == 3:
            for name, value in (("B02", 4000), ("B04", 4100), ("B11", 3900)):
                size = len(grown[name])
                grown[name][size // 3 : size // 2, size // 3 : size // 2] = value
        assets = {name: asset(write_raster(f"{name}-{n}", values, size=3000 / len(values))) for name, values in grown.items()}
        assets["SCL"] = asset(write_raster(f"scl{n}", np.full((150, 150), 4, np.uint8), size=20), nodata=0)
        items.append(item(f"i{n}", f"2021-{n + 2:02d}-05T10:00:00Z", assets))
    return items


def test_a_cloud_that_the_mask_missed_leaves_all_bands(run, missed, make_tile):
    options = {"bands": ("B02", "B04", "B11"), "mask": Mask(), "gaps": "none"}
    opened, report, _ = run(missed, make_tile(300, 300), **options, outliers="drop")
    kept, _, _ = run(missed, make_tile(300, 300), **options, outliers="keep")
    cloud, clear = Window(110, 110, 30, 30), Window(0, 0, 60, 60)
    assert (kept.read_digital(cloud)[4, 1] == 4100).all()
    assert (opened.read_digital(cloud)[4] == NODATA).all()
    assert (opened.read_count(cloud)[4] == 0).all()
    np.testing.assert_array_equal(opened.read_digital(clear), kept.read_digital(clear))
    assert report["looked_at"] == ["B02", "B11"]
    assert report["acquisitions"][3]["outliers"] == pytest.approx(50**2 / 300**2, rel=0.1)
    assert sum(one["outliers"] for one in report["acquisitions"]) == report["acquisitions"][3]["outliers"]


def test_the_cut_does_not_change_the_second_look(run, missed, make_tile, monkeypatch):
    options = {"bands": ("B02", "B04", "B11"), "mask": Mask(), "outliers": "drop"}
    once = run(missed, make_tile(300, 300), **options)[0].read_digital(Window(0, 0, 300, 300))
    monkeypatch.setattr(budget, "LARGEST", 128)
    small = run(missed, make_tile(300, 300), **options, workers=2)[0].read_digital(Window(0, 0, 300, 300))
    np.testing.assert_array_equal(once, small)


def test_a_series_without_both_bands_is_left_alone(run, missed, make_tile):
    assert looked_bands(("B04", "B11")) == ()
    _, report, _ = run(missed, make_tile(300, 300), bands=("B04", "B11"), mask=Mask(), outliers="drop")
    assert report["looked_at"] == []
