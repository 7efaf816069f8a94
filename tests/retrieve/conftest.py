"""Fixtures of the tests of retrieval."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from made import Quiet, RecordedApi

from landtide.retrieve import api, digest, folder, search, series


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Let no test see what another has read under the same address."""
    yield
    for remembered in (search.catalog_items, api._search, digest._head, digest._remote_source, folder._products, series._read):
        remembered.cache_clear()


@pytest.fixture
def serve() -> Iterator[Callable[[Path], tuple[str, list[str]]]]:
    """Serve folders over http on loopback: folder -> URL and the list of paths that were asked for."""
    servers = []

    def start(folder: Path) -> tuple[str, list[str]]:
        served: list[str] = []
        handler = type("Handler", (Quiet,), {"served": served})
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", served

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def stac_api() -> Iterator[Callable[[list[dict[str, Any]]], tuple[str, list[dict[str, Any]]]]]:
    """Serve a STAC API on loopback: answers to searches -> URL and the list of bodies that were asked."""
    servers = []
    home = "https://stac.example"
    classes = ["core", "collections", "ogcapi-features", "item-search", "item-search#query", "item-search#fields"]

    def start(answers: list[dict[str, Any]], recorded_from: str = home) -> tuple[str, list[dict[str, Any]]]:
        landing = {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "recorded",
            "description": "recorded",
            "conformsTo": [f"https://api.stacspec.org/v1.0.0/{name}" for name in classes],
            "links": [
                {"rel": "self", "href": recorded_from},
                {"rel": "root", "href": recorded_from},
                {"rel": "search", "href": f"{recorded_from}/search", "method": "POST", "type": "application/geo+json"},
            ],
        }
        asked: list[dict[str, Any]] = []
        members = {"landing": landing, "answers": answers, "asked": asked, "home": recorded_from}
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Api", (RecordedApi,), members))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
