"""The pipeline for Argo alone: its objects, and what runs when a workflow engine reads them."""

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import hera.workflows.models as argo_models
import kubernetes_validate
import pytest
import yaml
from deploy import pod_security

import landtide
from components import __main__ as component
from components.placement import Placement
from landtide import cli
from landtide.core.study import Study, parse_study
from landtide.launch import driver
from pipelines import __main__ as command
from pipelines import argo

FAKES = Path(__file__).parents[1] / "fakes"
STUDY = """
name: my.meadows
area: {{tiles: [31UFT]}}
years: [2019]
source: {{api: earth-search}}
points: s3://maps/points.csv
model: {{name: {model}}}
workspace: {workspace}
kubernetes: {{pull_secret: registry, gpus: 1, node_selector: {{gpu: a100}}, tolerations: [{{key: gpu, operator: Exists}}]}}
"""


def study_of(folder: Path, model: str = "lstm") -> Study:
    return parse_study(STUDY.format(workspace=folder, model=model), str(folder), None)


def template_of(study: Study) -> dict[str, Any]:
    return argo.workflow_template(command.compiled(command.pipeline_of(study), Placement.of(study)), study)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return template_of(study_of(tmp_path_factory.mktemp("argo")))


def test_argos_own_models_know_every_field(made: dict[str, Any], tmp_path: Path) -> None:
    cron = argo.cron_workflow(study_of(tmp_path), "s3://maps/order.json", "0 3 1 * *")
    for kind, record in ((argo_models.WorkflowTemplate, made), (argo_models.CronWorkflow, cron)):
        known = kind.model_validate(record).model_dump(by_alias=True, exclude_none=True, mode="json")
        known["spec"].pop("status", None)
        assert _texts(known) == _texts(record), "a field that they do not know would be lost"
    assert (cron["spec"]["concurrencyPolicy"], cron["spec"]["startingDeadlineSeconds"]) == ("Forbid", 0)
    assert cron["spec"]["workflowSpec"]["workflowTemplateRef"]["name"] == made["metadata"]["name"] == "landtide-my-meadows"


def _texts(node: Any) -> Any:
    """The same with numbers as texts: Argo takes ``limit: 3`` as it takes ``limit: "3"``."""
    if isinstance(node, dict):
        return {key: _texts(value) for key, value in node.items()}
    return [_texts(item) for item in node] if isinstance(node, list) else str(node)


def test_every_pod_is_valid_and_restricted(made: dict[str, Any]) -> None:
    steps = [template for template in made["spec"]["templates"] if "container" in template]
    assert len(steps) == 12
    for template in steps:
        pod = {"containers": [{"name": "main", **template["container"]}], "securityContext": made["spec"]["securityContext"]}
        pod |= {key: template[key] for key in ("nodeSelector", "tolerations") if key in template}
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod}, "1.36", strict=True)
        assert pod_security.violations(pod) == []
        assert template["activeDeadlineSeconds"] > 0
        trains = template["name"].startswith("train")
        assert ("nvidia.com/gpu" in template["container"]["resources"]["limits"]) == trains
        assert template.get("tolerations") == ([{"key": "gpu", "operator": "Exists"}] if trains else None)


def test_the_command_prints_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    order = driver.new_order(study_of(tmp_path))
    monkeypatch.setattr(sys, "argv", ["pipelines", "update", "argo", order, "--cron", "0 3 1 * *"])
    assert command.main() == 0
    template, cron = yaml.safe_load_all(capsys.readouterr().out)
    assert (template["kind"], cron["kind"]) == ("WorkflowTemplate", "CronWorkflow")
    assert cron["spec"]["workflowSpec"]["arguments"]["parameters"] == [{"name": "study", "value": order}]


class Engine:
    """As much of Argo as the template asks for: DAGs in order, loops over JSON lists, outputs from files, lists of a loop's outputs."""

    def __init__(self, template: dict[str, Any], folder: Path, study: str) -> None:
        self.templates = {entry["name"]: entry for entry in template["spec"]["templates"]}
        self.spec, self.folder, self.pods = template["spec"], folder, 0
        self.values = {"workflow.parameters.study": study, "workflow.uid": "w-1", "workflow.status": "Succeeded"}

    def run(self) -> None:
        try:
            self.template(self.spec["entrypoint"], {})
        finally:
            self.template(self.spec["onExit"], {})

    def template(self, name: str, inputs: dict[str, str]) -> dict[str, str]:
        entry, values = self.templates[name], {**self.values, **{f"inputs.parameters.{key}": value for key, value in inputs.items()}}
        assert set(inputs) == {parameter["name"] for parameter in entry.get("inputs", {}).get("parameters", [])}
        if "container" in entry:
            return self.pod(entry, values)
        waiting = {task["name"]: task for task in entry["dag"]["tasks"]}
        done: set[str] = set()
        while waiting:
            ready = [task for task in waiting.values() if set(task.get("dependencies", [])) <= done]
            assert ready, "the tasks wait for each other"
            for task in ready:
                outputs = self.task(task, values)
                values |= {f"tasks.{task['name']}.outputs.parameters.{key}": value for key, value in outputs.items()}
                done.add(waiting.pop(task["name"])["name"])
        results = entry.get("outputs", {}).get("parameters", [])
        return {result["name"]: fill(result["valueFrom"]["parameter"], values) for result in results}

    def task(self, task: dict[str, Any], values: dict[str, str]) -> dict[str, str]:
        items = json.loads(fill(task["withParam"], values)) if "withParam" in task else [None]
        passes = []
        for item in items:
            own = values if item is None else {**values, "item": item if isinstance(item, str) else json.dumps(item)}
            given = {entry["name"]: fill(entry["value"], own) for entry in task["arguments"]["parameters"]}
            passes.append(self.template(task["template"], given))
        if "withParam" not in task:
            return passes[0]
        return {key: json.dumps([one[key] for one in passes]) for key in passes[0]}

    def pod(self, entry: dict[str, Any], values: dict[str, str]) -> dict[str, str]:
        self.pods += 1
        outputs = self.folder / f"pod-{self.pods}"
        python, module, name, *words = entry["container"]["command"]
        assert [python, module, name] == ["python", "-m", "components"]
        words = [str(outputs) if word == argo.OUTPUTS else word for word in words] + [
            fill(word, values) for word in entry["container"]["args"]
        ]
        status = component.main(words)
        if status != 0:
            raise RuntimeError(f"{entry['name']} ended with {status}")
        paths = {result["name"]: result["valueFrom"]["path"] for result in entry["outputs"]["parameters"]}
        return {key: (outputs / Path(path).name).read_text() for key, path in paths.items()}


def fill(text: str, values: dict[str, str]) -> str:
    """Put values in the place of ``{{...}}``; one that nobody made is an error."""
    return re.sub(r"\{\{([^}]+)\}\}", lambda match: values[match[1]], text)


@pytest.fixture
def fake_steps(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FAKES))
    fakes = importlib.import_module("fake_steps")
    monkeypatch.setitem(sys.modules, "landtide.steps", fakes)
    monkeypatch.setattr(landtide, "steps", fakes, raising=False)
    return fakes


@pytest.mark.parametrize("model", ["lstm", "svm"])
def test_an_engine_that_reads_it_runs_the_steps_as_kubeflow_does(fake_steps: Any, tmp_path: Path, model: str) -> None:
    study = study_of(tmp_path, model)
    uri = driver.new_run(study)
    Engine(template_of(study), tmp_path, uri).run()
    calls = [json.loads(line) for line in (Path(uri).parent / "calls.jsonl").read_text().splitlines()]
    steps = [call["step"] for call in calls]
    middle = ["train preliminary", "candidates", "stable", "train final"] if model == "lstm" else ["train final"]
    assert steps == [
        "open", "plan", "retrieve", "composite", "retrieve", "composite", "extract", *middle, "classify", "classify", "evaluate",
        "publish", "clean up",
    ]  # fmt: skip
    by_step = {call["step"]: call for call in calls}
    cubes = ['{"a/2020": "cube-a", "b/2020": "cube-b"}', '{"c/2020": "cube-c"}']
    assert by_step["extract"]["cubes"] == cubes
    assert [call["cubes"] for call in calls if call["step"] == "classify"] == cubes
    assert by_step["publish"]["maps"] == [shard.replace("cube", "map") for shard in cubes]
    assert by_step["publish"]["stable"] == ("samples-stable" if model == "lstm" else None)
    assert by_step["open"]["job"] == by_step["clean up"]["job"] == "w-1"


def test_a_failing_step_ends_the_workflow_and_its_clean_up_runs(fake_steps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP", "extract:fail")
    uri = driver.new_run(study_of(tmp_path))
    with pytest.raises(ValueError, match="class water has 3 samples"):
        Engine(template_of(study_of(tmp_path)), tmp_path, uri).run()
    calls = [json.loads(line)["step"] for line in (Path(uri).parent / "calls.jsonl").read_text().splitlines()]
    assert calls[-2:] == ["extract", "clean up"]


def test_an_unknown_component_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert component.main(["../retrieve"]) == 2
    assert "is no component" in capsys.readouterr().err


def test_argo_takes_no_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["argo", str(tmp_path / "study.yaml"), "--cron", "0 0 3 1 * *"]) == 2
    assert "Argo takes five fields" in capsys.readouterr().err
