"""Bands on the tile's grid: against hand-computed values, scipy and GDAL."""

import numpy as np
import pytest
import rasterio
import rasterio.warp
from rasterio.windows import Window

from landtide.composite.resample import read_band
from landtide.io.raster import open_raster, read_on_grid


def read(path: str, tile, window: Window | None = None, fill: float = 0) -> np.ndarray:
    with open_raster(path) as dataset:
        return read_band(dataset, tile, window or Window(0, 0, tile.shape[1], tile.shape[0]), fill=fill)


def test_four_pixels_by_hand(write_raster, make_tile):
    path = write_raster("a", np.array([[1000, 2000], [3000, 8000]], np.uint16), size=20)
    inner = read(path, make_tile(4, 4))[1:3, 1:3]
    weights = np.array([9, 3, 3, 1]) / 16  # centres lie 5 m and 15 m away along each axis
    assert inner[0, 0] == np.rint(weights @ [1000, 2000, 3000, 8000])
    assert inner[1, 1] == np.rint(weights @ [8000, 3000, 2000, 1000])


def test_its_own_grid_is_copied(write_raster, make_tile):
    values = np.random.default_rng(0).integers(0, 9000, (150, 150)).astype(np.uint16)
    np.testing.assert_array_equal(read(write_raster("a", values), make_tile(150, 150)), values)


def test_60_m_pixels_agree_with_scipy(write_raster, make_tile):
    from scipy.interpolate import RegularGridInterpolator

    coarse = np.random.default_rng(0).integers(1, 9000, (30, 30)).astype(np.uint16)
    centres, fine = np.arange(30) * 60 + 30.0, np.clip(np.arange(180) * 10 + 5.0, 30, 1770)
    expected = RegularGridInterpolator((centres, centres), coarse)(np.stack(np.meshgrid(fine, fine, indexing="ij"), -1))
    np.testing.assert_allclose(read(write_raster("a", coarse, size=60), make_tile(180, 180)), expected, atol=0.51)


def test_float_bands_are_not_rounded_and_nan_is_no_data(write_raster, make_tile):
    coarse = np.array([[0.1, 0.2], [0.3, np.nan]], np.float32)
    fine = read(write_raster("a", coarse, size=20), make_tile(4, 4), fill=np.nan)
    assert fine[1, 1] == pytest.approx((9 * 0.1 + 3 * 0.2 + 3 * 0.3) / 15)
    assert np.isnan(fine[2:, 2:]).all()
    assert np.isnan(fine).sum() == 4


def test_another_zone_agrees_with_gdal(write_raster, make_tile):
    tile = make_tile(300, 300)
    west, south, _, _ = rasterio.warp.transform_bounds(tile.crs, "EPSG:32634", *tile.bounds)
    y, x = np.mgrid[:200, :250]
    smooth = (4000 + 2000 * np.sin(x / 9) + 1500 * np.cos(y / 7)).astype(np.uint16)
    smooth[80:90, 100:120] = 0
    path = write_raster("a", smooth, corner=(west - 200, south + 3600), crs="EPSG:32634", size=20)
    ours, gdal = read(path, tile), read_on_grid(path, tile, resampling="bilinear", fill=0, nodata=0)
    assert (ours > 0).mean() > 0.8
    assert ((ours == 0) == (gdal == 0)).mean() > 0.999  # the edge of no data may fall either way where it meets a pixel's centre
    both = (ours > 0) & (gdal > 0)
    np.testing.assert_allclose(ours[both].astype(int), gdal[both].astype(int), atol=2)


def test_pixels_outside_the_raster_have_no_data(write_raster, make_tile):
    path = write_raster("a", np.full((4, 4), 700, np.uint16), corner=(600000, 5100000 - 2000), size=20)
    values = read(path, make_tile(400, 400))
    assert (values[200:208, :8] == 700).all()
    assert values.astype(bool).sum() == 64


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:32634"])
def test_a_window_holds_what_the_whole_holds(write_raster, make_tile, crs):
    tile = make_tile(400, 390)
    west, _, _, north = rasterio.warp.transform_bounds(tile.crs, crs, *tile.bounds)
    noise = np.random.default_rng(0).integers(0, 9000, (230, 230)).astype(np.uint16)
    path = write_raster("a", noise, corner=(west + 30.3, north - 11.7), crs=crs, size=19.97)
    whole = read(path, tile)
    for window in tile.windows(128) + tile.windows(256):
        np.testing.assert_array_equal(read(path, tile, window), whole[window.toslices()])
