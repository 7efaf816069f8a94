"""The ensemble against its members."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import phenology
import pytest
from test_models import fitted

from landtide import models
from landtide.core.errors import InputError
from landtide.io import table
from landtide.models.ensemble import Ensemble
from landtide.models.forest import Forest
from landtide.models.network import Network
from landtide.train import TrainSpec
from landtide.train.job import train
from landtide.train.spec import split_settings


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


def test_a_member_has_settings_of_its_own(tmp_path: Path) -> None:
    together = trained("forest trees=7 leaf=2, svm, tempcnn filters=16 epochs=1", tmp_path)
    assert isinstance(together.scorer, Ensemble)
    forest, _, network = together.scorer.scorers
    assert isinstance(forest, Forest)
    assert isinstance(network, Network)
    assert (len(forest.trees.estimators_), forest.trees.min_samples_leaf) == (7, 2)
    assert network.module.get_parameter("blocks.0.0.weight").shape[0] == 16
    assert together.card.settings == {"members": "forest trees=7 leaf=2, svm, tempcnn filters=16 epochs=1"}


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ("forest trees=, lstm", "'trees=' must be a setting of forest, key=value"),
        ("forest 500, lstm", "'500' must be a setting of forest, key=value"),
        ("lstm, forest tres=500", "model 'forest' has no setting 'tres'; nearest: 'trees'"),
        ("lstm epochs=many, forest", "setting epochs = 'many' must be a whole number"),
        ("lstm years=carried, forest", "each year for itself"),
    ],
)
def test_a_wrong_setting_of_a_member_is_told_before_any_is_trained(members: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        split_settings("ensemble", {"members": members})
