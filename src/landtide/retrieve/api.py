"""STAC APIs: the public providers by name, any other by URL."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import pystac
import pystac_client
import requests
import shapely
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO

from landtide.core.errors import InputError, LandtideError
from landtide.core.tile import Tile
from landtide.io import storage
from landtide.retrieve.items import MGRS_NAME
from landtide.retrieve.place import outline


@dataclass(frozen=True)
class Provider:
    """A public STAC API and its habits."""

    url: str
    collection: str
    tile_property: str
    """Property that holds the MGRS tile: searched by it, the neighbours that only overlap do not come along."""

    tile_prefix: str = ""


PROVIDERS = {
    "earth-search": Provider("https://earth-search.aws.element84.com/v1", "sentinel-2-l2a", "grid:code", "MGRS-"),
    "cdse": Provider("https://stac.dataspace.copernicus.eu/v1", "sentinel-2-l2a", "grid:code", "MGRS-"),
    "planetary-computer": Provider("https://planetarycomputer.microsoft.com/api/stac/v1", "sentinel-2-l2a", "s2:mgrs_tile"),
}

TOKENS = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
TOKEN_MARGIN = timedelta(minutes=10)
"""A read token is renewed this long before it ends: the reads that began with it must end, too."""

PAGE = 100
"""Items a request: providers refuse more, or answer slowly."""

TIMEOUT = (10.0, 120.0)
"""Seconds to connect, seconds without a byte."""


def search(api: str, collection: str | None, tile: Tile, interval: str, max_cloud: float) -> tuple[pystac.Item, ...]:
    """Return the items of a STAC API that meet a tile in an interval (``start/end``).

    Raises InputError where the API is unknown or gives no answer, LandtideError where it fails half way.
    """
    provider = PROVIDERS.get(api)
    if provider is None and not api.startswith(("http://", "https://")):
        raise InputError(f"source.api {api!r} is unknown: write {', '.join(PROVIDERS)} or the URL of a STAC API")
    name = collection or (provider.collection if provider else None)
    if name is None:
        raise InputError(f"source.api {api} needs source.collection: only the providers known by name have a default")
    url = provider.url if provider else api
    wanted: tuple[tuple[str, str, Any], ...] = (("eo:cloud_cover", "lte", max_cloud),)
    if provider and MGRS_NAME.fullmatch(tile.name):
        wanted += ((provider.tile_property, "eq", provider.tile_prefix + tile.name),)
    return _search(url, name, shapely.to_geojson(outline(tile)), interval, wanted)


@lru_cache(maxsize=64)
def _search(url: str, collection: str, area: str, interval: str, wanted: tuple[tuple[str, str, Any], ...]) -> tuple[pystac.Item, ...]:
    try:
        client = pystac_client.Client.open(url, stac_io=StacApiIO(timeout=TIMEOUT, max_retries=5))
    except (APIError, requests.RequestException, pystac.STACError) as error:
        raise InputError(f"STAC API {url} gives no answer ({_line(error)}): check `source.api` and the network") from error
    query = {name: {operator: value} for name, operator, value in wanted} if client.conforms_to("QUERY") else None
    try:
        result = client.search(collections=[collection], intersects=area, datetime=interval, query=query, limit=PAGE)
        return tuple(pystac.Item.from_dict(record, preserve_dict=False) for record in result.items_as_dicts())
    except (APIError, requests.RequestException) as error:
        raise LandtideError(f"STAC API {url} failed while searching {collection} in {interval}: {_line(error)}") from error


def signed(href: str) -> str:
    """Return an href that may be read: assets of the Planetary Computer's storage need a token, others stay as they are."""
    parts = urlsplit(href)
    if not parts.netloc.endswith(".blob.core.windows.net") or parts.query:
        return href
    account, container = parts.netloc.split(".")[0], parts.path.lstrip("/").split("/")[0]
    return f"{href}?{_token(account, container)}"


_TOKENS: dict[tuple[str, str], tuple[str, datetime]] = {}
_TOKENS_LOCK = threading.Lock()


def _token(account: str, container: str) -> str:
    """Return a read token that lives for `TOKEN_MARGIN` at least, asked for anew where the one at hand does not."""
    with _TOKENS_LOCK:  # one request, however many threads read
        token, expiry = _TOKENS.get((account, container), ("", datetime.min.replace(tzinfo=UTC)))
        if expiry - datetime.now(UTC) < TOKEN_MARGIN:
            answer = storage.read_json(f"{TOKENS}/{account}/{container}")
            token, expiry = str(answer["token"]), datetime.fromisoformat(str(answer["msft:expiry"]).replace("Z", "+00:00"))
            _TOKENS[account, container] = token, expiry
        return token


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
