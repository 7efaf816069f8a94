"""A network whose layers are divided among the processes: the batches of a step pass through them one after another."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from landtide.core.errors import InputError
from landtide.models.transformer import Transformer
from landtide.train.batches import Batch
from landtide.train.group import Group
from landtide.train.parallel import Loss, Pair, by_name, computing, optimiser_restored
from landtide.train.spec import Optimisation


class Stage(nn.Module):
    """One process's part of the network."""

    def __init__(self, network: Transformer, settings: Optimisation, group: Group) -> None:
        super().__init__()
        network.keep(group.stage, group.stages)
        self.network, self._settings, self._group = network, settings, group
        self.first, self.last = group.stage == 0, group.stage == group.stages - 1

    def forward(self, values: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
        """Return the states (B, T, D) for the next stage, in the last stage the logits (B, K).

        values  (B, T, C) standardised series in the first stage, in others the states of the one before
        mask    (B, T)
        doy     (B, T)
        """
        with computing(self._settings, self._group):
            states = self.network.enter(values, mask, doy) if self.first else values
            states = self.network.attend(states, mask)
            told = self.network.tell(states, mask) if self.last else states
            return told.float().contiguous()


class Relay(nn.Module):
    """The whole network without gradients: each stage computes in turn, and every process is told the logits."""

    def __init__(self, stage: Stage, group: Group) -> None:
        super().__init__()
        self.stage, self._group = stage, group

    def forward(self, x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
        """Return logits (B, K) from series (B, T, C), masks and days (B, T)."""
        network, own, last, states = self.stage.network, self._group.stage, self._group.stages - 1, x
        if own:
            states = x.new_empty(*mask.shape, network.width)
            dist.recv(states, own - 1)
        states = self.stage(states, mask, doy)
        if own < last:
            dist.send(states, own + 1)
            states = x.new_empty(len(mask), network.classes)
        dist.broadcast(states, last)
        return states


class Pipelined:
    """A transformer by layers, each process some of them; all see the same samples.

    The ``accumulate`` batches of a step follow each other through the stages, one forward, one backward.
    Source of the schedule: Narayanan et al. 2021, arXiv:2104.04473, section 2.2.1.
    """

    def __init__(self, network: nn.Module, settings: Optimisation, group: Group) -> None:
        if not isinstance(network, Transformer):
            raise InputError(f"model.parallel: pipeline does not divide {type(network).__name__}")
        layers = len(network.layers)
        if not 1 < group.stages <= min(layers, settings.accumulate):
            raise InputError(
                f"model.parallel: pipeline over {group.stages} processes needs 2 processes or more, at least as many model.layers "
                f"(now {layers}) and as many batches a step, model.accumulate (now {settings.accumulate})"
            )
        self.group = group
        self._stage = Stage(network, settings, group).to(group.device)
        self.network: nn.Module = network
        self._relay = Relay(self._stage, group)
        self._count = settings.accumulate
        self._schedule: Schedule1F1B | None = None
        self._current: tuple[Loss, Batch, Batch] | None = None

    def gradients(self, pairs: Iterable[Pair], loss: Loss) -> Tensor:
        """Sum the gradients of the batches of one step; return their mean loss in the last stage, 0 in the others."""
        batches, disturbed = zip(*pairs, strict=True)
        batch, seen = Batch.joined(batches), Batch.joined(disturbed)
        self._current = loss, batch, seen
        self._schedule = self._schedule or self._scheduled(seen)
        inputs = (seen.x,) if self._stage.first else ()
        losses: list[Tensor] = []
        rows = torch.arange(len(batch), device=batch.target.device) if self._stage.last else None
        self._schedule.step(
            *inputs, mask=seen.mask, doy=seen.doy, target=rows, losses=losses if self._stage.last else None, return_outputs=False
        )
        return torch.stack(losses).detach().mean() if losses else torch.zeros((), device=self.group.device)

    def _scheduled(self, step: Batch) -> Schedule1F1B:
        """Return the schedule for steps of one size. Left to find out the shapes, torch would make a pass that moves the running means."""
        part, network = self._stage, self._stage.network
        series = step.x[: len(step) // self._count]
        states = series.new_empty(*series.shape[:2], network.width).requires_grad_()
        logits = series.new_empty(len(series), network.classes).requires_grad_()
        enter, leave = series if part.first else states, logits if part.last else states
        device = torch.device(self.group.device)
        stage = PipelineStage(part, self.group.stage, self.group.stages, device, input_args=enter, output_args=leave)
        return Schedule1F1B(stage, self._count, loss_fn=self._loss)

    def _loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Return the loss of one of the batches, which the schedule names by its rows."""
        assert self._current is not None
        loss, batch, seen = self._current
        return loss(self._stage, logits, (batch.take(rows), seen.take(rows)))

    def clip(self, largest: float) -> None:
        """Shorten the gradient of the whole network, whose length all stages make up."""
        own = list(self.network.parameters())
        square = nn.utils.get_total_norm([weight.grad for weight in own if weight.grad is not None]) ** 2
        dist.all_reduce(square)
        nn.utils.clip_grads_with_norm_(own, largest, square.sqrt())

    def told(self, loss: Tensor) -> Tensor:
        """Return the loss of the last stage in all."""
        dist.broadcast(loss, self.group.stages - 1)
        return loss

    @contextmanager
    def judging(self) -> Iterator[nn.Module]:
        """Lend the whole network for validation; all processes must ask it for the same samples."""
        self._stage.eval()
        with torch.no_grad():
            yield self._relay
        self._stage.train()

    def weights(self) -> dict[str, Tensor]:
        """Return all weights in the first process, nothing in the others."""
        return self._gathered({name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()})

    def optimiser_state(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """Return the optimiser's whole state by ``<weight>|<name>`` in the first process, nothing in the others."""
        found: dict[str, Any] = get_optimizer_state_dict(self.network, optimiser)
        return self._gathered({name: value.cpu() if isinstance(value, Tensor) else value for name, value in by_name(found).items()})

    def restore(self, optimiser: torch.optim.Optimizer, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Take up this stage's part of the weights and of the optimiser's state."""
        own = self.network.state_dict()
        self.network.load_state_dict({name: weights[name] for name in own})
        part = {key: value for key, value in state.items() if key.rpartition("|")[0] in own}
        set_optimizer_state_dict(self.network, optimiser, optimiser_restored(self.network, optimiser, part))

    def _gathered(self, own: dict[str, Any]) -> dict[str, Any]:
        parts: list[dict[str, Any]] | None = [{} for _ in range(self.group.stages)] if self.group.first else None
        dist.gather_object(own, parts)
        return {name: value for part in parts or [] for name, value in part.items()}
