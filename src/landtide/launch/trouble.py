"""What goes wrong with pods, in one line each, and as a page to look at afterwards."""

from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import Environment, PackageLoader

Record = dict[str, Any]

Level = Literal["wait", "stuck", "fatal"]
"""``wait`` may pass by itself, however long it takes; ``stuck`` hardly does; ``fatal`` never."""

SLURM_JOB = "scheduler.slinky.slurm.net/slurm-jobid"
"""Label that slurm-bridge writes to a pod."""

WAITING: dict[str, tuple[Level, str]] = {
    "ImagePullBackOff": ("stuck", "its image cannot be pulled"),
    "ErrImagePull": ("stuck", "its image cannot be pulled"),
    "InvalidImageName": ("fatal", "its image's name is not valid"),
    "ErrImageNeverPull": ("fatal", "its image is not on the node, and must not be pulled"),
    "CreateContainerConfigError": ("stuck", "a secret or setting that it names is not there"),
    "CreateContainerError": ("stuck", "its container cannot be made"),
    "RunContainerError": ("stuck", "its container cannot be started"),
    "CrashLoopBackOff": ("stuck", "it ends as soon as it starts"),
}
"""Reason of a waiting container -> how bad it is, and what it means."""

EVENTS: dict[str, tuple[Level, str]] = {
    "FailedScheduling": ("wait", "no node takes it yet"),
    "FailedCreate": ("wait", "a pod cannot be made"),
    "FailedMount": ("stuck", "a volume cannot be mounted"),
    "Evicted": ("wait", "evicted"),
    "Preempted": ("wait", "preempted"),
    "Unschedulable": ("wait", "the gang finds no room yet"),
}
"""Reason of a warning -> the same. What a pod's own status tells is left to `of_pod`."""


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong."""

    level: Level
    line: str
    """One line: which pod, what it means, and the cluster's own words."""


def of_pod(pod: Record) -> Trouble | None:
    """Return what is wrong with a pod, None where nothing is."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        trouble = _of_container(name, container)
        if trouble:
            return trouble
    if status.get("reason") in ("Evicted", "Preempting", "NodeLost", "DeadlineExceeded", "UnexpectedAdmissionError"):
        return Trouble("wait", _line(f"pod {name}: {status['reason']}", status.get("message")))
    for condition in status.get("conditions", []):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return Trouble("wait", _line(f"pod {name}: taken off its node", condition.get("reason"), condition.get("message")))
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Trouble("wait", _line(f"pod {name}: no node takes it yet", condition.get("reason"), condition.get("message")))
    return None


def _of_container(pod: str, container: Record) -> Trouble | None:
    state, last = container.get("state", {}), container.get("lastState", {})
    for ended in (state.get("terminated"), last.get("terminated")):
        if ended and ended.get("reason") == "OOMKilled":
            return Trouble("wait", f"pod {pod}: killed for going beyond its memory (OOMKilled): raise kubernetes.memory")
    waiting = state.get("waiting") or {}
    if waiting.get("reason") in WAITING:
        level, meaning = WAITING[waiting["reason"]]
        image = f"{container.get('image', '')} " if "image" in meaning else ""
        return Trouble(level, _line(f"pod {pod}: {meaning}", f"{image}{waiting['reason']}", waiting.get("message")))
    ended = state.get("terminated")
    if ended and ended.get("exitCode", 0) != 0:
        return Trouble("wait", _line(f"pod {pod}: ended with status {ended['exitCode']}", ended.get("reason"), ended.get("message")))
    return None


def of_event(event: Record) -> Trouble | None:
    """Return what a warning of the cluster says, None where it tells nothing that matters."""
    if event.get("type") != "Warning" or event.get("reason") not in EVENTS:
        return None
    level, meaning = EVENTS[event["reason"]]
    about, message = event.get("involvedObject") or event.get("regarding") or {}, event.get("message") or event.get("note") or ""
    if "exceeded quota" in message:
        meaning = "the namespace's quota is full"
    elif "violates PodSecurity" in message:
        level, meaning = "stuck", "the namespace's Pod Security refuses it"
    return Trouble(level, _line(f"{about.get('kind', 'object').lower()} {about.get('name')}: {meaning}", event["reason"], message))


def _line(what: str, reason: str | None, message: str | None = None) -> str:
    words = " ".join((message or "").split())
    detail = ": ".join(filter(None, [reason, words[:240]]))
    return f"{what} ({detail})" if detail else what


def page(*, job: Record, selector: str, reason: str, run_id: str, pods: list[Record], events: list[Record], logs: dict[str, str]) -> str:
    """Return the page of a failed job as HTML: the reason, its pods, its events in order of time, and the last lines of each pod."""
    template = Environment(loader=PackageLoader("landtide.launch"), autoescape=True).get_template("failure.html")
    return template.render(
        kind=job["kind"],
        name=job["metadata"]["name"],
        namespace=job["metadata"]["namespace"],
        selector=selector,
        reason=reason,
        run_id=run_id,
        pods=[_pod_row(pod) for pod in pods],
        events=[_event_row(event) for event in sorted(events, key=event_time)],
        logs=logs,
    )


def event_time(event: Record) -> str:
    """Return when an event happened last, as ISO 8601."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event.get("metadata", {}).get("creationTimestamp") or "")


def _pod_row(pod: Record) -> Record:
    status, trouble = pod.get("status", {}), of_pod(pod)
    return {
        "name": pod["metadata"]["name"],
        "phase": status.get("phase", "unknown"),
        "node": pod.get("spec", {}).get("nodeName", "none"),
        "slurm": pod["metadata"].get("labels", {}).get(SLURM_JOB, ""),
        "restarts": sum(container.get("restartCount", 0) for container in status.get("containerStatuses", [])),
        "trouble": trouble.line if trouble else "",
    }


def _event_row(event: Record) -> Record:
    about = event.get("involvedObject") or event.get("regarding") or {}
    return {
        "time": event_time(event)[:19].replace("T", " "),
        "about": f"{about.get('kind', '')} {about.get('name', '')}",
        "reason": event.get("reason", ""),
        "count": event.get("count") or 1,
        "message": event.get("message") or event.get("note") or "",
    }
