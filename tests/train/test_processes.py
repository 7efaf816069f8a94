"""Training shared between processes: the same weights however it is divided, and none lost with a process."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import phenology
import psutil
import pytest
from safetensors.numpy import load_file

from landtide.core.errors import InputError
from landtide.io import table
from landtide.launch.training import run_training
from landtide.train import TrainSpec, loop
from landtide.train.__main__ import main
from landtide.train.job import train

PLAIN = {"hidden": 8, "convolution": 0, "dropout": 0.0, "noise": 0.0, "drop": 0.0, "scaling": "none", "patience": 99}
"""No batch norm and no random numbers that would differ between the processes."""


EPOCHS = 8


def spec_for(folder: Path, name: str, **settings: Any) -> TrainSpec:
    uri = str(folder / "samples.parquet")
    if not Path(uri).exists():
        table.write_samples(uri, phenology.samples(60))
    samples = phenology.samples(1)
    return TrainSpec("lstm", (uri,), phenology.legend(4), samples.bands, 12, 3, str(folder / name), settings={**PLAIN, **settings})


def weights(folder: str) -> dict[str, np.ndarray]:
    return load_file(Path(folder, "weights.safetensors"))


def apart(first: str, second: str) -> float:
    """Return the largest difference between the weights of two trainings.

    The biases of the attention's scores are left out: they move no output, so their gradients are rounding alone, which Adam makes large.
    """
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys()
    idle = {name: slice(len(one[name]) // 3, 2 * len(one[name]) // 3) for name in one if name.endswith("attend.project.bias")}  # the keys'
    for name, part in {**idle, "pool.score.bias": slice(None)}.items():
        if name in one:
            one[name][part] = two[name][part] = 0
    return max(float(np.abs(one[key].astype(np.float64) - two[key]).max()) for key in one)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def shared(folder: Path) -> str:
    """A training that two processes share, started as a study starts it."""
    return run_training(spec_for(folder, "two", batch=16, epochs=EPOCHS), processes=2)


def test_one_process_with_twice_the_batch_and_two_processes_learn_the_same(folder: Path, shared: str) -> None:
    one = train(spec_for(folder, "one", batch=32, epochs=EPOCHS))
    summed = train(spec_for(folder, "summed", batch=16, accumulate=2, epochs=EPOCHS))
    assert apart(one, train(spec_for(folder, "begun", batch=32, epochs=1))) > 1e-3  # they did learn something
    assert apart(one, shared) < 1e-5
    assert apart(one, summed) < 1e-5
    told = [json.loads(Path(run, "training.json").read_text("utf-8")) for run in (one, shared)]
    assert told[1]["processes"] == 2
    for key in ("loss", "validation", "accuracy"):
        assert told[0]["curve"][-1][key] == pytest.approx(told[1]["curve"][-1][key], abs=1e-5)


def test_divided_weights_learn_the_same_as_whole_ones(folder: Path) -> None:
    whole = train(spec_for(folder, "whole weights", batch=32, epochs=3))
    divided = run_training(spec_for(folder, "divided weights", batch=16, epochs=3, parallel="sharded"), processes=2)
    assert apart(whole, divided) < 1e-5


LAYERED = {"width": 16, "heads": 2, "dense": 16, "layers": 3, "dropout": 0.0, "noise": 0.0, "drop": 0.0, "scaling": "none", "patience": 99}


def layered(folder: Path, name: str, **settings: Any) -> TrainSpec:
    return dataclasses.replace(spec_for(folder, name), model="transformer", settings={**LAYERED, **settings})


def test_divided_layers_learn_the_same_as_one_process(folder: Path) -> None:
    one = train(layered(folder, "all layers", batch=32, epochs=4))
    divided = run_training(layered(folder, "divided layers", batch=16, accumulate=2, epochs=4, parallel="pipeline"), processes=2)
    assert apart(one, train(layered(folder, "layers begun", batch=32, epochs=1))) > 1e-3
    assert apart(one, divided) < 1e-5
    summed = train(layered(folder, "layers summed", batch=16, accumulate=2, epochs=4))
    assert apart(summed, divided) < 1e-6
    told = [json.loads(Path(run, "training.json").read_text("utf-8"))["curve"][-1] for run in (one, divided)]
    for key in ("loss", "validation", "accuracy", "recall"):
        assert told[0][key] == pytest.approx(told[1][key], abs=1e-5)


def test_one_process_goes_on_from_what_divided_layers_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(layered(folder, "never cut", blocks=1, batch=16, accumulate=2, epochs=6))
    begun = layered(folder, "begun", blocks=1, batch=16, accumulate=2, epochs=6, parallel="pipeline")
    (folder / "begun.json").write_text(begun.to_json(), "utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "0"]
    command += ["-m", "landtide.train", f"file://{folder}/begun.json"]
    agent = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"})
    lose_one(agent, Path(begun.output, "checkpoint.safetensors"))
    assert agent.wait(timeout=120) != 0
    alone = dataclasses.replace(begun, settings={**begun.settings, "parallel": "data"})
    assert len(load_file(Path(begun.output, "checkpoint.safetensors"))) > 3 * len(weights(whole))  # weights, best, two moments each
    assert apart(whole, train(alone)) < 1e-5


def test_a_pipeline_that_cannot_be_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"pipeline divides transformer alone, not lstm"):
        spec_for(folder, "no layers", parallel="pipeline")
    with pytest.raises(InputError, match=r"over 1 processes needs 2 processes or more"):
        train(layered(folder, "alone", accumulate=2, parallel="pipeline"))
    for name, settings, line in (
        ("shallow", {"accumulate": 2, "layers": 1}, r"as many model.layers \(now 1\)"),
        ("empty", {"accumulate": 1}, r"model.accumulate \(now 1\)"),
    ):
        with pytest.raises(InputError, match=line):
            run_training(layered(folder, name, parallel="pipeline", **settings), processes=2)


def test_a_lost_process_costs_nothing_but_its_epoch(folder: Path, shared: str) -> None:
    spec = spec_for(folder, "disturbed", batch=16, epochs=EPOCHS)
    (folder / "spec.json").write_text(spec.to_json(), "utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    command = [*torchrun, "-m", "landtide.train", f"file://{folder}/spec.json"]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        agent = subprocess.Popen(command, stderr=log, env=environment)
        lose_one(agent, Path(spec.output, "checkpoint.safetensors"))
        assert agent.wait(timeout=120) == 0
    assert "goes on after epoch" in (folder / "log").read_text()
    assert apart(shared, spec.output) < 1e-6
    assert not Path(spec.output, "checkpoint.safetensors").exists()


def lose_one(agent: subprocess.Popen[bytes], checkpoint: Path) -> None:
    """Kill a process of the training once it has left a checkpoint."""
    deadline = time.monotonic() + 90
    while not checkpoint.exists():
        assert time.monotonic() < deadline
        assert agent.poll() is None
        time.sleep(0.01)
    workers = [child for child in psutil.Process(agent.pid).children() if "landtide.train" in " ".join(child.cmdline())]
    os.kill(workers[-1].pid, signal.SIGKILL)


def test_wrong_input_is_not_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = dataclasses.replace(spec_for(folder, "wrong"), trust=2.0)
    (folder / "wrong.json").write_text(spec.to_json(), "utf-8")
    assert main([str(folder / "wrong.json")]) == 2
    assert "error: samples hold 0 usable series" in capsys.readouterr().err
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert main([str(folder / "wrong.json")]) == 2
    assert capsys.readouterr().err == ""


def test_a_training_that_was_cut_off_goes_on_to_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(spec_for(folder, "whole", dropout=0.3, noise=0.1, drop=0.2, epochs=6))
    cut = spec_for(folder, "cut", dropout=0.3, noise=0.1, drop=0.2, epochs=6)
    cut_off(cut, monkeypatch, after=3)
    resumed = train(cut)
    assert Path(whole, "weights.safetensors").read_bytes() == Path(resumed, "weights.safetensors").read_bytes()


def test_the_checkpoint_of_another_training_or_a_damaged_one_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_for(folder, "refused")
    cut_off(spec, monkeypatch, after=1)
    with pytest.raises(InputError, match=r"is of another training: legend class 1, class 2, class 3, class 4 there, class 1.*class 5 here"):
        train(dataclasses.replace(spec, legend=phenology.legend(5)))
    table.write_samples(str(folder / "other.parquet"), dataclasses.replace(phenology.samples(60), bands=("B02", "B03", "B04", "B8A")))
    with pytest.raises(InputError, match="bands B03, B04, B08, B11 there, B02, B03, B04, B8A here"):
        train(dataclasses.replace(spec, bands=("B02", "B03", "B04", "B8A"), samples=(str(folder / "other.parquet"),)))
    path = Path(spec.output, "checkpoint.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"truncated or damaged.*remove it"):
        train(spec)


def cut_off(spec: TrainSpec, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Train for some epochs, and lose the process in the middle of the next one."""
    judge = loop._judge

    def break_off(state: Any, line: Any, divided: Any) -> Any:
        if line.epoch == after:
            raise KeyboardInterrupt
        return judge(state, line, divided)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_judge", break_off)
        with pytest.raises(KeyboardInterrupt):
            train(spec)
