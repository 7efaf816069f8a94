"""What the whole pipeline reaches on synthetic worlds, beside the old map and a forest trained on the raw old map.

Usage: python benchmarks/accuracy.py [--quick] [--seeds N] [--first SEED] [--size PIXELS] [--json PATH]

Each world is made, mapped by ``landtide run`` as a user would, and scored on every pixel of every year against its truth. Seed 21
had part in the design (docs/accuracy.md); for figures that prove something take seeds that nobody has looked at (--first).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from worlds import LEGEND, Score, forest, score

from landtide.core.legend import builtin_crosswalk
from landtide.simulate import World, draw_old_map, make_world, world
from landtide.simulate.old_map import NODATA


@dataclass(frozen=True)
class Result:
    """Scores over all years of one world."""

    old_map: Score
    forest: Score
    landtide: Score


def main() -> None:
    """Print a line a world and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small world")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=21)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    count, size = (1, 128) if arguments.quick else (arguments.seeds, arguments.size)
    results = []
    for seed in range(arguments.first, arguments.first + count):
        results.append(measure(seed, size))
        for name in ("old_map", "forest", "landtide"):
            one: Score = getattr(results[-1], name)
            f1 = " ".join(f"{value:.2f}" for value in one.f1)
            print(f"seed {seed} {name.replace('_', ' '):9s} OA {one.overall:.3f}  F1 {f1}", flush=True)
    report(results, size, arguments.json)


def measure(seed: int, size: int) -> Result:
    """Make a world, map it, and score what came out."""
    with tempfile.TemporaryDirectory(prefix="landtide-accuracy-") as folder:
        made = make_world(Path(folder), size=size, seed=seed)
        command = [sys.executable, "-m", "landtide.cli", "run", str(made.study)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        truth = np.stack([read(path) for _, path in sorted(made.truth.items())])
        mapped = np.stack([read(path) for path in maps(made)])
    plain = world(size, tuple(made.truth), seed)
    codes = draw_old_map(plain).on_world
    old = builtin_crosswalk("corine", LEGEND).translate(codes, NODATA)
    raw = []
    for year in sorted(made.truth):
        cube, _ = plain.composites(year)
        x, label = np.nan_to_num(cube.reshape(-1, old.size).T), old.ravel()
        raw.append(forest(x[label > 0], label[label > 0], x, seed).reshape(old.shape))
    return Result(score(truth, np.broadcast_to(old, truth.shape)), score(truth, np.stack(raw)), score(truth, mapped))


def maps(made: World) -> list[Path]:
    """Return the published maps in the order of years."""
    return sorted((made.folder / "work").glob("*/published/maps/*/[0-9][0-9][0-9][0-9].tif"))


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def report(results: list[Result], size: int, path: Path | None) -> None:
    """Print the means and write the rows of the benchmark."""
    protocol = f"{size} px, 3 years, every pixel against the truth; forest of 8000 pixels a year on the raw old map's labels"
    mean = {name: float(np.mean([getattr(one, name).overall for one in results])) for name in ("old_map", "forest", "landtide")}
    rows = [
        {"name": f"overall accuracy beside the {peer.replace('_', ' ')}", "value": mean["landtide"], "unit": "fraction", "peer": peer}
        | {"peer_value": mean[peer], "ratio": mean["landtide"] / mean[peer], "protocol": protocol, "seeds": len(results)}
        for peer in ("old_map", "forest")
    ]
    worst = min(float(one.landtide.f1.min()) for one in results)
    rows.append({"name": "worst class F1", "value": worst, "unit": "fraction", "peer": None, "peer_value": None, "ratio": None})
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    rows.append({"name": "peak memory of a process", "value": peak, "unit": "GiB", "peer": None, "peer_value": None, "ratio": None})
    for row in rows[2:]:
        row |= {"protocol": protocol, "seeds": len(results)}
    for row in rows:
        beside = f"  beside {row['peer_value']:.3f}" if row["peer_value"] else ""
        print(f"{row['name']:40s} {row['value']:.3f} {row['unit']}{beside}")
    if path is not None:
        path.write_text(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
