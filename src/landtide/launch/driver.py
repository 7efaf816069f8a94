"""The driver of a local run: starts the pipeline as a child, follows it, and sees to it that nothing of it survives."""

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from landtide.core.errors import LandtideError
from landtide.core.study import Study, settle
from landtide.io import storage
from landtide.launch import processes, progress
from landtide.launch.workers import THREAD_VARIABLES

STUDY = "study.json"
PLAN = "plan.json"
ERROR = "error.json"
LOG = "kfp.log"


class StepFailedError(LandtideError):
    """A step of the pipeline failed; carries the step's own exit status, and where the log is."""

    def __init__(self, message: str, exit_status: int, log_uri: str) -> None:
        super().__init__(message)
        self.exit_status = exit_status
        self.log_uri = log_uri


@dataclass(frozen=True)
class Options:
    """What one run does otherwise than the study says."""

    force: tuple[str, ...] = ()
    """Steps that are done again although their manifests are there."""

    tiles: tuple[str, ...] | None = None
    """Tiles to work on; None = all."""

    years: tuple[int, ...] | None = None
    """Years to work on; None = all."""


def new_run(study: Study, options: Options | None = None, plan: dict[str, Any] | None = None) -> str:
    """Open the folder of a new run and write the resolved study into it; return the URI, which every step starts from.

    plan  what the run is expected to need, for the report
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    uri = storage.join(study.workspace, study.name, "runs", name, STUDY)
    # Keys that the study leaves open stay open: some defaults mean "as the catalog has it".
    record = study.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if plan is not None:
        storage.write_json(storage.join(storage.parent(uri), PLAN), plan)
    storage.write_json(uri, {"study": record, "options": asdict(options or Options())})
    return uri


def new_order(study: Study, options: Options | None = None) -> str:
    """Write what runs of a study start from elsewhere and later; return its URI, which is the same for the same study.

    Its years may still be open: each run settles them when it starts, so that a recurring run follows the calendar.
    """
    record = {
        "study": study.model_dump(mode="json", by_alias=True, exclude_unset=True),
        "options": asdict(options or Options()),
        "order": True,
    }
    name = hashlib.sha256(storage.json_bytes(record)).hexdigest()[:16]
    uri = storage.join(study.workspace, study.name, "orders", f"{name}.json")
    storage.write_json(uri, record)
    return uri


def open_run(uri: str, job: str) -> str:
    """Return the URI of the study of a run. An order is opened under the name of the pipeline's run; a run that is open stays as it is.

    Raises InputError where no year of the study is over yet.
    """
    record = storage.read_json(uri)
    if "order" not in record:
        return uri
    study = settle(Study.model_validate(record["study"]), date.today())
    opened = storage.join(study.workspace, study.name, "runs", job, STUDY)
    settled = study.model_dump(mode="json", by_alias=True, exclude_unset=True)
    storage.write_json(opened, {"study": settled, "options": record["options"]})
    return opened


def run_id(uri: str, job: str) -> str:
    """Return the name of the run that an order or an open run stands for: what `open_run` makes of it."""
    return job if "order" in storage.read_json(uri) else storage.parent(uri).rsplit("/", 1)[-1]


def published(study: Study) -> str:
    """Return the URI of the folder that a study's maps are published in."""
    return storage.join(study.workspace, study.name, "published")


def read_run(study_uri: str) -> Study:
    """Return the study of a run."""
    return Study.model_validate(storage.read_json(study_uri)["study"])


def execute(study: Study, study_uri: str, on_event: Callable[[progress.Event], None]) -> str:
    """Run the pipeline of a study on this machine and return the URI of what it published.

    Raises StepFailedError with the failed step's own line and exit status, and KeyboardInterrupt after an interrupt, also by SIGTERM.
    Whatever way this is left, no process of the run lives on.
    """
    run_uri, last = storage.parent(study_uri), ["the pipeline"]

    def note(event: progress.Event) -> None:
        last[0] = event.step
        on_event(event)

    with processes.interruptible(), _folders(run_uri) as (scratch, folder):
        command = [sys.executable, "-m", "pipelines", "update", "execute", study_uri, "--folder", str(folder)]
        try:
            status = follow(command, {**os.environ, **thread_variables(study), "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"}, note)
        finally:
            if storage.is_remote(run_uri) and (folder / LOG).exists():
                storage.upload(folder / LOG, storage.join(run_uri, LOG))
        if status != 0:
            raise _failure(run_uri, status, last[0])
        return published(study)


def follow(command: list[str], environment: dict[str, str], on_event: Callable[[progress.Event], None]) -> int:
    """Run a command in a process group of its own, hand on the events it prints, and return its exit status.

    Whatever way this is left, neither the command nor any process that it started lives on.
    """
    mark, child = secrets.token_hex(8), None
    try:
        child = subprocess.Popen(
            command,
            env=environment | {processes.MARK: mark},
            stdin=subprocess.PIPE,  # held open: its end tells the child that we are gone
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert child.stdout is not None
        for line in child.stdout:
            event = progress.parse(line)
            if event is not None:
                on_event(event)
        return child.wait()
    finally:
        with processes.undisturbed():
            if child is not None:
                child.kill()  # first of all: interrupted alone, KFP's pool would start the next task of a loop
                child.wait()
            processes.stop(mark)


def thread_variables(study: Study) -> dict[str, str]:
    """Return the environment variables that give every library the study's number of threads: label bytes may depend on it."""
    return dict.fromkeys(THREAD_VARIABLES, str(study.compute.threads))


@contextmanager
def _folders(run_uri: str) -> Iterator[tuple[Path, Path]]:
    """Lend a folder for temporary files, and the run's own folder, which lies among them where the workspace is remote."""
    scratch = Path(tempfile.mkdtemp(prefix="landtide-run-"))
    folder = storage.local_path(run_uri) or scratch / "run"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield scratch, folder
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _failure(run_uri: str, status: int, step: str) -> StepFailedError:
    """Return the error that a failed run stands for."""
    log_uri = storage.join(run_uri, LOG)
    try:
        record = storage.read_json(storage.join(run_uri, ERROR))
    except FileNotFoundError:
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else "without a message"
        return StepFailedError(f"{step} ended {how}; its process may have run out of memory", 1, log_uri)
    return StepFailedError(str(record["message"]), int(record["exit_status"]), log_uri)
