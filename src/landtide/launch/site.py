"""A published folder as a web site on the loopback interface, out of a folder or an object store."""

import mimetypes
import posixpath
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from landtide.core.errors import LandtideError
from landtide.io import storage

HOST = "127.0.0.1"


def server(published: str, port: int) -> ThreadingHTTPServer:
    """Return a server of a published folder; port 0 takes a free one. The caller runs and closes it."""
    handler = type("Handler", (_Handler,), {"published": published})
    try:
        return ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        raise LandtideError(f"port {port} cannot be used ({error.strerror}): choose another by --port") from error


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
        try:
            data = storage.read_bytes(storage.join(self.published, name or "index.html"))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        part = _byte_range(self.headers.get("Range"), len(data))
        self.send_response(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK)
        if part:
            self.send_header("Content-Range", f"bytes {part.start}-{part.stop - 1}/{len(data)}")
            data = data[part.start : part.stop]
        self.send_header("Content-Type", mimetypes.guess_type(name or "index.html")[0] or "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        if body:
            self.wfile.write(data)

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
