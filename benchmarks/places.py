"""Simulated worlds as pixels with series and truth, learnt from in one half of the blocks and judged in the other; rows of the results."""

import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
from worlds import FOLD

from landtide.core.legend import builtin_legend
from landtide.core.samples import SampleSet
from landtide.simulate import world
from landtide.simulate.spectra import BANDS

LEGEND = builtin_legend("landtide10")
DOY = np.array([16, 46, 75, 106, 136, 167, 197, 228, 259, 289, 320, 350], np.int16)
"""Middles of the months."""


def scene(seed: int, size: int, years: tuple[int, ...], *, gaps: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return series (P, Y, T, C) float32 and truth (P, Y) uint8 of all pixels of a world.

    gaps  leave months without a clear observation NaN; otherwise they are filled as composites are by default
    """
    made, series = world(size, years=years, seed=seed), []
    for year in years:
        cube, count = made.composites(year)
        if gaps:
            cube[np.broadcast_to(count[:, None] == 0, cube.shape)] = np.nan
        series.append(cube.transpose(2, 3, 0, 1).reshape(size * size, *cube.shape[:2]))
    return np.stack(series, axis=1), np.stack([made.truth(year).ravel() for year in years], axis=1)


def halves(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels to learn from and those to judge on, each in random order: blocks take turns."""
    block = np.add(*np.indices((size, size)) // FOLD).ravel() % 2
    return rng.permutation(np.flatnonzero(block == 0)), rng.permutation(np.flatnonzero(block == 1))


def sample_set(x: np.ndarray, y: np.ndarray, pixels: np.ndarray, year: np.ndarray, size: int) -> SampleSet:
    """Return samples of series (N, T, C) and labels (N,) at pixels and years; the polygon is a block of 16 px."""
    row, column = pixels // size, pixels % size
    count = len(pixels)
    return SampleSet(
        x=x,
        y=y.astype(np.uint8),
        doy=np.tile(DOY, (count, 1)),
        xy=np.column_stack([column, row]).astype(np.float64),
        year=year.astype(np.int16),
        trust=np.ones(count, np.float32),
        polygon=(row // 16 * 1000 + column // 16).astype(np.int64),
        tile=np.full(count, "33TVM"),
        draw=np.full(count, 0xFFFFFFFF, np.uint32),
        bands=BANDS,
        origin="stable",
    )


def row(
    name: str, values: list[float], unit: str, protocol: str, peer: str | None = None, peer_values: list[float] | None = None
) -> dict[str, Any]:
    """Return a line of the results: the mean over seeds, beside that of a peer."""
    value = float(np.mean(values))
    beside = float(np.mean(peer_values)) if peer_values else None
    told = {"peer": peer, "peer_value": beside, "ratio": value / beside if beside else None}
    return {"name": name, "value": value, "unit": unit, **told, "protocol": protocol, "seeds": len(values), "values": values}


def write(rows: list[dict[str, Any]], protocol: str, path: Path | None) -> None:
    """Print the rows with the peak memory, and write them as JSON where a path is given."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows = [*rows, row("peak memory", [peak], "GiB", protocol)]
    for one in rows:
        print(f"{one['name']:56s} {one['value']:8.3f} {one['unit']}")
    if path is not None:
        path.write_text(json.dumps({"rows": rows}, indent=2), "utf-8")
