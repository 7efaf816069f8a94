"""Start a training through torchx and wait for it: the one entry point for this machine and, by another scheduler, for others."""

import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

from landtide.core.errors import InputError, LandtideError

log = logging.getLogger(__name__)

ERROR = "error.json"
"""What a failed training leaves in its output folder: line and exit status."""

ROLE = "train"
MODULE = "landtide.train"
SCHEDULER = "local_cwd"
LAUNCHER = "LANDTIDE_LAUNCHER"
"""Variable with our process id: the training ends itself when we are gone, even by a signal that nobody can catch."""


class Spec(Protocol):
    """What must be known of a training to start it."""

    @property
    def output(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def to_json(self) -> str: ...


def run_training(spec: Spec, *, backend: Literal["local"] = "local") -> Path:
    """Train in a process of its own; return the folder with model.json, weights and training.json.

    The log lines of the training come out of this module's logger. Leaving by an exception, Ctrl-C among them, ends the training.
    Raises InputError or LandtideError with the line of the training that failed.
    """
    folder = Path(spec.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ERROR).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="landtide-train-") as scratch:
        path = Path(scratch, "spec.json")
        path.write_text(spec.to_json(), "utf-8")
        succeeded, last = _run_local(path, spec.threads, Path(scratch, "logs"))
    if not succeeded:
        _raise(folder, last)
    return folder


def _run_local(spec: Path, threads: int, logs: Path) -> tuple[bool, str]:
    """Run to the end by torchx's ``local_cwd``; return whether it succeeded, and its last line."""
    from torchx.runner import Runner
    from torchx.schedulers.api import Stream
    from torchx.schedulers.local_scheduler import create_scheduler
    from torchx.specs import AppDef, AppState, Role

    environment = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    environment[LAUNCHER] = str(os.getpid())
    environment["OMP_WAIT_POLICY"] = "passive"  # threads that spin while others hold the cores cost ten times their work
    role = Role(ROLE, image="", entrypoint=sys.executable, args=["-m", MODULE, str(spec)], env=environment)
    with _own_signals():
        scheduler = create_scheduler("landtide")
    with Runner("landtide", {SCHEDULER: lambda *args, **kwargs: scheduler}) as runner:
        handle = runner.run(AppDef(ROLE, roles=[role]), SCHEDULER, {"log_dir": str(logs)})
        last = ""
        try:
            for line in runner.log_lines(handle, ROLE, should_tail=True, streams=Stream.STDERR):
                last = line.rstrip() or last
                log.info("%s", line.rstrip())
            status = runner.wait(handle, wait_interval=0.1)
        except BaseException:  # Ctrl-C above all: the training must not outlive us
            runner.cancel(handle)
            raise
    return status is not None and status.state == AppState.SUCCEEDED, last


def _raise(folder: Path, last: str) -> None:
    path = folder / ERROR
    if path.exists():
        record = json.loads(path.read_text("utf-8"))
        raise (InputError if record["status"] == InputError.exit_status else LandtideError)(record["line"])
    raise LandtideError(f"training ended without a result; its last line: {last.removeprefix('error: ') or 'none'}")


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handlers of Ctrl-C and termination: torchx puts its own in their place and leaves them there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
