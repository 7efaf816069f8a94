"""A model that goes on from year to year: what it knows at the end, what it has forgotten, and what it knew before it was taught.

Usage: python benchmarks/continual.py [--quick] [--seeds N] [--first SEED] [--sequences NAME ...] [--json PATH]

On each simulated world, a sequence of four years teaches a network one year after the other, each method going on from its own model of
the year before by the product's own training (`continual` in a study). `years`: every year shows all classes, and years differ by weather,
light and change. `classes`: every year shows classes that no other shows, and is judged on these. One label in ten is wrong. Accuracies are
those on pixels of the other half of the blocks. `joint` learns from all years so far at once, `anew` from the year alone. Seed 1 served to
try the script; the reported ones begin at 21, and all settings are the defaults.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from places import DOY, LEGEND, halves, row, sample_set, scene, write
from threadpoolctl import threadpool_limits

from landtide import models
from landtide.io import table
from landtide.simulate.spectra import BANDS
from landtide.train import ledger
from landtide.train.job import train
from landtide.train.spec import Continual, TrainSpec

YEARS = (2018, 2019, 2020, 2021)
GROUPS = ((1, 4, 5), (2, 6, 8), (3, 7), (9, 10))
"""Labels that each year of the sequence `classes` shows."""

LEARNT, JUDGED, WRONG = 1000, 2000, 0.1
NETWORK: dict[str, Any] = {"hidden": 16, "convolution": 16, "batch": 64, "epochs": 12}
GOING_ON = ("finetune", "replay", "ewc", "distill")
METHODS = ("anew", *GOING_ON, "joint")


def measure(seed: int, size: int, sequence: str, folder: Path) -> dict[str, list[ledger.Row]]:
    """Return the ledger of every method: accuracy of the model of each year on the judged pixels of all years."""
    x, truth = scene(seed, size, YEARS)
    rng = np.random.default_rng(seed)
    inside, outside = halves(size, rng)
    judged, uris = [], []
    for number, year in enumerate(YEARS):
        shown = GROUPS[number] if sequence == "classes" else tuple(range(1, len(LEGEND) + 1))
        learnt = inside[np.isin(truth[inside, number], shown)][:LEARNT]
        judged.append(outside[np.isin(truth[outside, number], shown)][:JUDGED])
        label = truth[learnt, number]
        label = np.where(rng.random(len(learnt)) < WRONG, rng.choice(shown, len(learnt)), label)
        uris.append(str(folder / f"{year}.parquet"))
        table.write_samples(uris[-1], sample_set(x[learnt, number], label, learnt, np.full(len(learnt), year), size))
        inside = rng.permutation(inside)
    first = TrainSpec("lstm", (uris[0],), LEGEND, BANDS, len(DOY), seed, str(folder / "first"), settings=NETWORK, continual=Continual())
    train(first)
    found = {}
    for method in METHODS:
        rows, model = [], first.output
        for number, year in enumerate(YEARS):
            if number:
                model = train(next_spec(first, method, uris[: number + 1], model, str(folder / f"{method}-{year}")))
            rows.append({"years": [year], "accuracy": accuracies(model, x, truth, judged)})
        found[method] = rows
    return found


def next_spec(first: TrainSpec, method: str, uris: list[str], model: str, output: str) -> TrainSpec:
    """Return the training of the next year; the gate is open, so that what is forgotten shows."""
    if method in GOING_ON:
        going_on = Continual(model, tuple(uris[:-1]), method, forget=1.0)  # type: ignore[arg-type]
        return dataclasses.replace(first, samples=(uris[-1],), output=output, continual=going_on)
    return dataclasses.replace(first, samples=tuple(uris) if method == "joint" else (uris[-1],), output=output)


def accuracies(folder: str, x: np.ndarray, truth: np.ndarray, judged: list[np.ndarray]) -> dict[str, float]:
    """Return the accuracy of a model on each year."""
    model, found = models.load(folder), {}
    for number, (year, pixels) in enumerate(zip(YEARS, judged, strict=True)):
        shape = (len(pixels), len(DOY))
        proba = model.predict_proba(x[pixels, number], np.broadcast_to(DOY, shape), np.full(shape, year, np.int16))
        found[str(year)] = float((proba[:, 0].argmax(axis=1) + 1 == truth[pixels, number]).mean())
    return found


def main() -> None:
    """Print the ledgers' sums and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small world, classes alone")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=21)
    parser.add_argument("--sequences", nargs="+", choices=("years", "classes"), default=["years", "classes"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    seeds, size = (1, 128) if arguments.quick else (arguments.seeds, 256)
    found: dict[tuple[str, str, str], list[float]] = {}
    for seed in range(arguments.first, arguments.first + seeds):
        for sequence in arguments.sequences[-1:] if arguments.quick else arguments.sequences:
            with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
                for method, rows in measure(seed, size, sequence, Path(folder)).items():
                    sums = ledger.summary(rows, 1 / len(LEGEND))
                    for key, value in sums.items():
                        assert value is not None
                        found.setdefault((sequence, method, key), []).append(value)
                    print(
                        f"seed {seed} {sequence:8s} {method:9s} " + "  ".join(f"{key} {value:+.3f}" for key, value in sums.items()),
                        flush=True,
                    )
    protocol = f"{size} px, years {YEARS[0]}-{YEARS[-1]}, LSTM + convolution of 16, {LEARNT} samples a year with {WRONG:.0%} wrong labels"
    rows = [
        row(f"{sequence}, {method}: {key.upper()}", values, "fraction", protocol, "finetune", found[sequence, "finetune", key])
        for (sequence, method, key), values in found.items()
    ]
    write(rows, protocol, arguments.json)


if __name__ == "__main__":
    main()
