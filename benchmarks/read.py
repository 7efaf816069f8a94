"""Reading scenes, and the whole composite job, beside odc-stac.

Usage: python benchmarks/read.py [--quick] [--seeds N] [--json PATH]

Scenes: 8 dates x 4 bands x 1024 px of local COGs, through our reader in threads and through odc.stac.load (its own pool, and dask).
Job: the monthly median of a year of 10 bands masked by SCL, written as Zarr: `landtide.composite` against odc.stac.load(chunks) + where +
resample("1MS").median() + to_zarr as their documentation writes it, on the same two threads. Each run is a process of its own (started in
turns, imports not timed, kernels compiled before); memory is the peak of the process. Masks are not dilated and there is no second look,
since the peer's job has neither; the results must agree to one digit of 1e-4 where both saw something, on 99.9 % of the values of 10 m
bands.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pystac
from series import make_series, tile_of

from landtide.composite.stream import Cut, Stream, read_header
from landtide.core.bands import DEFAULT_BANDS
from landtide.io.cube import open_cube

SMALL = 640 * 2**20
"""Bytes allowed in a second run of ours: no more than the peer takes; blocks are smaller then, and some are read again."""

OURS = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from series import tile_of
from landtide.composite import build
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.io import manifest
from landtide.launch.workers import open_pool

items, side, bands, work = sys.argv[2], int(sys.argv[3]), tuple(sys.argv[4].split(",")), sys.argv[5]
tile, memory = tile_of(side), int(sys.argv[6])
began = time.perf_counter()
key = manifest.Key(work, "s", "composite", tile.name, "2021", str(time.time_ns()))
with open_pool(2, 1, memory) as pool, manifest.writing(key, tile=tile, period=Period.of_year(2021)) as out:
    settings, mask = Composite(gaps="none", outliers="keep"), Mask(dilate=0.0)
    build(items, tile, 2021, bands=bands, mask=mask, settings=settings, memory=memory, out=out, pool=pool)
seconds = time.perf_counter() - began
# of this process alone: ru_maxrss would start with that of the process that started it
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "peak": peak, "uri": out.path("cube.zarr")}))
"""

PEER = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import dask, odc.stac, pystac, numpy as np, xarray as xr
from series import tile_of

items, side, bands, work = sys.argv[2], int(sys.argv[3]), sys.argv[4].split(","), sys.argv[5]
dask.config.set(scheduler="threads", num_workers=2)
began = time.perf_counter()
found = [pystac.Item.from_dict(record) for record in json.load(open(items))["features"]]
cube = odc.stac.load(
    found, bands=[*bands, "SCL"], geobox=tile_of(side).geobox, chunks={"x": 1024, "y": 1024},
    resampling={"*": "bilinear", "SCL": "nearest"}, groupby="id",
)
scl = cube.SCL
valid = ~scl.isin([0, 1, 3, 8, 9, 10])
data = cube[bands].where(valid & (cube[bands] != 0)).astype("float32")
monthly = data.resample(time="1MS").median(skipna=True)
uri = f"{work}/peer-{time.time_ns()}.zarr"
monthly.to_zarr(uri)
seconds = time.perf_counter() - began
# of this process alone: ru_maxrss would start with that of the process that started it
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "peak": peak, "uri": uri}))
"""


def job(code: str, folder: str, side: int, bands: tuple[str, ...], memory: int = 4 * 2**30) -> dict[str, Any]:
    words = [str(Path(__file__).parent), f"{folder}/items.json", str(side), ",".join(bands), f"{folder}/work", str(memory)]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


def agree(ours: str, theirs: str) -> float:
    """Return the share of values of 10 m bands that agree to one digit, where both are."""
    import xarray as xr
    from rasterio.windows import Window

    cube, peer = open_cube(ours), xr.open_zarr(theirs)
    shares = []
    for band in ("B02", "B03", "B04", "B08"):
        mine = cube.read(Window(0, 0, 512, 512))[:, cube.bands.index(band)]
        other = peer[band].isel(y=slice(0, 512), x=slice(0, 512)).to_numpy() * 1e-4
        both = np.isfinite(mine) & np.isfinite(other)
        assert (np.isfinite(mine) == np.isfinite(other)).mean() > 0.999, band
        shares.append((np.abs(mine - other)[both] <= 1.01e-4).mean())
    return float(np.mean(shares))


def ours_scenes(items: list[dict[str, Any]], side: int, bands: tuple[str, ...], out: np.ndarray) -> None:
    from landtide.composite.acquisitions import Layer

    tile = tile_of(side)

    def one(place: tuple[int, int]) -> None:
        asset = items[place[0]]["assets"][bands[place[1]]]
        layer = Layer(bands[place[1]], asset["href"], 1e-4, 0.0, 0.0)
        raw = Stream(layer, read_header(layer, tile), tile, Cut((0, side), side, side, 0)).advance(0, 0, wanted=True)
        assert raw is not None
        out[place] = raw

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(one, np.ndindex(len(items), len(bands))))


def scenes(side: int, seed: int, repeats: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {}
    bands = ("B02", "B03", "B04", "B08")
    with tempfile.TemporaryDirectory(prefix="landtide-read-") as folder:
        items = make_series(Path(folder), side, bands, 8, seed)
        found = [pystac.Item.from_dict(record) for record in items]
        box, out = tile_of(side).geobox, np.empty((8, 4, side, side), np.uint16)
        methods = {
            "landtide": lambda: ours_scenes(items, side, bands, out),
            "odc-stac, pool": lambda: odc.stac.load(found, bands=bands, geobox=box, pool=2, groupby="id"),
            "odc-stac, dask": lambda: odc.stac.load(found, bands=bands, geobox=box, chunks={"x": 512, "y": 512}, groupby="id").compute(
                scheduler="threads", num_workers=2
            ),
        }
        for _ in range(repeats + 1):  # the first fills the disk's cache
            for name, method in methods.items():
                began = time.perf_counter()
                method()
                taken.setdefault(name, []).append(time.perf_counter() - began)
        peer = methods["odc-stac, pool"]()
        np.testing.assert_array_equal(out[:, 2], peer["B04"].to_numpy())  # type: ignore[index]
    return {name: seconds[1:] for name, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="512 px and 12 dates for the job, one turn")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    side, dates, turns = (512, 12, 1) if chosen.quick else (1024, 36, 3)
    rows = []
    taken: dict[str, list[float]] = {}
    for seed in range(chosen.seeds):
        for name, seconds in scenes(1024, seed, 5).items():
            taken.setdefault(name, []).extend(seconds)
    size = 8 * 4 * 1024**2 * 2 / 1e6
    rate = {name: size / statistics.median(seconds) for name, seconds in taken.items()}
    protocol = "8 dates x 4 bands x 1024 px, local zstd COGs, 2 threads, median of 5 interleaved passes"
    for peer in ("odc-stac, pool", "odc-stac, dask"):
        rows.append({"name": "load scenes", "value": rate["landtide"], "unit": "MB/s", "peer": peer, "peer_value": rate[peer],
                     "ratio": rate["landtide"] / rate[peer], "protocol": protocol, "seeds": chosen.seeds})  # fmt: skip
    results: dict[str, list[dict[str, Any]]] = {"ours": [], "small": [], "peer": []}
    share = 1.0
    for seed in range(chosen.seeds):
        with tempfile.TemporaryDirectory(prefix="landtide-read-") as folder:
            items = make_series(Path(folder), side, DEFAULT_BANDS, dates, seed)
            Path(folder, "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
            job(OURS, folder, side, DEFAULT_BANDS)  # compiles
            for _ in range(turns):
                results["ours"].append(job(OURS, folder, side, DEFAULT_BANDS))
                results["small"].append(job(OURS, folder, side, DEFAULT_BANDS, SMALL))
                results["peer"].append(job(PEER, folder, side, DEFAULT_BANDS))
            share = min(share, agree(results["ours"][-1]["uri"], results["peer"][-1]["uri"]))
    if share < 0.999:
        sys.exit(f"the two jobs agree on {share:.2%} of the values only")
    protocol = f"{side} px, 10 bands, {dates} dates, SCL mask, monthly median to Zarr, 2 threads, median of {turns} interleaved runs"
    protocol += f"; the results agree on {share:.3%}"
    for who, name in (("ours", "composite job"), ("small", f"composite job in {SMALL // 2**20} MiB")):
        for what, key, unit, scale in (("", "seconds", "s", 1.0), (", peak memory", "peak", "MiB", 1 / 1024)):
            ours, peer = (statistics.median(one[key] for one in results[one_of]) * scale for one_of in (who, "peer"))
            rows.append({"name": name + what, "value": ours, "unit": unit, "peer": "odc-stac + xarray + dask", "peer_value": peer,
                         "ratio": peer / ours, "protocol": protocol, "seeds": chosen.seeds})  # fmt: skip
    for row in rows:
        print(
            f"{row['name']:28s} {row['value']:9.1f} {row['unit']:5s} {row['peer']:26s} {row['peer_value']:9.1f}  ratio {row['ratio']:6.2f}"
        )
    print(protocol)
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
