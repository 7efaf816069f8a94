"""Steps that make better models, from samples to what a user reads."""

import dataclasses
from datetime import date
from pathlib import Path

import phenology
import pytest
import torch
import yaml
from safetensors.torch import load

from landtide import learning, models, steps
from landtide.core.errors import InputError, LandtideError
from landtide.core.period import Period
from landtide.core.study import parse_study
from landtide.io import manifest, storage
from landtide.io.table import encode_samples
from landtide.launch import driver
from landtide.launch.training import run_training
from landtide.runs import Report, Run, step_of
from landtide.train import TrainSpec

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


def study_uri(folder: Path | str, more: str = "", model: str = "") -> str:
    text = STUDY.format(workspace=folder, more=more).replace("batch: 32", f"batch: 32{model}")
    return driver.new_run(parse_study(text, str(folder), date(2026, 1, 1)), driver.Options())


def samples_uri(folder: Path | str, year: int = 2018) -> str:
    key = manifest.Key(str(folder), "fake", "stable", "all", str(year), "0" * 16)
    if manifest.find(key) is None:
        with manifest.writing(key, period=Period.of_year(year)) as out:
            out.put("samples.parquet", encode_samples(phenology.samples(60, years=(year,), seed=year)))
            out.add_asset("samples", "samples.parquet")
    return f"{key.uri}/item.json"


def weights_of(uri: str, asset: str, name: str) -> dict[str, torch.Tensor]:
    """Return the weights beside an asset of a manifest."""
    return load(storage.read_bytes(storage.join(storage.parent(manifest.read(uri).assets[asset].href), name)))


def test_a_training_starts_from_weights_that_were_learnt_without_labels(folder: Path) -> None:
    samples = samples_uri(folder)
    made = learning.pretrain(study_uri(folder, "pretrain: {epochs: 1, batch: 32}"), samples)
    begun = study_uri(folder, f"train: {{pretrained: {made}}}", model=", learning_rate: 1.0e-9")
    trained = steps.train(begun, "final", samples)
    encoder, whole = weights_of(made, "pretrained", "encoder.safetensors"), weights_of(trained, "model", "weights.safetensors")
    assert encoder.keys() < whole.keys()
    for name, value in encoder.items():
        torch.testing.assert_close(whole[name], value, atol=1e-6, rtol=0)
    assert made in [link.href for link in manifest.read(trained).get_links("derived_from")]
    assert steps.train(begun, "final", samples) == trained
    assert steps.train(study_uri(folder, model=", learning_rate: 1.0e-9"), "final", samples) != trained
    with pytest.raises(InputError, match=r"train.pretrained: .* is the manifest of 'stable', not of a pre-training"):
        steps.train(study_uri(folder, f"train: {{pretrained: {samples}}}"), "final", samples)
    with pytest.raises(InputError, match=r"give train.pretrained or continual.from, not both"):
        steps.train(study_uri(folder, f"train: {{pretrained: {made}}}\ncontinual: {{from: {trained}}}"), "final", samples)


def test_a_training_goes_on_from_an_earlier_models_manifest(folder: Path) -> None:
    earlier, later = samples_uri(folder), samples_uri(folder, 2019)
    first = steps.train(study_uri(folder, "continual: {}"), "final", earlier)
    second = steps.train(study_uri(folder, f"continual: {{from: {first}, method: replay, forget: 1}}"), "final", later)
    assert {first, later} <= {link.href for link in manifest.read(second).get_links("derived_from")}
    told = [storage.read_json(manifest.read(uri).assets["training"].href)["ledger"] for uri in (first, second)]
    assert [row["years"] for row in told[0]["rows"]] == [[2018]]
    assert [row["years"] for row in told[1]["rows"]] == [[2018], [2019]]
    assert set(told[1]["rows"][1]["accuracy"]) == {"2018", "2019"}
    third = steps.train(study_uri(folder, f"continual: {{from: {second}, method: replay, forget: 1}}"), "final", samples_uri(folder, 2020))
    rows = storage.read_json(manifest.read(third).assets["training"].href)["ledger"]["rows"]
    assert [row["years"] for row in rows] == [[2018], [2019], [2020]]  # it knew the samples of both models before it
    with pytest.raises(InputError, match=r"continual.from: .*nowhere.json does not exist"):
        steps.train(study_uri(folder, f"continual: {{from: {folder}/nowhere.json}}"), "final", later)


def test_search_and_training_live_on_an_object_store(s3: str) -> None:
    samples = samples_uri(s3)
    study = study_uri(s3, "tune: {trials: 2, first: 1, space: {hidden: [4, 8]}}")
    meeting = learning.tune(study, samples, ["0"])
    assert meeting.startswith(s3)
    entries = sorted(storage.walk(meeting))
    assert entries == [f"{number:08d}.json" for number in range(len(entries))]
    uri, _ = learning.tune_report(study, samples, [meeting])
    assert len(storage.read_json(manifest.read(uri).assets["tune"].href)["trials"]) == 2
    trained = steps.train(study, "final", samples)
    folder = storage.parent(manifest.read(trained).assets["model"].href)
    assert folder.startswith(s3)
    assert models.load(folder).name == "lstm"
    assert "checkpoint.safetensors" not in list(storage.walk(folder))


def test_processes_leave_model_and_reason_on_an_object_store(s3: str) -> None:
    samples = manifest.read(samples_uri(s3)).assets["samples"].href
    settings = {"hidden": 8, "convolution": 0, "epochs": 2, "batch": 32}
    spec = TrainSpec("lstm", (samples,), phenology.legend(4), phenology.BANDS, 12, 3, f"{s3}/out", settings=settings)
    assert models.load(run_training(spec, processes=2)).name == "lstm"
    assert sorted(storage.walk(spec.output)) == ["model.json", "training.json", "weights.safetensors"]
    with pytest.raises(InputError, match="samples hold 0 usable series"):
        run_training(dataclasses.replace(spec, trust=2.0, output=f"{s3}/wrong"))
    assert storage.read_json(f"{s3}/wrong/error.json")["status"] == 2


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


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: 16 bytes")]
)
def test_want_of_memory_in_a_step_says_what_to_lower(folder: Path, error: Exception) -> None:
    study = study_uri(folder)

    @step_of("classify")
    def step(run: Run, report: Report) -> None:
        raise error

    with pytest.raises(LandtideError, match=r"classify ran out of memory: lower compute.workers, or compute.memory"):
        step(study)
    left = storage.read_json(storage.join(storage.parent(study), "error.json"))
    assert left["exit_status"] == 1
    assert left["message"].startswith("classify ran out of memory")


def test_a_range_upside_down_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"tune.space.dropout.*low must be below high"):
        study_uri(folder, "tune: {space: {dropout: {low: 0.5, high: 0.1}}}")
