"""Models over the years of a pixel: the state that is carried, the windows that are shifted."""

from pathlib import Path

import numpy as np
import phenology
import pytest
import torch

from landtide import models
from landtide.models.card import Card
from landtide.models.network import Network

STEPS = 4


def model(name: str, **settings: object) -> models.TrainedModel:
    torch.manual_seed(1)
    small = {"lstm": {"hidden": 8, "convolution": 4}, "transformer": {"width": 8, "layers": 1, "heads": 2}}[name]
    module = models.build(name, channels=2, steps=STEPS, classes=3, seen=[1, 2, 3], **small, **settings).eval()
    card = Card(
        name=name,
        settings={**small, **settings},
        legend=phenology.legend(3),
        bands=("B04", "B08"),
        steps=STEPS,
        mean=(0.0, 0.0),
        std=(1.0, 1.0),
        classes_seen=(1, 2, 3),
        prior=(0.3, 0.3, 0.4),
        training={},
    )
    return models.assemble(card, Network(module))


def series(count: int = 5, years: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, years * STEPS, 2)).astype(np.float32)
    doy = np.tile(np.arange(45, 365, 91, dtype=np.int16), (count, years))
    return x, doy, np.repeat(np.arange(2018, 2018 + years, dtype=np.int16), STEPS)[None].repeat(count, 0)


def test_the_state_is_that_of_one_lstm_over_all_years() -> None:
    carried = model("lstm", years="carried", layers=1)
    x, doy, _ = series()
    state = None
    for year in range(3):
        span = slice(STEPS * year, STEPS * year + STEPS)
        _, state = carried.advance(x[:, span], doy[:, span], state)
    module = carried.scorer.module  # type: ignore[attr-defined]
    forward = torch.nn.LSTM(8, 8, batch_first=True)
    forward.load_state_dict({key: value for key, value in module.lstm.state_dict().items() if "reverse" not in key})
    from landtide.models.layers import dated

    with torch.no_grad():
        inputs = module.embed(dated(torch.from_numpy(x), torch.ones(5, 12, dtype=torch.bool), torch.from_numpy(doy)))
        _, (hidden, cell) = forward(inputs)
    assert state is not None
    np.testing.assert_allclose(state, torch.cat([hidden[0], cell[0]], dim=1), atol=1e-6)


def test_years_at_once_and_years_one_by_one_give_the_same_bits() -> None:
    carried, (x, doy, year) = model("lstm", years="carried", layers=2), series()
    together = carried.predict_proba(x, doy, year)
    state = None
    for number in range(3):
        span = slice(STEPS * number, STEPS * number + STEPS)
        share, state = carried.advance(x[:, span], doy[:, span], state)
        np.testing.assert_array_equal(share, together[:, number])
    with torch.no_grad():
        mask = torch.ones(5, 12, dtype=torch.bool)
        logits = carried.scorer.module(torch.from_numpy(x), mask, torch.from_numpy(doy))  # type: ignore[attr-defined]
    np.testing.assert_allclose(torch.softmax(logits, dim=2), together, atol=1e-6)


def test_later_years_never_change_an_earlier_one_but_earlier_years_matter() -> None:
    carried, (x, doy, year) = model("lstm", years="carried"), series()
    whole = carried.predict_proba(x, doy, year)
    np.testing.assert_array_equal(carried.predict_proba(x[:, :8], doy[:, :8], year[:, :8]), whole[:, :2])
    alone = carried.predict_proba(x[:, 8:], doy[:, 8:], year[:, 8:])
    assert not np.allclose(alone[:, 0], whole[:, 2], atol=1e-4)


def test_a_year_without_observation_keeps_the_state() -> None:
    carried, (x, doy, _) = model("lstm", years="carried"), series()
    _, state = carried.advance(x[:, :4], doy[:, :4], None)
    assert state is not None
    blind = x[:, 4:8].copy()
    blind[1] = np.nan
    share, after = carried.advance(blind, doy[:, :4], state)
    assert after is not None
    np.testing.assert_array_equal(after[1], state[1])
    assert not np.allclose(after[0], state[0])
    np.testing.assert_allclose(share[1], 1 / 3)


def test_windows_are_averaged_by_what_they_share_with_a_year() -> None:
    shifted, (x, doy, year) = model("transformer", years="window", stride=1), series(years=2)
    x[0, 1:5] = np.nan
    windows = [shifted.scorer.probability(x[:, at : at + STEPS], doy[:, at : at + STEPS]) for at in range(5)]
    weight = [0.0 if at == 1 else 1.0 for at in range(5)]  # the window of pixel 0 without any observation says nothing
    first = sum(w * (4 - at) * windows[at][0] for at, w in enumerate(weight)) / sum(w * (4 - at) for at, w in enumerate(weight))
    second = sum(at * windows[at][1] for at in range(5)) / 10
    got = shifted.predict_proba(x, doy, year)
    np.testing.assert_allclose(got[0, 0], first, atol=1e-6)
    np.testing.assert_allclose(got[1, 1], second, atol=1e-6)


def test_a_stride_of_a_year_gives_each_year_alone() -> None:
    shifted, (x, doy, year) = model("transformer", years="window", stride=STEPS), series()
    alone = [shifted.scorer.probability(x[:, at : at + STEPS], doy[:, at : at + STEPS]) for at in (0, 4, 8)]
    np.testing.assert_allclose(shifted.predict_proba(x, doy, year), np.stack(alone, axis=1), atol=1e-6)


@pytest.mark.parametrize(("name", "years"), [("lstm", "carried"), ("transformer", "window")])
def test_how_years_are_read_survives_the_disk(name: str, years: str, tmp_path: Path) -> None:
    first, (x, doy, year) = model(name, years=years, **({"stride": 2} if name == "transformer" else {})), series()
    models.save(first, tmp_path)
    again = models.load(str(tmp_path))
    assert again.across == years
    np.testing.assert_array_equal(again.predict_proba(x, doy, year), first.predict_proba(x, doy, year))
