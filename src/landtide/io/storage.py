"""Objects by URI: read, write atomically, hash. One way for folders and for S3; http(s) is read only."""

import errno
import hashlib
import json
import mimetypes
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import botocore.exceptions
import requests
from boto3.s3.transfer import TransferConfig

from landtide.core.errors import InputError, LandtideError
from landtide.io import http, s3
from landtide.io.s3 import aws_session, custom_endpoint, s3_client

__all__ = ["aws_session", "custom_endpoint", "s3_client"]

TRANSFER = TransferConfig(multipart_threshold=64 * 2**20, multipart_chunksize=32 * 2**20, max_concurrency=8)
"""Most objects of a run lie below 64 MiB: one request instead of three (create, part, complete) each."""

STREAM_PIECE = 4 * 2**20
"""Bytes read at once from a store."""

STREAM_ATTEMPTS = 5
STREAM_ERRORS = (
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ReadTimeoutError,
    botocore.exceptions.ResponseStreamingError,
)
"""A body that ends before its length, or stalls."""

MEDIA_TYPES = {
    ".js": "text/javascript",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".qml": "application/xml",
    ".parquet": "application/vnd.apache.parquet",
}
"""What the system's table of media types may lack or tell otherwise."""

NO_HEAD = {403, 405, 501}
"""Answers to HEAD that GET may not have."""

NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS}
DENIED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthFailure"}
MISSING = {"404", "NoSuchKey", "NotFound"}


class UnreachableError(LandtideError):
    """A server does not answer, or answers with a failure of its own: the same request may succeed later."""


class RefusedError(UnreachableError):
    """A server refuses access: a token is missing, wrong or over."""


def join(uri: str, *parts: str) -> str:
    """Append path parts to a URI; ``./a`` counts as ``a``."""
    return "/".join([uri.rstrip("/"), *(part.removeprefix("./").strip("/") for part in parts)])


def parent(uri: str) -> str:
    """Return the folder of an object's URI."""
    return uri.rstrip("/").rsplit("/", 1)[0]


def is_remote(uri: str) -> bool:
    """Say whether a URI lies outside this machine's file system."""
    return uri.startswith(("s3://", "http://", "https://"))


def local_path(uri: str) -> Path | None:
    """Return the path behind a local URI, None for a remote one."""
    if is_remote(uri):
        return None
    if uri.startswith("file://"):
        return Path(unquote(uri.removeprefix("file://")))
    if "://" in uri:
        raise InputError(f"URI {uri!r} has an unknown scheme: use a path, file://, s3:// or http(s)://")
    return Path(uri)


def read_bytes(uri: str) -> bytes:
    """Return an object's bytes. Raises FileNotFoundError where there is none."""
    path = local_path(uri)
    if path is not None:
        return path.read_bytes()
    if uri.startswith("s3://"):
        bucket, key = split_s3(uri)
        with s3_errors(uri), s3.connection(uri):
            body: bytes = s3.client_of(uri).get_object(Bucket=bucket, Key=key)["Body"].read()
            return body
    with http_errors(uri):
        answer = http.session().get(uri)
        answer.raise_for_status()
        content: bytes = answer.content
        return content


def read_range(uri: str, start: int, stop: int) -> bytes:
    """Return the bytes from `start` up to `stop` (not included) of a local object or one in S3. Raises FileNotFoundError."""
    if start >= stop:
        return b""
    path = local_path(uri)
    if path is not None:
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(stop - start)
    bucket, key = split_s3(uri)
    with s3_errors(uri):
        answer = s3_client().get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}")
        body: bytes = answer["Body"].read()
        return body


def read_text(uri: str) -> str:
    """Return an object's text (UTF-8). Raises FileNotFoundError, or InputError where it is no text."""
    try:
        return read_bytes(uri).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{uri} is no UTF-8 text ({error.reason} at byte {error.start})") from error


def read_json(uri: str) -> Any:
    """Return the value of a JSON object. Raises FileNotFoundError, or InputError where it is no JSON."""
    try:
        return json.loads(read_text(uri))
    except json.JSONDecodeError as error:
        raise InputError(f"{uri} is no JSON: {error}") from error


def exists(uri: str) -> bool:
    """Say whether an object is there, by one look at it and never by a listing."""
    path = local_path(uri)
    if path is not None:
        return path.exists()
    try:
        size(uri)
    except FileNotFoundError:
        return False
    return True


def size(uri: str) -> int:
    """Return an object's size in bytes. Raises FileNotFoundError where there is none."""
    path = local_path(uri)
    if path is not None:
        return path.stat().st_size
    return int(head(uri)["size"] or 0)


def head(uri: str) -> dict[str, Any]:
    """Return ``size`` (bytes, None if untold), ``etag`` and ``modified`` (empty if untold) of a remote object.

    Raises FileNotFoundError where there is none.
    """
    if uri.startswith("s3://"):
        bucket, key = split_s3(uri)
        with s3_errors(uri), s3.connection(uri):
            answer = s3.client_of(uri).head_object(Bucket=bucket, Key=key)
        return {"size": int(answer["ContentLength"]), "etag": str(answer.get("ETag", "")).strip('"'), "modified": ""}
    with http_errors(uri):
        response = http.session().head(uri, allow_redirects=True)
        if response.status_code in NO_HEAD:  # signed for GET alone, or not known to the server
            response = http.session().get(uri, headers={"Range": "bytes=0-0"})
        response.raise_for_status()
    length = response.headers.get("Content-Range", "").rpartition("/")[2] or response.headers.get("Content-Length")
    told = {"etag": response.headers.get("ETag", "").strip('"'), "modified": response.headers.get("Last-Modified", "")}
    return {"size": int(length) if length and length.isdigit() else None, **told}


def write_bytes(uri: str, data: bytes) -> None:
    """Write an object so that a reader sees the old one or the new one whole, never a part."""
    path = local_path(uri)
    if path is None:
        bucket, key = _writable_s3(uri)
        with s3_errors(uri):
            s3_client().put_object(Bucket=bucket, Key=key, Body=data, ContentType=content_type(uri))
        return
    with _temporary(path) as temporary:
        temporary.write_bytes(data)
        _sync(temporary)
        temporary.replace(path)


def write_json(uri: str, record: Any) -> None:
    """Write a value as JSON, keys in the order given."""
    write_bytes(uri, json_bytes(record))


def json_bytes(record: Any) -> bytes:
    """Return a value as readable JSON; NaN is refused, since JSON has none."""
    return (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def create(uri: str, data: bytes) -> bool:
    """Write an object only where there is none; return whether we were the first.

    Folders: a hard link, which the file system makes only once. S3: a conditional PUT; where the server knows none, a look
    before and after the PUT, which leaves a window of milliseconds in which the last writer wins.
    """
    path = local_path(uri)
    if path is None:
        return _create_s3(uri, data)
    with _temporary(path) as temporary:
        temporary.write_bytes(data)
        _sync(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def upload(local: Path, uri: str) -> None:
    """Store a local file under a URI, atomically; the local file stays."""
    path = local_path(uri)
    if path is None:
        bucket, key = _writable_s3(uri)
        with s3_errors(uri):
            if local.stat().st_size < TRANSFER.multipart_threshold:  # past the transfer manager, whose threads and copies cost a third
                with local.open("rb") as file:
                    s3_client().put_object(Bucket=bucket, Key=key, Body=file, ContentType=content_type(uri))
            else:
                s3_client().upload_file(str(local), bucket, key, Config=TRANSFER, ExtraArgs={"ContentType": content_type(uri)})
        return
    with _temporary(path) as temporary:
        shutil.copyfile(local, temporary)
        _sync(temporary)
        temporary.replace(path)


def download(uri: str, local: Path) -> None:
    """Copy an object into a local file, atomically. Raises FileNotFoundError where there is none."""
    path = local_path(uri)
    with _temporary(local) as temporary:
        if path is not None:
            shutil.copyfile(path, temporary)
        elif uri.startswith("s3://"):
            bucket, key = split_s3(uri)
            with s3_errors(uri), s3.connection(uri):
                _download_s3(s3.client_of(uri), bucket, key, temporary)
        else:
            _download_http(uri, temporary)
        temporary.replace(local)


def delete(uri: str) -> None:
    """Remove an object, or nothing where there is none."""
    path = local_path(uri)
    if path is not None:
        path.unlink(missing_ok=True)
        return
    bucket, key = _writable_s3(uri)
    with s3_errors(uri):
        s3_client().delete_object(Bucket=bucket, Key=key)


def walk(uri: str) -> Iterator[str]:
    """Yield the names of the objects under a folder, relative to it: to copy it. What is done is never looked for in this way."""
    path = local_path(uri)
    if path is not None:
        yield from (file.relative_to(path).as_posix() for file in sorted(path.rglob("*")) if file.is_file())
        return
    bucket, prefix = split_s3(uri.rstrip("/") + "/")
    with s3_errors(uri), s3.connection(uri):
        for page in s3.client_of(uri).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from (entry["Key"].removeprefix(prefix) for entry in page.get("Contents", []))


def sha256(uri: str) -> str:
    """Return the SHA-256 of an object as a hex string, read in pieces."""
    path = local_path(uri)
    if path is None:
        return digest(read_bytes(uri))
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes as a hex string."""
    return hashlib.sha256(data).hexdigest()


def check_writable(uri: str) -> None:
    """Write and remove a small object under a URI.

    Raises InputError that says what is wrong: no permission, disk full, wrong credentials, no such bucket.
    """
    probe = join(uri, ".landtide-write-test")
    try:
        write_bytes(probe, b"landtide")
        delete(probe)
    except NotADirectoryError as error:
        raise InputError(f"workspace {uri} is no folder: {error.filename} is a file. Correct `workspace` in the study file") from error


@contextmanager
def explain_os_errors(uri: str) -> Iterator[None]:
    """Turn a full disk or a missing permission into InputError: both are the user's to mend."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise InputError(f"no space left on the disk of {uri}: free some, or choose another workspace") from error
        if error.errno in NO_ACCESS:
            raise InputError(
                f"no permission to write {uri} ({error.strerror}): choose another workspace, or change its permissions"
            ) from error
        raise


@contextmanager
def s3_errors(uri: str) -> Iterator[None]:
    """Turn botocore's errors into FileNotFoundError, InputError (credentials, bucket) or LandtideError (the rest)."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        _raise_client_error(uri, error)
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as error:
        raise InputError(f"no credentials for {uri}: {_s3_hint(uri)}") from error
    except botocore.exceptions.EndpointConnectionError as error:
        raise InputError(f"no object store answers for {uri} ({error}): check AWS_ENDPOINT_URL and the network") from error
    except botocore.exceptions.ParamValidationError as error:
        raise InputError(f"{uri} is no valid S3 URI: {' '.join(str(error).split())}") from error
    except botocore.exceptions.BotoCoreError as error:
        raise UnreachableError(f"object store failed for {uri}: {error}") from error


@contextmanager
def http_errors(uri: str) -> Iterator[None]:
    """Turn requests' errors into FileNotFoundError, RefusedError or UnreachableError; a query, which may hold a token, is left out."""
    plain = uri.partition("?")[0]
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (404, 410):
            raise FileNotFoundError(errno.ENOENT, "no such object", plain) from error
        if status in (401, 403):
            raise RefusedError(f"{plain} is refused ({status}){_key_hint(uri)}") from error
        raise UnreachableError(f"{plain} answers {status}: its server fails or is overloaded") from error
    except requests.RequestException as error:
        raise UnreachableError(f"{plain} cannot be read: {' '.join(str(error).split())[:160].replace(uri, plain)}") from error


def content_type(uri: str) -> str:
    """Return the media type of an object by its name: a bucket that serves web pages hands it to browsers."""
    suffix = PurePosixPath(uri).suffix.lower()
    return MEDIA_TYPES.get(suffix) or mimetypes.guess_type(uri)[0] or "application/octet-stream"


def split_s3(uri: str) -> tuple[str, str]:
    """Return bucket and key of an ``s3://`` URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise InputError(f"{uri!r} names no bucket: write s3://BUCKET/PREFIX")
    return bucket, key


def _key_hint(uri: str) -> str:
    """Return what to set for a host that asks for a token."""
    host = f".{urlsplit(uri).hostname or ''}"
    name = next((name for end, name in http.BEARERS.items() if host.endswith(end)), None)
    return f": set {name} to a valid token" if name else ""


def _raise_client_error(uri: str, error: botocore.exceptions.ClientError) -> NoReturn:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code == "NoSuchBucket":
        raise InputError(f"bucket of {uri} does not exist: create it, or correct the URI") from error
    if code in MISSING:
        raise FileNotFoundError(errno.ENOENT, "no such object", uri) from error
    if code in DENIED:
        raise InputError(f"object store refuses access to {uri} ({code}): {_s3_hint(uri)}") from error
    raise UnreachableError(f"object store failed for {uri}: {error}") from error


def _s3_hint(uri: str) -> str:
    """Return which keys to set for a bucket."""
    own = next((archive for archive in s3.ARCHIVES if uri.startswith(f"s3://{archive.bucket}/")), None)
    if own is not None:
        return f"set {own.access} and {own.secret} to the keys of {own.name}"
    return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys with access, or run with an instance role"


def _create_s3(uri: str, data: bytes) -> bool:
    bucket, key = _writable_s3(uri)
    try:
        with s3_errors(uri):
            s3_client().put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*", ContentType=content_type(uri))
    except LandtideError as error:
        code = str(getattr(error.__cause__, "response", {}).get("Error", {}).get("Code", ""))
        if code in ("PreconditionFailed", "412", "ConditionalRequestConflict", "409"):
            return False
        if code not in ("NotImplemented", "501"):
            raise
        if exists(uri):
            return False
        write_bytes(uri, data)
    return read_bytes(uri) == data


def _writable_s3(uri: str) -> tuple[str, str]:
    if not uri.startswith("s3://"):
        raise InputError(f"{uri} cannot be written: results go to a folder or to s3://")
    return split_s3(uri)


def _download_s3(client: Any, bucket: str, key: str, local: Path) -> None:
    """Fetch an object in one stream where it is small, in parallel ranges where it is large; a stream that breaks is begun again."""
    for attempt in range(STREAM_ATTEMPTS):
        answer = client.get_object(Bucket=bucket, Key=key)
        if answer["ContentLength"] >= TRANSFER.multipart_threshold:
            answer["Body"].close()
            client.download_file(bucket, key, str(local), Config=TRANSFER)
            return
        try:
            with local.open("wb") as file:
                shutil.copyfileobj(answer["Body"], file, STREAM_PIECE)
            return
        except STREAM_ERRORS:
            if attempt == STREAM_ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.5 * 2**attempt))


def _download_http(uri: str, local: Path) -> None:
    with http_errors(uri):
        http.save(uri, local).raise_for_status()


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Lend a temporary name beside a path: a rename is atomic only within one file system."""
    with explain_os_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{PurePosixPath(path).name}.", dir=path.parent)
        os.close(handle)
        Path(name).chmod(0o644)  # mkstemp makes files private; results are for others to read
        try:
            yield Path(name)
        finally:
            with suppress(FileNotFoundError):
                Path(name).unlink()


def _sync(path: Path) -> None:
    """Make sure that the bytes are on the disk before the name points at them."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
