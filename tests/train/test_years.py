"""Learning from several years of a place: the join, the change that is spliced in, the windows, the penalty."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import phenology
import pytest
import torch
from test_fitting import spec_for

from landtide import models
from landtide.core.samples import SampleSet
from landtide.train.batches import Batch
from landtide.train.data import read
from landtide.train.job import train
from landtide.train.years import change_penalty, one_by_one, side_by_side, splice, window

YEARS = (2018, 2019, 2020)


def stable(places: int, seed: int = 0, years: tuple[int, ...] = YEARS, **options: Any) -> SampleSet:
    """Return samples of the same places in every year, each with its label."""
    parts = [phenology.samples(places, seed=seed + year, years=(year,), **options) for year in years]
    return SampleSet.concatenate([dataclasses.replace(part, xy=parts[0].xy, polygon=parts[0].polygon) for part in parts])


def batch(count: int = 4, years: int = 3, steps: int = 2) -> Batch:
    """Return places whose values are their own number, and whose labels count place and year."""
    place = torch.arange(count, dtype=torch.float32)[:, None, None]
    x = place.expand(count, years * steps, 1) + torch.arange(years * steps)[None, :, None] / 100
    target = torch.arange(count * years).view(count, years)
    return Batch(x, torch.ones(count, years * steps, dtype=torch.bool), x[..., 0], target, target + 1.0)


def test_the_years_of_a_place_stand_side_by_side(tmp_path: Path) -> None:
    samples = stable(5)
    order = np.random.default_rng(0).permutation(len(samples))[:-7]  # seven place-years are missing
    data = read(spec_for(samples.take(order), tmp_path, "lstm"))
    joined = side_by_side(data)
    assert joined.x.shape[1:] == (36, 4)
    assert (joined.y > 0).sum() == len(order)
    for row in range(len(data)):
        at = np.flatnonzero(data.place == data.place[row]).min()
        place = int(np.unique(data.place).searchsorted(data.place[at]))
        year = YEARS.index(int(data.year[row]))
        np.testing.assert_array_equal(joined.x[place, 12 * year : 12 * year + 12], data.x[row])
        assert joined.y[place, year] == data.y[row]
        assert joined.group[place] == data.group[row]
    assert np.isnan(joined.x.reshape(-1, 3, 12, 4)[joined.y == 0]).all()


def test_a_spliced_place_is_another_place_from_one_year_on() -> None:
    plain = batch(200)
    mixed = splice(plain, 2, 0.5, torch.Generator().manual_seed(1))
    origin = mixed.x[..., 0].floor().long().view(200, 3, 2)
    assert bool((origin[..., 0] == origin[..., 1]).all())
    origin = origin[..., 0]
    assert origin[:, 0].tolist() == list(range(200))  # the first year is always the place's own
    changed = (origin[:, 2] != origin[:, 0]).float().mean()
    assert 0.35 < float(changed) < 0.65
    torch.testing.assert_close(mixed.target, plain.target.gather(0, origin))
    torch.testing.assert_close(mixed.weight, mixed.target + 1.0)
    torch.testing.assert_close(mixed.doy, mixed.x[..., 0])


def test_a_window_bears_the_label_of_the_year_that_fills_most_of_it() -> None:
    plain = batch(years=2, steps=4)
    seen = set()
    for seed in range(40):
        cut = window(plain, 4, torch.Generator().manual_seed(seed))
        start = round(float(cut.x[0, 0, 0]) * 100)
        seen.add(start)
        year = int(start > 2)
        assert cut.target.tolist() == plain.target[:, year].tolist()
        part = max(start, 4 - start) / 4
        torch.testing.assert_close(cut.weight, plain.weight[:, year] * part)
    assert seen == {0, 1, 2, 3, 4}


def test_a_window_between_two_years_of_one_label_counts_in_full() -> None:
    plain = dataclasses.replace(batch(years=2, steps=4), target=torch.zeros(4, 2, dtype=torch.long), weight=torch.ones(4, 2))
    for seed in range(10):
        assert bool((window(plain, 4, torch.Generator().manual_seed(seed)).weight == 1).all())


def test_years_without_a_label_are_not_validated() -> None:
    plain = batch()
    flat = one_by_one(dataclasses.replace(plain, weight=torch.where(plain.target == 4, 0.0, plain.weight)), 2)
    assert flat.target.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert flat.x.shape == (11, 2, 1)


def test_the_penalty_is_the_gated_jensen_shannon_divergence() -> None:
    rng = np.random.default_rng(0)
    logits, x = torch.from_numpy(rng.normal(size=(5, 3, 4))), torch.from_numpy(rng.normal(size=(5, 6, 2)))
    mask = torch.from_numpy(rng.random((5, 6)) > 0.3)
    mask[0, 2:4] = False
    got = change_penalty(logits, x, mask, 0.7)
    share = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(axis=2, keepdims=True)
    for n in range(5):
        terms = []
        for y in range(2):
            p, q = share[n, y], share[n, y + 1]
            m = (p + q) / 2
            divergence = ((p * np.log(p / m)).sum() + (q * np.log(q / m)).sum()) / 2
            both = [t for t in range(2) if mask[n, 2 * y + t] and mask[n, 2 * y + 2 + t]]
            apart = [np.abs(x[n, 2 * y + 2 + t] - x[n, 2 * y + t]).mean() for t in both]
            terms.append(np.exp(-np.mean(apart) / 0.7) * divergence if both else 0.0)
        assert float(got[n]) == pytest.approx(np.mean(terms), abs=1e-9)


def test_the_penalty_is_nothing_for_equal_years_and_bounded_for_certain_ones() -> None:
    certain = torch.tensor([[[99.0, 0.0], [99.0, 0.0]], [[99.0, 0.0], [0.0, 99.0]]])
    got = change_penalty(certain, torch.zeros(2, 2, 1), torch.ones(2, 2, dtype=torch.bool), 0.5)
    torch.testing.assert_close(got, torch.tensor([0.0, float(np.log(2))]), atol=1e-6, rtol=0)


def test_the_penalty_bears_classes_that_were_never_seen() -> None:
    logits = torch.tensor([[[1.0, 2.0, -torch.inf], [2.0, 0.0, -torch.inf]]], requires_grad=True)
    change_penalty(logits, torch.zeros(1, 2, 1), torch.ones(1, 2, dtype=torch.bool), 0.5).sum().backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
    assert float(logits.grad[0, 0, 0]) != 0


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lstm", {"years": "carried", "hidden": 16, "convolution": 8, "change": 0.1}),
        ("transformer", {"years": "window", "width": 32, "layers": 1, "learning_rate": 5e-3, "stride": 4}),
    ],
)
def test_a_model_of_several_years_learns_and_still_sees_change(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    samples = stable(100, missing=0.1)
    spec = spec_for(samples, tmp_path, name, settings={**settings, "epochs": 14, "batch": 32})
    model = models.load(str(train(spec)))
    asked = stable(40, seed=50)
    parts = [asked.take(asked.year == year) for year in YEARS]
    changed = np.arange(160) % 4 == 0
    other = np.random.default_rng(0).permutation(160)
    rows = [np.arange(160), np.arange(160), np.where(changed, other, np.arange(160))]  # a quarter turns into another place in the last year
    x = np.concatenate([part.x[row] for part, row in zip(parts, rows, strict=True)], axis=1)
    y = np.stack([part.y[row] for part, row in zip(parts, rows, strict=True)], axis=1)
    label = (
        model.predict_proba(x, np.tile(phenology.DOY, (160, 3)), np.repeat([YEARS], 12).reshape(1, -1).repeat(160, 0)).argmax(axis=2) + 1
    )
    assert (label == y).mean() > 0.9
    real = y[:, 2] != y[:, 1]
    assert real.sum() > 20
    assert (label == y)[real, 2].mean() > 0.75
