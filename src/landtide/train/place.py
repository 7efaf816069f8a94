"""Which of how many processes of a training this one is."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """What torchrun tells each process; on its own, a process is the first of one."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    """Number on its machine: the GPU that it takes."""

    restarts: int = 0
    """How often torchrun has started the processes anew."""

    local_world: int = 1
    """Processes on this machine."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Place":
        """Read the variables that torchrun sets. Source: PyTorch, torch.distributed.run, "Environment Variables"."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT", "LOCAL_WORLD_SIZE")
        return cls(*(int(environment.get(name, default)) for name, default in zip(names, (0, 1, 0, 0, 1), strict=True)))

    @property
    def first(self) -> bool:
        """Whether this process writes the result."""
        return self.rank == 0
