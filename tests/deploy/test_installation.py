"""What `helm test` runs, against an API server, a KFP and a viewer that are there, refuse, or know less than they should."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from landtide.io import storage
from landtide.launch import installation, site

GROUPS = ["kubeflow.org/v1", "trainer.kubeflow.org/v1alpha1", "batch/v1", "scheduling.x-k8s.io/v1alpha1", "kubernetes.dask.org/v1"]


class Api(ThreadingHTTPServer):
    """As much of an API server as answers who may do what, and which groups there are; and of KFP as says that it is well."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.groups = list(GROUPS)
        self.refused: set[tuple[str, str]] = set()
        self.asked: list[dict[str, Any]] = []
        self.healthy = True


class _Answer(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        if self.path == "/apis/v2beta1/healthz":
            self._send(200 if self.server.healthy else 503, {"multi_user": False})
            return
        groups = [{"name": v.split("/")[0], "versions": [{"groupVersion": v, "version": v.split("/")[1]}]} for v in self.server.groups]
        self._send(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body["spec"]["resourceAttributes"]
        self.server.asked.append(asked)
        name = asked["resource"] + ("/" + asked["subresource"] if asked.get("subresource") else "")
        self._send(201, body | {"status": {"allowed": (asked["verb"], name) not in self.server.refused}})

    def _send(self, status: int, record: dict[str, Any]) -> None:
        data = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with Api() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        context = {"name": "fake", "context": {"cluster": "fake", "user": "fake"}}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": url}}],
            "users": [{"name": "fake", "user": {"token": "t"}}],
            "contexts": [context],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


RIGHTS = ["rights", "team", "--backends", "pytorchjob,trainjob,job", "--gang", "--dask"]


def test_an_account_with_all_rights_passes(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert installation.main(RIGHTS) == 0
    told = capsys.readouterr().out
    assert "missing" not in told
    assert {asked["namespace"] for asked in api.asked} == {"team"}
    assert {"get pods/log", "create pytorchjobs", "patch daskclusters", "create podgroups"} <= {
        f"{a['verb']} {a['resource']}{'/' + a['subresource'] if a.get('subresource') else ''}" for a in api.asked
    }


def test_no_cluster_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert installation.main(RIGHTS) == 2
    told = capsys.readouterr().err
    assert "set KUBECONFIG" in told
    assert told.count("\n") == 1


def test_a_missing_right_is_named(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.refused = {("delete", "pytorchjobs"), ("get", "pods/log")}
    assert installation.main(RIGHTS) == 1
    assert "may not get pods/log, delete pytorchjobs.kubeflow.org in namespace team" in capsys.readouterr().out


def test_a_missing_operator_is_named_with_where_to_get_it(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.groups.remove("kubeflow.org/v1")
    api.groups.remove("kubernetes.dask.org/v1")
    assert installation.main(RIGHTS) == 1
    told = capsys.readouterr().out
    assert (
        "pytorchjobs.kubeflow.org/v1 are unknown here; take them out of the chart's values, or install the Kubeflow training operator"
        in told
    )
    assert "daskclusters.kubernetes.dask.org/v1 are unknown here; take them out of the chart's values, or install the Dask operator" in told


def test_what_is_switched_off_is_not_asked_for(api: Api) -> None:
    api.groups = ["batch/v1"]
    assert installation.main(["rights", "team", "--backends", "job"]) == 0
    assert not [asked for asked in api.asked if "dask" in asked["group"] or asked["resource"] == "podgroups"]


def test_pipelines_answer_refuse_or_are_not_there(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{api.server_port}"
    assert installation.main(["pipelines", url]) == 0
    api.healthy = False
    assert installation.main(["pipelines", url]) == 1
    assert "with HTTP status 503" in capsys.readouterr().out
    assert installation.main(["pipelines", "http://127.0.0.1:9"]) == 1
    assert "does not answer at http://127.0.0.1:9/apis/v2beta1/healthz" in capsys.readouterr().out


def test_a_workspace_is_written_and_left_clean(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert installation.main(["store", f"{s3}/prefix"]) == 0
    assert f"{s3}/prefix can be written to" in capsys.readouterr().out
    assert list(storage.walk(s3)) == []


def test_a_missing_bucket_is_one_line(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert installation.main(["store", "s3://no-such-bucket-here/x"]) == 2
    told = capsys.readouterr().err
    assert "no-such-bucket-here" in told
    assert told.count("\n") == 1


def test_the_viewer_lives_before_anything_is_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with site.server(str(tmp_path), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert installation.main(["viewer", url]) == 0
        assert "no run has published yet" in capsys.readouterr().out
        (tmp_path / "index.html").write_text("map")
        assert installation.main(["viewer", url]) == 0
        assert "a web map is published" in capsys.readouterr().out
        server.shutdown()


def test_a_backend_that_does_not_exist_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        installation.main(["rights", "team", "--backends", "mpijob"])
    assert ended.value.code == 2
    assert "mpijob is none of pytorchjob, trainjob, job" in capsys.readouterr().err
