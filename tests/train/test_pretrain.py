"""Learning without labels: what the views are, what the losses are, and that a training starts from what was learnt."""

import dataclasses
from pathlib import Path

import numpy as np
import phenology
import pytest
import torch
from safetensors.numpy import load_file

from landtide import models
from landtide.core.errors import InputError
from landtide.core.samples import SampleSet
from landtide.io import table
from landtide.train import TrainSpec, pretrain
from landtide.train.job import train
from landtide.train.spec import Pretrain

SETTINGS = {"hidden": 16, "convolution": 16, "batch": 32, "epochs": 3}


def unlabelled(folder: Path, places: int = 300) -> str:
    """Write series of two years of each place, without labels; return the URI."""
    made = [phenology.samples(places // 4, years=(year,), seed=7) for year in (2018, 2019)]
    xy = np.column_stack([np.arange(len(made[0])), np.zeros(len(made[0]))]).astype(np.float64)
    parts = [dataclasses.replace(part, xy=xy, y=np.zeros(len(part), np.uint8)) for part in made]
    uri = str(folder / "unlabelled.parquet")
    table.write_samples(uri, SampleSet.concatenate(parts))
    return uri


def spec_for(folder: Path, method: str = "both") -> TrainSpec:
    spec = TrainSpec("lstm", (unlabelled(folder),), phenology.legend(4), phenology.BANDS, 12, 3, str(folder / "weights"), settings=SETTINGS)
    return dataclasses.replace(spec, pretrain=Pretrain(method, epochs=6, batch=64))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["contrastive", "masked"])
def test_the_loss_falls_and_a_training_starts_from_the_weights(method: str, tmp_path: Path) -> None:
    spec = spec_for(tmp_path, method)
    folder = train(spec)
    curve = pretrain.storage.read_json(f"{folder}/training.json")["curve"]
    assert curve[-1] < 0.9 * curve[0]
    labelled = str(tmp_path / "labelled.parquet")
    table.write_samples(labelled, phenology.samples(30))
    still = {**SETTINGS, "learning_rate": 1e-12, "weight_decay": 0.0, "epochs": 1}
    begun = train(dataclasses.replace(spec, samples=(labelled,), pretrain=None, start=folder, settings=still, output=str(tmp_path / "out")))
    own, trained = load_file(f"{folder}/encoder.safetensors"), load_file(f"{begun}/weights.safetensors")
    assert not [name for name in own if name.startswith("head.")]
    learnt = [name for name in own if "running" not in name and "num_batches" not in name]
    assert all(np.abs(own[name] - trained[name]).max() < 1e-6 for name in learnt)
    record = pretrain.storage.read_json(f"{folder}/training.json")
    np.testing.assert_allclose(models.load(begun).card.mean, record["mean"])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    folder = train(spec_for(tmp_path))
    spec = dataclasses.replace(spec_for(tmp_path), pretrain=None, start=folder, output=str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"holds another network: settings .*'hidden': 16.* there, .*'hidden': 8.* here"):
        train(dataclasses.replace(spec, settings={**SETTINGS, "hidden": 8}))
    with pytest.raises(InputError, match=r"model 'svm' cannot go on from earlier weights"):
        train(dataclasses.replace(spec, model="svm", settings={}))


def test_views_share_no_step_and_hide_none(tmp_path: Path) -> None:
    places, _, _ = pretrain.read(spec_for(tmp_path))
    one, two = pretrain.views(places, torch.arange(200), torch.Generator().manual_seed(1))
    assert not bool((one[1] & two[1]).any())
    assert bool((one[1] | two[1]).all())
    pairs = one[1].view(200, 6, 2)
    assert bool((pairs.sum(dim=2) == 1).all())  # of two neighbours, each view has one
    assert bool((one[0][~one[1]] == 0).all())


def test_a_place_that_changed_is_no_positive_of_itself() -> None:
    rng = np.random.default_rng(1)
    series = rng.normal(0, 0.1, (100, 2, 12, 3)).astype(np.float32)
    series[:30, 1] += 2
    places = pretrain.places_of(series, np.ones((100, 2, 12)))
    first, second = torch.zeros(100, dtype=torch.long), torch.ones(100, dtype=torch.long)
    alike = pretrain._alike(places, torch.arange(100), first, second)
    assert not bool(alike[:30].any())
    assert int(alike.sum()) == 50


def test_vicreg_agrees_with_its_formula() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 0.7, (40, 5)), rng.normal(0.2, 1.2, (40, 5))
    spread = np.mean([np.maximum(0, 1 - np.sqrt(z.var(axis=0, ddof=1) + 1e-4)).mean() for z in (a, b)])
    off = sum((np.cov(z.T) ** 2).sum() - (np.diag(np.cov(z.T)) ** 2).sum() for z in (a, b)) / 5
    expected = 25 * ((a - b) ** 2).mean() + 25 * spread + off
    assert float(pretrain.vicreg(torch.tensor(a), torch.tensor(b))) == pytest.approx(expected)


def test_only_hidden_steps_count_in_the_masked_loss(tmp_path: Path) -> None:
    places, _, _ = pretrain.read(spec_for(tmp_path))

    class Oracle(torch.nn.Module):
        """Gives the truth at observed steps, and nonsense at missing ones."""

        def forward(self, x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
            return x

    def told(seen: torch.Tensor) -> torch.Tensor:
        return seen + 100 * (seen != 0)  # wrong at every step that was shown, zero at the hidden ones

    index = torch.arange(100)
    loss = pretrain.masked_loss(Oracle(), told, places, index, torch.Generator().manual_seed(3))  # type: ignore[arg-type]
    assert 0 < float(loss) < 5  # the mean square of standardised values: the nonsense at shown steps is not in it
