"""One window of a tile: read each acquisition once, reduce step by step, fill gaps, write the chunks. A worker does this."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from landtide.composite.acquisitions import Acquisition, Layer
from landtide.composite.gaps import fill_linear
from landtide.composite.mask import read_dropped
from landtide.composite.radiometry import held, to_digital
from landtide.composite.reducers import REDUCERS, Reducer
from landtide.composite.resample import read_band
from landtide.core.bands import is_reflectance
from landtide.core.cube import CLIP, NODATA
from landtide.core.errors import LandtideError
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.core.tile import Tile
from landtide.io.cube import write_window
from landtide.io.raster import open_raster
from landtide.io.storage import is_remote

REMOTE_READS = 8
"""Rasters read at once from a server: the time goes into waiting, not into this machine's cores."""


@dataclass(frozen=True)
class Job:
    """What the windows of one tile and year have in common."""

    cube: str
    """URI of the cube, which exists."""

    tile: Tile
    periods: list[Period]
    acquisitions: list[Acquisition]
    mask: Mask | None
    settings: Composite
    threads: int


@dataclass(frozen=True)
class Done:
    """What one window contributes to the report."""

    pixels: int
    digests: dict[str, str]
    seen: np.ndarray
    """(N,) int64 pixels that each acquisition saw in all bands."""

    observed: np.ndarray
    """(T,) int64 pixels with a valid observation in the step."""

    empty: int
    """Pixels without any valid observation in the year."""


def composite_window(job: Job, window: Window) -> Done:
    """Composite one window and write it into the cube.

    Raises LandtideError that names acquisition and asset where a raster cannot be read: retrieval has read it whole before.
    """
    rows, columns = int(window.height), int(window.width)
    steps, bands = len(job.periods), len(job.acquisitions[0].bands)
    composite = np.full((steps, bands, rows * columns), NODATA, np.int16)
    count = np.zeros((steps, rows * columns), np.uint8)
    seen = np.zeros(len(job.acquisitions), np.int64)
    parts, reducer = _split(rows * columns, job.threads), REDUCERS[job.settings.method]
    with ThreadPoolExecutor(job.threads) as threads, ThreadPoolExecutor(_readers(job)) as readers:
        for step in range(steps):
            members = [index for index, acquisition in enumerate(job.acquisitions) if acquisition.step == step]
            if members:
                stack = np.empty((len(members), bands, rows, columns), np.int16)
                reads = [readers.submit(_read, job, job.acquisitions[index], window, stack[n]) for n, index in enumerate(members)]
                for read in reads:
                    read.result()
                seen[members] = _reduce(reducer, stack.reshape(len(members), bands, -1), composite[step], count[step], parts, threads)
        if job.settings.gaps == "linear":
            days = np.array([period.middle.toordinal() for period in job.periods], np.int64)
            list(threads.map(lambda part: fill_linear(composite, days, part), parts))
    digests = write_window(job.cube, window, composite.reshape(steps, bands, rows, columns), count.reshape(steps, rows, columns))
    observed = (count > 0).sum(axis=1)
    return Done(rows * columns, digests, seen, observed, empty=int((count.max(axis=0) == 0).sum()))


def _read(job: Job, acquisition: Acquisition, window: Window, out: np.ndarray) -> None:
    """Read one acquisition into `out`, (B, h, w) int16. Where the mask leaves no pixel, the bands are not read at all."""
    dropped = np.zeros(out.shape[1:], bool)
    if job.mask is not None and acquisition.mask is not None:
        with _opened(acquisition, acquisition.mask) as dataset:
            nodata = _nodata(dataset, acquisition.mask)
            dropped = read_dropped(dataset, job.tile, window, job.mask, nodata)
    if dropped.all():
        out[...] = NODATA
        return
    for layer, digital in zip(acquisition.bands, out, strict=True):
        with _opened(acquisition, layer) as dataset:
            fill = _fill(dataset, layer)
            raw = read_band(dataset, job.tile, window, fill=fill)
        clip = CLIP if is_reflectance(layer.name) else None
        to_digital(raw, dropped, digital, scale=layer.scale, offset=layer.offset, nodata=fill, clip=clip)


def _fill(dataset: rasterio.DatasetReader, layer: Layer) -> float:
    """Return a band's no-data value: told by the item, by the file, or the one that nobody tells."""
    nodata = _nodata(dataset, layer)
    if nodata is not None:
        return nodata
    if np.dtype(dataset.dtypes[0]).kind == "f":
        return np.nan
    if is_reflectance(layer.name):
        return 0.0  # in every Level-1C and Level-2A product
    return float(np.iinfo(dataset.dtypes[0]).min)


def _nodata(dataset: rasterio.DatasetReader, layer: Layer) -> float | None:
    return held(dataset.nodata if layer.nodata is None else layer.nodata, dataset.dtypes[0])


@contextmanager
def _opened(acquisition: Acquisition, layer: Layer) -> Iterator[rasterio.DatasetReader]:
    """Open a raster, and put the acquisition's name to what fails while it is read."""
    try:
        with open_raster(layer.href) as dataset:
            yield dataset
    except RasterioError as error:
        raise LandtideError(
            f"acquisition {acquisition.id}, asset {layer.name}: {layer.href} cannot be read any more ({' '.join(str(error).split())}): "
            "it was whole when it was retrieved; run retrieve again with --force"
        ) from error


def _reduce(
    reducer: Reducer, stack: np.ndarray, composite: np.ndarray, count: np.ndarray, parts: list[slice], threads: ThreadPoolExecutor
) -> np.ndarray:
    """Reduce one step in threads; return (N,) pixels that each of its acquisitions saw."""
    seen = threads.map(lambda part: reducer(stack, composite, count, part), parts)
    total: np.ndarray = np.sum(list(seen), axis=0)
    return total


def _split(pixels: int, parts: int) -> list[slice]:
    edges = np.linspace(0, pixels, parts + 1).astype(int)
    return [slice(int(start), int(stop)) for start, stop in pairwise(edges)]


def _readers(job: Job) -> int:
    return max(job.threads, REMOTE_READS) if any(is_remote(a.bands[0].href) for a in job.acquisitions) else job.threads
