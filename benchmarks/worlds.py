"""How hard the synthetic worlds are: what the old map, forests and plain cleaning reach on them.

Usage: python benchmarks/worlds.py [--quick] [--seeds N] [--json PATH]
"""

import argparse
import json
import resource
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from landtide.core.legend import builtin_crosswalk, builtin_legend
from landtide.simulate import draw_old_map, world
from landtide.simulate.old_map import NODATA

LEGEND = builtin_legend("landtide10")
FOLD = 32
"""Pixels: side of the blocks of which train and test take turns; wider than a field, so that neighbours do not leak."""

Classifier = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]

NUMBER = 8_000
"""Training pixels of each forest."""


@dataclass(frozen=True)
class Score:
    overall: float
    f1: np.ndarray
    """(K,) a class; 0 where the class is never mapped."""


def score(truth: np.ndarray, mapped: np.ndarray) -> Score:
    """Compare two label arrays of one shape."""
    size = len(LEGEND) + 1
    counts = np.bincount(truth.ravel().astype(np.int64) * size + mapped.ravel(), minlength=size * size).reshape(size, size)[1:]
    right = np.diagonal(counts[:, 1:])
    total = counts.sum(axis=1) + counts[:, 1:].sum(axis=0)
    return Score(float(right.sum() / counts.sum()), 2 * right / np.maximum(total, 1))


def forest(x: np.ndarray, y: np.ndarray, at: np.ndarray, seed: int) -> np.ndarray:
    """Train a forest on (N, F) and return labels of other pixels (M, F)."""
    chosen = np.random.default_rng(seed).permutation(len(y))[:NUMBER]
    model = RandomForestClassifier(120, min_samples_leaf=2, random_state=seed, n_jobs=1).fit(x[chosen], y[chosen])
    return model.predict(at)


def network(x: np.ndarray, y: np.ndarray, at: np.ndarray, seed: int) -> np.ndarray:
    """Train a small network on (N, F), three times the forest's pixels, and return labels of other pixels (M, F)."""
    chosen = np.random.default_rng(seed).permutation(len(y))[: 3 * NUMBER]
    model = make_pipeline(
        QuantileTransformer(output_distribution="normal", random_state=seed),
        MLPClassifier((128, 64), alpha=1e-3, batch_size=256, early_stopping=True, n_iter_no_change=4, max_iter=30, random_state=seed),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x[chosen].astype(np.float32), y[chosen]).predict(at)


def on_truth(x: np.ndarray, truth: np.ndarray, seed: int, classifier: Classifier = forest) -> np.ndarray:
    """Map every pixel by a classifier trained on the truth of the other half of the blocks."""
    row, column = np.indices(truth.shape) // FOLD
    fold = ((row + column) % 2).ravel()
    mapped = np.zeros(truth.size, np.uint8)
    for side in (0, 1):
        mapped[fold == side] = classifier(x[fold != side], truth.ravel()[fold != side], x[fold == side], seed)
    return mapped.reshape(truth.shape)


def cleaned(x: np.ndarray, label: np.ndarray, seed: int) -> np.ndarray:
    """Return which labelled pixels plain cleaning keeps: the largest of five K-means clusters of each class, up to 80 % of it."""
    reduced = PCA(12, random_state=seed).fit_transform((x - x.mean(axis=0)) / x.std(axis=0))
    keep = np.zeros(len(label), bool)
    for value in np.unique(label[label > 0]):
        members = np.flatnonzero(label == value)
        if len(members) < 50:
            continue
        cluster = (
            KMeans(5, n_init=3, random_state=seed)
            .fit(reduced[np.random.default_rng(seed).permutation(members)[:3000]])
            .predict(reduced[members])
        )
        sizes = np.bincount(cluster, minlength=5)
        order = np.argsort(-sizes)
        enough = int(np.searchsorted(np.cumsum(sizes[order]), 0.8 * len(members))) + 1
        keep[members[np.isin(cluster, order[:enough])]] = True
    return keep


def measure(seed: int, size: int) -> dict[str, Score]:
    """Return the scores of one world in its first year."""
    made = world(size, seed=seed)
    year = made.years[0]
    truth = made.truth(year)
    codes = draw_old_map(made).on_world
    old = builtin_crosswalk("corine", LEGEND).translate(codes, NODATA)
    cube, _ = made.composites(year)
    x = np.nan_to_num(cube.reshape(-1, truth.size).T)  # (P, T*B)
    label = old.ravel()
    keep = cleaned(x, label, seed)
    return {
        "old map": score(truth, old),
        "forest on raw old map": score(truth, forest(x[label > 0], label[label > 0], x, seed).reshape(truth.shape)),
        "forest on cleaned old map": score(truth, forest(x[keep], label[keep], x, seed).reshape(truth.shape)),
        "forest on truth": score(truth, on_truth(x, truth, seed)),
        "network on truth": score(truth, on_truth(x, truth, seed, network)),
    }


def main() -> None:
    """Print a table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small world")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    seeds = range(1, 2 if arguments.quick else arguments.seeds + 1)
    size = 192 if arguments.quick else 384
    found: dict[str, list[Score]] = {}
    for seed in seeds:
        for name, result in measure(seed, size).items():
            found.setdefault(name, []).append(result)
            print(f"seed {seed} {name:26s} OA {result.overall:.3f}  F1 " + " ".join(f"{value:.2f}" for value in result.f1), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    protocol = f"{size} px, first year, {NUMBER} training pixels, truth forest in blocks of {FOLD} px by turns"
    rows = [
        {
            "name": f"OA of {name}",
            "value": float(np.mean([item.overall for item in results])),
            "unit": "fraction",
            "peer": "old map",
            "peer_value": float(np.mean([item.overall for item in found["old map"]])),
            "ratio": float(np.mean([item.overall for item in results]) / np.mean([item.overall for item in found["old map"]])),
            "protocol": protocol,
            "seeds": len(seeds),
            "f1": {cls: float(np.mean([item.f1[k] for item in results])) for k, cls in enumerate(LEGEND.names)},
        }
        for name, results in found.items()
    ]
    rows.append(
        {
            "name": "peak memory",
            "value": peak,
            "unit": "GiB",
            "peer": None,
            "peer_value": None,
            "ratio": None,
            "protocol": protocol,
            "seeds": len(seeds),
        }
    )
    for row in rows:
        print(f"{row['name']:34s} {row['value']:.3f} {row['unit']}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "classes": LEGEND.names}, indent=2), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
