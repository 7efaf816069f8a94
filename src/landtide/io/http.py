"""Asking servers over http(s): not too often, not too many at a time, and again where it is worth it.

One way for searches, tokens and images: a 429, a 5xx, a broken connection, a body that ends early or trickles is asked for again after
a pause that doubles and is spread at random, or that the server names (``Retry-After``). The number of connections and the rate hold
for one host over all processes of a user on this machine.
"""

import fcntl
import logging
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from io import TextIOWrapper
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from landtide.core.study import Requests
from landtide.io.environment import setting

log = logging.getLogger(__name__)

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, seconds without a byte."""

SLOWEST = 1024
"""Bytes a second; a body that stays below it for `SLOW_SECONDS` is given up: each of its bytes comes before the timeout above."""

SLOW_SECONDS = 20.0

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes that may be another the next time."""

PAUSE = 0.5
"""Seconds before the second attempt, doubled for each further one."""

LONGEST_PAUSE = 120.0
"""Seconds that a server's ``Retry-After`` may ask for at most."""

PIECE = 2**20

LOOK = 0.02
"""Seconds between two looks for a free connection."""

BEARERS = {".earthdata.nasa.gov": "EARTHDATA_TOKEN", ".earthdatacloud.nasa.gov": "EARTHDATA_TOKEN"}
"""End of a host's name -> setting that holds the token it asks for. Source: NASA Earthdata Login, user tokens."""

_BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)

_manners = Requests()


def behave(manners: Requests) -> None:
    """Set how servers are asked from now on in this process."""
    global _manners
    _manners = manners


def manners() -> Requests:
    """Return how servers are asked."""
    return _manners


@lru_cache(maxsize=1)
def session() -> "Session":
    """Return the session of this process."""
    found = Session()
    for scheme in ("http://", "https://"):
        found.mount(scheme, HTTPAdapter(max_retries=0, pool_maxsize=64))
    return found


def bearer(uri: str) -> str | None:
    """Return the token that a URI's host asks for, None where it asks for none or none is set."""
    host = f".{urlsplit(uri).hostname or ''}"
    return next((setting(name) for end, name in BEARERS.items() if host.endswith(end)), None)


class Session(requests.Session):  # type: ignore[misc]
    """A session that is polite and patient."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, again where it fails in passing; the last answer or error counts."""
        streamed, url = bool(options.get("stream")), str(request.url)
        token = bearer(url)
        if token is not None and "Authorization" not in request.headers:
            request.headers["Authorization"] = f"Bearer {token}"

        def attempt() -> requests.Response:
            with connection(url):
                answer = super(Session, self).send(request, **{"timeout": TIMEOUT, **options, "stream": True})
                if not streamed:
                    answer._content = b"".join(pieces(answer))
                    answer._content_consumed = True
            return answer

        return patiently(attempt, url)


def patiently(attempt: Callable[[], requests.Response], url: str) -> requests.Response:
    """Return an attempt's answer, made again while it fails in passing and the manners allow."""
    for count in range(_manners.retries + 1):
        last = count == _manners.retries
        try:
            answer = attempt()
        except _BROKEN as error:
            if last:
                raise
            why, pause = type(error).__name__, backoff(count)
        else:
            if last or answer.status_code not in AGAIN:
                return answer
            why, pause = str(answer.status_code), max(asked_pause(answer), backoff(count))
            answer.close()
        log.info("%s: %s, asked again in %.1f s", urlsplit(url).netloc, why, pause)
        time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def backoff(count: int) -> float:
    """Return the seconds to wait after an attempt (from 0), drawn at random so that clients do not come back all at once."""
    return random.uniform(0.5, 1.5) * PAUSE * 2.0**count


def asked_pause(answer: requests.Response) -> float:
    """Return the seconds that an answer's ``Retry-After`` asks for, given as a number or as a date; 0 where it asks for none."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        seconds = float(text)
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (TypeError, ValueError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def pieces(answer: requests.Response) -> Iterator[bytes]:
    """Yield an answer's body as it comes.

    Raises requests.ConnectionError where it ends before its length, requests.Timeout where it stalls or trickles.
    """
    raw, since, count = answer.raw, time.monotonic(), 0
    try:
        while piece := raw.read1(PIECE, decode_content=True):
            yield piece
            count += len(piece)
            passed = time.monotonic() - since
            if passed > SLOW_SECONDS:
                if count < SLOWEST * passed:
                    answer.close()
                    raise requests.exceptions.ReadTimeout(f"only {count} bytes in {passed:.0f} s")
                since, count = time.monotonic(), 0
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.exceptions.ReadTimeout(str(error)) from error
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError(f"body broke off: {error}") from error


def save(uri: str, local: Path) -> requests.Response:
    """Write the body behind a URI into a local file, begun again where it breaks; return the answer, whose status may tell a failure."""

    def attempt() -> requests.Response:
        with connection(uri), session().get(uri, stream=True) as answer, local.open("wb") as file:
            if answer.ok:
                for piece in pieces(answer):
                    file.write(piece)
        return answer

    return patiently(attempt, uri)


@contextmanager
def connection(uri: str, most: int | None = None) -> Iterator[None]:
    """Hold one of the connections that a host allows, and keep its rate; within it, the same thread holds no second one.

    most  connections that the host allows, where it is fewer than the manners
    """
    host = urlsplit(uri).netloc
    held: set[str] = _HELD.__dict__.setdefault("hosts", set())
    if host in held:
        yield
        return
    with _free(host, min(_manners.connections, most or _manners.connections)):
        held.add(host)
        try:
            time.sleep(_turn(host, _manners.rate))
            yield
        finally:
            held.discard(host)


_HELD = threading.local()


@contextmanager
def _free(host: str, connections: int) -> Iterator[None]:
    """Hold a lock on one of a host's files, one a connection; the system frees it when a process dies."""
    names = [f"{number}" for number in range(connections)]
    while True:
        random.shuffle(names)
        for name in names:
            with _file(host, name) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield
                return
        time.sleep(random.uniform(0.5, 1.5) * LOOK)


def _turn(host: str, rate: float) -> float:
    """Return the seconds until the host may be asked again, and take that turn."""
    with _file(host, "turn") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        now, text = time.monotonic(), file.read()
        turn = max(now, min(float(text or 0), now + LONGEST_PAUSE))  # a turn far ahead is of another boot of the machine
        file.seek(0)
        file.truncate()
        file.write(str(turn + 1 / rate))
    return turn - now


def _file(host: str, name: str) -> TextIOWrapper:
    return (_folder() / f"{sha256(host.encode()).hexdigest()[:16]}.{name}").open("a+")


@lru_cache(maxsize=1)
def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"landtide-hosts-{os.getuid()}"  # by number: a pod's user may have no name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
