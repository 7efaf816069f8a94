"""Fetch: the acquisitions of one tile and year, made ready for compositing."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import pystac

from landtide.core.errors import InputError, LandtideError
from landtide.core.study import Requests, Study
from landtide.core.tile import Tile
from landtide.io import http, storage
from landtide.io.manifest import Writing
from landtide.retrieve import digest, hls, items, looks
from landtide.retrieve.cache import Kept, UnreadableError, keep
from landtide.retrieve.offset_test import UNSEEN, Verdict, offset_in_pixels
from landtide.retrieve.radiometry import Radiometry, UnknownRadiometryError, decide, settle
from landtide.retrieve.records import missing_number, nothing_left, record_of, report_of
from landtide.retrieve.search import Acquisition, Found, SetAside, find
from landtide.retrieve.series import BAND

log = logging.getLogger(__name__)

SECONDS_A_DAY = 86_400


class Pool(Protocol):
    """What runs a function over many arguments: in this process or in others."""

    def map(self, function: Callable[..., Any], arguments: Iterable[Any], /) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Prepared:
    """An acquisition whose assets have all been read where the tile needs them."""

    kept: dict[str, Kept]
    """By band of the study and name of the mask asset."""

    numbers: dict[str, np.ndarray]
    """Digital numbers on the coarse grid, by band and mask; empty where the offset is not to be tested."""


@dataclass(frozen=True)
class _Job:
    """One asset to prepare, as it travels to a worker."""

    id: str
    """Of the acquisition."""

    name: str
    """Band of the study, or the mask asset."""

    href: str
    checksum: str | None
    band: int | None
    """Of a file of several bands."""

    looked_at: bool
    """Whether its digital numbers serve the offset test."""

    nodata: float | None
    """As the catalog tells it, else as is usual for the sensor."""

    codes: bool


@dataclass(frozen=True)
class _Failed:
    """Why an asset is not ready."""

    reason: str
    passing: bool
    """Whether it may be got later: its server failed, not the asset."""


class UnreachedError(LandtideError):
    """Some acquisitions could not be got because their servers failed; all others are ready in the cache."""

    def __init__(self, tile: str, year: int, aside: list[SetAside]) -> None:
        self.aside = tuple(aside)
        first = aside[0]
        super().__init__(
            f"tile {tile}, {year}: {len(aside)} acquisitions cannot be got now, the first ({first.id}) because {first.reason}. "
            "Run again later: what has been got is kept"
        )


def fetch(study: Study, tile: Tile, year: int, out: Writing, pool: Pool, without: tuple[SetAside, ...] = ()) -> None:
    """Prepare the acquisitions of a tile and year.

    without  acquisitions to leave out, and why

    Writes ``items.json`` (ItemCollection; assets keyed by band and mask with href, scale and offset already decided) and
    ``retrieval.json`` (what was found, its size, what was set aside and why). An acquisition with a broken asset is set aside.
    Raises InputError where no acquisition is left, UnreachedError where servers failed for some and all others are ready.
    """
    found = _left(find(study, tile, year), without)
    prepared, aside, unreached = _prepare_all(study, tile, found, pool)
    if unreached:
        raise UnreachedError(tile.name, year, unreached)
    kept = [one for one in found.acquisitions if one.item.id in prepared]
    decided, refused = _radiometry(study, kept, prepared, found.mask)
    aside += refused
    kept = [one for one in kept if one.item.id in decided]
    set_aside = [*found.set_aside, *aside]
    if not kept:
        raise InputError(nothing_left(tile, year, set_aside))
    for one in aside:
        log.warning("tile %s, %s: acquisition %s set aside: %s", tile.name, year, one.id, one.reason)
    records = [record_of(one, prepared[one.item.id].kept, decided[one.item.id], found.mask) for one in kept]
    out.put_json("items.json", {"type": "FeatureCollection", "features": records})
    out.add_asset("items", "items.json", media_type="application/geo+json", roles=["data"], title="Acquisitions")
    report = report_of(tile, year, kept, decided, set_aside, found.mask)
    out.put_json("retrieval.json", report)
    out.add_asset("report", "retrieval.json", media_type="application/json", roles=["metadata"], title="Retrieval report")
    out.properties |= {"landtide:images": report["images"], "landtide:bytes": report["bytes"], "landtide:mask": found.mask}


def source_ids(study: Study, tile: Tile, year: int, without: tuple[SetAside, ...] = ()) -> list[str]:
    """Return what names the sources of a tile and year: item ids with the checksums of the assets used and their metadata's radiometry.

    What is left out (`without`) is no source: once it can be got, the sources have another name, and the work is done anew.
    """
    acquisitions = _left(find(study, tile, year), without).acquisitions
    used = [(one, name) for one in acquisitions for name in one.assets]
    sources = digest.asset_sources([one.item.assets[one.assets[name]] for one, name in used])
    by_item: dict[str, list[Any]] = {one.item.id: [] for one in acquisitions}
    for (one, name), source in zip(used, sources, strict=True):
        fields = items.packing(one.item.assets[one.assets[name]])
        told = [items.baseline(one.item), items.offset_applied(one.item), str(items.moment(one.item))]
        by_item[one.item.id].append([name, source, fields, told])
    return sorted(f"{name}:{sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}" for name, parts in by_item.items())


def _left(found: Found, without: tuple[SetAside, ...]) -> Found:
    names = {one.id for one in without}
    kept = tuple(one for one in found.acquisitions if one.item.id not in names)
    return Found(kept, (*found.set_aside, *without), found.mask)


def _prepare_all(study: Study, tile: Tile, found: Found, pool: Pool) -> tuple[dict[str, Prepared], list[SetAside], list[SetAside]]:
    """Make every asset ready; return what is ready by acquisition, the broken acquisitions, and those whose servers failed.

    Each asset is a task of its own: JPEG 2000 takes seconds a band to decode.
    """
    jobs = [job for one in found.acquisitions for job in _jobs(one, study, found.mask)]
    source, cache = study.source, storage.join(study.workspace, study.name, "cache")
    prepare = partial(_prepare, tile=tile, cache=cache, always=source.cache == "always", manners=source.requests)
    parts = {one.item.id: Prepared({}, {}) for one in found.acquisitions}
    broken: dict[str, SetAside] = {}
    unreached: dict[str, SetAside] = {}
    for job, result in zip(jobs, pool.map(prepare, jobs), strict=True):
        if isinstance(result, _Failed):
            (unreached if result.passing else broken).setdefault(job.id, SetAside(job.id, result.reason))
            continue
        kept, numbers = result
        parts[job.id].kept[job.name] = kept
        if numbers is not None:
            parts[job.id].numbers[job.name] = numbers
    ready = {name: part for name, part in parts.items() if name not in broken and name not in unreached}
    return ready, list(broken.values()), [one for one in unreached.values() if one.id not in broken]


def _jobs(one: Acquisition, study: Study, mask: str | None) -> list[_Job]:
    tested = looks.bands_tested(study.band_ids)
    plain = not items.is_composite(one.item) and hls.sensor_of(one.item) is None
    looked_at = {*tested.values(), mask} if tested and plain else set()
    return [_job(one.item, name, one.item.assets[key], name in looked_at, mask) for name, key in one.assets.items()]


def _job(item: pystac.Item, name: str, asset: pystac.Asset, looked_at: bool, mask: str | None) -> _Job:
    band = asset.extra_fields.get(BAND)
    return _Job(item.id, name, asset.href, digest.checksum_of(asset), band, looked_at, items.packing(asset).get("nodata"), name == mask)


def _prepare(job: _Job, *, tile: Tile, cache: str, always: bool, manners: Requests) -> tuple[Kept, np.ndarray | None] | _Failed:
    """Make one asset ready, in a worker; return it with its digital numbers on the coarse grid where they are wanted."""
    http.behave(manners)
    try:
        kept = keep(job.href, tile, cache, checksum=job.checksum, always=always, codes=job.codes, band=job.band)
    except UnreadableError as error:
        return _Failed(str(error), passing=False)
    except storage.UnreachableError as error:
        return _Failed(str(error), passing=True)
    return kept, looks.read_numbers(kept, missing_number(job.name, job.nodata, kept), tile) if job.looked_at else None


def _radiometry(
    study: Study, acquisitions: list[Acquisition], prepared: dict[str, Prepared], mask: str | None
) -> tuple[dict[str, dict[str, Radiometry]], list[SetAside]]:
    """Decide scale and offset of every asset, and refuse acquisitions whose metadata and pixels contradict each other."""
    stated: dict[str, dict[str, Radiometry]] = {}
    aside = []
    for one in acquisitions:
        try:
            stated[one.item.id] = _stated(one, prepared[one.item.id].kept, mask)
        except UnknownRadiometryError as error:
            aside.append(SetAside(one.item.id, str(error)))
    verdicts = _verdicts(study, [one for one in acquisitions if one.item.id in stated], prepared, stated, mask)
    decided = {}
    for name, bands in stated.items():
        settled = {band: settle(told, verdicts.get(name, UNSEEN)) for band, told in bands.items()}
        lines = [line for result, line in settled.values() if result is None]
        if lines:
            aside.append(SetAside(name, lines[0]))
        else:
            decided[name] = {
                band: Radiometry(result.scale, result.offset, line, testable=result.testable)
                for band, (result, line) in settled.items()
                if result is not None
            }
    return decided, aside


def _stated(one: Acquisition, kept: dict[str, Kept], mask: str | None) -> dict[str, Radiometry]:
    return {
        name: decide(one.item, key, tags=(kept[name].scale, kept[name].offset), dtype=kept[name].dtype)
        for name, key in one.assets.items()
        if name != mask
    }


def _verdicts(
    study: Study,
    acquisitions: list[Acquisition],
    prepared: dict[str, Prepared],
    stated: dict[str, dict[str, Radiometry]],
    mask: str | None,
) -> dict[str, Verdict]:
    """Ask the pixels of all acquisitions together whether the offset is in them."""
    roles = looks.bands_tested(study.band_ids)
    seen = []
    for one in acquisitions:
        numbers, kept = prepared[one.item.id].numbers, prepared[one.item.id].kept
        if not numbers:
            continue
        assets = {role: one.item.assets[one.assets[name]] for role, name in roles.items()}
        nodata = {role: missing_number(name, items.packing(assets[role]).get("nodata"), kept[name]) for role, name in roles.items()}
        seen.append(
            looks.look(
                one.item.id,
                items.moment(one.item).timestamp() / SECONDS_A_DAY,
                {role: numbers[name] for role, name in roles.items()},
                {role: stated[one.item.id][name].scale for role, name in roles.items()},
                nodata,
                mask=numbers[mask] if mask else None,
                drop=study.mask.codes if study.mask else [],
            )
        )
    return {look.id: verdict for look, verdict in zip(seen, offset_in_pixels(seen, masked=mask is not None), strict=True)}
