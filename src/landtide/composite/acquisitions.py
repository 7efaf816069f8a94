"""What a composite reads: the acquisitions of a year, each with its rasters and the step it falls into."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pystac

from landtide.core.errors import LandtideError
from landtide.core.period import Period
from landtide.io.stac import read_items


@dataclass(frozen=True)
class Layer:
    """One raster of an acquisition."""

    name: str
    """Band id, or the mask's asset key."""

    href: str
    scale: float
    offset: float
    """Reflectance or index = number * scale + offset."""

    nodata: float | None
    """None = the file tells it."""


@dataclass(frozen=True)
class Acquisition:
    """One acquisition of the year."""

    id: str
    moment: datetime
    step: int
    """Index of the composite step it falls into."""

    bands: tuple[Layer, ...]
    """In the order of the study's bands."""

    mask: Layer | None
    cloud: float | None = None
    """Cloud cover that the catalog tells, 0 to 1."""

    detected: tuple[Layer, ...] = ()
    """Bands by which clouds are found, where no mask is read."""

    @property
    def masked(self) -> bool:
        """Whether there is something to tell clouds by."""
        return self.mask is not None or bool(self.detected)


def read_acquisitions(
    items_uri: str, periods: list[Period], bands: tuple[str, ...], mask: str | None, detected: tuple[str, ...] = ()
) -> list[Acquisition]:
    """Return the acquisitions that fall into one of the steps, in order of time and id.

    Raises LandtideError where an item lacks a band or the mask: retrieval sets such items aside.
    """
    acquisitions = []
    for item in read_items(items_uri):
        when = moment(item)
        step = next((index for index, period in enumerate(periods) if period.contains(when)), None)
        if step is not None:
            layers = tuple(_layer(item, band) for band in bands)
            cover = item.properties.get("eo:cloud_cover")
            cloud = None if cover is None else float(cover) / 100
            looked_at = tuple(_layer(item, band) for band in detected)
            acquisitions.append(Acquisition(item.id, when, step, layers, _layer(item, mask) if mask else None, cloud, looked_at))
    return sorted(acquisitions, key=lambda acquisition: (acquisition.moment, acquisition.id))


def moment(item: pystac.Item) -> datetime:
    """Return the time of an item in UTC; the middle of its span where it has no single one."""
    if item.datetime is not None:
        return item.datetime.astimezone(UTC)
    span = item.common_metadata
    if span.start_datetime is None or span.end_datetime is None:
        raise LandtideError(f"item {item.id} has neither datetime nor start_datetime and end_datetime")
    return (span.start_datetime + (span.end_datetime - span.start_datetime) / 2).astimezone(UTC)


def _layer(item: pystac.Item, name: str) -> Layer:
    if name not in item.assets:
        raise LandtideError(f"item {item.id} has no asset {name!r}, only {', '.join(sorted(item.assets))}: retrieve it again")
    asset = item.assets[name]
    fields: dict[str, Any] = asset.extra_fields
    nodata = fields.get("nodata")
    return Layer(
        name=name,
        href=asset.href,
        scale=float(fields.get("raster:scale", 1.0)),
        offset=float(fields.get("raster:offset", 0.0)),
        nodata=None if nodata is None else float(nodata),
    )
