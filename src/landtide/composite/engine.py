"""Composites of one tile and year: cut into windows that fit the memory, let the workers do them, tell what came out."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np

from landtide.composite.acquisitions import Acquisition, read_acquisitions
from landtide.composite.window import Done, Job, composite_window
from landtide.core.errors import InputError
from landtide.core.period import Period
from landtide.core.study import Composite, Mask
from landtide.core.tile import Tile
from landtide.io.cube import CHUNK, create_cube
from landtide.io.manifest import Writing

logger = logging.getLogger(__name__)

CUBE = "cube.zarr"
REPORT = "composite.json"
MEDIA_TYPE = "application/vnd+zarr"

LARGEST = 8 * CHUNK
"""1024 pixels are one block of ESA's JPEG 2000 files, or several of any COG: a larger window decodes no block less."""

WORKING_SHARE = 0.25
"""Of the worker's memory for the arrays of a window; the rest is for libraries, GDAL's blocks and buffers of the chunks being written."""


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
) -> None:
    """Composite the acquisitions of a year into ``cube.zarr`` and tell in ``composite.json`` what each step rests on.

    items_uri  ItemCollection that retrieval prepared: assets by band id, each with its scale and offset decided
    bands      the channels of the cube, in order
    memory     bytes a worker may use

    Raises InputError where no acquisition falls into the year, LandtideError where a raster cannot be read any more.
    """
    periods = Period.of_year(year).split(settings.period)
    acquisitions = read_acquisitions(items_uri, periods, bands, mask.asset if mask else None)
    if not acquisitions:
        raise InputError(f"tile {tile.name} has no acquisition in {year}: take the year out of `years`, or widen `source`")
    cube = out.path(CUBE)
    out.record(create_cube(cube, tile, periods, bands))
    windows = tile.windows(window_size(acquisitions, len(periods), len(bands), memory))
    threads = pool.threads if len(windows) > 1 else pool.threads * pool.workers  # one window: starting workers would take longer
    job = Job(cube, tile, periods, acquisitions, mask, settings, threads)
    tally = Tally(len(periods), len(acquisitions))
    for done in pool.map(partial(composite_window, job), windows):
        out.record(done.digests)
        tally.add(done)
    if tally.empty == tally.pixels:
        logger.warning("tile %s, %s: no pixel has a valid observation in the whole year", tile.name, year)
    out.put_json(REPORT, tally.report(job))
    names = [period.name for period in periods]
    out.add_asset("cube", CUBE, media_type=MEDIA_TYPE, roles=["data"], title="Composites", extra={"bands": list(bands), "periods": names})
    out.add_asset("report", REPORT, media_type="application/json", roles=["metadata"], title="What each composite rests on")


def window_size(acquisitions: list[Acquisition], steps: int, bands: int, memory: int) -> int:
    """Return the side of a window in pixels, the largest whose arrays fit the memory.

    It is a power of two times the chunk, so that windows and the blocks of sources share edges.
    """
    most = int(np.bincount([acquisition.step for acquisition in acquisitions]).max())
    stack, series = 2 * most * bands, 2 * steps * bands + steps
    each = stack + 2 * series + 64  # bytes a pixel: one step's observations, composites and their copy being written, one raster and mask
    size = LARGEST
    while size > CHUNK and size**2 * each > memory * WORKING_SHARE:
        size //= 2
    return size


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
