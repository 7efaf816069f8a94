"""How well the auditor ranks the polygons of an old map, on simulated worlds whose truth is known.

    python benchmarks/audit.py [--quick] [--seeds N] [--first SEED] [--size PX] [--model NAME] [--json PATH] [--fit]

Every world is run from its images to the audit by the command line. A polygon is wrong where one class that its code does not stand for
covers more of it in the last year than those that it does, by the true labels. Worlds 61, 62, ... are scored; none of them was used to
choose a parameter. The peer ranks by what a GIS tells at once: the share of a polygon's pixels that the new map gives another class.
``--fit`` prints the weights of landtide/extract/audit_score.py, fitted on worlds 41 and 51.
"""

import argparse
import json
import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pystac
import rasterio
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from landtide import cli, simulate
from landtide.core.legend import builtin_crosswalk, builtin_legend
from landtide.extract.audit import Audited, judge
from landtide.extract.audit_counts import count
from landtide.extract.audit_score import WRONG, shares, since
from landtide.extract.gather import survey
from landtide.extract.mixtures import code_columns
from landtide.extract.trust import calibration_error
from landtide.io import manifest, table
from landtide.io.cube import open_cube

LEGEND = builtin_legend("landtide10")
CROSSWALK = builtin_crosswalk("corine", LEGEND)
YEARS = (2018, 2019, 2020)
FITTED = ((41, 256), (51, 128))
FIRST_SCORED = 61


class Here:
    """A pool of no workers."""

    map = staticmethod(map)


@dataclass(frozen=True)
class Case:
    """One audited world; everything by judged polygon."""

    features: dict[str, np.ndarray]
    probability: np.ndarray
    naive: np.ndarray
    """Share of the pixels that the new map gives another class than the old one."""

    wrong: np.ndarray
    """Whether it is wrong in the last year, by the truth."""

    class_now: np.ndarray
    true_class: np.ndarray
    since: np.ndarray
    true_since: np.ndarray
    """Number of the year from which on the rival leads; 3 where it does not."""


def main() -> None:
    options = arguments()
    worlds = FITTED if options.fit else tuple((seed, options.size) for seed in range(options.first, options.first + options.seeds))
    cases = []
    for seed, size in worlds:
        cases.append(case(seed, size, options.model))
        told = cases[-1]
        print(
            f"world {seed}: {len(told.wrong)} polygons, {told.wrong.mean():.2f} wrong, AUC {auc(told.wrong, told.probability):.3f}",
            flush=True,
        )
    if options.fit:
        print(fit(cases))
        return
    rows = score(cases, options)
    for row in rows:
        peer = f"  ({row['peer']} {row['peer_value']:.3f})" if row["peer"] else ""
        print(f"{row['name']:52s} {row['value']:.3f} {row['unit']}{peer}")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n", "utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one world of 128 px")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=FIRST_SCORED, help="first world that is scored")
    parser.add_argument("--size", type=int, default=256, help="pixels along the side of a world")
    parser.add_argument("--model", default="forest")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fit", action="store_true", help="fit the weights")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.size = 1, 128
    return options


def case(seed: int, size: int, model: str) -> Case:
    """Simulate a world, map it by the command line, and audit its old map."""
    with tempfile.TemporaryDirectory(prefix="landtide-audit-") as folder:
        made = simulate.make_world(Path(folder) / "world", size=size, years=YEARS, seed=seed)
        workspace = Path(folder) / "work"
        settings = ["--set", f"model.name={model}", "--set", "compute.workers=1"]
        status = cli.main(["audit", str(made.study), "--workspace", str(workspace), *settings])
        if status != 0:
            raise SystemExit(status)
        return compare(workspace / "synthetic", made.truth, Path(folder))


def compare(work: Path, truth: dict[int, Path], scratch: Path) -> Case:
    """Judge the polygons of a finished run once more, beside the truth."""
    cubes, maps, old = by_year(work, "composite"), by_year(work, "classify"), one(work, "old_map")
    drawn = one(work, "extract")
    surveys = [survey(open_cube(cubes[YEARS[0]].assets["cube"].href).tile, old.assets["old_map"].href)]
    paths = tuple((maps[year].assets["label"].href, maps[year].assets["confidence"].href) for year in YEARS)
    candidates, verdicts = (table.read_frame(drawn.assets[name].href) for name in ("candidates", "verdicts"))
    found = judge(surveys, [surveys[0].tile.name], [paths], candidates, verdicts, CROSSWALK, LEGEND, Here())
    with rasterio.open(next(iter(truth.values()))) as dataset:
        profile = dataset.profile
    full = scratch / "full.tif"
    with rasterio.open(full, "w", **{**profile, "nodata": None}) as dataset:
        dataset.write(np.full((profile["height"], profile["width"]), 100, np.uint8), 1)
    real = count(surveys, [tuple((str(truth[year]), str(full)) for year in YEARS)], len(LEGEND), Here())
    return told(found, real.mass, real.seen)


def told(found: Audited, mass: np.ndarray, seen: np.ndarray) -> Case:
    codes, place = np.unique(found.counts.code, return_inverse=True)
    columns = code_columns(CROSSWALK, codes, len(LEGEND))
    allowed = (columns.members[:, columns.column] > 0).T[place]
    real = shares(mass, seen, allowed)
    own = found.told.own[-1] / np.maximum(found.told.confidence[-1], 1e-9)
    rows = np.flatnonzero(found.judged)
    return Case(
        {name: values[rows] for name, values in found.features.items()},
        found.probability[rows],
        1 - own[rows],
        (real.foreign[-1] > real.own[-1])[rows],
        found.told.largest[-1][rows],
        real.largest[-1][rows],
        since(found.told)[rows],
        since(real)[rows],
    )


def by_year(work: Path, step: str) -> dict[int, pystac.Item]:
    return {int(path.parents[1].name): manifest.read(str(path)) for path in (work / step).rglob("item.json")}


def one(work: Path, step: str) -> pystac.Item:
    return manifest.read(str(next((work / step).rglob("item.json"))))


def auc(wrong: np.ndarray, value: np.ndarray) -> float:
    return float(roc_auc_score(wrong, value)) if 0 < wrong.mean() < 1 else float("nan")


def precision(wrong: np.ndarray, value: np.ndarray, top: int) -> float:
    return float(wrong[np.argsort(-value, kind="stable")[:top]].mean())


def score(cases: list[Case], options: argparse.Namespace) -> list[dict[str, object]]:
    """Return precision at the top, by world and over all worlds together, calibration, and what else is told of a polygon."""
    wrong = np.concatenate([item.wrong for item in cases])
    chance, ours = (np.concatenate([getattr(item, name) for item in cases]) for name in ("naive", "probability"))
    seeds = list(range(options.first, options.first + options.seeds))
    protocol = f"simulated worlds of {options.size} px, {len(wrong)} judged polygons, {wrong.mean():.2f} wrong; maps by {options.model}"
    naive = "share that differs"
    rows = []
    for top in (20, 50, 100):
        if top <= len(wrong):
            rows.append((f"precision of the top {top}, worlds together", precision(wrong, ours, top), naive, precision(wrong, chance, top)))
    for top in (10, 20):
        mean = [np.mean([precision(item.wrong, getattr(item, name), top) for item in cases]) for name in ("probability", "naive")]
        rows.append((f"precision of the top {top}, mean of worlds", float(mean[0]), naive, float(mean[1])))
    rows.append(("area under the ROC curve", auc(wrong, ours), naive, auc(wrong, chance)))
    rows.append(
        ("expected calibration error of p_wrong", calibration_error(ours, wrong), naive, calibration_error(np.clip(chance, 0, 1), wrong))
    )
    flagged = np.concatenate([(item.probability >= 0.5) & item.wrong for item in cases])
    right = np.concatenate([item.class_now == item.true_class for item in cases])
    year = np.concatenate([item.since == item.true_since for item in cases])
    if flagged.any():
        rows.append(("class now right, of wrong polygons found", float(right[flagged].mean()), None, None))
        rows.append(("year of change right, of wrong polygons found", float(year[flagged].mean()), None, None))
    result = [
        {
            "name": name,
            "value": value,
            "unit": "fraction",
            "peer": peer,
            "peer_value": peer_value,
            "ratio": value / peer_value if peer_value else None,
            "protocol": protocol,
            "seeds": seeds,
        }
        for name, value, peer, peer_value in rows
    ]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [*result, {**result[0], "name": "peak memory", "value": memory, "unit": "GiB", "peer": None, "peer_value": None, "ratio": None}]


def fit(cases: list[Case]) -> dict[str, float]:
    """Fit the weights, with a penalty that suits some hundred polygons."""
    names = [name for name in WRONG if name != "constant"]
    x = np.concatenate([np.stack([item.features[name] for name in names], axis=1) for item in cases])
    model = LogisticRegression(C=0.05).fit(x, np.concatenate([item.wrong for item in cases]))
    return {"constant": round(float(model.intercept_[0]), 2), **dict(zip(names, model.coef_[0].round(2).tolist(), strict=True))}


if __name__ == "__main__":
    main()
