"""Assets made ready for reading: local files proven in place, others kept as windows in the workspace.

JPEG 2000 is decoded once, here, and kept as Cloud-Optimized GeoTIFF: every later reading of a window would decode it again.
"""

import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit
from zipfile import BadZipFile

import numpy as np
from rasterio import DatasetReader
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from landtide.core.errors import InputError, LandtideError
from landtide.core.tile import Tile
from landtide.io import archive, storage
from landtide.io.raster import CogWriter, open_raster
from landtide.retrieve import place
from landtide.retrieve.api import signed, with_token
from landtide.retrieve.digest import SHA256, asset_source, matches

MARGIN = 2
"""Pixels of the asset around the tile: bilinear resampling at the tile's edge needs its neighbours."""

COPY_LEVEL = 3
"""Of zstd, for copies: 9, as for results, takes 1.6 times the CPU and saves 1 % on reflectance."""

WINDOW_ATTEMPTS = 2
"""Of reading an asset by windows; between them the server is asked what is wrong."""

JP2_SHARE = 0.1
"""Share of a remote JPEG 2000 from which on it is got whole: its parts are found only by walking through the file, a request each."""

STRIPE = 2048
"""Pixels along the side of one read: 8 MiB of uint16."""


class UnreadableError(LandtideError):
    """An asset cannot be used: missing, truncated, altered, or not over the tile."""


class DoubtfulError(UnreadableError):
    """A remote asset cannot be read by windows: it may be damaged, or its server may have failed."""


@dataclass(frozen=True)
class Kept:
    """An asset that has been read whole where the tile needs it."""

    href: str
    checksum: str
    """``file:checksum`` of the object behind ``href``."""

    dtype: str
    nodata: float | None
    scale: float
    """Scale and offset that the raster file itself tells; 1 and 0 where it tells none."""

    offset: float


def keep(href: str, tile: Tile, cache: str, *, checksum: str | None, always: bool, codes: bool, band: int | None = None) -> Kept:
    """Return an asset ready for reading, a raster of one band.

    href      of the asset; local files that can be read in place are, unless ``always``
    cache     URI of the folder for copies, named by content: what is there is not fetched again
    checksum  ``file:checksum`` of the catalog; a whole file is held against it
    codes     whether the asset holds codes (a mask), which are never averaged
    band      of a file of several bands; None = it has one

    Raises UnreadableError where the asset is missing, broken or elsewhere, storage.UnreachableError where its server fails.
    """
    path = None if archive.is_member(href) else storage.local_path(href)
    try:
        source = asset_source(href, checksum)
    except FileNotFoundError:
        raise UnreadableError(f"{href} does not exist") from None
    if path is not None and band is None and not always and not _is_jp2(href):
        return _in_place(path, tile, checksum, source)
    place = f"{urlsplit(href)._replace(query='').geturl()}|{source}|{sorted(tile.to_dict().items())}" + (f"|{band}" if band else "")
    name = sha256(place.encode()).hexdigest()[:32]
    folder = storage.join(cache, name[:2])
    return _copy_at_hand(folder, name) or _copy(href, folder, name, tile, checksum, codes, band)


def _copy_at_hand(folder: str, name: str) -> Kept | None:
    """Return a copy that is in the cache, None where there is none, or only a part of it."""
    try:
        record = storage.read_json(storage.join(folder, f"{name}.json"))
        uri = storage.join(folder, record["href"])
        if storage.size(uri) != record.pop("size"):
            return None
    except (FileNotFoundError, KeyError):
        return None
    return Kept(**{**record, "href": uri})


def _in_place(path: Path, tile: Tile, checksum: str | None, source: str) -> Kept:
    if checksum is not None and matches(path, checksum) is False:
        raise UnreadableError(f"{path} has another checksum than its catalog gives ({checksum})")
    with _opened(str(path), None) as dataset:
        window = _needed(dataset, tile, str(path))
        for part in _parts(window):
            _read(dataset, part, str(path))
        return _described(dataset, str(path), source)


def _copy(href: str, folder: str, name: str, tile: Tile, checksum: str | None, codes: bool, band: int | None) -> Kept:
    """Copy what the tile needs of an asset; the record beside the copy is written last and so marks it whole."""
    with tempfile.TemporaryDirectory(prefix="landtide-") as scratch:
        local = Path(scratch) / f"{name}.tif"
        described = _copied(href, tile, local, checksum, codes, band)
        uri = storage.join(folder, local.name)
        record = {**asdict(described), "checksum": SHA256 + storage.sha256(str(local)), "size": local.stat().st_size}
        with storage.explain_os_errors(uri):
            storage.upload(local, uri)
    storage.write_json(storage.join(folder, f"{name}.json"), record)
    return Kept(**{**asdict(described), "href": uri, "checksum": str(record["checksum"])})


def _copied(href: str, tile: Tile, local: Path, checksum: str | None, codes: bool, band: int | None) -> Kept:
    """Write the window that the tile needs as a local GeoTIFF of one band; a whole GeoTIFF is taken as it is."""
    if archive.is_member(href):  # in a zip every step back begins at the start of the member again
        return _from_download(href, tile, local, checksum, codes, band)
    path = storage.local_path(href)
    if path is None:
        return _from_server(href, tile, local, checksum, codes, band)
    if checksum is not None and matches(path, checksum) is False:
        raise UnreadableError(f"{path} has another checksum than its catalog gives ({checksum})")
    with _opened(href, band) as dataset:
        return _window_copied(dataset, _needed(dataset, tile, href), local, href, codes, band)


def _from_server(href: str, tile: Tile, local: Path, checksum: str | None, codes: bool, band: int | None) -> Kept:
    """Copy a remote asset: by windows where a part is needed, else whole. What fails by windows is got whole, which tells why."""
    for _ in range(WINDOW_ATTEMPTS):
        try:
            with _opened(signed(href), band) as dataset:
                window = _needed(dataset, tile, href)
                if window.height * window.width >= (JP2_SHARE if _is_jp2(href) else 1) * dataset.height * dataset.width:
                    break
                return _window_copied(dataset, window, local, href, codes, band)
        except DoubtfulError:
            _ask(href)
    return _from_download(href, tile, local, checksum, codes, band)


def _ask(href: str) -> None:
    """Ask the server for an asset's headers: a token that is over is renewed by it, a failing server says so."""
    try:
        with_token(href, storage.head)
    except FileNotFoundError:
        raise UnreadableError(f"{_plain(href)} does not exist") from None


def _from_download(href: str, tile: Tile, local: Path, checksum: str | None, codes: bool, band: int | None) -> Kept:
    download = local.with_suffix(".download")
    _download(href, download, checksum)
    with _opened(str(download), band, href) as dataset:
        window = _needed(dataset, tile, href)
        whole = (int(window.height), int(window.width)) == dataset.shape
        if not (whole and dataset.driver == "GTiff" and dataset.count == 1):
            return _window_copied(dataset, window, local, href, codes, band)
        if checksum is None or matches(download, checksum) is None:  # where no checksum proves it, decoding every block does
            for part in _parts(window):
                _read(dataset, part, href)
        download.replace(local)
        return _described(dataset, local.name, SHA256)


def _window_copied(dataset: DatasetReader, window: Window, local: Path, href: str, codes: bool, band: int | None) -> Kept:
    try:
        _write_window(dataset, window, local, href, codes, band)
    except RasterioError as error:  # of writing: reading has errors of its own
        raise InputError(
            f"no copy can be written below {local.parent} ({' '.join(str(error).split())[:120]}): free space there, or set TMPDIR"
        ) from error
    return _described(dataset, local.name, SHA256, band)


def _write_window(dataset: DatasetReader, window: Window, local: Path, href: str, codes: bool, band: int | None) -> None:
    corner = dataset.window_transform(window)
    grid = Tile("cache", dataset.crs.to_string(), tuple(corner)[:6], (int(window.height), int(window.width)))
    with CogWriter(local, grid, dtype=dataset.dtypes[(band or 1) - 1], nodata=dataset.nodata, codes=codes, level=COPY_LEVEL) as writer:
        for part in _parts(window):
            values = _read(dataset, part, href, band)
            writer.write(values, Window(part.col_off - window.col_off, part.row_off - window.row_off, part.width, part.height))


def _download(href: str, local: Path, checksum: str | None) -> None:
    """Fetch a whole asset and hold it against the catalog's checksum."""
    try:
        if archive.is_member(href):
            archive.extract(href, local)
        else:
            with_token(href, lambda uri: storage.download(uri, local))
    except BadZipFile as error:
        raise UnreadableError(f"{href} is damaged ({error})") from error
    except FileNotFoundError:
        raise UnreadableError(f"{_plain(href)} does not exist") from None
    if checksum is not None and matches(local, checksum) is False:
        raise UnreadableError(f"{_plain(href)} has another checksum than its catalog gives ({checksum})")


@contextmanager
def _opened(uri: str, band: int | None, named: str | None = None) -> Iterator[DatasetReader]:
    """Lend an open raster of one band, or of at least `band`; only the opening is translated, not what the caller does with it."""
    with ExitStack() as stack:
        try:
            dataset = stack.enter_context(open_raster(uri))
        except RasterioIOError as error:
            raise _blamed(named or uri, error) from error
        if dataset.crs is None:
            raise UnreadableError(f"{_plain(named or uri)} has no CRS")
        if dataset.count != 1 if band is None else dataset.count < band:
            raise UnreadableError(f"{_plain(named or uri)} has {dataset.count} bands instead of {'one' if band is None else band}")
        yield dataset


def _read(dataset: DatasetReader, window: Window, uri: str, band: int | None = None) -> np.ndarray:
    try:
        return np.asarray(dataset.read(band or 1, window=window))
    except RasterioIOError as error:
        raise _blamed(uri, error) from error


def _blamed(uri: str, error: RasterioIOError) -> UnreadableError:
    """Return the error of an object that GDAL cannot read; behind a server, the fault may be the server's."""
    kind = DoubtfulError if storage.is_remote(uri) else UnreadableError
    return kind(f"{_plain(uri)} cannot be decoded ({' '.join(_plain(str(error)).split())[:120]}): truncated or damaged")


def _needed(dataset: DatasetReader, tile: Tile, uri: str) -> Window:
    """Return the window of an asset that a tile needs, with a margin where pixels will be resampled."""
    crs = dataset.crs.to_string()
    bounds = tile.bounds if place.same_crs(crs, tile.crs) else transform_bounds(tile.crs, crs, *tile.bounds, densify_pts=21)
    grid = Tile(tile.name, crs, tuple(dataset.transform)[:6], dataset.shape)
    window = place.window_of(grid, bounds)
    if window is None:
        raise UnreadableError(f"{_plain(uri)} does not reach tile {tile.name}")
    same = place.same_crs(crs, tile.crs) and abs(grid.pixel_size - tile.pixel_size) < 1e-6
    return window if same else place.widened(window, grid, MARGIN)


def _parts(window: Window) -> Iterator[Window]:
    """Cut a window into stripes that fit into memory."""
    bottom, right = window.row_off + window.height, window.col_off + window.width
    for row in range(int(window.row_off), int(bottom), STRIPE):
        for column in range(int(window.col_off), int(right), STRIPE):
            yield Window(column, row, min(STRIPE, right - column), min(STRIPE, bottom - row))


def _described(dataset: DatasetReader, href: str, checksum: str, band: int | None = None) -> Kept:
    index = (band or 1) - 1
    missing = dataset.nodata if dataset.nodata is not None and not math.isnan(dataset.nodata) else None  # NaN needs no telling
    return Kept(href, checksum, dataset.dtypes[index], missing, float(dataset.scales[index]), float(dataset.offsets[index]))


def _is_jp2(href: str) -> bool:
    return urlsplit(href).path.lower().endswith(".jp2")


def _plain(uri: str) -> str:
    """Return a URI, or a text with one, without its query, which may hold a token."""
    return re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", uri)
