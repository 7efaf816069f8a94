"""Clouds found by s2cloudless, where it is installed."""

import sys

import numpy as np
import pytest
from rasterio.windows import Window

from landtide.composite import budget, cloudless
from landtide.core.errors import InputError
from landtide.core.study import CLOUDLESS_BANDS, Mask

MEADOW = dict(zip(CLOUDLESS_BANDS, (0.12, 0.10, 0.07, 0.11, 0.36, 0.38, 0.12, 0.002, 0.22, 0.12), strict=True))
CUMULUS = dict(zip(CLOUDLESS_BANDS, (0.62, 0.60, 0.60, 0.62, 0.66, 0.67, 0.35, 0.03, 0.50, 0.40), strict=True))
"""Top-of-atmosphere reflectance."""

RESOLUTION = {"B01": 6, "B09": 6, "B10": 6, "B05": 2, "B8A": 2, "B11": 2, "B12": 2}
SIDE = 480


@pytest.fixture
def scene(write_raster, item, asset):
    """A meadow with a cloud of 1.2 km in its middle, and no data in the last rows."""
    assets = {}
    for name in CLOUDLESS_BANDS:
        factor = RESOLUTION.get(name, 1)
        values = np.full((SIDE // factor, SIDE // factor), MEADOW[name])
        inner = slice(180 // factor, 300 // factor)
        values[inner, inner] = CUMULUS[name]
        raw = np.rint(values * 1e4).astype(np.uint16)
        raw[420 // factor :] = 0
        assets[name] = asset(write_raster(name, raw, size=10 * factor))
    return [item("a", "2021-06-01T10:00:00Z", assets)]


def test_the_package_is_named_where_it_is_missing(scene, run, make_tile, monkeypatch):
    cloudless.detector.cache_clear()
    monkeypatch.setitem(sys.modules, "s2cloudless", None)
    with pytest.raises(InputError, match="pip install s2cloudless"):
        run(scene, make_tile(SIDE, SIDE), bands=("B04",), mask=Mask(method="s2cloudless"))


def test_a_cloud_is_found_and_grows_by_the_asked_length(scene, run, make_tile, monkeypatch):
    pytest.importorskip("s2cloudless")
    options = {"bands": ("B04",), "mask": Mask(method="s2cloudless", dilate=120.0), "period": "P1Y", "gaps": "none"}
    opened, _, _ = run(scene, make_tile(SIDE, SIDE), **options)
    seen = opened.read_count(Window(0, 0, SIDE, SIDE))[0] == 1
    assert not seen[180:300, 180:300].any()  # the cloud
    assert not seen[170:310, 240].any()  # and 100 m around it
    assert seen[:140].all()
    assert seen[:420, :140].all()
    assert not seen[420:].any()
    monkeypatch.setattr(budget, "LARGEST", 128)
    cut, _, _ = run(scene, make_tile(SIDE, SIDE), **options, workers=2, slabs=2)
    np.testing.assert_array_equal(cut.read_count(Window(0, 0, SIDE, SIDE)), opened.read_count(Window(0, 0, SIDE, SIDE)))


def test_a_method_without_asset_takes_no_codes_and_asks_for_its_bands():
    from datetime import date

    from landtide.core.study import parse_study

    text = "name: s\narea: {bbox: [1, 2, 3, 4]}\nyears: [2020]\nsource: {catalog: c.json}\npoints: p.csv\nbands: [B04]\n"
    made = parse_study(text, "/data", date(2026, 1, 1), {"mask": {"method": "s2cloudless"}})
    assert set(made.band_ids) == set(CLOUDLESS_BANDS)
    assert made.channels == ("B04",)
    with pytest.raises(InputError, match="take out drop"):
        parse_study(text, "/data", date(2026, 1, 1), {"mask": {"method": "s2cloudless", "drop": [3]}})
