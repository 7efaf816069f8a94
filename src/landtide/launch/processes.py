"""The processes of one run: found by a mark in their environment, so that none survives it."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import psutil

MARK = "LANDTIDE_RUN"
"""Environment variable that every process of a run inherits; process groups and parents change, this does not."""

GRACE = 5.0
"""Seconds in which an interrupted process may remove its scratch files."""


LOOKS = 3
"""Looks in a row that must find nothing: in the middle of starting a program, a process shows no environment."""

INTERRUPTED = 130
"""Exit status of a program that Ctrl-C ended: 128 + SIGINT."""


def marked(mark: str) -> list[psutil.Process]:
    """Return the living processes that carry the mark, without this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue
    return found


def stop(mark: str, grace: float = GRACE) -> None:
    """End every process that carries the mark: interrupt, wait so many seconds, kill, until none is left."""
    deadline = time.monotonic() + grace
    if grace > 0:
        _signal(marked(mark), signal.SIGINT)
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    looks = 0
    while looks < LOOKS:
        left = marked(mark)
        _signal(left, signal.SIGKILL)
        looks = 0 if left else looks + 1
        time.sleep(0.1)


def end_with_parent() -> None:
    """End the run when the driver is gone: it holds the other end of our standard input, and a killed driver cannot clean up."""

    def end() -> None:
        stop(os.environ[MARK], grace=0)
        os._exit(1)

    def wait() -> None:
        while os.read(0, 1):
            pass
        # The interpreter waits for this thread, and not for a daemon: the work ends under our hands, but the clean-up must not.
        threading.Thread(target=end).start()

    threading.Thread(target=wait, daemon=True).start()


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does: batch systems send it before they kill."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore further interrupts while a run is being stopped."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
