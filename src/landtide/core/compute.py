"""The study's keys for the workers of retrieving, compositing and classifying, on whatever machines."""

from typing import Literal

from pydantic import Field

from landtide.core.cluster import Memory, Seconds
from landtide.core.section import Section


class SlurmWorkers(Section):
    """Workers as jobs of Slurm, which the step on the login node submits."""

    queue: str | None = None
    """Partition; None = the system's default."""

    account: str | None = None
    walltime: Seconds = Field(2 * 3600, validate_default=True)
    """Of one job. A worker ends in good time before, and another takes over what it had not begun."""

    interface: str | None = None
    """Network interface by which nodes reach the login node, such as ``ib0``; None = that of the default route."""

    directives: tuple[str, ...] = ()
    """Further options of sbatch: ``--qos=long``, ``--constraint=milan``."""

    prologue: tuple[str, ...] = ()
    """Shell lines before a worker starts, such as ``module load python``."""

    scratch: str = "/tmp"
    """Folder on the nodes for what workers write on the way."""

    logs: str | None = None
    """Folder for the jobs' output; None = none is kept."""


class Compute(Section):
    """What a worker may use."""

    memory: Memory = Field(4 * 2**30, validate_default=True)
    workers: int = Field(2, ge=1)
    threads: int = Field(1, ge=1)
    cluster: Literal["local", "kubernetes", "slurm"] = "local"
    """Where workers run: processes of the step's own machine, pods by the Dask operator (section ``kubernetes``), or jobs of Slurm.
    On a cluster, ``workers`` is the most that there are at a time."""

    slurm: SlurmWorkers = SlurmWorkers()
    patience: Seconds = Field(1800, validate_default=True)
    """How long a cluster may take to give the first worker: a queue may be long, but a wrong image or partition never gives any."""
