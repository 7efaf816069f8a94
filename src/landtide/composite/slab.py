"""A slab of a tile: rows of blocks, read in raster order, each block once; reduce step by step, fill gaps, write chunk by chunk."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window

from landtide.composite.acquisitions import Acquisition, Layer
from landtide.composite.gaps import fill_linear
from landtide.composite.mask import Dropped, note_dropped
from landtide.composite.radiometry import held, to_digital
from landtide.composite.reducers import REDUCERS
from landtide.composite.stream import Cut, Header, Stream
from landtide.core.bands import is_reflectance
from landtide.core.cube import CLIP, NODATA
from landtide.core.errors import LandtideError
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.core.tile import Tile
from landtide.io.cube import CubeWriter
from landtide.io.raster import open_raster
from landtide.io.storage import is_remote

REMOTE_READS = 8
"""Rasters read at once from a server: the time goes into waiting, not into this machine's cores."""


@dataclass(frozen=True)
class Job:
    """What the slabs of one tile and year have in common."""

    cube: str
    """URI of the cube, which exists."""

    tile: Tile
    periods: list[Period]
    acquisitions: list[Acquisition]
    headers: list[tuple[Header, ...]]
    """Of each acquisition's bands."""

    mask: Mask | None
    settings: Composite
    size: int
    """Side of the blocks read together, in pixels of the tile."""

    lag: int
    threads: int


@dataclass
class Done:
    """What a slab contributes to the report."""

    pixels: int
    digests: dict[str, str]
    seen: np.ndarray
    """(N,) int64 pixels that each acquisition saw in all bands."""

    observed: np.ndarray
    """(T,) int64 pixels with a valid observation in the step."""

    empty: int
    """Pixels without any valid observation in the year."""


class DamagedError(LandtideError):
    """A local raster cannot be read, although retrieval could: the acquisition has to be left out."""

    def __init__(self, acquisition: str, reason: str) -> None:
        super().__init__(f"acquisition {acquisition}, {reason}")
        self.acquisition = acquisition
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return DamagedError, (self.acquisition, self.reason)


@contextmanager
def blamed(acquisition: Acquisition, layer: Layer) -> Iterator[None]:
    """Put acquisition and asset to what fails while a raster is read."""
    try:
        yield
    except RasterioError as error:
        why = f"asset {layer.name}: {layer.href} cannot be read any more ({' '.join(str(error).split())})"
        if is_remote(layer.href):  # perhaps its server is down: leaving the acquisition out would be wrong
            raise LandtideError(
                f"acquisition {acquisition.id}, {why}: it was whole when it was retrieved; run retrieve with --force"
            ) from error
        raise DamagedError(acquisition.id, why) from error


def composite_slab(job: Job, rows: tuple[int, int]) -> Done:
    """Composite some rows of the tile and write them into the cube.

    Raises DamagedError where a local raster cannot be read, LandtideError where one of the workspace cannot.
    """
    slab = _Slab(job, Cut(rows, job.tile.shape[1], job.size, job.lag))
    try:
        return slab.run()
    finally:
        slab.close()


@dataclass
class _Slab:
    job: Job
    cut: Cut
    masks: dict[int, Dropped] = field(default_factory=dict)

    def __post_init__(self) -> None:
        job = self.job
        self.scratch = Path(tempfile.mkdtemp(prefix="landtide-masks-"))
        self.streams = [
            [Stream(layer, header, job.tile, self.cut) for layer, header in zip(acquisition.bands, headers, strict=True)]
            for acquisition, headers in zip(job.acquisitions, job.headers, strict=True)
        ]
        self.steps: list[list[int]] = [[] for _ in job.periods]
        for index, acquisition in enumerate(job.acquisitions):
            self.steps[acquisition.step].append(index)
        self.days = np.array([period.middle.toordinal() for period in job.periods], np.int64)
        self.threads = ThreadPoolExecutor(job.threads)
        remote = any(is_remote(one.bands[0].href) for one in job.acquisitions)
        self.readers = ThreadPoolExecutor(max(job.threads, REMOTE_READS)) if remote else self.threads

    def close(self) -> None:
        for pool in {self.threads, self.readers}:
            pool.shutdown(cancel_futures=True)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def run(self) -> Done:
        job, cut = self.job, self.cut
        steps, bands, most = len(job.periods), len(job.acquisitions[0].bands), max(len(members) for members in self.steps)
        if job.mask is not None:
            masked = [index for index, acquisition in enumerate(job.acquisitions) if acquisition.mask is not None]
            self.masks = dict(zip(masked, self.readers.map(self._note, masked), strict=True))
        writer = CubeWriter(job.cube, cut.rows)
        largest = (cut.size + cut.lag) ** 2
        # Taken once: memory given back and asked for again window by window is what makes a process grow.
        composites, counts = np.empty(steps * bands * largest, np.int16), np.empty(steps * largest, np.uint8)
        stacks = np.empty(most * bands * largest, np.int16)
        done = Done(0, {}, np.zeros(len(job.acquisitions), np.int64), np.zeros(steps, np.int64), 0)
        for i in range(len(cut.row_edges) - 1):
            for j in range(len(cut.column_edges) - 1):
                region = cut.region(i, j)
                pixels = int(region.height * region.width)
                composite = composites[: steps * bands * pixels].reshape(steps, bands, pixels)
                count = counts[: steps * pixels].reshape(steps, pixels)
                self._reduce(i, j, region, stacks, composite, count, done)
                self._write(writer, region, composite, count, done)
        done.digests = writer.close()
        return done

    def _note(self, index: int) -> Dropped:
        job, acquisition = self.job, self.job.acquisitions[index]
        assert job.mask is not None
        assert acquisition.mask is not None
        with blamed(acquisition, acquisition.mask), open_raster(acquisition.mask.href) as dataset:
            layer = acquisition.mask
            nodata = held(dataset.nodata if layer.nodata is None else layer.nodata, dataset.dtypes[0])
            return note_dropped(dataset, job.tile, self.cut.rows, job.mask, nodata, self.scratch / str(index))

    def _reduce(self, i: int, j: int, region: Window, stacks: np.ndarray, composite: np.ndarray, count: np.ndarray, done: Done) -> None:
        """Read block (i, j) of every acquisition and reduce the region that it completes, step by step."""
        job, pixels = self.job, composite.shape[2]
        reduce, parts = REDUCERS[job.settings.method], _split(pixels, job.threads)
        bands = composite.shape[1]
        for step, members in enumerate(self.steps):
            if not members:
                composite[step], count[step] = NODATA, 0
                continue
            stack = stacks[: len(members) * bands * pixels].reshape(len(members), bands, pixels)
            masks = list(self.readers.map(partial(self._mask, i, j, region), members))
            reads = [
                self.readers.submit(self._read, i, j, region, index, band, *masks[n], stack[n, band])
                for n, index in enumerate(members)
                for band in range(bands)
            ]
            for read in reads:
                read.result()
            seen = self.threads.map(lambda part, step=step, stack=stack: reduce(stack, composite[step], count[step], part), parts)
            done.seen[members] += np.sum(list(seen), axis=0)
        if job.settings.gaps == "linear":
            list(self.threads.map(lambda part: fill_linear(composite, self.days, part), parts))

    def _mask(self, i: int, j: int, region: Window, index: int) -> tuple[np.ndarray | None, bool]:
        """Return which pixels of the region are dropped (None = none), and whether any pixel wants the block at all."""
        if index not in self.masks:
            return None, True
        tile, reach = self.job.tile, self.cut.reach(i, j)
        dropped = self.masks[index].window(tile, region)
        return dropped, not dropped.all() or not self.masks[index].window(tile, reach).all()

    def _read(
        self, i: int, j: int, region: Window, index: int, band: int, dropped: np.ndarray | None, wanted: bool, out: np.ndarray
    ) -> None:
        acquisition, stream = self.job.acquisitions[index], self.streams[index][band]
        layer = stream.layer
        with blamed(acquisition, layer):
            raw = stream.advance(i, j, wanted=wanted)
        shape = (int(region.height), int(region.width))
        if raw is None:
            out[:] = NODATA
            return
        clip = CLIP if is_reflectance(layer.name) else None
        if dropped is None:
            dropped = np.zeros(shape, bool)
        to_digital(raw, dropped, out.reshape(shape), scale=layer.scale, offset=layer.offset, nodata=stream.header.fill, clip=clip)

    def _write(self, writer: CubeWriter, region: Window, composite: np.ndarray, count: np.ndarray, done: Done) -> None:
        shape = (int(region.height), int(region.width))
        acts: list[Callable[[], None]] = writer.write(region, composite.reshape(*composite.shape[:2], *shape), count.reshape(-1, *shape))
        for act in [self.threads.submit(act) for act in acts]:
            act.result()
        done.pixels += count.shape[1]
        done.observed += (count > 0).sum(axis=1)
        done.empty += int((count.max(axis=0) == 0).sum())


def _split(pixels: int, parts: int) -> list[slice]:
    edges = np.linspace(0, pixels, parts + 1).astype(int)
    return [slice(int(start), int(stop)) for start, stop in pairwise(edges)]
