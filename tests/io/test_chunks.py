"""Windows of a cube on this machine's disk, decoded without Zarr: the same numbers as Zarr's."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import zarr
from rasterio.windows import Window

from landtide.core.cube import NODATA
from landtide.core.errors import LandtideError
from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.io import cube
from landtide.io.chunks import LocalChunks

TILE = Tile("31UFT", "EPSG:32631", (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_800_000.0), (300, 200))
PERIODS = Period.of_year(2020).split("P3M")


@pytest.fixture
def written(tmp_path: Path) -> str:
    """A cube of 3 x 2 chunks, of which the last row of chunks was never written."""
    uri = str(tmp_path / "cube.zarr")
    cube.create_cube(uri, TILE, PERIODS, ("B04", "B08"))
    values = np.random.default_rng(1).integers(-500, 9000, (4, 2, 256, 200)).astype(np.int16)
    values[:, :, :20] = NODATA
    cube.write_window(uri, Window(0, 0, 200, 256), values, np.full((4, 256, 200), 3, np.uint8))
    return uri


@pytest.mark.parametrize(
    "window",
    [
        Window(0, 0, 200, 300),
        Window(10, 20, 50, 60),
        Window(120, 120, 20, 20),
        Window(128, 128, 72, 128),
        Window(150, 250, 40, 30),
        Window(0, 299, 1, 1),
    ],
)
def test_every_window_is_as_zarr_reads_it(written: str, window: Window) -> None:
    opened = cube.open_cube(written)
    rows, columns = slice(window.row_off, window.row_off + window.height), slice(window.col_off, window.col_off + window.width)
    composite, count = np.asarray(opened.group["composite"][:, :, rows, columns]), np.asarray(opened.group["count"][:, rows, columns])
    np.testing.assert_array_equal(opened.read_digital(window), composite)
    np.testing.assert_array_equal(opened.read_count(window), count)
    np.testing.assert_allclose(opened.read(window), np.where(composite == NODATA, np.nan, composite * 1e-4), atol=1e-7)
    room = np.empty_like(composite)
    assert opened.read_digital(window, room) is room
    np.testing.assert_array_equal(room, composite)


def test_a_window_over_the_edge_ends_there(written: str) -> None:
    assert cube.open_cube(written).read(Window(190, 290, 50, 50)).shape == (4, 2, 10, 10)
    assert cube.open_cube(written).read_count(Window(190, 400, 50, 50)).shape == (4, 0, 10)


def test_local_cubes_take_this_way_and_other_codecs_that_of_zarr(written: str, tmp_path: Path) -> None:
    assert LocalChunks.of(cube.open_cube(written).group["composite"]) is not None
    group = zarr.create_group(tmp_path / "other.zarr")
    for name, options in {
        "zstd": {"compressors": zarr.codecs.ZstdCodec()},
        "sharded": {"shards": (2, 16, 16)},
        "cut": {"chunks": (1, 8, 8)},
    }.items():
        array = group.create_array(name, shape=(2, 16, 16), dtype="int16", **{"chunks": (2, 8, 8), **options})
        assert LocalChunks.of(array) is None, name


@pytest.mark.parametrize("harm", ["cut", "empty", "other size"])
def test_a_damaged_chunk_is_named(written: str, harm: str) -> None:
    path = Path(written) / "composite/c/0/0/1/0"
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "other size": data[:4] + b"\x10\0\0\0" + data[8:]}[harm])
    with pytest.raises(LandtideError, match=r"composite/c/0/0/1/0 cannot be decoded .*run again"):
        cube.open_cube(written).read(Window(0, 100, 200, 100))
    assert np.isfinite(cube.open_cube(written).read(Window(0, 30, 200, 50))).all()


def _sum(uri: str) -> int:
    return int(cube.open_cube(uri).read_digital(Window(0, 0, 200, 256)).astype(np.int64).sum())


def test_a_forked_process_reads_too(written: str) -> None:
    expected = _sum(written)  # the threads of this process are there before the fork
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_sum, (written,)).get(timeout=60) == expected
