"""A TempCNN in 8-bit products against the same network in floats."""

import torch
from torch import nn

from landtide.models import tempcnn
from landtide.models.eight_bit import dated_by_sums, folded, rounded, rounded_weight
from landtide.models.layers import dated


def network() -> tempcnn.TempCnn:
    """A network whose normalisations have seen series."""
    torch.manual_seed(3)
    made = tempcnn.build(tempcnn.Config(filters=32), channels=4, steps=12, classes=6, seen=[1, 2, 3, 5])
    for norm in (module for module in made.modules() if isinstance(module, nn.BatchNorm1d)):
        nn.init.normal_(norm.bias, 0, 0.5)
        nn.init.uniform_(norm.weight, 0.2, 2)
    made.train()
    for _ in range(30):
        made(*series(256))
    return made.eval()


def series(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(count, 12, 4), torch.rand(count, 12) > 0.2, torch.linspace(15, 350, 12).repeat(count, 1)


@torch.no_grad()
def test_logits_are_those_of_the_floats_but_for_the_rounding() -> None:
    made = network()
    asked = series(2000)
    plain, small = made(*asked), made.eight_bit()(*asked)
    assert torch.isneginf(small[:, [3, 5]]).all()  # classes without samples
    seen = [0, 1, 2, 4]
    assert (small - plain)[:, seen].abs().mean() < 0.02 * plain[:, seen].std()
    assert (small.argmax(dim=1) == plain.argmax(dim=1)).float().mean() > 0.97  # random weights: most margins are small


@torch.no_grad()
def test_a_channel_that_is_never_above_zero_does_no_harm() -> None:
    made = network()
    for module in (made.blocks[0], made.blocks[2]):
        norm = module.get_submodule("1")
        assert isinstance(norm, nn.BatchNorm1d)
        norm.weight[:3], norm.bias[:3] = 0.0, -1.0
    asked = series(500)
    plain, small = made(*asked), made.eight_bit()(*asked)
    assert (small - plain)[:, :3].abs().mean() < 0.05 * plain[:, :3].std()


@torch.no_grad()
def test_a_normalisation_is_folded_into_its_layer() -> None:
    convolution, norm = nn.Conv1d(3, 5, 5, bias=False), nn.BatchNorm1d(5)
    norm(torch.randn(64, 5, 9) * 3 + 1)
    norm.eval()
    x = torch.randn(7, 3, 12)
    torch.testing.assert_close(nn.functional.conv1d(x, *folded(convolution, norm)), norm(convolution(x)), rtol=1e-4, atol=1e-5)


def test_dates_are_those_of_the_network() -> None:
    asked = series(50)
    torch.testing.assert_close(dated_by_sums(*asked), dated(*asked))


def test_rounding_keeps_the_ends_of_the_range() -> None:
    values = rounded(torch.tensor([-1.0, 0.0, 0.399, 1.0, 7.0]))
    torch.testing.assert_close(values, torch.tensor([0.0, 0.0, 102 / 255, 1.0, 1.0]))
    weight = rounded_weight(torch.tensor([[1.01, -2.0, 0.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(weight, torch.tensor([[128 / 127, -2.0, 0.0], [0.0, 0.0, 0.0]]))
