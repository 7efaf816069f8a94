"""Fixtures of the tests of what goes wrong."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from landtide.core.study import Requests
from landtide.io import http, raster
from landtide.retrieve import api, digest, folder, search, series
from tests.faults.unruly import Unruly, serving
from tests.retrieve.made import TILE, red, write_collection, write_item

DAYS = (1, 11, 21)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Shorten every pause, so that a storm is over in a second, and forget what other tests have read."""
    monkeypatch.setattr(http, "PAUSE", 0.02)
    monkeypatch.setattr(http, "SLOW_SECONDS", 0.4)
    monkeypatch.setitem(raster.GDAL_OPTIONS, "GDAL_HTTP_RETRY_DELAY", "0.02")
    monkeypatch.setitem(raster.GDAL_OPTIONS, "GDAL_HTTP_LOW_SPEED_TIME", "1")
    yield
    http.behave(Requests())
    for remembered in (search.catalog_items, api._search, digest._head, digest._remote_source, folder._products, series._read):
        remembered.cache_clear()
    api._TOKENS.clear()


@pytest.fixture
def unruly(tmp_path: Path) -> Iterator[Unruly]:
    """A server of a static catalog of three acquisitions, ``/collection.json``."""
    home = tmp_path / "catalog"
    for day in DAYS:
        arrays = {"B04": red(day), "SCL": np.full(TILE.shape, 4, np.uint8)}
        write_item(home, f"day{day:02}", f"2020-05-{day:02}T10:00:00Z", arrays)
    write_collection(home)
    with serving(home) as state:
        yield state
