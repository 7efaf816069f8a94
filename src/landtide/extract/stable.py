"""The second extraction: from preliminary labels of all years to samples in places that did not change."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from landtide.core.errors import InputError
from landtide.core.legend import Legend
from landtide.core.samples import SampleSet
from landtide.core.study import Extract
from landtide.extract import trust
from landtide.extract.draw import class_targets, draw
from landtide.extract.gather import Pool, read_series
from landtide.extract.series import FEW, Labelled, open_inputs, sample_set
from landtide.io.manifest import Writing
from landtide.io.table import encode_samples, read_frame, read_samples

VOTES = (0.8, 0.6, 0.4, 0.0)
"""Shares of the ensemble that must agree in every year; the next one is tried where a class has too few places.
That only places count on which all years agree is from Sedona et al. 2022 (IGARSS); the shares are ours."""

ENOUGH = 300
"""Places of a class that are wanted before its floor is lowered."""

BLOCK = 64
"""Pixels: side of the blocks that are kept together in validation; 640 m is past most parcels."""


@dataclass(frozen=True)
class Stable:
    """Places whose label does not change."""

    place: np.ndarray
    """(N,) row of the candidates."""

    label: np.ndarray
    trust: np.ndarray
    """(N,) float32 probability that the label is right."""

    floors: dict[int, float]
    """Vote share that each class was held to."""


def stable(
    *,
    labels_uri: str,
    samples_uri: str,
    cubes: dict[str, dict[int, str]],
    legend: Legend,
    settings: Extract,
    seed: int,
    out: Writing,
    pool: Pool,
) -> None:
    """Draw (pixel, year) samples of all years where preliminary labels agree in all years and the ensemble is sure.

    labels_uri   table of candidates with ``label_<year>`` and ``vote_<year>``
    samples_uri  samples of the first extraction: classes without a stable place keep theirs

    Raises InputError where fewer than two classes have samples, or one has too few and the study says to stop.
    """
    inputs = open_inputs(cubes)
    frame = read_frame(labels_uri)
    first = read_samples(samples_uri)
    found = stable_places(frame, inputs.years, len(legend), settings.trust)
    names = {name: number for number, name in enumerate(sorted(cubes))}
    tile = frame["tile"].map(names).to_numpy(np.int64)[found.place]
    row, column = (frame[name].to_numpy(np.int64)[found.place] for name in ("row", "column"))
    kind = frame["kind"].to_numpy(np.int64)[found.place] if "kind" in frame else None
    chosen = choose_places(found, (tile, row, column), len(legend), settings.per_class, len(inputs.years), seed, kind)
    spare = _spare(first, found.label[chosen], legend, settings)
    x = read_series(inputs.uris, tile[chosen], row[chosen], column[chosen], pool)
    drawn = _pairs(x, found, (tile, row, column), chosen)
    samples = SampleSet.concatenate(
        [sample_set(drawn, np.full(len(drawn.label), (1 << settings.draws) - 1, np.uint32), inputs, "stable"), spare]
    )
    record = _record(frame, found, samples, spare, inputs.years, legend)
    out.put("samples.parquet", encode_samples(samples))
    out.add_asset("samples", "samples.parquet", media_type="application/vnd.apache.parquet", title="Samples in stable places")
    out.put_json("refused.json", record)
    out.add_asset("refused", "refused.json", media_type="application/json", roles=["metadata"], title="What was refused, and why")
    out.properties["landtide:samples"] = len(samples)


def stable_places(frame: pd.DataFrame, years: list[int], classes: int, least_trust: float) -> Stable:
    """Find the candidates that bear one label in all years in which they were seen, and whose label can be trusted.

    Each class is held to the highest vote share that leaves it 300 places.
    """
    label = np.stack([frame[f"label_{year}"].to_numpy(np.int64) for year in years], axis=1)
    vote = np.stack([frame[f"vote_{year}"].to_numpy(np.float64) for year in years], axis=1)
    seen = label > 0
    highest = label.max(axis=1)
    same = seen.any(axis=1) & ((label == highest[:, None]) | ~seen).all(axis=1)
    sure = np.where(seen, vote, 1.0).min(axis=1)
    score = trust.logistic(trust.stable_features(sure, highest, *_first_stage(frame, highest)), trust.STABLE)
    same &= score >= least_trust
    floors = {}
    keep = np.zeros(len(frame), bool)
    for value in range(1, classes + 1):
        own = same & (highest == value)
        floor = next((share for share in VOTES if (own & (sure >= share)).sum() >= ENOUGH), VOTES[-1])
        keep |= own & (sure >= floor)
        if own.any():
            floors[value] = floor
    place = np.flatnonzero(keep)
    return Stable(place, highest[place].astype(np.uint8), score[place], floors)


def _first_stage(frame: pd.DataFrame, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the label of the first extraction and its trust; where there was none (points alone), the label itself at even odds."""
    if "presumed" not in frame:
        return label, np.full(len(label), 0.5)
    return frame["presumed"].to_numpy(np.int64), frame["trust"].to_numpy(np.float64)


def choose_places(
    found: Stable,
    where: tuple[np.ndarray, np.ndarray, np.ndarray],
    classes: int,
    per_class: int,
    years: int,
    seed: int,
    kind: np.ndarray | None = None,
) -> np.ndarray:
    """Choose stable places balanced by class and sub-class and spread over blocks; return their rows in `found`.

    where  tile number, row, column of each stable place
    kind   (N,) sub-class that the first extraction put it in: of its own label then, which is the same nearly everywhere
    """
    area = np.bincount(found.label, minlength=classes + 1)[1:]
    target = class_targets(area, max(1, 2 * per_class // years))
    mask, _ = draw(found.label, block_of(*where), target, 1, seed, kind)
    return np.flatnonzero(mask)


def block_of(tile: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return the spatial block of each place, (N,) int64: groups that are never split across folds."""
    return np.asarray((tile * 4096 + row // BLOCK) * 4096 + column // BLOCK, np.int64)


def _pairs(x: np.ndarray, found: Stable, where: tuple[np.ndarray, np.ndarray, np.ndarray], chosen: np.ndarray) -> Labelled:
    """Make one sample of every year in which a chosen place was seen. x (n, Y, T, B)"""
    place, year = np.nonzero(np.isfinite(x).any(axis=(2, 3)))
    own = chosen[place]
    tile, row, column = (values[own] for values in where)
    return Labelled(x[place, year], tile, row, column, year, found.label[own], found.trust[own], block_of(tile, row, column))


def _spare(first: SampleSet, label: np.ndarray, legend: Legend, settings: Extract) -> SampleSet:
    """Return the first extraction's samples of classes that have too few stable ones.

    Raises InputError where that leaves a class with too few and the study says to stop, or fewer than two classes.
    """
    classes = len(legend)
    stable_count = np.bincount(label, minlength=classes + 1)[1:]
    poor = np.flatnonzero(stable_count < FEW) + 1
    spare = first.take(np.flatnonzero(np.isin(first.y, poor) & (first.trust >= settings.trust)))
    total = stable_count + np.bincount(spare.y, minlength=classes + 1)[1:]
    for value in np.flatnonzero((total > 0) & (total < FEW)) + 1:
        if settings.few == "stop":
            raise InputError(
                f"class {legend.names[value - 1]!r} keeps {total[value - 1]} samples in stable places, at least {FEW} are needed: "
                "add labelled points, lower `extract.trust`, or set `extract.few: drop` to go on without it"
            )
    if (total >= FEW).sum() < 2:
        left = ", ".join(legend.names[value] for value in np.flatnonzero(total >= FEW)) or "none"
        raise InputError(f"fewer than two classes have samples in stable places ({left}): nothing can be told apart; add labelled points")
    return spare.take(np.flatnonzero(np.isin(spare.y, np.flatnonzero(total >= FEW) + 1)))


def _record(frame: pd.DataFrame, found: Stable, samples: SampleSet, spare: SampleSet, years: list[int], legend: Legend) -> dict[str, Any]:
    """Return what was refused, by class: places that changed or were unsure, floors that were lowered."""
    classes = len(legend)
    label = np.stack([frame[f"label_{year}"].to_numpy(np.int64) for year in years], axis=1)
    ever = np.array([(label == value).any(axis=1).sum() for value in range(1, classes + 1)])
    kept = np.bincount(found.label, minlength=classes + 1)[1:]
    drawn = np.bincount(samples.y, minlength=classes + 1)[1:]
    spared = np.bincount(spare.y, minlength=classes + 1)[1:]
    records, lines = [], []
    for value, name in enumerate(legend.names, start=1):
        place = value - 1
        record = {"label": value, "name": name, "candidates": int(ever[place]), "places": int(kept[place]), "samples": int(drawn[place])}
        floor = found.floors.get(value)
        record |= {"vote": floor, "lowered": floor is not None and floor < VOTES[0], "spare": int(spared[place])}
        if drawn[place] == 0:
            record["why_none"] = "no place bears it in all years"
            lines.append(f"{name}: no samples, {record['why_none']}")
        else:
            lines.append(f"{name}: {drawn[place]} samples; {kept[place]} of {ever[place]} places bear it in all years and are sure")
        if record["lowered"]:
            lines.append(f"{name}: vote share lowered to {floor:.1f}, as few of its places are sure")
        if spared[place]:
            lines.append(f"{name}: {spared[place]} samples of the first extraction kept, as it has no stable place")
        records.append(record)
    return {"stage": "stable", "candidates": len(frame), "stable": len(found.place), "classes": records, "lines": lines}
