"""What each task gets on a cluster: processors, memory, time, tries, the keys of the object store. On one machine KFP reads none of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from kfp import kubernetes

from components import images
from landtide.core.study import Study
from landtide.launch import manifests
from landtide.launch.images import OVERRIDE
from landtide.launch.jobspec import PART_OF, quantity

GIB = 2**30
HOUR = 3600

BASE = 2 * GIB
"""Bytes beside a step's workers: the interpreter, its libraries (0.6 GB) and what the step itself reads."""

LAUNCHER_MEMORY = 2 * GIB
"""Bytes of a step that only starts pods and reads their logs."""


@dataclass(frozen=True)
class Task:
    """What one task gets."""

    cpu: int
    memory: int
    """Bytes; request and limit."""

    seconds: int
    """After which its pod is ended."""

    tries: int = 0
    """Further tries of a task that talks to other people's servers. Loops ignore them (kubeflow/pipelines#13897): there, steps try again
    inside."""

    gpus: int = 0
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[dict[str, str], ...] = ()


SMALL = Task(1, BASE, HOUR, tries=3)
"""Tasks that read manifests and write one."""

READERS = ("plan", "retrieve", "composite")
"""Steps that read from image providers."""

TRAININGS = ("train", "tune", "pretrain")
"""Steps that train networks, in pods of their own where the study wants it."""

PROVIDER_KEYS = ("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY", "EARTHDATA_TOKEN")

NETWORK_TRIES = 3
BACKOFF = {"backoff_duration": "30s", "backoff_factor": 2.0, "backoff_max_duration": "600s"}
"""Between tries: half a minute, one, two."""


@dataclass(frozen=True)
class Placement:
    """What all tasks of a pipeline get. The defaults are for a study with the study file's own defaults."""

    workers: int = 2
    threads: int = 1
    memory: int = 4 * GIB
    """Bytes a worker."""

    timeout: int = 12 * HOUR
    launches: bool = False
    """Whether training runs in pods of its own."""

    gpus: int = 0
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[dict[str, str], ...] = ()
    object_store: str = "landtide-object-store"
    providers: str = "landtide-providers"
    settings: str = "landtide-settings"
    pull_secret: str | None = None

    @classmethod
    def of(cls, study: Study) -> "Placement":
        """Return what a study asks for."""
        cluster, compute = study.kubernetes, study.compute
        return cls(
            workers=1 if compute.cluster == "kubernetes" else compute.workers,  # then they are pods of their own
            threads=compute.threads,
            memory=compute.memory,
            timeout=cluster.timeout,
            launches=study.train.backend != "local",
            gpus=cluster.gpus,
            node_selector=cluster.node_selector,
            tolerations=tuple(toleration.model_dump(exclude_none=True) for toleration in cluster.tolerations),
            object_store=cluster.object_store,
            providers=cluster.providers,
            settings=cluster.settings,
            pull_secret=cluster.pull_secret,
        )

    def task(self, step: str) -> Task:
        """Return what the task of a step gets."""
        if step in ("plan", "clean-up"):
            return SMALL
        if step in TRAININGS and self.launches:
            return Task(1, LAUNCHER_MEMORY, self.timeout + HOUR)  # the job's own limit comes first
        if step in TRAININGS:
            own = {"gpus": self.gpus, "node_selector": self.node_selector, "tolerations": self.tolerations}
            return Task(self.threads, self.memory + BASE, self.timeout, **own)
        tries = NETWORK_TRIES if step in ("retrieve", "composite", "publish") else 0
        return Task(self.workers * self.threads, self.workers * self.memory + BASE, self.timeout, tries)


_current: ContextVar[Placement] = ContextVar("placement", default=Placement())  # noqa: B039 - it is frozen


@contextmanager
def placing(placement: Placement) -> Iterator[None]:
    """Give the tasks that are made in the block another placement."""
    token = _current.set(placement)
    try:
        yield
    finally:
        _current.reset(token)


def place(task: Any) -> Any:
    """Give a task its place, and return it. KFP's cache is off: it answers "done" although the objects behind a URI are gone."""
    step = task.component_spec.name
    placement = _current.get()
    wanted = placement.task(step)
    task.set_caching_options(False)
    task.set_env_variable(OVERRIDE["landtide-train"], images.TRAIN)  # the image of the pods that the task may start
    task.set_cpu_request(str(wanted.cpu)).set_cpu_limit(str(wanted.cpu))
    task.set_memory_request(quantity(wanted.memory)).set_memory_limit(quantity(wanted.memory))
    if wanted.gpus:
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(wanted.gpus)
    if wanted.tries:
        task.set_retry(wanted.tries, **BACKOFF)
    _place_pod(task, wanted, placement)
    if step in READERS:
        kubernetes.use_secret_as_env(task, placement.providers, {name: name for name in PROVIDER_KEYS}, optional=True)
    return task


def _place_pod(task: Any, wanted: Task, placement: Placement) -> None:
    """Give a task's pod what KFP itself has no words for."""
    kubernetes.set_timeout(task, wanted.seconds)
    kubernetes.set_security_context(task, run_as_user=manifests.USER, run_as_group=manifests.USER, run_as_non_root=True)
    kubernetes.add_pod_label(task, PART_OF, "landtide")
    secret = {name: name for name in manifests.FROM_SECRET}
    kubernetes.use_secret_as_env(task, placement.object_store, secret, optional=True)  # a role of the service account needs none
    settings = {name: name for name in manifests.FROM_SETTINGS}
    kubernetes.use_config_map_as_env(task, placement.settings, settings, optional=True)
    if placement.pull_secret:
        kubernetes.set_image_pull_secrets(task, [placement.pull_secret])
    for key, value in wanted.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in wanted.tolerations:
        kubernetes.add_toleration(task, **toleration)
