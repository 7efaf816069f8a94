"""What every network promises, whatever its layers."""

from pathlib import Path
from typing import Any

import numpy as np
import phenology
import pytest
import torch
from test_models import QUICK, fitted

from landtide import models
from landtide.core.errors import InputError, LandtideError
from landtide.models.layers import DateEncoding

LOOP = ("epochs", "batch", "learning_rate", "drop")
SETTINGS = {name: {key: value for key, value in QUICK[name].items() if key not in LOOP} for name in models.NETWORKS}


def untrained(name: str, **changes: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    shape = {"channels": 3, "steps": 6, "classes": 5, "seen": [1, 2, 4]}
    module: torch.nn.Module = models.build(name, **shape, **{**SETTINGS[name], **changes})
    return module.eval()


@pytest.mark.parametrize("name", models.NETWORKS)
def test_what_stands_at_missing_steps_does_not_matter(name: str) -> None:
    module = untrained(name)
    x, doy = torch.randn(5, 6, 3), torch.full((5, 6), 100.0)
    mask = torch.rand(5, 6) > 0.4
    mask[0] = False
    other = torch.where(mask.unsqueeze(-1), x, 1000 * torch.randn(5, 6, 3))
    with torch.no_grad():
        torch.testing.assert_close(module(x, mask, doy), module(other, mask, doy), rtol=0, atol=0)
        assert not torch.allclose(module(x, mask, doy)[1:], module(x, torch.ones_like(mask), doy)[1:])


@pytest.mark.parametrize("name", models.NETWORKS)
def test_logits_are_finite_for_the_classes_seen_alone(name: str) -> None:
    with torch.no_grad():
        logits = untrained(name)(torch.randn(4, 6, 3), torch.ones(4, 6, dtype=torch.bool), torch.arange(24.0).view(4, 6))
    assert logits.shape == (4, 5)
    assert torch.isfinite(logits[:, [0, 1, 3]]).all()
    assert torch.isneginf(logits[:, [2, 4]]).all()


@pytest.mark.parametrize("name", models.NETWORKS)
def test_the_day_of_an_observation_matters(name: str) -> None:
    module, x, mask = untrained(name), torch.randn(4, 6, 3), torch.ones(4, 6, dtype=torch.bool)
    early = torch.arange(1.0, 181, 30).expand(4, 6)
    with torch.no_grad():
        assert not torch.allclose(module(x, mask, early), module(x, mask, early + 180), atol=1e-4)


@pytest.mark.parametrize("name", models.NETWORKS)
def test_every_weight_learns(name: str) -> None:
    module = untrained(name).train()
    logits = module(torch.randn(16, 6, 3), torch.ones(16, 6, dtype=torch.bool), torch.arange(96.0).view(16, 6))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 3, 1] * 4)).backward()
    assert [key for key, weight in module.named_parameters() if weight.grad is None or not weight.grad.isfinite().all()] == []


@pytest.mark.parametrize(("name", "changes"), [("ltae", {"queries": 3, "blocks": 1}), ("transformer", {"queries": 2, "blocks": 1})])
def test_a_network_with_queries_keeps_its_promises(name: str, changes: dict[str, Any]) -> None:
    module = untrained(name, **changes).train()
    x, doy, mask = torch.randn(16, 6, 3), torch.arange(96.0).view(16, 6), torch.rand(16, 6) > 0.3
    mask[:, 0] = True
    torch.nn.functional.cross_entropy(module(x, mask, doy), torch.tensor([0, 1, 3, 1] * 4)).backward()
    assert [key for key, weight in module.named_parameters() if weight.grad is None or not weight.grad.isfinite().all()] == []
    other = torch.where(mask.unsqueeze(-1), x, 1000 * torch.randn_like(x))
    with torch.no_grad():
        torch.testing.assert_close(module.eval()(x, mask, doy), module(other, mask, doy), rtol=0, atol=0)


def test_attention_of_the_transformer_is_that_of_torch() -> None:
    from landtide.models.transformer import Attention

    torch.manual_seed(1)
    ours, theirs = Attention(16, 4).eval(), torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    theirs.load_state_dict(
        {"in_proj_weight": ours.project.weight, "in_proj_bias": ours.project.bias, "out_proj.weight": ours.join.weight}
        | {"out_proj.bias": ours.join.bias}
    )
    states, mask = torch.randn(3, 7, 16), torch.rand(3, 7) > 0.3
    with torch.no_grad():
        expected = theirs(states, states, states, key_padding_mask=~mask)[0]
        torch.testing.assert_close(ours(states, mask), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("queries", [1, 4])
def test_attention_of_learned_queries_is_a_softmax_over_observed_steps(queries: int) -> None:
    from landtide.models.layers import MasterAttention

    torch.manual_seed(1)
    attend, states = MasterAttention(6, 2, 3, queries), torch.randn(1, 4, 6)
    mask = torch.tensor([[True, False, True, True]])
    with torch.no_grad():
        keys = attend.key(states)[0].view(4, 2, 3).numpy()
        got = attend(states, mask)[0].view(2, queries, 3).numpy()
    for head, query in np.ndindex(2, queries):
        score = keys[[0, 2, 3], head] @ attend.query[head].view(queries, 3)[query].detach().numpy()
        weight = np.exp(score) / np.exp(score).sum()
        np.testing.assert_allclose(got[head, query], weight @ states[0, [0, 2, 3], 3 * head : 3 * head + 3].numpy(), atol=1e-5)


def test_the_date_encoding_is_that_of_the_formula() -> None:
    got = DateEncoding(4)(torch.tensor([[200.0]]))[0, 0]
    np.testing.assert_allclose(got, [np.sin(200), np.cos(200), np.sin(200 / 1000**0.5), np.cos(200 / 1000**0.5)], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "line"),
    [
        ("tempcnn", {"kernel": 4}, "kernel = 4 must be odd"),
        ("ltae", {"heads": 5}, "width = 128 must be a multiple of heads = 5"),
        ("transformer", {"context": 2}, "context = 2 odd"),
    ],
)
def test_settings_that_cannot_be_are_named(name: str, settings: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        models.config(name, settings)


def test_optimisation_of_a_network_yields_to_the_study() -> None:
    from landtide.train.spec import Optimisation, split_settings

    assert split_settings("transformer", {})[1].learning_rate == models.optimisation("transformer")["learning_rate"]
    assert split_settings("transformer", {"learning_rate": 0.5})[1].learning_rate == 0.5
    assert split_settings("lstm", {})[1] == Optimisation()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    fitted("ltae", phenology.samples(20), folder)
    return folder / "ltae"


def damaged(saved: Path, folder: Path, file: str, data: bytes) -> str:
    for path in saved.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / file).write_bytes(data)
    return str(folder)


@pytest.mark.parametrize("file", ["weights.safetensors", "model.json"])
@pytest.mark.parametrize("keep", [0.0, 0.4, 0.99])
def test_a_truncated_checkpoint_is_refused(file: str, keep: float, saved: Path, tmp_path: Path) -> None:
    data = (saved / file).read_bytes()
    with pytest.raises(LandtideError, match=f"{file}.* is cut off or damaged .*: train it again"):
        models.load(damaged(saved, tmp_path, file, data[: int(keep * len(data))]))


def test_weights_of_another_network_are_refused(saved: Path, tmp_path: Path) -> None:
    from safetensors.torch import save

    with pytest.raises(LandtideError, match="weights of another network"):
        models.load(damaged(saved, tmp_path, "weights.safetensors", save(untrained("tempcnn").state_dict())))
