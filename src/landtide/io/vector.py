"""Vector files by URI: labelled points and map polygons."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
import pyogrio.errors

from landtide.core.errors import InputError
from landtide.io import storage

COORDINATES = (
    ("x", "y", None),
    ("lon", "lat", "EPSG:4326"),
    ("longitude", "latitude", "EPSG:4326"),
    ("th_long", "th_lat", "EPSG:4326"),
    ("point_long", "point_lat", "EPSG:4326"),
    ("gps_long", "gps_lat", "EPSG:4326"),
)
"""Column pairs that hold a point's place in a CSV, and their CRS (None: told by the caller). LUCAS describes its theoretical points;
its GPS columns tell where the surveyor stood, without a sign for the west."""


def read_points(uri: str, crs: str | None = None) -> gpd.GeoDataFrame:
    """Read points from Parquet, GeoPackage, GeoJSON or CSV.

    crs  of the columns ``x``, ``y`` of a CSV or plain Parquet; without it, degrees are looked for

    Raises InputError where the file has no coordinates or cannot be read.
    """
    suffix = Path(uri).suffix.lower()
    with _local(uri) as path:
        if suffix in (".csv", ".txt"):
            return _with_geometry(pd.read_csv(path), uri, crs)
        if suffix in (".parquet", ".geoparquet"):
            try:
                return gpd.read_parquet(path)
            except ValueError:  # plain Parquet without the geo metadata
                return _with_geometry(pd.read_parquet(path), uri, crs)
        return _read(path, uri)


def read_polygons(uri: str, layer: str | None = None, bbox: tuple[float, float, float, float] | None = None) -> gpd.GeoDataFrame:
    """Read polygons of a layer (None: the first with polygons); ``bbox`` in the layer's own CRS limits them."""
    with _local(uri) as path:
        return _read(path, uri, layer or _polygon_layer(path, uri), bbox)


def write_polygons(path: Path, frame: gpd.GeoDataFrame, layer: str) -> None:
    """Write polygons as a GeoPackage on this machine."""
    frame.to_file(path, layer=layer, driver="GPKG", engine="pyogrio", geometry_type="MultiPolygon", promote_to_multi=True)


def layer_info(uri: str, layer: str | None = None) -> dict[str, object]:
    """Return ``crs``, ``bounds`` (west, south, east, north in that CRS), ``fields`` and ``layer`` of a vector file, unread."""
    with _local(uri) as path:
        name = layer or _polygon_layer(path, uri)
        try:
            info = pyogrio.read_info(path, layer=name, force_total_bounds=True)
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
            raise InputError(f"{uri}: {error}") from error
    return {"crs": info["crs"], "bounds": tuple(info["total_bounds"]), "fields": list(info["fields"]), "layer": name}


def _read(path: Path, uri: str, layer: str | None = None, bbox: tuple[float, float, float, float] | None = None) -> gpd.GeoDataFrame:
    options = {"layer": layer} if layer else {}
    try:
        return gpd.read_file(path, bbox=bbox, **options)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise InputError(f"{uri} cannot be read as vector data: {error}") from error


def _polygon_layer(path: Path, uri: str) -> str:
    try:
        layers = pyogrio.list_layers(path)
    except pyogrio.errors.DataSourceError as error:
        raise InputError(f"{uri} cannot be read as vector data: {error}") from error
    for name, kind in layers:
        if kind and "Polygon" in kind:
            return str(name)
    raise InputError(f"{uri} has no layer of polygons (layers: {', '.join(str(name) for name, _ in layers) or 'none'}): give `layer`")


def _with_geometry(frame: pd.DataFrame, uri: str, crs: str | None) -> gpd.GeoDataFrame:
    columns = {str(name).lower(): str(name) for name in frame.columns}
    for east, north, own in COORDINATES:
        if east in columns and north in columns and (own or crs):
            points = gpd.points_from_xy(frame[columns[east]], frame[columns[north]])
            return gpd.GeoDataFrame(frame, geometry=points, crs=own or crs)
    raise InputError(
        f"{uri} has no coordinates: columns lon, lat (degrees) or x, y (in the tile's CRS) are needed; it has {', '.join(columns)}"
    )


@contextmanager
def _local(uri: str) -> Iterator[Path]:
    """Lend a local copy of a remote file: SQLite needs one."""
    path = storage.local_path(uri)
    if path is not None:
        if not path.exists():
            raise InputError(f"file {uri} does not exist")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="landtide-") as folder:
        copy = Path(folder) / Path(uri).name
        try:
            storage.download(uri, copy)
        except FileNotFoundError as error:
            raise InputError(f"file {uri} does not exist") from error
        yield copy
