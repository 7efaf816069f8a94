"""Monthly and annual medians of an image stack: landtide's kernel, bottleneck and numpy in turns, in one run.

Usage: python benchmarks/composite.py [--quick] [--seeds N] [--json PATH]

Ours reads int16 digital numbers with -32768 = missing, as rasters hold them; the peers need float32 with NaN. Turning one into the other
is not timed. All use the same number of threads: bottleneck and numpy by bands, which both release the lock for.
"""

import argparse
import ctypes
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import bottleneck
import numpy as np
import psutil

from landtide.composite.median import median
from landtide.core.cube import NODATA

DATES, BANDS, MONTHS = 60, 10, 12
MIB = 2**20


@dataclass(frozen=True)
class Row:
    name: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    protocol: str
    seeds: int


@dataclass(frozen=True)
class Stack:
    digital: np.ndarray
    """(N, B, P) int16, in order of time."""

    values: np.ndarray
    """(N, B, P) float32, NaN = missing."""

    steps: list[slice]
    """Of N: the dates of each composite."""


def make_stack(side: int, steps: int, seed: int) -> Stack:
    """Draw reflectances with 40 % of the pixels under cloud, in all bands at once."""
    rng = np.random.default_rng(seed)
    digital = rng.integers(-50, 6000, (DATES, BANDS, side * side)).astype(np.int16)
    cloudy = rng.random((DATES, side * side)) < 0.4
    digital[np.broadcast_to(cloudy[:, None], digital.shape)] = NODATA
    values = digital.astype(np.float32)
    values[digital == NODATA] = np.nan
    edges = np.linspace(0, DATES, steps + 1).astype(int).tolist()
    return Stack(digital, values, [slice(a, b) for a, b in pairwise(edges)])


def ours(stack: Stack, threads: ThreadPoolExecutor, number: int) -> np.ndarray:
    pixels = stack.digital.shape[2]
    composite = np.empty((len(stack.steps), BANDS, pixels), np.int16)
    count = np.empty((len(stack.steps), pixels), np.uint8)
    edges = np.linspace(0, pixels, number + 1).astype(int).tolist()
    parts = [slice(a, b) for a, b in pairwise(edges)]
    for index, step in enumerate(stack.steps):
        list(threads.map(lambda part, step=step, index=index: median(stack.digital[step], composite[index], count[index], part), parts))
    return composite


def by_band(reduce: Callable[[np.ndarray], np.ndarray]) -> Callable[[Stack, ThreadPoolExecutor, int], np.ndarray]:
    def run(stack: Stack, threads: ThreadPoolExecutor, number: int) -> np.ndarray:
        composite = np.empty((len(stack.steps), BANDS, stack.values.shape[2]), np.float32)

        def one(place: tuple[int, int]) -> None:
            composite[place] = reduce(stack.values[stack.steps[place[0]], place[1]])

        list(threads.map(one, np.ndindex(len(stack.steps), BANDS)))
        return composite

    return run


METHODS = {
    "landtide": ours,
    "bottleneck.nanmedian": by_band(lambda values: bottleneck.nanmedian(values, axis=0)),
    "numpy.nanmedian": by_band(lambda values: np.nanmedian(values, axis=0)),
}


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Sample this process's resident memory; the list then holds the MiB gained at the peak."""
    process, gained, stop = psutil.Process(), [0.0], threading.Event()
    ctypes.CDLL(None).malloc_trim(0)  # else memory that an earlier pass has freed would be taken without a trace
    before = process.memory_info().rss

    def watch() -> None:
        while not stop.wait(0.001):
            gained[0] = max(gained[0], (process.memory_info().rss - before) / MIB)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield gained
    finally:
        stop.set()
        watcher.join()


def check(results: dict[str, np.ndarray]) -> None:
    """Stop where a method disagrees with numpy by more than rounding to 1e-4."""
    expected = results["numpy.nanmedian"]
    for name, result in results.items():
        values = np.where(result == NODATA, np.nan, result.astype(np.float32)) if result.dtype == np.int16 else result
        np.testing.assert_allclose(values, expected, atol=0.501, err_msg=name)


def measure(side: int, steps: int, seeds: int, repeats: int, number: int) -> list[Row]:
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    memory: dict[str, float] = dict.fromkeys(METHODS, 0.0)
    size = 0
    with ThreadPoolExecutor(number) as threads:
        for seed in range(seeds):
            stack = make_stack(side, steps, seed)
            size = stack.digital.nbytes
            check({name: method(stack, threads, number) for name, method in METHODS.items()})  # also compiles
            for name, method in METHODS.items():
                with peak_memory() as gained:
                    method(stack, threads, number)
                memory[name] = max(memory[name], gained[0])
            for _ in range(repeats):
                for name, method in METHODS.items():  # in turns: a busy moment of the machine meets all of them
                    began = time.perf_counter()
                    method(stack, threads, number)
                    seconds[name].append(time.perf_counter() - began)
    rate = {name: DATES * BANDS * side * side / statistics.median(taken) / 1e6 for name, taken in seconds.items()}
    kind = "monthly" if steps == MONTHS else "annual"
    protocol = f"{DATES} dates x {BANDS} bands x {side} px, 40 % missing, {number} threads, median of {repeats * seeds} interleaved passes"
    rows = [
        Row(f"{kind} median vs {peer}", rate["landtide"], "M samples/s", peer, rate[peer], rate["landtide"] / rate[peer], protocol, seeds)
        for peer in METHODS
        if peer != "landtide"
    ]
    share = memory["landtide"] * MIB / size
    peer = "bottleneck.nanmedian"
    rows.append(
        Row(f"{kind} median, extra memory", memory["landtide"], "MiB", peer, memory[peer], share, f"{protocol}; ratio: of the input", seeds)
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="128 px instead of 256")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    side, repeats = (128, 3) if chosen.quick else (256, 5)
    rows = [row for steps in (MONTHS, 1) for row in measure(side, steps, chosen.seeds, repeats, chosen.threads)]
    for row in rows:
        print(f"{row.name:40s} {row.value:9.1f} {row.unit:12s} peer {row.peer_value:8.1f}  ratio {row.ratio:7.2f}")
    print(rows[0].protocol)
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": [asdict(row) for row in rows]}, indent=2))


if __name__ == "__main__":
    main()
