"""What a job becomes on Kubernetes: PyTorchJob, TrainJob or a plain Job, its pods within the restricted Pod Security Standard."""

from typing import Any

from landtide.launch import bridges
from landtide.launch.bridges import Manifest
from landtide.launch.jobspec import JobSpec, Owner, check, quantity
from landtide.launch.training import FRESH_STORE

USER = 10001
"""Numeric, so that the kubelet can see that it is not root; the images' own user."""

MANAGER = "landtide.io/launcher"
"""Who patches the training runtime."""

GANG_PATIENCE = 3600
"""Seconds in which all pods of a gang must find a node."""

GRACE = 60
"""Seconds between SIGTERM and SIGKILL: torchrun stops its processes within 30."""

FROM_SECRET = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
FROM_SETTINGS = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")

KINDS = {
    "pytorchjob": ("kubeflow.org", "v1", "pytorchjobs"),
    "trainjob": ("trainer.kubeflow.org", "v1alpha1", "trainjobs"),
    "job": ("batch", "v1", "jobs"),
    "daskcluster": ("kubernetes.dask.org", "v1", "daskclusters"),
    "podgroup": ("scheduling.x-k8s.io", "v1alpha1", "podgroups"),
}
"""Kind -> API group, version and plural."""

POD_LABEL = {
    "pytorchjob": "training.kubeflow.org/job-name",
    "trainjob": "jobset.sigs.k8s.io/jobset-name",
    "job": "batch.kubernetes.io/job-name",
}
"""Label by which the pods of a job are found; its value is the job's name."""


def render(spec: JobSpec) -> list[Manifest]:
    """Return the manifests of a job in the order of their making; the job is the last.

    Raises InputError where the job asks for what its kind or its bridge cannot do.
    """
    check(spec)
    made = {"pytorchjob": _pytorchjob, "trainjob": _trainjob, "job": _job}[spec.kind](spec)
    return bridges.decorate([made], spec.bridge, seconds=spec.timeout, nodes=spec.nodes)


def _pytorchjob(spec: JobSpec) -> Manifest:
    """One kind of replica, Worker, even where there is one pod: torchrun's c10d rendezvous needs no master and lets the size change."""
    policy: Manifest = {
        "cleanPodPolicy": "None",  # ended pods stay for their logs, until the job goes
        "backoffLimit": spec.restarts,
        "activeDeadlineSeconds": spec.timeout,
        "ttlSecondsAfterFinished": spec.keep,
    }
    if spec.gang and spec.nodes > 1:
        least = spec.elastic.least if spec.elastic else spec.nodes
        policy["schedulingPolicy"] = {"minAvailable": least, "scheduleTimeoutSeconds": GANG_PATIENCE}
        if spec.queue:
            policy["schedulingPolicy"]["queue"] = spec.queue
    body: Manifest = {
        "nprocPerNode": str(spec.processes),
        "runPolicy": policy,
        "pytorchReplicaSpecs": {
            "Worker": {
                "replicas": spec.nodes,
                "restartPolicy": "ExitCode",  # 128 and above (killed: evicted, out of memory) is tried again, 1 to 127 is our own verdict
                # With workers alone the operator tells torchrun everything but this (training-operator, pytorch/envvar.go).
                "template": pod_template(spec, "pytorch", variables={"PET_NPROC_PER_NODE": str(spec.processes)}),
            }
        },
    }
    elastic = spec.elastic
    body["elasticPolicy"] = {
        "rdzvBackend": "c10d",
        "minReplicas": elastic.least if elastic else spec.nodes,
        "maxReplicas": elastic.most if elastic else spec.nodes,
        "maxRestarts": elastic.restarts if elastic else 0,
    }
    return {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": _metadata(spec), "spec": body}


def _trainjob(spec: JobSpec) -> Manifest:
    """The runtime brings what a TrainJob cannot say: no token in pods, read-only root, ``/dev/shm``, gang, and how long it stays."""
    pod: Manifest = {
        "serviceAccountName": spec.service_account,
        "securityContext": pod_security(),
        "volumes": _volumes(spec),
        "containers": [{"name": "node", "securityContext": container_security(), "volumeMounts": _mounts()}],
    } | _placement(spec)
    patch = {"name": "node", "template": {"spec": {"template": {"metadata": {"labels": spec.labels}, "spec": pod}}}}
    body = {
        "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "ClusterTrainingRuntime", "name": spec.runtime},
        "activeDeadlineSeconds": spec.timeout,
        "trainer": {
            "numNodes": spec.nodes,
            "numProcPerNode": spec.processes,
            "image": spec.image,
            "command": list(spec.command),
            "env": _environment(spec),
            "resourcesPerNode": _resources(spec),
        },
        "runtimePatches": [{"manager": MANAGER, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [patch]}}}}],
    }
    return {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": _metadata(spec), "spec": body}


def _job(spec: JobSpec) -> Manifest:
    """One pod; torchrun forms a group within it."""
    template = pod_template(spec, "main", restart="Never")
    program, *arguments = template["spec"]["containers"][0]["command"]
    if program == "torchrun":
        template["spec"]["containers"][0]["command"] = [program, "--standalone", f"--nproc-per-node={spec.processes}", *arguments]
    verdicts = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}}  # ours: the same input would end the same way
    lost = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}  # evicted or drained: not the training's fault
    body = {
        "backoffLimit": spec.restarts,
        "activeDeadlineSeconds": spec.timeout,
        "ttlSecondsAfterFinished": spec.keep,
        "podFailurePolicy": {"rules": [verdicts, lost]},
        "template": template,
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _metadata(spec), "spec": body}


def _metadata(spec: JobSpec) -> Manifest:
    metadata: Manifest = {"name": spec.name, "namespace": spec.namespace, "labels": spec.labels}
    if spec.owner:
        metadata["ownerReferences"] = [_owner_reference(spec.owner)]
    return metadata


def _owner_reference(owner: Owner) -> Manifest:
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": False,
        "blockOwnerDeletion": False,
    }


def pod_template(spec: JobSpec, container: str, restart: str | None = None, variables: dict[str, str] | None = None) -> Manifest:
    """Return the template of a pod that runs the job's command in one container."""
    pod: Manifest = {
        "automountServiceAccountToken": False,
        "serviceAccountName": spec.service_account,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": pod_security(),
        "containers": [
            {
                "name": container,
                "image": spec.image,
                "command": list(spec.command),
                "env": _environment(spec, variables),
                "resources": _resources(spec),
                "securityContext": container_security(),
                "volumeMounts": _mounts(),
            }
        ],
        "volumes": _volumes(spec),
        **({"restartPolicy": restart} if restart else {}),  # PyTorchJob sets its pods' own
    } | _placement(spec)
    return {"metadata": {"labels": spec.labels}, "spec": pod}


def _placement(spec: JobSpec) -> Manifest:
    wanted: dict[str, Any] = {
        "nodeSelector": dict(spec.node_selector),
        "tolerations": [toleration.model_dump(exclude_none=True) for toleration in spec.tolerations],
        "imagePullSecrets": [{"name": spec.pull_secret}] if spec.pull_secret else [],
    }
    return {key: value for key, value in wanted.items() if value}


def _environment(spec: JobSpec, variables: dict[str, str] | None = None) -> list[Manifest]:
    """Return the variables of a container. Keys of the object store come by name, and may be absent where the pod has a role."""
    plain = {
        **spec.environment,
        **(variables or {}),
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "NUMBA_CACHE_DIR": "/tmp/numba",
        FRESH_STORE: "1",
    }  # the root file system is read-only
    secret = [_reference(name, "secretKeyRef", spec.secret) for name in FROM_SECRET]
    settings = [_reference(name, "configMapKeyRef", spec.settings) for name in FROM_SETTINGS]
    return [*({"name": name, "value": value} for name, value in sorted(plain.items())), *secret, *settings]


def _reference(variable: str, kind: str, name: str) -> Manifest:
    return {"name": variable, "valueFrom": {kind: {"name": name, "key": variable, "optional": True}}}


def _resources(spec: JobSpec) -> Manifest:
    amounts = {"cpu": str(spec.resources.cpu), "memory": quantity(spec.resources.memory)}
    if spec.resources.gpus:
        amounts[bridges.GPU] = str(spec.resources.gpus)
    return {"requests": amounts, "limits": dict(amounts)}


def pod_security() -> Manifest:
    """Return what the restricted standard asks of a pod."""
    return {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}}


def container_security(*, read_only: bool = True) -> Manifest:
    """Return what the restricted standard asks of a container; a read-only root is more than it asks."""
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": read_only, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}


def _volumes(spec: JobSpec) -> list[Manifest]:
    shared = {"medium": "Memory", "sizeLimit": quantity(spec.resources.shared_memory)}
    return [{"name": "shm", "emptyDir": shared}, {"name": "tmp", "emptyDir": {}}]


def _mounts() -> list[Manifest]:
    return [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "tmp", "mountPath": "/tmp"}]
