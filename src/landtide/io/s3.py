"""Clients of object stores: the one that the ordinary AWS variables name, and public archives with keys of their own beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config

from landtide.io import http
from landtide.io.environment import setting


@dataclass(frozen=True)
class Archive:
    """A public archive on S3 with an endpoint and keys of its own."""

    name: str
    bucket: str
    endpoint: str
    access: str
    """Setting that holds the access key; without it, the ordinary AWS variables count for this bucket too."""

    secret: str
    elsewhere: str
    """Setting that holds another endpoint, such as the one inside the provider's own cloud."""

    connections: int
    """That one user may hold at a time."""


ARCHIVES = (
    Archive("CDSE", "eodata", "https://eodata.dataspace.copernicus.eu", "CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY", "CDSE_S3_ENDPOINT", 4),
)
"""Source of endpoint and limit: Copernicus Data Space Ecosystem, documentation of S3 access, quotas and limitations."""


def archive_of(uri: str) -> Archive | None:
    """Return the archive that an ``s3://`` URI belongs to where its keys are set, else None."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    return next((archive for archive in ARCHIVES if archive.bucket == bucket and setting(archive.access)), None)


def client_of(uri: str) -> Any:
    """Return the client for an ``s3://`` URI."""
    archive = archive_of(uri)
    return s3_client() if archive is None else _archive_client(archive, *_keys(archive))


def session_of(uri: str) -> boto3.session.Session:
    """Return the session, with its credentials, for an ``s3://`` URI."""
    archive = archive_of(uri)
    return aws_session() if archive is None else _archive_session(*_keys(archive)[:2])


@contextmanager
def connection(uri: str) -> Iterator[None]:
    """Hold one of the connections that an archive allows; the ordinary store is not limited."""
    archive = archive_of(uri)
    if archive is None:
        yield
        return
    with http.connection(_keys(archive)[2], archive.connections):
        yield


@lru_cache(maxsize=1)
def aws_session() -> boto3.session.Session:
    """Return the session of this process: credentials and region by the ordinary AWS rules (variables, profile, instance role)."""
    return boto3.session.Session()


@lru_cache(maxsize=1)
def s3_client() -> Any:
    """Return the S3 client of this process; the endpoint comes from AWS_ENDPOINT_URL (or AWS_ENDPOINT_URL_S3) as boto3 reads it."""
    session = aws_session()
    client = _client(session, {})
    if custom_endpoint(client):
        # Servers other than AWS seldom have a host name for each bucket.
        client = _client(session, {"config": _config().merge(Config(s3={"addressing_style": "path"}))})
    return client


def custom_endpoint(client: Any) -> str | None:
    """Return the endpoint of a client, None where it is Amazon's own."""
    endpoint = str(client.meta.endpoint_url)
    return None if endpoint.endswith(("amazonaws.com", "amazonaws.com.cn")) else endpoint


def _keys(archive: Archive) -> tuple[str, str, str]:
    """Return access key, secret key and endpoint of an archive."""
    return setting(archive.access) or "", setting(archive.secret) or "", setting(archive.elsewhere) or archive.endpoint


@lru_cache(maxsize=8)
def _archive_client(archive: Archive, access: str, secret: str, endpoint: str) -> Any:
    # An archive is asked politely: fewer connections, and as many attempts as servers over http get.
    polite = Config(
        retries={"max_attempts": http.manners().retries + 1, "mode": "standard"},
        max_pool_connections=archive.connections,
        s3={"addressing_style": "path"},
    )
    return _client(_archive_session(access, secret), {"endpoint_url": endpoint, "config": _config().merge(polite)})


@lru_cache(maxsize=8)
def _archive_session(access: str, secret: str) -> boto3.session.Session:
    return boto3.session.Session(aws_access_key_id=access, aws_secret_access_key=secret, region_name="default")


def _client(session: boto3.session.Session, options: dict[str, Any]) -> Any:
    return session.client("s3", **{"config": _config(), "region_name": session.region_name or "us-east-1", **options})


def _config() -> Config:
    # Every object's SHA-256 stands in its manifest; a second checksum in transport would cost as much time as the transport itself.
    return Config(
        retries={"max_attempts": 6, "mode": "standard"},
        max_pool_connections=16,
        connect_timeout=10,
        read_timeout=120,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
