"""``python -m landtide.train SPEC.json``: what torchx and torchrun start. Exit status 0 done, 1 the work failed, 2 the input was wrong."""

import json
import logging
import os
import sys
import threading
import time
from pathlib import Path

LAUNCHER = "LANDTIDE_LAUNCHER"
"""Variable with the process id of who waits for this training; set where that is our parent."""

ERROR = "error.json"
"""In the output folder: kind, line and exit status of a failed training, for whoever started it elsewhere."""


def main(arguments: list[str]) -> int:
    """Train by a spec; a failure is one line on stderr."""
    if LAUNCHER in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ[LAUNCHER]),), daemon=True).start()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch's deterministic algorithms need it on CUDA
    from threadpoolctl import threadpool_limits

    from landtide.core.errors import LandtideError
    from landtide.train.job import train
    from landtide.train.spec import TrainSpec

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if len(arguments) != 1:
        sys.stderr.write("error: usage: python -m landtide.train SPEC.json\n")
        return 2
    spec = None
    try:
        spec = TrainSpec.from_json(Path(arguments[0]).read_text("utf-8"))
        with threadpool_limits(spec.threads):
            started = time.monotonic()
            train(spec)
            logging.getLogger(__name__).info("done in %.1f s", time.monotonic() - started)
    except (LandtideError, OSError) as error:
        status = error.exit_status if isinstance(error, LandtideError) else 1
        line = " ".join(str(error).split())
        sys.stderr.write(f"error: {line}\n")
        if spec is not None and Path(spec.output).is_dir():
            (Path(spec.output) / ERROR).write_text(json.dumps({"line": line, "status": status}), "utf-8")
        return status
    return 0


def _end_with(launcher: int) -> None:
    """End this process when the one that started it is gone: nobody would wait for the result, and the cores would stay taken."""
    while os.getppid() == launcher:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the libraries' thread pools can abort while the interpreter takes itself down, and hide the status
