"""A job on a cluster that misbehaves: what is survived, what is told, and how soon."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import kubernetes_api
from fakes.kubernetes_api import FakeApi

from landtide.core.cluster import Hpc
from landtide.core.errors import InputError, LandtideError
from landtide.launch import cluster, jobs
from landtide.launch.jobspec import JobSpec, Resources, job_name

SOON = 5.0
"""Seconds within which the reason of a failure is told."""

NAME = job_name("train-final", "run-1", "d")


def spec(**changes: Any) -> JobSpec:
    options: dict[str, Any] = {
        "kind": "pytorchjob",
        "name": NAME,
        "namespace": "landtide",
        "run_id": "run-1",
        "image": "example.org/landtide-train:1",
        "command": ("torchrun", "-m", "landtide.train", "s3://b/spec.json"),
        "resources": Resources(1, 2**32),
    }
    return JobSpec(**{**options, **changes})


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    with kubernetes_api.serving(tmp_path) as (fake, config):
        monkeypatch.setenv("KUBECONFIG", str(config))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        yield fake


class Launch:
    """A launcher in a thread, and what it told."""

    def __init__(self, folder: Path, made: JobSpec, timing: jobs.Timing | None = None) -> None:
        self.lines: list[str] = []
        self.error: BaseException | None = None
        self.folder, self.spec, self.timing = folder, made, timing
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            connection = cluster.connect(patience=3)
            jobs.run(connection, self.spec, str(self.folder / "failures"), timing=self.timing, tell=self.lines.append)
        except LandtideError as error:
            self.error = error

    def end(self, seconds: float = 20.0) -> "Launch":
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the launcher does not come to an end"
        return self

    @property
    def page(self) -> str:
        return (self.folder / "failures" / f"{NAME}.html").read_text()


@pytest.fixture
def launch(api: FakeApi, tmp_path: Path) -> Callable[..., Launch]:
    def start(made: JobSpec | None = None, timing: jobs.Timing | None = None) -> Launch:
        return Launch(tmp_path, made or spec(), timing)

    return start


def until(true: Callable[[], Any], seconds: float = SOON) -> float:
    """Wait until something is so; return the seconds that it took."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - start


def waiting(reason: str, message: str = "", image: str = "example.org/landtide-train:1") -> dict[str, Any]:
    return {"phase": "Pending", "containerStatuses": [{"image": image, "state": {"waiting": {"reason": reason, "message": message}}}]}


def test_a_job_is_followed_to_its_end_with_the_rank_before_each_line(api: FakeApi, launch: Callable[..., Launch]) -> None:
    run = launch(spec(nodes=2))
    name = api.wait_for("pytorchjobs")
    for index in (0, 1):
        api.pod(f"{name}-worker-{index}", name, index=index, phase="Running")
        api.write(f"{name}-worker-{index}", f"hello from {index}", "epoch 1")
    until(lambda: len(run.lines) == 4)
    for index in (0, 1):
        api.pod(f"{name}-worker-{index}", name, index=index, phase="Succeeded")
        api.write(f"{name}-worker-{index}", "bye")
    api.condition("pytorchjobs", name, "Succeeded")
    run.end()
    assert run.error is None
    assert sorted(run.lines) == sorted(f"[worker-{index}] {text}" for index in (0, 1) for text in (f"hello from {index}", "epoch 1", "bye"))


@pytest.mark.parametrize(
    ("kind", "label", "end"),
    [("trainjob", "jobset.sigs.k8s.io/jobset-name", "Complete"), ("job", "batch.kubernetes.io/job-name", "Complete")],
)
def test_the_other_kinds_are_followed_by_their_own_labels_and_conditions(
    api: FakeApi, launch: Callable[..., Launch], kind: str, label: str, end: str
) -> None:
    run = launch(spec(kind=kind))
    name = api.wait_for(f"{kind}s")
    labels = {label: name, "batch.kubernetes.io/job-completion-index": "0"}
    for phase in ("Running", "Succeeded"):
        api.put("pods", {"metadata": {"name": f"{name}-0-x7", "labels": labels}, "status": {"phase": phase}})
        api.write(f"{name}-0-x7", phase)
        until(lambda phase=phase: f"[worker-0] {phase}" in run.lines)  # type: ignore[misc]
    api.condition(f"{kind}s", name, end)
    assert run.end().error is None


def test_a_dropped_watch_and_a_dropped_log_are_taken_up_again_without_a_line_twice(api: FakeApi, launch: Callable[..., Launch]) -> None:
    run = launch()
    name = api.wait_for("pytorchjobs")
    api.pod(f"{name}-worker-0", name, phase="Running")
    api.write(f"{name}-worker-0", "one", "two")
    until(lambda: len(run.lines) == 2)
    api.drop()
    api.write(f"{name}-worker-0", "three")
    until(lambda: len(run.lines) == 3)
    api.drop()
    api.condition("pytorchjobs", name, "Succeeded")
    api.pod(f"{name}-worker-0", name, phase="Succeeded")
    run.end()
    assert run.error is None
    assert run.lines == ["[worker-0] one", "[worker-0] two", "[worker-0] three"]


def test_a_version_that_is_gone_is_listed_anew(api: FakeApi, launch: Callable[..., Launch]) -> None:
    run = launch()
    name = api.wait_for("pytorchjobs")
    for _ in range(3):
        api.expire()
        time.sleep(0.1)
    api.condition("pytorchjobs", name, "Succeeded")
    assert run.end().error is None


def test_a_silent_watch_is_no_reason_to_miss_the_end(api: FakeApi, launch: Callable[..., Launch]) -> None:
    api.fail("GET", "/pytorchjobs?", 500, "no watch today", times=1000)
    run = launch(timing=jobs.Timing(resync=0.3))
    name = api.wait_for("pytorchjobs")
    api.condition("pytorchjobs", name, "Succeeded")
    assert run.end(5).error is None


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry_After": "1"}), (503, {}), (0, {})])
def test_a_busy_or_absent_server_is_asked_again(api: FakeApi, launch: Callable[..., Launch], status: int, headers: dict[str, str]) -> None:
    api.fail("POST", "/pytorchjobs", status, "too many requests", times=1, **headers)
    start = time.monotonic()
    run = launch()
    name = api.wait_for("pytorchjobs")
    assert status != 429 or time.monotonic() - start > 1, "the server asked for a second"
    api.condition("pytorchjobs", name, "Succeeded")
    assert run.end().error is None


def test_a_server_that_stays_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kubernetes_api.serving(tmp_path) as (_, config):
        monkeypatch.setenv("KUBECONFIG", str(config))
    with pytest.raises(InputError, match=r"no cluster answers at http://127.0.0.1:\d+ .*is it up"):
        jobs.start(cluster.connect(patience=0.5), spec())


def test_no_cluster_at_all_says_where_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(InputError, match=r"no cluster: .*set KUBECONFIG"):
        cluster.connect()


def test_an_expired_token_is_read_anew(api: FakeApi, launch: Callable[..., Launch], tmp_path: Path) -> None:
    run = launch(timing=jobs.Timing(resync=0.3))
    name = api.wait_for("pytorchjobs")
    (tmp_path / "token").write_text("newer")
    api.tokens = {"newer"}
    api.drop()
    until(lambda: any("watch" in path for _, path in api.requests[-3:]))
    api.condition("pytorchjobs", name, "Succeeded")
    assert run.end().error is None


def test_a_wrong_token_is_one_line(api: FakeApi) -> None:
    api.tokens = {"another"}
    with pytest.raises(InputError, match=r"refuses the token \(401\)"):
        jobs.start(cluster.connect(patience=1), spec())


@pytest.mark.parametrize(
    ("kind", "plural", "operator"), [("pytorchjob", "pytorchjobs", "training operator"), ("trainjob", "trainjobs", "Trainer")]
)
def test_a_missing_operator_is_named_with_how_to_install_it(api: FakeApi, kind: str, plural: str, operator: str) -> None:
    api.missing = {plural}
    with pytest.raises(InputError, match=rf"does not know {plural}.*install .*{operator}.*kubectl apply") as caught:
        jobs.start(cluster.connect(), spec(kind=kind))
    assert caught.value.exit_status == 2


def test_a_missing_pod_group_names_scheduler_plugins(api: FakeApi) -> None:
    api.missing = {"podgroups"}
    with pytest.raises(InputError, match=r"podgroups.scheduling.x-k8s.io: install .*helm install scheduler-plugins"):
        jobs.start(cluster.connect(), spec(bridge=Hpc(bridge="slurm-bridge")))
    assert api.names("pytorchjobs") == []


def test_a_missing_namespace_is_named(api: FakeApi) -> None:
    api.fail("POST", "/pytorchjobs", 404, 'namespaces "landtide" not found')
    with pytest.raises(InputError, match="kubectl create namespace landtide"):
        jobs.start(cluster.connect(), spec())


def test_a_full_quota_refuses_the_job_in_one_line(api: FakeApi) -> None:
    message = "pytorchjobs is forbidden: exceeded quota: team, requested: count/pytorchjobs=1, used: 2, limited: 2"
    api.fail("POST", "/pytorchjobs", 403, message)
    with pytest.raises(InputError, match=r"quota is full.*limited: 2.*lower kubernetes.cpu"):
        jobs.start(cluster.connect(), spec())


def test_a_missing_training_runtime_is_named_with_who_makes_it(api: FakeApi) -> None:
    message = 'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request: spec.RuntimeRef: Invalid value: not found'
    api.fail("POST", "/trainjobs", 403, message)
    with pytest.raises(InputError, match=r"refuses the object: .*RuntimeRef.*jobs.runtime.create"):
        jobs.start(cluster.connect(), spec(kind="trainjob"))


def test_a_missing_right_is_told_apart_from_a_quota(api: FakeApi) -> None:
    api.fail("POST", "/pytorchjobs", 403, 'User "a" cannot create resource "pytorchjobs"')
    with pytest.raises(InputError, match=r"does not allow it: .*cannot create.*landtide-runner"):
        jobs.start(cluster.connect(), spec())


TROUBLES: dict[str, tuple[Callable[[FakeApi, str], None], str]] = {
    "image": (
        lambda api, pod: api.pod(pod, NAME, **waiting("ImagePullBackOff", "Back-off pulling image")),
        "its image cannot be pulled (example.org/landtide-train:1 ImagePullBackOff",
    ),
    "memory": (
        lambda api, pod: api.pod(
            pod,
            NAME,
            phase="Failed",
            containerStatuses=[{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}],
        ),
        "killed for going beyond its memory (OOMKilled): raise kubernetes.memory",
    ),
    "eviction": (
        lambda api, pod: api.pod(pod, NAME, phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        "Evicted (The node was low on resource: memory.)",
    ),
    "drain": (
        lambda api, pod: api.pod(
            pod, NAME, phase="Running", conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
        ),
        "taken off its node (EvictionByEvictionAPI)",
    ),
    "no node": (
        lambda api, pod: api.event(pod, "FailedScheduling", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
        "no node takes it yet (FailedScheduling: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.)",
    ),
    "quota": (
        lambda api, pod: api.event(NAME, "FailedCreate", "pods is forbidden: exceeded quota: team", kind="PyTorchJob"),
        "the namespace's quota is full (FailedCreate: pods is forbidden: exceeded quota: team)",
    ),
    "secret": (
        lambda api, pod: api.pod(pod, NAME, **waiting("CreateContainerConfigError", 'secret "pull" not found')),
        "a secret or setting that it names is not there (CreateContainerConfigError",
    ),
    "pod security": (
        lambda api, pod: api.event(NAME, "FailedCreate", "violates PodSecurity restricted:latest", kind="PyTorchJob"),
        "the namespace's Pod Security refuses it",
    ),
}


@pytest.mark.parametrize("which", TROUBLES)
def test_what_is_wrong_is_told_within_five_seconds_and_stands_on_the_page(
    api: FakeApi, launch: Callable[..., Launch], caplog: pytest.LogCaptureFixture, which: str
) -> None:
    happen, line = TROUBLES[which]
    caplog.set_level(logging.WARNING, "landtide.launch.jobs")
    run = launch()
    name = api.wait_for("pytorchjobs")
    assert name == NAME
    happen(api, f"{name}-worker-0")
    until(lambda: any(line in record.message for record in caplog.records))
    api.pod(
        f"{name}-worker-0", name, **(api.things.get(("pods", "landtide", f"{name}-worker-0")) or {"status": {"phase": "Failed"}})["status"]
    )
    api.write(f"{name}-worker-0", *(f"line {number}" for number in range(150)))
    api.condition("pytorchjobs", name, "Failed", "PyTorchJob failed because 1 Worker replica(s) failed.")
    run.end()
    assert isinstance(run.error, jobs.JobFailedError)
    assert line in str(run.error)
    assert f"{NAME}.html" in str(run.error)
    assert "\n" not in str(run.error)
    assert len([record for record in caplog.records if line in record.message]) == 1, "once, however often the cluster says it"
    page = run.page
    assert "line 149" in page
    assert "line 49" not in page, "the last hundred"
    assert "kubectl -n landtide get pods" in page


def test_a_page_escapes_what_pods_write(api: FakeApi, launch: Callable[..., Launch]) -> None:
    run = launch()
    name = api.wait_for("pytorchjobs")
    api.pod(f"{name}-worker-0", name, phase="Failed", containerStatuses=[{"state": {"terminated": {"exitCode": 1, "reason": "Error"}}}])
    api.write(f"{name}-worker-0", "<script>alert(1)</script>")
    api.condition("pytorchjobs", name, "Failed", "x")
    assert "ended with status 1" in str(run.end().error)
    assert "<script>" not in run.page


def test_an_image_that_never_comes_ends_the_wait_and_the_job(api: FakeApi, launch: Callable[..., Launch]) -> None:
    run = launch(timing=jobs.Timing(stuck=0.5))
    name = api.wait_for("pytorchjobs")
    api.pod(f"{name}-worker-0", name, **waiting("ErrImagePull", "manifest unknown"))
    run.end()
    assert "its image cannot be pulled" in str(run.error)
    assert "manifest unknown" in run.page
    assert api.names("pytorchjobs") == [], "it would wait for ever"


def test_an_image_that_comes_late_is_no_failure(api: FakeApi, launch: Callable[..., Launch]) -> None:
    run = launch(timing=jobs.Timing(stuck=2.0))
    name = api.wait_for("pytorchjobs")
    api.pod(f"{name}-worker-0", name, **waiting("ErrImagePull"))
    time.sleep(0.5)
    api.pod(f"{name}-worker-0", name, phase="Running")
    time.sleep(2.2)
    api.condition("pytorchjobs", name, "Succeeded")
    api.pod(f"{name}-worker-0", name, phase="Succeeded")
    assert run.end().error is None


def test_an_impossible_image_name_is_not_waited_for(api: FakeApi, launch: Callable[..., Launch]) -> None:
    run = launch()
    name = api.wait_for("pytorchjobs")
    api.pod(f"{name}-worker-0", name, **waiting("InvalidImageName", image="landtide train"))
    assert "not valid" in str(run.end(SOON).error)


def test_a_job_that_is_deleted_under_us_is_told_so(api: FakeApi, launch: Callable[..., Launch]) -> None:
    run = launch()
    name = api.wait_for("pytorchjobs")
    time.sleep(0.3)
    api.remove("pytorchjobs", name)
    assert "was deleted while it ran" in str(run.end(SOON).error)


def test_warnings_about_other_jobs_and_of_yesterday_are_left_out(
    api: FakeApi, launch: Callable[..., Launch], caplog: pytest.LogCaptureFixture
) -> None:
    api.event(f"{NAME}-worker-0", "FailedScheduling", "yesterday", age=86400)
    run = launch()
    name = api.wait_for("pytorchjobs")
    api.event("another-job-worker-0", "FailedScheduling", "another's")
    api.event(f"{NAME}-worker-0", "FailedScheduling", "today's")
    until(lambda: "today's" in caplog.text)
    api.condition("pytorchjobs", name, "Succeeded")
    assert run.end().error is None
    assert "yesterday" not in caplog.text
    assert "another's" not in caplog.text


def test_a_second_attempt_takes_over_the_running_job(api: FakeApi) -> None:
    first = jobs.start(cluster.connect(), spec())
    second = jobs.start(cluster.connect(), spec())
    assert first["metadata"]["uid"] == second["metadata"]["uid"]
    assert len(api.names("pytorchjobs")) == 1


def test_a_failed_job_is_made_anew(api: FakeApi) -> None:
    first = jobs.start(cluster.connect(), spec())
    api.condition("pytorchjobs", NAME, "Failed", "x")
    assert jobs.start(cluster.connect(), spec())["metadata"]["uid"] != first["metadata"]["uid"]


def test_a_job_that_is_about_to_go_is_waited_out(api: FakeApi) -> None:
    first = jobs.start(cluster.connect(), spec())
    api.put("pytorchjobs", {**first, "metadata": {**first["metadata"], "deletionTimestamp": kubernetes_api.now()}})
    threading.Timer(1.0, lambda: api.remove("pytorchjobs", NAME)).start()
    assert jobs.start(cluster.connect(), spec())["metadata"]["uid"] != first["metadata"]["uid"]


def test_a_job_that_does_not_go_is_named(api: FakeApi) -> None:
    first = jobs.start(cluster.connect(), spec())
    api.put("pytorchjobs", {**first, "metadata": {**first["metadata"], "deletionTimestamp": kubernetes_api.now()}})
    with pytest.raises(LandtideError, match="look for its finalizers"):
        jobs.start(cluster.connect(), spec(), jobs.Timing(going=0.6))


def test_two_runs_of_one_study_at_once_have_a_job_each(api: FakeApi) -> None:
    names = [job_name("train-final", run, "same-digest") for run in ("run-1", "run-2")]
    for run, name in zip(("run-1", "run-2"), names, strict=True):
        jobs.start(cluster.connect(), spec(name=name, run_id=run))
    assert api.names("pytorchjobs") == sorted(names)
    assert jobs.clean_up(cluster.connect(), "run-1", ["pytorchjob"], ["landtide"]) == [f"pytorchjob {names[0]}"]
    assert api.names("pytorchjobs") == [names[1]], "one run's clean-up leaves the other's job alone"


def test_somebody_elses_job_of_this_name_is_left_alone(api: FakeApi) -> None:
    api.put("pytorchjobs", {"metadata": {"name": NAME, "labels": {}}})
    with pytest.raises(InputError, match="belongs to something else"):
        jobs.start(cluster.connect(), spec())


def test_the_clean_up_finds_every_kind_and_stops_at_no_missing_operator(api: FakeApi) -> None:
    connection, kinds = cluster.connect(), ["pytorchjob", "trainjob", "job", "podgroup"]
    jobs.start(connection, spec(bridge=Hpc(bridge="slurm-bridge")))
    jobs.start(connection, spec(kind="job"))
    api.missing = {"trainjobs"}
    assert jobs.clean_up(connection, "run-1", kinds, ["landtide"]) == [f"pytorchjob {NAME}", f"job {NAME}", f"podgroup {NAME}"]
    assert jobs.clean_up(connection, "run-1", kinds, ["landtide"]) == []


def test_the_clean_up_leaves_what_has_ended_to_its_own_time(api: FakeApi) -> None:
    jobs.start(cluster.connect(), spec())
    api.condition("pytorchjobs", NAME, "Succeeded")
    assert jobs.clean_up(cluster.connect(), "run-1", ["pytorchjob"], ["landtide"]) == []
    assert api.names("pytorchjobs") == [NAME]


LAUNCHER = """
import sys
sys.path.insert(0, {tests!r})
import logging
from launch.test_jobs_on_a_bad_day import spec
from landtide.launch import cluster, jobs, processes
logging.basicConfig(level=logging.INFO)
try:
    with processes.interruptible():
        jobs.run(cluster.connect(), spec(), {folder!r})
except KeyboardInterrupt:
    sys.exit(130)
"""


def launcher(tmp_path: Path) -> "subprocess.Popen[str]":
    tests = str(Path(__file__).resolve().parent.parent)
    script = textwrap.dedent(LAUNCHER).format(tests=tests, folder=str(tmp_path / "failures"))
    return subprocess.Popen([sys.executable, "-c", script], env=dict(os.environ), stderr=subprocess.PIPE, text=True)


def test_the_job_of_a_killed_launcher_is_taken_over_by_the_next(api: FakeApi, tmp_path: Path, launch: Callable[..., Launch]) -> None:
    first = launcher(tmp_path)
    name = api.wait_for("pytorchjobs", 60)
    uid = api.things["pytorchjobs", "landtide", name]["metadata"]["uid"]
    first.kill()
    first.communicate()
    assert api.names("pytorchjobs") == [name], "nobody could clean up"
    second = launch()
    api.pod(f"{name}-worker-0", name, phase="Running")
    api.write(f"{name}-worker-0", "still at it")
    until(lambda: second.lines == ["[worker-0] still at it"])
    assert api.things["pytorchjobs", "landtide", name]["metadata"]["uid"] == uid
    api.condition("pytorchjobs", name, "Succeeded")
    api.pod(f"{name}-worker-0", name, phase="Succeeded")
    assert second.end().error is None


def test_a_launcher_that_is_told_to_end_takes_its_job_with_it(api: FakeApi, tmp_path: Path) -> None:
    running = launcher(tmp_path)
    api.wait_for("pytorchjobs", 60)
    until(lambda: any("watch" in path for _, path in api.requests), 30)
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130, errors
    assert api.names("pytorchjobs") == []


def test_jobs_belong_to_the_workflow_and_not_to_the_launchers_pod(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "namespace").write_text("landtide")
    monkeypatch.setattr(cluster, "POD_FILES", tmp_path)
    monkeypatch.setenv("POD_NAME", "run-1-system-container-impl-7")
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "run-1", "uid": "u-9", "controller": True}
    api.put("pods", {"metadata": {"name": "run-1-system-container-impl-7", "ownerReferences": [owner]}})
    found, namespace = jobs.workflow_of_this_pod(cluster.connect())
    assert found is not None
    assert (found.kind, found.name, found.uid, namespace) == ("Workflow", "run-1", "u-9", "landtide")
