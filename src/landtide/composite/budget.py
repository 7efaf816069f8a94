"""How large the blocks of one sweep may be: what compositing holds in memory, counted before anything is read."""

import math
from dataclasses import dataclass

import numpy as np

from landtide.composite.acquisitions import Acquisition
from landtide.composite.stream import Header, lag_of
from landtide.core.errors import InputError
from landtide.core.units import format_bytes
from landtide.io.cube import CHUNK

LARGEST = 16 * CHUNK
"""2048 pixels are one block of 1024 pixels of 20 m: a larger window decodes no block less."""

BASE = 400 * 2**20
"""Bytes of interpreter, libraries and GDAL's own buffers, before any pixel."""

READING = 40
"""Bytes a pixel that each thread needs beside the stack: raw numbers, interpolated ones, masks, a block's decoding."""

SHARE = 0.9
"""Of the memory that is planned with."""


@dataclass(frozen=True)
class Load:
    """What one tile and year asks of a process."""

    shape: tuple[int, int]
    """Of the tile."""

    factors: frozenset[int]
    """Pixels of the tile that a pixel of a raster covers along one side, of all rasters."""

    steps: int
    bands: int
    """Bands that are read."""

    channels: int
    """Channels that a composite is made in: the bands, the indices, the embeddings."""

    most: int
    """Acquisitions in the busiest step."""

    acquisitions: int
    looked: int
    """Bands of which the whole year is held at once, to find outliers in time; 0 = none."""

    threads: int

    def lag(self, size: int) -> int:
        """Return how far the output lies behind blocks of a size."""
        return max((lag_of(factor, size) for factor in self.factors), default=0)

    def memory(self, size: int) -> int:
        """Return the bytes that compositing takes with blocks of a size."""
        lag = self.lag(size)
        series = self.steps * (2 * self.channels + 1)
        rows, columns = min(size, self.shape[0]) + lag, min(size, self.shape[1]) + lag
        year = self.acquisitions * (2 * self.looked + 1) if self.looked else 0  # their numbers, and which pixels are dropped
        window = rows * columns * (series + year + 2 * self.most * self.bands + READING * self.threads)
        waiting = series * CHUNK * (self.shape[1] + size) if self.shape[1] > size else 0  # chunks that are cut, and those being packed
        kept = 4 * (lag + 2) * self.shape[1] * self.acquisitions * self.bands
        return BASE + window + waiting + kept


def load_of(
    acquisitions: list[Acquisition],
    headers: list[tuple[Header, ...]],
    shape: tuple[int, int],
    steps: int,
    channels: int,
    looked: int,
    threads: int,
) -> Load:
    """Return the load of acquisitions whose headers are known."""
    factors = frozenset(header.alignment.factor for several in headers for header in several if header.alignment)
    most = int(np.bincount([acquisition.step for acquisition in acquisitions]).max())
    return Load(shape, factors, steps, len(headers[0]), channels, most, len(acquisitions), looked, threads)


def cut_of(load: Load, headers: list[tuple[Header, ...]], memory: int) -> tuple[int, int]:
    """Return the side of the blocks read together, in pixels, and the lag of the output behind them.

    It is the least common multiple of all rasters' blocks where the memory holds that, so that each is decoded once; else the largest
    power of two times the chunk that it holds.

    Raises InputError where the memory does not even hold the smallest.
    """
    common = math.lcm(CHUNK, *({header.block for several in headers for header in several if header.block}))
    sizes = sizes_down(LARGEST)
    if common <= LARGEST:
        sizes = [common * (LARGEST // common), *([common] if common < LARGEST else []), *(size for size in sizes if size < common)]
    for size in sizes:
        if load.memory(size) <= memory * SHARE:
            return size, load.lag(size)
    raise InputError(
        f"compute.memory {format_bytes(memory)} is too small for {load.bands} bands, {load.steps} steps and {load.most} acquisitions in "
        f"one step: {format_bytes(int(load.memory(CHUNK) / SHARE))} are needed at least"
    )


def sizes_down(largest: int) -> list[int]:
    """Return powers of two times the chunk, from the largest down to the chunk."""
    return [largest >> n for n in range(largest.bit_length()) if largest >> n >= CHUNK]
