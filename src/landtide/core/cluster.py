"""The study's keys for Kubernetes and for the bridges from Kubernetes to Slurm."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from landtide.core import units
from landtide.core.errors import InputError
from landtide.core.section import Section

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""What Kubernetes takes as the name of most things: a DNS label (RFC 1123)."""


def _check_name(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no Kubernetes name: at most 63 lower-case letters, digits and '-', none at the ends")
    return text


def parse_seconds(text: str) -> int:
    """Return the seconds of an ISO 8601 duration of days, hours and minutes: ``PT12H``, ``P1D``, ``P1DT6H``, ``PT90M``."""
    match = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?", text)
    days, hours, minutes = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    seconds = ((days * 24 + hours) * 60 + minutes) * 60
    if seconds == 0:
        raise InputError(f"{text!r} is not an ISO 8601 duration of days, hours and minutes: write PT12H, P1D or PT90M")
    return seconds


Name = Annotated[str, AfterValidator(_check_name)]
Memory = Annotated[int, BeforeValidator(lambda value: value if isinstance(value, int) else units.parse_memory(value))]
Seconds = Annotated[int, BeforeValidator(lambda value: value if isinstance(value, int) else parse_seconds(str(value)))]


class Toleration(Section):
    """A taint of nodes that pods may ignore, as Kubernetes writes it."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _as_the_api_takes_it(self) -> "Toleration":
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("a toleration with operator Exists takes no value")
        if self.key is None and self.operator != "Exists":
            raise ValueError("a toleration without a key needs operator Exists")
        return self


class Elastic(Section):
    """Training that goes on with fewer pods, and takes more when there are; PyTorchJob alone has it."""

    least: int = Field(1, alias="min", ge=1)
    most: int = Field(alias="max", ge=1)
    restarts: int = Field(3, ge=0)
    """Times that torchrun forms the group anew: a node that is drained costs one."""

    @model_validator(mode="after")
    def _in_order(self) -> "Elastic":
        if self.least > self.most:
            raise ValueError(f"elastic: min {self.least} is above max {self.most}")
        return self


class Kubernetes(Section):
    """Where and how pods run. The names are those that the chart and the manifests make."""

    namespace: Name = "landtide"
    jobs_namespace: Name | None = None
    """Namespace of training jobs; None = ``namespace``. slurm-bridge takes over whole namespaces: give it one of its own."""

    service_account: Name = "landtide-runner"
    object_store: Name = "landtide-object-store"
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. It may be absent: then the service account's own role counts."""

    settings: Name = "landtide-settings"
    """ConfigMap with AWS_ENDPOINT_URL and AWS_REGION. It may be absent: then the store is Amazon's."""

    providers: Name = "landtide-providers"
    """Secret with the keys of image providers: CDSE_S3_ACCESS_KEY, CDSE_S3_SECRET_KEY, EARTHDATA_TOKEN. It may be absent."""

    pull_secret: Name | None = None
    """Secret for pulling the images from a private registry."""

    image: str | None = None
    """Image of training pods; None = the one that the pipeline was compiled with."""

    cpu: int | None = Field(None, ge=1)
    """Processors of a training pod; None = ``compute.threads`` for each of its processes."""

    memory: Memory = Field(8 * 2**30, validate_default=True)
    """Bytes of a training pod: samples (60 000 of 12 x 10 are 30 MB) and torch itself (about 1 GB) leave room for loaders."""

    gpus: int = Field(0, ge=0)
    """Of a training pod."""

    shared_memory: Memory = Field(2 * 2**30, validate_default=True)
    """Bytes of /dev/shm, counted within ``memory``: loaders hand batches over by it, and the runtime's default of 64 MiB breaks them."""

    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    queue: str | None = None
    """Queue of the gang scheduler."""

    gang: bool = True
    """All pods of a training start together or none does: some alone would hold their nodes and wait for ever."""

    elastic: Elastic | None = None
    restarts: int = Field(2, ge=0)
    """Of a training whose pod was lost (evicted, node gone); wrong input is not tried again."""

    timeout: Seconds = Field(12 * 3600, validate_default=True)
    """After it a step or training is ended: a hung one would hold its nodes."""

    keep: Seconds = Field(24 * 3600, validate_default=True)
    """How long an ended training stays for looking at its logs."""

    runtime: Name = "landtide-torch"
    """ClusterTrainingRuntime that TrainJobs refer to."""

    api: str | None = None
    """URL of the Kubeflow Pipelines API; None = found in the cluster, or by a port-forward from outside."""

    kubeflow: Name = "kubeflow"
    """Namespace of Kubeflow Pipelines."""

    @model_validator(mode="after")
    def _shared_memory_within_memory(self) -> "Kubernetes":
        if self.shared_memory >= self.memory:
            raise ValueError(
                f"shared_memory ({units.format_bytes(self.shared_memory)}) counts within memory ({units.format_bytes(self.memory)}): "
                "lower it, or raise memory"
            )
        return self


class Hpc(Section):
    """How pods reach a Slurm system."""

    bridge: Literal["none", "slurm-bridge", "interlink", "hpk"] = "none"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    node: str | None = None
    """interLink: name of the virtual node; None = any virtual node."""

    exclusive: bool = True
    """slurm-bridge: whole nodes, as is its default; false shares them."""

    annotations: dict[str, str] = {}
    """Laid over the bridge's own: mounts, modules and flavours are each site's own (``slurm-job.vk.io/pre-exec`` ...)."""
