"""Models as a user meets them: saved, loaded, asked."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import phenology
import pytest

from landtide import models
from landtide.core.errors import InputError, LandtideError
from landtide.core.samples import SampleSet
from landtide.io import table
from landtide.train import TrainSpec
from landtide.train.job import train

QUICK = {
    "svm": {"c": 10.0, "gamma": 1.0},
    "forest": {"trees": 20},
    "lstm": {"epochs": 3, "hidden": 16, "batch": 32},
    "tempcnn": {"epochs": 10, "filters": 16, "dense": 64, "batch": 32},
    "ltae": {"epochs": 12, "learning_rate": 5e-3, "width": 32, "heads": 4, "dense": 32, "batch": 32},
    "transformer": {"epochs": 12, "learning_rate": 5e-3, "width": 32, "layers": 1, "batch": 32},
    "convlstm": {"epochs": 10, "hidden": 16, "batch": 32, "drop": 0.0},
    "ensemble": {"members": "forest, lstm", "epochs": 4, "batch": 32},
}


def fitted(name: str, samples: SampleSet, folder: Path, classes: int = 5) -> models.TrainedModel:
    table.write_samples(str(folder / "samples.parquet"), samples)
    spec = TrainSpec(
        model=name,
        samples=(str(folder / "samples.parquet"),),
        legend=phenology.legend(classes),
        bands=phenology.BANDS,
        steps=phenology.STEPS,
        seed=3,
        output=str(folder / name),
        settings=QUICK[name],
    )
    return models.load(str(train(spec)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, models.TrainedModel]:
    """Each architecture, trained on classes 1 to 4 of a legend of 5."""
    samples = phenology.samples(60, missing=0.1, years=(2018, 2019), draws=3)
    return {name: fitted(name, samples, tmp_path_factory.mktemp(name)) for name in models.NAMES}


@pytest.mark.parametrize("name", models.NAMES)
def test_probabilities_sum_to_one_and_spare_classes_never_seen(name: str, trained: dict[str, models.TrainedModel]) -> None:
    model = trained[name]
    asked = phenology.samples(30, missing=0.3, seed=9)
    share = model.predict_proba(asked.x, asked.doy, np.repeat(asked.year[:, None], 12, axis=1))
    assert share.shape == (len(asked), 1, 5)
    assert share.dtype == np.float32
    np.testing.assert_allclose(share.sum(axis=2), 1, atol=1e-5)
    assert (share[..., 4] == 0).all()
    assert model.classes_seen == [1, 2, 3, 4]
    assert model.prior[4] == 0
    assert model.prior.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", models.NAMES)
def test_classes_are_told_apart(name: str, trained: dict[str, models.TrainedModel]) -> None:
    asked = phenology.samples(50, seed=11, years=(2018, 2019))
    share = trained[name].predict_proba(asked.x, asked.doy, np.repeat(asked.year[:, None], 12, axis=1))
    assert (share[:, 0].argmax(axis=1) + 1 == asked.y).mean() > 0.9


@pytest.mark.parametrize("name", models.NAMES)
def test_several_years_give_what_each_year_gives_alone(name: str, trained: dict[str, models.TrainedModel]) -> None:
    first, second = phenology.samples(20, seed=1, years=(2018,)), phenology.samples(20, seed=2, years=(2019,))
    years = [np.repeat(part.year[:, None], 12, axis=1) for part in (first, second)]
    x, doy = np.concatenate([first.x, second.x], axis=1), np.concatenate([first.doy, second.doy], axis=1)
    together = trained[name].predict_proba(x, doy, np.concatenate(years, axis=1))
    assert together.shape == (80, 2, 5)
    for index, part in enumerate((first, second)):
        np.testing.assert_array_equal(together[:, index], trained[name].predict_proba(part.x, part.doy, years[index])[:, 0])


@pytest.mark.parametrize("name", models.NAMES)
def test_a_pixel_gets_the_same_bits_wherever_it_stands(name: str, trained: dict[str, models.TrainedModel]) -> None:
    asked = phenology.samples(700, missing=0.1, seed=5)
    years = np.repeat(asked.year[:, None], 12, axis=1)
    order = np.random.default_rng(0).permutation(len(asked))[:1531]
    whole = trained[name].predict_proba(asked.x, asked.doy, years)
    np.testing.assert_array_equal(trained[name].predict_proba(asked.x[order], asked.doy[order], years[order]), whole[order])


@pytest.mark.parametrize("name", models.NAMES)
def test_a_year_without_observation_gets_equal_shares(name: str, trained: dict[str, models.TrainedModel]) -> None:
    x = np.full((2, 12, 4), np.nan, np.float32)
    share = trained[name].predict_proba(x, np.tile(phenology.DOY, (2, 1)), np.full((2, 12), 2018, np.int16))
    np.testing.assert_allclose(share[:, 0], [[0.25, 0.25, 0.25, 0.25, 0]] * 2)


@pytest.mark.parametrize("name", models.NAMES)
def test_a_model_saved_and_loaded_is_the_same(name: str, trained: dict[str, models.TrainedModel], tmp_path: Path) -> None:
    models.save(trained[name], tmp_path)
    again = models.load(str(tmp_path))
    assert again.id == trained[name].id
    assert again.card == trained[name].card
    card = json.loads((tmp_path / "model.json").read_text("utf-8"))
    assert card["bands"] == list(phenology.BANDS)
    assert card["legend"]["classes"][0]["name"] == "class 1"
    assert card["landtide"]


def test_a_series_of_another_shape_is_refused(trained: dict[str, models.TrainedModel]) -> None:
    with pytest.raises(LandtideError, match=r"whole years of 12 steps.*13 steps of 4 bands"):
        trained["lstm"].predict_proba(np.zeros((1, 13, 4), np.float32), np.zeros((1, 13), np.int16), np.zeros((1, 13), np.int16))


def test_a_forest_file_with_strange_types_is_refused(trained: dict[str, models.TrainedModel], tmp_path: Path) -> None:
    import skops.io

    models.save(trained["forest"], tmp_path)
    (tmp_path / "forest.skops").write_bytes(skops.io.dumps(phenology.legend))
    with pytest.raises(LandtideError, match="holds types that no forest needs"):
        models.load(str(tmp_path))


def test_a_card_of_another_format_is_refused(trained: dict[str, models.TrainedModel], tmp_path: Path) -> None:
    models.save(trained["svm"], tmp_path)
    card = json.loads((tmp_path / "model.json").read_text("utf-8"))
    (tmp_path / "model.json").write_text(json.dumps({**card, "format": 99}), "utf-8")
    with pytest.raises(LandtideError, match="format 99"):
        models.load(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "settings", "line"),
    [
        ("lstn", {}, "model 'lstn' is unknown; nearest: 'lstm'"),
        ("lstm", {"hiden": 3}, "no setting 'hiden'; nearest: 'hidden'"),
        ("lstm", {"hidden": "many"}, "setting hidden = 'many' must be a whole number"),
        ("svm", {"c": "big"}, "setting c = 'big' must be a number or null"),
        ("forest", {"trees": True}, "setting trees = True must be a whole number"),
    ],
)
def test_wrong_settings_are_named(name: str, settings: dict[str, object], line: str) -> None:
    with pytest.raises(InputError, match=line):
        models.config(name, settings)


def test_the_card_keeps_the_settings_that_were_used(trained: dict[str, models.TrainedModel]) -> None:
    assert trained["forest"].card.settings["trees"] == 20
    assert dataclasses.asdict(models.config("lstm", {"hidden": 16})) == trained["lstm"].card.settings
