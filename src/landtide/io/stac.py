"""Static STAC by URI: items of a Collection, a Catalog or an ItemCollection, with absolute hrefs."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pystac
import pystac.errors

from landtide.core.errors import InputError
from landtide.io import storage

CHILD_LINKS = ("item", "items", "child")


def read_items(uri: str) -> Iterator[pystac.Item]:
    """Yield the items of a static catalog in the order of its links; an ItemCollection's in its order.

    Raises InputError where the file is missing or is no STAC: a wrong path is the commonest slip in a study file.
    """
    try:
        record = storage.read_json(uri)
    except FileNotFoundError as error:
        raise InputError(f"catalog {uri} does not exist: correct `source.catalog`") from error
    yield from _items(record, uri, seen=set())


def absolute_href(href: str, base: str) -> str:
    """Return an href as a URI of its own, relative to the object that holds it."""
    if "://" in href or href.startswith("/"):
        return href.removeprefix("file://")
    if base.startswith(("http://", "https://")):
        return urljoin(base, href)
    folder = storage.parent(base)
    while href.startswith(("./", "../")):
        step, href = href.split("/", 1)
        folder = storage.parent(folder) if step == ".." else folder
    return storage.join(folder, href)


def _items(record: Any, uri: str, seen: set[str]) -> Iterator[pystac.Item]:
    kind = record.get("type") if isinstance(record, dict) else None
    if kind == "FeatureCollection":
        for feature in record.get("features", []):
            yield _item(feature, uri)
    elif kind == "Feature":
        yield _item(record, uri)
    elif kind in ("Catalog", "Collection"):
        for link in record.get("links", []):
            target = absolute_href(link["href"], uri)
            if link.get("rel") in CHILD_LINKS and target not in seen:
                seen.add(target)
                yield from _items(_read_linked(target, uri), target, seen)
    else:
        raise InputError(f"{uri} is no STAC Collection, Catalog, ItemCollection or Item (type {kind!r}): correct `source.catalog`")


def _read_linked(target: str, origin: str) -> Any:
    try:
        return storage.read_json(target)
    except FileNotFoundError as error:
        raise InputError(f"catalog {origin} links to {target}, which does not exist") from error


def _item(record: dict[str, Any], uri: str) -> pystac.Item:
    try:
        item = pystac.Item.from_dict(record)
    except (pystac.errors.STACError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{uri} holds an item that is no valid STAC ({record.get('id', 'without id')}): {error}") from error
    for asset in item.assets.values():
        asset.href = absolute_href(asset.href, uri)
    item.set_self_href(
        uri if record.get("type") == "Feature" and uri.endswith(f"{item.id}.json") else absolute_href(f"./{item.id}.json", uri)
    )
    return item
