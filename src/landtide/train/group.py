"""The processes of one training as the loop needs them: what they sum, and how they begin and end together."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from landtide.core.errors import InputError, LandtideError, is_want_of_memory
from landtide.train.place import Place

log = logging.getLogger(__name__)

LOST = ("gloo", "nccl", "connection", "store", "socket")
"""Words in what torch.distributed raises when another process is gone."""


@dataclass(frozen=True)
class Group:
    """One process among ``world``."""

    rank: int = 0
    """Among those that divide the samples."""

    world: int = 1
    device: str = "cpu"
    stage: int = 0
    """Part of the network that this process holds. Those of a pipeline all see the same samples, so that ``world`` is 1 for them."""

    stages: int = 1

    @property
    def first(self) -> bool:
        """Whether this process tells and keeps what all have done."""
        return self.rank == self.stage == 0

    def sum(self, values: list[float]) -> list[float]:
        """Return sums over all processes that divide the samples."""
        if self.world == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(value) for value in total]


@contextmanager
def joined(place: Place, device: str, *, pipeline: bool = False) -> Iterator[Group]:
    """Join the processes of a training: gloo between CPUs, NCCL between GPUs. One process alone needs neither.

    pipeline  whether they divide the network rather than the samples

    Raises InputError where the device is not there, LandtideError where a process is lost.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device is cuda, and this machine has no usable GPU: write cpu or auto")
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    own = f"cuda:{place.local_rank % torch.cuda.device_count()}" if kind == "cuda" else "cpu"
    if kind == "cuda":
        torch.cuda.set_device(own)
    with explained(place):
        if place.world == 1:
            yield Group(device=own)
            return
        store, _, _ = next(rendezvous("env://"))
        if place.local_world == place.world:
            # torchrun lends its own store, in which a lost try has left keys that gloo would take for the new ones. On several nodes
            # the counts differ, and the launcher asks for a store of each try's own (TORCH_DISABLE_SHARE_RDZV_TCP_STORE).
            store = PrefixStore(f"try-{place.restarts}", store)
        dist.init_process_group("nccl" if kind == "cuda" else "gloo", store=store, rank=place.rank, world_size=place.world)
        yield Group(device=own, stage=place.rank, stages=place.world) if pipeline else Group(place.rank, place.world, own)
        dist.destroy_process_group()  # not after an error: it would wait for processes that are gone


@contextmanager
def explained(place: Place) -> Iterator[None]:
    """Say in one line what torch raises for a lost process."""
    try:
        yield
    except RuntimeError as error:
        line = " ".join(str(error).split()).lower()
        if place.world > 1 and not is_want_of_memory(error) and (isinstance(error, dist.DistError) or any(word in line for word in LOST)):
            raise LandtideError(
                f"training process {place.rank} of {place.world} lost another one ({str(error).splitlines()[0]})"
            ) from error
        raise
