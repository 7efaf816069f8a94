"""A run on this machine, through the real kfp.local, with steps that only write down how they were called."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import psutil
import pytest

from landtide.core.study import Study, parse_study
from landtide.io import storage
from landtide.launch import driver

FAKES = Path(__file__).parents[1] / "fakes"
PATH = os.pathsep.join(filter(None, [str(FAKES), os.environ.get("PYTHONPATH")]))
STUDY = """
name: fake
area: {{catalog-extent: true}}
years: [2020]
source: {{catalog: catalog.json}}
old_map: {{uri: old.tif}}
model: {{name: {model}}}
workspace: {workspace}
"""
CUBES = ['{"a/2020": "cube-a", "b/2020": "cube-b"}', '{"c/2020": "cube-c"}']
MAPS = [shard.replace("cube", "map") for shard in CUBES]


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("PYTHONPATH", PATH)
    return monkeypatch


def study_of(folder: Path, model: str = "lstm") -> Study:
    return parse_study(STUDY.format(workspace=folder, model=model), str(folder), date(2026, 1, 1))


def calls_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "calls.jsonl").read_text().splitlines()]


def processes_with(variable: str, value: str) -> list[psutil.Process]:
    """Find living processes by a variable of their environment, which a new session or a lost parent does not change."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in found if process.pid != os.getpid()]


def wait_for(condition, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def test_two_stages_run_in_order_and_hand_on_their_results(tmp_path: Path, faked: pytest.MonkeyPatch) -> None:
    study = study_of(tmp_path)
    uri = driver.new_run(study)
    events = []
    published = driver.execute(study, uri, events.append)
    run = Path(uri).parent
    assert published == str(tmp_path / "fake" / "published")
    calls = calls_of(run)
    assert [call["step"] for call in calls] == [
        "open", "plan", "retrieve", "composite", "retrieve", "composite", "extract", "train preliminary", "candidates", "stable",
        "train final", "classify", "classify", "evaluate", "publish", "clean up",
    ]  # fmt: skip
    assert calls[0]["job"] == calls[-1]["job"], "what is cleaned up is what was opened"
    by_step = {call["step"]: call for call in calls}
    assert by_step["extract"]["cubes"] == CUBES
    assert by_step["train preliminary"]["samples"] == "samples-polygon"
    assert by_step["candidates"]["model"] == "model-preliminary"
    assert by_step["train final"]["samples"] == "samples-stable"
    # kfp.local 2.17 gives the output of another task inside a loop the value of the loop's item.
    assert [(call["model"], call["cubes"]) for call in calls if call["step"] == "classify"] == [("model-final", shard) for shard in CUBES]
    assert by_step["evaluate"]["maps"] == MAPS
    assert by_step["publish"] == {
        "step": "publish",
        "samples": "samples-polygon",
        "model": "model-final",
        "maps": MAPS,
        "evaluation": "evaluation",
        "preliminary": "model-preliminary",
        "stable": "samples-stable",
    }
    assert [(event.step, event.state) for event in events[:4]] == [
        ("plan", "started"), ("plan", "done"), ("retrieve", "started"), ("retrieve", "done"),
    ]  # fmt: skip
    assert events[3].counts == {"images": 2}
    assert "Task" in (run / "kfp.log").read_text()
    assert any("<h1>report</h1>" in path.read_text() for path in (run / "kfp").rglob("report"))


def test_one_stage_trains_once_and_from_the_old_maps_samples(tmp_path: Path, faked: pytest.MonkeyPatch) -> None:
    study = study_of(tmp_path, "svm")
    uri = driver.new_run(study)
    driver.execute(study, uri, lambda event: None)
    calls = {call["step"]: call for call in calls_of(Path(uri).parent)}
    assert not {"train preliminary", "candidates", "stable"} & set(calls)
    assert calls["train final"]["samples"] == "samples-polygon"
    assert calls["publish"]["preliminary"] is None


def test_a_failing_step_gives_its_own_line_and_status(tmp_path: Path, faked: pytest.MonkeyPatch) -> None:
    faked.setenv("FAKE_STEP", "extract:fail")
    study = study_of(tmp_path)
    uri = driver.new_run(study)
    with pytest.raises(driver.StepFailedError, match="class water has 3 samples, and 10 are needed") as failure:
        driver.execute(study, uri, lambda event: None)
    assert failure.value.exit_status == 2
    assert failure.value.log_uri == str(Path(uri).parent / "kfp.log")
    assert "Traceback" in Path(failure.value.log_uri).read_text()
    assert [call["step"] for call in calls_of(Path(uri).parent)[-2:]] == ["extract", "clean up"], "nothing else runs after the failed step"


@pytest.mark.parametrize("way", ["die", "crash"])
def test_a_step_that_dies_without_a_word_is_named(tmp_path: Path, faked: pytest.MonkeyPatch, way: str) -> None:
    faked.setenv("FAKE_STEP", f"composite:{way}")
    study = study_of(tmp_path)
    with pytest.raises(driver.StepFailedError, match="composite ended without a message") as failure:
        driver.execute(study, driver.new_run(study), lambda event: None)
    assert failure.value.exit_status == 1


def test_an_order_is_opened_as_a_run_by_the_calendar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = STUDY.format(workspace=tmp_path, model="svm").replace("years: [2020]", "years: {from: 2019}")
    order = driver.new_order(parse_study(text, str(tmp_path), None))
    assert driver.new_order(parse_study(text, str(tmp_path), None)) == order, "the same study is the same order"
    for year, job in ((2023, "job-1"), (2025, "job-2")):
        monkeypatch.setattr(driver, "date", type("Date", (date,), {"today": classmethod(lambda cls, year=year: date(year, 3, 1))}))
        run = driver.open_run(order, job)
        assert run == str(tmp_path / "fake" / "runs" / job / "study.json")
        assert driver.read_run(run).all_years() == list(range(2019, year))
        assert driver.run_id(order, job) == driver.run_id(run, "another") == job
    assert driver.open_run(run, "another") == run, "a run that is open stays as it is"


def test_the_resolved_study_keeps_what_was_left_open(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    uri = driver.new_run(study, driver.Options(force=("train",), tiles=("a",), years=(2020,)))
    assert driver.read_run(uri) == study
    assert driver.read_run(uri).default_mask, "a mask that nobody asked for must not look asked for"
    assert storage.read_json(uri)["options"] == {"force": ["train"], "tiles": ["a"], "years": [2020]}


def test_every_step_is_given_the_studys_threads_and_a_temporary_folder_that_goes(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    assert driver.thread_variables(study)["OMP_NUM_THREADS"] == str(study.compute.threads)
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("landtide-run-*"))
    with driver._folders(str(tmp_path / "run")) as (scratch, folder):
        assert scratch.is_dir()
        assert folder == tmp_path / "run"
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("landtide-run-*")) <= before


@pytest.fixture
def hanging(tmp_path: Path):
    """A `landtide run` that hangs in its second step: process, tag of its whole family, folder."""
    tag = f"{os.getpid()}-{tmp_path.name}-{time.monotonic_ns()}"
    (tmp_path / "study.yaml").write_text(STUDY.format(workspace=tmp_path, model="lstm"))
    environment = {**os.environ, "PYTHONPATH": PATH, "FAKE_STEP": "retrieve:hang", "LANDTIDE_TEST": tag}
    command = [sys.executable, "-m", "landtide.cli", "run", str(tmp_path / "study.yaml")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: list(tmp_path.glob("fake/runs/*/hanging")), "the step to hang")
        yield process, tag
    finally:
        for left in processes_with("LANDTIDE_TEST", tag):
            left.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_survives_an_interrupt(hanging, number: signal.Signals) -> None:
    process, tag = hanging
    assert len(processes_with("LANDTIDE_TEST", tag)) >= 5, "driver, pipeline, shell, step and its two children"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "goes on from there" in errors
    assert processes_with("LANDTIDE_TEST", tag) == []


def test_nothing_survives_a_driver_that_was_killed(hanging) -> None:
    process, tag = hanging
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while (left := processes_with("LANDTIDE_TEST", tag)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [(process.status(), process.cmdline()[-3:]) for process in left] == []
