"""From Kubernetes to Slurm: what each bridge needs to be told, as one function over manifests.

slurm-bridge (Slinky) is a scheduler: pods run by the ordinary kubelet on nodes that Slurm gives. It reads annotations from a Job itself
and, for pods that start together, from their PodGroup. interLink and HPK turn each pod into a Slurm job on the far side and read the
pod's own annotations.
Sources: SlinkyProject/slurm-bridge docs/workload.md (v1.2), interlink-hq/interlink-slurm-plugin README (0.6), CARV-ICS-FORTH/HPK docs.
"""

import copy
from typing import Any

from landtide.core.cluster import Hpc

SLURM_BRIDGE = "slurmjob.slinky.slurm.net/"
SCHEDULER = "slurm-bridge-scheduler"
POD_GROUP = "scheduling.x-k8s.io/pod-group"
INTERLINK = "slurm-job.vk.io/"
INTERLINK_TAINT = "virtual-node.interlink/no-schedule"
INTERLINK_NODE = {"virtual-node.interlink/type": "virtual-kubelet"}
GPU = "nvidia.com/gpu"
HPK = "slurm.hpk.io/flags"

Manifest = dict[str, Any]


def decorate(manifests: list[Manifest], hpc: Hpc, *, seconds: int, nodes: int) -> list[Manifest]:
    """Return the manifests of a job as a bridge needs them; what came in stays as it was.

    manifests  the job, and whatever goes with it
    seconds    time limit of the job
    nodes      pods that start together
    """
    made = copy.deepcopy(manifests)
    match hpc.bridge:
        case "slurm-bridge":
            return _slurm_bridge(made, hpc, seconds=seconds, nodes=nodes)
        case "interlink":
            return [_interlink(manifest, hpc, seconds) for manifest in made]
        case "hpk":
            return [_hpk(manifest, hpc, seconds) for manifest in made]
    return made


def pod_templates(manifest: Manifest) -> list[Manifest]:
    """Return the pod templates of a manifest, by reference: those of a Job or of a PyTorchJob's replicas."""
    match manifest["kind"]:
        case "Job":
            return [manifest["spec"]["template"]]
        case "PyTorchJob":
            return [replica["template"] for replica in manifest["spec"]["pytorchReplicaSpecs"].values()]
        case "TrainJob":
            patches = manifest["spec"]["runtimePatches"]
            jobs = [job for patch in patches for job in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]]
            return [job["template"]["spec"]["template"] for job in jobs]
    return []


def minutes(seconds: int) -> str:
    """Return a time limit in whole minutes: Slurm must not end a pod before Kubernetes does, and tells it nothing."""
    return str(-(-seconds // 60) + 1)


def clock(seconds: int) -> str:
    """Return a time limit as Slurm writes it: ``HH:MM:SS``."""
    whole = int(minutes(seconds))
    return f"{whole // 60:02d}:{whole % 60:02d}:00"


def _slurm_bridge(manifests: list[Manifest], hpc: Hpc, *, seconds: int, nodes: int) -> list[Manifest]:
    [job] = manifests
    annotations = _slurm_bridge_annotations(job["metadata"]["name"], hpc, seconds)
    if job["kind"] == "Job":
        _annotate(job, annotations)
        _schedule(job)
        return [job]
    # The operator's own PodGroup carries no annotations. Made beforehand under the job's name, ours is the one that is taken.
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    metadata = {"name": name, "namespace": namespace, "labels": job["metadata"]["labels"], "annotations": annotations}
    if owners := job["metadata"].get("ownerReferences"):
        metadata["ownerReferences"] = owners
    group = {
        "apiVersion": "scheduling.x-k8s.io/v1alpha1",
        "kind": "PodGroup",
        "metadata": metadata,
        "spec": {"minMember": nodes},
    }
    if job["kind"] == "PyTorchJob":  # a TrainJob's pods get both from Trainer and from the bridge's admission webhook; its patch cannot
        _schedule(job)
        for template in pod_templates(job):
            template.setdefault("metadata", {}).setdefault("labels", {})[POD_GROUP] = name
    return [group, job]


def _slurm_bridge_annotations(name: str, hpc: Hpc, seconds: int) -> dict[str, str]:
    wanted = {"job-name": name, "timelimit": minutes(seconds), "partition": hpc.partition, "account": hpc.account, "qos": hpc.qos}
    shared = {} if hpc.exclusive else {"exclusive": "false"}
    return {f"{SLURM_BRIDGE}{key}": value for key, value in {**wanted, **shared}.items() if value} | hpc.annotations


def _schedule(job: Manifest) -> None:
    for template in pod_templates(job):
        template["spec"]["schedulerName"] = SCHEDULER


def _interlink(manifest: Manifest, hpc: Hpc, seconds: int) -> Manifest:
    flags = _flags(manifest["metadata"]["name"], hpc, clock(seconds))
    gpus = _gpus(manifest)
    annotations = {
        f"{INTERLINK}flags": " ".join([*flags, *([f"--gres=gpu:{gpus}"] if gpus else [])]),
        f"{INTERLINK}image-root": "docker://",
        "interlink.eu/mesh-network": "disabled",  # data come and go by S3: no network of the cluster is needed
        **({f"{INTERLINK}singularity-options": "--nv"} if gpus else {}),
    }
    for template in pod_templates(manifest):
        _annotate(template, annotations | hpc.annotations)
        pod = template["spec"]
        pod["nodeSelector"] = {**pod.get("nodeSelector", {}), **({"kubernetes.io/hostname": hpc.node} if hpc.node else INTERLINK_NODE)}
        pod["tolerations"] = [*pod.get("tolerations", []), {"key": INTERLINK_TAINT, "operator": "Exists", "effect": "NoSchedule"}]
    return manifest


def _hpk(manifest: Manifest, hpc: Hpc, seconds: int) -> Manifest:
    flags = " ".join([*_flags(manifest["metadata"]["name"], hpc, clock(seconds)), "--nodes=1"])  # HPK splits at single spaces
    for template in pod_templates(manifest):
        _annotate(template, {HPK: flags} | hpc.annotations)
    return manifest


def _flags(name: str, hpc: Hpc, limit: str) -> list[str]:
    wanted = {"job-name": name, "time": limit, "partition": hpc.partition, "account": hpc.account, "qos": hpc.qos}
    return [f"--{key}={value}" for key, value in wanted.items() if value]


def _gpus(manifest: Manifest) -> int:
    if manifest["kind"] == "TrainJob":
        limits = [manifest["spec"]["trainer"]["resourcesPerNode"]["limits"]]
    else:
        limits = [container["resources"]["limits"] for pod in pod_templates(manifest) for container in pod["spec"]["containers"]]
    return max((int(limit.get(GPU, 0)) for limit in limits), default=0)


def _annotate(thing: Manifest, annotations: dict[str, str]) -> None:
    metadata = thing.setdefault("metadata", {})
    metadata["annotations"] = {**metadata.get("annotations", {}), **annotations}
