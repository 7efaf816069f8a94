"""Workers: order, laziness, errors, threads, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from landtide.core.errors import InputError, LandtideError
from landtide.launch.workers import AHEAD, THREAD_VARIABLES, open_pool

MEMORY = 2**30


def double_slowly_at_first(value: int) -> int:
    time.sleep(0.2 if value == 0 else 0.0)
    return 2 * value


def process_id(_: int) -> int:
    return os.getpid()


def thread_settings(_: int) -> list[str | None]:
    return [os.environ.get(name) for name in THREAD_VARIABLES]


def refuse(value: int) -> int:
    if value == 3:
        raise InputError(f"value {value} is wrong")
    return value


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def offspring() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "resource_tracker" not in " ".join(child.cmdline())]


def wait_until_gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=15)
    return alive


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    with open_pool(workers, 1, MEMORY) as pool:
        assert list(pool.map(double_slowly_at_first, range(20))) == list(range(0, 40, 2))


def test_one_worker_is_the_calling_process():
    with open_pool(1, 1, MEMORY) as pool:
        assert set(pool.map(process_id, range(3))) == {os.getpid()}
    assert offspring() == []


def test_a_single_item_starts_no_process():
    with open_pool(2, 1, MEMORY) as pool:
        assert list(pool.map(process_id, [0])) == [os.getpid()]
        assert list(pool.map(process_id, [])) == []
        assert offspring() == []


def test_processes_start_once_and_end_with_the_block():
    with open_pool(2, 1, MEMORY) as pool:
        first = set(pool.map(process_id, range(8)))
        second = set(pool.map(process_id, range(8)))
        started = offspring()
    assert os.getpid() not in first
    assert first | second <= {process.pid for process in started}
    assert len(first | second) <= 2
    assert wait_until_gone(started) == []


def test_threads_are_set_in_the_workers_and_nowhere_else(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    with open_pool(2, 3, MEMORY) as pool:
        assert list(pool.map(thread_settings, range(2))) == [["3"] * len(THREAD_VARIABLES)] * 2
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "NUMBA_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_surfaces_as_itself(workers):
    with open_pool(workers, 1, MEMORY) as pool, pytest.raises(InputError, match="value 3 is wrong"):
        list(pool.map(refuse, range(6)))


def test_items_are_taken_only_as_workers_come_free():
    taken = []

    def items() -> Iterator[int]:
        for value in range(1000):
            taken.append(value)
            yield value

    with open_pool(2, 1, MEMORY) as pool:
        results = pool.map(double_slowly_at_first, items())
        assert [next(results) for _ in range(3)] == [0, 2, 4]
        assert len(taken) <= 3 + AHEAD * 2 + 2


def test_a_killed_worker_is_explained():
    with open_pool(2, 1, MEMORY) as pool, pytest.raises(LandtideError, match=r"worker was killed.*compute\.memory"):
        list(pool.map(die, range(2)))


SCRIPT = """
import time
from landtide.launch.workers import open_pool

if __name__ == "__main__":
    with open_pool(2, 1, 2**30) as pool:
        list(pool.map(str, range(2)))
        print("ready", flush=True)
        list(pool.map(time.sleep, [600] * 4))
"""


@pytest.mark.parametrize(("sent", "to_group"), [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGKILL, False)])
def test_no_process_outlives_an_interrupted_step(tmp_path, sent, to_group):
    script = tmp_path / "step.py"
    script.write_text(SCRIPT)
    step = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert step.stdout is not None
    assert step.stdout.readline() == "ready\n"
    started = psutil.Process(step.pid).children(recursive=True)
    assert len(started) >= 2
    if to_group:
        os.killpg(step.pid, sent)
    else:
        step.send_signal(sent)
    _, errors = step.communicate(timeout=30)
    assert wait_until_gone(started) == []
    if sent == signal.SIGINT:
        assert errors.count("Traceback") == 1, errors  # the step's own, no worker's
        assert "KeyboardInterrupt" in errors
