"""The one training loop: it knows no architecture, only ``forward(x, mask, doy) -> logits``."""

import copy
import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from landtide.models.network import split_mask
from landtide.train.data import TrainingData, class_weights, validation_mask
from landtide.train.spec import Optimisation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """One line of the training curve."""

    epoch: int
    loss: float
    """Training loss."""

    validation: float | None
    """Loss on polygons set apart; None where none could be spared."""

    accuracy: float | None
    """Share of validation samples whose given label is met: of the labels, not of the truth."""


@dataclass(frozen=True)
class Batch:
    """Samples on the device."""

    x: Tensor
    mask: Tensor
    doy: Tensor
    target: Tensor
    """(B,) int64 class 0..K-1."""

    weight: Tensor

    def take(self, index: Tensor) -> "Batch":
        return Batch(self.x[index], self.mask[index], self.doy[index], self.target[index], self.weight[index])

    def __len__(self) -> int:
        return len(self.target)


def fit(network: nn.Module, data: TrainingData, *, settings: Optimisation, seed: int, device: str) -> list[Epoch]:
    """Train a network in place and leave it with its best weights; return the curve.

    Randomness: the seed, and the torch generator that draws dropout. Same seed, machine and threads give the same bytes.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    weight = class_weights(data.y, data.trust, settings.balance)
    held = validation_mask(data.y, data.group, seed)
    training, validation = _batch(data, weight, ~held, device), _batch(data, weight, held, device)
    network.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    per_epoch = min(len(training), settings.epoch_samples)
    updates = settings.epochs * max(per_epoch // settings.batch, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, updates, pct_start=0.1)
    curve: list[Epoch] = []
    best, best_state = float("inf"), copy.deepcopy(network.state_dict())
    for epoch in range(settings.epochs):
        order = torch.randperm(len(training), generator=generator)[:per_epoch]
        loss = _pass(network, training, order, optimiser, schedule, settings, generator)
        curve.append(Epoch(epoch, loss, *_validate(network, validation, settings.q)))
        log.info("epoch %d: loss %.4f, validation %s", epoch, loss, _short(curve[-1]))
        judged = curve[-1].validation
        if judged is None or judged < best:
            best, best_state = judged if judged is not None else best, copy.deepcopy(network.state_dict())
            since = 0
        else:
            since += 1
        if since >= settings.patience:
            break
    network.load_state_dict(best_state)
    return curve


def generalised_cross_entropy(logits: Tensor, target: Tensor, q: float) -> Tensor:
    """Return (B,) losses (1 - p^q) / q; cross-entropy at q = 0."""
    log_p = torch.log_softmax(logits, dim=1).gather(1, target[:, None])[:, 0]  # (B, K) -> (B,)
    return -log_p if q == 0 else (1 - torch.exp(q * log_p)) / q


def _pass(
    network: nn.Module,
    data: Batch,
    order: Tensor,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    settings: Optimisation,
    generator: torch.Generator,
) -> float:
    """Run one epoch; return the mean loss. A last short batch is left out: batch norm needs more than one sample."""
    network.train()
    total, count = 0.0, max(len(order) // settings.batch, 1)
    for index in order[: count * settings.batch].chunk(count):
        batch = data.take(index.to(data.target.device))
        x, mask = disturb(batch.x, batch.mask, settings, generator)
        loss = (batch.weight * generalised_cross_entropy(network(x, mask, batch.doy), batch.target, settings.q)).mean()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        total += loss.item()
    return total / count


def disturb(x: Tensor, mask: Tensor, settings: Optimisation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Add noise and hide steps, but never the last one that a series has."""
    noise = torch.randn(x.shape, generator=generator).to(x.device)
    keep = (torch.rand(mask.shape, generator=generator) >= settings.drop).to(x.device)
    kept = mask & keep
    kept = torch.where(kept.any(dim=1, keepdim=True), kept, mask)
    return torch.where(kept.unsqueeze(-1), x + settings.noise * noise, torch.zeros_like(x)), kept


@torch.no_grad()
def _validate(network: nn.Module, data: Batch, q: float) -> tuple[float | None, float | None]:
    """Return weighted loss and accuracy, or None, None without samples."""
    if not len(data):
        return None, None
    network.eval()
    logits = torch.cat(
        [network(part.x, part.mask, part.doy) for part in (data.take(i) for i in torch.split(torch.arange(len(data)), 4096))]
    )
    losses = data.weight * generalised_cross_entropy(logits, data.target, q)
    right = (logits.argmax(dim=1) == data.target).float().mean()
    return float(losses.sum() / data.weight.sum()), float(right)


def _batch(data: TrainingData, weight: np.ndarray, rows: np.ndarray, device: str) -> Batch:
    x, mask = split_mask(data.x[rows])
    doy = torch.from_numpy(data.doy[rows].astype(np.float32))
    target = torch.from_numpy(data.y[rows].astype(np.int64) - 1)
    return Batch(
        x.to(device), mask.to(device), doy.to(device), target.to(device), torch.from_numpy(weight[rows].astype(np.float32)).to(device)
    )


def _short(epoch: Epoch) -> str:
    return "none" if epoch.validation is None else f"{epoch.validation:.4f}, accuracy {epoch.accuracy:.4f}"
