"""Runs on Kubeflow Pipelines, against its API on loopback."""

import json
import os
import stat
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import yaml
from fakes import kubeflow_api
from fakes.kubeflow_api import FakeKubeflow, looks, task

from landtide import cli
from landtide.core.cron import six_fields
from landtide.core.errors import InputError, LandtideError
from landtide.core.study import Study, parse_study
from landtide.io import storage
from landtide.launch import driver, forwarding, progress, submission
from pipelines import __main__ as command
from pipelines import remote, service

STUDY = """
name: meadows
area: {{tiles: [31UFT]}}
years: {years}
source: {{api: earth-search}}
points: s3://maps/points.csv
model: {{name: svm}}
runner: kubernetes
kubernetes: {{api: '{url}'}}
workspace: {workspace}
"""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeKubeflow]:
    monkeypatch.setattr(service.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    monkeypatch.setattr(service, "POLL", 0.05)
    with kubeflow_api.serving() as fake:
        yield fake


def study_of(api: FakeKubeflow, workspace: str, years: str = "{from: 2018}") -> Study:
    return parse_study(STUDY.format(url=api.url, workspace=workspace, years=years), "/studies", None)


class Asked:
    """What the client answered: events, the answer, the exit status."""

    def __init__(self, api: FakeKubeflow, folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str, years: str = "{from: 2018}") -> None:
        self.events: list[progress.Event] = []
        monkeypatch.setattr(remote, "_tell", self.events.append)
        monkeypatch.setattr(remote.processes, "end_with_parent", lambda: None)
        self.order = driver.new_order(study_of(api, str(folder / "work"), years))
        monkeypatch.setattr(
            sys, "argv", ["pipelines", "update", words[0], self.order, *words[1:], "--url", api.url, "--answer", str(folder / "a")]
        )
        self.status = command.main()
        self.answer = json.loads((folder / "a").read_text())

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(event.step, event.state) for event in self.events]


def test_a_run_is_followed_to_its_end(api: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api.course = [
        looks("PENDING"),
        looks("RUNNING", task("root", "RUNNING"), task("plan-driver", "SUCCEEDED"), task("plan", "RUNNING")),
        looks("RUNNING", task("plan", "SUCCEEDED"), task("for-loop-2", "RUNNING"), task("retrieve", "RUNNING")),
        looks("SUCCEEDED", task("plan", "SUCCEEDED"), task("retrieve", "SUCCEEDED"), task("publish", "SUCCEEDED")),
    ]
    asked = Asked(api, tmp_path, monkeypatch, "submit", "--poll", "0.05")
    assert asked.status == 0
    assert asked.lines == [("plan", "started"), ("plan", "done"), ("retrieve", "started"), ("retrieve", "done"), ("publish", "done")]
    assert asked.events[1].seconds == 90
    [run] = api.runs
    assert asked.answer == {"id": run["run_id"], "url": f"{api.url}/#/runs/details/{run['run_id']}", "state": "SUCCEEDED", "message": ""}
    assert run["runtime_config"]["parameters"] == {"study": asked.order}
    assert run["service_account"] == "landtide-runner"
    assert run["display_name"].startswith("meadows ")
    compiled = run["pipeline_spec"]["pipeline_spec"]
    assert compiled["pipelineInfo"]["name"] == "landtide-update-single"
    assert "secretAsEnv" in json.dumps(run["pipeline_spec"]["platform_spec"]), "what only Kubernetes reads goes with it"


def test_an_api_that_is_away_for_a_while_does_not_end_the_waiting(
    api: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.faults = [503, 0, 500]
    api.course = [looks("SUCCEEDED")]
    asked = Asked(api, tmp_path, monkeypatch, "submit", "--poll", "0.05")
    assert (asked.status, asked.answer["state"]) == (0, "SUCCEEDED")
    assert asked.lines in ([(submission.LOST, "started")] * 2, [(submission.LOST, "started")] * 3), "a port-forward is then taken up again"


def test_a_failed_run_tells_its_own_message(api: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api.course = [looks("FAILED", task("extract", "FAILED"), message="task extract\n failed")]
    asked = Asked(api, tmp_path, monkeypatch, "submit", "--poll", "0.05")
    assert asked.lines == [("extract", "failed")]
    assert (asked.answer["state"], asked.answer["message"]) == ("FAILED", "task extract failed")


def test_a_second_submit_of_the_same_study_names_the_run_that_is_under_way(
    api: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Asked(api, tmp_path, monkeypatch, "submit", "--no-wait")
    assert (first.status, first.answer["state"]) == (0, "PENDING")
    second = Asked(api, tmp_path, monkeypatch, "submit", "--no-wait")
    assert second.status == 2
    assert f"({api.runs[0]['run_id']}) of the same study is under way" in second.answer["message"]
    followed = Asked(api, tmp_path, monkeypatch, "submit", "--no-wait", "--second", "follow")
    assert followed.answer["id"] == first.answer["id"]
    assert Asked(api, tmp_path, monkeypatch, "submit", "--no-wait", "--second", "again").status == 0
    assert Asked(api, tmp_path, monkeypatch, "submit", "--no-wait", years="[2019]").status == 0, "another study is another matter"
    assert len(api.runs) == 3


def test_a_wrong_token_is_one_line(api: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api.token = "right"
    (tmp_path / "token").write_text("wrong\n")
    asked = Asked(api, tmp_path, monkeypatch, "runs", "--token-file", str(tmp_path / "token"))
    assert asked.status == 2
    assert "refuses the token (401)" in asked.answer["message"]
    (tmp_path / "token").write_text("right\n")
    assert Asked(api, tmp_path, monkeypatch, "runs", "--token-file", str(tmp_path / "token")).status == 0


def test_an_address_where_nobody_listens_is_one_line(api: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api.url = "http://127.0.0.1:9"
    asked = Asked(api, tmp_path, monkeypatch, "runs")
    assert asked.status == 2
    assert "does not answer at http://127.0.0.1:9" in asked.answer["message"]


def test_a_recurring_run_takes_the_place_of_the_one_before(api: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Asked(api, tmp_path, monkeypatch, "schedule", "--cron", "0 0 3 1 * *")
    assert (first.status, first.answer["replaced"]) == (0, 0)
    second = Asked(api, tmp_path, monkeypatch, "schedule", "--cron", "0 0 4 1 * *")
    assert second.answer["replaced"] == 1
    [kept] = api.recurring
    assert kept["display_name"] == "landtide-meadows"
    assert kept["trigger"]["cron_schedule"]["cron"] == "0 0 4 1 * *"
    assert (kept["max_concurrency"], kept["no_catchup"]) == (1, True)
    assert kept["runtime_config"]["parameters"] == {"study": second.order}
    order = storage.read_json(second.order)
    assert order["study"]["years"] == {"from": 2018}, "each run settles its years by its own calendar"
    listed = Asked(api, tmp_path, monkeypatch, "runs").answer
    assert [(row["name"], row["cron"]) for row in listed["recurring"]] == [("landtide-meadows", "0 0 4 1 * *")]
    assert Asked(api, tmp_path, monkeypatch, "unschedule").answer == {"name": "landtide-meadows", "deleted": 1}
    assert api.recurring == []
    assert Asked(api, tmp_path, monkeypatch, "unschedule").answer["deleted"] == 0


def test_profiles_get_their_namespace_and_a_single_user_none(api: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Asked(api, tmp_path, monkeypatch, "runs").status == 0
    api.multi_user = True
    assert Asked(api, tmp_path, monkeypatch, "runs").status == 0
    assert [item.get("namespace") or None for item in api.experiments] == [None, "landtide"]


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("0 3 1 * *", "0 0 3 1 * *"),
        ("30 0 3 1 * *", "30 0 3 1 * *"),
        ("*/15 6-18 * * MON-FRI", "0 */15 6-18 * * MON-FRI"),
        ("0 0 1 jan,JUL ?", "0 0 0 1 jan,JUL ?"),
    ],
)
def test_five_fields_become_six(given: str, made: str) -> None:
    assert six_fields(given) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "60 3 1 * *",
        "0 24 * * *",
        "0 3 0 * *",
        "0 3 1 13 *",
        "0 3 1 * 8",
        "0 5-2 * * *",
        "0 3 1 * */0",
        "a b c d e",
        "@daily",
    ],
)
def test_a_wrong_cron_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match="cron"):
        six_fields(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("s3://maps/work", "./work"), "workspace: /studies/work is on this machine.*--workspace s3://"),
        (("s3://maps/work", "https://maps/work"), "workspace: https://maps/work is no object store"),
        (("s3://maps/points.csv", "points.csv"), "points: /studies/points.csv is on this machine"),
        (("{api: earth-search}", "{catalog: world/catalog.json}"), r"source.catalog: /studies/world/catalog.json is on this machine"),
    ],
)
def test_what_a_pod_cannot_see_is_named(change: tuple[str, str], message: str) -> None:
    text = STUDY.format(url="http://x", workspace="s3://maps/work", years="[2019]").replace(*change)
    with pytest.raises(InputError, match=message):
        submission.check_reachable(parse_study(text, "/studies", date(2026, 1, 1)))


def test_the_command_line_submits_and_ends_with_the_runs_status(
    api: FakeKubeflow, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(cli, "_check", lambda study: None)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(url=api.url, workspace=f"{s3}/work", years="[2019]"))
    api.course = [looks("FAILED", task("extract", "FAILED"), message="task failed")]

    def leave_error(study: Study, run_id: str) -> tuple[str, int] | None:
        uri = f"{s3}/work/meadows/runs/{run_id}/error.json"
        storage.write_json(uri, {"kind": "InputError", "message": "class water has 3 samples", "exit_status": 2})
        return found(study, run_id)

    found = submission.failure_of
    monkeypatch.setattr(submission, "failure_of", leave_error)
    assert cli.main(["submit", str(path)]) == 2, "the status of the step that failed"
    out, err = capsys.readouterr()
    assert "extract" in out
    assert "class water has 3 samples" in err
    assert api.runs[0]["run_id"] in out


def test_a_port_is_forwarded_by_kubectl_and_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f"#!{sys.executable}\nimport socket, sys, time\nport = int(sys.argv[-1].split(':')[0])\n"
        "server = socket.create_server(('127.0.0.1', port))\n"
        "open(__file__ + '.log', 'a').write(' '.join(sys.argv[1:]) + '\\n')\ntime.sleep(60)\n"
    )
    kubectl.chmod(kubectl.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with forwarding.forwarding("kubeflow", "svc/ml-pipeline", 8888) as forward:
        process = forward._process
        assert process is not None
        process.kill()
        process.wait()
        forward.open()
        second = forward._process
        assert second is not None
        assert second.poll() is None
    assert second.poll() is not None, "nothing is left running"
    calls = Path(f"{kubectl}.log").read_text().splitlines()
    assert calls == [f"port-forward --address 127.0.0.1 --namespace kubeflow svc/ml-pipeline {forward.port}:8888"] * 2


def test_a_port_forward_that_fails_says_so_in_kubectls_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'error: services \"ml-pipeline\" not found' >&2\nexit 1\n")
    kubectl.chmod(kubectl.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with (
        pytest.raises(InputError, match=r"services \"ml-pipeline\" not found.*kubernetes.api"),
        forwarding.forwarding("a", "svc/ml-pipeline", 1),
    ):
        pass
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="no kubectl"), forwarding.forwarding("a", "svc/ml-pipeline", 1):
        pass


def test_an_interrupted_wait_names_the_run_that_goes_on(
    api: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(words: list[str], *_: object) -> int:
        Path(words[words.index("--answer") + 1]).write_text('{"id": "run-9", "url": "http://kfp/#/runs/details/run-9"}')
        raise KeyboardInterrupt

    monkeypatch.setattr(submission.driver, "follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        submission.ask(study_of(api, str(tmp_path)), ["submit", "order"], lambda event: None)
    assert "run run-9 goes on without us: http://kfp/#/runs/details/run-9" in caplog.text


def test_a_client_that_dies_is_not_silent(api: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(api, str(tmp_path))
    monkeypatch.setattr(submission.driver, "follow", lambda *_: -9)
    with pytest.raises(LandtideError, match="ended with status -9"):
        submission.ask(study, ["runs", "order"], lambda event: None)


def test_a_job_is_printed_as_kubernetes_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(url="http://x", workspace="s3://maps/work", years="[2019]") + "train: {backend: job}\n")
    assert cli.main(["job", str(path)]) == 0
    [job] = yaml.safe_load_all(capsys.readouterr().out)
    assert job["kind"] == "Job"
    assert job["spec"]["template"]["spec"]["containers"][0]["command"][-1] == "s3://maps/work/meadows/spec.json"
