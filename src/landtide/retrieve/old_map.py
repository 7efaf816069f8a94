"""The old map on the grid of a tile: rasters in any CRS are warped, polygons rasterised. The map comes to the tile, never the reverse."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import shapely
from rasterio import features
from rasterio.errors import RasterioIOError
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from landtide.core.errors import InputError, LandtideError
from landtide.core.legend import Crosswalk, corine_codes
from landtide.core.study import NAMES, OldMap, Study
from landtide.core.tile import RESOLUTION, Tile
from landtide.io import storage
from landtide.io.manifest import Writing
from landtide.io.raster import CogWriter, open_raster, read_on_grid
from landtide.retrieve import place
from landtide.retrieve.digest import asset_source
from landtide.retrieve.legends import load_crosswalk, load_legend
from landtide.retrieve.place import Box
from landtide.retrieve.polygons import polygons, require_overlap

CORINE_ACCURACY = 100.0
"""m"""

METRES_A_DEGREE = 111_320.0
"""At the equator."""

AROUND = 2
"""Pixels of the map by which the look around a tile goes beyond it: its edges are no straight lines in the map's CRS."""

WINDOW = 2048
"""Pixels along the side of what is warped at a time."""

FILL = np.iinfo(np.int32).min
"""No data where 0 is a class of the map; no map codes classes like this."""

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".fgb", ".parquet", ".geoparquet", ".sqlite", ".gdb", ".zip")


def warp_old_map(study: Study, tile: Tile, out: Writing) -> None:
    """Write the old map's codes on a tile's grid as ``old_map.tif`` (int32), and the classes they stand for as ``label.tif`` (uint8).

    No data is 0, or where 0 is a class of the map the lowest int32; the file says which. CORINE's grid codes become three-digit codes.
    Raises InputError where the map does not overlap the tile or holds a code that the crosswalk does not know.
    """
    settings, legend = _settings(study), load_legend(study)
    crosswalk = load_crosswalk(settings.crosswalk, legend)
    fill = fill_of(crosswalk)
    recode = _recoding(settings.uri, crosswalk, known_codes(settings, crosswalk, tile), fill)
    path, label_path = out.scratch / "old_map.tif", out.scratch / "label.tif"
    tags = {"source": settings.uri, "crosswalk": crosswalk.name, "no_data": str(fill)}
    colors = {label: (*item.rgb, 255) for label, item in enumerate(legend.classes, start=1)}
    labels = CogWriter(label_path, tile, dtype="uint8", nodata=0, colormap=colors, categories=["no single class", *legend.names])
    with CogWriter(path, tile, dtype="int32", nodata=fill, tags=tags, codes=True) as writer, labels:
        for window, codes in windows_of(settings, tile):
            recoded = recode(codes)
            writer.write(recoded, window)
            labels.write(crosswalk.translate(recoded, fill), window)
    out.upload(path, "old_map.tif")
    out.upload(label_path, "label.tif")
    media = "image/tiff; application=geotiff; profile=cloud-optimized"
    out.add_asset("old_map", "old_map.tif", media_type=media, title="Codes of the old map", extra={"nodata": fill, "data_type": "int32"})
    out.add_asset("label", "label.tif", media_type=media, title="Classes of the old map; 0 = no single class", extra={"nodata": 0})


def old_map_source(study: Study) -> str:
    """Return what names the old map's content and reading, for content ids."""
    settings = _settings(study)
    try:
        source = asset_source(settings.uri, None)
    except FileNotFoundError:
        raise InputError(f"old_map.uri {settings.uri} does not exist: correct its path in the study file") from None
    table = settings.crosswalk if settings.crosswalk in NAMES else asset_source(settings.crosswalk, None)
    return f"{source}:{settings.layer or ''}:{settings.column or ''}:{table}"


def positional_accuracy(settings: OldMap) -> float:
    """Return by how many metres the old map's borders may be wrong: as the study says, else 100 m for CORINE, else one pixel of the map.

    Source of CORINE's: EEA, CORINE Land Cover technical guide (thematic accuracy 85 %, geometric accuracy better than 100 m).
    """
    if settings.accuracy is not None:
        return settings.accuracy
    if settings.crosswalk == "corine":
        return CORINE_ACCURACY
    return RESOLUTION if is_vector(settings.uri) else _pixel_metres(settings.uri)


def known_codes(settings: OldMap, crosswalk: Crosswalk, tile: Tile) -> tuple[int, ...]:
    """Return the codes that a map holds within a tile (or just around it), no data left out.

    Raises InputError where the map cannot be read, does not meet the tile, or holds a code in it that the crosswalk does not know.
    """
    around = _codes_around(settings.uri, settings.layer, settings.column, settings.year, tile)
    try:
        check_codes(crosswalk, around)
    except InputError:
        # Reading around the tile is quick and mostly enough; only an unknown code asks for the exact look, which takes a warp.
        within = _codes_within(settings.uri, settings.layer, settings.column, settings.year, tile)
        check_codes(crosswalk, within)
        return within
    return around


def check_codes(crosswalk: Crosswalk, codes: tuple[int, ...]) -> None:
    """Raise InputError where a code is none that the crosswalk knows."""
    held = np.array(codes, np.int64)
    if crosswalk.name == "corine":
        held = corine_codes(held)
        held = held[held != 0]
    crosswalk.translate(held, None)


def fill_of(crosswalk: Crosswalk) -> int:
    """Return the no-data value of a warped map: 0, unless the crosswalk gives 0 a class."""
    return int(FILL) if crosswalk.labels.get("0") is not None else 0


def windows_of(settings: OldMap, tile: Tile) -> Iterator[tuple[Window, np.ndarray]]:
    """Yield the windows of a tile with the map's codes, (h, w) int32, `FILL` where it has none."""
    if is_vector(settings.uri):
        return _vector_windows(settings, tile)
    return _raster_windows(settings.uri, tile)


def is_vector(uri: str) -> bool:
    """Say whether a map is a file of polygons, by its suffix."""
    return Path(urlsplit(uri).path).suffix.lower() in VECTOR_SUFFIXES


def _settings(study: Study) -> OldMap:
    if study.old_map is None:
        raise InputError("the study has no old_map: this step is for studies with one")
    return study.old_map


@lru_cache(maxsize=256)
def _codes_within(uri: str, layer: str | None, column: str | None, year: int | None, tile: Tile) -> tuple[int, ...]:
    """Return the codes on the tile's own pixels."""
    return _distinct(codes for _, codes in windows_of(OldMap(uri=uri, layer=layer, column=column, year=year), tile))


@lru_cache(maxsize=256)
def _codes_around(uri: str, layer: str | None, column: str | None, year: int | None, tile: Tile) -> tuple[int, ...]:
    """Return the codes in the map's own pixels or polygons that meet the tile's box."""
    if is_vector(uri):
        return _distinct([polygons(uri, layer, column, year, tile)["code"].to_numpy()])
    crs, _ = _raster_extent(uri)
    require_overlap(uri, *_raster_extent(uri), tile)
    with _readable(uri), open_raster(uri) as dataset:
        grid = Tile(tile.name, crs, tuple(dataset.transform)[:6], dataset.shape)
        window = place.window_of(grid, transform_bounds(tile.crs, crs, *tile.bounds, densify_pts=21))
    if window is None:
        return ()
    near = grid.crop(place.widened(window, grid, AROUND))
    return _distinct(codes for _, codes in _raster_windows(uri, near))


def _distinct(arrays: Iterable[np.ndarray]) -> tuple[int, ...]:
    found: set[int] = set()
    for codes in arrays:
        found |= set(np.unique(codes).tolist())
    return tuple(sorted(found - {int(FILL)}))


def _recoding(uri: str, crosswalk: Crosswalk, held: tuple[int, ...], fill: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that brings codes as read to codes as written."""
    before = np.array([FILL, *held], np.int64)
    after = np.array([fill, *held], np.int32)
    if crosswalk.name == "corine":
        codes = corine_codes(np.array(held, np.int64))
        after = np.array([fill, *np.where(codes == 0, fill, codes)], np.int32)

    def recode(codes: np.ndarray) -> np.ndarray:
        index = np.clip(np.searchsorted(before, codes), 0, len(before) - 1)
        if (before[index] != codes).any():
            raise LandtideError(f"old map {uri} changed while it was read: run again")
        return after[index]

    return recode


def _raster_windows(uri: str, tile: Tile) -> Iterator[tuple[Window, np.ndarray]]:
    require_overlap(uri, *_raster_extent(uri), tile)
    with open_raster(uri) as dataset:
        dtype, missing = np.dtype(dataset.dtypes[0]), dataset.nodata
    if dtype.kind == "f":
        raise InputError(f"old map {uri} holds {dtype} values: codes must be whole numbers")
    for window in tile.windows(WINDOW):
        values = _read(uri, tile, window, missing)
        yield window, values


def _read(uri: str, tile: Tile, window: Window, missing: float | None) -> np.ndarray:
    """Return codes (h, w) int32; a map without a no-data value is told apart from what lies outside it by a second reading."""
    fill = 0 if missing is None else missing
    try:
        values = read_on_grid(uri, tile, window, fill=fill)
        codes = values.astype(np.int32)
        if missing is not None:
            codes[values == missing] = FILL
        else:
            codes[(values == 0) & (read_on_grid(uri, tile, window, fill=1) == 1)] = FILL
    except RasterioIOError as error:
        raise InputError(f"old map {uri} cannot be read ({' '.join(str(error).split())[:120]}): it is truncated or damaged") from error
    return codes


@lru_cache(maxsize=8)
def _raster_extent(uri: str) -> tuple[str, Box]:
    """Return a raster's CRS and bounds."""
    with _readable(uri), open_raster(uri) as dataset:
        if dataset.crs is None:
            raise InputError(f"old map {uri} has no CRS: give it one (gdal_edit.py -a_srs EPSG:...)")
        return dataset.crs.to_string(), tuple(dataset.bounds)


def _pixel_metres(uri: str) -> float:
    """Return the side of a raster's pixel in m; degrees are measured along the meridian."""
    with _readable(uri), open_raster(uri) as dataset:
        side = abs(float(dataset.transform.e))
        return side * METRES_A_DEGREE if dataset.crs is not None and dataset.crs.is_geographic else side


@contextmanager
def _readable(uri: str) -> Iterator[None]:
    if not storage.exists(uri):
        raise InputError(f"old map {uri} does not exist: correct its path in the study file")
    try:
        yield
    except RasterioIOError as error:
        raise InputError(f"old map {uri} cannot be read as a raster: {' '.join(str(error).split())[:160]}") from error


def _vector_windows(settings: OldMap, tile: Tile) -> Iterator[tuple[Window, np.ndarray]]:
    shapes = polygons(settings.uri, settings.layer, settings.column, settings.year, tile)
    index = shapes.sindex
    for window in tile.windows(WINDOW):
        part = tile.crop(window)
        held = shapes.iloc[np.sort(index.query(shapely.box(*part.bounds)))]
        codes = np.full(part.shape, FILL, np.int32)
        if len(held):
            pairs = zip(held.geometry, held["code"].tolist(), strict=True)
            features.rasterize(pairs, out=codes, transform=part.affine)
        yield window, codes
