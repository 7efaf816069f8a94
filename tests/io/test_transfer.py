"""Files from and to a store that breaks off in the middle, and large ones."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from landtide.core.errors import LandtideError
from landtide.io import storage

BODY = os.urandom(300_000)


@contextmanager
def breaking_store(monkeypatch: pytest.MonkeyPatch, breaks: int) -> Iterator[list[str]]:
    """Serve one object; the first answers end after half of the body that they announce."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY if len(asked) > breaks else BODY[: len(BODY) // 2])
            self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: None)
    storage.s3_client.cache_clear()
    storage.aws_session.cache_clear()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        storage.s3_client.cache_clear()
        storage.aws_session.cache_clear()


def test_a_body_that_breaks_off_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with breaking_store(monkeypatch, breaks=2) as asked:
        storage.download("s3://bucket/file.bin", tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert len(asked) == 3


def test_a_store_that_always_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with breaking_store(monkeypatch, breaks=100) as asked, pytest.raises(LandtideError, match=r"s3://bucket/file\.bin"):
        storage.download("s3://bucket/file.bin", tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []
    assert len(asked) == storage.STREAM_ATTEMPTS


def test_large_files_go_in_parts_and_come_in_ranges(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part = 5 * 2**20
    monkeypatch.setattr(storage, "TRANSFER", TransferConfig(multipart_threshold=part, multipart_chunksize=part))
    local = tmp_path / "large.bin"
    local.write_bytes(os.urandom(2 * part + 17))
    storage.upload(local, f"{s3}/large.bin")
    storage.download(f"{s3}/large.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == local.read_bytes()
