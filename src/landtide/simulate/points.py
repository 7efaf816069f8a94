"""Reference points in the manner of LUCAS: a stratified probability sample of places, visited in every year."""

import csv
import io

import numpy as np
from rasterio.warp import transform

from landtide.core.legend import builtin_legend
from landtide.simulate.noise import stream
from landtide.simulate.world import SyntheticWorld

COLUMNS = ("id", "x", "y", "lon", "lat", "class", "class_name", "year", "stratum", "stratum_pixels")


def points_csv(world: SyntheticWorld) -> str:
    """Return the points as CSV text, a row a point and year.

    Strata are the true classes of the first year: rare classes are sampled more densely, and ``stratum_pixels`` weighs them back.
    ``x``, ``y`` are pixel centres on the world's grid, ``class`` the code of legend landtide10 in that year.
    """
    legend = builtin_legend("landtide10")
    first = world.truth(world.years[0])
    rows, columns, strata = _draw(first, int(np.clip(world.size // 5, 20, 150)), world.seed)
    x, y = world.tile.affine @ (columns + 0.5, rows + 0.5)
    lon, lat = transform(world.tile.crs, "EPSG:4326", x, y)
    sizes = np.bincount(first.ravel(), minlength=11)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for year in world.years:
        labels = world.truth(year)[rows, columns]
        for number, (label, stratum) in enumerate(zip(labels.tolist(), strata.tolist(), strict=True)):
            place = (f"{x[number]:.1f}", f"{y[number]:.1f}", f"{lon[number]:.7f}", f"{lat[number]:.7f}")
            known = legend.classes[label - 1]
            writer.writerow((number + 1, *place, known.code, known.name, year, legend.names[stratum - 1], sizes[stratum]))
    return text.getvalue()


def _draw(truth: np.ndarray, number: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, columns and strata (N,) of a simple random sample in each class."""
    rng = np.random.default_rng(stream(seed, "points"))
    flat = truth.ravel()
    chosen = [rng.choice(members, min(number, len(members)), replace=False) for members in _members(flat)]
    index = np.concatenate(chosen)
    return index // truth.shape[1], index % truth.shape[1], flat[index]


def _members(flat: np.ndarray) -> list[np.ndarray]:
    found = [np.flatnonzero(flat == label) for label in range(1, 11)]
    return [members for members in found if len(members)]
