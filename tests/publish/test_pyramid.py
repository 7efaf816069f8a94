"""Tile pyramids; the oracle is the array cut and thinned by NumPy."""

from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from landtide.core.tile import Tile
from landtide.publish import pictures, pyramid
from landtide.publish.pictures import RasterSource, confidence_palette, decode, halve, label_palette, median, shade
from landtide.publish.pyramid import Grid, Layer, build, common_grids


class InnerPool:
    """Runs branches in this process, as a pool that hands results back in order."""

    def __init__(self):
        self.calls = 0

    def map(self, function, items):
        for item in items:
            self.calls += 1
            yield function(item)


def layer_of(tmp_path, tile, values, save_raster, style="label", name="one"):
    nodata = 255 if style == "confidence" else 0
    uri = save_raster(f"{tmp_path.name}-{name}", values, tile, nodata)
    (grid, _) = common_grids([tile])[0]
    palette = confidence_palette() if style == "confidence" else label_palette([(200, 0, 0), (0, 200, 0), (0, 200, 0)])
    return Layer(name, style, grid, (RasterSource(tile, uri),), str(tmp_path / name), palette)


def read(folder, z, x, y):
    return decode((folder / str(z) / str(x) / f"{y}.png").read_bytes())


def tile_of(rows, columns, west=600_000.0, north=5_800_000.0, crs="EPSG:32631", name="t"):
    return Tile(name, crs, (10.0, 0.0, west, 0.0, -10.0, north), (rows, columns))


def test_full_resolution_pictures_hold_every_label_and_upper_levels_every_second_one(tmp_path, save_raster):
    values = np.random.default_rng(1).integers(0, 4, (700, 1100)).astype(np.uint8)
    layer = layer_of(tmp_path, tile_of(700, 1100), values, save_raster)
    counts = build(layer)
    assert layer.grid.levels == 3
    padded = np.zeros((2048, 2048), np.uint8)
    padded[:700, :1100] = values
    for z in range(4):
        step = 2 ** (3 - z)
        level = padded[::step, ::step]
        for picture in (tmp_path / "one" / str(z)).glob("*/*.png"):
            x, y = int(picture.parent.name), int(picture.stem)
            np.testing.assert_array_equal(read(tmp_path / "one", z, x, y), level[y * 256 : (y + 1) * 256, x * 256 : (x + 1) * 256])
    np.testing.assert_array_equal(counts[1:4], np.bincount(values.ravel(), minlength=4)[1:])


def test_pictures_without_any_pixel_of_a_tile_are_not_written(tmp_path, save_raster):
    layer = layer_of(tmp_path, tile_of(300, 1100), np.ones((300, 1100), np.uint8), save_raster)
    build(layer)
    found = {(int(p.parent.name), int(p.stem)) for p in (tmp_path / "one" / "3").glob("*/*.png")}
    assert found == {(x, y) for x in range(5) for y in range(2)}


def test_branches_by_a_pool_give_the_same_pictures_as_one_process(tmp_path, save_raster, monkeypatch):
    values = np.random.default_rng(2).integers(0, 4, (600, 900)).astype(np.uint8)
    alone = layer_of(tmp_path, tile_of(600, 900), values, save_raster, name="alone")
    build(alone)
    monkeypatch.setattr(pyramid, "BRANCH", 1)
    pooled = layer_of(tmp_path, tile_of(600, 900), values, save_raster, name="pooled")
    pool = InnerPool()
    build(pooled, pool)
    assert pool.calls == 4
    pairs = [(p, tmp_path / "pooled" / p.relative_to(tmp_path / "alone")) for p in (tmp_path / "alone").rglob("*.png")]
    assert len(pairs) > 10
    assert all(one.read_bytes() == other.read_bytes() for one, other in pairs)


def test_reads_stay_small_whatever_the_area(tmp_path, save_raster, monkeypatch):
    largest = 0
    plain = RasterSource.open

    def watched(self):
        @contextmanager
        def lend():
            with plain(self) as read_window:

                def note(window):
                    nonlocal largest
                    largest = max(largest, int(window.width) * int(window.height))
                    return read_window(window)

                yield note

        return lend()

    monkeypatch.setattr(RasterSource, "open", watched)
    build(layer_of(tmp_path, tile_of(1500, 1500), np.ones((1500, 1500), np.uint8), save_raster))
    assert largest <= 256 * 256


def test_confidence_is_the_mean_of_valid_pixels():
    block = np.array([[10, 20, 255, 255], [30, 255, 255, 255]], np.uint8)
    np.testing.assert_array_equal(halve(block, "confidence"), [[20, 255]])


def test_image_colours_are_weighted_by_alpha():
    block = np.zeros((2, 2, 4), np.uint8)
    block[0, 0] = (200, 100, 50, 255)
    np.testing.assert_array_equal(halve(block, "image"), [[[200, 100, 50, 64]]])


def test_index_of_a_label_picture_is_the_label_and_zero_is_transparent(tmp_path, save_raster):
    layer = layer_of(tmp_path, tile_of(10, 10), np.full((10, 10), 2, np.uint8), save_raster)
    build(layer)
    with Image.open(tmp_path / "one" / "0" / "0" / "0.png") as image:
        assert image.mode == "P"
        assert image.getpixel((3, 3)) == 2
        rgba = image.convert("RGBA")
        assert rgba.getpixel((3, 3)) == (0, 200, 0, 255)
        assert rgba.getpixel((200, 200))[3] == 0


def test_every_colour_of_a_palette_is_used_once():
    labels = label_palette([(0, 0, 0), (255, 255, 255), (255, 255, 255), (128, 128, 128), (0, 0, 1)])
    used = [tuple(labels[index]) for index in (1, 2, 3, 4, 5, 254)]
    assert len(set(used)) == 6
    assert np.abs(labels[1:6].astype(int) - [(0, 0, 0), (255, 255, 255), (255, 255, 255), (128, 128, 128), (0, 0, 1)]).max() <= 2
    assert len({tuple(color) for color in confidence_palette()[:101]}) == 101


def test_tiles_of_one_zone_share_a_grid_and_others_do_not():
    first, second = tile_of(100, 200, name="a"), tile_of(100, 100, west=601_000.0, north=5_800_500.0, name="b")
    shifted, elsewhere = tile_of(10, 10, west=600_003.0, name="c"), tile_of(10, 10, crs="EPSG:32632", name="d")
    grids = common_grids([first, second, shifted, elsewhere])
    assert [[tile.name for tile in tiles] for _, tiles in grids] == [["a", "b"], ["c"], ["d"]]
    assert grids[0][0] == Grid("EPSG:32631", (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_800_500.0), (150, 200))
    assert grids[0][0].offset(first) == (50, 0)
    assert grids[0][0].offset(second) == (0, 100)


def test_where_tiles_overlap_the_first_with_data_wins_and_counts_once(tmp_path, save_raster):
    left, right = tile_of(100, 100, name="l"), tile_of(100, 100, west=600_500.0, name="r")
    one, two = np.full((100, 100), 1, np.uint8), np.full((100, 100), 2, np.uint8)
    one[:50] = 0
    sources = (RasterSource(left, save_raster("l", one, left)), RasterSource(right, save_raster("r", two, right)))
    (grid, _) = common_grids([left, right])[0]
    counts = build(Layer("x", "label", grid, sources, str(tmp_path / "x"), label_palette([(9, 9, 9), (8, 8, 8)])))
    picture = read(tmp_path / "x", 0, 0, 0)
    np.testing.assert_array_equal(picture[[10, 10, 60, 60], [10, 60, 60, 120]], [0, 2, 1, 2])
    assert counts[1] + counts[2] == 100 * 150 - 50 * 50


def test_failed_write_is_not_swallowed(tmp_path, save_raster, monkeypatch):
    layer = layer_of(tmp_path, tile_of(300, 300), np.ones((300, 300), np.uint8), save_raster)

    def broken(uri, data):
        raise OSError("disk gone")

    monkeypatch.setattr(pyramid.storage, "write_bytes", broken)
    with pytest.raises(OSError, match="disk gone"):
        build(layer)


def test_median_agrees_with_numpy_and_keeps_missing_pixels_missing():
    series = np.random.default_rng(4).normal(size=(5, 3, 6, 7)).astype(np.float32)
    series[np.random.default_rng(5).random(series.shape) < 0.4] = np.nan
    series[:, :, 0, 0] = np.nan
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(RuntimeWarning)
        expected = np.nanmedian(series, axis=0)
    np.testing.assert_allclose(median(series), expected, rtol=1e-6)


def test_shade_spans_black_to_full_and_leaves_missing_pixels_transparent():
    values = np.array([[[0.0, 0.3, np.nan]]] * 3, np.float32)
    shaded = shade(values, (0.0,) * 3, (0.3,) * 3)
    np.testing.assert_array_equal(shaded[0], [[0, 0, 0, 255], [255, 255, 255, 255], [0, 0, 0, 0]])
    assert shade(values[:1], (0.0,), (0.3,)).shape == (1, 3, 4)


def test_pyramid_goes_to_the_object_store_by_the_same_path(tmp_path, save_raster, monkeypatch):
    written = {}
    monkeypatch.setattr(pyramid.storage, "write_bytes", lambda uri, data: written.__setitem__(uri, data))
    layer = layer_of(tmp_path, tile_of(300, 300), np.ones((300, 300), np.uint8), save_raster)
    build(Layer(layer.id, layer.style, layer.grid, layer.sources, "s3://bucket/published/tiles/t/one", layer.palette))
    assert "s3://bucket/published/tiles/t/one/1/1/1.png" in written
    assert pictures.decode(written["s3://bucket/published/tiles/t/one/1/0/0.png"])[0, 0] == 1
