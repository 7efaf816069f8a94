"""A Kubeflow Pipelines API (v2beta1) on loopback: experiments, runs whose course a test writes beforehand, recurring runs."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Record = dict[str, Any]


class FakeKubeflow:
    """The state of the service."""

    def __init__(self) -> None:
        self.multi_user = False
        self.token: str | None = None
        self.experiments: list[Record] = []
        self.runs: list[Record] = []
        self.recurring: list[Record] = []
        self.course: list[Record] = []
        """What a run shows, one entry a look; the last stays."""

        self.faults: list[int] = []
        """Status codes for the next looks at a run; 0 drops the connection."""

        self.requests: list[tuple[str, str]] = []
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: FakeKubeflow

    def do_GET(self) -> None:
        words, query = self._begin("GET")
        api = self.api
        match words:
            case None:
                return
            case ["healthz"]:
                self._json(200, {"multi_user": api.multi_user, "api_server_ready": True})
            case ["experiments"]:
                namespace = query.get("namespace", "")
                self._json(200, {"experiments": [item for item in api.experiments if item.get("namespace", "") == namespace]})
            case ["runs"]:
                self._json(200, {"runs": list(reversed(api.runs))})
            case ["runs", run_id]:
                self._run(run_id)
            case ["recurringruns"]:
                self._json(200, {"recurringRuns": api.recurring})
            case _:
                self._json(404, {"error": "not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        words, _ = self._begin("POST")
        api, made = self.api, {**body, "created_at": "2026-06-01T03:00:00Z"}
        match words:
            case None:
                return
            case ["experiments"]:
                if body.get("namespace") and not api.multi_user:
                    self._json(400, {"error": "In single-user mode, the namespace must be empty"})
                    return
                api.experiments.append(made | {"experiment_id": str(uuid.uuid4())})
                self._json(200, api.experiments[-1])
            case ["runs"]:
                api.runs.append(made | {"run_id": str(uuid.uuid4()), "state": "PENDING"})
                self._json(200, api.runs[-1])
            case ["recurringruns"]:
                api.recurring.append(made | {"recurring_run_id": str(uuid.uuid4()), "status": "ENABLED"})
                self._json(200, api.recurring[-1])
            case _:
                self._json(404, {"error": "not found"})

    def do_DELETE(self) -> None:
        words, _ = self._begin("DELETE")
        if words is not None:
            self.api.recurring = [item for item in self.api.recurring if item["recurring_run_id"] != words[-1]]
            self._json(200, {})

    def _begin(self, method: str) -> tuple[list[str] | None, dict[str, str]]:
        url = urlsplit(self.path)
        self.api.requests.append((method, self.path))
        if self.api.token is not None and self.headers.get("Authorization", "").removeprefix("Bearer ") != self.api.token:
            self._json(401, {"error": "Unauthenticated"})
            return None, {}
        words = url.path.removeprefix("/apis/v2beta1/").strip("/").split("/")
        return words, {key: values[0] for key, values in parse_qs(url.query).items()}

    def _run(self, run_id: str) -> None:
        api = self.api
        if api.faults:
            status = api.faults.pop(0)
            if status:
                self._json(status, {"error": "bad day"})
            else:
                self.close_connection = True
                self.connection.shutdown(2)
            return
        [run] = [item for item in api.runs if item["run_id"] == run_id]
        if api.course:
            run |= api.course.pop(0) if len(api.course) > 1 else api.course[0]
        self._json(200, run)

    def _json(self, status: int, record: Record) -> None:
        data = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


def task(name: str, state: str) -> Record:
    """What a run shows of one of its tasks."""
    times = {"start_time": "2026-06-01T03:00:00Z", "end_time": "2026-06-01T03:01:30Z"}
    return {"task_id": f"id-of-{name}", "display_name": name, "state": state, **times}


def looks(state: str, *tasks: Record, message: str = "") -> Record:
    """What a look at a run shows."""
    return {"state": state, "run_details": {"task_details": list(tasks)}, **({"error": {"code": 2, "message": message}} if message else {})}


@contextmanager
def serving() -> Iterator[FakeKubeflow]:
    """Run the service."""
    api = FakeKubeflow()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": api}))
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
