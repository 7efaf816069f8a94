"""Networks on OpenVINO against the same networks on PyTorch."""

import importlib.util
from pathlib import Path

import numpy as np
import phenology
import pytest
import torch
from test_models import fitted
from test_years_of_a_pixel import model, series

from landtide import models
from landtide.core.errors import InputError
from landtide.models.runtime import UnrolledLstm

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, models.TrainedModel]:
    samples = phenology.samples(60, missing=0.1, years=(2018, 2019))
    return {name: fitted(name, samples, tmp_path_factory.mktemp(name)) for name in models.NETWORKS}


@needs_openvino
@pytest.mark.parametrize("name", models.NETWORKS)
def test_the_compiled_network_gives_the_labels_of_pytorch(name: str, trained: dict[str, models.TrainedModel]) -> None:
    asked = phenology.samples(700, missing=0.2, seed=9)
    year = np.repeat(asked.year[:, None], 12, axis=1)
    plain = trained[name].predict_proba(asked.x, asked.doy, year)
    fast = models.on_runtime(trained[name], "openvino", 1)
    share = fast.predict_proba(asked.x, asked.doy, year)
    assert (share.argmax(axis=2) == plain.argmax(axis=2)).mean() >= 0.995
    assert np.abs(share - plain).mean() < 0.005
    np.testing.assert_allclose(share.sum(axis=2), 1, atol=1e-2)
    assert fast.id == trained[name].id  # it is the same model
    order = np.random.default_rng(0).permutation(len(asked))[:1500]
    np.testing.assert_array_equal(fast.predict_proba(asked.x[order], asked.doy[order], year[order]), share[order])


@pytest.mark.parametrize("layers", [1, 2])
def test_an_lstm_written_out_is_the_lstm_of_torch(layers: int) -> None:
    torch.manual_seed(0)
    plain = torch.nn.LSTM(5, 7, layers, batch_first=True, bidirectional=True)
    x, begin = torch.randn(4, 6, 5), (torch.randn(2 * layers, 4, 7), torch.randn(2 * layers, 4, 7))
    with torch.no_grad():
        torch.testing.assert_close(UnrolledLstm(plain)(x, begin), plain(x, begin), rtol=1e-5, atol=1e-6)


@needs_openvino
def test_a_state_is_carried_through_the_compiled_network() -> None:
    plain, (x, doy, year) = model("lstm", years="carried"), series(40)
    fast = models.on_runtime(plain, "openvino", 1)
    np.testing.assert_allclose(fast.predict_proba(x, doy, year), plain.predict_proba(x, doy, year), atol=0.03)


def test_without_openvino_pytorch_runs_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "openvino" else real(name, *rest))
    plain, (x, doy, year) = model("lstm"), series()
    np.testing.assert_array_equal(models.on_runtime(plain, "auto", 1).predict_proba(x, doy, year), plain.predict_proba(x, doy, year))
    with pytest.raises(InputError, match=r"openvino is not installed: pip install 'landtide\[fast\]'"):
        models.on_runtime(plain, "openvino", 1)


def test_svm_and_forest_have_no_runtime_to_choose(tmp_path: Path) -> None:
    forest = fitted("forest", phenology.samples(20), tmp_path)
    assert models.on_runtime(forest, "auto", 1) is forest
