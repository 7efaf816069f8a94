"""Training as a user meets it: from samples to files, the same every time, whatever the samples are like."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import phenology
import pytest
import torch
from safetensors.torch import load_file

from landtide import models
from landtide.core.errors import InputError, LandtideError
from landtide.core.period import Period
from landtide.core.samples import SampleSet
from landtide.io import manifest, table
from landtide.train import TrainSpec, record
from landtide.train.__main__ import main
from landtide.train.checkpoint import Checkpoint
from landtide.train.classic import draws, tune
from landtide.train.data import band_statistics, class_weights, number_groups, read, validation_mask
from landtide.train.job import train
from landtide.train.loop import disturb, even_cross_entropy, generalised_cross_entropy
from landtide.train.spec import Optimisation

QUICK: dict[str, dict[str, Any]] = {
    "svm": {"tune_samples": 200},
    "forest": {"trees": 20},
    "lstm": {"epochs": 4, "hidden": 16, "batch": 32},
    "tempcnn": {"epochs": 10, "filters": 16, "dense": 64, "batch": 32},
    "ltae": {"epochs": 4, "width": 32, "heads": 4, "dense": 32, "batch": 32},
    "transformer": {"epochs": 4, "width": 32, "layers": 1, "batch": 32},
    "convlstm": {"epochs": 10, "hidden": 16, "batch": 32, "drop": 0.0},
    "ensemble": {"members": "forest, lstm", "epochs": 4, "batch": 32},
}


def spec_for(samples: SampleSet, folder: Path, name: str, **changes: Any) -> TrainSpec:
    uri = str(folder / "samples.parquet")
    table.write_samples(uri, samples)
    spec = TrainSpec(
        model=name,
        samples=(uri,),
        legend=phenology.legend(4),
        bands=samples.bands,
        steps=phenology.STEPS,
        seed=5,
        output=str(folder / "out"),
        settings=QUICK[name],
    )
    return dataclasses.replace(spec, **changes)


def accuracy(folder: Path, seed: int = 99) -> float:
    asked = phenology.samples(80, seed=seed, years=(2018, 2019, 2020))
    model = models.load(str(folder))
    share = model.predict_proba(asked.x, asked.doy, np.repeat(asked.year[:, None], phenology.STEPS, axis=1))
    return float((share[:, 0].argmax(axis=1) + 1 == asked.y).mean())


@pytest.mark.parametrize("name", models.NAMES)
def test_the_same_spec_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    samples = phenology.samples(40, draws=3, missing=0.1)
    spec = spec_for(samples, tmp_path, name)
    first, second = (Path(train(dataclasses.replace(spec, output=str(tmp_path / run)))) for run in "ab")
    files = sorted(path.name for path in first.iterdir())
    assert {"model.json", "training.json"} < set(files)
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


@pytest.mark.parametrize("name", models.NAMES)
def test_wrong_labels_are_outvoted(name: str, tmp_path: Path) -> None:
    settings = {**QUICK[name], **({"epochs": 15} if name in models.NETWORKS else {})}
    samples = phenology.samples(200, wrong=0.25, draws=3, years=(2018, 2019, 2020))
    folder = Path(train(spec_for(samples, tmp_path, name, settings=settings)))
    assert accuracy(folder) > 0.93


@pytest.mark.parametrize("name", models.NAMES)
def test_a_class_with_one_polygon_and_samples_with_gaps_are_learnt(name: str, tmp_path: Path) -> None:
    samples = phenology.samples(40, missing=0.2)
    polygon = np.where(samples.y == 3, 3000, samples.polygon)
    x = samples.x.copy()
    x[0] = np.nan  # never observed
    x[:, :, 2][samples.y == 2] = np.nan  # a band that a whole class lacks
    folder = Path(train(spec_for(dataclasses.replace(samples, polygon=polygon, x=x), tmp_path, name)))
    assert models.load(str(folder)).classes_seen == [1, 2, 3, 4]
    assert json.loads((folder / "training.json").read_text("utf-8"))["samples"] == len(samples) - 1


def test_one_polygon_in_all_is_learnt_without_validation(tmp_path: Path) -> None:
    samples = phenology.samples(20)
    samples = dataclasses.replace(samples, polygon=np.zeros(len(samples), np.int64))
    curve = json.loads(Path(train(spec_for(samples, tmp_path, "lstm")), "training.json").read_text("utf-8"))["curve"]
    assert [epoch["validation"] for epoch in curve] == [None] * 4
    assert json.loads(Path(train(spec_for(samples, tmp_path, "svm")), "training.json").read_text("utf-8"))["chosen"]["mean_recall"] is None


@pytest.mark.parametrize(
    ("labels", "trust", "line"),
    [([2], 0.0, r"of 1 class \(class 2\)"), ([1, 2, 3, 4], 1.5, r"0 usable series of 0 class \(none\) at trust >= 1.5")],
)
def test_too_few_classes_are_named(labels: list[int], trust: float, line: str, tmp_path: Path) -> None:
    samples = phenology.samples(10)
    spec = spec_for(samples.take(np.isin(samples.y, labels)), tmp_path, "svm", trust=trust)
    with pytest.raises(InputError, match=line):
        train(spec)


def test_samples_of_other_bands_or_labels_are_refused(tmp_path: Path) -> None:
    samples = phenology.samples(10)
    with pytest.raises(LandtideError, match=r"12 steps of bands B03, B04, B08, B11; the training asks for 12 steps of B02"):
        train(spec_for(samples, tmp_path, "svm", bands=("B02", "B04", "B08", "B11")))
    with pytest.raises(LandtideError, match="label 4, legend 'invented' has 3 classes"):
        train(spec_for(samples, tmp_path, "svm", legend=phenology.legend(3)))


def test_untrusted_samples_are_left_out_and_sets_are_joined(tmp_path: Path) -> None:
    samples = phenology.samples(10)
    spec = spec_for(dataclasses.replace(samples, trust=np.where(samples.y == 1, 0.2, 0.9).astype(np.float32)), tmp_path, "svm", trust=0.6)
    data = read(dataclasses.replace(spec, samples=spec.samples * 2))
    assert sorted(np.unique(data.y)) == [2, 3, 4]
    assert len(data) == 60
    assert not set(data.group[:30]) & set(data.group[30:])  # polygon numbers of two sets are not the same polygons


def test_settings_are_checked_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no setting 'epoch'; nearest: 'epochs'"):
        spec_for(phenology.samples(5), tmp_path, "lstm", settings={"epoch": 3})
    with pytest.raises(InputError, match="model 'svm' has no setting 'epochs'"):
        spec_for(phenology.samples(5), tmp_path, "svm", settings={"epochs": 3})
    with pytest.raises(InputError, match="setting noise = 'much' must be a number"):
        spec_for(phenology.samples(5), tmp_path, "lstm", settings={"noise": "much"})


def test_a_spec_survives_the_way_through_json(tmp_path: Path) -> None:
    spec = spec_for(phenology.samples(5), tmp_path, "lstm", trust=0.6, threads=2)
    assert TrainSpec.from_json(spec.to_json()) == spec
    with pytest.raises(InputError, match="key modell, model is unknown or missing"):
        TrainSpec.from_json(spec.to_json().replace('"model"', '"modell"'))


def test_the_module_ends_with_one_line_and_the_status_of_the_error(tmp_path: Path) -> None:
    samples = phenology.samples(10)
    spec = spec_for(samples.take(samples.y == 1), tmp_path, "svm")
    Path(spec.output).mkdir()
    (tmp_path / "spec.json").write_text(spec.to_json(), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "landtide.train", str(tmp_path / "spec.json")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: samples hold 10 usable series of 1 class")
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "out" / "error.json").read_text("utf-8"))["status"] == 2


def test_want_of_memory_ends_with_a_line_that_says_what_to_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = phenology.samples(10)
    huge = spec_for(samples, tmp_path, "lstm", settings={"hidden": 6_000_000})  # its weights fill more than all addresses
    (tmp_path / "spec.json").write_text(huge.to_json(), "utf-8")
    assert main([str(tmp_path / "spec.json")]) == 1
    line = "training lstm ran out of memory: lower model.batch, the size of the network, train.processes, or compute.memory"
    assert f"error: {line}" in capsys.readouterr().err
    left = json.loads((tmp_path / "out" / "error.json").read_text("utf-8"))
    assert left["status"] == 1
    assert left["line"].startswith(line)

    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("landtide.train.job.samples.read", fail)
    for name, what in (("svm", "extract.per_class"), ("convlstm", "model.patches")):
        if name == "convlstm":
            monkeypatch.setattr("landtide.train.networks.source_of", fail)
        with pytest.raises(LandtideError, match=f"training {name} ran out of memory: lower {what}"):
            train(spec_for(samples, tmp_path, name))


def test_bfloat16_learns_and_leaves_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, torch.Tensor] = {}
    seen = set()
    save, forward = Checkpoint.save, torch.nn.Linear.forward

    def spy(checkpoint: Checkpoint, state: Any) -> None:
        kept.update({**state.weights, **{key: value for key, value in state.optimiser.items() if isinstance(value, torch.Tensor)}})
        save(checkpoint, state)

    def watched(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        made = forward(layer, x)
        if layer.training:
            seen.add(made.dtype)
        return made

    monkeypatch.setattr(Checkpoint, "save", spy)
    monkeypatch.setattr(torch.nn.Linear, "forward", watched)
    samples = phenology.samples(100, years=(2018, 2019, 2020))
    settings = {"width": 32, "layers": 1, "batch": 32, "epochs": 20, "precision": "bf16"}
    folder = Path(train(spec_for(samples, tmp_path, "transformer", settings=settings)))
    assert seen == {torch.bfloat16}
    assert {value.dtype for value in kept.values()} == {torch.float32, torch.bool}
    assert {value.dtype for value in load_file(folder / "weights.safetensors").values()} == {torch.float32, torch.bool}
    assert accuracy(folder) > 0.9


def test_a_network_that_learns_nothing_is_doubted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = phenology.samples(60)
    noise = np.random.default_rng(0).permutation(len(samples))
    blind = dataclasses.replace(samples, x=samples.x[noise])
    told = json.loads(Path(train(spec_for(blind, tmp_path, "tempcnn")), "training.json").read_text("utf-8"))
    assert told["doubt"].startswith("model tempcnn has hardly learnt: of labels set apart it meets")
    assert told["doubt"] in caplog.text
    assert "doubt" not in json.loads(Path(train(spec_for(phenology.samples(100), tmp_path, "tempcnn")), "training.json").read_text("utf-8"))


def test_the_output_of_a_training_becomes_assets(tmp_path: Path) -> None:
    folder = train(spec_for(phenology.samples(20), tmp_path, "svm"))
    key = manifest.Key(str(tmp_path), "s", "train", "all", "2018", "0" * 16)
    with manifest.writing(key, period=Period.of_year(2018)) as out:
        record(folder, out)
    href = manifest.read(f"{key.uri}/item.json").assets["model"].href
    assert models.load(href.rsplit("/", 1)[0]).name == "svm"


def test_validation_keeps_polygons_whole_and_every_class_in_training() -> None:
    rng = np.random.default_rng(1)
    group = rng.integers(0, 60, 3000)
    y = (group % 5 + 1).astype(np.uint8)
    y[group == 7] = 6  # a class of one polygon
    held = validation_mask(y, group, seed=2)
    assert not set(group[held]) & set(group[~held])
    assert set(y[~held]) == {1, 2, 3, 4, 5, 6}
    assert 0.08 < held.mean() < 0.25


def test_draws_are_the_bits_of_the_mask() -> None:
    everything = 0xFFFFFFFF
    mask = np.array([0b001, 0b011, 0b100, everything], np.uint32)
    assert [np.flatnonzero(rows).tolist() for rows in draws(mask)] == [[0, 1, 3], [1, 3], [2, 3]]
    assert [rows.tolist() for rows in draws(np.full(3, everything, np.uint32))] == [[True] * 3]


def test_tuning_uses_at_most_the_given_samples_and_finds_a_good_machine(tmp_path: Path) -> None:
    samples = phenology.samples(150, wrong=0.1, noise=0.04)
    data = read(spec_for(samples, tmp_path, "svm"))
    x = np.nan_to_num(data.x).reshape(len(data), -1)
    choice = tune(x, data, np.ones(len(data)), models.config("svm", {"tune_samples": 160}), seed=1, threads=2)
    assert len(choice.table) == 25
    assert choice.score is not None
    assert choice.score == max(row["score"] for row in choice.table)
    assert choice.score > 0.8
    fixed = tune(x, data, np.ones(len(data)), models.config("svm", {"c": 3.0, "tune_samples": 160}), seed=1, threads=1)
    assert fixed.c == 3.0
    assert len(fixed.table) == 5


def test_generalised_cross_entropy_agrees_with_its_formula() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05]])
    logits, target = torch.log(torch.tensor(p)), torch.tensor([0, 2])
    np.testing.assert_allclose(generalised_cross_entropy(logits, target, 0.7), [(1 - 0.7**0.7) / 0.7, (1 - 0.05**0.7) / 0.7], rtol=1e-6)
    np.testing.assert_allclose(generalised_cross_entropy(logits, target, 0.0), [-np.log(0.7), -np.log(0.05)], rtol=1e-6)


def test_smoothed_cross_entropy_agrees_with_torch() -> None:
    logits, target = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 3, 0, 1, 3])
    got = torch.lerp(generalised_cross_entropy(logits, target, 0.0), even_cross_entropy(logits), 0.1)
    torch.testing.assert_close(got, torch.nn.functional.cross_entropy(logits, target, label_smoothing=0.1, reduction="none"))
    unseen = torch.cat([logits, torch.full((6, 1), -torch.inf)], dim=1)
    torch.testing.assert_close(even_cross_entropy(unseen), even_cross_entropy(logits))


def test_hidden_steps_never_empty_a_series() -> None:
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(500, 12, dtype=torch.bool)
    mask[:, 4] = True
    x, kept = disturb(torch.ones(500, 12, 3), mask, Optimisation(drop=0.9), generator)
    assert bool((kept == mask).all())
    assert bool((x[~kept] == 0).all())


def test_weights_and_statistics_agree_with_a_hand_count() -> None:
    y = np.array([1, 1, 1, 1, 2], np.uint8)
    weight = class_weights(y, np.array([1, 1, 1, 0.5, 1], np.float32), 1.0)
    np.testing.assert_allclose(weight / weight[0], [1, 1, 1, 0.5, 4])
    assert weight.mean() == pytest.approx(1)
    x = np.array([[[1.0, np.nan], [3.0, np.nan]], [[np.nan, np.nan], [5.0, np.nan]]], np.float32)
    mean, std = band_statistics(x)
    np.testing.assert_allclose(mean, [3, 0])
    np.testing.assert_allclose(std, [np.std([1, 3, 5]), 1], rtol=1e-6)
    assert len(set(number_groups(np.array([0, 0, 1]), np.array(["a", "b", "a"]), np.array([4, 4, 4])).tolist())) == 3
