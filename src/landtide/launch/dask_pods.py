"""Dask workers as pods: a DaskCluster of the Dask operator, which grows and shrinks with the work, and is gone when the block is left."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from landtide.core.study import Study
from landtide.launch import images
from landtide.launch.clusters import REMOTE, SETTINGS, thread_settings, wait_for_first
from landtide.launch.jobspec import JobSpec, Resources
from landtide.launch.manifests import pod_template

SCHEDULER = Resources(cpu=1, memory=2 * 2**30, shared_memory=64 * 2**20)
"""It holds the arguments and results in flight, a few windows of maps a worker."""

IDLE = 900
"""Seconds without work after which the operator itself removes a cluster: its step was killed and could not."""


@dataclass(frozen=True)
class PodWorkers:
    """Pods of the study's namespace and image."""

    study: Study
    run_id: str

    @contextmanager
    def start(self, workers: int, threads: int, memory: int) -> Iterator[Any]:
        import dask
        from dask_kubernetes.operator import KubeCluster
        from distributed import Client

        name = f"landtide-{secrets.token_hex(5)}"
        spec = cluster_spec(self.study, self.run_id, name, threads, memory)
        patience = self.study.compute.patience
        with (
            dask.config.set(SETTINGS | REMOTE),
            KubeCluster(
                custom_cluster_spec=spec,
                namespace=self.study.kubernetes.namespace,
                resource_timeout=patience,
                shutdown_on_close=True,
                quiet=True,
            ) as cluster,
        ):
            cluster.adapt(minimum=1, maximum=workers)
            with Client(cluster, set_as_default=False) as client:  # type: ignore[no-untyped-call]
                wait_for_first(client, patience, f"`kubectl describe pods -l dask.org/cluster-name={name}` tells why")
                yield client


def cluster_spec(study: Study, run_id: str, name: str, threads: int, memory: int) -> dict[str, Any]:
    """Return the DaskCluster: one scheduler, and workers with the rights, image and secrets of the study's other pods.

    The operator adds to the first container of each pod the scheduler's address and the worker's name, and to the labels its own.
    """
    from dask_kubernetes.operator import make_cluster_spec

    worker = _job(study, run_id, name, Resources(cpu=threads, memory=memory, shared_memory=64 * 2**20))
    settings = {f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": str(value) for key, value in (SETTINGS | REMOTE).items()}
    command = ["dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", "1", "--memory-limit", str(memory), "--no-dashboard",
               "--local-directory", "/tmp"]  # fmt: skip
    spec: dict[str, Any] = make_cluster_spec(name=name, image=worker.image, n_workers=1, idle_timeout=IDLE)
    spec["metadata"]["labels"] = worker.labels
    for part, pod in (
        ("worker", pod_template(worker, "worker", variables=thread_settings(threads) | settings)),
        ("scheduler", pod_template(_job(study, run_id, name, SCHEDULER), "scheduler", variables=settings)),
    ):
        made, offered = pod["spec"]["containers"][0], spec["spec"][part]["spec"]["containers"][0]
        made |= {key: value for key, value in offered.items() if key in ("ports", "readinessProbe", "livenessProbe")}
        del made["command"]  # the operator's images start what the arguments say, and so do ours
        made["args"] = command if part == "worker" else offered["args"]
        spec["spec"][part]["spec"] = pod["spec"]
        spec["spec"][part]["metadata"] = {"labels": worker.labels}
    del spec["spec"]["worker"]["spec"]["containers"][0]["ports"]  # of a dashboard that workers do not have
    return spec


def _job(study: Study, run_id: str, name: str, resources: Resources) -> JobSpec:
    kubernetes = study.kubernetes
    return JobSpec(
        kind="job",
        name=name,
        namespace=kubernetes.namespace,
        run_id=run_id,
        image=kubernetes.image or images.reference("landtide-train"),
        command=(),
        resources=resources,
        service_account=kubernetes.service_account,
        secret=kubernetes.object_store,
        settings=kubernetes.settings,
        pull_secret=kubernetes.pull_secret,
        node_selector=kubernetes.node_selector,
        tolerations=tuple(kubernetes.tolerations),
    )
