"""A TempCNN whose products are of 8-bit integers, for processors that multiply four of them in the time of one float.

Ranges are taken from the batch normalisations, which know mean and deviation of every channel: no data are looked at, so that the result
depends on the model alone. Each channel is divided by its range, and the next layer's weights are multiplied by it; one scale then serves
all channels of a layer. Weights have one scale an output channel.
Source: Nagel et al. 2019, arXiv:1906.04721 (data-free quantisation, ranges from batch normalisation).
"""

import torch
from torch import Tensor, nn

from landtide.models.layers import DATED

SPREAD = 6.0
"""Deviations above a channel's mean at which its 8-bit values end; what is higher is cut to it."""

LEAST = 1e-3
"""Range of a channel that is never above 0."""


class EightBit(nn.Module):
    """A trained TempCNN in 8-bit products. Dates, the first convolution, which has few channels, and the head are computed in floats.

    For OpenVINO, which compiles the rounding away; PyTorch computes the same numbers in floats.
    """

    def __init__(self, blocks: nn.Sequential, dense: nn.Sequential, head: nn.Linear, known: nn.Module) -> None:
        super().__init__()
        weights, biases, before = [], [], None
        with torch.no_grad():
            for block in blocks.children():
                convolution, norm, *_ = block.children()
                weight, bias = folded(convolution, norm)
                own = highest(norm)
                weights.append(weight / own[:, None, None] * (1 if before is None else before[None, :, None]))
                biases.append(bias / own)
                before = own
            assert before is not None
            linear, norm, *_ = dense.children()
            weight, bias = folded(linear, norm)
            # flattened with the steps outside, as convolutions leave a series in memory: (H, W T) -> (H, T W)
            weight = weight.view(len(weight), len(before), -1) * before[None, :, None]
            weights.append(weight.transpose(1, 2).flatten(1))
            biases.append(bias)
        self.weights, self.biases = nn.ParameterList(weights), nn.ParameterList(biases)
        self.head, self.known = head, known

    def forward(self, x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
        """Return logits (B, K), as `TempCnn.forward`."""
        *weights, last = self.weights
        *biases, last_bias = self.biases
        features = dated_by_sums(x, mask, doy).transpose(1, 2)  # (B, T, C) -> (B, C+3, T)
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            if number:
                features, weight = rounded(features), rounded_weight(weight)
            features = torch.relu(nn.functional.conv1d(features, weight, bias, padding=weight.shape[2] // 2))  # (B, W, T)
        flat = rounded(features).transpose(1, 2).flatten(1)  # (B, T W)
        logits: Tensor = self.known(self.head(torch.relu(nn.functional.linear(flat, rounded_weight(last), last_bias))))  # (B, K)
        return logits


def folded(layer: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a layer without bias with the batch normalisation after it."""
    assert isinstance(layer, (nn.Conv1d, nn.Linear))
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return layer.weight * factor.view(-1, *[1] * (layer.weight.ndim - 1)), norm.bias - norm.running_mean * factor


def highest(norm: nn.Module) -> Tensor:
    """Return the value (W,) that a channel hardly ever exceeds after its normalisation."""
    assert isinstance(norm, nn.BatchNorm1d)
    return (norm.bias + SPREAD * norm.weight.abs()).clamp(min=LEAST)


def rounded(features: Tensor) -> Tensor:
    """Return values from 0 to 1 in 255 steps."""
    return torch.fake_quantize_per_tensor_affine(features, 1 / 255, 0, 0, 255)


def rounded_weight(weight: Tensor) -> Tensor:
    """Return weights (O, ...) in 127 steps to either side of 0, of a size for each output channel."""
    step = weight.abs().flatten(1).amax(dim=1).clamp(min=1e-12) / 127
    return torch.fake_quantize_per_channel_affine(weight, step, torch.zeros(len(step), dtype=torch.int32), 0, -127, 127)


def dated_by_sums(x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
    """Return what `layers.dated` does, without joining channels, which OpenVINO does one value at a time."""
    angle, seen = (doy.to(x.dtype) * (2 * torch.pi / 365.25)).unsqueeze(-1), mask.unsqueeze(-1).to(x.dtype)
    place = torch.eye(x.shape[2] + DATED, dtype=x.dtype)[-DATED:]
    return nn.functional.pad(x * seen, (0, DATED)) + seen * place[0] + angle.sin() * place[1] + angle.cos() * place[2]
