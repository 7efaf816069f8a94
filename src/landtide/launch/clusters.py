"""Dask clusters for a pool of workers: processes of this machine, pods, jobs of Slurm. Every one ends with its block."""

import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from landtide.core.compute import SlurmWorkers
from landtide.core.errors import InputError, LandtideError
from landtide.core.study import Study

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Every library that would otherwise start a thread a core in each worker."""

SETTINGS = {
    "distributed.worker.multiprocessing-method": "spawn",  # GDAL, BLAS and torch hold threads and locks that do not survive a fork
    "distributed.worker.memory.target": False,  # spilling and pausing would stall a step without a word;
    "distributed.worker.memory.spill": False,  # work is cut to the memory beforehand,
    "distributed.worker.memory.pause": False,  # and what still goes beyond it
    "distributed.worker.memory.terminate": 0.98,  # is ended with a message
    "distributed.comm.timeouts.connect": "60s",  # a loaded machine starts processes slowly
    "distributed.comm.timeouts.tcp": "1h",  # a busy worker does not read its socket; at 30 s, the default, that looks like its death
    "distributed.scheduler.unknown-task-duration": "60s",  # so that a cluster grows before the first task is done
}

LOCAL = {"distributed.scheduler.allowed-failures": 0}
"""On one machine the same task would need the same memory again."""

REMOTE = {"distributed.scheduler.allowed-failures": 3}
"""Pods are evicted and jobs reach their end: another worker takes the task over."""

LIFETIME = 0.9
"""Share of a job's walltime after which a worker finishes what it does and takes nothing new."""


class Cluster(Protocol):
    """A place for workers."""

    def start(self, workers: int, threads: int, memory: int) -> AbstractContextManager[Any]:
        """Lend a Dask client of at most so many workers; when the block is left, however, the workers are gone."""
        ...


def cluster_of(study: Study, run_id: str) -> Cluster | None:
    """Return where a study's workers run; None = on this machine."""
    if study.compute.cluster == "kubernetes":
        from landtide.launch.dask_pods import PodWorkers

        return PodWorkers(study, run_id)
    return BatchWorkers(study.compute.slurm, study.compute.patience) if study.compute.cluster == "slurm" else None


def thread_settings(threads: int) -> dict[str, str]:
    """Return the environment of a worker that may use so many threads."""
    return {name: str(threads) for name in THREAD_VARIABLES} | {"OMP_WAIT_POLICY": "passive"}


class LocalWorkers:
    """Processes of this machine."""

    @contextmanager
    def start(self, workers: int, threads: int, memory: int) -> Iterator[Any]:
        import dask  # half a second: only where there are workers to start
        from distributed import Client, LocalCluster

        with dask.config.set(SETTINGS | LOCAL):
            with _environment(thread_settings(threads)):
                cluster = LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=memory,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",  # any free port: its fixed default would clash with another run's
                    scheduler_kwargs={"dashboard": False},
                    silence_logs=logging.CRITICAL,
                )
            with cluster, Client(cluster, set_as_default=False) as client:  # type: ignore[no-untyped-call]
                client.run(_ignore_interrupt)
                yield client


@dataclass(frozen=True)
class BatchWorkers:
    """Jobs of Slurm, one worker each, by dask-jobqueue; the scheduler runs in this process."""

    slurm: SlurmWorkers
    patience: int
    """Seconds."""

    @contextmanager
    def start(self, workers: int, threads: int, memory: int) -> Iterator[Any]:
        import dask
        from distributed import Client

        if shutil.which("sbatch") is None:
            raise InputError("compute.cluster is slurm, but this machine has no sbatch: start the run on a login node")
        with (
            dask.config.set(SETTINGS | REMOTE),
            tempfile.TemporaryDirectory(prefix="landtide-jobs-") as folder,
            self.cluster(threads, memory, folder) as cluster,
        ):
            cluster.adapt(minimum_jobs=1, maximum_jobs=workers)
            with Client(cluster, set_as_default=False) as client:  # type: ignore[no-untyped-call]
                wait_for_first(client, self.patience, "squeue tells whether the job waits, or why it was refused")
                yield client

    def cluster(self, threads: int, memory: int, folder: str) -> Any:
        """Return the cluster, without any job yet.

        folder  of this machine, for the jobs' logs where the study keeps none
        """
        from dask_jobqueue import SLURMCluster  # type: ignore[attr-defined]

        slurm = self.slurm
        variables = thread_settings(threads) | ({"PYTHONPATH": path} if (path := os.environ.get("PYTHONPATH")) else {})
        lifetime = int(slurm.walltime * LIFETIME)
        return SLURMCluster(
            queue=slurm.queue,
            account=slurm.account,
            cores=1,  # Dask's word for tasks at a time; the processors are asked for below
            job_cpu=threads,
            processes=1,
            memory=f"{memory}B",
            walltime=_clock(slurm.walltime),
            interface=slurm.interface,
            local_directory=slurm.scratch,
            log_directory=slurm.logs or folder,
            job_extra_directives=list(slurm.directives),
            job_script_prologue=[*slurm.prologue, *(f"export {name}={value}" for name, value in variables.items())],
            worker_extra_args=["--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{max(1, lifetime // 20)}s"],
            python=sys.executable,
            scheduler_options={"dashboard": False, "dashboard_address": ":0"},
            silence_logs=logging.CRITICAL,
        )


def wait_for_first(client: Any, patience: int, advice: str) -> None:
    """Wait for the first worker. Raises LandtideError where none comes: submitted tasks would wait for ever."""
    try:
        client.wait_for_workers(1, timeout=patience)
    except TimeoutError as error:
        raise LandtideError(f"no worker came within {patience} s (compute.patience): {advice}") from error


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def _ignore_interrupt() -> None:
    """Leave Ctrl-C, which a terminal sends to every process of the group, to the process that owns the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that the processes started in the block inherit."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
