"""A Kubernetes API on loopback that does what a cluster does on its bad days. It stores objects, lists, watches, and streams logs."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Record = dict[str, Any]

DONE = ("Succeeded", "Failed")


@dataclass
class Fault:
    """An answer in place of the right one, so many times."""

    method: str
    part: str
    status: int
    message: str
    times: int
    headers: dict[str, str] = field(default_factory=dict)


class FakeApi:
    """The state of the cluster; tests change it by hand, as kubelet and operators would."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.version = 100
        self.history: list[tuple[int, str, str, Record]] = []  # version, what, plural, object
        self.things: dict[tuple[str, str, str], Record] = {}  # plural, namespace, name
        self.logs: dict[str, list[str]] = {}
        self.faults: list[Fault] = []
        self.missing: set[str] = set()
        self.tokens = {"good"}
        self.oldest = 0
        """Watches from before this version get 410 Gone."""

        self.generation = 0
        """Watches and logs that began in an earlier generation are cut."""

        self.requests: list[tuple[str, str]] = []

    # what tests do

    def put(self, plural: str, thing: Record, namespace: str = "landtide") -> Record:
        """Make or change an object."""
        with self.changed:
            metadata = thing.setdefault("metadata", {})
            metadata.setdefault("namespace", namespace)
            key = (plural, metadata["namespace"], metadata["name"])
            before = self.things.get(key)
            metadata.setdefault("uid", before["metadata"]["uid"] if before else str(uuid.uuid4()))
            metadata.setdefault("creationTimestamp", before["metadata"]["creationTimestamp"] if before else now())
            self.version += 1
            metadata["resourceVersion"] = str(self.version)
            self.things[key] = thing
            self.history.append((self.version, "MODIFIED" if before else "ADDED", plural, json.loads(json.dumps(thing))))
            self.changed.notify_all()
            return thing

    def remove(self, plural: str, name: str, namespace: str = "landtide") -> None:
        with self.changed:
            thing = self.things.pop((plural, namespace, name))
            self.version += 1
            thing["metadata"]["resourceVersion"] = str(self.version)
            self.history.append((self.version, "DELETED", plural, thing))
            self.changed.notify_all()

    def condition(self, plural: str, name: str, kind: str, message: str = "", namespace: str = "landtide") -> None:
        """Set a condition of a job."""
        with self.changed:
            thing = json.loads(json.dumps(self.things[plural, namespace, name]))
            condition = {"type": kind, "status": "True", "reason": kind, "message": message}
            thing.setdefault("status", {}).setdefault("conditions", []).append(condition)
            self.put(plural, thing, namespace)

    def pod(self, name: str, job: str, *, index: int | None = 0, namespace: str = "landtide", **status: Any) -> None:
        """Make or change a pod of a PyTorchJob."""
        labels = {"training.kubeflow.org/job-name": job}
        if index is not None:
            labels["training.kubeflow.org/replica-index"] = str(index)
        self.put("pods", {"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": "n1"}, "status": status}, namespace)

    def event(self, about: str, reason: str, message: str, *, kind: str = "Pod", age: float = 0.0, namespace: str = "landtide") -> None:
        stamp = now(-age)
        self.put(
            "events",
            {
                "metadata": {"name": f"{about}.{uuid.uuid4().hex[:8]}", "creationTimestamp": stamp},
                "type": "Warning",
                "reason": reason,
                "message": message,
                "lastTimestamp": stamp,
                "count": 1,
                "involvedObject": {"kind": kind, "name": about},
            },
            namespace,
        )

    def write(self, pod: str, *lines: str) -> None:
        """Add lines to a pod's log."""
        with self.changed:
            stamps = [datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z") for _ in lines]
            self.logs.setdefault(pod, []).extend(f"{stamp} {line}" for stamp, line in zip(stamps, lines, strict=True))
            self.changed.notify_all()

    def fail(self, method: str, part: str, status: int, message: str = "", *, times: int = 1, **headers: str) -> None:
        """Answer the next requests whose path has a part with an error. Status 0 drops the connection."""
        self.faults.append(Fault(method, part, status, message, times, {key.replace("_", "-"): value for key, value in headers.items()}))

    def drop(self) -> None:
        """Cut every watch and log."""
        with self.changed:
            self.generation += 1
            self.changed.notify_all()

    def expire(self) -> None:
        """Cut every watch, and forget the versions up to now."""
        with self.changed:
            self.oldest = self.version
            self.drop()

    def names(self, plural: str) -> list[str]:
        with self.changed:
            return sorted(name for kind, _, name in self.things if kind == plural)

    def wait_for(self, plural: str, seconds: float = 10.0) -> str:
        """Return the name of the first object of a kind, once there is one."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not any(kind == plural for kind, _, _ in self.things):
                left = deadline - time.monotonic()
                assert left > 0, f"nobody made one of {plural}"
                self.changed.wait(left)
        return self.names(plural)[0]


def now(shift: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=shift)).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: FakeApi

    def do_GET(self) -> None:
        place = self._begin("GET")
        if place is None:
            return
        plural, namespace, name, rest, query = place
        if rest == "log":
            self._log(str(name), namespace, query)
        elif name is not None:
            with self.api.changed:
                thing = self.api.things.get((plural, namespace, name))
            self._status(404, f'{plural} "{name}" not found') if thing is None else self._json(200, thing)
        elif query.get("watch") == "True":
            self._watch(plural, namespace, query)
        else:
            with self.api.changed:
                items = [thing for key, thing in self.api.things.items() if key[:2] == (plural, namespace) and _matches(thing, query)]
                self._json(200, {"items": items, "metadata": {"resourceVersion": str(self.api.version)}})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length) or "{}")
        place = self._begin("POST")
        if place is None:
            return
        plural, namespace = place[:2]
        with self.api.changed:
            if (plural, namespace, body["metadata"]["name"]) in self.api.things:
                self._status(409, f'{plural} "{body["metadata"]["name"]}" already exists')
            else:
                self._json(201, self.api.put(plural, body, namespace))

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        place = self._begin("DELETE")
        if place is None:
            return
        plural, namespace, name = place[:3]
        with self.api.changed:
            if (plural, namespace, name) not in self.api.things:
                self._status(404, f'{plural} "{name}" not found')
            else:
                self.api.remove(plural, str(name), namespace)
                self._json(200, {"kind": "Status", "status": "Success"})

    def _begin(self, method: str) -> tuple[str, str, str | None, str, dict[str, str]] | None:
        """Check token and faults; return plural, namespace, name, what follows, and the query."""
        url = urlsplit(self.path)
        self.api.requests.append((method, self.path))
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.api.tokens:
            self._status(401, "Unauthorized")
            return None
        fault = next((fault for fault in self.api.faults if fault.method == method and fault.part in self.path and fault.times > 0), None)
        if fault is not None:
            fault.times -= 1
            if fault.status == 0:
                self.close_connection = True
                self.connection.shutdown(2)
            else:
                self._status(fault.status, fault.message, fault.headers)
            return None
        words = url.path.strip("/").split("/")
        words = words[2:] if words[0] == "api" else words[3:]  # api/v1 | apis/GROUP/VERSION
        _, namespace, plural, *more = words
        if plural in self.api.missing:
            self._status(404, "the server could not find the requested resource")
            return None
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        return plural, namespace, more[0] if more else None, more[1] if len(more) > 1 else "", query

    def _watch(self, plural: str, namespace: str, query: dict[str, str]) -> None:
        api, since = self.api, int(query.get("resourceVersion", "0"))
        deadline, sent = time.monotonic() + float(query["timeoutSeconds"]), since
        self._chunked()
        with api.changed:
            generation = api.generation
            if since < api.oldest:
                self._chunk({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}})
                self._end()
                return
        while time.monotonic() < deadline:
            with api.changed:
                if api.generation != generation:
                    self.close_connection = True  # cut, without the last chunk
                    self.connection.shutdown(2)
                    return
                fresh = [entry for entry in api.history if entry[0] > sent and entry[2] == plural and _matches(entry[3], query)]
                if not fresh:
                    api.changed.wait(0.2)
            for version, what, _, thing in fresh:
                sent = version
                if thing["metadata"]["namespace"] == namespace and not self._chunk({"type": what, "object": thing}):
                    return
        self._end()

    def _log(self, name: str, namespace: str, query: dict[str, str]) -> None:
        api = self.api
        with api.changed:
            known = ("pods", namespace, name) in api.things
            lines, generation = list(api.logs.get(name, [])), api.generation
        if not known:
            self._status(404, f'pods "{name}" not found')
            return
        if query.get("follow") != "True":
            lines = lines[-int(query.get("tailLines", "1000000")) :]
            text = "\n".join(line if query.get("timestamps") else line.partition(" ")[2] for line in lines)
            self._bytes(200, text.encode(), "text/plain")
            return
        self._chunked()
        sent = 0
        while True:
            with api.changed:
                if api.generation != generation:
                    self.close_connection = True
                    self.connection.shutdown(2)
                    return
                fresh = api.logs.get(name, [])[sent:]
                ended = api.things.get(("pods", namespace, name), {}).get("status", {}).get("phase") in (*DONE, None)
                if not fresh and not ended:
                    api.changed.wait(0.2)
            sent += len(fresh)
            if fresh and not self._chunk("\n".join(fresh)):
                return
            if ended and not fresh:
                self._end()
                return

    def _chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, thing: Record | str) -> bool:
        data = (thing if isinstance(thing, str) else json.dumps(thing)).encode() + b"\n"
        try:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        except OSError:
            self.close_connection = True
            return False
        return True

    def _end(self) -> None:
        try:
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def _status(self, code: int, message: str, headers: dict[str, str] | None = None) -> None:
        self._json(code, {"kind": "Status", "status": "Failure", "code": code, "message": message}, headers)

    def _json(self, code: int, thing: Record, headers: dict[str, str] | None = None) -> None:
        self._bytes(code, json.dumps(thing).encode(), "application/json", headers)

    def _bytes(self, code: int, data: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


def _matches(thing: Record, query: dict[str, str]) -> bool:
    labels = thing["metadata"].get("labels", {})
    wanted = [item.split("=") for item in query.get("labelSelector", "").split(",") if item]
    name = query.get("fieldSelector", "").removeprefix("metadata.name=")
    return all(labels.get(key) == value for key, value in wanted) and name in ("", thing["metadata"]["name"])


@contextmanager
def serving(folder: Path) -> Iterator[tuple[FakeApi, Path]]:
    """Run an API; lend it, and a kubeconfig whose token lies in the file ``token`` beside it."""
    api = FakeApi()
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    (folder / "token").write_text("good")
    config = folder / "kubeconfig"
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "fake",
                "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "fake", "user": {"tokenFile": str(folder / "token")}}],
                "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            }
        )
    )
    try:
        yield api, config
    finally:
        api.drop()
        server.shutdown()
        server.server_close()
