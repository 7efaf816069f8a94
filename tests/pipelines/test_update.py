"""The compiled pipelines: the graph, and what must never be in it."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines import __main__ as command
from pipelines import update

TWO_STAGES = {
    "plan": [],
    "for-loop-1": ["plan"],
    "extract": ["for-loop-1"],
    "train": ["extract"],
    "classify-candidates": ["extract", "for-loop-1", "train"],
    "extract-stable": ["classify-candidates", "extract", "for-loop-1"],
    "train-2": ["extract-stable"],
    "deal": ["for-loop-1", "train-2"],
    "for-loop-2": ["deal"],
    "evaluate": ["extract", "for-loop-1", "for-loop-2"],
    "publish": ["evaluate", "extract", "extract-stable", "for-loop-1", "for-loop-2", "train", "train-2"],
}


def stored(name: str) -> dict[str, Any]:
    return yaml.safe_load((command.COMPILED / f"{name}.yaml").read_text())


def tasks_of(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All tasks, those in loops too."""
    dags = [spec["root"]["dag"], *(component["dag"] for component in spec["components"].values() if "dag" in component)]
    return {name: task for dag in dags for name, task in dag["tasks"].items()}


@pytest.mark.parametrize("name", command.PIPELINES)
def test_the_stored_form_is_that_of_the_source(name: str) -> None:
    assert command._without_version((command.COMPILED / f"{name}.yaml").read_text()) == command._without_version(
        command.compiled(command.PIPELINES[name])
    )


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
    tasks = stored("update")["root"]["dag"]["tasks"]
    assert {name: sorted(task.get("dependentTasks", [])) for name, task in tasks.items()} == TWO_STAGES


def test_one_stage_leaves_out_the_preliminary_tasks() -> None:
    tasks = stored("update-single")["root"]["dag"]["tasks"]
    assert set(TWO_STAGES) - set(tasks) == {"classify-candidates", "extract-stable", "train-2"}


@pytest.mark.parametrize("name", command.PIPELINES)
def test_nothing_is_installed_at_run_time_and_nothing_is_cached(name: str) -> None:
    spec = stored(name)
    assert "pip install" not in yaml.safe_dump(spec, width=10_000)
    tasks = tasks_of(spec)
    assert len(tasks) > 8
    assert all(not task.get("cachingOptions", {}).get("enableCache", False) for task in tasks.values())
    steps = {name: task for name, task in tasks.items() if not name.startswith("for-loop")}
    assert all(task["cachingOptions"] == {} for task in steps.values()), "an empty table is how KFP writes 'no cache'"


@pytest.mark.parametrize("name", command.PIPELINES)
def test_a_loop_takes_its_items_and_the_study_alone(name: str) -> None:
    for loop in (task for task in stored(name)["root"]["dag"]["tasks"].values() if "parameterIterator" in task):
        items = loop["parameterIterator"]["items"]["inputParameter"]
        others = {key: value for key, value in loop["inputs"]["parameters"].items() if key != items}
        assert others == {"pipelinechannel--study": {"componentInputParameter": "study"}}


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
