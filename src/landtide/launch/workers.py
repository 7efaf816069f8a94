"""The workers of one step: a Dask cluster of this machine's processes, of pods or of jobs, or the calling process itself."""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from landtide.core.errors import LandtideError
from landtide.core.units import format_bytes
from landtide.launch import processes
from landtide.launch.clusters import THREAD_VARIABLES, Cluster, LocalWorkers

__all__ = ["AHEAD", "THREAD_VARIABLES", "Pool", "open_pool"]

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2
"""Tasks in flight a worker: one runs and one waits, so that no worker idles and few arguments and results lie in memory."""


class Pool:
    """Workers that do independent tasks; made by `open_pool`."""

    def __init__(self, workers: int, threads: int, memory: int, resources: ExitStack, cluster: Cluster) -> None:
        self.workers = workers
        self.threads = threads
        """Threads that one task may use."""

        self.memory = memory
        """Bytes that one task may use."""

        self.local = isinstance(cluster, LocalWorkers)
        """Whether the workers are this machine's own processes."""

        self._resources = resources
        self._cluster = cluster
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
            self._client = self._resources.enter_context(self._cluster.start(self.workers, self.threads, self.memory))
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
def open_pool(workers: int, threads: int, memory: int, cluster: Cluster | None = None) -> Iterator[Pool]:
    """Lend a pool of workers, and end all of its processes when the block is left, also by Ctrl-C; on a cluster also by SIGTERM.

    workers  processes; 1 = the calling process
    threads  threads that a task may use (OpenMP, BLAS, numba), and that Dask does not multiply: a worker does one task at a time
    memory   bytes a worker may use
    cluster  where the workers run; None = on this machine

    The workers are started when they are first needed.
    """
    with ExitStack() as resources:
        if cluster is not None and threading.current_thread() is threading.main_thread():
            resources.enter_context(processes.interruptible())  # else pods and jobs would outlive the step
        yield Pool(workers, threads, memory, resources, cluster or LocalWorkers())
