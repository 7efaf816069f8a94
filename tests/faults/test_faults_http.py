"""Servers that fail in passing, refuse, cut, trickle or lie: what asks them again, what gives up, and how politely."""

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pytest

from landtide.core.study import Requests
from landtide.io import http, storage
from landtide.io.raster import open_raster
from tests.faults.unruly import Unruly, cut, refuse, serving, trickle
from tests.retrieve.made import TILE, red, write_tiff


@pytest.fixture
def server(tmp_path: Path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.bin").write_bytes(bytes(range(256)) * 400)
    with serving(tmp_path / "files") as state:
        yield state


CONTENT = bytes(range(256)) * 400


def test_a_storm_of_refusals_is_outlasted(server: Unruly):
    server.faults["a.bin"] = [refuse(429), refuse(503), refuse(500), refuse(502), refuse(504)]
    assert storage.read_bytes(f"{server.url}/a.bin") == CONTENT
    assert len(server.asked) == 6


def test_pauses_double_and_are_not_alike(server: Unruly, monkeypatch: pytest.MonkeyPatch):
    http.behave(Requests(rate=1e6))
    slept: list[float] = []
    monkeypatch.setattr(http.time, "sleep", slept.append)
    server.faults["a.bin"] = [refuse(503)] * 5
    storage.read_bytes(f"{server.url}/a.bin")
    pauses = [pause for pause in slept if pause > 1e-3]
    for count, pause in enumerate(pauses):
        assert 0.5 <= pause / (http.PAUSE * 2**count) <= 1.5
    assert len({round(pause / (http.PAUSE * 2**count), 6) for count, pause in enumerate(pauses)}) > 1


def test_a_server_that_never_recovers_is_named(server: Unruly):
    server.always["a.bin"] = refuse(503)
    http.behave(Requests(retries=3))
    with pytest.raises(storage.UnreachableError, match=r"a\.bin answers 503: its server fails"):
        storage.read_bytes(f"{server.url}/a.bin")
    assert len(server.asked) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_answers_that_will_not_change_are_not_asked_for_again(server: Unruly, status: int):
    server.always["a.bin"] = refuse(status)
    with pytest.raises((storage.UnreachableError, FileNotFoundError)):
        storage.read_bytes(f"{server.url}/a.bin")
    assert len(server.asked) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_pause_that_the_server_asks_for_is_kept(server: Unruly, form: str):
    when = "1" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.faults["a.bin"] = [refuse(429, Retry_After=when)]
    storage.read_bytes(f"{server.url}/a.bin")
    first, second = (one[3] for one in server.asked)
    assert 0.9 <= second - first <= 3


@pytest.mark.parametrize("text", ["86400", "soon", "", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_pause_of_a_day_or_of_nonsense_is_not_kept(text: str):
    import requests

    answer = requests.Response()
    answer.headers["Retry-After"] = text
    assert http.asked_pause(answer) == (http.LONGEST_PAUSE if text == "86400" else 0)


def test_a_body_cut_short_is_got_again_and_never_taken_for_whole(server: Unruly, tmp_path: Path):
    server.faults["GET a.bin"] = [cut, cut]
    assert storage.read_bytes(f"{server.url}/a.bin") == CONTENT
    server.faults["GET a.bin"] = [cut, cut]
    storage.download(f"{server.url}/a.bin", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT
    server.always["GET a.bin"] = cut
    http.behave(Requests(retries=1))
    with pytest.raises(storage.UnreachableError, match="broke off"):
        storage.download(f"{server.url}/a.bin", tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "files"]


def test_a_trickle_is_given_up_and_asked_for_again(server: Unruly, tmp_path: Path):
    server.faults["GET a.bin"] = [trickle]
    begin = time.monotonic()
    storage.download(f"{server.url}/a.bin", tmp_path / "copy")
    assert time.monotonic() - begin < 5
    assert (tmp_path / "copy").read_bytes() == CONTENT


def test_no_more_connections_than_allowed_are_held(server: Unruly):
    http.behave(Requests(connections=2))
    slow = lambda handler, data: (time.sleep(0.05), handler._give(data))  # noqa: E731
    server.always["a.bin"] = slow
    threads = [threading.Thread(target=storage.read_bytes, args=(f"{server.url}/a.bin",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 8
    assert server.most == 2


def test_connections_are_counted_over_processes(server: Unruly):
    import subprocess
    import sys

    program = (
        "import sys, landtide.io.http as http, landtide.io.storage as storage\n"
        "from landtide.core.study import Requests\n"
        "http.behave(Requests(connections=1))\n"
        "[storage.read_bytes(sys.argv[1]) for _ in range(3)]\n"
    )
    server.always["a.bin"] = lambda handler, data: (time.sleep(0.1), handler._give(data))
    runs = [subprocess.Popen([sys.executable, "-c", program, f"{server.url}/a.bin"]) for _ in range(2)]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert len(server.asked) == 6
    assert server.most == 1


def test_the_rate_is_kept(server: Unruly):
    http.behave(Requests(rate=20))
    for _ in range(6):
        storage.read_bytes(f"{server.url}/a.bin")
    times = [one[3] for one in server.asked]
    assert times[-1] - times[0] >= 5 / 20 * 0.9


def test_a_token_goes_to_its_host_alone(server: Unruly, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    monkeypatch.setitem(http.BEARERS, ".localhost", "EARTHDATA_TOKEN")
    storage.read_bytes(f"{server.url.replace('127.0.0.1', 'localhost')}/a.bin")
    storage.read_bytes(f"{server.url}/a.bin")
    assert [one[2].get("Authorization") for one in server.asked] == ["Bearer secret", None]


def test_gdal_sends_the_token_and_does_not_hand_it_on(server: Unruly, monkeypatch: pytest.MonkeyPatch):
    write_tiff(server.folder / "a.tif", red(1), TILE)
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    monkeypatch.setitem(http.BEARERS, ".localhost", "EARTHDATA_TOKEN")
    server.always["b.tif"] = refuse(303, Location=f"{server.url}/a.tif")
    with open_raster(f"{server.url.replace('127.0.0.1', 'localhost')}/b.tif") as dataset:
        assert np.array_equal(dataset.read(1), red(1))
    sent = {(path, headers.get("Authorization")) for _, path, headers, _ in server.asked}
    assert sent == {("/b.tif", "Bearer secret"), ("/a.tif", None)}


def test_a_token_is_not_handed_on_to_where_its_host_redirects(server: Unruly, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    monkeypatch.setitem(http.BEARERS, ".localhost", "EARTHDATA_TOKEN")
    server.faults["b.bin"] = [refuse(303, Location=f"{server.url}/a.bin")]
    assert storage.read_bytes(f"{server.url.replace('127.0.0.1', 'localhost')}/b.bin") == CONTENT
    assert [one[2].get("Authorization") for one in server.asked] == ["Bearer secret", None]


def test_a_host_that_wants_a_token_says_which(server: Unruly, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    monkeypatch.setitem(http.BEARERS, ".localhost", "EARTHDATA_TOKEN")
    server.always["a.bin"] = refuse(401)
    with pytest.raises(storage.RefusedError, match=r"refused \(401\): set EARTHDATA_TOKEN"):
        storage.read_bytes(f"{server.url.replace('127.0.0.1', 'localhost')}/a.bin")


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_server_without_head_is_asked_for_one_byte(server: Unruly, status: int):
    server.always["HEAD a.bin"] = refuse(status)
    told = storage.head(f"{server.url}/a.bin")
    assert told["size"] == len(CONTENT)
    assert told["etag"]
    assert [headers.get("Range") for method, _, headers, _ in server.asked if method == "GET"] == ["bytes=0-0"]
