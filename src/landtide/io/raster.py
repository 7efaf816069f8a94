"""Rasters by URI: open, read on a tile's grid, write Cloud-Optimized GeoTIFF window by window."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.session import AWSSession
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from landtide.core.tile import Tile
from landtide.io import archive, http, s3, storage

BLOCK = 256
"""Pixels along the side of a COG block: a viewer's tile."""

GRID_TOLERANCE = 1e-3
"""Pixels; grids that agree to this are the same grid. GeoTIFF stores doubles, but catalogs round them."""

WARP_TOLERANCE = 1e-6
"""Pixels of error that the interpolated transform may have: in effect exact, which GDAL does not let us ask for."""

GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # stop GDAL from listing the folder for side-car files
    "GDAL_HTTP_MAX_RETRY": "6",
    "GDAL_HTTP_RETRY_DELAY": str(http.PAUSE),
    "GDAL_HTTP_CONNECTTIMEOUT": f"{http.TIMEOUT[0]:.0f}",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_LOW_SPEED_LIMIT": str(http.SLOWEST),
    "GDAL_HTTP_LOW_SPEED_TIME": f"{http.SLOW_SECONDS:.0f}",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_CACHEMAX": 128 * 2**20,  # bytes, as rasterio takes them; the default is 5 % of the machine's memory in each process
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/http",  # what failed once must be asked again, not remembered as missing
    "VSI_CACHE": "TRUE",  # header and index of a COG are read several times
}


def gdal_options(uri: str) -> dict[str, Any]:
    """Return GDAL's configuration for a URI: manners and token of an http host; for S3 the store's credentials and endpoint.

    They hold for the thread while the raster is open, so that two stores can be read side by side.
    """
    if uri.startswith(("http://", "https://")):
        token = http.bearer(uri)
        own = {"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": token} if token else {}
        return {**GDAL_OPTIONS, **own, "GDAL_HTTP_MAX_RETRY": str(http.manners().retries)}
    if not uri.startswith("s3://"):
        return dict(GDAL_OPTIONS)
    session = s3.session_of(uri)
    endpoint = s3.custom_endpoint(s3.client_of(uri))
    if endpoint is None:
        return {**GDAL_OPTIONS, "session": AWSSession(session)}
    host = endpoint.split("://", 1)[1].rstrip("/")
    return {
        **GDAL_OPTIONS,
        "session": AWSSession(session, endpoint_url=host),
        "AWS_HTTPS": "YES" if endpoint.startswith("https") else "NO",
        "AWS_VIRTUAL_HOSTING": False,
    }


@contextmanager
def open_raster(uri: str) -> Iterator[rasterio.DatasetReader]:
    """Open a raster by path, file://, zip://, s3:// or http(s)://. Raises rasterio.errors.RasterioIOError where it cannot."""
    path = None if archive.is_member(uri) else storage.local_path(uri)
    with _connection(uri), rasterio.Env(**gdal_options(uri)), rasterio.open(uri if path is None else path) as dataset:
        yield dataset


def _connection(uri: str) -> AbstractContextManager[None]:
    """Return the connection that reading a raster takes: GDAL reads its windows one after the other."""
    if uri.startswith(("http://", "https://")):
        return http.connection(uri)
    return s3.connection(uri) if uri.startswith("s3://") else nullcontext()


def read_on_grid(
    uri: str,
    tile: Tile,
    window: Window | None = None,
    *,
    band: int = 1,
    resampling: str = "nearest",
    fill: float,
    nodata: float | None = None,
) -> np.ndarray:
    """Return one band of a raster on a tile's grid, (h, w) in the raster's own type.

    window      of the tile; None = all of it
    resampling  ``nearest`` or ``bilinear``; not used where the grids agree, which gives an exact copy
    fill        value where the raster has none
    nodata      the raster's no-data value, where its file does not tell it

    The result of a window does not depend on how the tile is cut.
    """
    with open_raster(uri) as dataset:
        return read_dataset_on_grid(dataset, tile, window, band=band, resampling=resampling, fill=fill, nodata=nodata)


def read_dataset_on_grid(
    dataset: rasterio.DatasetReader,
    tile: Tile,
    window: Window | None = None,
    *,
    band: int = 1,
    resampling: str = "nearest",
    fill: float,
    nodata: float | None = None,
) -> np.ndarray:
    """Return one band of an open raster on a tile's grid; see `read_on_grid`."""
    window = window or Window(0, 0, tile.shape[1], tile.shape[0])
    missing = dataset.nodata if nodata is None else nodata
    offset = grid_offset(dataset, tile)
    if offset is not None:
        shifted = Window(window.col_off + offset[1], window.row_off + offset[0], window.width, window.height)
        return _read_boundless(dataset, shifted, band, fill, missing)
    options = {
        "crs": tile.crs,
        "transform": tile.affine,
        "width": tile.shape[1],
        "height": tile.shape[0],
        "resampling": Resampling[resampling],
        "nodata": fill,
        "tolerance": WARP_TOLERANCE,
    }
    if missing is not None:
        options["src_nodata"] = missing
    with WarpedVRT(dataset, **options) as warped:
        return np.asarray(warped.read(band, window=window))


def grid_offset(dataset: rasterio.DatasetReader, tile: Tile) -> tuple[int, int] | None:
    """Return the row and column of the tile's corner in a raster on the same grid, None where the grids differ."""
    if dataset.crs is None or dataset.crs != rasterio.crs.CRS.from_user_input(tile.crs):
        return None
    ours, theirs = tile.affine, dataset.transform
    size = max(abs(theirs.a), abs(theirs.e))
    span = max(*tile.shape, *dataset.shape)
    if any(
        abs(a - b) * span > GRID_TOLERANCE * size
        for a, b in zip((ours.a, ours.b, ours.d, ours.e), (theirs.a, theirs.b, theirs.d, theirs.e), strict=True)
    ):
        return None
    column, row = ~theirs @ (ours.c, ours.f)
    if abs(column - round(column)) > GRID_TOLERANCE or abs(row - round(row)) > GRID_TOLERANCE:
        return None
    return round(row), round(column)


def _read_boundless(dataset: rasterio.DatasetReader, window: Window, band: int, fill: float, nodata: float | None) -> np.ndarray:
    rows, columns = int(window.height), int(window.width)
    result = np.full((rows, columns), fill, dataset.dtypes[band - 1])
    top, left = max(0, int(window.row_off)), max(0, int(window.col_off))
    bottom = min(dataset.height, int(window.row_off) + rows)
    right = min(dataset.width, int(window.col_off) + columns)
    if bottom > top and right > left:
        part = dataset.read(band, window=Window(left, top, right - left, bottom - top))
        if nodata is not None and nodata != fill:
            part[part == nodata] = fill
        result[top - int(window.row_off) : bottom - int(window.row_off), left - int(window.col_off) : right - int(window.col_off)] = part
    return result


class CogWriter:
    """Write a raster window by window; leaving the block makes it a Cloud-Optimized GeoTIFF.

    GDAL's COG driver only copies finished rasters, so the windows go to a tiled file beside it first. Category names have no place in
    a TIFF: GDAL and QGIS read them from ``<path>.aux.xml``, which lies beside the result (`sidecar`).
    """

    def __init__(
        self,
        path: Path,
        tile: Tile,
        *,
        dtype: str,
        nodata: float | None,
        count: int = 1,
        colormap: dict[int, tuple[int, int, int, int]] | None = None,
        categories: list[str] | None = None,
        tags: dict[str, str] | None = None,
        descriptions: list[str] | None = None,
        codes: bool = False,
        level: int = 9,
    ) -> None:
        """Open a raster for writing; ``codes`` are no quantities, so its overviews are not averaged (implied by a legend).

        ``level`` is of zstd: 9 for what is kept and read often.
        """
        self.path = Path(path)
        self.sidecar = Path(f"{path}.aux.xml")
        self._draft = Path(f"{path}.draft.tif")
        self._level = level
        self._categories = categories
        self._colormap = colormap
        self._codes = codes or colormap is not None or categories is not None
        # An environment for each act: one held open must be left in the order of entering, which several open writers need not keep.
        with rasterio.Env(**GDAL_OPTIONS):
            self._dataset = rasterio.open(
                self._draft,
                "w",
                driver="GTiff",
                width=tile.shape[1],
                height=tile.shape[0],
                count=count,
                dtype=dtype,
                crs=tile.crs,
                transform=tile.affine,
                nodata=nodata,
                tiled=True,
                blockxsize=BLOCK,
                blockysize=BLOCK,
                compress="zstd",
                zstd_level=1,  # the draft is read once
                bigtiff="if_safer",
            )
        if colormap is not None:
            self._dataset.write_colormap(1, colormap)
        for band, text in enumerate(descriptions or [], start=1):
            self._dataset.set_band_description(band, text)
        self._dataset.update_tags(**(tags or {}))
        if categories is not None:
            self._dataset.update_tags(CATEGORY_NAMES=json.dumps(categories, ensure_ascii=False))

    def write(self, array: np.ndarray, window: Window, band: int = 1) -> None:
        """Write one band's window, (h, w)."""
        with rasterio.Env(**GDAL_OPTIONS):
            self._dataset.write(array, band, window=window)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._dataset.close()
        try:
            if kind is None:
                with rasterio.Env(**GDAL_OPTIONS):
                    self._finish()
        finally:
            self._draft.unlink(missing_ok=True)
            Path(f"{self._draft}.aux.xml").unlink(missing_ok=True)

    def _finish(self) -> None:
        rasterio.shutil.copy(
            self._draft,
            self.path,
            driver="COG",
            compress="zstd",
            level=self._level,
            predictor="no",
            blocksize=BLOCK,
            overview_resampling="nearest" if self._codes else "average",
            bigtiff="if_safer",
        )
        if self._categories is not None:
            self.sidecar.write_text(categories_xml(self._categories), "utf-8")


def categories_xml(names: list[str]) -> str:
    """Return the side-car in which GDAL and QGIS look for category names; name i is that of value i."""
    rows = "".join(f"      <Category>{escape(name)}</Category>\n" for name in names)
    return f'<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n{rows}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n'
