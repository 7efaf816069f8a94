"""The ensemble against its members."""

import dataclasses
from pathlib import Path

import numpy as np
import phenology
import pytest
from test_models import fitted

from landtide import models
from landtide.core.errors import InputError
from landtide.io import table
from landtide.models.ensemble import Ensemble
from landtide.train import TrainSpec
from landtide.train.job import train


def trained(members: str, folder: Path) -> models.TrainedModel:
    table.write_samples(str(folder / "samples.parquet"), phenology.samples(40))
    spec = TrainSpec(
        model="ensemble",
        samples=(str(folder / "samples.parquet"),),
        legend=phenology.legend(5),
        bands=phenology.BANDS,
        steps=phenology.STEPS,
        seed=3,
        output=str(folder / "ensemble"),
        settings={"members": members},
    )
    return models.load(str(train(spec)))


def test_probabilities_are_the_mean_of_the_members(tmp_path: Path) -> None:
    together = trained("forest, svm, forest", tmp_path)
    asked = phenology.samples(50, seed=9)
    year = np.repeat(asked.year[:, None], phenology.STEPS, axis=1)
    assert isinstance(together.scorer, Ensemble)
    alone = [dataclasses.replace(together, scorer=scorer).predict_proba(asked.x, asked.doy, year) for scorer in together.scorer.scorers]
    np.testing.assert_allclose(together.predict_proba(asked.x, asked.doy, year), np.mean(alone, axis=0), atol=1e-6)
    assert not np.array_equal(alone[0], alone[2])  # two forests, two seeds
    plain = fitted("svm", phenology.samples(40), tmp_path)
    assert plain.classes_seen == together.classes_seen


def test_files_of_the_members_lie_beside_the_card(tmp_path: Path) -> None:
    trained("forest, svm", tmp_path)
    names = sorted(path.name for path in (tmp_path / "ensemble").iterdir())
    assert names == ["0-forest.forest.skops", "1-svm.weights.safetensors", "model.json", "training.json"]


@pytest.mark.parametrize("members", ["lstm", "", "lstm, lstn", "forest, ensemble"])
def test_members_that_cannot_be_are_named(members: str) -> None:
    with pytest.raises(InputError, match="must name two models or more"):
        models.config("ensemble", {"members": members})
