"""The whole job on simulated worlds of growing size: megapixels a second and peak memory of each step.

Usage: python benchmarks/end_to_end.py [--quick] [--seeds N] [--json PATH]

A rate counts the pixels of all years. Memory is resident memory, sampled: of the whole run (driver, step, workers; shared pages count
once a process) and of its largest process, which must not grow with the area.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

import psutil

from landtide.core.study import parse_study
from landtide.launch import driver, progress

YEARS = (2018, 2019)
MIB = 2**20
PAUSE = 0.1
"""Seconds between two samples of the memory."""


@dataclass
class Row:
    name: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    protocol: str
    seeds: int


@dataclass
class Use:
    """What one step took; of several seeds the sum of seconds and the highest memory."""

    seconds: float = 0.0
    total: float = 0.0
    """MiB of all processes of the run."""

    largest: float = 0.0
    """MiB of the largest process."""


@dataclass
class Watch:
    """Follows the run: which step is running, and how much memory the processes hold meanwhile."""

    steps: dict[str, Use] = field(default_factory=dict)
    running: str | None = None

    def note(self, event: progress.Event) -> None:
        use = self.steps.setdefault(event.step, Use())
        self.running = event.step if event.state == "started" else None
        use.seconds += event.seconds

    def sample(self) -> None:
        sizes = []
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it ended in between
                sizes.append(process.memory_info().rss / MIB)
        if self.running and sizes:
            use = self.steps[self.running]
            use.total = max(use.total, sum(sizes))
            use.largest = max(use.largest, *sizes)

    @contextmanager
    def watching(self) -> Iterator[None]:
        stop = threading.Event()

        def follow() -> None:
            while not stop.wait(PAUSE):
                self.sample()

        thread = threading.Thread(target=follow)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def simulate(folder: Path, size: int, seed: int, watch: Watch) -> Path:
    """Make a world in a process of its own; return its study file."""
    begun = time.monotonic()
    watch.note(progress.Event("simulate", "started"))
    call = f"make_world(Path({str(folder)!r}), size={size}, years={YEARS}, seed={seed})"
    code = f"from pathlib import Path; from landtide.simulate import make_world; {call}"
    subprocess.run([sys.executable, "-c", code], check=True)
    watch.note(progress.Event("simulate", "done", seconds=time.monotonic() - begun))
    return next(folder.glob("*.yaml"))


def measure(size: int, seed: int, watch: Watch) -> None:
    """Simulate a world and run the pipeline on it."""
    with tempfile.TemporaryDirectory(prefix="landtide-bench-") as name:
        folder = Path(name)
        with watch.watching():
            path = simulate(folder / "world", size, seed, watch)
            study = parse_study(path.read_text(), str(path.parent), date.today(), {"workspace": str(folder / "work")})
            driver.execute(study, driver.new_run(study), watch.note)


def rows(size: int, watch: Watch, smallest: tuple[int, Watch], seeds: int) -> list[Row]:
    """Return three rows a step; the peer of a memory is the same step at the smallest size."""
    protocol = f"simulated world of {size} x {size} px, {len(YEARS)} years, study as `landtide simulate` writes it, 2 workers of 1 thread"
    found = []
    for step, use in watch.steps.items():
        rate = seeds * len(YEARS) * size * size / 1e6 / use.seconds if use.seconds else 0.0
        found.append(Row(f"{step}, {size} px", rate, "Mpx/s", None, None, None, protocol, seeds))
        first = smallest[1].steps.get(step, use)
        for kind, value, before in (("all processes", use.total, first.total), ("largest process", use.largest, first.largest)):
            label, peer = f"{step}, {size} px, peak memory of {kind}", f"the same at {smallest[0]} px"
            found.append(Row(label, value, "MiB", peer, before, value / before if before else None, protocol, seeds))
    return found


def show(size: int, watch: Watch, seeds: int) -> None:
    print(f"\n{size} px x {len(YEARS)} years\n{'step':24s} {'s':>8s} {'Mpx/s':>9s} {'all MiB':>9s} {'largest':>9s}")
    for step, use in watch.steps.items():
        rate = seeds * len(YEARS) * size * size / 1e6 / use.seconds if use.seconds else 0.0
        print(f"{step:24s} {use.seconds / seeds:8.1f} {rate:9.3f} {use.total:9.0f} {use.largest:9.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="128 and 256 px instead of 512, 1024 and 2048")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    done: list[tuple[int, Watch]] = []
    for size in (128, 256) if chosen.quick else (512, 1024, 2048):
        watch = Watch()
        for seed in range(chosen.seeds):
            measure(size, 7 + seed, watch)
        show(size, watch, chosen.seeds)
        done.append((size, watch))
    if chosen.json:
        found = [asdict(row) for size, watch in done for row in rows(size, watch, done[0], chosen.seeds)]
        chosen.json.write_text(json.dumps({"rows": found}, indent=2))


if __name__ == "__main__":
    main()
