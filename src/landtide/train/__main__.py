"""``[torchrun ...] -m landtide.train SPEC``: one training, in this process or shared with others that torchrun started.

SPEC is the path or URI of a `TrainSpec` in JSON. Exit status 0 done, 1 the work failed, 2 the input was wrong; a failure leaves one line on
stderr and, with the status, in ``error.json`` in the output folder. torchrun itself ends with 1 whatever its processes end with.
"""

import dataclasses
import logging
import os
import signal
import sys
import threading
import time

LAUNCHER = "LANDTIDE_LAUNCHER"
"""Variable with the process id of who waits for this training on this machine."""

WORKER = "LANDTIDE_WORKER"
"""Variable with the number of a process among those that search for settings beside each other."""

AGENT = "TORCHELASTIC_RUN_ID"
"""Variable that torchrun sets: then our parent is its agent, which starts lost processes anew."""


def main(arguments: list[str]) -> int:
    """Train by a spec; a failure is one line on stderr."""
    if LAUNCHER in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ[LAUNCHER]),), daemon=True).start()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch's deterministic algorithms need it on CUDA
    from threadpoolctl import threadpool_limits

    from landtide.core.errors import LandtideError
    from landtide.io import storage
    from landtide.train.job import train
    from landtide.train.output import ERROR
    from landtide.train.place import Place
    from landtide.train.spec import TrainSpec

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if len(arguments) != 1:
        sys.stderr.write("error: usage: python -m landtide.train SPEC.json\n")
        return 2
    error_uri, place = None, Place.of(os.environ)
    try:
        spec = TrainSpec.from_json(storage.read_text(arguments[0]))
        error_uri = storage.join(spec.output, ERROR)
        if spec.search is not None and WORKER in os.environ:
            spec = dataclasses.replace(spec, search=dataclasses.replace(spec.search, worker=f"{spec.search.worker}.{os.environ[WORKER]}"))
        if place.restarts and storage.exists(error_uri) and storage.read_json(error_uri)["status"] == 2:
            return 2  # torchrun tries again after every failure; the input has not changed
        with threadpool_limits(spec.threads):
            started = time.monotonic()
            train(spec, place)
        if place.first:
            storage.delete(error_uri)  # of a try that went wrong before
            logging.getLogger(__name__).info("done in %.1f s", time.monotonic() - started)
    except (LandtideError, OSError) as error:
        status = error.exit_status if isinstance(error, LandtideError) else 1
        line = " ".join(str(error).split())
        sys.stderr.write(f"error: {line}\n")
        if error_uri is not None:
            try:
                storage.write_json(error_uri, {"line": line, "status": status})
            except (LandtideError, OSError) as second:
                sys.stderr.write(f"error: {error_uri} could not be written: {' '.join(str(second).split())}\n")
        return status
    return 0


def _end_with(launcher: int) -> None:
    """End this process when the one that waits for it is gone: the cores would stay taken for nobody."""
    import psutil

    try:
        waiting = psutil.Process(launcher)
        while waiting.is_running() and waiting.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
    except psutil.NoSuchProcess:
        pass
    if AGENT in os.environ:
        os.kill(os.getppid(), signal.SIGTERM)  # else it would start us anew
    os._exit(1)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the libraries' thread pools can abort while the interpreter takes itself down, and hide the status
