"""Runs elsewhere: what a study needs to be run by Kubeflow Pipelines, and the process that talks to it.

Only the pipelines know Kubeflow's client; it works in a child, which leaves its answer in a file.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from landtide.core.errors import InputError, LandtideError
from landtide.core.study import NAMES, PATHS, Study
from landtide.io import storage
from landtide.launch import cluster, driver, forwarding, processes, progress

log = logging.getLogger(__name__)

SERVICE, PORT = "ml-pipeline", 8888
"""Of Kubeflow Pipelines' API."""


def check_reachable(study: Study) -> None:
    """Raise InputError where the study names files of this machine: a pod sees none of them."""
    for place, path in _paths(study):
        if "://" not in path:
            raise InputError(
                f"{place}: {path} is on this machine, and pods cannot see it: copy it to the object store and name it by s3://..."
                + (", or give --workspace s3://bucket/prefix" if place == "workspace" else "")
            )
    if not study.workspace.startswith("s3://"):
        raise InputError(f"workspace: {study.workspace} is no object store: on Kubernetes it must be s3://bucket/prefix")


def _paths(study: Study) -> Iterator[tuple[str, str]]:
    """Yield the paths of a study, each with its key; the workspace first, whose default is a folder."""
    record = study.model_dump(mode="json", by_alias=True)
    for section, key in sorted(PATHS, key=lambda path: path[1] != "workspace"):
        table = record.get(section) if section else record
        value = (table or {}).get(key)
        for path in value.values() if isinstance(value, dict) else [value]:
            if isinstance(path, str) and path not in NAMES:
                yield f"{section}.{key}" if section else key, path


def ask(study: Study, arguments: list[str], on_event: Callable[[progress.Event], None], *, token_file: str | None = None) -> dict[str, Any]:
    """Let the pipelines' client do something, and return its answer; a port-forward leads to the API where nothing else does.

    Raises InputError or LandtideError with the client's line.
    """
    url = study.kubernetes.api or _in_cluster(study)
    if url is not None:
        return _ask_at(url, arguments, on_event, token_file)
    with forwarding.forwarding(study.kubernetes.kubeflow, f"svc/{SERVICE}", PORT) as forward:
        return _ask_at(forward.url, arguments, on_event, token_file, forward)


def _in_cluster(study: Study) -> str | None:
    """Return the API's address within the cluster, None where we are outside."""
    return f"http://{SERVICE}.{study.kubernetes.kubeflow}.svc.cluster.local:{PORT}" if cluster.own_namespace() else None


def _ask_at(
    url: str,
    arguments: list[str],
    on_event: Callable[[progress.Event], None],
    token_file: str | None,
    forward: forwarding.Forward | None = None,
) -> dict[str, Any]:
    def note(event: progress.Event) -> None:
        if event.step == LOST and forward is not None:
            forward.open()
        elif event.step != LOST:
            on_event(event)

    with processes.interruptible(), tempfile.TemporaryDirectory(prefix="landtide-ask-") as folder:
        answer = Path(folder, "answer.json")
        token = ["--token-file", token_file] if token_file else []
        command = [sys.executable, "-m", "pipelines", "update", *arguments, "--url", url, "--answer", str(answer), *token]
        try:
            status = driver.follow(command, {**os.environ, "PYTHONUNBUFFERED": "1"}, note)
        except KeyboardInterrupt:
            if answer.exists():
                log.warning("run %s goes on without us: %s (--follow waits for it again)", *_run_of(answer))
            raise
        record: dict[str, Any] = json.loads(answer.read_text("utf-8")) if answer.exists() else {}
    if status == 0:
        return record
    line = record.get("message", f"the client of Kubeflow Pipelines ended with status {status} and without a word")
    raise (InputError if status == InputError.exit_status else LandtideError)(line)


def _run_of(answer: Path) -> tuple[str, str]:
    record = json.loads(answer.read_text("utf-8"))
    return record.get("id", "?"), record.get("url", "")


def argo(order: str, cron: str | None) -> str:
    """Return the pipeline of an order as YAML for Argo Workflows."""
    command = [sys.executable, "-m", "pipelines", "update", "argo", order, *(["--cron", cron] if cron else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LandtideError(f"the pipeline could not be compiled: {' '.join(done.stderr.split()[-40:])}")
    return done.stdout


LOST = "connection"
"""Step of the event by which the client says that the API does not answer."""


def failure_of(study: Study, run_id: str) -> tuple[str, int] | None:
    """Return the line and the exit status that a failed run's step left in the workspace, None where it left nothing."""
    uri = storage.join(study.workspace, study.name, "runs", run_id, driver.ERROR)
    if not storage.exists(uri):
        return None
    record = storage.read_json(uri)
    return str(record["message"]), int(record["exit_status"])
