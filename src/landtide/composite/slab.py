"""A slab of a tile: rows of blocks, read in raster order, each block once; reduce step by step, fill gaps, write chunk by chunk."""

import resource
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from rasterio.windows import Window

from landtide.composite.acquisitions import Acquisition
from landtide.composite.cloudless import note_clouds
from landtide.composite.damaged import blamed
from landtide.composite.gaps import fill_linear
from landtide.composite.indices import add_indices
from landtide.composite.mask import Dropped, Part, note_dropped
from landtide.composite.outliers import drop_outliers
from landtide.composite.radiometry import held, to_digital
from landtide.composite.reducers import REDUCERS
from landtide.composite.stream import Cut, Header, Stream
from landtide.core.bands import is_reflectance
from landtide.core.cube import CLIP, NODATA
from landtide.core.indices import Index
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.core.tile import Tile
from landtide.io.cube import CubeWriter
from landtide.io.embedding import Embedding, read_embedding
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
    bands: tuple[str, ...]
    """That are read: those that only an index needs come first, then the first channels of the cube."""

    indices: tuple[Index, ...]
    channels: tuple[str, ...]
    """Of the cube."""

    embedding: Embedding | None
    """Whose channels come last."""

    looked: tuple[str, ...]
    """Bands by whose series outliers in time are found; empty = none are looked for."""

    size: int
    """Side of the blocks read together, in pixels of the tile."""

    lag: int
    threads: int


@dataclass(frozen=True)
class Share:
    """What one slab has of its own."""

    rows: tuple[int, int]
    """Of the tile."""

    masks: dict[int, Dropped] | dict[int, Part]
    """Masks that were read already, by acquisition: files of this machine, or the rows themselves where the slab is done on another."""


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

    outliers: np.ndarray
    """(N,) int64 pixels of each acquisition that were dropped as outliers in time."""

    peak: int = 0
    """Bytes of the process at their highest."""


def composite_slab(job: Job, share: Share) -> Done:
    """Composite some rows of the tile and write them into the cube.

    Raises DamagedError where a local raster cannot be read, LandtideError where one of the workspace cannot.
    """
    slab = _Slab(job, Cut(share.rows, job.tile.shape[1], job.size, job.lag), share)
    try:
        return slab.run()
    finally:
        slab.close()


def note_mask(acquisition: Acquisition, tile: Tile, rows: tuple[int, int], mask: Mask, path: Path) -> Dropped:
    """Write into a file which pixels of an acquisition its mask drops in some rows of a tile."""
    layer = acquisition.mask
    if layer is None:
        return _detect(acquisition, tile, rows, mask, path)
    with blamed(acquisition, layer), open_raster(layer.href) as dataset:
        nodata = held(dataset.nodata if layer.nodata is None else layer.nodata, dataset.dtypes[0])
        return note_dropped(dataset, tile, rows, mask, nodata, path)


def _detect(acquisition: Acquisition, tile: Tile, rows: tuple[int, int], mask: Mask, path: Path) -> Dropped:
    with ExitStack() as stack:
        for layer in acquisition.detected:
            stack.enter_context(blamed(acquisition, layer))
        return note_clouds(acquisition.detected, tile, rows, mask, path)


@dataclass
class _Slab:
    job: Job
    cut: Cut
    share: Share
    masks: dict[int, Dropped] = field(default_factory=dict)

    def __post_init__(self) -> None:
        job = self.job
        made = len(job.bands) + len(job.indices) + (len(job.embedding.names) if job.embedding else 0)
        self.helpers = made - len(job.channels)  # bands that are not stored
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
        steps, bands, most = len(job.periods), len(job.bands), max(len(members) for members in self.steps)
        channels, number, looked = self.helpers + len(job.channels), len(job.acquisitions), len(job.looked)
        if job.mask is not None:
            for n, read in self.share.masks.items():
                self.masks[n] = read.unpack(self.scratch / str(n)) if isinstance(read, Part) else read
            masked = [n for n, acquisition in enumerate(job.acquisitions) if acquisition.masked and n not in self.masks]
            self.masks |= dict(zip(masked, self.readers.map(self._note, masked), strict=True))
        writer = CubeWriter(job.cube, cut.rows)
        largest = (cut.size + cut.lag) ** 2
        # Taken once: memory given back and asked for again window by window is what makes a process grow.
        composites, counts = np.empty(steps * channels * largest, np.int16), np.empty(steps * largest, np.uint8)
        stacks, years = np.empty(most * bands * largest, np.int16), np.empty(number * looked * largest, np.int16)
        drops = np.empty(number * largest if looked else 0, np.bool_)
        done = Done(0, {}, np.zeros(number, np.int64), np.zeros(steps, np.int64), 0, np.zeros(number, np.int64))
        for i in range(len(cut.row_edges) - 1):
            for j in range(len(cut.column_edges) - 1):
                region = cut.region(i, j)
                pixels = int(region.height * region.width)
                composite = composites[: steps * channels * pixels].reshape(steps, channels, pixels)
                count = counts[: steps * pixels].reshape(steps, pixels)
                block = _Block(i, j, region)
                if looked:
                    block.year = years[: number * looked * pixels].reshape(number, looked, pixels)
                    block.dropped = drops[: number * pixels].reshape(number, pixels)
                    self._look(block, done)
                self._reduce(block, stacks, composite, count, done)
                if job.embedding is not None:
                    add_embedding(composite[:, self.helpers :], read_embedding(job.embedding, job.tile, region))
                self._write(writer, region, composite, count, done)
        done.digests, done.peak = writer.close(), peak_memory()
        return done

    def _note(self, index: int) -> Dropped:
        assert self.job.mask is not None
        return note_mask(self.job.acquisitions[index], self.job.tile, self.cut.rows, self.job.mask, self.scratch / str(index))

    def _look(self, block: "_Block", done: Done) -> None:
        """Read a few bands of the whole year and drop the observations that do not fit among their neighbours in time."""
        job, year, dropped = self.job, block.year, block.dropped
        assert year is not None
        assert dropped is not None
        places = [job.bands.index(name) for name in job.looked]
        shape = (int(block.region.height), int(block.region.width))

        def read(index: int) -> None:
            masked, wanted = self._mask(block, index)
            dropped[index] = False if masked is None else masked.reshape(-1)
            block.wanted[index] = wanted
            for row, band in enumerate(places):
                self._read(block, index, band, dropped[index].reshape(shape), wanted, year[index, row])

        list(self.readers.map(read, range(len(job.acquisitions))))
        parts = _split(dropped.shape[1], job.threads)
        done.outliers += np.sum(list(self.threads.map(lambda part: drop_outliers(year, dropped, part), parts)), axis=0)

    def _reduce(self, block: "_Block", stacks: np.ndarray, composite: np.ndarray, count: np.ndarray, done: Done) -> None:
        """Read a block of every acquisition and reduce the region that it completes, step by step."""
        job, pixels, bands = self.job, composite.shape[2], len(self.job.bands)
        reduce, parts = REDUCERS[job.settings.method], _split(composite.shape[2], job.threads)
        for step, members in enumerate(self.steps):
            if not members:
                composite[step], count[step] = NODATA, 0
                continue
            stack = stacks[: len(members) * bands * pixels].reshape(len(members), bands, pixels)
            self._fill(block, members, stack)
            reduced = composite[step, :bands]
            seen = self.threads.map(lambda part, step=step, stack=stack, to=reduced: reduce(stack, to, count[step], part), parts)
            done.seen[members] += np.sum(list(seen), axis=0)
        if job.settings.gaps == "linear":
            list(self.threads.map(lambda part: fill_linear(composite[:, :bands], self.days, part), parts))
        if job.indices:
            list(self.threads.map(lambda part: add_indices(composite, job.bands, job.indices, part), parts))

    def _fill(self, block: "_Block", members: list[int], stack: np.ndarray) -> None:
        """Read the observations of one step into ``stack``, (n, B, P)."""
        shape = (int(block.region.height), int(block.region.width))
        if block.dropped is None or block.year is None:
            masks = list(self.readers.map(partial(self._mask, block), members))
        else:
            masks = [(block.dropped[index].reshape(shape), block.wanted[index]) for index in members]
        reads = []
        for n, index in enumerate(members):
            for band, name in enumerate(self.job.bands):
                if block.year is not None and name in self.job.looked:
                    missing = masks[n][0]
                    assert missing is not None
                    stack[n, band] = np.where(missing.reshape(-1), NODATA, block.year[index, self.job.looked.index(name)])
                else:
                    reads.append(self.readers.submit(self._read, block, index, band, *masks[n], stack[n, band]))
        for read in reads:
            read.result()

    def _mask(self, block: "_Block", index: int) -> tuple[np.ndarray | None, bool]:
        """Return which pixels of the region are dropped (None = none), and whether any pixel wants the block at all."""
        if index not in self.masks:
            return None, True
        tile, reach = self.job.tile, self.cut.reach(block.i, block.j)
        dropped = self.masks[index].window(tile, block.region)
        return dropped, not dropped.all() or not self.masks[index].window(tile, reach).all()

    def _read(self, block: "_Block", index: int, band: int, dropped: np.ndarray | None, wanted: bool, out: np.ndarray) -> None:
        acquisition, stream = self.job.acquisitions[index], self.streams[index][band]
        layer = stream.layer
        with blamed(acquisition, layer):
            raw = stream.advance(block.i, block.j, wanted=wanted)
        shape = (int(block.region.height), int(block.region.width))
        if raw is None:
            out[:] = NODATA
            return
        clip = CLIP if is_reflectance(layer.name) else None
        if dropped is None:
            dropped = np.zeros(shape, bool)
        to_digital(raw, dropped, out.reshape(shape), scale=layer.scale, offset=layer.offset, nodata=stream.header.fill, clip=clip)

    def _write(self, writer: CubeWriter, region: Window, composite: np.ndarray, count: np.ndarray, done: Done) -> None:
        shape = (int(region.height), int(region.width))
        values = composite.reshape(*composite.shape[:2], *shape)[:, self.helpers :]
        acts: list[Callable[[], None]] = writer.write(region, values, count.reshape(-1, *shape))
        for act in [self.threads.submit(act) for act in acts]:
            act.result()
        done.pixels += count.shape[1]
        done.observed += (count > 0).sum(axis=1)
        done.empty += int((count.max(axis=0) == 0).sum())


def add_embedding(composite: np.ndarray, values: np.ndarray) -> None:
    """Write the embedding into the last channels at every step that has an observation: a step without one stays missing as a whole.

    composite  (T, C, P) int16, -32768 = missing
    values     (E, h, w) int16 with h * w = P
    """
    count = len(values)
    for step in composite:
        observed = (step[:-count] != NODATA).any(axis=0)  # (P,)
        step[-count:] = np.where(observed, values.reshape(count, -1), NODATA)


@dataclass
class _Block:
    """The place in the sweep, and what is known of all acquisitions there."""

    i: int
    j: int
    region: Window
    year: np.ndarray | None = None
    """(N, L, P) int16 the looked-at bands of every acquisition."""

    dropped: np.ndarray | None = None
    """(N, P) bool: masked, or an outlier in time."""

    wanted: dict[int, bool] = field(default_factory=dict)
    """By acquisition: whether any pixel wants the block."""


def peak_memory() -> int:
    """Return the most bytes that this process has ever held."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except FileNotFoundError:  # not Linux; there a child starts with its own count
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _split(pixels: int, parts: int) -> list[slice]:
    edges = np.linspace(0, pixels, parts + 1).astype(int)
    return [slice(int(start), int(stop)) for start, stop in pairwise(edges)]
