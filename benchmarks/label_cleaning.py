"""What the extraction makes of an old map, on simulated worlds whose truth is known.

    python benchmarks/label_cleaning.py [--quick] [--seeds N] [--first SEED] [--methods NAME ...] [--json PATH] [--fit]

For each world: the old map as it is, and one and the same forest trained on what each cleaning method keeps (`extract.method`); trained
on the truth it shows the limit. Worlds 11, 12, ... are scored; none of them was
used to choose a parameter. ``--fit`` prints the weights of trust (landtide/extract/trust.py), fitted on worlds 1 to 8:
three worlds leave them open (the signs of misfit and against turned).
"""

import argparse
import json
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.windows import Window
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from landtide import simulate
from landtide.core.legend import builtin_crosswalk, builtin_legend
from landtide.extract import clean, trust
from landtide.extract.gather import SERIES, Pixels
from landtide.extract.methods import METHODS
from landtide.extract.mixtures import code_columns
from landtide.extract.polygons import find_polygons, pixel_hash, polygons_at

LEGEND = builtin_legend("landtide10")
CROSSWALK = builtin_crosswalk("corine", LEGEND)
YEARS = (2019, 2020, 2021)
ACCURACY = 100.0
FIRST_SCORED = 11
FITTED = (1, 2, 3, 4, 5, 6, 7, 8)
TRAINING = 8_000
TESTED = 10_000
LEAST_TRUST = 0.6


@dataclass(frozen=True)
class Case:
    """One world, sampled as the extraction samples it."""

    x: np.ndarray
    """(N, Y, F) series of the sampled places."""

    truth: np.ndarray
    """(N, Y) labels"""

    old: clean.OldLabels
    old_accuracy: float


def main() -> None:
    options = arguments()
    if options.fit:
        print(fit(options.size))
        return
    seeds = list(range(options.first, options.first + options.seeds))
    scored = {seed: dict(score(case(seed, options.size), seed, options.methods)) for seed in seeds}
    for seed, table in scored.items():
        print(f"world {seed}", *(f"  {name:34s} {value:.3f}" for name, value in table.items()), sep="\n")
    rows = summary(scored, options.size)
    for row in rows:
        print(f"{row['name']:40s} {row['value']:.3f}  ({row['peer']} {row['peer_value']:.3f})")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n", "utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one world of 128 px")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=FIRST_SCORED, help="first world that is scored")
    parser.add_argument("--size", type=int, default=256, help="pixels along the side of a world")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=["landtide"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fit", action="store_true", help="fit the weights of trust")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.size = 1, 128
    return options


def case(seed: int, size: int) -> Case:
    """Simulate a world, its old map and its composites, and sample places."""
    world = simulate.world(size, YEARS, seed)
    old = simulate.draw_old_map(world)
    codes = old.on_world.astype(np.int64)
    rows, columns = (values.ravel() for values in np.mgrid[:size, :size])
    taken = pixel_hash(rows, columns, seed) < SERIES / len(YEARS) / size**2
    rows, columns = rows[taken], columns[taken]

    def read(window: Window) -> np.ndarray:
        down, right = window.toslices()
        return codes[down, right]

    polygons = find_polygons(read, codes.shape)
    code, polygon, depth = polygons_at(read, polygons, rows, columns, 12)
    places = Pixels(np.zeros(len(rows), np.int64), rows, columns, code, polygon, depth, np.full(len(rows), size**2 / len(rows)))
    area = np.where(polygon >= 0, polygons.area[polygon], 0)
    columns_of = code_columns(CROSSWALK, np.union1d([0], codes), len(LEGEND))
    labels = clean.OldLabels(places, CROSSWALK.translate(code, 0), columns_of, area)
    years = [world.composites(year)[0][:, :, rows, columns].transpose(2, 0, 1).reshape(len(rows), -1) for year in YEARS]
    truth = np.stack([world.truth(year)[rows, columns] for year in YEARS], axis=1)
    return Case(np.stack(years, axis=1).astype(np.float32), truth, labels, old.accuracy)


def cleaned(given: Case, seed: int, method: str = "landtide") -> clean.Cleaned:
    return clean.clean_labels(given.x, given.old, pixel_size=10.0, accuracy=ACCURACY, reference=None, seed=seed, method=method)


def score(given: Case, seed: int, methods: list[str]) -> Iterator[tuple[str, float]]:
    """Yield name and value of every measure of one world."""
    flat_truth = given.truth.ravel()
    yield "old map, overall accuracy", given.old_accuracy
    for method in dict.fromkeys(["raw", *methods]):
        found = cleaned(given, seed, method)
        row = found.pixel * len(YEARS) + found.year
        right, kept = found.label == flat_truth[row], found.trust >= LEAST_TRUST
        yield f"{method}, precision", float(right[kept].mean())
        yield f"{method}, recall", float(right[kept].sum() / len(flat_truth))
        yield f"{method}, expected calibration error", trust.calibration_error(found.trust, right)
        yield f"{method}, classes lost", float(len(np.setdiff1d(flat_truth, found.label[kept])))
        yield from _forest(method, given, place(found.label, row, len(flat_truth)), row[kept], seed)
    yield from _forest("truth", given, flat_truth, np.arange(len(flat_truth)), seed)


def _forest(name: str, given: Case, label: np.ndarray, rows: np.ndarray, seed: int) -> Iterator[tuple[str, float]]:
    """Train a forest on labelled rows, and score it on places of all years."""
    rng = np.random.default_rng(seed)
    x, truth = given.x.reshape(-1, given.x.shape[2]), given.truth.ravel()
    tested = rng.choice(len(truth), min(TESTED, len(truth)), replace=False)
    chosen = balanced(label, rows, rng)
    forest = ExtraTreesClassifier(100, n_jobs=1, min_samples_leaf=2, random_state=seed).fit(x[chosen], label[chosen])
    guess, real = forest.predict(x[tested]), truth[tested]
    yield f"{name}, overall accuracy", float((guess == real).mean())
    yield f"{name}, worst class F1", float(f1_score(real, guess, average=None, labels=np.unique(real), zero_division=0).min())


def place(label: np.ndarray, row: np.ndarray, count: int) -> np.ndarray:
    result = np.zeros(count, np.uint8)
    result[row] = label
    return result


def balanced(label: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw training rows, classes by the square root of their number."""
    area = np.bincount(label[rows], minlength=len(LEGEND) + 1)
    target = np.sqrt(area) / np.sqrt(area).sum() * TRAINING
    parts = [rng.permutation(rows[label[rows] == value])[: int(target[value])] for value in np.flatnonzero(area)]
    return np.concatenate(parts)


def fit(size: int) -> dict[str, float]:
    """Fit the weights of trust to worlds 1 to 8, each world counting alike."""
    features, right = [], []
    for seed in FITTED:
        given = case(seed, size)
        found = cleaned(given, seed)
        features.append(np.stack(list(found.features.values()), axis=1))
        right.append(found.label == given.truth[found.pixel, found.year])
        names = list(found.features)
    model = LogisticRegression().fit(np.concatenate(features), np.concatenate(right))
    return {"constant": round(float(model.intercept_[0]), 2), **dict(zip(names, model.coef_[0].round(2).tolist(), strict=True))}


def summary(scored: dict[int, dict[str, float]], size: int) -> list[dict[str, object]]:
    """Return one row a measure: the mean over worlds, against its peer."""
    mean = {name: float(np.mean([table[name] for table in scored.values()])) for name in next(iter(scored.values()))}
    protocol = f"simulated worlds of {size} px, {len(YEARS)} years, seeds not used to choose a parameter; same forest for all"
    peers = {"precision": "old map, overall accuracy", "overall accuracy": "raw, overall accuracy", "worst class F1": "raw, worst class F1"}
    rows = []
    for name in mean:
        peer = peers.get(name.rpartition(", ")[2])
        if peer is not None and name != peer and not name.startswith("old map"):
            rows.append(row_of(name, mean[name], peer, mean[peer], protocol, list(scored)))
        elif name.endswith("calibration error"):
            rows.append(row_of(name, mean[name], "bar", 0.05, protocol, list(scored)))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows.append({**row_of("peak memory", memory, "bar", 4.0, protocol, list(scored)), "unit": "GiB"})
    return rows


def row_of(name: str, value: float, peer: str, peer_value: float, protocol: str, seeds: list[int]) -> dict[str, object]:
    ratio = value / peer_value if peer_value else None
    return {
        "name": name,
        "value": value,
        "unit": "fraction",
        "peer": peer,
        "peer_value": peer_value,
        "ratio": ratio,
        "protocol": protocol,
        "seeds": seeds,
    }


if __name__ == "__main__":
    main()
