"""From digital numbers to reflectance: scale and offset of each item, decided from its own metadata and never from its date.

Processing baseline 04.00 (January 2022) added 1000 to the digital numbers of Level-1C and Level-2A. Older scenes are processed
again with newer baselines, and some providers take the 1000 off again, so neither the date nor a single field tells it.
"""

from dataclasses import dataclass

import pystac

from landtide.core.bands import band_id, is_reflectance
from landtide.core.errors import LandtideError
from landtide.retrieve import hls, items, landsat
from landtide.retrieve.offset_test import Verdict

QUANTIFICATION = 1e-4
"""Reflectance a digital number. Source: QUANTIFICATION_VALUE 10000 in every product's metadata."""

OFFSET_DN = -1000
"""Digital numbers. Source: BOA_ADD_OFFSET and RADIO_ADD_OFFSET, the same in all bands since baseline 04.00."""

FIRST_WITH_OFFSET = 4.0
"""Processing baseline."""

TOLERANCE = 1e-9


class UnknownRadiometryError(LandtideError):
    """Nothing tells how an item's digital numbers become reflectance."""


@dataclass(frozen=True)
class Radiometry:
    """How the values of one asset become reflectance (or an index): ``value = DN * scale + offset``."""

    scale: float
    offset: float
    reason: str
    """One sentence for the report."""

    certain: bool = True
    """False where the metadata are silent or known to be wrong: then the pixels decide, if they can."""

    testable: bool = True
    """Whether the offset of the baseline can be in question at all: not for indices, masks and composites."""


def decide(item: pystac.Item, key: str, *, tags: tuple[float, float] = (1.0, 0.0), dtype: str | None = None) -> Radiometry:
    """Return scale and offset of an asset from the metadata of its item.

    tags   scale and offset of the raster file itself; (1, 0) is what a file without them reports
    dtype  type of the raster's values, where known: floats are reflectance already

    Raises UnknownRadiometryError for an item that is not of Sentinel-2 and declares no scale.
    Source of the provider rules: Element84 earth-search issues 41, 66, 71; PlanetaryComputer issue 134; ESA baseline notes.
    """
    declared = _declared(item.assets[key], tags)
    scale, offset = declared
    if not is_reflectance(band_id(key)):
        return Radiometry(1.0 if scale is None else scale, offset or 0.0, "no reflectance: values as declared", testable=False)
    if hls.sensor_of(item) is not None:
        return Radiometry(hls.SCALE if scale is None else scale, 0.0, "HLS v2: scale 1e-4, no offset in either sensor", testable=False)
    if landsat.is_level2(item):
        told = (landsat.SCALE if scale is None else scale, landsat.OFFSET if offset is None else offset)
        return Radiometry(*told, "Landsat Collection 2: scale 2.75e-5, offset -0.2", testable=False)
    if scale is None:
        scale = _usual_scale(item, key, dtype or items.packing(item.assets[key]).get("data_type"))
    if not items.is_sentinel2(item) and offset is not None:
        return Radiometry(scale, offset, "scale and offset as declared")
    if items.is_composite(item):
        return Radiometry(scale, offset or 0.0, "composite, harmonised by its maker", testable=False)
    return _decide_offset(item, key, scale, offset)


def settle(metadata: Radiometry, verdict: Verdict) -> tuple[Radiometry | None, str]:
    """Weigh what the metadata say against what the pixels say; None = they contradict each other and the item is refused.

    Metadata that are silent or known to be unreliable give way to the pixels; undecided pixels leave it to the metadata.
    """
    said = "present" if metadata.offset < 0 else "absent"
    if not metadata.testable or verdict.answer == "undecided":
        return metadata, f"{metadata.reason}; pixels: {verdict.answer} ({verdict.evidence})" if metadata.testable else metadata.reason
    if verdict.answer == said:
        return metadata, f"{metadata.reason}; pixels agree ({verdict.evidence})"
    if metadata.certain:
        return (
            None,
            f"radiometry contradicts itself: {metadata.reason}, but in the pixels the offset is {verdict.answer} ({verdict.evidence})",
        )
    offset = OFFSET_DN * metadata.scale if verdict.answer == "present" else 0.0
    return Radiometry(
        metadata.scale, offset, metadata.reason
    ), f"{metadata.reason}; the pixels decide: {verdict.answer} ({verdict.evidence})"


def _decide_offset(item: pystac.Item, key: str, scale: float, declared: float | None) -> Radiometry:
    baseline = items.baseline(item)
    raw = 0.0 if baseline is None or baseline < FIRST_WITH_OFFSET else OFFSET_DN * scale
    told = "no baseline" if baseline is None else f"baseline {baseline:05.2f}"
    applied = items.offset_applied(item)
    if applied is not None and not key.endswith("-jp2"):  # the JP2 assets beside the COGs are ESA's own files
        if applied or raw == 0:
            return Radiometry(scale, 0.0, "boa_offset_applied: the offset is out of the pixels" if applied else f"{told}: no offset")
        return Radiometry(scale, raw, f"{told}, boa_offset_applied false, which is wrong for some items", certain=False)
    if items.provider(item) == "earth-search" and item.collection_id == "sentinel-2-l2a" and raw != 0:
        return Radiometry(scale, raw, f"{told}, boa_offset_applied missing", certain=False)
    if declared is not None and _plausible(declared, scale):
        return Radiometry(scale, declared, f"scale and offset as declared, {told}", certain=baseline is None or declared == raw)
    strange = "" if declared is None else f"declared offset {declared:g} is none that ESA applies; "
    if baseline is None:
        return Radiometry(scale, 0.0, f"{strange}nothing tells the baseline: no offset assumed", certain=False)
    return Radiometry(scale, raw, f"{strange}{told}: {'offset -1000' if raw else 'no offset'}", certain=not strange)


def _declared(asset: pystac.Asset, tags: tuple[float, float]) -> tuple[float | None, float | None]:
    """Return scale and offset as the item declares them, else as the file does; None where neither does."""
    packing = items.packing(asset)
    if not {"scale", "offset"} & packing.keys() and tags != (1.0, 0.0):
        return tags
    return packing.get("scale"), packing.get("offset")


def _usual_scale(item: pystac.Item, key: str, dtype: str | None) -> float:
    if dtype is not None and dtype.startswith("float"):
        return 1.0
    if not items.is_sentinel2(item):
        raise UnknownRadiometryError(
            f"item {item.id}, asset {key}: no scale declared and not of Sentinel-2, so its numbers have no known unit"
        )
    return QUANTIFICATION


def _plausible(offset: float, scale: float) -> bool:
    return offset == 0 or abs(offset - OFFSET_DN * scale) < TOLERANCE
