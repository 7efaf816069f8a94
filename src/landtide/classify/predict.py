"""Predict the pixels of a window or of a list, with the model loaded once a process."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from rasterio.windows import Window
from threadpoolctl import threadpool_limits

from landtide import models
from landtide.core.errors import InputError
from landtide.core.legend import Legend
from landtide.io.cube import Cube, open_cube
from landtide.models import SequenceModel


@lru_cache(maxsize=2)
def load_model(uri: str, runtime: str = "torch", threads: int = 1) -> SequenceModel:
    """Load a model, once a process: its URI names one content for ever. A network is compiled at its first block, once too."""
    return models.on_runtime(models.load(uri), runtime, threads)


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Hold torch, BLAS and OpenMP to so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def check_fits(model: SequenceModel, cube: Cube, uri: str) -> None:
    """Raise InputError where a cube's bands or steps are not those that the model was trained on."""
    if cube.bands != model.bands or len(cube.periods) != model.steps:
        raise InputError(
            f"cube {uri} has {len(cube.periods)} steps a year of bands {', '.join(cube.bands)}; model {model.name} {model.id} was trained "
            f"on {model.steps} steps of {', '.join(model.bands)}: train it again, or composite with the same bands and period"
        )


def check_legend(model: SequenceModel, legend: Legend, uri: str) -> None:
    """Raise InputError where a model was trained for another legend: its numbers would mean other classes."""
    if model.legend != legend:
        raise InputError(
            f"model {uri} was trained for legend {model.legend.name!r} ({', '.join(model.legend.names)}); the study has {legend.name!r} "
            f"({', '.join(legend.names)}): train it again"
        )


def open_fitting(model: SequenceModel, uri: str) -> Cube:
    """Open a cube that fits the model."""
    cube = open_cube(uri)
    check_fits(model, cube, uri)
    return cube


def one_year(
    model: SequenceModel, x: np.ndarray, cube: Cube, observed: np.ndarray, state: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return (N, K) float32 class probabilities of one year, and the state (N, S) that the next year takes, None where none is carried.

    Rows that were not observed stay 0, keep their state, and cost nothing.

    x         (N, T, C) float32
    observed  (N,) bool
    state     (N, S) float32 at the end of the year before; None = there was none
    """
    result = np.zeros((len(x), len(model.legend)), np.float32)
    rows = np.flatnonzero(observed)
    if rows.size:
        doy = np.broadcast_to(cube.doy, (len(rows), model.steps))
        result[rows], after = model.advance(x[rows], doy, None if state is None else state[rows])
        if after is not None:
            state = np.zeros((len(x), after.shape[1]), np.float32) if state is None else state.copy()
            state[rows] = after
    return result, state


def all_years(model: SequenceModel, series: list[np.ndarray], cubes: list[Cube], observed: np.ndarray) -> np.ndarray:
    """Return (N, Y, K) float32 class probabilities of years that a model looks at together; rows never observed stay 0.

    series    Y x (N, T, C) float32
    observed  (N, Y) bool
    """
    result = np.zeros((len(observed), len(cubes), len(model.legend)), np.float32)
    rows = np.flatnonzero(observed.any(axis=1))
    if rows.size:
        x = np.concatenate([part[rows] for part in series], axis=1)  # Y x (N, T, C) -> (N, Y*T, C)
        doy = np.concatenate([cube.doy for cube in cubes])
        year = np.repeat(np.array([cube.year for cube in cubes], np.int16), model.steps)
        result[rows] = model.predict_proba(x, np.broadcast_to(doy, x.shape[:2]), np.broadcast_to(year, x.shape[:2]))
    return result


def reach(model: SequenceModel, years: int) -> int:
    """Return the pixels around a window that reach its classes in any of the years: a carried state reaches further each year."""
    return (model.halo or 0) * (years if model.across == "carried" else 1)


def images(model: SequenceModel, cubes: list[Cube], window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, Y, K) float32 class probabilities of a window and which pixels were observed (N, Y), by a model that reads images.

    The window is read with all around it that reaches its classes.
    """
    around = reach(model, len(cubes))
    height, width = cubes[0].tile.shape
    top, left = max(int(window.row_off) - around, 0), max(int(window.col_off) - around, 0)
    bottom, right = (
        min(int(end) + around, most) for end, most in ((window.row_off + window.height, height), (window.col_off + window.width, width))
    )
    wide = Window(left, top, right - left, bottom - top)
    rows, columns = slice(int(window.row_off) - top, None), slice(int(window.col_off) - left, None)
    shares, observed, state = [], [], None
    for cube in cubes:
        x = cube.read(wide)
        share, state = model.image(x, cube.doy, state)
        inner = (rows, columns)
        seen = (~np.isnan(x).all(axis=(0, 1)))[inner][: int(window.height), : int(window.width)]
        seen = seen & cube.read_count(window).any(axis=0)
        kept = share[(slice(None), *inner)][:, : int(window.height), : int(window.width)] * seen
        shares.append(kept.reshape(len(kept), -1).T)
        observed.append(seen.reshape(-1))
    return np.stack(shares, axis=1), np.stack(observed, axis=1)
