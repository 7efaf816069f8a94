"""The workers of one step on one machine: a Dask cluster of processes, or the calling process itself."""

import itertools
import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from landtide.core.errors import LandtideError
from landtide.core.units import format_bytes

Item = TypeVar("Item")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Every library that would otherwise start a thread a core in each worker."""

AHEAD = 2
"""Tasks in flight a worker: one runs and one waits, so that no worker idles and few arguments and results lie in memory."""

LOCAL_CLUSTER = {
    "distributed.worker.multiprocessing-method": "spawn",  # GDAL, BLAS and torch hold threads and locks that do not survive a fork
    "distributed.worker.memory.target": False,  # spilling and pausing would stall a step without a word;
    "distributed.worker.memory.spill": False,  # work is cut to the memory beforehand,
    "distributed.worker.memory.pause": False,  # and what still goes beyond it
    "distributed.worker.memory.terminate": 0.98,  # is ended with a message
    "distributed.scheduler.allowed-failures": 0,  # the same task would need the same memory again
    "distributed.comm.timeouts.connect": "60s",  # a loaded machine starts processes slowly
    "distributed.comm.timeouts.tcp": "1h",  # a busy worker does not read its socket; at 30 s, the default, that looks like its death
}


class Pool:
    """Workers that do independent tasks; made by `open_pool`."""

    def __init__(self, workers: int, threads: int, memory: int, resources: ExitStack) -> None:
        self.workers = workers
        self.threads = threads
        """Threads that one task may use."""

        self.memory = memory
        """Bytes that one task may use."""

        self._resources = resources
        self._client: Any = None

    def map(self, fn: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``fn(item)`` in the order of the items.

        Items are taken as workers come free, so an endless or large iterable costs no memory. A single item is done in the calling
        process: starting workers takes longer than most tasks. `fn`, items and results must be picklable.

        An error of a task is raised as it is. Raises LandtideError where a worker was killed, commonly for its memory.
        """
        iterator = iter(items)
        first = list(itertools.islice(iterator, 2))
        rest = itertools.chain(first, iterator)
        if self.workers == 1 or len(first) < 2:
            yield from map(fn, rest)
        else:
            yield from self._map_in_workers(fn, rest)

    def _map_in_workers(self, fn: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[Result]:
        from distributed.scheduler import KilledWorker

        if self._client is None:
            self._client = _start(self._resources, self.workers, self.threads, self.memory)
        flying: deque[Any] = deque()
        try:
            for item in itertools.islice(items, AHEAD * self.workers):
                flying.append(self._client.submit(fn, item, pure=False))
            while flying:
                result = flying.popleft().result()
                for item in itertools.islice(items, 1):
                    flying.append(self._client.submit(fn, item, pure=False))
                yield result
        except KilledWorker as error:
            raise LandtideError(
                f"a worker was killed, most likely for going beyond its {format_bytes(self.memory)} of memory: "
                "raise compute.memory, or lower compute.workers where the machine itself ran out"
            ) from error


@contextmanager
def open_pool(workers: int, threads: int, memory: int) -> Iterator[Pool]:
    """Lend a pool of workers, and end all of its processes when the block is left, also by Ctrl-C.

    workers  processes; 1 = the calling process
    threads  threads that a task may use (OpenMP, BLAS, numba), and that Dask does not multiply: a worker does one task at a time
    memory   bytes a worker may use

    The processes are started when they are first needed.
    """
    with ExitStack() as resources:
        yield Pool(workers, threads, memory, resources)


def _start(resources: ExitStack, workers: int, threads: int, memory: int) -> Any:
    """Start the cluster and return its client."""
    import dask  # half a second: only where there are workers to start
    from distributed import Client, LocalCluster

    variables = {name: str(threads) for name in THREAD_VARIABLES} | {"OMP_WAIT_POLICY": "passive"}
    resources.enter_context(dask.config.set(LOCAL_CLUSTER))
    with _environment(variables):
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
        resources.enter_context(cluster)
    client = resources.enter_context(Client(cluster, set_as_default=False))  # type: ignore[no-untyped-call]
    client.run(_ignore_interrupt)
    return client


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
