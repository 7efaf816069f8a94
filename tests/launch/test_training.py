"""Training through torchx: result, errors, and no survivors."""

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import phenology
import psutil
import pytest

from landtide import models
from landtide.core.errors import InputError, LandtideError
from landtide.io import table
from landtide.launch.training import run_training
from landtide.train import TrainSpec


def spec_for(folder: Path, model: str, **changes: object) -> TrainSpec:
    uri = str(folder / "samples.parquet")
    table.write_samples(uri, phenology.samples(40))
    endless = {"trees": 1_000_000}
    options = {"settings": endless if model == "forest" else {"c": 1.0, "gamma": 1.0}}
    spec = TrainSpec(model, (uri,), phenology.legend(4), phenology.BANDS, 12, 1, str(folder / "out"), **options)  # type: ignore[arg-type]
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]


def test_a_training_runs_in_its_own_process_and_logs_here(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with caplog.at_level(logging.INFO, "landtide.launch.training"):
        folder = run_training(spec_for(tmp_path, "svm"))
    assert models.load(str(folder)).name == "svm"
    assert any("training svm on 160 samples" in record.message for record in caplog.records)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_wrong_input_comes_back_as_the_line_of_the_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^samples hold 0 usable series of 0 class"):
        run_training(spec_for(tmp_path, "svm", trust=2.0))


def test_a_failure_of_the_work_is_no_input_error(tmp_path: Path) -> None:
    with pytest.raises(LandtideError, match="the training asks for 11 steps") as caught:
        run_training(spec_for(tmp_path, "svm", steps=11))
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(number: signal.Signals, tmp_path: Path) -> None:
    spec = spec_for(tmp_path, "forest")
    (tmp_path / "spec.json").write_text(spec.to_json(), "utf-8")
    code = textwrap.dedent(f"""
        from pathlib import Path
        from landtide.launch.training import run_training
        from landtide.train import TrainSpec
        run_training(TrainSpec.from_json(Path({str(tmp_path / "spec.json")!r}).read_text()))
    """)
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        child = wait_for_child(parent.pid)
        os.kill(parent.pid, number)
        assert parent.wait(timeout=30) != 0
        assert not psutil.wait_procs([child], timeout=15)[1]
    finally:
        parent.kill()


def wait_for_child(pid: int) -> psutil.Process:
    """Return the training process once it has begun to train."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in psutil.Process(pid).children():
            if child.num_threads() > 1:  # it watches its parent: our code runs
                return child
        time.sleep(0.1)
    raise AssertionError("the training never started")
