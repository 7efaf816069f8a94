"""A composite that is killed in the middle, and made again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from landtide.core.study import Mask
from landtide.io import manifest, storage

JOB = """
import sys
from landtide.composite import budget, engine
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.core.tile import Tile
from landtide.io import manifest
from landtide.launch.workers import open_pool

budget.LARGEST = 128
tile = Tile("33TVM", "EPSG:32633", (10.0, 0.0, 600000.0, 0.0, -10.0, 5100000.0), (1000, 1000))
key = manifest.Key(sys.argv[2], "s", "composite", "33TVM", "2021", "0")
with open_pool(1, 1, 2**30) as pool, manifest.writing(key, tile=tile, period=Period.of_year(2021)) as out:
    engine.build(sys.argv[1], tile, 2021, bands=("B04", "B11"), mask=Mask(), settings=Composite(), memory=2**30, out=out, pool=pool)
"""


def test_a_killed_composite_leaves_no_manifest_and_is_made_the_same(run, write_raster, make_tile, item, asset, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    items = [
        item(
            f"i{n}",
            f"2021-{n + 1:02d}-05T10:00:00Z",
            {
                "B04": asset(write_raster(f"fine{n}", rng.integers(1, 9000, (1000, 1000)).astype(np.uint16))),
                "B11": asset(write_raster(f"coarse{n}", rng.integers(1, 9000, (500, 500)).astype(np.uint16), size=20)),
                "SCL": asset(write_raster(f"scl{n}", rng.choice([4, 4, 4, 9], (500, 500)).astype(np.uint8), size=20)),
            },
        )
        for n in range(6)
    ]
    undisturbed = run(items, make_tile(1000, 1000), bands=("B04", "B11"), mask=Mask())[2]
    work = tmp_path / "killed"
    words = [sys.executable, "-c", JOB, str(tmp_path / "items.json"), str(work)]
    victim = subprocess.Popen(words)
    while not any(work.glob("s/**/cube.zarr/composite/c/0/0/1/*")):  # the second row of chunks is being written
        assert victim.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    key = manifest.Key(str(work), "s", "composite", "33TVM", "2021", "0")
    assert manifest.find(key) is None
    subprocess.run(words, check=True)
    again = manifest.find(key)
    assert again is not None

    def digests(made) -> dict[str, str]:
        return {name: digest for name, digest in storage.read_json(made.assets["objects"].href).items() if name.startswith("cube.zarr")}

    assert digests(again) == digests(undisturbed)
