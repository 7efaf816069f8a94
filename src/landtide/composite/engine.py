"""Composites of one tile and year: cut into blocks that fit the memory, composite them in one sweep, tell what came out."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import numpy as np

from landtide.composite.acquisitions import Acquisition, read_acquisitions
from landtide.composite.slab import DamagedError, Done, Job, blamed, composite_slab
from landtide.composite.stream import Header, lag_of, read_header
from landtide.core.errors import InputError, LandtideError
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.core.tile import Tile
from landtide.core.units import format_bytes
from landtide.io.cube import CHUNK, create_cube
from landtide.io.manifest import Writing

logger = logging.getLogger(__name__)

CUBE = "cube.zarr"
REPORT = "composite.json"
MEDIA_TYPE = "application/vnd+zarr"

LARGEST = 16 * CHUNK
"""2048 pixels are one block of 1024 pixels of 20 m: a larger window decodes no block less."""

BASE = 400 * 2**20
"""Bytes of interpreter, libraries and GDAL's own buffers, before any pixel."""

READING = 40
"""Bytes a pixel that each thread needs beside the stack: raw numbers, interpolated ones, masks, a block's decoding."""

SHARE = 0.9
"""Of the memory that is planned with."""


class Pool(Protocol):
    """Workers, as `landtide.launch.workers` lends them."""

    workers: int
    threads: int

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]: ...


def build(
    items_uri: str,
    tile: Tile,
    year: int,
    *,
    bands: tuple[str, ...],
    mask: Mask | None,
    settings: Composite,
    memory: int,
    out: Writing,
    pool: Pool,
    slabs: int = 1,
) -> None:
    """Composite the acquisitions of a year into ``cube.zarr`` and tell in ``composite.json`` what each step rests on.

    items_uri  ItemCollection that retrieval prepared: assets by band id, each with its scale and offset decided
    bands      the channels of the cube, in order
    memory     bytes that a process may use; the work is cut to it, whatever the size of the tile
    slabs      parts of the tile that workers do at the same time, each in a process of its own, possibly on another machine. One slab is
               done in this process by all threads: no worker has to start, and every block is read once. Between slabs a row of blocks
               is read twice where bands are interpolated

    An acquisition with a damaged local raster is left out and named in the report.

    Raises InputError where no acquisition falls into the year, or the memory is too small, LandtideError where the workspace fails.
    """
    periods = Period.of_year(year).split(settings.period)
    acquisitions = read_acquisitions(items_uri, periods, bands, mask.asset if mask else None)
    if not acquisitions:
        raise InputError(f"tile {tile.name} has no acquisition in {year}: take the year out of `years`, or widen `source`")
    cube, began, damaged = out.path(CUBE), time.monotonic(), dict[str, str]()
    threads = pool.threads if slabs > 1 else pool.threads * pool.workers
    while True:
        try:
            digests = create_cube(cube, tile, periods, bands)
            headers = _headers(acquisitions, tile, threads)
            size, lag = cut_of(acquisitions, headers, tile, len(periods), memory, threads)
            job = Job(cube, tile, periods, acquisitions, headers, mask, settings, size, lag, threads)
            tally = Tally(len(periods), len(acquisitions))
            work = partial(composite_slab, job)
            for done in pool.map(work, slab_rows(tile.shape[0], size, slabs)) if slabs > 1 else [work((0, tile.shape[0]))]:
                digests |= done.digests
                tally.add(done)
            break
        except DamagedError as error:
            logger.warning("tile %s, %s: left out: %s", tile.name, year, error)
            damaged[error.acquisition] = error.reason
            acquisitions = [one for one in acquisitions if one.id != error.acquisition]
            if not acquisitions:
                raise LandtideError(f"tile {tile.name} has no readable acquisition in {year}; the last one: {error}") from error
    out.record(digests)
    if tally.empty == tally.pixels:
        logger.warning("tile %s, %s: no pixel has a valid observation in the whole year", tile.name, year)
    out.put_json(REPORT, {**tally.report(job), "left_out": [{"id": name, "reason": reason} for name, reason in damaged.items()]})
    out.properties["landtide:seconds"] = round(time.monotonic() - began, 1)
    names = [period.name for period in periods]
    out.add_asset("cube", CUBE, media_type=MEDIA_TYPE, roles=["data"], title="Composites", extra={"bands": list(bands), "periods": names})
    out.add_asset("report", REPORT, media_type="application/json", roles=["metadata"], title="What each composite rests on")


def _headers(acquisitions: list[Acquisition], tile: Tile, threads: int) -> list[tuple[Header, ...]]:
    def read(acquisition: Acquisition) -> tuple[Header, ...]:
        headers = []
        for layer in acquisition.bands:
            with blamed(acquisition, layer):
                headers.append(read_header(layer, tile))
        return tuple(headers)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(read, acquisitions))


def cut_of(
    acquisitions: list[Acquisition], headers: list[tuple[Header, ...]], tile: Tile, steps: int, memory: int, threads: int
) -> tuple[int, int]:
    """Return the side of the blocks read together, in pixels, and the lag of the output behind them.

    It is the least common multiple of all rasters' blocks where the memory holds that, so that each is decoded once; else the largest
    power of two times the chunk that it holds.

    Raises InputError where the memory does not even hold the smallest.
    """
    flat = [header for several in headers for header in several]
    factors = {header.alignment.factor for header in flat if header.alignment}
    bands = len(headers[0])
    most = int(np.bincount([acquisition.step for acquisition in acquisitions]).max())
    whole = partial(memory_needed, tile.shape, factors, steps, bands, most, len(acquisitions), threads)
    common = math.lcm(CHUNK, *({header.block for header in flat if header.block}))
    sizes = [LARGEST >> n for n in range(LARGEST.bit_length()) if LARGEST >> n >= CHUNK]
    if common <= LARGEST:
        sizes = [common * (LARGEST // common), *([common] if common < LARGEST else []), *(size for size in sizes if size < common)]
    for size in sizes:
        if whole(size) <= memory * SHARE:
            return size, max((lag_of(factor, size) for factor in factors), default=0)
    raise InputError(
        f"compute.memory {format_bytes(memory)} is too small for {bands} bands, {steps} steps and {most} acquisitions in one step: "
        f"{format_bytes(int(whole(CHUNK) / SHARE))} are needed at least"
    )


def memory_needed(
    shape: tuple[int, int], factors: set[int], steps: int, bands: int, most: int, acquisitions: int, threads: int, size: int
) -> int:
    """Return the bytes that compositing a tile takes with blocks of a size.

    shape         of the tile
    factors       pixels of the tile that a pixel of a raster covers along one side, of all rasters
    most          acquisitions in one step
    """
    lag = max((lag_of(factor, size) for factor in factors), default=0)
    series = steps * (2 * bands + 1)
    rows, columns = min(size, shape[0]) + lag, min(size, shape[1]) + lag
    window = rows * columns * (series + 2 * most * bands + READING * threads)
    waiting = series * CHUNK * (shape[1] + size) if shape[1] > size else 0  # chunks that are cut, and those being packed
    kept = 4 * (lag + 2) * shape[1] * acquisitions * bands
    return BASE + window + waiting + kept


def slab_rows(rows: int, size: int, slabs: int) -> list[tuple[int, int]]:
    """Cut the rows of a tile into at most `slabs` parts of whole blocks."""
    blocks = -(-rows // size)
    edges = sorted({round(blocks * part / slabs) * size for part in range(slabs)} | {0})
    return [(start, min(stop, rows)) for start, stop in zip(edges, [*edges[1:], rows], strict=True)]


class Tally:
    """The sums over windows that the report is made of."""

    def __init__(self, steps: int, acquisitions: int) -> None:
        self.pixels = 0
        self.empty = 0
        self.observed = np.zeros(steps, np.int64)
        self.seen = np.zeros(acquisitions, np.int64)

    def add(self, done: Done) -> None:
        self.pixels += done.pixels
        self.empty += done.empty
        self.observed += done.observed
        self.seen += done.seen

    def report(self, job: Job) -> dict[str, Any]:
        """Return the record for JSON; every share is of the tile's pixels."""
        steps = [acquisition.step for acquisition in job.acquisitions]
        return {
            "tile": job.tile.name,
            "pixels": self.pixels,
            "empty": self.empty / self.pixels,
            "settings": job.settings.model_dump(),
            "mask": job.mask.model_dump() if job.mask else None,
            "periods": [
                {"name": period.name, "acquisitions": steps.count(step), "observed": int(self.observed[step]) / self.pixels}
                for step, period in enumerate(job.periods)
            ],
            "acquisitions": [
                {
                    "id": acquisition.id,
                    "datetime": acquisition.moment.isoformat().replace("+00:00", "Z"),
                    "period": job.periods[acquisition.step].name,
                    "seen": int(seen) / self.pixels,
                }
                for acquisition, seen in zip(job.acquisitions, self.seen, strict=True)
            ],
        }
