"""The compiled pipelines: the graph, and what must never be in it."""

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

import landtide
from components.placement import Placement
from landtide.core.study import parse_study
from pipelines import __main__ as command
from pipelines import update

TWO_STAGES = {
    "plan": [],
    "for-loop-2": ["plan"],
    "extract": ["for-loop-2", "plan"],
    "train": ["extract", "for-loop-2", "plan"],
    "classify-candidates": ["extract", "for-loop-2", "plan", "train"],
    "extract-stable": ["classify-candidates", "extract", "for-loop-2", "plan"],
    "train-2": ["extract-stable", "for-loop-2", "plan"],
    "for-loop-3": ["train-2"],
    "evaluate": ["extract", "for-loop-2", "for-loop-3", "plan"],
    "publish": ["evaluate", "extract", "extract-stable", "for-loop-2", "for-loop-3", "plan", "train", "train-2"],
}

POD_LIMIT = 12
"""KFP tasks of a run with one shard; each is two pods, the driver and the step itself."""


def documents(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pipeline, and what only Kubernetes reads."""
    pipeline, platform = yaml.safe_load_all((command.COMPILED / f"{name}.yaml").read_text())
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def stored(name: str) -> dict[str, Any]:
    return documents(name)[0]


def body(name: str) -> dict[str, Any]:
    """The tasks within the exit handler."""
    return stored(name)["components"]["comp-exit-handler-1"]["dag"]["tasks"]


def steps_of(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tasks that are pods: no loops and no exit handler."""
    return {name: task for name, task in tasks_of(spec).items() if not name.startswith(("for-loop", "exit-handler"))}


def tasks_of(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All tasks, those in loops too."""
    dags = [spec["root"]["dag"], *(component["dag"] for component in spec["components"].values() if "dag" in component)]
    return {name: task for dag in dags for name, task in dag["tasks"].items()}


@pytest.mark.parametrize("name", command.PIPELINES)
def test_the_stored_form_is_that_of_the_source(name: str) -> None:
    assert command.same_pipeline((command.COMPILED / f"{name}.yaml").read_text(), command.compiled(command.PIPELINES[name]))


def test_a_changed_pipeline_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "COMPILED", tmp_path)
    assert command.compile_all(check=False) == 0
    assert command.compile_all(check=True) == 0
    path = tmp_path / "update.yaml"
    path.write_text(path.read_text().replace("sdkVersion: kfp-", "sdkVersion: kfp-9."))
    assert command.compile_all(check=True) == 0, "another version of the compiler is no change"
    path.write_text(path.read_text().replace("name: landtide-update", "name: other"))
    assert command.compile_all(check=True) == 1
    assert "make compile" in capsys.readouterr().err


@pytest.mark.parametrize("name", command.PIPELINES)
def test_the_stored_form_is_a_valid_pipeline(name: str) -> None:
    spec = json_format.ParseDict(stored(name), pipeline_spec_pb2.PipelineSpec())
    assert list(spec.root.input_definitions.parameters) == ["study"]


def test_the_two_stages_are_tasks_of_the_graph() -> None:
    assert {name: sorted(task.get("dependentTasks", [])) for name, task in body("update").items()} == TWO_STAGES


def test_one_stage_leaves_out_the_preliminary_tasks() -> None:
    assert set(TWO_STAGES) - set(body("update-single")) == {"classify-candidates", "extract-stable", "train-2"}


@pytest.mark.parametrize("name", command.PIPELINES)
def test_nothing_is_installed_at_run_time_and_nothing_is_cached(name: str) -> None:
    spec = stored(name)
    assert "pip install" not in yaml.safe_dump(spec, width=10_000)
    tasks = tasks_of(spec)
    assert len(tasks) > 7
    assert all(not task.get("cachingOptions", {}).get("enableCache", False) for task in tasks.values())
    assert all(task["cachingOptions"] == {} for task in steps_of(spec).values()), "an empty table is how KFP writes 'no cache'"


@pytest.mark.parametrize("name", command.PIPELINES)
def test_a_loop_takes_its_items_alone(name: str) -> None:
    loops = [task for task in body(name).values() if "parameterIterator" in task]
    assert len(loops) == (1 if name == "pretrain" else 2)
    for loop in loops:
        assert set(loop["inputs"]["parameters"]) == {loop["parameterIterator"]["items"]["inputParameter"]}


@pytest.mark.parametrize("name", command.PIPELINES)
def test_a_run_of_one_shard_is_at_most_twelve_tasks_of_two_pods(name: str) -> None:
    spec = stored(name)
    assert len(steps_of(spec)) <= POD_LIMIT
    containers = [executor["container"] for executor in spec["deploymentSpec"]["executors"].values()]
    assert all(set(container) <= {"args", "command", "env", "image", "resources"} for container in containers), "no side-cars"


@pytest.mark.parametrize("name", command.PIPELINES)
def test_a_run_is_cleaned_up_whatever_way_it_ends(name: str) -> None:
    task = stored(name)["root"]["dag"]["tasks"]["clean-up"]
    assert task["dependentTasks"] == ["exit-handler-1"]
    assert task["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    inputs = task["inputs"]["parameters"]
    assert inputs["status"]["taskFinalStatus"] == {"producerTask": "exit-handler-1"}
    assert inputs["job"] == body(name)["plan"]["inputs"]["parameters"]["job"], "both name the run by the pipeline's own id"


@pytest.mark.parametrize("name", command.PIPELINES)
def test_every_step_says_what_it_needs_and_how_long_it_may_take(name: str) -> None:
    spec, platform = documents(name)
    executors = spec["deploymentSpec"]["executors"]
    assert set(executors) == set(platform)
    for name, executor in executors.items():
        resources = executor["container"]["resources"]
        assert resources["resourceCpuRequest"] == resources["resourceCpuLimit"]
        assert resources["resourceMemoryRequest"] == resources["resourceMemoryLimit"]
        pod = platform[name]
        assert 0 < int(pod["activeDeadlineSeconds"]) <= 24 * 3600
        assert pod["securityContext"] == {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}
        assert pod["podMetadata"]["labels"] == {"app.kubernetes.io/part-of": "landtide"}


@pytest.mark.parametrize("name", command.PIPELINES)
def test_keys_of_the_store_come_by_name_and_may_be_absent(name: str) -> None:
    for executor, pod in documents(name)[1].items():
        [secret, *others], [settings] = pod["secretAsEnv"], pod["configMapAsEnv"]
        readers = ("exec-plan", "exec-retrieve", "exec-composite")
        assert [(other["secretName"], other["optional"]) for other in others] == [("landtide-providers", True)] * (executor in readers)
        assert (secret["secretName"], secret["optional"]) == ("landtide-object-store", True)
        assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= {key["secretKey"] for key in secret["keyToEnv"]}
        assert (settings["configMapName"], settings["optional"]) == ("landtide-settings", True)


def test_tasks_that_talk_to_others_are_tried_again_with_growing_pauses() -> None:
    tried = {name: task["retryPolicy"] for name, task in steps_of(stored("update")).items() if "retryPolicy" in task}
    assert set(tried) == {"plan", "retrieve", "composite", "publish", "clean-up"}
    assert all(policy["maxRetryCount"] == 3 and policy["backoffFactor"] == 2.0 for policy in tried.values())


def test_a_study_decides_what_its_tasks_get() -> None:
    text = (
        "name: a\narea: {tiles: [31UFT]}\nyears: {from: 2018}\nsource: {api: earth-search}\npoints: s3://b/p.csv\nworkspace: s3://b/w\n"
        "compute: {memory: 8GiB, workers: 3, threads: 2}\nkubernetes: {object_store: keys, timeout: PT3H, gpus: 1, "
        "node_selector: {gpu: a100}, tolerations: [{key: gpu, operator: Exists}], pull_secret: registry}\n"
    )
    for backend, cpu, hours, gpu in (("local", 2.0, 3, True), ("pytorchjob", 1.0, 4, False)):
        study = parse_study(text + f"train: {{backend: {backend}}}\n", "/", None)
        pipeline, platform = yaml.safe_load_all(command.compiled(command.PIPELINES["update"], Placement.of(study)))
        pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        resources = {name: executor["container"]["resources"] for name, executor in pipeline["deploymentSpec"]["executors"].items()}
        assert resources["exec-composite"]["resourceMemoryLimit"] == "26Gi"
        assert resources["exec-composite"]["resourceCpuLimit"] == "6"
        assert resources["exec-train"]["resourceCpuLimit"] == str(int(cpu))
        assert ("accelerator" in resources["exec-train"]) == gpu
        assert ("nodeSelector" in pods["exec-train"]) == gpu, "a launcher needs no GPU node"
        assert pods["exec-train"]["activeDeadlineSeconds"] == str(hours * 3600)
        assert {pod["secretAsEnv"][0]["secretName"] for pod in pods.values()} == {"keys"}
        assert "nodeSelector" not in pods["exec-composite"]
    default, stored_form = command.compiled(command.PIPELINES["update"]), (command.COMPILED / "update.yaml").read_text()
    assert command.same_pipeline(default, stored_form), "the next compilation is as ever"


def test_metrics_confusion_matrix_and_report_are_artifacts_of_the_ui() -> None:
    components = stored("update")["components"]
    kinds = {
        name: {key: item["artifactType"]["schemaTitle"] for key, item in component["outputDefinitions"].get("artifacts", {}).items()}
        for name, component in components.items()
        if "outputDefinitions" in component
    }
    assert kinds["comp-evaluate"] == {"metrics": "system.Metrics", "confusion": "system.ClassificationMetrics"}
    assert kinds["comp-publish"] == {"report": "system.HTML"}


def test_images_are_those_of_the_environment_that_compiles(tmp_path: Path) -> None:
    environment = {**os.environ, "LANDTIDE_REGISTRY": "ghcr.io/agency", "LANDTIDE_STEPS_IMAGE": "example.org/steps@sha256:0a"}
    code = "from pipelines import __main__ as m; print(m.compiled(m.PIPELINES['update']))"
    text = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    pipeline, _ = yaml.safe_load_all(text)
    found = {name: executor["container"]["image"] for name, executor in pipeline["deploymentSpec"]["executors"].items()}
    assert found["exec-retrieve"] == "example.org/steps@sha256:0a"
    assert found["exec-train"] == f"ghcr.io/agency/landtide-train:{landtide.__version__}"
    assert "ghcr.io/agency/landtide-train" in text, "pods that a step starts take the same image"


@pytest.mark.parametrize("name", command.PIPELINES)
def test_heavy_data_travel_as_uris(name: str) -> None:
    for component in stored(name)["components"].values():
        assert "artifacts" not in component.get("inputDefinitions", {}), "KFP would download them before the body starts"


def test_a_pipeline_holds_no_numbers_no_paths_and_no_conditions() -> None:
    tree = ast.parse(inspect.getsource(update))
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert not [value for value in constants if isinstance(value, int | float) and not isinstance(value, bool)]
    assert not [value for value in constants if isinstance(value, str) and "/" in value]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.If | ast.IfExp | ast.While)]
