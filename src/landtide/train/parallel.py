"""What the processes of a training divide: the samples alone, or the weights too."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
from landtide.train.group import Group
from landtide.train.spec import Optimisation

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class Divided:
    """A network over the processes of a group: DDP, or FSDP where the weights are divided too."""

    def __init__(self, network: nn.Module, settings: Optimisation, group: Group) -> None:
        self.network = network.to(group.device)
        self.group = group
        self.training: nn.Module = self.network
        if settings.parallel == "sharded":
            _shard(self.network, settings, group)
        elif group.world > 1:
            self.training = DistributedDataParallel(self.network)

    @contextmanager
    def summing(self, last: bool) -> Iterator[None]:
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
        state = found.get("state", {})
        return {f"{weight}|{name}": value for weight, values in state.items() for name, value in values.items()}

    def restore(self, optimiser: torch.optim.Optimizer, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Take up weights and the optimiser's state, which every process has read. The optimiser's settings are those of now."""
        names = [name for name, _ in self.network.named_parameters()]
        options = [{**{key: value for key, value in group.items() if key != "params"}, "params": names} for group in optimiser.param_groups]
        nested: dict[str, dict[str, Any]] = {}
        for key, value in state.items():
            weight, _, name = key.rpartition("|")
            nested.setdefault(weight, {})[name] = value
        set_model_state_dict(self.network, dict[str, Any](weights), options=WHOLE)
        whole: dict[str, Any] = {"state": nested, "param_groups": options}
        set_optimizer_state_dict(self.network, optimiser, whole, options=WHOLE)


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
