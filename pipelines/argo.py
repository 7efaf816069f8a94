"""The same pipeline for clusters that have Argo Workflows and no Kubeflow: made from the compiled form, so there is one source.

Tasks become tasks of a DAG, loops templates of their own with ``withParam``, the exit handler ``onExit``. Argo joins what the passes of a
loop put out to a JSON list, which is what ``dsl.Collected`` means.
"""

import re
from typing import Any

import yaml

from landtide.core.study import Study
from landtide.launch import manifests
from landtide.launch.jobspec import PART_OF

API = "argoproj.io/v1alpha1"
OUTPUTS = "/tmp/outputs"
"""Where a step's process leaves its results; Argo reads them there."""

PLACEHOLDERS = {"{{$.pipeline_job_uuid}}": "{{workflow.uid}}"}
"""Kubeflow's words -> Argo's."""

TOLERATION = ("key", "operator", "value", "effect")

KEPT = 7 * 24 * 3600
"""Seconds that an ended workflow stays to be looked at."""

MAIN, AT_THE_END = "exit-handler-1", "clean-up"

Record = dict[str, Any]


def workflow_template(text: str, study: Study, order: str | None = None) -> Record:
    """Return the WorkflowTemplate of a compiled pipeline; its one argument is the URI of the study's order, with a default where given."""
    pipeline, platform = yaml.safe_load_all(text)
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors = pipeline["deploymentSpec"]["executors"]
    components = {name.removeprefix("comp-"): component for name, component in pipeline["components"].items()}
    tasks = _tasks(pipeline["root"]["dag"]["tasks"], components)
    templates = [_dag(name, component["dag"], loop=name != MAIN) for name, component in components.items() if "dag" in component]
    for name, component in components.items():
        if "dag" not in component:
            executor = component["executorLabel"]
            templates.append(_step(name, tasks[name], component, executors[executor]["container"], pods[executor]))
    at_the_end = pipeline["root"]["dag"]["tasks"][AT_THE_END]
    templates.append({"name": "at-the-end", "dag": {"tasks": [_task(AT_THE_END, {**at_the_end, "dependentTasks": []})]}})
    return {
        "apiVersion": API,
        "kind": "WorkflowTemplate",
        "metadata": _metadata(study),
        "spec": {
            "entrypoint": MAIN,
            "onExit": "at-the-end",
            "arguments": {"parameters": [{"name": "study", **({"value": order} if order else {})}]},
            "serviceAccountName": study.kubernetes.service_account,
            "ttlStrategy": {"secondsAfterCompletion": KEPT},
            "podMetadata": {"labels": {PART_OF: "landtide"}},
            "securityContext": manifests.pod_security(),
            "templates": templates,
            **({"imagePullSecrets": [{"name": study.kubernetes.pull_secret}]} if study.kubernetes.pull_secret else {}),
        },
    }


def cron_workflow(study: Study, order: str, cron: str) -> Record:
    """Return the CronWorkflow that starts the template: one at a time, and missed times are not made up for."""
    name = _metadata(study)["name"]
    return {
        "apiVersion": API,
        "kind": "CronWorkflow",
        "metadata": _metadata(study),
        "spec": {
            "schedules": [cron],
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 0,
            "workflowSpec": {
                "workflowTemplateRef": {"name": name},
                "arguments": {"parameters": [{"name": "study", "value": order}]},
            },
        },
    }


def _metadata(study: Study) -> Record:
    name = f"landtide-{study.name}".replace("_", "-").replace(".", "-")
    return {"name": name, "namespace": study.kubernetes.namespace, "labels": {PART_OF: "landtide"}}


def _tasks(tasks: Record, components: Record) -> Record:
    """Return one task of each component, those of loops too: its inputs are what the component's template takes."""
    found = {}
    for task in tasks.values():
        name = task["componentRef"]["name"].removeprefix("comp-")
        found[name] = task
        if "dag" in components[name]:
            found |= _tasks(components[name]["dag"]["tasks"], components)
    return found


def _dag(name: str, dag: Record, *, loop: bool) -> Record:
    """Return the template of a loop's body, or of all that is within the exit handler."""
    template: Record = {"name": name, "dag": {"tasks": [_task(task, entry) for task, entry in dag["tasks"].items()]}}
    if loop:
        template["inputs"] = {"parameters": [{"name": "item"}]}
        results = {_argo(key): value["valueFromParameter"] for key, value in dag["outputs"]["parameters"].items()}
        template["outputs"] = {
            "parameters": [
                {"name": key, "valueFrom": {"parameter": _output(value["producerSubtask"], value["outputParameterKey"])}}
                for key, value in results.items()
            ]
        }
    return template


def _task(name: str, task: Record) -> Record:
    """Return a task of a DAG."""
    made: Record = {"name": name, "template": task["componentRef"]["name"].removeprefix("comp-")}
    if task.get("dependentTasks"):
        made["dependencies"] = task["dependentTasks"]
    parameters = task.get("inputs", {}).get("parameters", {})
    if "parameterIterator" in task:
        made["withParam"] = _value(parameters[task["parameterIterator"]["items"]["inputParameter"]])
        made["arguments"] = {"parameters": [{"name": "item", "value": "{{item}}"}]}
    else:
        made["arguments"] = {"parameters": [{"name": key, "value": _value(value)} for key, value in sorted(parameters.items())]}
    return made


def _value(source: Record) -> str:
    """Return where the value of an input comes from, in Argo's words."""
    if "taskOutputParameter" in source:
        return _output(source["taskOutputParameter"]["producerTask"], source["taskOutputParameter"]["outputParameterKey"])
    if "componentInputParameter" in source:
        return "{{inputs.parameters.item}}" if source["componentInputParameter"].endswith("-loop-item") else "{{workflow.parameters.study}}"
    if "taskFinalStatus" in source:
        return "{{workflow.status}}"
    constant = str(source["runtimeValue"]["constant"])
    return PLACEHOLDERS.get(constant, constant)


def _output(task: str, key: str) -> str:
    return f"{{{{tasks.{task}.outputs.parameters.{_argo(key)}}}}}"


def _argo(key: str) -> str:
    """Return the name of an output as Argo takes it."""
    return key.removeprefix("pipelinechannel--")


def _step(name: str, task: Record, component: Record, container: Record, pod: Record) -> Record:
    """Return the template of a step: the component as a process, with what its task gets."""
    inputs = sorted(task["inputs"]["parameters"])
    words = [word for key in inputs for word in (f"--{key}", f"{{{{inputs.parameters.{key}}}}}")]
    resources = container["resources"]
    amounts = {"cpu": resources["resourceCpuLimit"], "memory": resources["resourceMemoryLimit"]}
    if "accelerator" in resources:
        amounts[resources["accelerator"]["resourceType"]] = resources["accelerator"]["resourceCount"]
    template: Record = {
        "name": name,
        "inputs": {"parameters": [{"name": key} for key in inputs]},
        "outputs": {
            "parameters": [
                {"name": key, "valueFrom": {"path": f"{OUTPUTS}/{key}"}} for key in sorted(component["outputDefinitions"]["parameters"])
            ]
        },
        "activeDeadlineSeconds": int(pod["activeDeadlineSeconds"]),
        "container": {
            "image": container["image"],
            "command": ["python", "-m", "components", _component(name), "--outputs", OUTPUTS],
            "args": words,
            "env": [*container.get("env", []), *_secrets(pod)],
            "resources": {"requests": amounts, "limits": dict(amounts)},
            "securityContext": manifests.container_security(read_only=False),  # Argo's own process writes beside ours
        },
    }
    if "retryPolicy" in task:
        retry = task["retryPolicy"]
        backoff = {"duration": retry["backoffDuration"], "factor": int(retry["backoffFactor"]), "maxDuration": retry["backoffMaxDuration"]}
        template["retryStrategy"] = {"limit": retry["maxRetryCount"], "retryPolicy": "Always", "backoff": backoff}
    if "nodeSelector" in pod:
        template["nodeSelector"] = pod["nodeSelector"]["labels"]
    if "tolerations" in pod:
        template["tolerations"] = [{key: value for key, value in one.items() if key in TOLERATION} for one in pod["tolerations"]]
    return template


def _component(name: str) -> str:
    """Return the component of a template: Kubeflow numbers the tasks that share one (``train-2``)."""
    return re.sub(r"-\d+$", "", name).replace("-", "_")


def _secrets(pod: Record) -> list[Record]:
    """Return the variables that come by name from secrets and settings."""
    made = []
    for kind, source in (("secretKeyRef", "secretAsEnv"), ("configMapKeyRef", "configMapAsEnv")):
        for one in pod.get(source, []):
            name = one["secretName" if kind == "secretKeyRef" else "configMapName"]
            for key in one["keyToEnv"]:
                reference = {"name": name, "key": key["secretKey" if kind == "secretKeyRef" else "configMapKey"], "optional": True}
                made.append({"name": key["envVar"], "valueFrom": {kind: reference}})
    return made
