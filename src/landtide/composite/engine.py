"""Composites of one tile and year: cut into blocks that fit the memory, composite them in one sweep, tell what came out."""

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from landtide.composite.acquisitions import Acquisition, read_acquisitions
from landtide.composite.budget import cut_of, load_of
from landtide.composite.clearest import clearest_steps
from landtide.composite.damaged import DamagedError, blamed
from landtide.composite.mask import Dropped
from landtide.composite.outliers import looked_bands
from landtide.composite.slab import Done, Job, Share, composite_slab, note_mask
from landtide.composite.stream import Header, read_header
from landtide.core.errors import InputError, LandtideError
from landtide.core.indices import Index
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.core.tile import Tile
from landtide.io.cube import create_cube
from landtide.io.embedding import Embedding
from landtide.io.manifest import Writing

logger = logging.getLogger(__name__)

CUBE = "cube.zarr"
REPORT = "composite.json"
MEDIA_TYPE = "application/vnd+zarr"


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
    indices: tuple[Index, ...] = (),
    embedding: Embedding | None = None,
    slabs: int = 1,
) -> None:
    """Composite the acquisitions of a year into ``cube.zarr`` and tell in ``composite.json`` what each step rests on.

    items_uri  ItemCollection that retrieval prepared: assets by band id, each with its scale and offset decided
    bands      the first channels of the cube, in order; the indices follow. Bands that only an index needs are read and not stored
    embedding  channels that come last, the same at every step that has an observation
    memory     bytes that a process may use; the work is cut to it, whatever the size of the tile
    slabs      parts of the tile that workers do at the same time, each in a process of its own, possibly on another machine. One slab is
               done in this process by all threads: no worker has to start, and every block is read once. Between slabs a row of blocks
               is read twice where bands are interpolated

    An acquisition with a damaged local raster is left out and named in the report.

    Raises InputError where no acquisition falls into the year, or the memory is too small, LandtideError where the workspace fails.
    """
    began, damaged = time.monotonic(), dict[str, str]()
    read = (*dict.fromkeys(name for index in indices for name in index.bands if name not in bands), *bands)
    asset, detected = (mask.asset if mask.method == "asset" else None, mask.bands) if mask else (None, ())
    found = read_acquisitions(items_uri, [settings.span(year)], read, asset, detected)
    if not found:
        raise InputError(f"tile {tile.name} has no acquisition in {year}: take the year out of `years`, or widen `source`")
    channels = (*bands, *(index.name for index in indices), *(embedding.names if embedding else ()))
    task = Task(out.path(CUBE), tile, year, read, channels, indices, embedding, mask, settings, memory)
    while True:
        try:
            job, tally, digests = _composite(task, found, pool, slabs)
            break
        except DamagedError as error:
            logger.warning("tile %s, %s: left out: %s", tile.name, year, error)
            damaged[error.acquisition] = error.reason
            found = [one for one in found if one.id != error.acquisition]
            if not found:
                raise LandtideError(f"tile {tile.name} has no readable acquisition in {year}; the last one: {error}") from error
    out.record(digests)
    if tally.empty == tally.pixels:
        logger.warning("tile %s, %s: no pixel has a valid observation in the whole year", tile.name, year)
    left_out = [{"id": name, "reason": reason} for name, reason in damaged.items()]
    out.put_json(REPORT, {**tally.report(job), "year": year, "left_out": left_out})
    out.properties["landtide:seconds"] = round(time.monotonic() - began, 1)
    out.properties["landtide:peak_memory"] = tally.peak
    names = [period.name for period in job.periods]
    out.add_asset(
        "cube", CUBE, media_type=MEDIA_TYPE, roles=["data"], title="Composites", extra={"bands": list(channels), "periods": names}
    )
    out.add_asset("report", REPORT, media_type="application/json", roles=["metadata"], title="What each composite rests on")


@dataclass(frozen=True)
class Task:
    """What is asked for one tile and year."""

    cube: str
    tile: Tile
    year: int
    read: tuple[str, ...]
    """Bands that are read."""

    channels: tuple[str, ...]
    """Of the cube."""

    indices: tuple[Index, ...]
    embedding: Embedding | None
    mask: Mask | None
    settings: Composite
    memory: int


def _composite(task: Task, found: list[Acquisition], pool: Pool, slabs: int) -> tuple[Job, "Tally", dict[str, str]]:
    """Composite the acquisitions into a new cube; return the job, its sums, and the digests of the cube's objects."""
    tile, threads = task.tile, pool.threads if slabs > 1 else pool.threads * pool.workers
    looked = looked_bands(task.read) if task.settings.outliers == "drop" else ()
    with tempfile.TemporaryDirectory(prefix="landtide-masks-") as scratch:
        series = series_of(found, task, threads, Path(scratch))
        headers, steps = _headers(series.acquisitions, tile, threads), len(series.periods)
        channels = len(task.read) + len(task.indices) + (len(task.embedding.names) if task.embedding else 0)
        load = load_of(series.acquisitions, headers, tile.shape, steps, channels, len(looked), threads)
        size, lag = cut_of(load, headers, task.memory)
        attrs = {"year": task.year, "indices": {index.name: index.formula for index in task.indices}}
        digests = create_cube(task.cube, tile, series.periods, task.channels, attrs)
        job = Job(
            cube=task.cube,
            tile=tile,
            periods=series.periods,
            acquisitions=series.acquisitions,
            headers=headers,
            mask=task.mask,
            settings=task.settings,
            bands=task.read,
            indices=task.indices,
            channels=task.channels,
            embedding=task.embedding,
            looked=looked,
            size=size,
            lag=lag,
            threads=threads,
        )
        tally, work = Tally(steps, len(series.acquisitions)), partial(composite_slab, job)
        shares = (
            Share(rows, {n: dropped.part(tile, rows) for n, dropped in series.masks.items()})
            for rows in slab_rows(tile.shape[0], size, slabs)
        )
        for done in pool.map(work, shares) if slabs > 1 else [work(Share((0, tile.shape[0]), series.masks))]:
            digests |= done.digests
            tally.add(done)
    return job, tally, digests


@dataclass(frozen=True)
class Series:
    """The steps of a year and the acquisitions that they are made of."""

    periods: list[Period]
    acquisitions: list[Acquisition]
    masks: dict[int, Dropped]
    """Masks that were read already, by the number of the acquisition."""


def series_of(found: list[Acquisition], task: Task, threads: int, scratch: Path) -> Series:
    """Put the acquisitions of a year into steps; for the clearest dates the masks of all are read, into files in `scratch`."""
    tile, mask, settings, span = task.tile, task.mask, task.settings, task.settings.span(task.year)
    if settings.clearest is None:
        periods = span.split(settings.period)
        steps = [next(n for n, period in enumerate(periods) if period.contains(one.moment)) for one in found]
        return Series(periods, [replace(one, step=step) for one, step in zip(found, steps, strict=True)], {})

    def note(index: int) -> Dropped | None:
        return note_mask(found[index], tile, (0, tile.shape[0]), mask, scratch / str(index)) if mask and found[index].masked else None

    with ThreadPoolExecutor(threads) as pool:
        masks = dict(zip((one.id for one in found), pool.map(note, range(len(found))), strict=True))
    told = [1.0 - (one.cloud or 0.0) for one in found]
    clear = [told[n] if dropped is None else dropped.clear(tile) for n, dropped in enumerate(masks.values())]
    periods, chosen = clearest_steps(found, clear, span, settings.clearest)
    return Series(periods, chosen, {n: dropped for n, one in enumerate(chosen) if (dropped := masks[one.id]) is not None})


def _headers(acquisitions: list[Acquisition], tile: Tile, threads: int) -> list[tuple[Header, ...]]:
    def read(acquisition: Acquisition) -> tuple[Header, ...]:
        headers = []
        for layer in acquisition.bands:
            with blamed(acquisition, layer):
                headers.append(read_header(layer, tile))
        return tuple(headers)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(read, acquisitions))


def slab_rows(rows: int, size: int, slabs: int) -> list[tuple[int, int]]:
    """Cut the rows of a tile into at most `slabs` parts of whole blocks."""
    blocks = -(-rows // size)
    edges = sorted({blocks * part // slabs * size for part in range(slabs)})
    return [(start, min(stop, rows)) for start, stop in zip(edges, [*edges[1:], rows], strict=True)]


class Tally:
    """The sums over windows that the report is made of."""

    def __init__(self, steps: int, acquisitions: int) -> None:
        self.pixels = 0
        self.empty = 0
        self.observed = np.zeros(steps, np.int64)
        self.seen = np.zeros(acquisitions, np.int64)
        self.outliers = np.zeros(acquisitions, np.int64)
        self.peak = 0

    def add(self, done: Done) -> None:
        self.peak = max(self.peak, done.peak)
        self.outliers += done.outliers
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
            "indices": {index.name: index.formula for index in job.indices},
            "looked_at": list(job.looked),
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
                    "outliers": int(outliers) / self.pixels,
                }
                for acquisition, seen, outliers in zip(job.acquisitions, self.seen, self.outliers, strict=True)
            ],
        }
