"""The one training loop: it knows no architecture, only ``forward(x, mask, doy) -> logits``, and runs alike in one process and in many."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor, nn

from landtide.train.batches import Batch, Source, seed_of
from landtide.train.checkpoint import Checkpoint, Epoch, State
from landtide.train.group import Group
from landtide.train.optimisers import Course, optimiser_of
from landtide.train.parallel import Division, Pair, divide
from landtide.train.spec import Optimisation
from landtide.train.years import change_penalty

log = logging.getLogger(__name__)

JUDGED = 4096
"""Validation samples a forward pass."""

CLIPPED = 1.0
"""Largest size of a step's gradient: a longer one is shortened to it."""


Penalty = Callable[[nn.Module, Batch, Tensor], Tensor]
"""What is added to the loss of a batch: network, the batch as the network saw it, logits -> scalar."""


@dataclass(frozen=True)
class Hooks:
    """What others add to a training."""

    watch: Callable[[Epoch], None] | None = None
    """Told after each epoch, in every process; what it raises ends the training."""

    penalty: Penalty | None = None


def fit(
    network: nn.Module,
    source: Source,
    *,
    settings: Optimisation,
    seed: int,
    group: Group | None = None,
    checkpoint: Checkpoint | None = None,
    hooks: Hooks | None = None,
) -> tuple[dict[str, Tensor], list[Epoch]]:
    """Train a network; return its best weights (in the first process) and the curve.

    Randomness: every epoch's depends on seed, epoch and process alone, so that a training which goes on from a checkpoint makes the same
    bytes as one that was never cut off. Same seed, machine, threads and number of processes give the same bytes.
    """
    group, hooks = group or Group(), hooks or Hooks()
    divided = divide(network, settings, group)
    optimiser = optimiser_of(divided.network, settings)
    course = Course(settings, source.steps, group.world * settings.accumulate)
    state = checkpoint.load() if checkpoint else None
    if state is None:
        state = State([], None, 0, {}, divided.weights(), {})
    else:
        log.info("goes on after epoch %d", len(state.curve) - 1)
        divided.restore(optimiser, state.weights, state.optimiser)
    while len(state.curve) < settings.epochs and not (state.curve and state.since >= settings.patience):
        epoch = len(state.curve)
        loss = _pass(divided, source, optimiser, course, settings, seed, epoch, hooks.penalty)
        line = Epoch(epoch, loss, *_validate(divided, source.validation, settings.q))
        if group.first:
            log.info("epoch %d: loss %.4f, validation %s", epoch, loss, _short(line))
        state = _judge(state, line, divided)
        if checkpoint is not None:
            state = State(state.curve, state.best_loss, state.since, divided.weights(), state.best, divided.optimiser_state(optimiser))
            if group.first:
                checkpoint.save(state)
        if hooks.watch is not None:
            hooks.watch(line)
    return state.best, state.curve


def generalised_cross_entropy(logits: Tensor, target: Tensor, q: float) -> Tensor:
    """Return losses (1 - p^q) / q, cross-entropy at q = 0, in the shape of the target: (B,) from logits (B, K), (B, Y) from (B, Y, K)."""
    log_p = torch.log_softmax(logits, dim=-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)  # (B, K) -> (B,)
    return -log_p if q == 0 else (1 - torch.exp(q * log_p)) / q


def even_cross_entropy(logits: Tensor) -> Tensor:
    """Return the cross-entropy to equal shares of the classes that the network knows: what label smoothing adds.

    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7.
    """
    log_p = torch.log_softmax(logits, dim=-1)
    known = torch.isfinite(logits)
    return -log_p.masked_fill(~known, 0).sum(dim=-1) / known.sum(dim=-1)


def _judge(state: State, line: Epoch, divided: Division) -> State:
    """Append an epoch, and keep its weights where validation is the best so far, or where there is none."""
    curve = [*state.curve, line]
    if line.validation is None or state.best_loss is None or line.validation < state.best_loss:
        return State(curve, line.validation, 0, {}, divided.weights(), {})
    return State(curve, state.best_loss, state.since + 1, {}, state.best, {})


def _pass(
    divided: Division,
    source: Source,
    optimiser: torch.optim.Optimizer,
    course: Course,
    settings: Optimisation,
    seed: int,
    epoch: int,
    penalty: Penalty | None,
) -> float:
    """Run one epoch; return the mean loss over all processes."""
    group, own = divided.group, seed_of(seed, epoch, divided.group.rank)
    torch.manual_seed(seed_of(own, group.stage) if group.stage else own)  # dropout
    generator = torch.Generator().manual_seed(own)
    divided.network.train()
    total, batches = torch.zeros((), device=group.device), source.batches(epoch)

    def loss(network: nn.Module, logits: Tensor, pair: Pair) -> Tensor:
        return _loss(network, logits, pair, settings, penalty)

    for step in range(source.steps):
        course.apply(optimiser, epoch * source.steps + step)
        optimiser.zero_grad(set_to_none=True)
        total += divided.gradients(_disturbed(islice(batches, settings.accumulate), settings, generator), loss)
        divided.clip(CLIPPED)
        optimiser.step()
    return group.sum([divided.told(total).item()])[0] / (source.steps * group.world)


def _disturbed(batches: Iterable[Batch], settings: Optimisation, generator: torch.Generator) -> Iterator[Pair]:
    """Yield each batch as it is, and as the network sees it."""
    for batch in batches:
        x, mask = disturb(batch.x, batch.mask, settings, generator)
        yield batch, replace(batch, x=x, mask=mask)


def _loss(network: nn.Module, logits: Tensor, pair: Pair, settings: Optimisation, penalty: Penalty | None) -> Tensor:
    batch, seen = pair
    losses = generalised_cross_entropy(logits, batch.target, settings.q)
    if settings.smoothing:
        losses = torch.lerp(losses, even_cross_entropy(logits), settings.smoothing)
    loss = (batch.weight * losses).mean()
    if settings.change and batch.target.ndim == 2:
        loss = loss + settings.change * change_penalty(logits, batch.x, batch.mask, settings.gate).mean()
    if penalty is not None:
        loss = loss + penalty(network, seen, logits)
    return loss


def disturb(x: Tensor, mask: Tensor, settings: Optimisation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Add noise and hide steps, but never the last one that a series has."""
    noise = torch.randn(x.shape, generator=generator).to(x.device)
    keep = (torch.rand(mask.shape, generator=generator) >= settings.drop).to(x.device)
    kept = mask & keep
    kept = torch.where(kept.any(dim=1, keepdim=True), kept, mask)
    return torch.where(kept.unsqueeze(-1), x + settings.noise * noise, torch.zeros_like(x)), kept


def _validate(divided: Division, data: Batch, q: float) -> tuple[float | None, float | None, float | None]:
    """Return weighted loss, accuracy and mean recall over the validation samples of all processes, all None where one has none."""
    if divided.group.sum([float(not len(data))])[0]:
        return None, None, None
    losses = weight = 0.0
    hits, asked = torch.zeros(256, dtype=torch.float64), torch.zeros(256, dtype=torch.float64)
    with divided.judging() as network:
        for part in _pieces(data, divided.group):
            logits = network(part.x, part.mask, part.doy)
            losses += float((part.weight * generalised_cross_entropy(logits, part.target, q)).sum())
            weight += float(part.weight.sum())
            given = part.weight > 0
            target, right = part.target[given], (logits.argmax(dim=-1) == part.target)[given]
            asked += torch.bincount(target, minlength=256).cpu()
            hits += torch.bincount(target[right], minlength=256).cpu()
    losses, weight, *counts = divided.group.sum([losses, weight, *hits.tolist(), *asked.tolist()])
    hits, asked = torch.tensor(counts[:256]), torch.tensor(counts[256:])
    met = asked > 0
    return losses / weight, float(hits.sum() / asked.sum()), float((hits[met] / asked[met]).mean())


def _pieces(data: Batch, group: Group) -> Iterator[Batch]:
    """Cut a process's share into as many pieces as every other process does: FSDP's forward passes are made together."""
    count = int(max(group.sum([float(len(data))])[0] / group.world, 1)) // JUDGED + 1
    for index in torch.arange(len(data), device=data.target.device).tensor_split(count):
        yield data.take(index)


def _short(epoch: Epoch) -> str:
    return "none" if epoch.validation is None else f"{epoch.validation:.4f}, accuracy {epoch.accuracy:.4f}"
