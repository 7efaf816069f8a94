"""The composite cube on disk: a Zarr v3 group that is written and read by window.

Arrays: ``composite`` (time, band, y, x) int16 digital numbers of 1e-4, and ``count`` (time, y, x) uint8, the valid observations
behind each composite before gaps were filled. A chunk holds all times and bands of 128 x 128 pixels, because every reader wants
the whole series of a pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial
from typing import Any

import numpy as np
import xarray as xr
import zarr
import zarr.codecs
import zarr.storage
from rasterio.windows import Window
from zarr.abc.store import Store
from zarr.core.buffer import Buffer

from landtide.core.cube import NODATA, SCALE, check_cube, decode
from landtide.core.errors import LandtideError
from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.io import storage
from landtide.io.chunks import LocalChunks

CHUNK = 128
"""Pixels along the side of a chunk: 256 windows at any offset read at most 9 of them."""

EPOCH = date(1970, 1, 1)


class HashingStore(zarr.storage.WrapperStore[Store]):
    """A store that notes the SHA-256 of every object written through it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.digests: dict[str, str] = {}

    async def set(self, key: str, value: Buffer) -> None:
        await super().set(key, value)
        self.digests[key] = storage.digest(value.to_bytes())

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        if not await self.exists(key):
            await self.set(key, value)


@dataclass(frozen=True)
class Cube:
    """An open cube; pixels are read when asked for."""

    tile: Tile
    bands: tuple[str, ...]
    periods: tuple[Period, ...]
    group: zarr.Group

    @property
    def year(self) -> int:
        """The year that the cube stands for; a year of seasons begins in the one before."""
        return int(self.group.attrs.get("year", self.periods[-1].start.year))  # type: ignore[arg-type]

    @property
    def doy(self) -> np.ndarray:
        """(T,) int16 day of year, 1..366: of the middle of each period, or of the day itself where the steps are single dates."""
        return np.array([period.middle.timetuple().tm_yday for period in self.periods], np.int16)

    def read_digital(self, window: Window, out: np.ndarray | None = None) -> np.ndarray:
        """Return a window as stored, (T, B, h, w) int16; in ``out`` where it is given, which saves asking for memory window by window."""
        return self._read("composite", window, self._room(window, np.int16) if out is None else out)

    def read(self, window: Window) -> np.ndarray:
        """Return a window, (T, B, h, w) float32 reflectance or index, NaN = missing."""
        return self._read("composite", window, self._room(window, np.float32), decode)

    def read_count(self, window: Window) -> np.ndarray:
        """Return the number of valid observations in a window, (T, h, w) uint8."""
        return self._read("count", window, np.empty((len(self.periods), *self._size(window)), np.uint8))

    def read_pixels(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the series of single pixels, (N, T, B) float32, NaN = missing; each chunk is read once."""
        result = np.empty((len(rows), len(self.periods), len(self.bands)), np.float32)
        chunk = (rows // CHUNK) * (self.tile.shape[1] // CHUNK + 1) + columns // CHUNK
        order = np.argsort(chunk, kind="stable")
        starts = np.flatnonzero(np.diff(chunk[order], prepend=-1))
        for members in np.split(order, starts[1:]) if len(order) else []:
            top, left = rows[members[0]] // CHUNK * CHUNK, columns[members[0]] // CHUNK * CHUNK
            height, width = min(CHUNK, self.tile.shape[0] - top), min(CHUNK, self.tile.shape[1] - left)
            block = self.read_digital(Window(left, top, width, height))
            result[members] = decode(np.moveaxis(block[:, :, rows[members] - top, columns[members] - left], 2, 0))
        return result

    def to_xarray(self) -> xr.DataArray:
        """Return the composites as a lazy DataArray ``(time, band, y, x)``, int16 as stored."""
        dataset = xr.open_zarr(self.group.store, consolidated=False, mask_and_scale=False)
        return check_cube(dataset["composite"])

    def _room(self, window: Window, dtype: type[np.generic]) -> np.ndarray:
        return np.empty((len(self.periods), len(self.bands), *self._size(window)), dtype)

    def _size(self, window: Window) -> tuple[int, int]:
        """Return the rows and columns of a window that lie on the tile."""
        rows, columns = _slices(window)
        return len(range(*rows.indices(self.tile.shape[0]))), len(range(*columns.indices(self.tile.shape[1])))

    def _read(self, name: str, window: Window, out: np.ndarray, change: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
        rows, columns = _slices(window)
        array = self._arrays[name]
        if isinstance(array, LocalChunks):
            array.read(rows, columns, out, change)
        else:
            stored = np.asarray(array[..., rows, columns])
            out[...] = stored if change is None else change(stored)
        return out

    @cached_property
    def _arrays(self) -> dict[str, LocalChunks | zarr.Array[Any]]:
        """Composite and count, opened once."""
        found: dict[str, LocalChunks | zarr.Array[Any]] = {}
        for name in ("composite", "count"):
            array = self.group[name]
            if not isinstance(array, zarr.Array):
                raise LandtideError(f"cube {self.group.store} has no array {name!r}")
            found[name] = LocalChunks.of(array) or array
        return found


def create_cube(uri: str, tile: Tile, periods: list[Period], bands: tuple[str, ...], attrs: dict[str, Any] | None = None) -> dict[str, str]:
    """Make an empty cube; return the digests of its metadata objects by name relative to the cube's folder."""
    store = HashingStore(open_store(uri))
    rows, columns = tile.shape
    group = zarr.create_group(
        store,
        overwrite=True,
        zarr_format=3,
        attributes={
            "tile": tile.to_dict(),
            "bands": list(bands),
            "periods": [[period.start.isoformat(), period.end.isoformat()] for period in periods],
            **(attrs or {}),
        },
    )
    # zstd packs 1.4 times better and reads a third slower; level 9 packs a tenth better than 5 and reads alike. Shuffled bytes read a
    # seventh faster than shuffled bits, and pack to 1/1.60 instead of 1/1.76. Beside GeoTIFFs: benchmarks/cube.py.
    codec = zarr.codecs.BloscCodec(cname="lz4", clevel=9, shuffle="bitshuffle")
    time, band = len(periods), len(bands)
    group.create_array(
        "composite",
        shape=(time, band, rows, columns),
        chunks=(time, band, CHUNK, CHUNK),
        dtype="int16",
        fill_value=NODATA,
        compressors=codec,
        dimension_names=("time", "band", "y", "x"),
        attributes={"scale_factor": SCALE, "_FillValue": NODATA, "grid_mapping": "spatial_ref"},
    )
    group.create_array(
        "count",
        shape=(time, rows, columns),
        chunks=(time, CHUNK, CHUNK),
        dtype="uint8",
        fill_value=0,
        compressors=codec,
        dimension_names=("time", "y", "x"),
        attributes={"long_name": "valid observations before gap filling"},
    )
    _create_coordinates(group, tile, periods, bands)
    return _named(uri, store.digests)


def _create_coordinates(group: zarr.Group, tile: Tile, periods: list[Period], bands: tuple[str, ...]) -> None:
    rows, columns = tile.shape
    axes: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "time": (
            np.array([(period.start - EPOCH).days for period in periods], np.int64),
            {"units": "days since 1970-01-01", "calendar": "standard"},
        ),
        "x": (tile.transform[2] + tile.transform[0] * (np.arange(columns) + 0.5), {"units": "m"}),
        "y": (tile.transform[5] + tile.transform[4] * (np.arange(rows) + 0.5), {"units": "m"}),
    }
    for name, (values, attributes) in axes.items():
        group.create_array(name, data=values, chunks=values.shape, dimension_names=(name,), attributes=attributes)
    names = group.create_array("band", shape=(len(bands),), dtype=str, dimension_names=("band",))  # Zarr has no spec for a fixed length
    names[:] = np.array(bands, dtype=object)
    group.create_array(
        "spatial_ref", shape=(), dtype="int32", fill_value=0, attributes={"crs_wkt": tile.geobox.crs.to_wkt() if tile.geobox.crs else ""}
    )


class CubeWriter:
    """Write a cube region by region, in raster order; a chunk is written when its last pixel has come.

    Regions need not be aligned to chunks: of chunks that are cut, the parts wait in memory, at most one row of chunks.
    """

    def __init__(self, uri: str, rows: tuple[int, int]) -> None:
        """Open a cube that exists for writing some of its rows.

        Raises LandtideError where the rows cut a chunk: two writers of one chunk would undo each other's work.
        """
        self._uri = uri
        self._store = HashingStore(open_store(uri))
        group = zarr.open_group(self._store, mode="r+", zarr_format=3)
        composite, count = group["composite"], group["count"]
        assert isinstance(composite, zarr.Array)
        assert isinstance(count, zarr.Array)
        self._composite, self._count = composite, count
        self._shape = (composite.shape[2], composite.shape[3])
        if rows[0] % CHUNK or (rows[1] % CHUNK and rows[1] != self._shape[0]):
            raise LandtideError(f"rows {rows} cut a chunk of {CHUNK} pixels")
        self._waiting: dict[tuple[int, int], tuple[np.ndarray, np.ndarray, int]] = {}

    def write(self, region: Window, composite: np.ndarray, count: np.ndarray) -> list[Callable[[], None]]:
        """Take a region, (T, B, h, w) int16 and (T, h, w) uint8; return the acts that write what is complete.

        The acts are independent of each other and may run in threads; they use the arrays given, which must not change before.
        """
        rows, columns = _slices(region)
        inner_rows, inner_columns = _whole_chunks(rows, self._shape[0]), _whole_chunks(columns, self._shape[1])
        acts = []
        for top in range(rows.start // CHUNK * CHUNK, rows.stop, CHUNK):
            for left in range(columns.start // CHUNK * CHUNK, columns.stop, CHUNK):
                down, across = slice(top, min(top + CHUNK, self._shape[0])), slice(left, min(left + CHUNK, self._shape[1]))
                if not (_within(down, inner_rows) and _within(across, inner_columns)):
                    acts += self._join(rows, columns, down, across, composite, count)
        for top in range(inner_rows.start, inner_rows.stop, CHUNK):
            down = slice(top, min(top + CHUNK, inner_rows.stop))
            ours = (slice(down.start - rows.start, down.stop - rows.start), _moved(inner_columns, columns.start))
            acts.append(partial(self._put, down, inner_columns, composite[:, :, *ours], count[:, *ours]))
        return [act for act in acts if act is not None]

    @property
    def waiting(self) -> int:
        """Chunks of which some pixels have come."""
        return len(self._waiting)

    def close(self) -> dict[str, str]:
        """Return the digests of the chunks written, by name relative to the cube's folder."""
        if self._waiting:
            raise LandtideError(f"cube {self._uri}: {len(self._waiting)} chunks have not received all their pixels")
        return _named(self._uri, self._store.digests)

    def _join(
        self, rows: slice, columns: slice, down: slice, across: slice, composite: np.ndarray, count: np.ndarray
    ) -> list[Callable[[], None]]:
        """Copy a region's part of a chunk to those that wait; return the act that writes the chunk where it is now complete."""
        y, x = (
            slice(max(rows.start, down.start), min(rows.stop, down.stop)),
            slice(max(columns.start, across.start), min(columns.stop, across.stop)),
        )
        key, size = (down.start, across.start), (down.stop - down.start, across.stop - across.start)
        if key not in self._waiting:
            steps, bands = composite.shape[:2]
            self._waiting[key] = (np.empty((steps, bands, *size), np.int16), np.empty((steps, *size), np.uint8), size[0] * size[1])
        values, counts, left = self._waiting[key]
        there, here = (_moved(y, down.start), _moved(x, across.start)), (_moved(y, rows.start), _moved(x, columns.start))
        values[:, :, *there], counts[:, *there] = composite[:, :, *here], count[:, *here]
        left -= (y.stop - y.start) * (x.stop - x.start)
        if left:
            self._waiting[key] = (values, counts, left)
            return []
        del self._waiting[key]
        return [partial(self._put, down, across, values, counts)]

    def _put(self, rows: slice, columns: slice, composite: np.ndarray, count: np.ndarray) -> None:
        if rows.stop > rows.start and columns.stop > columns.start:
            self._composite[:, :, rows, columns] = composite
            self._count[:, rows, columns] = count


def _whole_chunks(span: slice, end: int) -> slice:
    """Return the part of a span that consists of whole chunks; the last chunk of the cube may be short."""
    start = -(-span.start // CHUNK) * CHUNK
    stop = span.stop if span.stop == end else span.stop // CHUNK * CHUNK
    return slice(start, max(start, stop))


def _within(inner: slice, outer: slice) -> bool:
    return bool(outer.start <= inner.start and inner.stop <= outer.stop)


def _moved(span: slice, start: int) -> slice:
    return slice(span.start - start, span.stop - start)


def write_window(uri: str, window: Window, composite: np.ndarray, count: np.ndarray) -> dict[str, str]:
    """Write one window, (T, B, h, w) int16 and (T, h, w) uint8; return the digests of its chunks.

    Raises LandtideError where the window cuts a chunk.
    """
    rows, _ = _slices(window)
    writer = CubeWriter(uri, (rows.start, rows.stop))
    acts = writer.write(window, composite, count)
    if writer.waiting:
        raise LandtideError(f"window {window} cuts a chunk of {CHUNK} pixels")
    for act in acts:
        act()
    return writer.close()


def open_cube(uri: str) -> Cube:
    """Open a cube for reading. Raises FileNotFoundError where there is none."""
    group = zarr.open_group(open_store(uri, read_only=True), mode="r", zarr_format=3)
    attrs: dict[str, Any] = dict(group.attrs)
    periods = tuple(Period(date.fromisoformat(start), date.fromisoformat(end)) for start, end in attrs["periods"])
    return Cube(Tile.from_dict(attrs["tile"]), tuple(attrs["bands"]), periods, group)


def open_store(uri: str, *, read_only: bool = False) -> Store:
    """Return the Zarr store of a URI: a folder, or S3 through obstore with boto3's credentials."""
    path = storage.local_path(uri)
    if path is not None:
        return zarr.storage.LocalStore(path, read_only=read_only)
    from landtide.io.remote import s3_store

    return zarr.storage.ObjectStore(s3_store(*storage.split_s3(uri)), read_only=read_only)


def _named(uri: str, digests: dict[str, str]) -> dict[str, str]:
    name = uri.rstrip("/").rsplit("/", 1)[1]
    return {f"{name}/{key}": value for key, value in digests.items()}


def _slices(window: Window) -> tuple[slice, slice]:
    top, left = int(window.row_off), int(window.col_off)
    return slice(top, top + int(window.height)), slice(left, left + int(window.width))
