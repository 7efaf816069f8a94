"""Objects read by ranges: what reads a part of a large file needs no copy of the whole."""

import io
from typing import TYPE_CHECKING, Any, BinaryIO

from obstore import open_reader
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from landtide.core.errors import InputError
from landtide.io import storage

if TYPE_CHECKING:
    from obstore import ReadableFile

BUFFER = 2**20
"""Bytes that a read asks for at least: smaller requests cost more in waiting than in bytes."""


def s3_store(bucket: str, prefix: str | None = None) -> S3Store:
    """Return obstore's view of a bucket, with boto3's endpoint and credentials."""
    endpoint = storage.custom_endpoint(storage.s3_client())
    session = storage.aws_session()
    config: Any = {"region": session.region_name or "us-east-1"}
    options: Any = {}
    if endpoint is not None:
        config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        options["allow_http"] = endpoint.startswith("http://")
    return S3Store(bucket, prefix=prefix, config=config, client_options=options, credential_provider=Boto3CredentialProvider(session))


def open_seekable(uri: str) -> BinaryIO:
    """Open an object for reading from any place. Raises FileNotFoundError where there is none, InputError for http(s)."""
    path = storage.local_path(uri)
    if path is not None:
        return path.open("rb")
    if not uri.startswith("s3://"):
        raise InputError(f"{uri} cannot be read in parts: copy it to a folder or to s3://")
    storage.size(uri)  # a missing object, or one that may not be read, is named here
    bucket, key = storage.split_s3(uri)
    return io.BufferedReader(_Ranges(open_reader(s3_store(bucket), key, buffer_size=BUFFER)), BUFFER)


class _Ranges(io.RawIOBase):
    """obstore's reader as a file of the standard library."""

    def __init__(self, reader: "ReadableFile") -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = memoryview(self._reader.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()
