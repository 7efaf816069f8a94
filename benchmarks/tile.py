"""Composites at the scale of tiles: time against pixels x dates, and peak memory against the memory that was allowed.

Usage: python benchmarks/tile.py [--quick] [--full] [--seeds N] [--memory 4GiB] [--json PATH]

Every size runs in a fresh process, twice (the first compiles, or finds compiled, the kernels); the peak is that of the resident memory of
the process. Without --full the sides are 256 to 2048 pixels with 10 bands; --full adds a tile of 10 980 pixels with 3 bands and 24 dates,
about 10 GB on disk. All have the second look, which reads B02 and B11. The fit is of CPU seconds against 1 (headers, threads), pixels x
dates (masks, second look) and pixels x dates x bands (reading, reducing).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from series import make_series

from landtide.core.bands import DEFAULT_BANDS
from landtide.core.units import parse_memory

JOB = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from series import tile_of
from landtide.composite import build
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.io import manifest
from landtide.launch.workers import open_pool

items, side, bands, memory, work, workers = sys.argv[2], int(sys.argv[3]), tuple(sys.argv[4].split(",")), int(sys.argv[5]), sys.argv[6], 2
tile, taken = tile_of(side), []
for turn in range(2):
    key = manifest.Key(work, "s", "composite", tile.name, "2021", f"{side}-{turn}")
    began, cpu = time.perf_counter(), time.process_time()
    with open_pool(workers, 1, memory) as pool, manifest.writing(key, tile=tile, period=Period.of_year(2021)) as out:
        build(items, tile, 2021, bands=bands, mask=Mask(), settings=Composite(), memory=memory, out=out, pool=pool)
    taken.append((time.perf_counter() - began, time.process_time() - cpu))
# of this process alone: ru_maxrss would start with that of the process that started it
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"seconds": taken[-1][0], "cpu": taken[-1][1], "peak": peak * 1024}))
"""


def measure(side: int, bands: tuple[str, ...], dates: int, seed: int, memory: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="landtide-tile-") as folder:
        items = make_series(Path(folder), side, bands, dates, seed)
        uri = Path(folder) / "items.json"
        uri.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
        words = [str(Path(__file__).parent), str(uri), str(side), ",".join(bands), str(memory), f"{folder}/work"]
        done = subprocess.run([sys.executable, "-c", JOB, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        return {"side": side, "bands": len(bands), "dates": dates, **json.loads(done.stdout)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="256 and 512 px, 12 dates")
    parser.add_argument("--full", action="store_true", help="also a tile of 10 980 px")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--memory", type=parse_memory, default=4 * 2**30)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    jobs = [
        (side, DEFAULT_BANDS, dates)
        for side, dates in (
            [(256, 12), (512, 12)] if chosen.quick else [(256, 36), (512, 12), (512, 36), (1024, 18), (1024, 36), (2048, 36)]
        )
    ]
    jobs += [(10980, ("B02", "B08", "B11"), 24)] if chosen.full else []
    rows, work, cpu = [], [], []
    for seed in range(chosen.seeds):
        for side, bands, dates in jobs:
            made = measure(side, bands, dates, seed, chosen.memory)
            samples = side**2 * dates * len(bands)
            protocol = (
                f"{side} px, {len(bands)} bands, {dates} dates, monthly median, SCL dilated by 60 m, second look, 2 threads, second run"
            )
            common = {"peer": None, "peer_value": None, "ratio": None, "protocol": protocol, "seeds": chosen.seeds}
            rows.append({"name": f"composite {side} px", "value": samples / made["seconds"] / 1e6, "unit": "M samples/s", **common})
            peak = {**common, "peer": "memory allowed", "peer_value": chosen.memory / 2**20, "ratio": made["peak"] / chosen.memory}
            rows.append({"name": f"composite {side} px, peak memory", "value": made["peak"] / 2**20, "unit": "MiB", **peak})
            work.append((1, side**2 * dates, samples))
            cpu.append(made["cpu"])
            print(f"{protocol}: {made['seconds']:.1f} s, CPU {made['cpu']:.1f} s, {samples / made['cpu'] / 1e6:.0f} M samples/CPU s, "
                  f"peak {made['peak'] / 2**20:.0f} MiB of {chosen.memory / 2**20:.0f}", flush=True)  # fmt: skip
    factors, *_ = np.linalg.lstsq(np.array(work, float), np.array(cpu), rcond=None)
    left = np.array(cpu) - np.array(work) @ factors
    fit = 1 - (left**2).sum() / (np.var(cpu) * len(cpu))
    once, seen, read = factors * (1, 1e9, 1e9)
    protocol = f"CPU seconds = {once:.1f} + {seen:.1f} per 1e9 pixels x dates + {read:.1f} per 1e9 pixels x dates x bands"
    rows.append({"name": "linear cost, R^2", "value": fit, "unit": "1", "peer": None, "peer_value": None, "ratio": None,
                 "protocol": protocol, "seeds": chosen.seeds})  # fmt: skip
    print(f"{protocol}; R^2 {fit:.4f}")
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
