"""What the processes of a training divide: the samples alone, or the weights too."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.nn.parallel import DistributedDataParallel

from landtide.core.errors import InputError
from landtide.train.batches import Batch
from landtide.train.group import Group
from landtide.train.spec import Optimisation

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


Pair = tuple[Batch, Batch]
"""A batch as it is, and as the network sees it."""

Loss = Callable[[nn.Module, Tensor, Pair], Tensor]
"""Network, its logits in float32, the batch -> scalar."""


class Division(Protocol):
    """A network over the processes of a group, as the loop needs it."""

    network: nn.Module
    """What this process learns, under the names of the whole network."""

    group: Group

    def gradients(self, pairs: Iterable[Pair], loss: Loss) -> Tensor:
        """Sum the gradients of the batches of one step; return the mean loss, where this process knows it."""

    def clip(self, largest: float) -> None:
        """Shorten the gradient of the whole network."""

    def told(self, loss: Tensor) -> Tensor:
        """Return the loss of the process that knows it."""

    def judging(self) -> AbstractContextManager[nn.Module]:
        """Lend the network for validation."""

    def weights(self) -> dict[str, Tensor]:
        """Return all weights, copied to this machine's memory; empty but in the first process where they are divided."""

    def optimiser_state(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """Return the optimiser's whole state by ``<weight>|<name>``; empty but in the first process where the weights are divided."""

    def restore(self, optimiser: torch.optim.Optimizer, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Take up weights and the optimiser's state, which every process has read. The optimiser's settings are those of now."""


def divide(network: nn.Module, settings: Optimisation, group: Group) -> Division:
    """Divide a network, or what it learns from, among the processes.

    Raises InputError where they are too few or too many for what the settings ask.
    """
    if settings.parallel == "pipeline":
        from landtide.train.pipelined import Pipelined  # its import takes half a second

        return Pipelined(network, settings, group)
    return Divided(network, settings, group)


class Divided:
    """A network over the processes of a group: DDP, or FSDP where the weights are divided too."""

    def __init__(self, network: nn.Module, settings: Optimisation, group: Group) -> None:
        self.network = network.to(group.device)
        self.group, self._settings = group, settings
        self.training: nn.Module = self.network
        if settings.parallel == "sharded":
            _shard(self.network, settings, group)
        elif group.world > 1:
            self.training = DistributedDataParallel(self.network)

    def gradients(self, pairs: Iterable[Pair], loss: Loss) -> Tensor:
        """Sum the gradients of the batches of one step; return their mean loss."""
        total, count = torch.zeros((), device=self.group.device), self._settings.accumulate
        for number, (batch, seen) in enumerate(pairs, 1):
            with self._summing(number == count):
                with computing(self._settings, self.group):
                    logits = self.training(seen.x, seen.mask, seen.doy)
                part = loss(self.training, logits.float(), (batch, seen)) / count
                torch.autograd.backward(part)
            total += part.detach()
        return total

    def clip(self, largest: float) -> None:
        """Shorten the gradient of the whole network."""
        nn.utils.clip_grad_norm_(self.network.parameters(), largest)

    def told(self, loss: Tensor) -> Tensor:
        """Return the loss: every process knows its own."""
        return loss

    @contextmanager
    def _summing(self, last: bool) -> Iterator[None]:
        """Exchange gradients only with the last batch of a step: the sums of those before it stay here until then."""
        if isinstance(self.training, DistributedDataParallel) and not last:
            with self.training.no_sync():
                yield
            return
        yield

    @contextmanager
    def judging(self) -> Iterator[nn.Module]:
        """Lend the network for validation: in every process with the running means of the first."""
        self.network.eval()
        if self.group.world > 1:
            for buffer in self.network.buffers():
                dist.broadcast(buffer, 0)
        with torch.no_grad():
            yield self.network
        self.network.train()

    def weights(self) -> dict[str, Tensor]:
        """Return all weights, copied to this machine's memory; empty but in the first process where they are divided."""
        found: dict[str, Any] = get_model_state_dict(self.network, options=WHOLE)
        return {name: value.detach().clone() for name, value in found.items()}

    def optimiser_state(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """Return the optimiser's whole state by ``<weight>|<name>``; empty but in the first process where they are divided."""
        found: dict[str, Any] = get_optimizer_state_dict(self.network, optimiser, options=WHOLE)
        return by_name(found)

    def restore(self, optimiser: torch.optim.Optimizer, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Take up weights and the optimiser's state, which every process has read. The optimiser's settings are those of now."""
        set_model_state_dict(self.network, dict[str, Any](weights), options=WHOLE)
        set_optimizer_state_dict(self.network, optimiser, optimiser_restored(self.network, optimiser, state), options=WHOLE)


def computing(settings: Optimisation, group: Group) -> torch.autocast:
    """Compute in the precision of the settings."""
    return torch.autocast(group.device.split(":")[0], torch.bfloat16, enabled=settings.precision == "bf16")


def optimiser_restored(network: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return an optimiser's state by ``<weight>|<name>`` in torch's form, with the settings that it has now."""
    names = [name for name, _ in network.named_parameters()]
    options = [{**{key: value for key, value in group.items() if key != "params"}, "params": names} for group in optimiser.param_groups]
    nested: dict[str, dict[str, Any]] = {}
    for key, value in state.items():
        weight, _, name = key.rpartition("|")
        nested.setdefault(weight, {})[name] = value
    return {"state": nested, "param_groups": options}


def by_name(state: dict[str, Any]) -> dict[str, Any]:
    """Return an optimiser's state in torch's form by ``<weight>|<name>``."""
    return {f"{weight}|{name}": value for weight, values in state.get("state", {}).items() for name, value in values.items()}


def _shard(network: nn.Module, settings: Optimisation, group: Group) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if group.world == 1:
        raise InputError("model.parallel: sharded needs at least 2 processes: raise train.processes or train.nodes")
    if settings.optimiser != "adamw":
        raise InputError(f"model.parallel: sharded works with optimiser adamw alone, not {settings.optimiser}: it needs whole tensors")
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module.*returned a view", category=UserWarning)  # ours change nothing in place
    mesh = init_device_mesh(group.device.split(":")[0], (group.world,))
    for child in network.children():
        if any(True for _ in child.parameters()):
            fully_shard(child, mesh=mesh)
    fully_shard(network, mesh=mesh)
