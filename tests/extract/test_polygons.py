"""Polygons are those of scipy's labelling, whatever the blocks; erosion is a distance."""

import time

import numpy as np
import pytest
from rasterio.windows import Window
from scipy import ndimage

from landtide.extract.polygons import depth_of, find_polygons, pixel_hash, polygons_at


def reader(codes: np.ndarray):
    return lambda window: codes[window.row_off : window.row_off + window.height, window.col_off : window.col_off + window.width]


def patches(seed: int, shape: tuple[int, int], values: int = 3) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return np.digitize(noise, np.quantile(noise, np.linspace(0, 1, values + 2)[1:-1])).astype(np.int32)


@pytest.mark.parametrize("block", [7, 16, 64])
def test_polygons_do_not_depend_on_the_blocks_and_agree_with_scipy(block):
    codes = patches(3, (50, 61))
    found = find_polygons(reader(codes), codes.shape, block)
    expected = [(code, size) for code in (1, 2, 3) for size in np.bincount(ndimage.label(codes == code)[0].ravel())[1:].tolist()]
    assert sorted(zip(found.code.tolist(), found.area.tolist(), strict=True)) == sorted(expected)


def test_every_pixel_finds_its_polygon_again():
    codes = patches(5, (40, 33))
    found = find_polygons(reader(codes), codes.shape, 8)
    rows, columns = (values.ravel() for values in np.mgrid[:40, :33])
    code, polygon, _ = polygons_at(reader(codes), found, rows, columns, 4, 8)
    assert (code == codes.ravel()).all()
    assert (polygon[code == 0] == -1).all()
    assert (np.bincount(polygon[polygon >= 0], minlength=len(found)) == found.area).all()
    for index, box in enumerate(found.box):
        own = polygon == index
        assert [rows[own].min(), columns[own].min(), rows[own].max(), columns[own].max()] == box.tolist()


def test_depth_does_not_depend_on_the_blocks():
    codes = patches(8, (40, 40))
    found = find_polygons(reader(codes), codes.shape, 8)
    rows, columns = (values.ravel() for values in np.mgrid[:40, :40])
    depth = polygons_at(reader(codes), found, rows, columns, 5, 8)[2].reshape(40, 40)
    assert depth == pytest.approx(depth_of(codes, 5))


def test_erosion_by_two_pixels_leaves_the_inside_of_a_square():
    codes = np.ones((20, 20), int)
    codes[5:15, 5:15] = 2
    inside = (codes == 2) & (depth_of(codes, 10) > 2)
    expected = np.zeros((20, 20), bool)
    expected[7:13, 7:13] = True
    assert (inside == expected).all()


@pytest.mark.parametrize("cell", [1, 2, 16])
def test_a_pass_reads_every_pixel_once_however_many_polygons_there_are(cell):
    codes = np.kron(1 + np.add.outer(np.arange(64 // cell), np.arange(64 // cell)) % 2, np.ones((cell, cell), int))
    read = []

    def counting(window: Window) -> np.ndarray:
        read.append(int(window.height * window.width))
        return codes[window.toslices()]

    found = find_polygons(counting, codes.shape, 16)
    assert len(found) == (64 // cell) ** 2
    assert (found.area == cell**2).all()
    assert sum(read) == codes.size


@pytest.mark.slow
def test_a_million_polygons_cost_ten_times_what_a_tenth_of_them_does():
    def seconds(side: int) -> float:
        line = np.arange(side) // 3 % 2
        start = time.process_time()
        found = find_polygons(lambda window: 1 + (line[window.toslices()[0], None] ^ line[None, window.toslices()[1]]), (side, side))
        assert len(found) == (side // 3) ** 2
        return time.process_time() - start

    seconds(600)
    assert seconds(3000) < 25 * seconds(948), "1 000 000 beside 99 856: ten times the polygons, with room for a busy machine"


def test_a_map_of_one_class_is_one_polygon():
    found = find_polygons(lambda window: np.ones((int(window.height), int(window.width)), int), (70, 50), 16)
    assert (found.code.tolist(), found.area.tolist(), found.box.tolist()) == ([1], [3500], [[0, 0, 69, 49]])


def test_diagonal_neighbours_are_two_polygons():
    codes = np.array([[1, 0], [0, 1]])
    assert len(find_polygons(reader(codes), (2, 2), 2)) == 2


def test_a_map_without_data_has_no_polygon():
    found = find_polygons(reader(np.zeros((5, 5), int)), (5, 5), 4)
    assert len(found) == 0
    assert polygons_at(reader(np.zeros((5, 5), int)), found, np.array([1]), np.array([1]), 3, 4)[1].tolist() == [-1]


def test_pixel_hash_is_even_and_depends_on_the_seed():
    rows, columns = np.mgrid[:200, :200]
    values = pixel_hash(rows, columns, 7)
    assert np.histogram(values, 10, (0, 1))[0] == pytest.approx(4000, rel=0.1)
    assert not (values == pixel_hash(rows, columns, 8)).any()
    assert (pixel_hash(rows[5:9], columns[5:9], 7) == values[5:9]).all()


def test_windows_are_read_as_rasterio_windows():
    seen = []

    def read(window: Window) -> np.ndarray:
        seen.append((window.row_off, window.col_off, window.height, window.width))
        return np.ones((window.height, window.width), int)

    find_polygons(read, (5, 7), 4)
    assert seen == [(0, 0, 4, 4), (0, 4, 4, 3), (4, 0, 1, 4), (4, 4, 1, 3)]
