"""Sentinel-2 band names: ESA ids, and every alias that providers and peers use for them."""

import difflib
from dataclasses import dataclass

from landtide.core.errors import InputError


@dataclass(frozen=True)
class Band:
    """One spectral band of Sentinel-2 MSI. Source: ESA Sentinel-2 MSI user guide."""

    name: str
    """ESA id, such as ``B8A``."""

    common_name: str
    """STAC ``eo:common_name``, as Earth Search names its assets."""

    wavelength: float
    """Centre wavelength in nm."""

    resolution: int
    """Pixel size in m."""


BANDS = (
    Band("B01", "coastal", 443, 60),
    Band("B02", "blue", 490, 10),
    Band("B03", "green", 560, 10),
    Band("B04", "red", 665, 10),
    Band("B05", "rededge1", 705, 20),
    Band("B06", "rededge2", 740, 20),
    Band("B07", "rededge3", 783, 20),
    Band("B08", "nir", 842, 10),
    Band("B8A", "nir08", 865, 20),
    Band("B09", "nir09", 945, 60),
    Band("B10", "cirrus", 1375, 60),
    Band("B11", "swir16", 1610, 20),
    Band("B12", "swir22", 2190, 20),
)
REFLECTANCE_IDS = frozenset(band.name for band in BANDS)
DEFAULT_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")  # 10 and 20 m: the 60 m bands see air, not land
HLS_BANDS = ("B02", "B03", "B04", "B8A", "B11", "B12")
"""Bands that both sensors of HLS v2 have."""

SCL = "SCL"
"""Scene classification of Level-2A."""

ALIASES = {
    **{band.common_name: band.name for band in BANDS},
    **{band.name.replace("B0", "B"): band.name for band in BANDS},
    "rededge071": "B05",
    "rededge075": "B06",
    "rededge078": "B07",
    "nir_1": "B08",
    "nir_2": "B8A",
    "swir_1": "B11",
    "swir_2": "B12",
    "swir1": "B11",
    "swir2": "B12",
    "scl": SCL,
}


def band_id(name: str) -> str:
    """Return the ESA id of a band name or alias; a name that is none stays as it is (``NDVI``, ``CLM``).

    ``red``, ``B4``, ``S2-L2A-B04``, ``nbart_red`` and ``B04_10m`` all give ``B04``.
    """
    plain = name.removeprefix("S2-L2A-").removeprefix("nbart_")
    for suffix in ("_10m", "_20m", "_60m", "-jp2"):
        plain = plain.removesuffix(suffix)
    if plain.upper() in REFLECTANCE_IDS:
        return plain.upper()
    return ALIASES.get(plain, ALIASES.get(plain.lower(), ALIASES.get(plain.upper(), plain)))


def is_reflectance(name: str) -> bool:
    """Say whether a band holds reflectance, which alone has a radiometric offset and physical bounds."""
    return band_id(name) in REFLECTANCE_IDS


def find_asset(asked: str, offered: list[str]) -> str:
    """Return the asset key that holds a band; the finest resolution first where there are several.

    Raises InputError that names the nearest keys, since a wrong band name is the commonest slip in a study file.
    """
    wanted = band_id(asked)
    matches = [key for key in offered if key == asked] or [key for key in offered if band_id(key) == wanted]
    if matches:
        return min(matches, key=lambda key: (len(key) > 4, key.endswith("-jp2"), key))
    near = difflib.get_close_matches(asked, offered, n=3, cutoff=0.3) or sorted(offered)[:8]
    raise InputError(f"band {asked!r} is not among the assets; nearest: {', '.join(near)}. Correct `bands` in the study file")
