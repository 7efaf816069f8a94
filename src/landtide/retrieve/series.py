"""Plain GeoTIFFs as STAC items: what a file shows is read from its name by a pattern such as ``{date}_{band}.tif``."""

import logging
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import pystac

from landtide.core.errors import InputError
from landtide.core.study import Source
from landtide.io import storage
from landtide.retrieve import hls

log = logging.getLogger(__name__)

FIELDS = {
    "date": r"\d{4}-\d{2}-\d{2}|\d{4}_\d{2}_\d{2}|\d{8}(?:T?\d{6})?|\d{7}(?:T\d{6})?",
    "band": r"[A-Za-z][A-Za-z0-9-]*",
    "satellite": r"[A-Za-z0-9-]+",
    "sensor": r"[A-Za-z0-9-]+",
    "tile": r"[A-Za-z0-9-]+",
    "any": r"[^/]*?",
}
"""What may stand for each field of a pattern; ``SENTINEL-2_MSI_20LKP_B02_2020-06-04.tif``, as R's sits names files, is
``{satellite}_{sensor}_{tile}_{band}_{date}.tif``."""

FORMATS = {"7": "%Y%j", "8": "%Y%m%d", "4-2-2": "%Y-%m-%d", "14": "%Y%m%d%H%M%S", "8T6": "%Y%m%dT%H%M%S", "7T6": "%Y%jT%H%M%S"}
"""By the lengths of the runs of digits: 2020123 is the 123rd day, which ``%Y%m%d`` would take for 3 December."""

BAND = "landtide:band"
"""Field of an asset: which band of its file it is, from 1."""


def read_series(source: Source) -> tuple[pystac.Item, ...]:
    """Return an item a date (and satellite and tile) of a folder's GeoTIFFs, in order of time.

    Raises InputError where no name fits the pattern, a date is none, or two files claim the same band of one date.
    """
    assert source.folder is not None
    assert source.pattern is not None
    return _read(source.folder, source.pattern, tuple(source.order or ()), source.scale, source.offset, source.nodata)


@lru_cache(maxsize=4)
def _read(
    folder: str, pattern: str, order: tuple[str, ...], scale: float | None, offset: float | None, nodata: float | None
) -> tuple[pystac.Item, ...]:
    expression = compiled(pattern)
    names = [name for name in storage.walk(folder) if name.lower().endswith((".tif", ".tiff"))]
    packing = {"raster:scale": scale, "raster:offset": (offset or 0.0) if scale is not None else offset, "nodata": nodata}
    told = {key: value for key, value in packing.items() if value is not None}
    found: dict[tuple[str, ...], pystac.Item] = {}
    others = []
    for name in names:
        match = expression.fullmatch(name if "/" in pattern else name.rpartition("/")[2])
        if match is None:
            others.append(name)
            continue
        item = _item_of(match, found, storage.join(folder, name))
        bands = {match["band"]: None} if not order else {band: index for index, band in enumerate(order, start=1)}
        for band, index in bands.items():
            if band in item.assets:
                raise InputError(f"source.folder: {item.assets[band].href} and {storage.join(folder, name)} both hold {band} of {item.id}")
            fields: dict[str, Any] = {**told, **({BAND: index} if index is not None else {})}
            item.add_asset(band, pystac.Asset(storage.join(folder, name), media_type="image/tiff", roles=["data"], extra_fields=fields))
    if not found:
        lack = f"its first is {others[0]}" if others else "it holds no .tif"
        raise InputError(f"no file of source.folder {folder} fits source.pattern {pattern!r} ({lack}): correct the pattern")
    if others:
        log.warning(
            "%d of %d GeoTIFFs in %s do not fit %r and are left out, the first %s", len(others), len(names), folder, pattern, others[0]
        )
    return tuple(sorted((hls.harmonised(item) for item in found.values()), key=lambda item: (str(item.datetime), item.id)))


def compiled(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern. Raises InputError where it names no date or an unknown field."""
    asked = re.findall(r"\{(\w*)\}", pattern)
    unknown = sorted(set(asked) - set(FIELDS))
    if unknown or asked.count("date") != 1 or asked.count("band") > 1:
        wrong = f"unknown field {{{unknown[0]}}}" if unknown else "{date} must stand once and {band} once at most"
        raise InputError(f"source.pattern {pattern!r}: {wrong}; fields are {', '.join(f'{{{name}}}' for name in FIELDS)}")
    parts = re.split(r"(\{\w+\})", pattern)
    seen: set[str] = set()
    return re.compile("".join(_expression(part, seen) for part in parts), re.IGNORECASE)


def _expression(part: str, seen: set[str]) -> str:
    """Return the expression of one part of a pattern; a field that stands twice must hold the same text."""
    name = part[1:-1]
    if not part.startswith("{"):
        return re.escape(part)
    if name == "any":
        return FIELDS["any"]
    if name in seen:
        return f"(?P={name})"
    seen.add(name)
    return f"(?P<{name}>{FIELDS[name]})"


def _item_of(match: re.Match[str], found: dict[tuple[str, ...], pystac.Item], uri: str) -> pystac.Item:
    """Return the item that a file belongs to, made where it is the first of its date."""
    fields = {name: text for name, text in match.groupdict().items() if name != "band"}
    key = tuple(fields.values())
    if key not in found:
        properties: dict[str, Any] = {}
        if "satellite" in fields:
            properties["platform"] = fields["satellite"].lower()
        if "tile" in fields:
            properties["grid:code"] = f"MGRS-{fields['tile'].upper().removeprefix('T')}"
        granule = hls.NAME.match(uri.rsplit("/", 1)[-1])
        name = granule[0] if granule is not None else "_".join(key)
        found[key] = pystac.Item(name, None, None, _moment(fields["date"], uri), properties)
    return found[key]


def _moment(text: str, uri: str) -> datetime:
    plain = text.upper().replace("_", "-")
    shape = re.sub(r"\d+", lambda run: str(len(run[0])), plain)
    try:
        return datetime.strptime(plain, FORMATS[shape]).replace(tzinfo=UTC)
    except ValueError:
        raise InputError(f"{uri}: {text} in its name is no date: correct the name, or source.pattern") from None
