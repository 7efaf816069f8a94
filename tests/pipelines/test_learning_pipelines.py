"""The pipelines that make better models: their graph, and a run through the real kfp.local with steps that write down their calls."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import yaml

from landtide.core.study import parse_study
from landtide.launch import driver
from pipelines import __main__ as command

FAKES = Path(__file__).parents[1] / "fakes"
STUDY = """
name: fake
area: {catalog-extent: true}
years: [2020]
source: {catalog: catalog.json}
old_map: {uri: old.tif}
"""


def calls_of_a_run(pipeline: str, folder: Path) -> list[dict]:
    """Run a pipeline through kfp.local with the fakes, and return their calls."""
    study = parse_study(STUDY + f"workspace: {folder}\n", str(folder), date(2026, 1, 1))
    study_uri = driver.new_run(study, driver.Options())
    run = Path(study_uri).parent
    arguments = ["-m", "pipelines", pipeline, "execute", study_uri, "--folder", str(run)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(FAKES), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, *arguments], env=environment, stdin=subprocess.PIPE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (run / driver.LOG).read_text()[-3000:]
    return [json.loads(line) for line in (run / "calls.jsonl").read_text().splitlines()]


def test_a_search_is_a_task_a_group_on_the_samples_of_the_final_model(tmp_path: Path) -> None:
    calls = calls_of_a_run("tune", tmp_path)
    searched = [call for call in calls if call["step"].startswith("tune")]
    assert [call["step"] for call in searched] == ["tune groups", "tune", "tune", "tune report"]
    assert {call["samples"] for call in searched} == {"samples-stable"}
    assert [call.get("groups") for call in searched[1:3]] == [["0"], ["1"]]
    assert searched[-1]["meetings"] == ["journal", "journal"]
    assert not [call for call in calls if call["step"] in ("train final", "classify", "publish")]


def test_the_graph_of_a_search() -> None:
    pipeline = next(yaml.safe_load_all((command.COMPILED / "tune.yaml").read_text()))
    tasks = pipeline["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    assert tasks["for-loop-3"]["dependentTasks"] == ["tune-groups"]
    assert sorted(tasks["tune-report"]["dependentTasks"]) == ["extract-stable", "for-loop-3", "plan"]


def test_a_pre_training_asks_for_no_label(tmp_path: Path) -> None:
    first, *calls, last = calls_of_a_run("pretrain", tmp_path)
    assert (first["step"], last["step"]) == ("open", "clean up")
    assert [call["step"] for call in calls] == ["plan", "retrieve", "composite", "retrieve", "composite", "draw unlabelled", "pretrain"]
    assert len(calls[-2]["cubes"]) == 2
    assert calls[-1]["samples"] == "series"
