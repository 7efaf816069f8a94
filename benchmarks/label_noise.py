"""How well each cleaning method finds wrong labels, and what a forest trained on what it keeps is worth.

    python benchmarks/label_noise.py [--quick] [--seeds N] [--first SEED] [--sets NAME ...] [--methods NAME ...] [--kinds NAME ...]
                                     [--levels SHARE ...] [--json PATH] [--plot SVG] [--records JSON ...]

True labels are made wrong on purpose: 10 to 50 % of the series, whole polygons at a time or each for itself, by any other class
(symmetric) or by the one class that is most like the true one (confusing). ``world`` is a simulated world whose polygons are its
parcels; the others are real labelled series (``LANDTIDE_SHARED``/data; left out where there are none). A method cleans the training
polygons; a forest, weighted by trust, learns what has trust 0.6 and more, and is scored on true labels of other polygons.
"""

import argparse
import json
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from label_noise_plot import plot
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedGroupKFold

from landtide import simulate
from landtide.extract.methods import METHODS
from landtide.extract.places import CUT, places_of
from landtide.extract.trust import calibration_error
from landtide.train.data import class_weights

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5)
KINDS = ("polygon confusing", "polygon symmetric", "pixel confusing", "pixel symmetric")
SETS = ("world", "tempcnn", "mato grosso", "cerrado")
YEAR = 2020
PLACES = 3000
FOLDS = 3
TREES = 60
SURE = 0.4
"""Share of all series: the surest labels, until so many of them are right."""

HALF_DEGREE = 0.5


@dataclass(frozen=True)
class Labelled:
    """Series with true labels."""

    x: np.ndarray
    """(N, F) float32"""

    truth: np.ndarray
    """(N,) uint8 1..K"""

    polygon: np.ndarray
    """(N,) int64: series of one polygon are one class."""

    block: np.ndarray
    """(N,) int64: what is never split between training and test; whole polygons."""

    def take(self, index: np.ndarray) -> "Labelled":
        return Labelled(self.x[index], self.truth[index], self.polygon[index], self.block[index])


def world(seed: int) -> Labelled:
    """Sample a simulated world of 256 px; parcels are polygons, and the four quarters of eight rows of blocks by turns are folds."""
    made = simulate.world(256, (YEAR,), seed)
    rows, columns = np.divmod(np.random.default_rng(seed).permutation(256 * 256)[:PLACES], 256)
    x = made.composites(YEAR)[0][:, :, rows, columns].reshape(-1, len(rows)).T
    return Labelled(
        x.astype(np.float32), made.truth(YEAR)[rows, columns], made.unit[rows, columns].astype(np.int64), rows // 32 * 8 + columns // 32
    )


def real(name: str) -> Labelled:
    """Read one of the real sets. Raises FileNotFoundError where it is not there."""
    folder = Path(os.environ.get("LANDTIDE_SHARED", "../shared")) / "data"
    if name == "tempcnn":
        held = np.load(folder / "tempcnn_example" / "tempcnn_example.npz")
        x, y, polygon = (np.concatenate([held[f"{part}_train"], held[f"{part}_test"]]) for part in ("X", "y", "polygon"))
        return Labelled(_flat(x), (y + 1).astype(np.uint8), *(np.unique(polygon, return_inverse=True)[1],) * 2)
    held = np.load(folder / {"mato grosso": "modis_mato_grosso_samples", "cerrado": "cbers4_cerrado_samples"}[name] / "samples.npz")
    place = np.stack([held["longitude"], held["latitude"]], axis=1)
    block = np.unique(np.floor(place / HALF_DEGREE), axis=0, return_inverse=True)[1].ravel()
    near = np.unique(np.column_stack([np.floor(place / (HALF_DEGREE / 10)), held["y"]]), axis=0, return_inverse=True)[1].ravel()
    return Labelled(_flat(held["X"]), (held["y"] + 1).astype(np.uint8), near, block)


def _flat(x: np.ndarray) -> np.ndarray:
    return np.asarray(x.reshape(len(x), -1), np.float32)


def spoil(given: Labelled, kind: str, level: float, seed: int) -> np.ndarray:
    """Return labels of which about the given share is wrong, (N,) uint8."""
    rng = np.random.default_rng([seed, KINDS.index(kind), round(100 * level)])
    unit = given.polygon if kind.startswith("polygon") else np.arange(len(given.truth))
    _, unit = np.unique(unit, return_inverse=True)
    order = rng.permutation(unit.max() + 1)
    size = np.bincount(unit)[order]
    taken = np.zeros(len(order), bool)
    taken[order[np.cumsum(size) - size / 2 < level * len(unit)]] = True
    classes = np.unique(given.truth)
    likest, step = _likest(given, classes), rng.integers(1, len(classes), len(order))
    place = np.searchsorted(classes, given.truth)
    wrong = classes[likest[place]] if kind.endswith("confusing") else classes[(place + step[unit]) % len(classes)]
    return np.where(taken[unit], wrong, given.truth).astype(np.uint8)


def _likest(given: Labelled, classes: np.ndarray) -> np.ndarray:
    """Return the place of the class whose mean series is nearest, in standard deviations, for each class."""
    scale = np.maximum(given.x.std(axis=0), 1e-6)
    means = np.stack([given.x[given.truth == value].mean(axis=0) for value in classes]) / scale
    distance = ((means[:, None] - means[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distance, np.inf)
    return np.asarray(distance.argmin(axis=1))


def score(given: Labelled, kind: str, level: float, methods: list[str], seed: int) -> Iterator[dict[str, float | str]]:
    """Clean the training part by every method, and score what is kept and what can be learnt from it; ``truth`` is the limit."""
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    train, test = next(iter(splitter.split(given.x, given.truth, given.block)))
    learnt, held = given.take(train), given.take(test)
    noisy = spoil(learnt, kind, level, seed)
    places = places_of(learnt.x, noisy, learnt.polygon, int(given.truth.max()))
    yield {"method": "truth", "accuracy": accuracy(learnt.x, learnt.truth, np.ones(len(train)), held, seed)}
    for method in methods:
        judged = METHODS[method](places, seed)
        kept, right = judged.trust >= CUT, judged.label == learnt.truth
        yield {
            "method": method,
            "precision": float(right[kept].mean()) if kept.any() else 0.0,
            "recall": float(right[kept].sum() / len(right)),
            "surest": surest(judged.trust, right),
            "calibration": calibration_error(judged.trust, right),
            "accuracy": accuracy(learnt.x[kept], judged.label[kept], judged.trust[kept], held, seed),
        }


def surest(trust: np.ndarray, right: np.ndarray) -> float:
    """Return the precision of the surest labels that hold `SURE` of all series as right ones; equal trust stands or falls together."""
    for cut in np.unique(trust)[::-1]:
        if right[trust >= cut].sum() >= SURE * len(right):
            return float(right[trust >= cut].mean())
    return float(right.mean())


def accuracy(x: np.ndarray, label: np.ndarray, trust: np.ndarray, held: Labelled, seed: int) -> float:
    """Return the overall accuracy of a forest on other polygons."""
    if len(np.unique(label)) < 2:
        return float((held.truth == label[0]).mean()) if len(label) else 0.0
    forest = ExtraTreesClassifier(TREES, min_samples_leaf=2, random_state=seed, n_jobs=1)
    forest.fit(x, label, sample_weight=class_weights(label, trust, 0.5))
    return float((forest.predict(held.x) == held.truth).mean())


def main() -> None:
    options = arguments()
    records: list[dict[str, float | str]] = [
        record for path in options.records for record in json.loads(path.read_text("utf-8"))["records"]
    ]
    for name in options.sets:
        for seed in () if options.records else range(options.first, options.first + options.seeds):
            given = world(seed) if name == "world" else real(name)
            for kind, level in settings(options):
                for found in score(given, kind, level, options.methods, seed):
                    records.append({"set": name, "seed": seed, "kind": kind, "level": level, **found})
        print(table([record for record in records if record["set"] == name], name, options), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows(records, options), "records": records}, indent=1) + "\n", "utf-8")
    if options.plot:
        options.plot.write_text(plot(records, list(options.sets), list(options.kinds), ["truth", *options.methods]), "utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the world alone, one kind and level, one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=34, help="first seed; none of 34 to 36 was used to choose a parameter")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--levels", nargs="+", type=float, default=list(LEVELS), help="shares of wrong labels")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--records", type=Path, nargs="+", default=[], help="JSON of earlier runs: print and draw those, run nothing")
    options = parser.parse_args()
    if options.quick:
        options.sets, options.kinds, options.levels, options.seeds = ["world"], KINDS[:1], (0.3,), 1
    shared = Path(os.environ.get("LANDTIDE_SHARED", "../shared")) / "data"
    options.sets = [name for name in options.sets if name == "world" or shared.is_dir()]
    return options


def settings(options: argparse.Namespace) -> list[tuple[str, float]]:
    """Return kinds and levels of noise, none at all among them."""
    return [(KINDS[0], 0.0), *product(options.kinds, options.levels)]


def mean(records: list[dict[str, float | str]], value: str, **where: float | str) -> float:
    found = [float(record[value]) for record in records if value in record and all(record[key] == want for key, want in where.items())]
    return float(np.mean(found))


def table(records: list[dict[str, float | str]], name: str, options: argparse.Namespace) -> str:
    """Return Markdown of one set: accuracy (precision / recall of what is kept, precision at recall 0.4, calibration), a row a setting."""
    lines = [
        f"\n**{name}**\n",
        "| noise | truth | " + " | ".join(options.methods) + " |",
        "| --- |" + " --- |" * (len(options.methods) + 1),
    ]
    for kind, level in settings(options):
        where = {"kind": kind, "level": level}
        cells = [f"{mean(records, 'accuracy', method='truth', **where):.3f}"]
        for method in options.methods:
            values = [
                mean(records, value, method=method, **where) for value in ("accuracy", "precision", "recall", "surest", "calibration")
            ]
            cells.append("{:.3f} ({:.2f}/{:.2f}, {:.2f}, {:.2f})".format(*values))
        lines.append(f"| {kind if level else 'none'} {100 * level:.0f} % | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rows(records: list[dict[str, float | str]], options: argparse.Namespace) -> list[dict[str, object]]:
    """Return one row a set, method and setting: accuracy beside that of raw labels."""
    seeds = sorted({int(record["seed"]) for record in records})
    protocol = f"one of {FOLDS} grouped folds tested, {TREES} trees; labels of trust {CUT:g} and more"
    result: list[dict[str, object]] = []
    runs = [(held, *rest) for held in options.sets for rest in product(settings(options), options.methods)]
    for name, (kind, level), method in runs:
        where = {"set": name, "kind": kind, "level": level}
        peer = mean(records, "accuracy", method="truth", **where)
        value = mean(records, "accuracy", method=method, **where)
        label = f"{method} on {name}, {kind} {100 * level:.0f} %"
        row = {"name": label, "value": value, "unit": "overall accuracy", "peer": "true labels", "peer_value": peer, "ratio": value / peer}
        result.append({**row, "protocol": protocol, "seeds": seeds})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    memory = {"name": "peak memory", "value": peak, "unit": "GiB", "peer": None, "peer_value": None, "ratio": None}
    return [*result, {**memory, "protocol": protocol, "seeds": seeds}]


if __name__ == "__main__":
    main()
