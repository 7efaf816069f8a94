"""Composites of an image stack: medians beside bottleneck and numpy, geomedian beside odc-algo, medoid beside numpy, in turns, in one run.

Usage: python benchmarks/composite.py [--quick] [--seeds N] [--json PATH]

Ours reads int16 digital numbers with -32768 = missing, as rasters hold them; the peers need float32 with NaN. Turning one into the other
is not timed. All use the same number of threads: bottleneck and numpy by bands, which both release the lock for, odc-algo its own. numpy
"as called" is the plain `numpy.nanmedian(stack, axis=0)` of a month that a user writes, in one thread.

A geomedian is as good as its objective, the sum of distances to the observations: odc-algo is timed with its own tolerance, and the sums of
both, in double precision after rounding to 1e-4 as composites are stored, are printed beside the speeds.
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
from odc.algo import xr_geomedian

from landtide.composite.geomedian import geomedian
from landtide.composite.median import median
from landtide.composite.medoid import medoid
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


def as_called(stack: Stack, threads: ThreadPoolExecutor, number: int) -> np.ndarray:
    return np.stack([np.nanmedian(stack.values[step], axis=0) for step in stack.steps])


METHODS = {
    "landtide": ours,
    "numpy.nanmedian as called": as_called,
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


def copy_seconds(stack: Stack, target: np.ndarray, threads: ThreadPoolExecutor, number: int) -> float:
    """Return the seconds in which the threads merely copy the stack: the limit of any method that reads it once."""
    edges = np.linspace(0, len(target), number + 1).astype(int).tolist()
    began = time.perf_counter()
    list(threads.map(lambda part: np.copyto(target[slice(*part)], stack.digital[slice(*part)]), pairwise(edges)))
    return time.perf_counter() - began


def make_spectra(side: int, seed: int) -> Stack:
    """Draw a year of spectra around one of each pixel, some of them under missed cloud, 40 % masked: what a geomedian is used on."""
    rng = np.random.default_rng(seed)
    pixels = side * side
    digital = (rng.integers(200, 4000, (1, BANDS, pixels)) + rng.normal(0, 300, (DATES, 1, pixels))).astype(np.float32)
    digital += rng.normal(0, 80, digital.shape).astype(np.float32) + (rng.random((DATES, 1, pixels)) < 0.08) * 3000
    digital = digital.astype(np.int16)
    digital[np.broadcast_to((rng.random((DATES, pixels)) < 0.4)[:, None], digital.shape)] = NODATA
    values = np.where(digital == NODATA, np.nan, digital * np.float32(1e-4)).astype(np.float32)
    return Stack(digital, values, [slice(0, DATES)])


def one_step(reduce: Callable[..., np.ndarray]) -> Callable[[Stack, ThreadPoolExecutor, int], np.ndarray]:
    def run(stack: Stack, threads: ThreadPoolExecutor, number: int) -> np.ndarray:
        pixels = stack.digital.shape[2]
        composite, count = np.empty((BANDS, pixels), np.int16), np.empty(pixels, np.uint8)
        edges = np.linspace(0, pixels, number + 1).astype(int).tolist()
        list(threads.map(lambda part: reduce(stack.digital, composite, count, slice(*part)), pairwise(edges)))
        return composite

    return run


def numpy_medoid(stack: Stack, threads: ThreadPoolExecutor, number: int) -> np.ndarray:
    pixels = stack.digital.shape[2]
    composite = np.empty((BANDS, pixels), np.int16)

    def one(part: slice) -> None:
        values = stack.digital[:, :, part].astype(np.float64)
        missing = (stack.digital[:, :, part] == NODATA).any(axis=1)
        sums = np.empty(missing.shape)
        for n in range(len(values)):
            distance = np.sqrt(((values - values[n]) ** 2).sum(axis=1))
            sums[n] = np.where(missing, 0, distance).sum(axis=0)
        best = np.where(missing, np.inf, sums).argmin(axis=0)
        composite[:, part] = np.take_along_axis(stack.digital[:, :, part], best[None, None], axis=0)[0]

    list(threads.map(one, [slice(start, min(start + 1024, pixels)) for start in range(0, pixels, 1024)]))
    return composite


def objective(stack: Stack, centre: np.ndarray) -> np.ndarray:
    """Return (P,) float64 the sums of distances, in digital numbers of 1e-4."""
    total = np.zeros(centre.shape[1])
    for one in stack.digital:
        distance = np.sqrt(((one.astype(np.float64) - centre) ** 2).sum(axis=0))
        total += np.where((one == NODATA).any(axis=0), 0, distance)
    return total


def measure_vectors(side: int, seeds: int, repeats: int, number: int) -> list[Row]:
    """Time geomedian and medoid, and hold the geomedian's objective against odc-algo's."""
    seconds: dict[str, list[float]] = {}
    sums, better, worse, pixels = {"landtide": 0.0, "odc-algo": 0.0}, 0, 0, 0
    with ThreadPoolExecutor(number) as threads:
        for seed in range(seeds):
            stack = make_spectra(side, seed)
            by_pixel = np.ascontiguousarray(stack.values.reshape(DATES, BANDS, side, side).transpose(2, 3, 1, 0))

            def peer(by_pixel: np.ndarray = by_pixel) -> np.ndarray:
                return np.asarray(xr_geomedian(by_pixel, axis=None, num_threads=number)).reshape(side * side, BANDS).T

            runs: dict[str, Callable[[], np.ndarray]] = {
                "geomedian": lambda stack=stack: one_step(geomedian)(stack, threads, number),  # type: ignore[misc]
                "odc-algo": peer,
                "medoid": lambda stack=stack: one_step(medoid)(stack, threads, number),  # type: ignore[misc]
                "numpy medoid": lambda stack=stack: numpy_medoid(stack, threads, number),  # type: ignore[misc]
            }
            made = {name: run() for name, run in runs.items()}  # also compiles
            np.testing.assert_array_equal(made["medoid"], made["numpy medoid"])
            mine, theirs = objective(stack, made["geomedian"].astype(np.float64)), objective(stack, np.rint(made["odc-algo"] / 1e-4))
            sums["landtide"], sums["odc-algo"] = sums["landtide"] + mine.sum(), sums["odc-algo"] + theirs.sum()
            better, worse, pixels = better + int((mine < theirs).sum()), worse + int((mine > theirs).sum()), pixels + mine.size
            for _ in range(repeats):
                for name, run in runs.items():
                    began = time.perf_counter()
                    run()
                    seconds.setdefault(name, []).append(time.perf_counter() - began)
    rate = {name: DATES * BANDS * side * side / statistics.median(taken) / 1e6 for name, taken in seconds.items()}
    protocol = f"{DATES} dates x {BANDS} bands x {side} px, 40 % missing, {number} threads, median of {repeats * seeds} interleaved passes"
    share = f"{protocol}; rounded results: ours lower on {better / pixels:.1%}, higher on {worse / pixels:.1%} of the pixels"
    return [
        Row(
            "annual geomedian",
            rate["geomedian"],
            "M samples/s",
            "odc-algo",
            rate["odc-algo"],
            rate["geomedian"] / rate["odc-algo"],
            protocol,
            seeds,
        ),
        Row(
            "geomedian, sum of distances",
            sums["landtide"],
            "1e-4",
            "odc-algo",
            sums["odc-algo"],
            sums["landtide"] / sums["odc-algo"],
            share,
            seeds,
        ),
        Row(
            "annual medoid",
            rate["medoid"],
            "M samples/s",
            "numpy",
            rate["numpy medoid"],
            rate["medoid"] / rate["numpy medoid"],
            protocol,
            seeds,
        ),
    ]


def measure(side: int, steps: int, seeds: int, repeats: int, number: int) -> list[Row]:
    seconds: dict[str, list[float]] = {name: [] for name in (*METHODS, "copy")}
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
            target = np.zeros_like(stack.digital)
            for _ in range(repeats):
                seconds["copy"].append(copy_seconds(stack, target, threads, number))
                for name, method in METHODS.items():  # in turns: a busy moment of the machine meets all of them
                    began = time.perf_counter()
                    method(stack, threads, number)
                    seconds[name].append(time.perf_counter() - began)
    rate = {name: DATES * BANDS * side * side / statistics.median(taken) / 1e6 for name, taken in seconds.items()}
    kind = "monthly" if steps == MONTHS else "annual"
    protocol = f"{DATES} dates x {BANDS} bands x {side} px, 40 % missing, {number} threads, median of {repeats * seeds} interleaved passes"
    rows = [
        Row(f"{kind} median vs {peer}", rate["landtide"], "M samples/s", peer, rate[peer], rate["landtide"] / rate[peer], protocol, seeds)
        for peer in seconds
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
    rows += measure_vectors(side // 2, chosen.seeds, repeats, chosen.threads)
    for row in rows:
        print(f"{row.name:48s} {row.value:14.1f} {row.unit:12s} peer {row.peer_value:14.1f}  ratio {row.ratio:11.8g}")
    for protocol in dict.fromkeys(row.protocol for row in rows):
        print(protocol)
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": [asdict(row) for row in rows]}, indent=2))


if __name__ == "__main__":
    main()
