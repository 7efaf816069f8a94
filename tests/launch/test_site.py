"""The published folder as a web site."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from landtide.core.errors import LandtideError
from landtide.io import storage
from landtide.launch import site


def fetch(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, b"", dict(error.headers)


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A site of two files, in a folder or in an object store, beside a file that it must not give away."""
    workspace = str(tmp_path) if request.param == "folder" else request.getfixturevalue("s3")
    storage.write_bytes(storage.join(workspace, "secret.txt"), b"secret")
    published = storage.join(workspace, "published")
    storage.write_bytes(storage.join(published, "index.html"), b"<h1>map</h1>")
    storage.write_bytes(storage.join(published, "maps/a/2020.tif"), bytes(range(100)))
    with site.server(published, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_front_page_and_its_files_are_served(address: str) -> None:
    status, body, headers = fetch(f"{address}/")
    assert (status, body, headers["Content-Type"]) == (200, b"<h1>map</h1>", "text/html")
    assert fetch(f"{address}/maps/a/2020.tif?v=1")[1] == bytes(range(100))


@pytest.mark.parametrize(
    ("wanted", "status", "body"),
    [
        ("bytes=10-19", 206, bytes(range(10, 20))),
        ("bytes=90-", 206, bytes(range(90, 100))),
        ("bytes=-5", 206, bytes(range(95, 100))),
        ("bytes=95-500", 206, bytes(range(95, 100))),
        ("bytes=0-1,5-6", 200, bytes(range(100))),
        ("pixels=0-1", 200, bytes(range(100))),
    ],
)
def test_a_browser_may_read_a_map_in_pieces(address: str, wanted: str, status: int, body: bytes) -> None:
    answer = fetch(f"{address}/maps/a/2020.tif", Range=wanted)
    assert answer[:2] == (status, body)
    if status == 206:
        assert answer[2]["Content-Range"].endswith("/100")


@pytest.mark.parametrize("path", ["/nothing.html", "/maps", "/../secret.txt", "/%2e%2e/secret.txt", "/maps/../../secret.txt"])
def test_nothing_outside_the_site_is_served(address: str, path: str) -> None:
    assert fetch(address + path)[0] == 404


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with site.server(str(tmp_path), 0) as server, pytest.raises(LandtideError, match=f"port {server.server_port} cannot be used"):
        site.server(str(tmp_path), server.server_port)


def test_a_site_in_an_object_store_is_saved_to_a_folder(s3: str, tmp_path: Path) -> None:
    for name in ("index.html", "maps/a/2020.tif"):
        storage.write_bytes(storage.join(s3, "published", name), name.encode())
    site.save(storage.join(s3, "published"), tmp_path / "site")
    assert (tmp_path / "site" / "maps" / "a" / "2020.tif").read_bytes() == b"maps/a/2020.tif"
    assert len(list((tmp_path / "site").rglob("*.*"))) == 2


def test_a_server_without_a_site_is_alive(tmp_path: Path) -> None:
    with site.server(str(tmp_path / "nothing"), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert fetch(f"{url}/healthz")[:2] == (200, b"")
        assert fetch(f"{url}/")[0] == 404
        server.shutdown()


def test_a_map_larger_than_a_piece_arrives_whole_and_in_parts(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "PIECE", 7)
    assert fetch(f"{address}/maps/a/2020.tif")[1] == bytes(range(100))
    assert fetch(f"{address}/maps/a/2020.tif", Range="bytes=3-60")[1] == bytes(range(3, 61))


def test_a_store_that_does_not_answer_is_told_to_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(uri: str) -> int:
        raise LandtideError(f"object store failed for {uri}")

    monkeypatch.setattr(storage, "size", fail)
    with site.server("s3://maps/published", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert fetch(f"http://127.0.0.1:{server.server_port}/")[0] == 502
        server.shutdown()
