"""Random numbers that depend on a place and a seed alone, so that any window of a world can be made by itself."""

import zlib

import numpy as np
from scipy.special import ndtri

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

SPLINE_DEVIATION = 0.479
"""Standard deviation of a cubic B-spline surface over unit white noise (mean over a lattice cell); fields are divided by it."""


def hash_of(*keys: np.ndarray | int) -> np.ndarray:
    """Return uint64 hashes of broadcast integer keys. Source: the finalizer of SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        state = np.zeros(1, np.uint64)
        for key in keys:
            word = np.asarray(key)
            word = word if word.dtype == np.uint64 else word.astype(np.int64).view(np.uint64)
            state = (state ^ (word * _MIX_1 + _GOLDEN)) * _MIX_2
            state = (state ^ (state >> np.uint64(30))) * _MIX_1
            state = (state ^ (state >> np.uint64(27))) * _MIX_2
            state = state ^ (state >> np.uint64(31))
    return state


def uniform(*keys: np.ndarray | int) -> np.ndarray:
    """Return float64 numbers in (0, 1), one a hash."""
    return (hash_of(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54


def normal(*keys: np.ndarray | int) -> np.ndarray:
    """Return standard normal float64 numbers, one a hash."""
    return np.asarray(ndtri(uniform(*keys)))


def field(seed: int, spacing: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return a smooth random surface of unit variance on the grid of rows y (h,) and columns x (w,) in pixels: (h, w) float32."""
    rows, row_weight = _spline(y / spacing)
    columns, column_weight = _spline(x / spacing)
    values = normal(seed, rows[:, None], columns[None, :])
    return np.asarray((row_weight @ values @ column_weight.T / SPLINE_DEVIATION), np.float32)


def field_at(seed: int, spacing: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the surface of `field` at single places y (N,), x (N,): (N,) float32."""
    row, column = np.floor(y / spacing).astype(np.int64), np.floor(x / spacing).astype(np.int64)
    row_weight, column_weight = _basis(y / spacing - row), _basis(x / spacing - column)
    total = np.zeros(len(y))
    for i in range(4):
        for j in range(4):
            total += row_weight[i] * column_weight[j] * normal(seed, row + (i - 1), column + (j - 1))
    return (total / SPLINE_DEVIATION).astype(np.float32)


def fractal(seed: int, spacing: float, y: np.ndarray, x: np.ndarray, *, octaves: int = 4, points: bool = False) -> np.ndarray:
    """Return a sum of surfaces, each half as wide and half as high as the one before: rough at all scales, unit variance."""
    surface = field_at if points else field
    heights = 0.5 ** np.arange(octaves)
    parts = [height * surface(seed + 101 * k, max(spacing * 0.5**k, 2.0), y, x) for k, height in enumerate(heights)]
    return np.asarray(np.sum(parts, axis=0, dtype=np.float32) / np.float32(np.sqrt((heights**2).sum())))


def voronoi(seed: int, spacing: float, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cell of each place among jittered seeds, one a square of the spacing.

    y, x    broadcastable to (h, w), pixels

    Returns key (h, w) uint64 of the cell, and its centre's y and x (h, w) float32.
    """
    y, x = np.broadcast_arrays(np.asarray(y, np.float32), np.asarray(x, np.float32))
    row, column = np.floor(y / spacing).astype(np.int64), np.floor(x / spacing).astype(np.int64)
    nearest = np.full(y.shape, np.inf, np.float32)
    key, best_y, best_x = np.zeros(y.shape, np.uint64), np.zeros(y.shape, np.float32), np.zeros(y.shape, np.float32)
    first_row, first_column = int(row.min()) - 1, int(column.min()) - 1
    lattice_row = np.arange(first_row, int(row.max()) + 2)[:, None]
    lattice_column = np.arange(first_column, int(column.max()) + 2)[None, :]
    keys = hash_of(seed, lattice_row, lattice_column)
    seed_y = ((lattice_row + uniform(seed + 1, keys)) * spacing).astype(np.float32)
    seed_x = ((lattice_column + uniform(seed + 2, keys)) * spacing).astype(np.float32)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            at = (row + (i - first_row), column + (j - first_column))
            centre_y, centre_x = seed_y[at], seed_x[at]
            distance = (y - centre_y) ** 2 + (x - centre_x) ** 2
            closer = distance < nearest
            nearest[closer] = distance[closer]
            key[closer], best_y[closer], best_x[closer] = keys[at][closer], centre_y[closer], centre_x[closer]
    return key, best_y, best_x


def _spline(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return lattice indices (n,) and the dense weight matrix (len(place), n) of the cubic B-spline."""
    first = np.floor(place).astype(np.int64)
    lattice = np.arange(first.min() - 1, first.max() + 3)
    weight = np.zeros((len(place), len(lattice)))
    for k, values in enumerate(_basis(place - first)):
        weight[np.arange(len(place)), first - lattice[0] - 1 + k] = values
    return lattice, weight


def _basis(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return (1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6


def stream(seed: int, name: str) -> int:
    """Return the seed of one named stream of randomness, so that two uses of a seed are never alike."""
    return int(hash_of(seed, zlib.crc32(name.encode()))[0] >> np.uint64(2))
