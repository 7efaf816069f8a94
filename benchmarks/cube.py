"""The cube on disk beside a GeoTIFF a month: windows of all dates, whole months, writing, size.

Usage: python benchmarks/cube.py [--quick] [--seeds N] [--json PATH]

The data are a year of monthly composites of the simulated world (12 x 10 bands). The peer is the quickest of the monthly layouts that were
tried: zstd level 1, blocks of 256, all bands in a file. Windows of 256 px lie at any offset, the same for both, and are read into one
array; the disk's cache holds all, GDAL's starts empty with every pass. Ours decodes in as many threads as there are cores, GDAL in one as
rasterio opens files, in two where that is said.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from landtide.core.bands import DEFAULT_BANDS
from landtide.core.cube import NODATA, encode
from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.io.cube import create_cube, open_cube, write_window
from landtide.simulate import world

SIDE, WINDOWS = 256, 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="512 px instead of 1024")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    side, repeats = (512, 2) if chosen.quick else (1024, 5)
    taken: dict[str, list[float]] = {}
    packed, raw = 0, 0
    for seed in range(chosen.seeds):
        half = encode(world(512, (2020,), seed + 1).composites(2020)[0])
        data = np.tile(half, (1, 1, side // 512, side // 512))
        with tempfile.TemporaryDirectory(prefix="landtide-cube-") as folder:
            packed, raw = packed + run(Path(folder), data, seed, repeats, taken), raw + data.nbytes
    middle = {name: statistics.median(seconds) for name, seconds in taken.items()}
    window_bytes = WINDOWS * 12 * 10 * SIDE**2 * 2 / 1e6
    rows: list[dict[str, Any]] = []
    for name, size in (
        ("windows of 256 px, all dates", window_bytes),
        ("the same, GDAL in 2 threads", window_bytes),
        ("the same, opened for each", window_bytes),
        ("whole month", raw / chosen.seeds / 12 / 1e6),
        ("write", raw / chosen.seeds / 1e6),
    ):
        ours, peer = (size / middle[f"{name}, {who}"] for who in ("ours", "peer"))
        protocol = f"12 x 10 x {side} px of simulated composites, median of {repeats * chosen.seeds} interleaved passes"
        rows.append({"name": name, "value": ours, "unit": "MB/s", "peer": "GeoTIFF a month", "peer_value": peer, "ratio": ours / peer,
                     "protocol": protocol, "seeds": chosen.seeds})  # fmt: skip
    rows.append({"name": "size", "value": packed / 1e6, "unit": "MB", "peer": "raw int16", "peer_value": raw / 1e6, "ratio": raw / packed,
                 "protocol": f"{side} px", "seeds": chosen.seeds})  # fmt: skip
    for row in rows:
        print(f"{row['name']:30s} {row['value']:9.1f} {row['unit']}  {row['peer']} {row['peer_value']:9.1f}  ratio {row['ratio']:6.2f}")
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": rows}, indent=2))


def run(folder: Path, data: np.ndarray, seed: int, repeats: int, taken: dict[str, list[float]]) -> int:
    """Write and read both layouts; return the bytes of the cube."""
    side = data.shape[2]
    tile = Tile("33TVM", "EPSG:32633", (10.0, 0.0, 600000.0, 0.0, -10.0, 5100000.0), (side, side))
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, side - SIDE, (WINDOWS, 2))
    uri, counts = str(folder / "cube.zarr"), np.ones((12, side, side), np.uint8)
    paths = [folder / f"{month:02d}.tif" for month in range(12)]
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 10, "dtype": "int16", "crs": tile.crs, "transform": tile.affine,
               "nodata": NODATA, "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "zstd", "zstd_level": 1,
               "predictor": 2}  # fmt: skip

    def write_ours() -> None:
        create_cube(uri, tile, Period.of_year(2020).split("P1M"), DEFAULT_BANDS)
        write_window(uri, Window(0, 0, side, side), data, counts)

    def write_peer() -> None:
        for path, month in zip(paths, data, strict=True):
            with rasterio.open(path, "w", **profile) as dataset:
                dataset.write(month)

    def windows_ours() -> np.ndarray:
        cube, last = open_cube(uri), np.empty((12, 10, SIDE, SIDE), np.int16)
        for row, column in corners:
            cube.read_digital(Window(column, row, SIDE, SIDE), last)
        return last

    def windows_peer(**options: int) -> np.ndarray:
        last = np.empty((12, 10, SIDE, SIDE), np.int16)
        opened = [rasterio.open(path, **options) for path in paths]
        for row, column in corners:
            for month, dataset in enumerate(opened):
                dataset.read(window=Window(column, row, SIDE, SIDE), out=last[month])
        for dataset in opened:
            dataset.close()
        return last

    def fresh_ours() -> None:
        last = np.empty((12, 10, SIDE, SIDE), np.int16)
        for row, column in corners:
            open_cube(uri).read_digital(Window(column, row, SIDE, SIDE), last)

    def fresh_peer() -> None:
        last = np.empty((12, 10, SIDE, SIDE), np.int16)
        for row, column in corners:
            for month, path in enumerate(paths):
                with rasterio.open(path) as dataset:
                    dataset.read(window=Window(column, row, SIDE, SIDE), out=last[month])

    def month_ours() -> np.ndarray:
        array = open_cube(uri).to_xarray()
        return np.asarray(array[6].to_numpy())

    def month_peer() -> np.ndarray:
        with rasterio.open(paths[6]) as dataset:
            return np.asarray(dataset.read())

    acts = {"write, ours": write_ours, "write, peer": write_peer, "windows of 256 px, all dates, ours": windows_ours,
            "windows of 256 px, all dates, peer": windows_peer,
            "the same, GDAL in 2 threads, ours": windows_ours, "the same, GDAL in 2 threads, peer": lambda: windows_peer(NUM_THREADS=2),
            "the same, opened for each, ours": fresh_ours, "the same, opened for each, peer": fresh_peer, "whole month, ours": month_ours,
            "whole month, peer": month_peer}  # fmt: skip
    with rasterio.Env(GDAL_CACHEMAX=128 * 2**20):
        for turn in range(repeats + 1):
            for name, act in acts.items():
                began = time.perf_counter()
                act()
                if turn:
                    taken.setdefault(name, []).append(time.perf_counter() - began)
        np.testing.assert_array_equal(windows_ours(), windows_peer())
        np.testing.assert_array_equal(month_ours(), month_peer())
    return sum(path.stat().st_size for path in (folder / "cube.zarr").rglob("*") if path.is_file() and "/count/" not in str(path))


if __name__ == "__main__":
    main()
