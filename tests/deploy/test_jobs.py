"""What a training becomes on Kubernetes: every kind of job, behind every bridge."""

import copy
import itertools
from dataclasses import replace
from datetime import date
from typing import Any

import crd_schemas
import jsonschema
import pod_security
import pytest

from landtide.core.cluster import Hpc, Toleration
from landtide.core.errors import InputError
from landtide.core.study import Study, parse_study
from landtide.launch import bridges, images, jobspec, manifests
from landtide.launch.jobspec import JobSpec, Owner, Resources

STUDY = """
name: meadows
area: {tiles: [31UFT]}
years: [2019]
source: {api: earth-search}
points: s3://maps/points.csv
workspace: s3://maps/work
compute: {threads: 2}
"""

BRIDGES = ("none", "slurm-bridge", "interlink", "hpk")
KINDS = ("pytorchjob", "trainjob", "job")


def study(text: str = "") -> Study:
    return parse_study(STUDY + text, "/studies", date(2026, 6, 1))


def spec(kind: str = "pytorchjob", **changes: Any) -> JobSpec:
    made = JobSpec(
        kind=kind,  # type: ignore[arg-type]
        name="landtide-train-final-0123456789ab",
        namespace="landtide",
        run_id="20260601T120000-ab12",
        image="example.org/landtide-train:1",
        command=("torchrun", "-m", "landtide.train", "s3://maps/work/spec.json"),
        resources=Resources(cpu=4, memory=8 * 2**30),
    )
    return replace(made, **changes)


def pods(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The pods of a job as they will run; a TrainJob's lacks what its runtime brings."""
    return [pod for _, pod in pod_security.pods_of(manifest)]


def matrix() -> list[JobSpec]:
    owner = Owner("argoproj.io/v1alpha1", "Workflow", "run-1", "u-1")
    taint = Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")
    made = []
    for kind, bridge in itertools.product(KINDS, BRIDGES):
        plain = spec(kind, bridge=Hpc(bridge=bridge))
        full = replace(
            plain, owner=owner, tolerations=(taint,), node_selector={"gpu": "a100"}, pull_secret="pull", resources=Resources(8, 2**35, 4)
        )
        many = [replace(full, nodes=3, processes=4, queue="gpu")] if kind != "job" and bridge in ("none", "slurm-bridge") else []
        made += [plain, full, *many]
    return made


@pytest.mark.parametrize("made", matrix(), ids=lambda made: f"{made.kind}-{made.bridge.bridge}-{made.nodes}x{made.resources.gpus}gpu")
def test_every_manifest_is_valid_and_every_pod_restricted(made: JobSpec) -> None:
    rendered = manifests.render(made)
    for manifest in rendered:
        crd_schemas.validate(manifest)
        assert manifest["metadata"]["namespace"] == "landtide"
        assert manifest["metadata"]["labels"] == {"app.kubernetes.io/part-of": "landtide", "landtide.io/run-id": made.run_id}
    [pod] = pods(rendered[-1])
    assert pod_security.violations(pod) == []


def test_the_checkers_find_what_is_wrong() -> None:
    [job] = manifests.render(spec("job"))
    [pod] = pods(job)
    container = pod["containers"][0]
    for place, key, value in (
        (pod, "hostNetwork", True),
        (pod["securityContext"], "runAsNonRoot", False),
        (container["securityContext"], "allowPrivilegeEscalation", True),
        (container["securityContext"], "capabilities", {"drop": ["NET_RAW"]}),
        (container["securityContext"], "privileged", True),
        (pod, "volumes", [{"name": "root", "hostPath": {"path": "/"}}]),
    ):
        before = place.get(key)
        place[key] = value
        assert pod_security.violations(pod), key
        place[key] = before
    pod.pop("hostNetwork")
    container["securityContext"].pop("privileged")
    assert pod_security.violations(pod) == []

    [other] = manifests.render(spec("pytorchjob"))
    other["spec"]["runPolicy"]["cleanPodPolcy"] = "None"
    with pytest.raises(jsonschema.ValidationError, match="cleanPodPolcy"):
        crd_schemas.validate(other)


def test_unknown_fields_of_a_whole_crd_are_refused() -> None:
    schema = {"type": "object", "properties": {"size": {"x-kubernetes-int-or-string": True}, "more": {"type": "object"}}}
    validator = jsonschema.Draft202012Validator(crd_schemas.closed(schema))
    validator.validate({"size": "3", "more": {"any": 1}})
    with pytest.raises(jsonschema.ValidationError, match="sise"):
        validator.validate({"sise": 3})


def test_a_pytorchjob_starts_together_and_tells_torchrun_its_processes() -> None:
    [job] = manifests.render(spec(nodes=3, processes=4))
    assert job["spec"]["runPolicy"]["schedulingPolicy"]["minAvailable"] == 3
    assert job["spec"]["elasticPolicy"] == {"rdzvBackend": "c10d", "minReplicas": 3, "maxReplicas": 3, "maxRestarts": 0}
    worker = job["spec"]["pytorchReplicaSpecs"]["Worker"]
    assert (worker["replicas"], worker["restartPolicy"]) == (3, "ExitCode")
    [container] = worker["template"]["spec"]["containers"]
    assert container["name"] == "pytorch", "the operator looks for the container of this name"
    assert {"name": "PET_NPROC_PER_NODE", "value": "4"} in container["env"]


def test_an_elastic_job_needs_only_its_least_pods() -> None:
    text = "train: {backend: pytorchjob}\nkubernetes: {elastic: {min: 1, max: 4, restarts: 3}}\n"
    made = jobspec.training_job(study(text), stage="final", run_id="r", digest="d", spec_uri="s3://m/spec.json")
    [job] = manifests.render(replace(made, nodes=2))
    assert job["spec"]["elasticPolicy"] == {"rdzvBackend": "c10d", "minReplicas": 1, "maxReplicas": 4, "maxRestarts": 3}
    assert job["spec"]["runPolicy"]["schedulingPolicy"]["minAvailable"] == 1


def test_a_plain_job_forms_its_group_by_itself_and_knows_a_verdict_from_a_loss() -> None:
    [job] = manifests.render(spec("job", processes=2))
    [pod] = pods(job)
    assert pod["containers"][0]["command"][:3] == ["torchrun", "--standalone", "--nproc-per-node=2"]
    assert [rule["action"] for rule in job["spec"]["podFailurePolicy"]["rules"]] == ["FailJob", "Ignore"]


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_the_store_come_by_name_and_may_be_absent(kind: str) -> None:
    [job] = manifests.render(spec(kind))
    [container] = pods(job)[0]["containers"]
    variables = container.get("env") or job["spec"]["trainer"]["env"]
    keys = [item["valueFrom"]["secretKeyRef"] for item in variables if "secretKeyRef" in item.get("valueFrom", {})]
    assert {"name": "landtide-object-store", "key": "AWS_SECRET_ACCESS_KEY", "optional": True} in keys
    assert all(key["optional"] for key in keys)
    assert len({item["name"] for item in variables}) == len(variables)


def test_shared_memory_lies_in_memory_and_the_root_is_read_only() -> None:
    [job] = manifests.render(spec("job"))
    [pod] = pods(job)
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}} in pod["volumes"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in pod["containers"][0]["volumeMounts"]
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["automountServiceAccountToken"] is False


def test_the_owner_is_never_in_another_namespace() -> None:
    owner = Owner("argoproj.io/v1alpha1", "Workflow", "run-1", "u-1")
    [job] = manifests.render(jobspec.owned(spec(), owner, "landtide"))
    assert job["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    [other] = manifests.render(jobspec.owned(spec(namespace="landtide-hpc"), owner, "landtide"))
    assert "ownerReferences" not in other["metadata"]


def test_a_name_is_the_same_for_the_same_work_and_leaves_room() -> None:
    one = jobspec.job_name("train-preliminary", "r1", "d1")
    assert one == jobspec.job_name("train-preliminary", "r1", "d1")
    others = {jobspec.job_name("train-preliminary", "r2", "d1"), jobspec.job_name("train-preliminary", "r1", "d2")}
    assert len(others | {one}) == 3
    assert len(f"{one}-worker-127") <= 63


def test_no_bridge_leaves_everything_as_it_is() -> None:
    [job] = manifests.render(spec())
    assert bridges.decorate([job], Hpc(), seconds=60, nodes=1) == [job]


@pytest.mark.parametrize("bridge", BRIDGES)
def test_decorating_changes_nothing_in_place(bridge: Any) -> None:
    [job] = manifests.render(spec())
    before = copy.deepcopy(job)
    bridges.decorate([job], Hpc(bridge=bridge), seconds=60, nodes=1)
    assert job == before


def test_slurm_bridge_reads_the_pod_group_of_a_gang() -> None:
    hpc = Hpc(bridge="slurm-bridge", partition="gpu", account="landcover", qos="normal")
    group, job = manifests.render(spec(nodes=2, timeout=6 * 3600, bridge=hpc))
    assert group["kind"] == "PodGroup"
    assert group["metadata"]["name"] == job["metadata"]["name"]
    assert group["spec"] == {"minMember": 2}
    prefix = "slurmjob.slinky.slurm.net/"
    assert group["metadata"]["annotations"] == {
        f"{prefix}job-name": job["metadata"]["name"],
        f"{prefix}timelimit": "361",
        f"{prefix}partition": "gpu",
        f"{prefix}account": "landcover",
        f"{prefix}qos": "normal",
    }, "the limit is in minutes, and Slurm's is not before Kubernetes' own"
    template = job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
    assert template["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == job["metadata"]["name"]
    assert template["spec"]["schedulerName"] == "slurm-bridge-scheduler"


def test_slurm_bridge_reads_a_plain_job_itself_and_not_its_template() -> None:
    [job] = manifests.render(spec("job", bridge=Hpc(bridge="slurm-bridge", exclusive=False)))
    assert job["metadata"]["annotations"]["slurmjob.slinky.slurm.net/exclusive"] == "false"
    assert "annotations" not in job["spec"]["template"]["metadata"]
    assert job["spec"]["template"]["spec"]["schedulerName"] == "slurm-bridge-scheduler"


def test_a_trainjob_gets_its_pod_group_but_no_scheduler_which_its_patch_cannot_say() -> None:
    group, job = manifests.render(spec("trainjob", nodes=2, bridge=Hpc(bridge="slurm-bridge", partition="gpu")))
    assert group["metadata"]["name"] == job["metadata"]["name"]
    assert "schedulerName" not in pods(job)[0]


def test_interlink_gets_flags_selector_and_toleration() -> None:
    hpc = Hpc(
        bridge="interlink",
        partition="gpu",
        account="landcover",
        node="slurm-node",
        annotations={"slurm-job.vk.io/pre-exec": "module load apptainer"},
    )
    [job] = manifests.render(spec("job", timeout=2 * 3600, resources=Resources(8, 2**35, 4), bridge=hpc))
    annotations = job["spec"]["template"]["metadata"]["annotations"]
    flags = annotations["slurm-job.vk.io/flags"].split(" ")
    assert {"--partition=gpu", "--account=landcover", "--time=02:01:00", "--gres=gpu:4"} <= set(flags)
    assert annotations["slurm-job.vk.io/singularity-options"] == "--nv"
    assert annotations["slurm-job.vk.io/pre-exec"] == "module load apptainer"
    pod = job["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "slurm-node"}
    assert pod["tolerations"] == [{"key": "virtual-node.interlink/no-schedule", "operator": "Exists", "effect": "NoSchedule"}]
    assert {kind for volume in pod["volumes"] for kind in volume} == {"name", "emptyDir"}, "it knows no other volumes"


def test_hpk_gets_flags_that_split_at_single_spaces() -> None:
    [job] = manifests.render(spec("job", bridge=Hpc(bridge="hpk", partition="cpu")))
    flags = job["spec"]["template"]["metadata"]["annotations"]["slurm.hpk.io/flags"]
    assert "  " not in flags
    assert "--nodes=1" in flags.split(" ")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (spec("job", nodes=2), "train.backend to pytorchjob or trainjob"),
        (spec(nodes=2, bridge=Hpc(bridge="interlink")), "interlink runs each pod as a Slurm job of its own"),
        (spec(nodes=2, bridge=Hpc(bridge="hpk")), "hpk runs each pod"),
    ],
)
def test_what_a_kind_or_bridge_cannot_do_is_refused(made: JobSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        manifests.render(made)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kubernetes: {elastic: {min: 1, max: 2}}\ntrain: {backend: trainjob}\n", "cannot change its number of pods"),
        ("kubernetes: {elastic: {min: 2, max: 3}}\ntrain: {backend: pytorchjob}\n", "train.nodes 1 is not within min 2 and max 3"),
    ],
)
def test_elastic_settings_that_cannot_be_met_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        jobspec.training_job(study(text), stage="final", run_id="r", digest="d", spec_uri="s3://m/spec.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kubernetes: {timeout: 12h}\n", "write PT12H"),
        ("kubernetes: {namespace: Land_Tide}\n", "is no Kubernetes name"),
        ("kubernetes: {shared_memory: 16GiB}\n", "counts within memory"),
        ("kubernetes: {tolerations: [{key: a, operator: Exists, value: b}]}\n", "takes no value"),
        ("kubernetes: {elastic: {min: 3, max: 2}}\n", "min 3 is above max 2"),
        ("kubernetes: {gpu: 1}\n", "nearest known key: 'gpus'"),
        ("hpc: {bridge: knoc}\n", "slurm-bridge"),
    ],
)
def test_wrong_keys_of_the_cluster_are_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        study(text)
    assert "\n" not in str(caught.value)


def test_the_study_decides_what_a_pod_gets() -> None:
    text = (
        "train: {backend: job}\nkubernetes: {memory: 16GiB, gpus: 2, timeout: PT2H, keep: PT1H, jobs_namespace: landtide-hpc, "
        "node_selector: {gpu: a100}, tolerations: [{key: gpu, operator: Exists}], image: 'example.org/own@sha256:0'}\n"
    )
    [job] = manifests.render(jobspec.training_job(study(text), stage="final", run_id="r", digest="d", spec_uri="s3://m/spec.json"))
    assert job["metadata"]["namespace"] == "landtide-hpc"
    assert (job["spec"]["activeDeadlineSeconds"], job["spec"]["ttlSecondsAfterFinished"]) == (7200, 3600)
    [pod] = pods(job)
    assert pod["nodeSelector"] == {"gpu": "a100"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    [container] = pod["containers"]
    assert container["image"] == "example.org/own@sha256:0"
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "16Gi", "nvidia.com/gpu": "2"}
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in container["env"]


def test_images_are_named_in_one_place_and_overridden_by_the_environment() -> None:
    assert images.reference("landtide-train", {}) == "landtide-train:0.1.0"
    assert (
        images.reference("landtide-train", {"LANDTIDE_REGISTRY": "ghcr.io/agency/", "LANDTIDE_TAG": "7"})
        == "ghcr.io/agency/landtide-train:7"
    )
    digest = {"LANDTIDE_REGISTRY": "ghcr.io/agency", "LANDTIDE_STEPS_IMAGE": "example.org/steps@sha256:12"}
    assert images.reference("landtide-steps", digest) == "example.org/steps@sha256:12"


@pytest.mark.parametrize(("size", "text"), [(2**30, "1Gi"), (3 * 2**29, "1536Mi"), (2**30 + 1, "1025Mi"), (4 * 2**30, "4Gi")])
def test_sizes_are_written_as_kubernetes_reads_them(size: int, text: str) -> None:
    assert jobspec.quantity(size) == text
