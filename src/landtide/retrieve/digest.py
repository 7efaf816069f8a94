"""Checksums of assets: what names a source for ever, and what proves a copy whole."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import pystac

from landtide.core.errors import InputError
from landtide.core.study import Study
from landtide.io import archive, storage
from landtide.io.embedding import Embedding
from landtide.retrieve.api import with_token

MULTIHASH = {"1220": "sha256", "1620": "sha3_256", "1114": "sha1", "1340": "sha512", "1440": "sha3_512", "d50110": "md5"}
"""Prefix (function code, length) of ``file:checksum`` -> name in hashlib. Source: multiformats.io/multihash."""

SHA256 = "1220"

REQUESTS = 16
"""Questions to a server at a time."""


def asset_source(href: str, checksum: str | None) -> str:
    """Return what names an asset's content: its ``file:checksum``, else ETag (or date of change) and size, else SHA-256.

    Raises FileNotFoundError where the asset does not exist.
    """
    if checksum:
        return checksum
    if archive.is_member(href):
        return archive.source(href)
    path = storage.local_path(href)
    if path is not None:
        state = path.stat()
        return _local_sha256(str(path), state.st_size, state.st_mtime_ns)
    return _remote_source(href)


def reference_sources(study: Study) -> list[str]:
    """Return what names the content of the study's reference rasters and points, for content ids.

    Raises InputError where one does not exist.
    """
    settings = study.evaluate
    rasters = settings.reference if isinstance(settings.reference, dict) else {settings.year: settings.reference}
    files = {f"reference/{year}": uri for year, uri in rasters.items() if uri is not None}
    files |= {"points": settings.points} if settings.points is not None else {}
    found = []
    for name, uri in sorted(files.items()):
        try:
            found.append(f"{name}:{asset_source(uri, None)}")
        except FileNotFoundError:
            raise InputError(f"evaluate: {uri} does not exist: correct its path in the study file") from None
    return found


def embedding_of(study: Study, year: int) -> Embedding | None:
    """Return the embeddings of a year, None where the study has none."""
    told = study.embeddings
    return Embedding(told.rasters[year], told.names, told.scale, told.offset) if told is not None else None


def embedding_source(embedding: Embedding) -> str:
    """Return what names the content of embeddings, for content ids. Raises InputError where they do not exist."""
    try:
        return f"embedding:{asset_source(embedding.uri, None)}"
    except FileNotFoundError:
        raise InputError(f"embeddings: {embedding.uri} does not exist: correct embeddings.rasters in the study file") from None


def checksum_of(asset: pystac.Asset) -> str | None:
    """Return the ``file:checksum`` that a catalog gives for an asset."""
    value = asset.extra_fields.get("file:checksum")
    return str(value).lower() if value else None


def asset_sources(assets: list[pystac.Asset]) -> list[str | None]:
    """Return what names each asset's content, None for an asset that does not exist or cannot be asked for now.

    Servers are asked several at a time.
    """
    with ThreadPoolExecutor(REQUESTS) as threads:
        return list(threads.map(_source_or_none, assets))


def asset_sizes(assets: list[pystac.Asset]) -> list[int | None]:
    """Return the size of each asset in bytes, None where it cannot be told."""
    with ThreadPoolExecutor(REQUESTS) as threads:
        return list(threads.map(lambda asset: _size(asset.href, asset.extra_fields.get("file:size")), assets))


def matches(path: Path, checksum: str) -> bool | None:
    """Say whether a local file has a ``file:checksum``; None for a hash function that is not known here."""
    prefix = next((prefix for prefix in MULTIHASH if checksum.startswith(prefix)), None)
    if prefix is None:
        return None
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, MULTIHASH[prefix]).hexdigest() == checksum[len(prefix) :]


def _source_or_none(asset: pystac.Asset) -> str | None:
    try:
        return asset_source(asset.href, checksum_of(asset))
    except (FileNotFoundError, storage.UnreachableError):
        return None


@lru_cache(maxsize=100_000)
def _remote_source(href: str) -> str:
    """Return what names a remote object: the validator that its server gives; only where it gives none, the object is read for it."""
    head = _head(href)
    validator = f"etag:{head['etag']}" if head["etag"] else f"modified:{head['modified']}" if head["modified"] else None
    return f"{validator}:{head['size']}" if validator else SHA256 + with_token(href, storage.sha256)


@lru_cache(maxsize=100_000)
def _local_sha256(path: str, size: int, changed: int) -> str:
    """Return the SHA-256 of a local file; size and time of change make the cache forget it when the file changes."""
    return SHA256 + storage.sha256(path)


def _size(href: str, told: int | None) -> int | None:
    if told is not None:
        return int(told)
    try:
        if archive.is_member(href):
            return archive.size(href)
        return storage.size(href) if storage.local_path(href) is not None else _head(href)["size"]
    except (FileNotFoundError, storage.UnreachableError):
        return None


@lru_cache(maxsize=100_000)
def _head(href: str) -> dict[str, Any]:
    """Ask a server for size and ETag of an object, once a process."""
    return with_token(href, storage.head)
