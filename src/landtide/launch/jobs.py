"""A job on Kubernetes from its making to its end: made once or taken over, followed, explained where it fails, and cleaned up."""

import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from landtide.core.errors import InputError, LandtideError
from landtide.io import storage
from landtide.launch import following, manifests, trouble
from landtide.launch.cluster import Cluster, ExistsError, NotFoundError, own_namespace
from landtide.launch.jobspec import RUN_ID, JobSpec, Owner

log = logging.getLogger(__name__)

Record = dict[str, Any]

RESYNC = 20.0
"""Seconds without news after which the job itself is asked: a watch can fall silent without an error."""

STUCK = 300.0
"""Seconds that a pod may be stuck for a reason that hardly passes by itself, such as an image that is not there yet."""

LAST_LINES = 100
"""Lines of each pod's log on the page of a failed job."""

GOING = 120.0
"""Seconds in which a deleted job must be gone."""

ENDS = {
    "pytorchjob": {"Succeeded": "succeeded", "Failed": "failed"},
    "trainjob": {"Complete": "succeeded", "Failed": "failed"},
    "job": {"Complete": "succeeded", "Failed": "failed"},
}
"""Kind -> the conditions that end it."""


class JobFailedError(LandtideError):
    """A job ended without success: its line says why, and where the page about it is."""


@dataclass
class Timing:
    """How long things may take; tests are in a hurry."""

    resync: float = RESYNC
    stuck: float = STUCK
    going: float = GOING


def run(cluster: Cluster, spec: JobSpec, pages: str, *, timing: Timing | None = None, tell: Callable[[str], None] | None = None) -> None:
    """Make a job, or take over the one that an earlier attempt made, and wait for its end.

    pages  URI of a folder for the page of a failure
    tell   takes every line of the pods' logs; by default it is logged

    Raises JobFailedError, LandtideError where the job was deleted, and InputError where it cannot be made. Ctrl-C and SIGTERM delete
    the job; a death that nobody can catch leaves it to whoever comes next: the second attempt, or the exit handler.
    """
    timing = timing or Timing()
    job = start(cluster, spec, timing)
    try:
        _Follower(cluster, spec, job, pages, timing, tell or (lambda line: log.info("%s", line))).to_the_end()
    except (KeyboardInterrupt, SystemExit):
        log.warning("stopped: deleting %s %s", spec.kind, spec.name)
        delete(cluster, spec)
        raise


def start(cluster: Cluster, spec: JobSpec, timing: Timing | None = None) -> Record:
    """Make the objects of a job; return the job. One that is there already is taken over, unless it is about to go or has failed."""
    timing = timing or Timing()
    deadline, made = time.monotonic() + timing.going, {}
    for manifest in manifests.render(spec):
        kind = manifest["kind"].lower()
        while True:
            try:
                made = cluster.create(kind, manifest)
                log.info("created %s %s in namespace %s", kind, spec.name, spec.namespace)
                break
            except ExistsError:
                found = _present(cluster, kind, spec)
                if found is not None:
                    log.info("took over %s %s, which an earlier attempt made", kind, spec.name)
                    made = found
                    break
            if time.monotonic() > deadline:
                raise LandtideError(
                    f"{kind} {spec.name} is being deleted and does not go: look for its finalizers, or delete it by kubectl"
                )
            time.sleep(0.5)
    return made


def _present(cluster: Cluster, kind: str, spec: JobSpec) -> Record | None:
    """Return the object of this name where it can be taken over; delete it where it has failed."""
    try:
        found = cluster.get(kind, spec.namespace, spec.name)
    except NotFoundError:
        return None
    if found["metadata"].get("labels", {}).get(RUN_ID) != spec.run_id:
        raise InputError(f"{kind} {spec.name} in namespace {spec.namespace} belongs to something else: delete or rename it")
    if found["metadata"].get("deletionTimestamp"):
        return None
    if kind == spec.kind and _ending(kind, found) == "failed":
        cluster.delete(kind, spec.namespace, spec.name)
        return None
    return found


def delete(cluster: Cluster, spec: JobSpec) -> None:
    """Delete the objects of a job."""
    for manifest in reversed(manifests.render(spec)):
        cluster.delete(manifest["kind"].lower(), spec.namespace, spec.name)


def clean_up(cluster: Cluster, run_id: str, kinds: list[str], namespaces: list[str]) -> list[str]:
    """Delete what a run has left running, found by its label; return what it was, such as ``pytorchjob landtide-train-...``.

    What has ended stays until its own time is over: its logs may still be asked for.
    """
    found = []
    for namespace in namespaces:
        for kind in kinds:
            for thing in cluster.find(kind, namespace, f"{RUN_ID}={run_id}"):
                if kind not in ENDS or _ending(kind, thing) is None:
                    cluster.delete(kind, namespace, thing["metadata"]["name"])
                    found.append(f"{kind} {thing['metadata']['name']}")
    return found


def workflow_of_this_pod(cluster: Cluster) -> tuple[Owner | None, str | None]:
    """Return the Workflow that owns the pod we run in, and our namespace; None outside a cluster or a workflow.

    Jobs are its own, not the pod's: the pod goes when it is tried again, and the second attempt takes over the first's job.
    """
    namespace = own_namespace()
    if namespace is None:
        return None, None
    pod = cluster.pod(namespace, os.environ.get("POD_NAME") or socket.gethostname())
    for owner in pod["metadata"].get("ownerReferences", []):
        if owner["kind"] == "Workflow":
            return Owner(owner["apiVersion"], owner["kind"], owner["name"], owner["uid"]), namespace
    return None, namespace


@dataclass
class _Follower:
    """What is known of a job while it runs."""

    cluster: Cluster
    spec: JobSpec
    job: Record
    pages: str
    timing: Timing
    tell: Callable[[str], None]
    pods: dict[str, Record] = field(default_factory=dict)
    events: dict[str, Record] = field(default_factory=dict)
    troubles: dict[str, trouble.Trouble] = field(default_factory=dict)
    """By pod: what is wrong with it now."""

    since: dict[str, float] = field(default_factory=dict)
    """By pod: when it got stuck."""

    told: set[str] = field(default_factory=set)
    last: str | None = None
    """The latest line about what is wrong."""

    @property
    def selector(self) -> str:
        return f"{manifests.POD_LABEL[self.spec.kind]}={self.spec.name}"

    def to_the_end(self) -> None:
        """Follow the job until it has ended."""
        spec = self.spec
        logs = following.Logs(self.cluster, spec.namespace, self.tell)
        with following.watches(self.cluster, spec.kind, spec.namespace, spec.name, self.selector) as news:
            ended, asked = bool(self._ended(self.job)), time.monotonic()
            while not ended:
                item = following.next_of(news, min(self.timing.resync, 1.0))
                if item is None:
                    if time.monotonic() - asked > self.timing.resync:
                        asked, ended = time.monotonic(), bool(self._ended(self._ask()))
                elif self._take(item, logs):
                    ended = True
                self._give_up_when_stuck()
            if self._ended(self.job, quiet=True) == "failed":
                self._fail(logs)
        logs.finish()

    def _ask(self) -> Record:
        try:
            return self.cluster.get(self.spec.kind, self.spec.namespace, self.spec.name)
        except NotFoundError:
            raise self._deleted() from None

    def _take(self, item: following.News, logs: following.Logs) -> bool:
        """Take in one piece of news; return whether the job has ended."""
        if item.error is not None:
            raise item.error
        if item.about == "job":
            if item.gone and (item.thing is None or item.thing["metadata"]["uid"] == self.job["metadata"]["uid"]):
                raise self._deleted()
            return item.thing is not None and bool(self._ended(item.thing))
        assert item.thing is not None
        if item.about == "pod":
            self._take_pod(item.thing, logs, gone=item.gone)
        elif not item.gone:
            self._take_event(item.thing)
        return False

    def _take_pod(self, pod: Record, logs: following.Logs, *, gone: bool) -> None:
        name = pod["metadata"]["name"]
        self.pods[name] = pod
        if not gone:
            logs.follow(pod)
        found = trouble.of_pod(pod)
        if found is None or gone:
            self.troubles.pop(name, None)
            self.since.pop(name, None)
        if found is not None:
            self.troubles[name] = found
            self._note(found)
            if found.level == "stuck":
                self.since.setdefault(name, time.monotonic())

    def _take_event(self, event: Record) -> None:
        about = event.get("involvedObject") or event.get("regarding") or {}
        name = about.get("name", "")
        own = name == self.spec.name or name.startswith(f"{self.spec.name}-") or name in self.pods
        if not own or trouble.event_time(event) < self.job["metadata"].get("creationTimestamp", ""):
            return  # another job's, or of an earlier job of this name
        self.events[event["metadata"].get("name", str(len(self.events)))] = event
        found = trouble.of_event(event)
        if found is not None:
            self._note(found)
            if found.level == "stuck":
                self.since.setdefault(name, time.monotonic())

    def _note(self, found: trouble.Trouble) -> None:
        """Say what is wrong, once."""
        self.last = found.line
        if found.line not in self.told:
            self.told.add(found.line)
            log.warning("%s", found.line)

    def _give_up_when_stuck(self) -> None:
        fatal = [found for found in self.troubles.values() if found.level == "fatal"]
        late = [name for name, since in self.since.items() if time.monotonic() - since > self.timing.stuck]
        if not fatal and not late:
            return
        line = fatal[0].line if fatal else self.troubles[late[0]].line if late[0] in self.troubles else str(self.last)
        page = self._write_page(line)
        delete(self.cluster, self.spec)  # it would wait for ever
        raise JobFailedError(f"{line}. More: {page}")

    def _ended(self, job: Record, *, quiet: bool = False) -> Literal["succeeded", "failed"] | None:
        self.job = job
        state = _ending(self.spec.kind, job)
        if state and not quiet:
            log.info("%s %s %s", self.spec.kind, self.spec.name, state)
        return state

    def _fail(self, logs: following.Logs) -> None:
        """Raise what the failure was, and leave a page about it."""
        for pod in self.cluster.pods(self.spec.namespace, self.selector)[0]:  # the last word on each
            self._take_pod(pod, logs, gone=False)
        logs.finish(3.0)  # pods that still run have nothing to add
        line = self._reason()
        page = self._write_page(line)
        raise JobFailedError(f"{line}. More: {page}")

    def _reason(self) -> str:
        """Return the line that explains the failure best: of a pod, else the latest warning, else the job's own message."""
        worst = [self.troubles[name].line for name in sorted(self.troubles)]
        if worst:
            return next((line for line in worst if "OOMKilled" in line), worst[0])
        conditions = [item for item in self.job["status"]["conditions"] if item["type"] == "Failed"]
        message = (
            f"{self.spec.kind} {self.spec.name}: {' '.join(str(conditions[-1].get('message') or conditions[-1].get('reason')).split())}"
        )
        return f"{message}; before, {self.last}" if self.last else message

    def _write_page(self, reason: str) -> str:
        """Write the page of the failure; return its URI."""
        uri = storage.join(self.pages, f"{self.spec.name}.html")
        pods = sorted(self.pods.values(), key=lambda pod: pod["metadata"]["name"])
        names = [pod["metadata"]["name"] for pod in pods]
        html = trouble.page(
            job=self.job,
            selector=self.selector,
            reason=reason,
            run_id=self.spec.run_id,
            pods=pods,
            events=list(self.events.values()),
            logs={name: self.cluster.log(self.spec.namespace, name, tail_lines=LAST_LINES) for name in names},
        )
        storage.write_bytes(uri, html.encode())
        return uri

    def _deleted(self) -> LandtideError:
        return LandtideError(
            f"{self.spec.kind} {self.spec.name} was deleted while it ran, by somebody or by the end of its namespace; run the same again"
        )


def _ending(kind: str, job: Record) -> Literal["succeeded", "failed"] | None:
    for condition in job.get("status", {}).get("conditions", []):
        if condition["status"] == "True" and condition["type"] in ENDS[kind]:
            return "succeeded" if ENDS[kind][condition["type"]] == "succeeded" else "failed"
    return None
