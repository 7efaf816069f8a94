"""Steps that make better models, from samples to what a user reads."""

from datetime import date
from pathlib import Path

import phenology
import pytest
import yaml

from landtide import learning
from landtide.core.errors import InputError
from landtide.core.period import Period
from landtide.core.study import parse_study
from landtide.io import manifest, storage
from landtide.io.table import encode_samples
from landtide.launch import driver

STUDY = """
name: fake
area: {{catalog-extent: true}}
years: [2018]
source: {{catalog: catalog.json}}
old_map: {{uri: old.tif}}
bands: [B03, B04, B08, B11]
model: {{name: lstm, hidden: 8, convolution: 0, epochs: 3, batch: 32}}
workspace: {workspace}
{more}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learning")


def study_uri(folder: Path, more: str = "") -> str:
    return driver.new_run(parse_study(STUDY.format(workspace=folder, more=more), str(folder), date(2026, 1, 1)), driver.Options())


def samples_uri(folder: Path) -> str:
    key = manifest.Key(str(folder), "fake", "stable", "all", "2018", "0" * 16)
    if manifest.find(key) is None:
        with manifest.writing(key, period=Period.of_year(2018)) as out:
            out.put("samples.parquet", encode_samples(phenology.samples(60)))
            out.add_asset("samples", "samples.parquet")
    return f"{key.uri}/item.json"


def test_a_search_ends_with_settings_for_the_study_and_a_page(folder: Path) -> None:
    more = "tune: {trials: 3, first: 1, space: {learning_rate: {low: 0.001, high: 0.01, log: true}, hidden: [4, 8]}}"
    study, samples = study_uri(folder, more), samples_uri(folder)
    meeting = learning.tune(study, samples, ["0"])
    uri, page = learning.tune_report(study, samples, [meeting])
    assets = manifest.read(uri).assets
    tuned = yaml.safe_load(storage.read_text(assets["settings"].href))
    assert tuned["model"]["name"] == "lstm"
    assert tuned["model"]["hidden"] in (4, 8)
    assert tuned["model"]["epochs"] == 3
    parse_study(STUDY.format(workspace=folder, more="").replace("hidden: 8", f"hidden: {tuned['model']['hidden']}"), "/", date(2026, 1, 1))
    assert "3 trials (asha)" in page
    assert page.count("curve trial") + page.count("curve best") == 3 + 1
    assert learning.tune_report(study, samples, [meeting])[0] == uri


def test_a_range_upside_down_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"tune.space.dropout.*low must be below high"):
        study_uri(folder, "tune: {space: {dropout: {low: 0.5, high: 0.1}}}")
