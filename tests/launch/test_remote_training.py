"""A training as a job that reads and writes the workspace: the pod's command is run for real, the cluster is the one on loopback."""

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import phenology
import pytest
from fakes import kubernetes_api
from fakes.kubernetes_api import FakeApi

from landtide import models
from landtide.core.errors import InputError
from landtide.core.study import Study, parse_study
from landtide.io import storage, table
from landtide.launch import cluster, remote
from landtide.train import TrainSpec

STUDY = """
name: meadows
area: {{tiles: [31UFT]}}
years: [2019]
source: {{api: earth-search}}
points: s3://maps/points.csv
model: {{name: svm}}
train: {{backend: pytorchjob}}
workspace: {workspace}
"""


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    with kubernetes_api.serving(tmp_path) as (fake, config):
        monkeypatch.setenv("KUBECONFIG", str(config))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        yield fake


def study_of(workspace: str) -> Study:
    return parse_study(STUDY.format(workspace=workspace), "/", date(2026, 1, 1))


def spec_of(workspace: str, folder: Path, **changes: Any) -> TrainSpec:
    uri = storage.join(workspace, "samples.parquet")
    table.write_samples(uri, phenology.samples(40))
    made = TrainSpec("svm", (uri,), phenology.legend(4), phenology.BANDS, 12, 1, str(folder / "model"), {"c": 1.0, "gamma": 1.0})
    return dataclasses.replace(made, **changes)


def operator(api: FakeApi) -> threading.Thread:
    """Do what the training operator and a node do with the first job: run its command in a process, and tell how it ended."""

    def work() -> None:
        name = api.wait_for("pytorchjobs", 60)
        [container] = api.things["pytorchjobs", "landtide", name]["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
        api.pod(f"{name}-worker-0", name, phase="Running")
        torchrun, *arguments = container["command"]
        assert torchrun == "torchrun"
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
        api.write(f"{name}-worker-0", *done.stderr.splitlines())
        ended = {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": done.returncode, "reason": "Error"}}}]}
        api.pod(f"{name}-worker-0", name, **({"phase": "Succeeded"} if done.returncode == 0 else ended))
        api.condition("pytorchjobs", name, "Failed" if done.returncode else "Succeeded", "its worker failed")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_model_comes_back_from_a_job(api: FakeApi, s3: str, tmp_path: Path) -> None:
    study, worker = study_of(s3), operator(api)
    run = f"{s3}/meadows/runs/r-1"
    folder = remote.run_job(cluster.connect(), spec_of(s3, tmp_path), study, run, "final")
    worker.join()
    assert folder == tmp_path / "model"
    assert models.load(str(folder)).name == "svm"
    assert (folder / "training.json").exists()
    [name] = api.names("pytorchjobs")
    assert storage.exists(f"{run}/jobs/{name}/spec.json")
    again = remote.plan_job(spec_of(s3, tmp_path / "another attempt"), study, run, "final")
    assert again.name == name, "where the result goes to is no part of what is trained"


def test_what_the_training_says_of_its_input_is_what_the_user_reads(api: FakeApi, s3: str, tmp_path: Path) -> None:
    operator(api)
    with pytest.raises(InputError, match=r"^samples hold 0 usable series of 0 class"):
        remote.run_job(cluster.connect(), spec_of(s3, tmp_path, trust=2.0), study_of(s3), f"{s3}/meadows/runs/r-1", "final")
    [page] = storage.walk(f"{s3}/meadows/runs/r-1/failures")
    assert "samples hold 0 usable series" in storage.read_text(f"{s3}/meadows/runs/r-1/failures/{page}")


def test_a_folder_of_this_machine_is_no_workspace_for_pods(tmp_path: Path, api: FakeApi) -> None:
    with pytest.raises(InputError, match="needs a workspace that pods reach"):
        remote.run_job(cluster.connect(), spec_of(str(tmp_path), tmp_path), study_of(str(tmp_path)), str(tmp_path / "runs" / "r"), "final")


def test_the_clean_up_of_a_local_study_touches_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "connect", lambda: pytest.fail("there is none"))
    assert remote.clean_up(parse_study(STUDY.format(workspace="s3://b").replace("pytorchjob", "local"), "/", None), "r-1") == []


def test_the_exit_handler_deletes_what_a_killed_launcher_left(api: FakeApi, s3: str, tmp_path: Path) -> None:
    from landtide import steps
    from landtide.launch import driver, jobs

    study = study_of(s3)
    order = driver.new_order(study)
    job = remote.plan_job(spec_of(s3, tmp_path), study, f"{s3}/meadows/runs/job-7", "final")
    jobs.start(cluster.connect(), job)
    assert steps.clean_up(order, "another") == []
    assert steps.clean_up(order, "job-7") == [f"pytorchjob {job.name}"]
    assert api.names("pytorchjobs") == []
