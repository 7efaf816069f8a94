"""A file server and STAC API on loopback that misbehaves as it is told, once or for ever."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Fault = Callable[["Handler", bytes], None]
"""What a request gets in place of its right answer, which is given."""


@dataclass
class Unruly:
    """What a server holds, and how it misbehaves."""

    folder: Path
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    """End of a path (or ``GET``/``HEAD`` and it) -> what the next requests for it get, one each."""

    always: dict[str, Fault] = field(default_factory=dict)
    """The same for every request."""

    pages: list[dict[str, Any]] = field(default_factory=list)
    """Answers to searches, one after the other; then empty ones."""

    asked: list[tuple[str, str, dict[str, str], float]] = field(default_factory=list)
    """Method, path, headers and time of every request."""

    most: int = 0
    """Requests that were open at the same time, at most."""

    open: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def paths(self, method: str = "GET", end: str = "") -> list[str]:
        return [path for one, path, _, _ in self.asked if one == method and path.partition("?")[0].endswith(end)]

    def fault(self, method: str, path: str) -> Fault | None:
        plain = path.partition("?")[0]
        for faults in (self.faults, self.always):
            for key, value in faults.items():
                verb, _, end = key.rpartition(" ")
                if plain.endswith(end) and verb in ("", method):
                    if callable(value):
                        return value
                    if value:
                        return value.pop(0)
        return None


def refuse(status: int, **headers: str) -> Fault:
    """Answer with a status and headers (``Retry_After``)."""

    def give(handler: "Handler", data: bytes) -> None:
        handler.answer(status, b"", {name.replace("_", "-"): value for name, value in headers.items()})

    return give


def cut(handler: "Handler", data: bytes) -> None:
    """Break off in the middle of the body."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2])
    handler.close_connection = True


def trickle(handler: "Handler", data: bytes) -> None:
    """Give a byte now and then, for ten seconds at most."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    for number in range(100):
        handler.wfile.write(data[number : number + 1])
        handler.wfile.flush()
        time.sleep(0.1)
    handler.close_connection = True


def other(data: bytes) -> Fault:
    """Give other bytes than are there."""
    return lambda handler, _: handler.answer(200, data, {})


class Handler(BaseHTTPRequestHandler):
    """Files with ranges and ETags, and recorded pages of searches."""

    unruly: Unruly
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._serve()

    def _serve(self) -> None:
        state = self.unruly
        with state.lock:
            state.asked.append((self.command, self.path, dict(self.headers), time.monotonic()))
            state.open += 1
            state.most = max(state.most, state.open)
            fault = state.fault(self.command, self.path)
            data = self._data()
        try:
            if fault is not None:
                fault(self, data or b"")
            elif data is None:
                self.answer(404, b"", {})
            else:
                self._give(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with state.lock:
                state.open -= 1

    def _data(self) -> bytes | None:
        state, path = self.unruly, self.path.partition("?")[0]
        if self.command == "POST":
            page = state.pages.pop(0) if state.pages else {"type": "FeatureCollection", "features": [], "links": []}
            return json.dumps(page).encode()
        if path in ("", "/"):
            return json.dumps(self._landing()).encode()
        file = state.folder / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None

    def _landing(self) -> dict[str, Any]:
        home = self.unruly.url
        classes = ["core", "collections", "ogcapi-features", "item-search", "item-search#query"]
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "unruly",
            "description": "unruly",
            "conformsTo": [f"https://api.stacspec.org/v1.0.0/{name}" for name in classes],
            "links": [
                {"rel": "self", "href": home},
                {"rel": "root", "href": home},
                {"rel": "search", "href": f"{home}/search", "method": "POST", "type": "application/geo+json"},
            ],
        }

    def _give(self, data: bytes) -> None:
        asked, headers = self.headers.get("Range"), {"Accept-Ranges": "bytes", "ETag": f'"{hash(data) & 0xFFFFFFFF:x}"'}
        if asked is None:
            self.answer(200, data, headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
        self.answer(206, data[start : end + 1], {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"})

    def answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def serving(folder: Path) -> Iterator[Unruly]:
    """Serve a folder."""
    state = Unruly(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"unruly": state}))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
