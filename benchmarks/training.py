"""How fast networks train: against plain PyTorch at its best batch, by one and two processes, and with more samples than fit the memory.

Usage: python benchmarks/training.py [--quick] [--seeds N] [--parts NAME ...] [--samples N] [--json PATH] [--plot SVG]

Two processes want a machine without other work; the rest is processor time. The samples of `memory` are written to the disk: 10^7 take
4.8 GB.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.distributed as dist
from curves import Line, plot
from torch import nn

from landtide import models
from landtide.core.legend import builtin_legend
from landtide.core.samples import SampleSet
from landtide.io import table
from landtide.train.batches import InMemory
from landtide.train.data import read
from landtide.train.group import Group, joined
from landtide.train.loop import Hooks, fit
from landtide.train.place import Place
from landtide.train.spec import Optimisation, TrainSpec
from landtide.train.stream import Streamed

STEPS, BANDS = 12, ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
LEGEND = builtin_legend("landtide10")
PARTS = ("plain", "processes", "memory")
BATCHES = (64, 128, 256, 512, 1024)
NETWORK = {"name": "lstm", "hidden": 64, "convolution": 64}
MODELLED = (2, 8, 128)
ETHERNET = (50e-6, 1.25e9)
"""Latency in s and bytes/s of 10 Gbit Ethernet, for the model of many machines."""


def samples(count: int, seed: int) -> SampleSet:
    """Make random series with labels that can be learnt."""
    rng = np.random.default_rng(seed)
    y = rng.integers(1, len(LEGEND) + 1, count).astype(np.uint8)
    x = rng.normal(0.2, 0.1, (count, STEPS, len(BANDS))).astype(np.float32) + 0.02 * y[:, None, None].astype(np.float32)
    return SampleSet(
        x=x,
        y=y,
        doy=np.tile(np.arange(15, 365, 30, dtype=np.int16)[:STEPS], (count, 1)),
        xy=rng.random((count, 2)),
        year=np.full(count, 2018, np.int16),
        trust=np.ones(count, np.float32),
        polygon=rng.integers(0, 5000, count),
        tile=np.full(count, "31UFT"),
        draw=np.full(count, 0xFFFFFFFF, np.uint32),
        bands=BANDS,
        origin="stable",
    )


def spec_of(folder: Path, count: int, seed: int, memory: int = 8 * 2**30) -> TrainSpec:
    path = folder / f"samples-{count}.parquet"
    if not path.exists():
        table.write_samples(str(path), samples(count, seed))
    return TrainSpec("lstm", (str(path),), LEGEND, BANDS, STEPS, seed, str(folder / "out"), memory=memory)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    own = {key: value for key, value in NETWORK.items() if key != "name"}
    seen = list(range(1, len(LEGEND) + 1))
    return models.build("lstm", channels=len(BANDS), steps=STEPS, classes=len(LEGEND), seen=seen, **own)


def plain(spec: TrainSpec, batch: int, count: int, seed: int) -> float:
    """Return samples/s of processor time of a plain loop: AdamW and cross-entropy over tensors in memory, nothing else."""
    data = InMemory(read(spec), Optimisation(), seed, Group(), classes=len(LEGEND))._training
    module, order = network(seed).train(), torch.randperm(len(data))[:count]
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3)
    for index in order[:batch].split(batch):  # warm
        nn.functional.cross_entropy(module(data.x[index], data.mask[index], data.doy[index]), data.target[index]).backward()
    start = time.process_time()
    steps = len(order) // batch
    for index in order[: steps * batch].split(batch):
        optimiser.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(module(data.x[index], data.mask[index], data.doy[index]), data.target[index])
        loss.backward()
        optimiser.step()
    return steps * batch / (time.process_time() - start)


@dataclass(frozen=True)
class Rate:
    """Samples/s of all processes together."""

    wall: float
    processor: float
    """By the processor time of one process: what they would reach if none ever waited."""


def ours(spec: TrainSpec, batch: int, count: int, seed: int, group: Group | None = None) -> Rate:
    """Measure the training loop with all it does: noise, hidden steps, clipping, validation, the best weights kept."""
    optimisation = Optimisation(epochs=3, batch=batch, epoch_samples=count, patience=99)
    group = group or Group()
    source = InMemory(read(spec), optimisation, seed, group, classes=len(LEGEND))
    marks = [(time.perf_counter(), time.process_time())]
    hooks = Hooks(watch=lambda _: marks.append((time.perf_counter(), time.process_time())))
    fit(network(seed), source, settings=optimisation, seed=seed, group=group, hooks=hooks)
    return Rate(*(count / np.median(np.diff(marks, axis=0)[1:], axis=0)).tolist())


def against_plain(folder: Path, count: int, seeds: int) -> list[dict[str, Any]]:
    """Interleave our loop and the plain one at every batch size; one thread."""
    spec = spec_of(folder, count * 6 // 5, 1)
    peers: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    own: dict[int, list[float]] = {256: [], 1024: []}
    for seed in range(1, seeds + 1):
        for batch in BATCHES:
            peers[batch].append(plain(spec, batch, count, seed))
        for batch, found in own.items():
            found.append(ours(spec, batch, count, seed).processor)
    best = max(peers, key=lambda batch: statistics.median(peers[batch]))
    peer = statistics.median(peers[best])
    protocol = (
        f"LSTM + convolution, {STEPS} steps x {len(BANDS)} bands, {count} samples a pass, 1 thread, fp32, processor time, interleaved"
    )
    rows = [row(f"plain PyTorch, batch {batch}", statistics.median(found), "samples/s", protocol, seeds) for batch, found in peers.items()]
    for batch, found in own.items():
        value = statistics.median(found)
        rows.append(row(f"training loop, batch {batch}", value, "samples/s", protocol, seeds, f"plain PyTorch, batch {best}", peer))
    return rows


def worker(folder: Path, count: int) -> None:
    """Measure one process of several: samples/s of all, and the cost of summing the gradients; the first prints them."""
    torch.set_num_threads(1)
    place = Place.of(os.environ)
    with joined(place, "cpu") as group:
        rate = ours(spec_of(folder, count * 6 // 5, 1), 256, count, 1, group)
        sizes = (sum(parameter.numel() for parameter in network(1).parameters()), 4_000_000)
        costs = [all_reduce(size) if group.world > 1 else 0.0 for size in sizes]
        if place.first:
            print(json.dumps({**vars(rate), "sizes": sizes, "costs": costs}))


def all_reduce(size: int) -> float:
    """Return the seconds of summing so many float32 over all processes."""
    values, times = torch.ones(size), []
    for _ in range(30):
        start = time.perf_counter()
        dist.all_reduce(values)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def scaling(folder: Path, count: int) -> list[dict[str, Any]]:
    """Measure one and two processes on this machine, and say what many would do."""
    found = {}
    for processes in (1, 2):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command += [__file__, "--worker", str(folder), "--count", str(count)]
        environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found[processes] = json.loads(done.stdout.strip().splitlines()[-1])
    one, two = found[1]["wall"], found[2]["wall"]
    protocol = (
        f"LSTM + convolution, batch 256 a process, 1 thread each, gloo over loopback, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    rows = [row("1 process", one, "samples/s", protocol, 1), row("2 processes", two, "samples/s", protocol, 1, "1 process", one)]
    busy = [found[processes]["processor"] for processes in (1, 2)]
    rows.append(row("1 process, by its processor time", busy[0], "samples/s", protocol, 1))
    rows.append(
        row("2 processes, by the processor time of one", busy[1], "samples/s", protocol, 1, "1 process, by its processor time", busy[0])
    )
    size, cost = found[2]["sizes"][0], found[2]["costs"][0]
    step = 256 / busy[0]
    rows.append(row(f"sum of {size} gradients over 2 processes", cost * 1e3, "ms", protocol, 1, "a step of one process, ms", step * 1e3))
    for processes in MODELLED:
        told = f"model: step {step * 1e3:.0f} ms + ring all-reduce of {4 * size / 2**20:.1f} MiB over 10 Gbit Ethernet, 50 us a message"
        ring = 2 * (processes - 1) * (ETHERNET[0] + 4 * size / processes / ETHERNET[1])
        rows.append(row(f"efficiency of {processes} processes, modelled", step / (step + ring), "fraction", told, 0))
    return rows


def picture(rows: list[dict[str, Any]]) -> str:
    """Return an SVG of the rate by processes: measured, modelled, and without any cost of communication."""
    value = {one["name"]: one["value"] for one in rows}
    one = value["1 process, by its processor time"] / 1000
    two = value["2 processes, by the processor time of one"] / 1000
    modelled = [one, *(one * processes * value[f"efficiency of {processes} processes, modelled"] for processes in MODELLED)]
    lines = [
        Line("every process for itself", [1, MODELLED[-1]], [one, one * MODELLED[-1]]),
        Line("model: 10 Gbit Ethernet", [1, *MODELLED], modelled),
        Line("measured, by processor time", [1, 2], [one, two], dots=True),
    ]
    return plot(lines, "processes", "thousand samples/s", doubling=True)


def bounded(folder: Path, count: int) -> list[dict[str, Any]]:
    """Learn from many samples within a budget of 1 GiB: a process of its own tells its peak."""
    path = folder / f"many-{count}.parquet"
    part = samples(table.ROW_GROUP, 1)
    group = pq.read_table(str(write_part(folder, part)))
    with pq.ParquetWriter(str(path), group.schema, compression="zstd") as writer:
        for _ in range(-(-count // table.ROW_GROUP)):
            writer.write_table(group, row_group_size=table.ROW_GROUP)
    done = subprocess.run([sys.executable, __file__, "--streamed", str(path)], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.strip().splitlines()[-1])
    protocol = (
        f"{told['samples']} samples ({told['bytes'] / 1e9:.1f} GB of series), compute.memory 1 GiB, one look and two passes of 20 000"
    )
    rows = [row("peak memory of a streamed training", told["peak"] / 2**30, "GiB", protocol, 1, "compute.memory", 1.0)]
    rows.append(row("first look at all samples", told["look"], "s", protocol, 1))
    rows.append(row("a pass of 20 000 samples", told["pass"], "s", protocol, 1))
    path.unlink()
    return rows


def write_part(folder: Path, part: SampleSet) -> Path:
    table.write_samples(str(folder / "part.parquet"), part)
    return folder / "part.parquet"


def streamed(path: str) -> None:
    """Train from one large file, and print what it took."""
    torch.set_num_threads(1)
    settings = Optimisation(epochs=2, batch=256)
    spec = TrainSpec("lstm", (path,), LEGEND, BANDS, STEPS, 1, "unused", memory=2**30)
    files, start = [table.open_samples(path)], time.perf_counter()
    source = Streamed(spec, files, settings, Group())
    look, marks = time.perf_counter() - start, [time.perf_counter()]
    fit(network(1), source, settings=settings, seed=1, hooks=Hooks(watch=lambda _: marks.append(time.perf_counter())))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = len(files[0]) * STEPS * len(BANDS) * 4
    print(json.dumps({"samples": len(files[0]), "bytes": size, "look": look, "pass": float(np.diff(marks).mean()), "peak": peak}))


def row(
    name: str, value: float, unit: str, protocol: str, seeds: int, peer: str | None = None, peer_value: float | None = None
) -> dict[str, Any]:
    ratio = value / peer_value if peer_value else None
    print(f"{name:44s} {value:12.4g} {unit:10s}" + (f" {ratio:.2f} x {peer}" if ratio else ""), flush=True)
    told = {"peer": peer, "peer_value": peer_value, "ratio": ratio, "protocol": protocol, "seeds": seeds}
    return {"name": name, "value": value, "unit": unit, **told}


def main() -> None:
    """Print a table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--samples", type=int, default=10_000_000, help="of the part memory")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="picture of the part processes")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--streamed", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker(arguments.worker, arguments.count)
    if arguments.streamed:
        return streamed(arguments.streamed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    count = 5120 if arguments.quick else 20_480
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = []
        if "plain" in arguments.parts:
            rows += against_plain(folder, count, 1 if arguments.quick else arguments.seeds)
        if "processes" in arguments.parts:
            rows += scaling(folder, count)
        if "memory" in arguments.parts:
            rows += bounded(folder, 500_000 if arguments.quick else arguments.samples)
    if arguments.plot:
        arguments.plot.write_text(picture(rows), "utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows}, indent=2), "utf-8")
    return None


if __name__ == "__main__":
    main()
