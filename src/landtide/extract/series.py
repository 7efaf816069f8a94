"""Labelled series on the way to samples: the inputs that all of them share, and their table."""

from dataclasses import dataclass

import numpy as np

from landtide.core.errors import LandtideError
from landtide.core.samples import SampleSet
from landtide.core.tile import Tile
from landtide.io.cube import Cube, open_cube

FEW = 10
"""Samples under which a class cannot be learnt."""


@dataclass(frozen=True)
class Inputs:
    """The tiles and years of one extraction, in one order."""

    tiles: list[Tile]
    years: list[int]
    uris: list[tuple[str, ...]]
    """For each tile the cubes of the years."""

    bands: tuple[str, ...]
    doy: np.ndarray
    """(L, Y, T) int16, L tiles: where the steps are single dates, each tile has its own."""


@dataclass(frozen=True)
class Labelled:
    """M labelled series that samples are drawn from."""

    x: np.ndarray
    """(M, T, B) float32"""

    tile: np.ndarray
    row: np.ndarray
    column: np.ndarray
    year: np.ndarray
    """(M,) number of the year."""

    label: np.ndarray
    trust: np.ndarray
    group: np.ndarray
    """(M,) int64 polygon, or block of a large one: never split across folds."""

    def take(self, index: np.ndarray) -> "Labelled":
        return Labelled(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def open_inputs(cubes: dict[str, dict[int, str]]) -> Inputs:
    """Open the cubes of all tiles and years.

    Raises LandtideError where a tile lacks a year or cubes differ in bands or steps: samples of them could not lie in one table.
    """
    names = sorted(cubes)
    years = sorted({year for by_year in cubes.values() for year in by_year})
    missing = [f"{name} {year}" for name in names for year in years if year not in cubes[name]]
    if not names or not years or missing:
        raise LandtideError(f"no cube for {', '.join(missing) or 'any tile'}: build the composites of every tile and year first")
    opened: list[list[Cube]] = [[open_cube(cubes[name][year]) for year in years] for name in names]
    forms = {(cube.bands, len(cube.periods)) for row in opened for cube in row}
    if len(forms) > 1:
        raise LandtideError(f"cubes differ in bands or steps: {sorted(forms)}")
    uris = [tuple(cubes[name][year] for year in years) for name in names]
    return Inputs(
        [row[0].tile for row in opened], years, uris, opened[0][0].bands, np.stack([[cube.doy for cube in row] for row in opened])
    )


def sample_set(labelled: Labelled, mask: np.ndarray, inputs: Inputs, origin: str) -> SampleSet:
    names = np.array([tile.name for tile in inputs.tiles])
    xy = np.empty((len(mask), 2))
    for number, tile in enumerate(inputs.tiles):
        own = labelled.tile == number
        east, north = tile.affine * (labelled.column[own] + 0.5, labelled.row[own] + 0.5)
        xy[own, 0], xy[own, 1] = east, north
    return SampleSet(
        x=labelled.x,
        y=labelled.label.astype(np.uint8),
        doy=inputs.doy[labelled.tile, labelled.year],
        xy=xy,
        year=np.array(inputs.years, np.int16)[labelled.year],
        trust=labelled.trust.astype(np.float32),
        polygon=labelled.group.astype(np.int64),
        tile=names[labelled.tile],
        draw=mask.astype(np.uint32),
        bands=inputs.bands,
        origin=origin,
    )
