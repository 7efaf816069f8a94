"""Steps that only write down how they were called; what they do besides is told by the variable FAKE_STEP (``train:fail`` ...)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from landtide.launch import progress

ALGORITHMS = {"retrieve": 1}
SHARDS = ["a b", "c"]


def _call(name, study_uri, **inputs):
    """Write the call down, tell of it, and misbehave where the test asks for it."""
    progress.log_events()
    progress.tell(progress.Event(name, "started"))
    folder = _note(name, study_uri, **inputs)
    step, _, what = os.environ.get("FAKE_STEP", "").partition(":")
    if step == name:
        {"fail": _fail, "die": _die, "crash": _crash, "hang": _hang}[what](folder)
    progress.tell(progress.Event(name, "done", inputs.get("shard"), 0.1, {"images": 2}))


def _note(name, study_uri, **inputs):
    """Write a call down; return the run's folder."""
    folder = Path(study_uri).parent
    with (folder / "calls.jsonl").open("a") as file:
        file.write(json.dumps({"step": name, **inputs}) + "\n")
    return folder


def _fail(folder):
    record = {"kind": "InputError", "message": "class water has 3 samples, and 10 are needed", "exit_status": 2}
    (folder / "error.json").write_text(json.dumps(record))
    raise ValueError(record["message"])


def _die(folder):
    os.kill(os.getpid(), signal.SIGKILL)


def _crash(folder):
    raise ValueError("no error.json")


def _hang(folder):
    """Wait for ever, with a child in a session of its own as torch launchers have, and a deaf one."""
    sleep = "import time; time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", sleep], start_new_session=True)
    subprocess.Popen([sys.executable, "-c", f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {sleep}"])
    (folder / "hanging").touch()
    time.sleep(600)


def check(study):
    return SimpleNamespace(warnings=["the catalog has no SCL"])


def open_run(study_uri, job):
    _note("open", study_uri, job=job)
    return study_uri


def clean_up(study_uri, job):
    _note("clean up", study_uri, job=job)
    return []


def forecast(study, checked):
    return SimpleNamespace(record={"rows": [], "peak_memory": 0})


def plan_shards(study_uri):
    _call("plan", study_uri)
    return SHARDS


def retrieve(study_uri, shard):
    _call("retrieve", study_uri, shard=shard)
    return json.dumps({f"{tile}/2020": f"items-{tile}" for tile in shard.split()})


def composite(study_uri, retrieved):
    _call("composite", study_uri, retrieved=retrieved)
    return retrieved.replace("items", "cube")


def extract(study_uri, retrieved, cubes):
    _call("extract", study_uri, retrieved=retrieved, cubes=cubes)
    return "samples-polygon"


def train(study_uri, stage, samples):
    _call(f"train {stage}", study_uri, samples=samples)
    return f"model-{stage}"


def classify_candidates(study_uri, model, samples, cubes):
    _call("candidates", study_uri, model=model, samples=samples, cubes=cubes)
    return "labels"


def extract_stable(study_uri, labels, samples, cubes):
    _call("stable", study_uri, labels=labels, samples=samples, cubes=cubes)
    return "samples-stable"


def classify(study_uri, model, cubes):
    _call("classify", study_uri, model=model, cubes=cubes)
    return cubes.replace("cube", "map")


def evaluate(study_uri, retrieved, maps, samples):
    _call("evaluate", study_uri, retrieved=retrieved, maps=maps, samples=samples)
    return SimpleNamespace(uri="evaluation", metrics={"overall_accuracy": 0.9}, confusion=(["a", "b"], [[3, 1], [0, 4]]))


def publish(study_uri, retrieved, cubes, samples, model, maps, evaluation, preliminary=None, stable=None):
    _call("publish", study_uri, samples=samples, model=model, maps=maps, evaluation=evaluation, preliminary=preliminary, stable=stable)
    published = Path(study_uri).parents[2] / "published"
    published.mkdir()
    headline = {"kind": "accuracy", "year": 2020, "old": 0.63, "new": 0.91, "sentence": "The map of 2020 is right on 91 % of the area."}
    (published / "report.json").write_text(json.dumps({"headline": headline}))
    (published / "index.html").write_text("<h1>web map</h1>")
    return str(published), "<h1>report</h1>"
