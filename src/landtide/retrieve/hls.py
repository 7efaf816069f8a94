"""Harmonized Landsat Sentinel-2 (HLS v2): two sensors as one virtual constellation, their bands under the names of Sentinel-2.

Source: HLS Product User Guide, product version 2.0 (Ju et al.; Claverie et al. 2018, Remote Sens. Environ. 219, 145-161).
"""

import re
from typing import Literal

import pystac

from landtide.core.bands import is_reflectance

NAME = re.compile(r"HLS\.(?P<sensor>[LS]30)\.T(?P<tile>\d{2}[C-X][A-Z]{2})\.\d{7}T\d{6}\.v\d\.\d")
"""Name of a granule."""

COLLECTION = re.compile(r"hls(?:2-)?(?P<sensor>[ls]30)", re.IGNORECASE)

L30 = {
    "B01": "B01",
    "B02": "B02",
    "B03": "B03",
    "B04": "B04",
    "B05": "B8A",
    "B06": "B11",
    "B07": "B12",
    "B09": "B10",
    "B10": "TIRS1",
    "B11": "TIRS2",
}
"""Band of Landsat -> ESA id of the band of the same wavelength. Landsat's own B11 is thermal and must not be taken for the SWIR of
that name; its narrow near infrared is B8A's, not B08's."""

SCALE = 1e-4
MISSING = -9999.0
MISSING_FMASK = 255.0
RESOLUTION = 30.0
"""m"""

MASK = "Fmask"

Sensor = Literal["L30", "S30"]


def sensor_of(item: pystac.Item) -> Sensor | None:
    """Return which of HLS's two products an item is of, None where it is of neither."""
    match = NAME.match(item.id) or COLLECTION.match(str(item.collection_id or ""))
    if match is None:
        return None
    return "L30" if match["sensor"].upper() == "L30" else "S30"


def harmonised(item: pystac.Item) -> pystac.Item:
    """Bring an item of HLS to the names of Sentinel-2 and to HLS's packing, in place; other items stay as they are."""
    sensor = sensor_of(item)
    if sensor is None:
        return item
    if sensor == "L30":
        item.assets = {L30.get(key, key): asset for key, asset in item.assets.items()}
    for key, asset in item.assets.items():
        if is_reflectance(key):
            asset.extra_fields |= {"nodata": MISSING, "raster:scale": SCALE, "raster:offset": 0.0}
        elif key == MASK:
            asset.extra_fields["nodata"] = MISSING_FMASK
    item.properties.setdefault("platform", f"hls-{sensor.lower()}")  # Landsat and Sentinel-2 may pass within minutes
    name = NAME.match(item.id)
    if name is not None:
        item.properties.setdefault("grid:code", f"MGRS-{name['tile']}")
    return item
