"""Fixtures that several test folders share."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and catalogs (LANDTIDE_SHARED, default ../shared)."""
    path = Path(os.environ.get("LANDTIDE_SHARED", REPOSITORY / ".." / "shared")).resolve()
    if not (path / "catalogs").is_dir():
        pytest.skip(f"no shared data at {path}: set LANDTIDE_SHARED")
    return path


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on loopback with an empty bucket; yields its URI."""
    from moto.server import ThreadedMotoServer

    from landtide.io import storage

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    storage.aws_session.cache_clear()
    storage.s3_client.cache_clear()
    bucket = f"landtide-{uuid.uuid4().hex[:8]}"  # servers in one process share their memory
    storage.s3_client().create_bucket(Bucket=bucket)
    yield f"s3://{bucket}"
    server.stop()
    storage.aws_session.cache_clear()
    storage.s3_client.cache_clear()
