"""Samples that do not fit the memory are learnt from a few row groups at a time, and count as those in memory do."""

import dataclasses
from pathlib import Path

import numpy as np
import phenology
import pytest

from landtide import models
from landtide.core.errors import InputError
from landtide.core.samples import SampleSet
from landtide.io import table
from landtide.train import TrainSpec
from landtide.train.batches import InMemory
from landtide.train.data import capacity, look, read
from landtide.train.group import Group
from landtide.train.job import train
from landtide.train.spec import Optimisation
from landtide.train.stream import Streamed

SETTINGS = Optimisation(batch=32, epoch_samples=400)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainSpec:
    monkeypatch.setattr(table, "ROW_GROUP", 100)
    samples = phenology.samples(250, missing=0.1, polygons=40)
    trust = np.random.default_rng(1).uniform(0.4, 1, len(samples)).astype(np.float32)
    uri = str(tmp_path / "samples.parquet")
    table.write_samples(uri, dataclasses.replace(samples, trust=trust))
    settings = {"hidden": 16, "convolution": 0, "epochs": 12, "batch": 32}
    return TrainSpec("lstm", (uri,), phenology.legend(4), samples.bands, 12, 3, str(tmp_path / "out"), settings=settings, trust=0.5)


def small(spec: TrainSpec) -> TrainSpec:
    """Return the spec with memory for 150 samples."""
    return dataclasses.replace(spec, memory=150 * 2 * (4 * 4 * 48 + 200))


def streamed(spec: TrainSpec, group: Group | None = None) -> Streamed:
    return Streamed(spec, look(spec), SETTINGS, group or Group())


def test_the_facts_are_those_of_samples_in_memory(spec: TrainSpec) -> None:
    whole = InMemory(read(spec), SETTINGS, 3, Group(), classes=4).facts
    found = streamed(spec).facts
    assert found.samples == whole.samples
    assert found.counts.tolist() == whole.counts.tolist()
    np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-5)
    np.testing.assert_allclose(found.std, whole.std, rtol=1e-4)
    np.testing.assert_allclose(found.prior, whole.prior, rtol=1e-6)


def test_no_more_than_a_few_row_groups_are_held(spec: TrainSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert capacity(small(spec)) == 150
    source, sizes, read_group = streamed(small(spec)), [], table.SampleFile.read

    def watched(file: table.SampleFile, group: int | None = None) -> SampleSet:
        assert group is not None
        sizes.append(file.groups[group])
        return read_group(file, group)

    monkeypatch.setattr(table.SampleFile, "read", watched)
    batches = list(source.batches(0))
    assert len(batches) == source.steps == 400 // 32
    assert {len(batch) for batch in batches} == {32}
    assert max(sizes) == 100


def test_processes_share_the_row_groups_and_no_polygon_is_learnt_and_validated(spec: TrainSpec) -> None:
    sources = [streamed(spec, Alone(rank, 2)) for rank in (0, 1)]
    seen = [np.concatenate([batch.x.numpy().reshape(len(batch), -1) for batch in source.batches(0)]) for source in sources]
    rows = [{tuple(row) for row in part.round(5)} for part in seen]
    assert len(rows[0]) > 150
    assert not rows[0] & rows[1]
    held = {tuple(row) for source in sources for row in source.validation.x.numpy().reshape(len(source.validation), -1).round(5)}
    assert len(held) > 50
    assert not held & (rows[0] | rows[1])


class Alone(Group):
    """One process of two whose sums are its own: it sees what it would see, and waits for nobody."""

    def sum(self, values: list[float]) -> list[float]:
        return values


def test_a_streamed_training_learns(spec: TrainSpec) -> None:
    asked = phenology.samples(80, seed=99)
    model = models.load(train(small(spec)))
    share = model.predict_proba(asked.x, asked.doy, np.repeat(asked.year[:, None], 12, axis=1))
    assert (share[:, 0].argmax(axis=1) + 1 == asked.y).mean() > 0.95


def test_an_svm_takes_a_draw_that_fits(spec: TrainSpec) -> None:
    data = read(small(dataclasses.replace(spec, model="svm", settings={})))
    assert 100 < len(data) <= 150
    assert data.seen == [1, 2, 3, 4]


def test_infinite_values_are_named_and_missing_ones_told(spec: TrainSpec, caplog: pytest.LogCaptureFixture) -> None:
    samples = table.read_samples(spec.samples[0])
    x, trust = samples.x.copy(), samples.trust.copy()
    x[5], trust[8:11] = np.nan, np.nan
    table.write_samples(spec.samples[0], dataclasses.replace(samples, x=x, trust=trust))
    with caplog.at_level("WARNING"):
        read(spec)
    assert "1 of 1000 have no observation at all and are left out" in caplog.text
    assert "3 of 1000 have no trust (NaN) and are left out" in caplog.text
    x[7, 3, 2] = np.inf
    table.write_samples(spec.samples[0], dataclasses.replace(samples, x=x))
    with pytest.raises(InputError, match="sample 7 has an infinite value in band B08, step 3"):
        read(spec)
