"""STAC APIs: the public providers by name, any other by URL."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pystac
import pystac_client
import requests
import shapely
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO

from landtide.core.errors import InputError, LandtideError
from landtide.core.tile import Tile
from landtide.io import http, storage
from landtide.retrieve import hls
from landtide.retrieve.items import MGRS_NAME
from landtide.retrieve.place import outline

log = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Provider:
    """A public STAC API and its habits."""

    url: str
    collections: tuple[str, ...]
    tile_property: str | None
    """Property that holds the MGRS tile: searched by it, the neighbours that only overlap do not come along. None = there is none."""

    tile_prefix: str = ""


PROVIDERS = {
    "earth-search": Provider("https://earth-search.aws.element84.com/v1", ("sentinel-2-l2a",), "grid:code", "MGRS-"),
    "cdse": Provider("https://stac.dataspace.copernicus.eu/v1", ("sentinel-2-l2a",), "grid:code", "MGRS-"),
    "planetary-computer": Provider("https://planetarycomputer.microsoft.com/api/stac/v1", ("sentinel-2-l2a",), "s2:mgrs_tile"),
    "hls": Provider("https://cmr.earthdata.nasa.gov/stac/LPCLOUD", ("HLSL30_2.0", "HLSS30_2.0"), None),
}

TOKENS = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
STORAGE = ".blob.core.windows.net"
"""End of the hosts whose assets are signed."""

TOKEN_MARGIN = timedelta(minutes=10)
"""A read token is renewed this long before it ends: the reads that began with it must end, too."""

PAGE = 100
"""Items a request: providers refuse more, or answer slowly."""

SEARCHES = 4
"""Times that a search is made while the catalog changes between its pages."""


def search(api: str, collection: str | None, tile: Tile, interval: str, max_cloud: float) -> tuple[pystac.Item, ...]:
    """Return the items of a STAC API that meet a tile in an interval (``start/end``).

    Raises InputError where the API is unknown or gives no answer, LandtideError where it fails half way.
    """
    provider = PROVIDERS.get(api)
    if provider is None and not api.startswith(("http://", "https://")):
        raise InputError(f"source.api {api!r} is unknown: write {', '.join(PROVIDERS)} or the URL of a STAC API")
    names = (collection,) if collection else provider.collections if provider else ()
    if not names:
        raise InputError(f"source.api {api} needs source.collection: only the providers known by name have a default")
    url = provider.url if provider else api
    wanted: tuple[tuple[str, str, Any], ...] = (("eo:cloud_cover", "lte", max_cloud),)
    if provider and provider.tile_property and all("sentinel-2" in name for name in names) and MGRS_NAME.fullmatch(tile.name):
        wanted += ((provider.tile_property, "eq", provider.tile_prefix + tile.name),)
    return _search(url, names, shapely.to_geojson(outline(tile)), interval, wanted)


@lru_cache(maxsize=64)
def _search(
    url: str, collections: tuple[str, ...], area: str, interval: str, wanted: tuple[tuple[str, str, Any], ...]
) -> tuple[pystac.Item, ...]:
    stac_io = StacApiIO(timeout=http.TIMEOUT)
    stac_io.session = http.session()  # which is polite and patient
    try:
        client = pystac_client.Client.open(url, stac_io=stac_io)
    except (APIError, requests.RequestException, pystac.STACError) as error:
        raise InputError(f"STAC API {url} gives no answer ({_line(error)}): check `source.api` and the network") from error
    query = {name: {operator: value} for name, operator, value in wanted} if client.conforms_to("QUERY") else None
    result = client.search(collections=list(collections), intersects=area, datetime=interval, query=query, limit=PAGE)
    where = f"{', '.join(collections)} in {interval}"
    before: set[tuple[str, str]] | None = None
    for _ in range(SEARCHES):
        try:
            found, counts = _pages(result)
        except (APIError, requests.RequestException) as error:
            raise LandtideError(f"STAC API {url} failed while searching {where}: {_line(error)}") from error
        if counts <= {len(found)} or found.keys() == before:  # twice the same: then the counts are estimates
            return tuple(hls.harmonised(pystac.Item.from_dict(record, preserve_dict=False)) for record in found.values())
        log.warning("STAC API %s counts %s items but gave %d of %s: searched again", url, sorted(counts), len(found), where)
        before = set(found)
    raise LandtideError(f"STAC API {url} changed {SEARCHES} times while it was searched for {where}: run again later")


def _pages(result: pystac_client.ItemSearch) -> tuple[dict[tuple[str, str], dict[str, Any]], set[int]]:
    """Return the items of all pages, each once, and how many there are by the pages' own counts, which differ where they are of
    different states of the catalog."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    counts = set()
    for page in result.pages_as_dicts():
        counts |= {count} if (count := _matched(page)) is not None else set()
        for record in page.get("features", []):
            found[str(record.get("collection")), str(record["id"])] = record
    return found, counts


def _matched(page: dict[str, Any]) -> int | None:
    """Return how many items a page says that the search has in all, None where it does not."""
    count = page.get("numberMatched", page.get("context", {}).get("matched"))
    return int(count) if count is not None else None


def signed(href: str) -> str:
    """Return an href that may be read: assets of the Planetary Computer's storage need a token, others stay as they are."""
    parts = urlsplit(href)
    if not parts.netloc.endswith(STORAGE) or parts.query:
        return href
    return f"{href}?{_token(*_container(href))}"


def with_token(href: str, read: Callable[[str], Result]) -> Result:
    """Return what reading a signed href gives; a token that is refused although it should hold is renewed once."""
    try:
        return read(signed(href))
    except storage.RefusedError:
        if signed(href) == href:
            raise
        _forget(*_container(href))
        return read(signed(href))


def _container(href: str) -> tuple[str, str]:
    """Return storage account and container of an href."""
    parts = urlsplit(href)
    return parts.netloc.split(".")[0], parts.path.lstrip("/").split("/")[0]


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


def _forget(account: str, container: str) -> None:
    with _TOKENS_LOCK:
        _TOKENS.pop((account, container), None)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
