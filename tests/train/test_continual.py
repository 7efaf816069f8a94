"""Going on from an earlier model: what it knew is kept or its loss is refused, and the ledger says what each model reaches."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import phenology
import pytest
import torch
from torch import nn

from landtide import models
from landtide.core.errors import InputError, LandtideError
from landtide.core.samples import SampleSet
from landtide.io import table
from landtide.train import TrainSpec, ledger
from landtide.train.continual import distillation, fisher, reservoir_rows
from landtide.train.data import read
from landtide.train.job import train
from landtide.train.spec import Continual

SETTINGS = {"hidden": 16, "convolution": 0, "batch": 32, "epochs": 10, "noise": 0.02, "drop": 0.0}


def samples_of(year: int, seed: int, labels: tuple[int, ...] = (1, 2, 3, 4)) -> SampleSet:
    """Return a year's samples of some classes; the polygons are the same in all years, and the light changes from year to year."""
    made = phenology.samples(150, years=(year,), seed=seed, polygons=30)
    made = made.take(np.isin(made.y, labels))
    return dataclasses.replace(made, x=made.x + np.float32(0.04 * (year - 2018)))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> TrainSpec:
    """A trained first model of a sequence: its spec."""
    folder = tmp_path_factory.mktemp("first")
    uri = str(folder / "samples.parquet")
    table.write_samples(uri, samples_of(2018, 1))
    spec = TrainSpec("lstm", (uri,), phenology.legend(4), phenology.BANDS, 12, 3, str(folder / "out"), settings=SETTINGS)
    spec = dataclasses.replace(spec, continual=Continual())
    train(spec)
    return spec


def next_spec(first: TrainSpec, folder: Path, samples: SampleSet, **changes: Any) -> TrainSpec:
    uri = str(folder / "samples.parquet")
    table.write_samples(uri, samples)
    going_on = Continual(model=first.output, samples=first.samples, forget=1.0)
    return dataclasses.replace(
        first, samples=(uri,), output=str(folder / "out"), continual=dataclasses.replace(going_on, **changes), checkpoint=None
    )


def told(folder: str) -> dict[str, Any]:
    return json.loads(Path(folder, "training.json").read_text("utf-8"))["ledger"]


def test_replay_keeps_what_fine_tuning_forgets_and_the_gate_refuses_the_loss(first: TrainSpec, tmp_path: Path) -> None:
    later = samples_of(2019, 2, labels=(1, 2))  # two classes have no sample in the later year
    (tmp_path / "tuned").mkdir()
    (tmp_path / "replay").mkdir()
    tuned = train(next_spec(first, tmp_path / "tuned", later, method="finetune"))
    kept = train(next_spec(first, tmp_path / "replay", later, method="replay", replay=0.3))
    assert told(tuned)["rows"][0]["accuracy"]["2018"] > 0.9
    assert told(tuned)["bwt"] < -0.2
    assert told(kept)["bwt"] > told(tuned)["bwt"] + 0.1
    assert models.load(kept).classes_seen == models.load(tuned).classes_seen == [1, 2, 3, 4]
    assert models.load(tuned).prior.min() > 0
    (tmp_path / "gate").mkdir()
    with pytest.raises(
        LandtideError, match=r"the new model is refused: its accuracy on 2018 falls from [01]\.\d+ to 0\.\d+, and"
    ) as caught:
        train(next_spec(first, tmp_path / "gate", later, method="finetune", forget=0.05))
    assert caught.value.exit_status == 1
    assert not (tmp_path / "gate" / "out" / "model.json").exists()


def test_weights_that_are_divided_cannot_be_held_back(first: TrainSpec, tmp_path: Path) -> None:
    spec = next_spec(first, tmp_path, samples_of(2019, 2), method="ewc")
    with pytest.raises(InputError, match=r"continual.method: ewc compares whole weights, and model.parallel: sharded divides them"):
        train(dataclasses.replace(spec, settings={**spec.settings, "parallel": "sharded"}))


@pytest.mark.parametrize("method", ["ewc", "distill"])
def test_weights_or_outputs_can_be_held_back(method: str, first: TrainSpec, tmp_path: Path) -> None:
    later = samples_of(2019, 2, labels=(1, 2))
    (tmp_path / "weak").mkdir()
    weak = train(next_spec(first, tmp_path / "weak", later, method=method, strength=1e-6))
    (tmp_path / "strong").mkdir()
    strong = train(next_spec(first, tmp_path / "strong", later, method=method, strength=1e4 if method == "ewc" else 10.0))
    assert told(strong)["bwt"] > told(weak)["bwt"] + 0.1


def test_another_kind_of_model_is_refused(first: TrainSpec, tmp_path: Path) -> None:
    spec = next_spec(first, tmp_path, samples_of(2019, 2))
    with pytest.raises(InputError, match=r"cannot be gone on from: settings .*16.* there, .*8.* here"):
        train(dataclasses.replace(spec, settings={**SETTINGS, "hidden": 8}))
    with pytest.raises(InputError, match=r"legend \('class 1'.*'class 4'\) there, .*'class 5'\) here"):
        train(dataclasses.replace(spec, legend=phenology.legend(5)))


def test_polygons_of_the_ledger_are_the_same_in_every_year_and_old_samples_count_less(first: TrainSpec, tmp_path: Path) -> None:
    later = samples_of(2020, 5)
    spec = next_spec(first, tmp_path, later)
    one, two = read(first), read(spec)
    polygons = [set(table.read_samples(uri.samples[0]).polygon[data.fold == 0]) for uri, data in ((first, one), (spec, two))]
    assert polygons[0] & polygons[1]
    free = [set(table.read_samples(uri.samples[0]).polygon[data.fold != 0]) for uri, data in ((first, one), (spec, two))]
    assert not polygons[0] & free[1]
    assert not polygons[1] & free[0]


def test_a_reservoir_takes_classes_alike_as_far_as_they_reach() -> None:
    y = np.array([1] * 900 + [2] * 95 + [3] * 5)
    rows = reservoir_rows(y, np.full(1000, 2018), 0.1, seed=1)
    assert np.bincount(y[rows]).tolist() == [0, 48, 47, 5]
    assert len(reservoir_rows(np.tile(y, 2), np.repeat([2018, 2019], 1000), 0.1, seed=1)) == 200


def test_distillation_agrees_with_its_formula() -> None:
    new, old = np.array([[1.0, 0.5, -1.0]]), np.array([[0.2, 1.5, 0.0]])
    p, q = np.exp(old / 2) / np.exp(old / 2).sum(), np.exp(new / 2) / np.exp(new / 2).sum()
    expected = 4 * (p * np.log(p / q)).sum()
    assert float(distillation(torch.tensor(new), torch.tensor(old))) == pytest.approx(expected)
    unseen = torch.tensor([[0.2, 1.5, -torch.inf]])
    alone = distillation(torch.tensor(new[:, :2]), unseen[:, :2])
    assert float(distillation(torch.tensor(new), unseen)) == pytest.approx(float(alone))


def test_fisher_information_of_a_coin_is_that_of_the_text_book(first: TrainSpec) -> None:
    class Coin(nn.Module):
        """Two classes with logits (w, 0): the information on w is p (1 - p)."""

        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor(0.8))

        def forward(self, x: torch.Tensor, mask: torch.Tensor, doy: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.w.expand(len(x)), torch.zeros(len(x))], dim=1)

    p = 1 / (1 + np.exp(-0.8))
    assert float(fisher(Coin(), read(first), seed=2)["w"]) == pytest.approx(p * (1 - p), rel=0.1)


def test_the_ledger_is_summed_up_as_by_hand() -> None:
    rows = [
        {"years": [2018], "accuracy": {"2018": 0.9, "2019": 0.6}},
        {"years": [2019], "accuracy": {"2018": 0.8, "2019": 0.85, "2020": 0.7}},
        {"years": [2020], "accuracy": {"2018": 0.75, "2019": 0.8, "2020": 0.9}},
    ]
    found = ledger.summary(rows, chance=0.25)
    assert found["acc"] == pytest.approx((0.75 + 0.8 + 0.9) / 3)
    assert found["bwt"] == pytest.approx(((0.75 - 0.9) + (0.8 - 0.85)) / 2)
    assert found["fwt"] == pytest.approx(((0.6 - 0.25) + (0.7 - 0.25)) / 2)
    assert ledger.forgotten(rows[0], rows[1]) == ("2018", pytest.approx(0.1))
    assert ledger.summary(rows[:1], 0.25)["bwt"] is None
