"""What the maps say together: areas by class and year, agreement between years, and how they differ from the old map."""

from typing import Any

import numpy as np

from landtide.core.legend import Legend
from landtide.core.tile import Tile
from landtide.evaluate.tally import Maps, Tally
from landtide.evaluate.views import NAMELESS


def describe_areas(maps: Maps, legend: Legend, tallies: dict[str, Tally]) -> dict[str, Any]:
    """Return the mapped ha of each class, year and tile, and those of the old map (results.py: ``areas``)."""
    tiles = {tile.name: tile for tile in maps.tiles}
    by_tile = {name: tally.labels * tiles[name].pixel_area for name, tally in tallies.items()}
    total = sum(by_tile.values(), np.zeros((len(maps.years), len(maps.states) + 1)))
    record: dict[str, Any] = {
        "classes": list(legend.names),
        "years": [{"year": year, **_area_row(total[index])} for index, year in enumerate(maps.years)],
        "tiles": [
            {"tile": name, "year": year, **_area_row(areas[index])}
            for name, areas in by_tile.items()
            for index, year in enumerate(maps.years)
        ],
        "old_map": None,
    }
    if maps.old_states is not None:
        old = np.zeros(len(legend) + 1)
        missing = 0.0
        for name, tally in tallies.items():
            hectares = tally.old[0].sum(axis=1) * tiles[name].pixel_area
            np.add.at(old, maps.old_states.labels[0][1:], hectares[1:])
            missing += float(hectares[0])
        record["old_map"] = {"hectares": old[1:].tolist(), "no_data": missing, "no_single_class": float(old[0])}
    return record


def _area_row(hectares: np.ndarray) -> dict[str, Any]:
    return {"hectares": hectares[1:-1].tolist(), "no_data": float(hectares[0]), "do_not_know": float(hectares[-1])}


def describe_years(maps: Maps, tallies: dict[str, Tally]) -> dict[str, Any] | None:
    """Return the agreement between years and the transitions (results.py: ``temporal``); None where there is one year.

    A pixel counts where it has a class in the years compared. Agreement in all years is the measure of Sedona et al. 2022
    (doi:10.1109/IGARSS46834.2022.9883655) as far as its abstract tells; the mean over pairs stands beside it.
    """
    if len(maps.years) < 2:
        return None
    total = _total(tallies)
    named = total.pairs[:, :, 1:-1, 1:-1]
    pairs = [
        {"from": first, "to": second, "pixels": int(named[i, j].sum()), "agreement": share(named[i, j].trace(), named[i, j].sum())}
        for i, first in enumerate(maps.years)
        for j, second in enumerate(maps.years)
        if i < j
    ]
    agreements = [pair["agreement"] for pair in pairs if pair["agreement"] is not None]
    return {
        "pixels": total.always,
        "all_years": share(total.same, total.always),
        "pairwise": float(np.mean(agreements)) if agreements else None,
        "pairs": pairs,
        "flips": {"share": share(total.flips, total.triples), "triples": total.triples} if len(maps.years) > 2 else None,
        "transitions": [
            {
                "from": maps.years[i],
                "to": maps.years[i + 1],
                "hectares": _hectares(maps.tiles, tallies, lambda tally, i=i: tally.pairs[i, i + 1]),
            }
            for i in range(len(maps.years) - 1)
        ],
    }


def describe_old_map(maps: Maps, legend: Legend, tallies: dict[str, Tally]) -> dict[str, Any] | None:
    """Return how the old map agrees with the maps of each year (results.py: ``old_map``); None without old map."""
    if maps.old_states is None:
        return None
    meaning = maps.old_states.labels[0]
    fold = np.zeros((len(legend) + 1, len(meaning)))  # (K + 1, R): class or, last, no single class
    fold[np.where(meaning[1:] == 0, len(legend), meaning[1:].astype(int) - 1), np.arange(1, len(meaning))] = 1
    total = _total(tallies)
    agreement = []
    for index, year in enumerate(maps.years):
        matrix = fold @ total.old[index][:, 1:-1]
        right, translated = matrix[:-1].trace(), matrix[:-1].sum()
        agreement.append(
            {
                "year": year,
                "pixels": int(matrix.sum()),
                "agreement": share(right, matrix.sum()),
                "agreement_translated": share(right, translated),
            }
        )
    return {
        "agreement": agreement,
        "rows": [*legend.names, NAMELESS],
        "columns": list(legend.names),
        "transitions": [
            {"year": year, "hectares": _hectares(maps.tiles, tallies, lambda tally, index=index: fold @ tally.old[index], rows=slice(None))}
            for index, year in enumerate(maps.years)
        ],
    }


def _total(tallies: dict[str, Tally]) -> Tally:
    first, *others = tallies.values()
    total = Tally(first.labels.copy(), first.pairs.copy(), first.old.copy(), first.always, first.same, first.triples, first.flips)
    for other in others:
        total.add(other)
    return total


def _hectares(tiles: list[Tile], tallies: dict[str, Tally], matrix: Any, rows: slice = slice(1, -1)) -> list[list[float]]:
    area = {tile.name: tile.pixel_area for tile in tiles}
    named = [matrix(tally)[rows, 1:-1] * area[name] for name, tally in tallies.items()]
    result: list[list[float]] = np.sum(named, axis=0).tolist()
    return result


def share(part: float, whole: float) -> float | None:
    """Return a fraction, None of nothing."""
    return float(part) / float(whole) if whole else None
