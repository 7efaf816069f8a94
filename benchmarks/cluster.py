"""Choosing the number of clusters and clustering a tile's candidate pixels, beside scikit-learn and faiss; which criterion is right.

    python benchmarks/cluster.py [--quick] [--seeds N] [--rows N] [--peer-rows N] [--json PATH]

Speed: N series of 120 features drawn around 3 to 8 centres, with numbers of clusters from 2 to 12 to choose from. scikit-learn's sweep is
the one of its user guide: KMeans for every k with the defaults, the silhouette (of 10 000 points: all pairs of a million do not fit), the
highest wins. faiss is the quick way: K-means with 3 starts on 20 000 rows, simplified silhouette, then all rows assigned. All have one
thread (OMP_WAIT_POLICY=passive), and the same data in turns. Where --peer-rows is below --rows, scikit-learn and ours are compared
at --peer-rows and ours is timed at --rows too. Seconds are CPU seconds of the process, which other work on the machine disturbs least; the
fits of scikit-learn's sweep are also told without the silhouettes, which take most of it.

Criteria: how often each finds the known number of clusters, on seeds from 201 on: nothing was tried on them before. Clouds in 4, 20 and
120 dimensions whose nearest neighbours are 5 or 8 deviations apart, even and uneven in size and width; phenologies: patches of known
sub-classes as the simulator draws them, 120 features or their principal scores; worlds: pixels of known sub-classes in simulated
composites with clouds, air and noise. The same K-means runs (our own) serve all criteria but ours, which makes its own on half of
the points.
"""

import argparse
import ctypes
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

import faiss
import numpy as np
import psutil
from sklearn.cluster import KMeans
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

from landtide import simulate
from landtide.extract import clusters
from landtide.extract.features import principal_scores, standardise
from landtide.launch.workers import open_pool
from landtide.simulate.phenology import Difficulty, Season, subclass_of
from landtide.simulate.spectra import SUBCLASSES

FEATURES, MOST = 120, 12
FIRST = 201
CLOUD = 1500
"""Points of a set on which criteria are compared."""


def main() -> None:
    options = arguments()
    rows = speed(options)
    for row in rows:
        ratio = f"  ({row['peer']} {row['peer_value']:.4g}, ratio {row['ratio']:.3g})" if row["peer"] else ""
        print(f"{row['name']:52s} {row['value']:.4g} {row['unit']}{ratio}", flush=True)
    table = criteria(range(FIRST, FIRST + options.seeds), quick=options.quick)
    names = list(next(iter(table.values())))
    print(f"{'known k found':38s}", *(f"{name:>24s}" for name in names))
    for family, shares in table.items():
        print(f"{family:38s}", *(f"{shares[name]:24.2f}" for name in names))
    for family, shares in table.items():
        best = max((name for name in names if name != "landtide"), key=lambda name: shares[name])
        protocol = f"{CLOUD} points a set, k of 1, 2, 3, 4, 6, 8 (worlds 2, 3, 4, 6), most 9"
        rows.append(row_of(f"known k found, {family}", shares["landtide"], "fraction", best, shares[best], protocol, options.seeds))
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n", "utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, 40 000 rows")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peer-rows", type=int, default=300_000, help="rows on which scikit-learn is timed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.rows, options.peer_rows = 1, 20_000, 12_000
    return options


def row_of(name: str, value: float, unit: str, peer: str | None, peer_value: float | None, protocol: str, seeds: int) -> dict[str, object]:
    ratio = None if peer_value is None else (peer_value / value if unit == "s" else value / peer_value if peer_value else None)
    keys = ("name", "value", "unit", "peer", "peer_value", "ratio", "protocol", "seeds")
    return dict(zip(keys, (name, value, unit, peer, peer_value, ratio, protocol, seeds), strict=True))


# ---- speed ----


def series(rows: int, seed: int) -> tuple[np.ndarray, int]:
    """Draw rows of 120 features around 3 to 8 centres, uneven in size, and return them with the number of centres."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 9))
    share = rng.dirichlet(np.full(count, 6.0))
    centres = rng.normal(0, 0.8, (count, FEATURES)).astype(np.float32)
    own = rng.choice(count, rows, p=share)
    x = rng.standard_normal((rows, FEATURES), np.float32)
    for start in range(0, rows, 100_000):
        x[start : start + 100_000] += centres[own[start : start + 100_000]]
    return x, count


def ours(x: np.ndarray, seed: int) -> tuple[int, float]:
    found = clusters.cluster(x, seed, most=MOST)
    return len(found.centres), found.inertia


def sklearn_sweep(x: np.ndarray, seed: int, fits: list[float] | None = None) -> tuple[int, float]:
    best, chosen, inertia = -1.0, 0, 0.0
    spent = 0.0
    for k in range(2, MOST + 1):
        start = time.process_time()
        model = KMeans(k, random_state=seed).fit(x)
        spent += time.process_time() - start
        value = silhouette_score(x, model.labels_, sample_size=min(10_000, len(x) // 4), random_state=seed)
        if value > best:
            best, chosen, inertia = value, k, float(model.inertia_)
    if fits is not None:
        fits.append(spent)
    return chosen, inertia


def faiss_sweep(x: np.ndarray, seed: int) -> tuple[int, float]:
    sample = x[np.random.default_rng(seed).choice(len(x), min(20_000, len(x)), replace=False)]
    best, chosen = -1.0, sample[:1]
    for k in range(2, MOST + 1):
        model = faiss.Kmeans(FEATURES, k, niter=20, nredo=3, seed=seed, max_points_per_centroid=len(sample))
        model.train(sample)
        near = np.sqrt(np.maximum(model.index.search(sample, 2)[0], 0))
        value = float(np.mean((near[:, 1] - near[:, 0]) / np.maximum(near[:, 1], 1e-12)))
        if value > best:
            best, chosen = value, model.centroids.copy()
    index = faiss.IndexFlatL2(FEATURES)
    index.add(chosen)
    return len(chosen), float(index.search(x, 1)[0].sum(dtype=np.float64))


def speed(options: argparse.Namespace) -> list[dict[str, object]]:
    """Time all on data of the same seeds, in turns; return the rows of the table."""
    faiss.omp_set_num_threads(1)
    clusters.cluster(series(2000, 0)[0], 0, most=3)  # compile
    seconds: dict[str, list[float]] = {"landtide": [], "scikit-learn": [], "faiss": []}
    right: dict[str, list[bool]] = {name: [] for name in seconds}
    excess, excess_faiss, gained, fits = [], [], [], []
    for seed in range(FIRST, FIRST + options.seeds):
        x, count = series(options.peer_rows, seed)
        found = {}
        for name, run in (("landtide", ours), ("faiss", faiss_sweep), ("scikit-learn", partial(sklearn_sweep, fits=fits))):
            with peak_memory() as peak:
                start = time.process_time()
                found[name] = run(x, seed)
                seconds[name].append(time.process_time() - start)
            right[name].append(found[name][0] == count)
            if name == "landtide":
                gained.append(peak[0])
        print(f"seed {seed}: k {count}", {name: (k, round(seconds[name][-1], 2)) for name, (k, _) in found.items()}, flush=True)
        if found["landtide"][0] == found["scikit-learn"][0]:
            excess.append(found["landtide"][1] / found["scikit-learn"][1] - 1)
        if found["faiss"][0] == found["scikit-learn"][0]:
            excess_faiss.append(found["faiss"][1] / found["scikit-learn"][1] - 1)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    protocol = f"{options.peer_rows} x {FEATURES}, k of 2 to {MOST}, one thread each, in turns, median"
    rows = [
        row_of("choosing k and clustering", middle["landtide"], "s", "scikit-learn sweep", middle["scikit-learn"], protocol, options.seeds),
        row_of("the same, beside its fits alone", middle["landtide"], "s", "fits", statistics.median(fits), protocol, options.seeds),
        row_of("choosing k and clustering, beside faiss", middle["landtide"], "s", "faiss", middle["faiss"], protocol, options.seeds),
        *(
            row_of(f"right k, {name}", float(np.mean(right[name])), "fraction", None, None, protocol, options.seeds)
            for name in ("landtide", "scikit-learn", "faiss")
        ),
        row_of("memory gained at the peak", max(gained), "MiB", None, None, protocol, options.seeds),
    ]
    if excess:
        worst = max(excess)
        rows.append(row_of("inertia above scikit-learn's, worst seed", worst, "fraction", "bar", 0.001, protocol, options.seeds))
    if excess_faiss:
        rows.append(row_of("inertia of faiss above it, worst seed", max(excess_faiss), "fraction", None, None, protocol, options.seeds))
    return [*rows, *whole_tiles(options)]


def whole_tiles(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Time a whole tile, and two tiles one after the other and side by side."""
    x, count = series(options.rows, FIRST)
    with peak_memory() as peak:
        start = time.process_time()
        found, _ = ours(x, FIRST)
        one = time.process_time() - start
    told = f"{options.rows} x {FEATURES}, one thread; k {found}, truth {count}"
    yield row_of("a whole tile", one, "s", None, None, told, 1)
    yield row_of("a whole tile, memory gained at the peak", peak[0], "MiB", None, None, told, 1)
    del x
    rows = min(options.rows, options.peer_rows)
    tiles = [(rows, FIRST + number) for number in range(4)]
    alone = [tile_seconds(tile) for tile in tiles]
    with open_pool(2, 1, 4 * 2**30) as pool:
        list(pool.map(tile_seconds, [(2000, 1), (2000, 2)]))
        start = time.perf_counter()
        side = list(pool.map(tile_seconds, tiles))
        wall = time.perf_counter() - start
    told = f"four tiles of {rows} rows, drawing the data not counted; two processes of one thread"
    yield row_of("a tile among others at once", statistics.median(side), "s", "alone", statistics.median(alone), told, 1)
    print(f"four tiles with their data: {wall:.1f} s", flush=True)


def tile_seconds(tile: tuple[int, int]) -> float:
    """Cluster one tile; return the seconds that it took."""
    x, _ = series(*tile)
    start = time.process_time()
    ours(x, tile[1])
    return time.process_time() - start


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Sample this process's resident memory; the list then holds the MiB gained at the peak."""
    process, gained, stop = psutil.Process(), [0.0], threading.Event()
    ctypes.CDLL(None).malloc_trim(0)  # else memory that an earlier pass has freed would be taken without a trace
    before = process.memory_info().rss

    def watch() -> None:
        while not stop.wait(0.005):
            gained[0] = max(gained[0], (process.memory_info().rss - before) / 2**20)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield gained
    finally:
        stop.set()
        watcher.join()


# ---- criteria ----


def criteria(seeds: range, *, quick: bool) -> dict[str, dict[str, float]]:
    """Return for every family of data how often each criterion finds the known number of clusters."""
    hits: dict[str, dict[str, list[bool]]] = {}
    for seed in seeds:
        for family, count, x in sets(seed, quick=quick):
            for name, found in choices(x, 9, seed).items():
                hits.setdefault(family, {}).setdefault(name, []).append(found == count)
    return {family: {name: float(np.mean(values)) for name, values in table.items()} for family, table in hits.items()}


def choices(x: np.ndarray, most: int, seed: int) -> dict[str, int]:
    """Return the number of clusters that each criterion chooses. Those that know no k of 1 never answer it."""
    runs = {k: clusters.kmeans(x, k, seed) for k in range(2, most + 1)}
    scores: dict[str, Callable[[clusters.Clustering], float]] = {
        "silhouette": lambda run: float(silhouette_score(x, run.label)),
        "simplified silhouette": lambda run: simplified_silhouette(x, run.centres),
        "Calinski-Harabasz": lambda run: float(calinski_harabasz_score(x, run.label)),
        "Davies-Bouldin": lambda run: -float(davies_bouldin_score(x, run.label)),
        "BIC": lambda run: bic(x, run),
    }
    chosen = {name: max(runs, key=lambda k, score=score: score(runs[k])) for name, score in scores.items()}
    one = clusters.Clustering(x.mean(axis=0, keepdims=True), np.zeros(len(x), np.int64), float(((x - x.mean(axis=0)) ** 2).sum()))
    chosen["BIC"] = max([1, chosen["BIC"]], key=lambda k: bic(x, runs.get(k, one)))
    return {"landtide": len(clusters.cluster(x, seed, most=most).centres), **chosen}


def simplified_silhouette(x: np.ndarray, centres: np.ndarray) -> float:
    near = np.sort(np.stack([np.linalg.norm(x - centre, axis=1) for centre in centres], axis=1), axis=1)
    return float(np.mean((near[:, 1] - near[:, 0]) / np.maximum(near[:, 1], 1e-12)))


def bic(x: np.ndarray, run: clusters.Clustering) -> float:
    """Return the Bayesian information criterion of spherical clouds of one width. Source: Pelleg and Moore 2000, ICML (X-means)."""
    count = np.bincount(run.label)[np.bincount(run.label) > 0]
    n, d, k = len(x), x.shape[1], len(count)
    variance = run.inertia / (d * max(n - k, 1))
    likelihood = (count * np.log(count / n)).sum() - n * d / 2 * np.log(2 * np.pi * variance) - d * (n - k) / 2
    return float(likelihood - k * (d + 1) / 2 * np.log(n))


def sets(seed: int, *, quick: bool) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield family, known number of clusters and points."""
    for count in (1, 3, 6) if quick else (1, 2, 3, 4, 6, 8):
        for dimensions in (4, 20, 120):
            for apart, uneven in ((5.0, False), (5.0, True), (8.0, True)):
                rng = np.random.default_rng([seed, count, dimensions, int(apart), uneven])
                form = "uneven" if uneven else "even"
                yield f"{form} clouds, {dimensions} D, {apart:g} apart", count, clouds(rng, count, dimensions, apart, uneven=uneven)
        z = standardise(phenologies(np.random.default_rng([seed, count]), count, seed), np.zeros(CLOUD, np.int64))
        yield "phenologies, 120 features", count, z
        yield "phenologies, principal scores", count, principal_scores(z).values
    yield from world_sets(seed)


def clouds(rng: np.random.Generator, count: int, dimensions: int, apart: float, *, uneven: bool) -> np.ndarray:
    """Draw normal clouds, the nearest two ``apart`` deviations from each other and none more than four times as far."""
    share = np.maximum(rng.dirichlet(np.full(count, 3.0 if uneven else 1e4)), 0.05)
    width = rng.uniform(0.7, 1.3, count) if uneven else np.ones(count)
    centres = np.zeros((count, dimensions))
    while count > 1:
        centres = rng.normal(size=(count, dimensions))
        distance = np.linalg.norm(centres[:, None] - centres[None], axis=2)[np.triu_indices(count, 1)]
        centres *= apart / distance.min()
        if distance.max() < 4 * distance.min():
            break
    own = rng.choice(count, CLOUD, p=share / share.sum())
    return (centres[own] + rng.normal(size=(CLOUD, dimensions)) * width[own, None]).astype(np.float32)


def first_kind(label: int) -> int:
    """Return the place of a class's first sub-class in the simulator's table."""
    return sum(len(SUBCLASSES[other]) for other in SUBCLASSES if other < label)


def phenologies(rng: np.random.Generator, count: int, seed: int, patches: int = 400) -> np.ndarray:
    """Draw pixels of patches of ``count`` sub-classes of different classes, (CLOUD, 120) reflectance."""
    labels = rng.choice(sorted(SUBCLASSES), count, replace=False)
    kinds = np.array([first_kind(int(label)) + rng.integers(len(SUBCLASSES[int(label)])) for label in labels])
    own = np.repeat(np.arange(count), patches)
    key = rng.integers(0, 2**62, len(own)).astype(np.uint64)
    height = np.full(len(own), 0.4, np.float32)
    season = Season.of(key, labels[own].astype(np.uint8), height, seed, 2020, Difficulty(), kind=kinds[own])
    x = np.concatenate([season.spectra(15 + 30.4 * month)[0] for month in range(12)], axis=1)
    pixel = rng.integers(0, len(own), CLOUD)
    return (x[pixel] * np.exp(rng.normal(0, 0.03, (CLOUD, 1))) + rng.normal(0, 0.006, (CLOUD, x.shape[1]))).astype(np.float32)


def world_sets(seed: int, size: int = 128) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield principal scores of pixels of known sub-classes in one world's composites."""
    made = simulate.world(size, (2020,), seed)
    cube, _ = made.composites(2020)
    x = cube.reshape(-1, size * size).T
    kind = subclass_of(made.patches.key, made.labels(2020), seed, 2020)[made.unit].ravel()
    usable = np.flatnonzero(np.bincount(kind[np.isfinite(x).all(axis=1)]) >= 150)
    rng = np.random.default_rng(seed)
    for count in (2, 3, 4, 6):
        for _ in range(3):
            members = [
                rng.permutation(np.flatnonzero((kind == one) & np.isfinite(x).all(axis=1)))[:500] for one in _some(usable, count, rng)
            ]
            z = standardise(x[np.concatenate(members)], np.zeros(sum(map(len, members)), np.int64))
            yield "worlds, principal scores", count, principal_scores(z).values


def _some(usable: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(usable, min(count, len(usable)), replace=False)


if __name__ == "__main__":
    main()
