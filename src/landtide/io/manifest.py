"""Manifests: what a step made, written last, found again by the name of its content.

A URI names one content for ever: ``<workspace>/<study>/<step>/<tile>/<period>/<id>``, where the id is a hash of the algorithm's
version, the parameters and the sources. Objects lie under ``<id>/<attempt>/``; ``<id>/item.json`` is a STAC Item that names the attempt,
and the first one written wins. So a re-run finds the manifest and does nothing, an interrupted step leaves none and is done again,
and two runs at once never mix. Idea of the deterministic id: odc-stats (Open Data Cube), task model.
"""

import hashlib
import json
import mimetypes
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac

import landtide
from landtide.core.errors import LandtideError
from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.io import storage

MANIFEST = "item.json"
OBJECTS = "objects.json"
EXTENSIONS = (
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
MULTIHASH_SHA256 = "1220"
"""Prefix of a SHA-256 in ``file:checksum``: function code 0x12, length 0x20. Source: multiformats.io/multihash."""


@dataclass(frozen=True)
class Key:
    """The name of one step's output."""

    workspace: str
    study: str
    step: str
    tile: str
    period: str
    id: str

    @property
    def uri(self) -> str:
        return storage.join(self.workspace, self.study, self.step, self.tile, self.period, self.id)


def content_id(algorithm: str, parameters: dict[str, Any], sources: list[str]) -> str:
    """Return the id of a content: 16 hex digits of a hash over all that it depends on.

    algorithm   name and version, such as ``composite/1``; a change of the result needs a new version
    parameters  JSON values
    sources     ids with checksum of everything read; their order does not matter
    """
    text = json.dumps([algorithm, parameters, sorted(sources)], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def find(key: Key) -> pystac.Item | None:
    """Return the manifest of an output that is done, None where it is not."""
    try:
        return read(storage.join(key.uri, MANIFEST))
    except FileNotFoundError:
        return None


def read(uri: str) -> pystac.Item:
    """Return a manifest with absolute asset hrefs. Raises FileNotFoundError where there is none."""
    item = pystac.Item.from_dict(storage.read_json(uri))
    for asset in item.assets.values():
        if "://" not in asset.href and not asset.href.startswith("/"):
            asset.href = storage.join(storage.parent(uri), asset.href)
    item.set_self_href(uri)
    return item


def source_of(item: pystac.Item) -> str:
    """Return the name of a manifest's content for use as a source of the next step: its id and the digest of its objects."""
    return f"{item.properties['landtide:step']}/{item.id}:{item.assets['objects'].extra_fields['file:checksum']}"


def tile_of(item: pystac.Item) -> Tile:
    """Return the grid that a manifest tells."""
    told = item.properties
    return Tile(told["landtide:tile"], told["proj:code"], tuple(told["proj:transform"][:6]), tuple(told["proj:shape"]))


@dataclass
class Writing:
    """An output in the making."""

    key: Key
    attempt: str
    scratch: Path
    """Local folder for files that are not finished; it goes with the attempt."""

    properties: dict[str, Any]
    assets: dict[str, pystac.Asset] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """Object name relative to the attempt -> SHA-256."""

    finished: pystac.Item | None = None

    @property
    def uri(self) -> str:
        """Folder of this attempt's objects."""
        return storage.join(self.key.uri, self.attempt)

    @property
    def item(self) -> pystac.Item:
        """The manifest that counts: ours, or that of a run which was first."""
        if self.finished is None:
            raise LandtideError(f"output {self.key.uri} is not finished")
        return self.finished

    def path(self, name: str) -> str:
        """Return the URI of an object of this attempt."""
        return storage.join(self.uri, name)

    def put(self, name: str, data: bytes) -> str:
        """Write a small object and note its digest."""
        storage.write_bytes(self.path(name), data)
        self.digests[name] = storage.digest(data)
        return self.path(name)

    def put_json(self, name: str, record: Any) -> str:
        """Write a value as JSON and note its digest."""
        return self.put(name, storage.json_bytes(record))

    def upload(self, local: Path, name: str) -> str:
        """Move a finished local file to its place and note its digest."""
        self.digests[name] = storage.sha256(str(local))
        storage.upload(local, self.path(name))
        local.unlink()
        return self.path(name)

    def record(self, digests: dict[str, str]) -> None:
        """Note the digests of objects that others wrote under this attempt."""
        self.digests.update(digests)

    def add_asset(
        self,
        key: str,
        name: str,
        *,
        media_type: str | None = None,
        roles: list[str] | None = None,
        title: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """List an object (or a folder of objects, as Zarr) in the manifest."""
        fields = dict(extra or {})
        if name in self.digests:
            fields["file:checksum"] = MULTIHASH_SHA256 + self.digests[name]
        media = media_type or mimetypes.guess_type(name)[0]
        self.assets[key] = pystac.Asset(f"./{self.attempt}/{name}", title, media_type=media, roles=roles or ["data"], extra_fields=fields)


@contextmanager
def writing(
    key: Key,
    *,
    period: Period,
    tile: Tile | None = None,
    properties: dict[str, Any] | None = None,
    derived_from: list[str] | None = None,
) -> Iterator[Writing]:
    """Open an output; leaving the block without an error writes ``objects.json`` and then the manifest.

    An output without one tile (samples, a model) has no geometry, which STAC allows.
    """
    attempt = uuid.uuid4().hex[:12]
    scratch = _scratch(key, attempt)
    out = Writing(key, attempt, scratch, {"landtide:step": key.step, "landtide:tile": key.tile, **(properties or {})})
    try:
        yield out
        out.finished = _commit(out, period, tile, derived_from or [])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scratch(key: Key, attempt: str) -> Path:
    """Make a folder on the workspace's own disk where it has one: it is as large as the data need."""
    path = storage.local_path(key.uri)
    if path is None:
        return Path(tempfile.mkdtemp(prefix="landtide-"))
    with storage.explain_os_errors(key.uri):
        folder = path / f".scratch-{attempt}"
        folder.mkdir(parents=True)
    return folder


def _commit(out: Writing, period: Period, tile: Tile | None, derived_from: list[str]) -> pystac.Item:
    objects = storage.json_bytes(dict(sorted(out.digests.items())))
    storage.write_bytes(out.path(OBJECTS), objects)
    checksum = {"file:checksum": MULTIHASH_SHA256 + storage.digest(objects), "file:size": len(objects)}
    out.assets["objects"] = pystac.Asset(
        f"./{out.attempt}/{OBJECTS}", "SHA-256 of every object", media_type="application/json", roles=["metadata"], extra_fields=checksum
    )
    uri = storage.join(out.key.uri, MANIFEST)
    storage.create(uri, storage.json_bytes(_item(out, period, tile, derived_from)))
    return read(uri)


def _item(out: Writing, period: Period, tile: Tile | None, derived_from: list[str]) -> dict[str, Any]:
    start, end = period.interval().split("/")
    properties = {
        "datetime": None,
        "start_datetime": start,
        "end_datetime": end,
        "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "processing:software": {"landtide": landtide.__version__},
        "landtide:attempt": out.attempt,
        **out.properties,
    }
    extensions = list(EXTENSIONS)
    if tile is not None:
        properties |= {"proj:code": tile.crs, "proj:shape": list(tile.shape), "proj:transform": list(tile.transform)}
        extensions.append(PROJECTION)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": extensions,
        "id": out.key.id,
        "geometry": tile.footprint() if tile else None,
        **({"bbox": list(tile.lonlat_bounds())} if tile else {}),
        "properties": properties,
        "links": [{"rel": "derived_from", "href": href, "type": "application/geo+json"} for href in derived_from],
        "assets": {key: asset.to_dict() for key, asset in out.assets.items()},
    }
