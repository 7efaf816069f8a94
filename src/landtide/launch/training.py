"""Start a training through torchx and wait for it: the one entry point for this machine and, by another scheduler, for others."""

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, Protocol

from landtide.core.errors import InputError, LandtideError
from landtide.io import storage

log = logging.getLogger(__name__)

ERROR = "error.json"
"""What a failed training leaves in its output folder: line and exit status."""

ROLE = "train"
MODULE = "landtide.train"
SCHEDULER = "local_cwd"
MAX_RESTARTS = 3
"""How often torchrun starts the processes anew after one is lost; they go on from the last epoch."""

WORKER = "LANDTIDE_WORKER"
"""Variable with the number of each of several processes that search for settings."""

KILLED = "SIGKILL"
FRESH_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""Variable that torchrun on every node must have as 1: a try after a loss then meets in a store without the keys of the lost one."""

LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
LAUNCHER = "LANDTIDE_LAUNCHER"
"""Variable with our process id: the training ends itself when we are gone, even by a signal that nobody can catch."""


class Spec(Protocol):
    """What must be known of a training to start it."""

    @property
    def output(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def to_json(self) -> str: ...


def run_training(spec: Spec, *, processes: int = 1, nodes: int = 1) -> str:
    """Train in processes of its own; return the folder (path or URI) with model.json, weights and training.json.

    processes  on each node; on this machine, nodes are torchrun agents that meet over the loopback

    The log lines of the training come out of this module's logger. Leaving by an exception, Ctrl-C among them, ends the training.
    Raises InputError or LandtideError with the line of the training that failed.
    """
    storage.delete(storage.join(spec.output, ERROR))
    with tempfile.TemporaryDirectory(prefix="landtide-train-") as scratch:
        path = Path(scratch, "spec.json")
        path.write_text(spec.to_json(), "utf-8")
        succeeded, last = _run_local(command(str(path), processes, nodes), nodes, spec.threads, Path(scratch, "logs"))
    if not succeeded:
        raise_error(spec.output, last)
    return spec.output


def run_search(spec: Spec, parallel: int) -> None:
    """Search for settings in processes beside each other, which meet in the search's storage; return when all are done.

    Raises as `run_training` does.
    """
    storage.delete(storage.join(spec.output, ERROR))
    with tempfile.TemporaryDirectory(prefix="landtide-tune-") as scratch:
        path = Path(scratch, "spec.json")
        path.write_text(spec.to_json(), "utf-8")
        succeeded, last = _run_local(command(str(path), 1, 1), parallel, spec.threads, Path(scratch, "logs"))
    if not succeeded:
        raise_error(spec.output, last)


def command(spec_uri: str, processes: int, nodes: int) -> list[str]:
    """Return what Python must be given to train on this machine: torchrun where there is more than one process."""
    if processes * nodes == 1:
        return ["-m", MODULE, spec_uri]  # no torchrun: an SVM needs no torch, whose import takes seconds
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = [
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        f"127.0.0.1:{port}",
        "--rdzv-id",
        f"landtide-{port}",
        "--local-addr",
        "127.0.0.1",
    ]
    amount = ["--nnodes", str(nodes), "--nproc-per-node", str(processes), "--max-restarts", str(MAX_RESTARTS)]
    return ["-m", "torch.distributed.run", *amount, *meeting, "-m", MODULE, spec_uri]


def _run_local(arguments: list[str], copies: int, threads: int, logs: Path) -> tuple[bool, str]:
    """Run to the end by torchx's ``local_cwd``; return whether it succeeded, and its last telling line."""
    from torchx.runner import Runner
    from torchx.schedulers.api import Stream
    from torchx.schedulers.local_scheduler import create_scheduler
    from torchx.specs import AppDef, AppState, Role, macros

    environment = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    environment |= {
        LAUNCHER: str(os.getpid()),
        FRESH_STORE: "1",
        WORKER: macros.replica_id,
        "OMP_WAIT_POLICY": "passive",  # threads that spin while others hold the cores cost ten times their work
        "GLOO_SOCKET_IFNAME": LOOPBACK,  # gloo would look up this machine's own name, which need not resolve
    }
    role = Role(ROLE, image="", entrypoint=sys.executable, args=arguments, env=environment, num_replicas=copies)
    with _own_signals():
        scheduler = create_scheduler("landtide")
    with Runner("landtide", {SCHEDULER: lambda *args, **kwargs: scheduler}) as runner:
        handle = runner.run(AppDef(ROLE, roles=[role]), SCHEDULER, {"log_dir": str(logs)})
        last = ""
        try:
            for line in runner.log_lines(handle, ROLE, should_tail=True, streams=Stream.STDERR):
                last = line.rstrip() if "rror" in line or KILLED in line or last == "" else last
                log.info("%s", line.rstrip())
            status = runner.wait(handle, wait_interval=0.1)
        except BaseException:  # Ctrl-C above all: the training must not outlive us
            runner.cancel(handle)
            raise
    return status is not None and status.state == AppState.SUCCEEDED, last


def raise_error(output: str, last: str) -> NoReturn:
    """Raise what a failed training left in its output folder, or say its last line where it could leave nothing."""
    try:
        record = storage.read_json(storage.join(output, ERROR))
    except FileNotFoundError:
        advice = "a process that is killed has often run out of memory: lower model.batch, train.processes or compute.memory"
        raise LandtideError(f"training ended without a result ({advice}); its last line: {last or 'none'}") from None
    raise (InputError if record["status"] == InputError.exit_status else LandtideError)(record["line"])


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
