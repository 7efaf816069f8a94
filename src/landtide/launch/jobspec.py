"""One job on Kubernetes, whatever object it becomes there."""

import hashlib
import math
from dataclasses import dataclass, field, replace
from typing import Literal

from landtide.core.cluster import Elastic, Hpc, Toleration
from landtide.core.errors import InputError
from landtide.core.study import Study
from landtide.launch import images, training

Kind = Literal["pytorchjob", "trainjob", "job"]

PART_OF = "app.kubernetes.io/part-of"
RUN_ID = "landtide.io/run-id"
"""Label that every object of a run carries: the exit handler deletes by it."""

TRAIN_COMMAND = ("torchrun", "-m", "landtide.train")
"""The operators give torchrun its addresses and ranks by the environment (PET_*), so it needs no arguments."""


@dataclass(frozen=True)
class Resources:
    """What a pod gets. Requests equal limits: the pod is then the last to be evicted, and slurm-bridge reads the limits."""

    cpu: int
    memory: int
    """Bytes."""

    gpus: int = 0
    shared_memory: int = 2 * 2**30
    """Bytes of /dev/shm, within ``memory``."""


@dataclass(frozen=True)
class Owner:
    """The object with which a job is collected: the Workflow of the run, never the pod that launched it."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class JobSpec:
    """What to run, how often, and where."""

    kind: Kind
    name: str
    namespace: str
    run_id: str
    image: str
    command: tuple[str, ...]
    resources: Resources
    nodes: int = 1
    processes: int = 1
    """A pod."""

    environment: dict[str, str] = field(default_factory=dict)
    service_account: str = "landtide-runner"
    secret: str = "landtide-object-store"
    settings: str = "landtide-settings"
    pull_secret: str | None = None
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    gang: bool = True
    queue: str | None = None
    elastic: Elastic | None = None
    restarts: int = 2
    timeout: int = 12 * 3600
    """Seconds."""

    keep: int = 24 * 3600
    """Seconds that an ended job stays."""

    runtime: str = "landtide-torch"
    bridge: Hpc = field(default_factory=Hpc)
    owner: Owner | None = None

    @property
    def labels(self) -> dict[str, str]:
        return {PART_OF: "landtide", RUN_ID: self.run_id}


def job_name(stage: str, run_id: str, digest: str) -> str:
    """Return the name of a job: the same for the same work of the same run, so that a launcher's second attempt finds the first's job.

    It leaves room for what operators add to it (``-worker-12``): names of pods and services end at 63 characters.
    """
    own = hashlib.sha256(f"{run_id}\n{stage}\n{digest}".encode()).hexdigest()[:12]
    return f"landtide-{stage.replace('_', '-')[:20]}-{own}"


def training_job(study: Study, *, stage: str, run_id: str, digest: str, spec_uri: str, grouped: bool = True) -> JobSpec:
    """Return the job of a training as the study asks for it.

    digest    of all that decides the result
    spec_uri  where the pods read the training's spec
    grouped   whether several processes train together; otherwise the job is one pod with one process, and without GPU

    Raises InputError where the study asks for what the chosen kind of job cannot do.
    """
    backend, kubernetes = study.train.backend, study.kubernetes
    if backend == "local":
        raise InputError("train.backend: local starts no pods; choose pytorchjob, trainjob or job")
    spec = JobSpec(
        kind=backend,
        name=job_name(f"train-{stage}", run_id, digest),
        namespace=kubernetes.jobs_namespace or kubernetes.namespace,
        run_id=run_id,
        image=kubernetes.image or images.reference("landtide-train"),
        command=(*TRAIN_COMMAND, spec_uri),
        resources=Resources(
            kubernetes.cpu or study.compute.threads * (study.train.processes if grouped else 1),
            kubernetes.memory,
            kubernetes.gpus if grouped else 0,
            kubernetes.shared_memory,
        ),
        nodes=study.train.nodes if grouped else 1,
        processes=study.train.processes if grouped else 1,
        environment=_environment(study.compute.threads),
        service_account=kubernetes.service_account,
        secret=kubernetes.object_store,
        settings=kubernetes.settings,
        pull_secret=kubernetes.pull_secret,
        node_selector=kubernetes.node_selector,
        tolerations=tuple(kubernetes.tolerations),
        gang=kubernetes.gang,
        queue=kubernetes.queue,
        elastic=kubernetes.elastic if grouped else None,
        restarts=kubernetes.restarts,
        timeout=kubernetes.timeout,
        keep=kubernetes.keep,
        runtime=kubernetes.runtime,
        bridge=study.hpc,
    )
    check(spec)
    return spec


def check(spec: JobSpec) -> None:
    """Raise InputError where the job asks for what its kind or its bridge cannot do."""
    if spec.kind == "job" and spec.nodes > 1:
        raise InputError(f"train.nodes: {spec.nodes} pods need an operator that connects them: set train.backend to pytorchjob or trainjob")
    if spec.elastic and spec.kind != "pytorchjob":
        raise InputError(f"kubernetes.elastic: a {spec.kind} cannot change its number of pods; only train.backend: pytorchjob can")
    if spec.elastic and not spec.elastic.least <= spec.nodes <= spec.elastic.most:
        raise InputError(
            f"kubernetes.elastic: train.nodes {spec.nodes} is not within min {spec.elastic.least} and max {spec.elastic.most}: "
            "it is what the job starts with"
        )
    if spec.bridge.bridge in ("interlink", "hpk") and spec.nodes > 1:
        raise InputError(
            f"hpc.bridge: {spec.bridge.bridge} runs each pod as a Slurm job of its own and cannot start {spec.nodes} together: "
            "set train.nodes to 1 (several processes or GPUs in it are fine), or use slurm-bridge"
        )


def owned(spec: JobSpec, owner: Owner | None, namespace: str) -> JobSpec:
    """Return the job with its owner, where that may be: an owner in another namespace would have the job collected at once."""
    return replace(spec, owner=owner) if owner and namespace == spec.namespace else spec


def quantity(size: int) -> str:
    """Return bytes as Kubernetes writes them, in whole MiB, rounded up."""
    mebibytes = math.ceil(size / 2**20)
    return f"{mebibytes // 1024}Gi" if mebibytes % 1024 == 0 else f"{mebibytes}Mi"


def _environment(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(threads)) | {"OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1", training.FRESH_STORE: "1"}
