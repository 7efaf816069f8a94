"""The fields of custom resources that landtide writes, as JSON schemas; whole CRDs take their place where CRD_DIR has them.

Written after the CRDs of training-operator 1.9.4 (``kubeflow.org_pytorchjobs.yaml``), Kubeflow Trainer 2.3.0
(``trainer.kubeflow.org_trainjobs.yaml``) and scheduler-plugins (``scheduling.x-k8s.io_podgroups.yaml``). A misspelt field fails.
"""

import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

VERSION = "1.36"
"""Of Kubernetes."""

INTEGER = {"type": "integer", "minimum": 0}
STRING = {"type": "string"}
STRINGS = {"type": "object", "additionalProperties": STRING}


def table(required: str = "", **properties: Any) -> dict[str, Any]:
    """Return the schema of an object with these keys and no others."""
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


OWNER = table("apiVersion kind name uid", apiVersion=STRING, kind=STRING, name=STRING, uid=STRING) | {}
OWNER["properties"] |= {"controller": {"type": "boolean"}, "blockOwnerDeletion": {"type": "boolean"}}
METADATA = table(
    "name namespace",
    name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
    namespace=STRING,
    labels=STRINGS,
    annotations=STRINGS,
    ownerReferences={"type": "array", "items": OWNER},
)


def resource(api: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a whole object."""
    return table("apiVersion kind metadata spec", apiVersion={"const": api}, kind={"const": kind}, metadata=METADATA, spec=spec)


PYTORCHJOB = resource(
    "kubeflow.org/v1",
    "PyTorchJob",
    table(
        "pytorchReplicaSpecs",
        nprocPerNode=STRING,
        elasticPolicy=table(
            rdzvBackend={"enum": ["c10d", "etcd", "etcd-v2"]}, minReplicas=INTEGER, maxReplicas=INTEGER, maxRestarts=INTEGER
        ),
        runPolicy=table(
            cleanPodPolicy={"enum": ["None", "Running", "All"]},
            backoffLimit=INTEGER,
            activeDeadlineSeconds=INTEGER,
            ttlSecondsAfterFinished=INTEGER,
            schedulingPolicy=table(minAvailable=INTEGER, queue=STRING, scheduleTimeoutSeconds=INTEGER, priorityClass=STRING),
        ),
        pytorchReplicaSpecs=table(
            Worker=table(
                "template",
                replicas=INTEGER,
                restartPolicy={"enum": ["Always", "OnFailure", "Never", "ExitCode"]},
                template=table("spec", metadata=table(labels=STRINGS, annotations=STRINGS), spec={"type": "object"}),
            )
        ),
    ),
)

POD_PATCH = table(
    serviceAccountName=STRING,
    volumes={"type": "array"},
    securityContext={"type": "object"},
    nodeSelector=STRINGS,
    tolerations={"type": "array"},
    imagePullSecrets={"type": "array"},
    containers={
        "type": "array",
        "items": table("name", name=STRING, securityContext={"type": "object"}, volumeMounts={"type": "array"}),
    },
)
POD_TEMPLATE_PATCH = table(metadata=table(labels=STRINGS, annotations=STRINGS), spec=POD_PATCH)
JOB_PATCH = table("name", name=STRING, template=table(spec=table(template=POD_TEMPLATE_PATCH)))
TRAINJOB = resource(
    "trainer.kubeflow.org/v1alpha1",
    "TrainJob",
    table(
        "runtimeRef",
        runtimeRef=table("name", apiGroup=STRING, kind=STRING, name=STRING),
        activeDeadlineSeconds=INTEGER,
        trainer=table(
            numNodes=INTEGER,
            numProcPerNode=INTEGER,
            image={"type": "string", "maxLength": 500},
            command={"type": "array", "items": STRING},
            env={"type": "array"},
            resourcesPerNode=table(requests=STRINGS, limits=STRINGS),
        ),
        runtimePatches={
            "type": "array",
            "items": table(
                "manager",
                manager=STRING,
                trainingRuntimeSpec=table(template=table(spec=table(replicatedJobs={"type": "array", "items": JOB_PATCH}))),
            ),
        },
    ),
)

PODGROUP = resource("scheduling.x-k8s.io/v1alpha1", "PodGroup", table("minMember", minMember=INTEGER))

SCHEMAS = {"PyTorchJob": PYTORCHJOB, "TrainJob": TRAINJOB, "PodGroup": PODGROUP}


def validate(manifest: dict[str, Any]) -> None:
    """Raise where a manifest is not what the API server takes with strict field validation."""
    if manifest["kind"] not in SCHEMAS:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
        return
    jsonschema.Draft202012Validator(SCHEMAS[manifest["kind"]]).validate(manifest)
    whole = _whole_crd(manifest["apiVersion"], manifest["kind"])
    if whole is not None:
        jsonschema.Draft202012Validator(whole).validate(manifest)
    for pod in _pod_specs(manifest):
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod}, VERSION, strict=True)


def _pod_specs(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    if manifest["kind"] == "PyTorchJob":
        return [replica["template"]["spec"] for replica in manifest["spec"]["pytorchReplicaSpecs"].values()]
    if manifest["kind"] == "TrainJob":  # a patch is a pod with holes: what it lacks comes from the runtime and from `trainer`
        trainer = manifest["spec"]["trainer"]
        [job] = manifest["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        pod = job["template"]["spec"]["template"]["spec"]
        whole = {"image": trainer["image"], "command": trainer["command"], "env": trainer["env"], "resources": trainer["resourcesPerNode"]}
        return [{**pod, "containers": [{**container, **whole} for container in pod["containers"]]}]
    return []


def _whole_crd(api: str, kind: str) -> dict[str, Any] | None:
    """Return the schema of a CRD out of CRD_DIR, closed to unknown fields; None where the folder or the CRD is not there."""
    folder = os.environ.get("CRD_DIR")
    for path in sorted(Path(folder).glob("*.yaml")) if folder else []:
        for document in yaml.safe_load_all(path.read_text()):
            spec = (document or {}).get("spec", {})
            if spec.get("names", {}).get("kind") != kind or spec["group"] != api.split("/")[0]:
                continue
            for version in spec["versions"]:
                if version["name"] == api.split("/")[1]:
                    return closed(version["schema"]["openAPIV3Schema"])
    return None


def closed(schema: Any) -> Any:
    """Return an OpenAPI schema as JSON Schema that refuses unknown fields, as strict field validation does."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and not open_ended:
        made["additionalProperties"] = False
    return made
