"""What pre-training without labels is worth: accuracy with 1, 5, 10 and 100 % of the labels, from scratch and after it.

Usage: python benchmarks/pretrain.py [--quick] [--seeds N] [--first SEED] [--methods NAME ...] [--shares SHARE ...] [--json PATH]

On each simulated world of 256 px and two years, series without labels are drawn from one half of the blocks, labels (10 % of them wrong)
from the same half, and accuracy is that on pixels of the other half: the mean of several draws of the labels where these are few. All
trainings on labels take about the same number of steps. Seed 1 served to choose the settings; the reported ones begin at 21.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from places import DOY, LEGEND, halves, row, sample_set, scene, write
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from landtide import models
from landtide.io import table
from landtide.models.card import standardise
from landtide.simulate.spectra import BANDS
from landtide.train import pretrain
from landtide.train.job import train
from landtide.train.spec import Pretrain, TrainSpec, split_settings

YEARS = (2018, 2019)
PLACES, LABELLED, JUDGED, WRONG = 8000, 5000, 6000, 0.1
DRAWS = {0.01: 3, 0.05: 1, 0.1: 1, 1.0: 1}
"""Share of the labels -> draws of them: fifty labels are a matter of luck."""

A_PASS = 2000
"""Rows of a pass at least: few labels are given several times, so that a pass takes as many steps as with many."""

NETWORK: dict[str, Any] = {"hidden": 32, "convolution": 32, "batch": 64}
EPOCHS = {1.0: 10}
PASSES = 50
"""Passes of the pre-training: as many steps as a study's 20 over 20 000 places."""


def measure(seed: int, size: int, methods: list[str], shares: list[float], folder: Path) -> dict[tuple[str, float], float]:
    """Return the accuracy of every way of starting, with every share of the labels."""
    x, truth = scene(seed, size, YEARS)
    rng = np.random.default_rng(seed)
    inside, outside = halves(size, rng)
    pixels, year = outside[:JUDGED], rng.integers(0, len(YEARS), JUDGED)
    asked = x[pixels, year], truth[pixels, year]
    places, number = np.repeat(inside[:PLACES], len(YEARS)), np.tile(np.arange(len(YEARS)), PLACES)
    unlabelled = sample_set(x[places, number], np.zeros(len(places)), places, np.array(YEARS)[number], size)
    table.write_samples(str(folder / "unlabelled.parquet"), unlabelled)
    spec = TrainSpec("lstm", (str(folder / "unlabelled.parquet"),), LEGEND, BANDS, len(DOY), seed, "", settings=NETWORK)
    starts: dict[str, str | None] = {"scratch": None}
    for method in methods:
        starts[method] = train(dataclasses.replace(spec, output=str(folder / method), pretrain=Pretrain(method, PASSES)))  # type: ignore[arg-type]
    found: dict[tuple[str, float], list[float]] = {}
    for share in shares:
        for draw in range(DRAWS.get(share, 1)):
            rng = np.random.default_rng([seed, draw])
            count = round(share * LABELLED)
            chosen, year = rng.permutation(inside)[:count], rng.integers(0, len(YEARS), count)
            label = np.where(rng.random(count) < WRONG, rng.integers(1, len(LEGEND) + 1, count), truth[chosen, year])
            for name, start in starts.items():
                given = x[chosen, year], label
                several = np.arange(count).repeat(max(1, round(A_PASS / count)))
                samples = sample_set(x[chosen, year], label, chosen, np.array(YEARS)[year], size).take(several)
                table.write_samples(str(folder / "labelled.parquet"), samples)
                epochs = EPOCHS.get(share, 20)
                settings = {**NETWORK, "epochs": epochs, "patience": epochs}
                tuned = dataclasses.replace(
                    spec, samples=(str(folder / "labelled.parquet"),), output=str(folder / "out"), settings=settings, start=start
                )
                found.setdefault((name, share), []).append(accuracy(train(tuned), *asked))
                if start is not None:
                    found.setdefault((f"{name}, linear probe", share), []).append(probe(start, spec, given, asked))
        told = "  ".join(f"{name} {np.mean(values):.3f}" for (name, other), values in found.items() if other == share)
        print(f"seed {seed} labels {share:4.0%}  {told}", flush=True)
    return {key: float(np.mean(values)) for key, values in found.items()}


def accuracy(folder: str, x: np.ndarray, truth: np.ndarray) -> float:
    """Return the accuracy of a trained model on series (N, T, C)."""
    shape = x.shape[:2]
    proba = models.load(folder).predict_proba(x, np.broadcast_to(DOY, shape), np.full(shape, YEARS[0], np.int16))
    return float((proba[:, 0].argmax(axis=1) + 1 == truth).mean())


def probe(start: str, spec: TrainSpec, given: tuple[np.ndarray, np.ndarray], asked: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the accuracy of a linear model on the features of a pre-trained network."""
    features = encode(start, spec, given[0])
    scale = StandardScaler().fit(features)
    linear = LogisticRegression(C=0.1, max_iter=500).fit(scale.transform(features), given[1])
    return float((linear.predict(scale.transform(encode(start, spec, asked[0]))) == asked[1]).mean())


@torch.no_grad()
def encode(start: str, spec: TrainSpec, x: np.ndarray) -> np.ndarray:
    """Return the features (N, D) of a pre-trained network for series (N, T, C)."""
    config, _ = split_settings(spec.model, spec.settings)
    begun = pretrain.load(start, spec, config)
    labels = list(range(1, len(LEGEND) + 1))
    network = models.build("lstm", channels=len(BANDS), steps=len(DOY), classes=len(LEGEND), seen=labels, **vars(config))
    begun.put_into(network)
    encoder = pretrain.Encoder(network.eval())
    places = pretrain.places_of(standardise(x, tuple(begun.mean), tuple(begun.std))[:, None], np.tile(DOY, (len(x), 1, 1)))
    return torch.cat([encoder(places.x[i, 0], places.mask[i, 0], places.doy[i, 0]) for i in torch.arange(len(x)).split(1024)]).numpy()


def main() -> None:
    """Print a table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small world, 1 % of the labels")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=21)
    parser.add_argument("--methods", nargs="+", default=["contrastive", "masked", "both"])
    parser.add_argument("--shares", type=float, nargs="+", default=list(DRAWS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    seeds, size, shares = (1, 128, [0.01]) if arguments.quick else (arguments.seeds, 256, arguments.shares)
    found: dict[tuple[str, float], list[float]] = {}
    with threadpool_limits(1):
        for seed in range(arguments.first, arguments.first + seeds):
            with tempfile.TemporaryDirectory() as folder:
                for key, value in measure(seed, size, arguments.methods, shares, Path(folder)).items():
                    found.setdefault(key, []).append(value)
    protocol = f"{size} px, {len(YEARS)} years, LSTM + convolution of 32, {PLACES} places without labels, 100 % = {LABELLED} labels"
    rows = [
        row(f"{name}, {share:.0%} of the labels", values, "OA", protocol, "scratch", found["scratch", share])
        for (name, share), values in found.items()
    ]
    write(rows, protocol, arguments.json)


if __name__ == "__main__":
    main()
