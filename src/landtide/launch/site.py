"""A published folder as a web site, out of a folder or an object store: on the loopback interface, or for a cluster."""

import posixpath
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from landtide.core.errors import LandtideError
from landtide.io import storage

HOST = "127.0.0.1"

HEALTH = "healthz"
"""Answered even before anything is published, so that a cluster can tell a living server from a dead one."""

PIECE = 4 * 2**20
"""Bytes of an object in memory at once, a request: maps may be larger than the server's memory."""


def server(published: str, port: int, host: str = HOST) -> ThreadingHTTPServer:
    """Return a server of a published folder; port 0 takes a free one. The caller runs and closes it."""
    handler = type("Handler", (_Handler,), {"published": published})
    try:
        return ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise LandtideError(f"port {port} cannot be used on {host} ({error.strerror}): choose another by --port") from error


def save(published: str, folder: Path) -> None:
    """Copy a published site into a local folder."""
    for name in storage.walk(published):
        storage.download(storage.join(published, name), folder / name)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD, with one byte range where it is asked for: browsers read GeoTIFFs in pieces."""

    published: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        name = posixpath.normpath("/" + unquote(urlsplit(self.path).path)).lstrip("/")
        if name == HEALTH:
            self._head(HTTPStatus.OK, "text/plain", 0)
            return
        uri = storage.join(self.published, name or "index.html")
        try:
            size = storage.size(uri)
            wanted = _byte_range(self.headers.get("Range"), size)
            part = wanted or range(size)
            piece = storage.read_range(uri, part.start, min(part.start + PIECE, part.stop))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        except LandtideError as error:
            self.send_error(HTTPStatus.BAD_GATEWAY, explain=str(error))
            return
        told = f"bytes {part.start}-{part.stop - 1}/{size}" if wanted else None
        self._head(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK, storage.content_type(uri), len(part), told)
        start = part.start
        while body and piece:
            self.wfile.write(piece)
            start += len(piece)
            piece = storage.read_range(uri, start, min(start + PIECE, part.stop))

    def _head(self, status: HTTPStatus, media_type: str, length: int, part: str | None = None) -> None:
        self.send_response(status)
        if part:
            self.send_header("Content-Range", part)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(length))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay silent: the user reads the terminal for the address, not for requests."""


def _byte_range(header: str | None, size: int) -> range | None:
    """Return the bytes that a Range header asks for, None for all (none asked for, or a form that we need not know)."""
    if header is None or not header.startswith("bytes=") or "," in header:
        return None
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not (first or last) or not (first + last).isdigit():
        return None
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    return range(start, stop) if start < stop else None
