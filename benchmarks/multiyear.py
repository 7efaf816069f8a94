"""Annual maps by separate models, by one model for all years, and by models that read several years: agreement, accuracy and change.

Usage: python benchmarks/multiyear.py [--quick] [--seeds N] [--first SEED] [--size PIXELS] [--methods NAME ...] [--json PATH]

On each simulated world, samples are places in one half of the blocks whose land cover does not change, as the pipeline draws them, one in
ten with a wrong label in all years. Judged are places in the other half: agreement and accuracy on a random draw, change recall on all
pairs of years between which the truth changes. Seeds 1 and 2 served to choose settings; the reported ones begin at 21.
"""

import argparse
import json
import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from worlds import FOLD

from landtide import models
from landtide.classify.consistency import smooth
from landtide.core.legend import builtin_legend
from landtide.core.samples import SampleSet
from landtide.io import table
from landtide.simulate import world
from landtide.simulate.spectra import BANDS
from landtide.train.job import train
from landtide.train.spec import TrainSpec

LEGEND = builtin_legend("landtide10")
YEARS = (2018, 2019, 2020, 2021)
DOY = np.array([16, 46, 75, 106, 136, 167, 197, 228, 259, 289, 320, 350], np.int16)
PLACES = 3000
"""Training places."""

JUDGED = 8000
WRONG = 0.1

LSTM: dict[str, Any] = {"hidden": 32, "convolution": 32, "epochs": 10, "batch": 128}
CARRIED = {**LSTM, "years": "carried", "batch": 32}
TRANSFORMER = {"width": 32, "layers": 1, "epochs": 14, "batch": 128, "learning_rate": 4e-3}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "separate LSTMs": ("lstm", LSTM),
    "one LSTM, each year for itself": ("lstm", LSTM),
    "LSTM, state carried": ("lstm", CARRIED),
    "LSTM, state carried, change penalised": ("lstm", {**CARRIED, "change": 0.3}),
    "transformer, each year for itself": ("transformer", TRANSFORMER),
    "transformer, windows shifted": ("transformer", {**TRANSFORMER, "years": "window", "stride": 3}),
}
SMOOTHED = ("one LSTM, each year for itself", "LSTM, state carried, change penalised")
"""Those that are also scored after the hidden Markov model over the years, which is the default of `consistency`."""


@dataclass(frozen=True)
class Scene:
    """One world as arrays of places."""

    x: np.ndarray
    """(N, Y, T, C) float32, NaN = no clear observation."""

    truth: np.ndarray
    """(N, Y) uint8."""

    place: np.ndarray
    """(N, 2) row and column."""

    training: np.ndarray
    """(n,) places to learn from."""

    judged: np.ndarray
    """(m,) random places of the other blocks."""

    changed: np.ndarray
    """(c,) all places of the other blocks whose truth changes."""


@dataclass(frozen=True)
class Score:
    overall: float
    agreement: float
    """Share of places with one label in all years."""

    recall: float
    """Of the pairs of years between which the truth changes: share whose map changes to the new class in the same year."""

    false_change: float
    """Of the pairs between which it does not: share whose map changes."""


def main() -> None:
    """Print a line a method and world, then the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small world, LSTMs alone")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=21)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.size, arguments.methods = 1, 128, list(METHODS)[:3]
    found: dict[str, list[Score]] = {}
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        scene = draw_scene(seed, arguments.size)
        for name, score in measure(scene, seed, arguments.methods).items():
            found.setdefault(name, []).append(score)
            print(f"seed {seed} {name:56s} {line(score)}", flush=True)
    report(found, arguments.size, arguments.json)


def draw_scene(seed: int, size: int) -> Scene:
    """Make a world and choose its places."""
    made = world(size, YEARS, seed)
    truth = np.stack([made.truth(year).ravel() for year in YEARS], axis=1)
    series = []
    for year in YEARS:
        cube, count = made.composites(year)
        cube[np.broadcast_to(count[:, None] == 0, cube.shape)] = np.nan
        series.append(cube.reshape(*cube.shape[:2], -1).transpose(2, 0, 1))
    place = np.stack(np.indices((size, size)), axis=-1).reshape(-1, 2)
    half = (place // FOLD).sum(axis=1) % 2 == 0
    same = (truth == truth[:, :1]).all(axis=1)
    rng = np.random.default_rng(seed)
    weight = np.where(half & same, np.bincount(truth[:, 0], minlength=256)[truth[:, 0]].astype(float) ** -0.5, 0)
    training = rng.choice(len(place), PLACES, replace=False, p=weight / weight.sum())
    judged = rng.choice(np.flatnonzero(~half), min(JUDGED, int((~half).sum())), replace=False)
    return Scene(np.stack(series, axis=1), truth, place, training, judged, np.flatnonzero(~half & ~same))


def measure(scene: Scene, seed: int, methods: list[str]) -> dict[str, Score]:
    """Train every method and score its maps."""
    samples = samples_of(scene, seed)
    asked = np.concatenate([scene.judged, scene.changed])
    found = {"truth": scored(scene, scene.truth[asked])}
    for name in methods:
        model, settings = METHODS[name]
        if name == "separate LSTMs":
            trained = [fit(samples.take(samples.year == year), model, settings, seed) for year in YEARS]
            share = np.concatenate([predict(one, scene.x[asked, [y]], (YEARS[y],)) for y, one in enumerate(trained)], axis=1)
        else:
            one = fit(samples, model, settings, seed)
            share = predict(one, scene.x[asked].reshape(len(asked), -1, scene.x.shape[3]), YEARS)
        found[name] = scored(scene, share.argmax(axis=2) + 1)
        if name in SMOOTHED:
            seen = ~np.isnan(scene.x[asked]).all(axis=(2, 3))
            found[f"{name}, HMM"] = scored(scene, smooth(share, one.prior, seen).argmax(axis=2) + 1)
    return found


def samples_of(scene: Scene, seed: int) -> SampleSet:
    """Return a sample of each training place and year; a tenth of the places has a wrong label in all years."""
    rng = np.random.default_rng(seed + 1000)
    rows = scene.training
    label = scene.truth[rows, 0]
    other = rng.permutation(label)
    label = np.where(rng.random(len(rows)) < WRONG, other, label).astype(np.uint8)
    years, count = len(YEARS), len(rows)
    block = (scene.place[rows] // 16) @ np.array([4096, 1])
    return SampleSet(
        x=scene.x[rows].reshape(count * years, *scene.x.shape[2:]),
        y=label.repeat(years),
        doy=np.tile(DOY, (count * years, 1)),
        xy=scene.place[rows].repeat(years, axis=0).astype(np.float64),
        year=np.tile(np.array(YEARS, np.int16), count),
        trust=np.ones(count * years, np.float32),
        polygon=block.repeat(years).astype(np.int64),
        tile=np.full(count * years, "world"),
        draw=np.full(count * years, 0xFFFFFFFF, np.uint32),
        bands=tuple(BANDS),
        origin="stable",
    )


def fit(samples: SampleSet, name: str, settings: dict[str, Any], seed: int) -> models.TrainedModel:
    """Train as a study does."""
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        uri = str(Path(folder, "samples.parquet"))
        table.write_samples(uri, samples)
        spec = TrainSpec(
            model=name,
            samples=(uri,),
            legend=LEGEND,
            bands=tuple(BANDS),
            steps=len(DOY),
            seed=seed,
            output=str(Path(folder, "model")),
            settings=settings,
        )
        return models.load(str(train(spec)))


def predict(model: models.TrainedModel, x: np.ndarray, years: tuple[int, ...]) -> np.ndarray:
    """Return (N, Y, K) of series (N, Y*T, C)."""
    shape = x.shape[:2]
    year = np.repeat(np.array(years, np.int16), len(DOY))
    with threadpool_limits(1):
        return model.predict_proba(x, np.broadcast_to(np.tile(DOY, len(years)), shape), np.broadcast_to(year, shape))


def scored(scene: Scene, label: np.ndarray) -> Score:
    """Score the labels (m + c, Y) of judged and changed places."""
    drawn, changed = label[: len(scene.judged)], label[len(scene.judged) :]
    truth, turned = scene.truth[scene.judged], scene.truth[scene.changed]
    real = turned[:, 1:] != turned[:, :-1]
    told = (changed[:, 1:] != changed[:, :-1]) & (changed[:, 1:] == turned[:, 1:])
    still = truth[:, 1:] == truth[:, :-1]
    return Score(
        float((drawn == truth).mean()),
        float((drawn == drawn[:, :1]).all(axis=1).mean()),
        float(told[real].mean()) if real.any() else float("nan"),
        float((drawn[:, 1:] != drawn[:, :-1])[still].mean()),
    )


def line(score: Score) -> str:
    parts = (score.agreement, score.overall, score.recall, score.false_change)
    return "agreement {:.3f}  OA {:.3f}  change recall {:.3f}  false change {:.4f}".format(*parts)


def report(found: dict[str, list[Score]], size: int, path: Path | None) -> None:
    """Print the means and write the rows; the peer is separate models."""
    mean = {name: Score(*np.nanmean([list(vars(one).values()) for one in scores], axis=0)) for name, scores in found.items()}
    peer = mean.get("separate LSTMs")
    protocol = f"{size} px, {len(YEARS)} years, {PLACES} stable places with {WRONG:.0%} wrong labels, judged in other blocks"
    rows = []
    for name, score in mean.items():
        print(f"mean    {name:56s} {line(score)}")
        for field, value in vars(score).items():
            beside = vars(peer)[field] if peer else None
            rows.append(
                {"name": f"{name}: {field.replace('_', ' ')}", "value": float(value), "unit": "fraction", "peer": "separate LSTMs"}
                | {"peer_value": beside, "ratio": float(value / beside) if beside else None, "protocol": protocol}
                | {"seeds": len(found[name])}
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows.append(
        {"name": "peak memory", "value": peak, "unit": "GiB", "peer": None, "peer_value": None, "ratio": None}
        | {"protocol": protocol, "seeds": 1}
    )
    if path is not None:
        path.write_text(json.dumps({"rows": rows}, indent=2), "utf-8")


if __name__ == "__main__":
    main()
