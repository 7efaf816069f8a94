"""The tile: one grid that every array of an area shares."""

import math
import re
from dataclasses import dataclass
from typing import Any

import mgrs
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.windows import Window

from landtide.core.errors import InputError

TILE_SIZE = 10_980
"""Pixels along the side of a Sentinel-2 tile at 10 m (109.8 km)."""

RESOLUTION = 10.0
"""m; the finest pixel of Sentinel-2, on which all work is done."""


@dataclass(frozen=True)
class Tile:
    """A named grid: CRS, affine transform and shape travel together."""

    name: str
    """MGRS name such as ``31UFT``, a provider's ``grid:code``, or the catalog's id for a grid of its own."""

    crs: str
    """Such as ``EPSG:32631``."""

    transform: tuple[float, float, float, float, float, float]
    """Affine coefficients a, b, c, d, e, f: CRS units per pixel, then the upper left corner."""

    shape: tuple[int, int]
    """Rows, columns."""

    @property
    def affine(self) -> Affine:
        return Affine(*self.transform)

    @property
    def geobox(self) -> GeoBox:
        return GeoBox(self.shape, self.affine, self.crs)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in the tile's CRS."""
        west, north = self.affine @ (0, 0)
        east, south = self.affine @ (self.shape[1], self.shape[0])
        return (west, south, east, north)

    @property
    def pixel_area(self) -> float:
        """ha a pixel, in the tile's projection. UTM is equal-area to 0.1 % within a zone."""
        return abs(self.transform[0] * self.transform[4] - self.transform[1] * self.transform[3]) / 10_000

    @property
    def pixel_size(self) -> float:
        """Mean side of a pixel in CRS units (m for UTM)."""
        return math.sqrt(abs(self.transform[0] * self.transform[4] - self.transform[1] * self.transform[3]))

    def lonlat_bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in WGS 84 degrees."""
        box = self.geobox.geographic_extent.boundingbox
        return (box.left, box.bottom, box.right, box.top)

    def footprint(self) -> dict[str, Any]:
        """Return the outline as a GeoJSON geometry in WGS 84."""
        geometry: dict[str, Any] = self.geobox.geographic_extent.json
        return geometry

    def windows(self, size: int) -> list[Window]:
        """Cut the tile into windows of at most ``size`` x ``size`` pixels, row by row."""
        rows, columns = self.shape
        return [
            Window(column, row, min(size, columns - column), min(size, rows - row))
            for row in range(0, rows, size)
            for column in range(0, columns, size)
        ]

    def crop(self, window: Window) -> "Tile":
        """Return the grid of a window of this tile, under the same name."""
        moved = self.affine @ Affine.translation(window.col_off, window.row_off)
        return Tile(self.name, self.crs, tuple(moved)[:6], (int(window.height), int(window.width)))

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "crs": self.crs, "transform": list(self.transform), "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Tile":
        a, b, c, d, e, f = record["transform"]
        rows, columns = record["shape"]
        return cls(record["name"], record["crs"], (a, b, c, d, e, f), (rows, columns))


def mgrs_tile(name: str) -> Tile:
    """Return the 10 m grid of a Sentinel-2 tile from its MGRS name, ``31UFT`` or ``T31UFT``.

    The upper left corner is that of the 100 km square moved outward to a multiple of 60 m (counted from the equator),
    so that the 10, 20 and 60 m grids share it. Source: the tile origins of real products agree (tests/core/test_tile.py).
    """
    plain = name.upper().removeprefix("T").removeprefix("MGRS-")
    if re.fullmatch(r"\d{1,2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V]", plain) is None:
        raise InputError(f"tile {name!r} is no MGRS name of a Sentinel-2 tile: write zone, band and square, such as 31UFT")
    plain = plain.zfill(5)
    try:
        zone, hemisphere, easting, northing = mgrs.MGRS().MGRSToUTM(plain)
    except mgrs.core.MGRSError as error:
        raise InputError(f"tile {name!r} does not exist in the MGRS grid ({error}): look it up in the Sentinel-2 tiling grid") from error
    equator = 0 if hemisphere == "N" else 10_000_000
    square_west, square_south = math.floor(easting / 100_000) * 100_000, math.floor(northing / 100_000) * 100_000
    west = math.floor(square_west / 60) * 60.0
    north = math.ceil((square_south + 100_000 - equator) / 60) * 60.0 + equator
    epsg = (32600 if hemisphere == "N" else 32700) + zone
    return Tile(plain, f"EPSG:{epsg}", (RESOLUTION, 0.0, west, 0.0, -RESOLUTION, north), (TILE_SIZE, TILE_SIZE))
