"""What a cluster tells of a job while it runs: changes of the job, its pods and its events in one queue, and the pods' logs."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from landtide.core.errors import LandtideError
from landtide.launch.cluster import Cluster, ExpiredError, NotFoundError

log = logging.getLogger(__name__)

Record = dict[str, Any]

WATCH = 240
"""Seconds that one watch lasts before it begins anew: below the five minutes after which load balancers cut idle connections."""

PAUSE = 0.5
"""Seconds before a broken watch or log is taken up again."""

INDEX_LABELS = ("training.kubeflow.org/replica-index", "batch.kubernetes.io/job-completion-index")
"""Labels with a pod's place in its job, of PyTorchJobs and of indexed Jobs (TrainJobs)."""


@dataclass(frozen=True)
class News:
    """One thing that a watch told."""

    about: Literal["job", "pod", "event", "error"]
    gone: bool = False
    thing: Record | None = None
    error: LandtideError | None = None


Listing = Callable[[], tuple[list[Record], str]]
Watching = Callable[[str, int], Iterator[Record]]


@contextmanager
def watches(cluster: Cluster, kind: str, namespace: str, name: str, selector: str) -> Iterator["queue.Queue[News]"]:
    """Lend a queue with the news of a job, its pods and its namespace's events, beginning with their present state."""
    news: queue.Queue[News] = queue.Queue()
    stop = threading.Event()

    def job() -> tuple[list[Record], str]:
        try:
            found = cluster.get(kind, namespace, name)
        except NotFoundError:
            news.put(News("job", gone=True))
            stop.wait(PAUSE)
            return [], "0"
        return [found], found["metadata"]["resourceVersion"]

    sources: list[tuple[Literal["job", "pod", "event"], Listing, Watching]] = [
        ("job", job, lambda version, seconds: cluster.watch_job(kind, namespace, name, version, seconds)),
        (
            "pod",
            lambda: cluster.pods(namespace, selector),
            lambda version, seconds: cluster.watch_pods(namespace, selector, version, seconds),
        ),
        ("event", lambda: cluster.events(namespace), lambda version, seconds: cluster.watch_events(namespace, version, seconds)),
    ]
    for source in sources:
        threading.Thread(target=_watch, args=(*source, news, stop), daemon=True).start()
    try:
        yield news
    finally:
        stop.set()  # the threads end with their present watch; daemons, they keep nobody waiting


def _watch(
    about: Literal["job", "pod", "event"], listing: Listing, watching: Watching, news: "queue.Queue[News]", stop: threading.Event
) -> None:
    """List, then watch from there; begin anew whenever the version has become too old, until told to stop."""
    version = None
    while not stop.is_set():
        try:
            if version is None:
                things, version = listing()
                for thing in things:
                    news.put(News(about, thing=thing))
            for event in watching(version, WATCH):
                if stop.is_set():
                    return
                version = event["object"]["metadata"].get("resourceVersion", version)
                if event["type"] != "BOOKMARK":
                    news.put(News(about, gone=event["type"] == "DELETED", thing=event["object"]))
        except ExpiredError:
            version = None
        except LandtideError as error:
            news.put(News("error", error=error))
            return
        stop.wait(PAUSE)


def next_of(news: "queue.Queue[News]", seconds: float) -> News | None:
    """Return the next news, None where none comes within so many seconds."""
    try:
        return news.get(timeout=seconds)
    except queue.Empty:
        return None


class Logs:
    """The logs of a job's pods, each line with its pod's rank, told as they come."""

    def __init__(self, cluster: Cluster, namespace: str, tell: Callable[[str], None]) -> None:
        self._cluster, self._namespace, self._tell = cluster, namespace, tell
        self._threads: dict[str, threading.Thread] = {}
        self._ended: dict[str, threading.Event] = {}

    def follow(self, pod: Record) -> None:
        """Begin to tell the log of a pod, once it has one; end with the pod."""
        uid, phase = pod["metadata"]["uid"], pod.get("status", {}).get("phase")
        if phase in ("Running", "Succeeded", "Failed") and uid not in self._threads:
            self._ended[uid] = threading.Event()
            arguments = (pod["metadata"]["name"], rank(pod), self._ended[uid])
            self._threads[uid] = threading.Thread(target=self._stream, args=arguments, daemon=True)
            self._threads[uid].start()
        if phase in ("Succeeded", "Failed"):
            self._ended[uid].set()

    def finish(self, seconds: float = 10.0) -> None:
        """Wait for what is still to come of pods that have ended."""
        deadline = time.monotonic() + seconds
        for uid, thread in self._threads.items():
            self._ended[uid].set()
            thread.join(max(0.0, deadline - time.monotonic()))

    def _stream(self, pod: str, prefix: str, ended: threading.Event) -> None:
        """Tell each line once: a connection that breaks is taken up again from the last line's time on."""
        last, told = "", 0  # time of the last line, and how many lines of that time were told
        while True:
            final, known, skipped = ended.is_set(), (last, told), 0
            try:
                for line in self._cluster.follow_log(self._namespace, pod, **_since(last)):
                    stamp, _, text = line.partition(" ")
                    if stamp < known[0]:
                        continue
                    if stamp == known[0] and skipped < known[1]:
                        skipped += 1
                        continue
                    last, told = stamp, told + 1 if stamp == last else 1
                    self._tell(f"[{prefix}] {text}")
            except NotFoundError:
                return
            except LandtideError as error:  # not ready yet, or the node is away: the job's own state decides what comes of it
                log.debug("log of %s: %s", pod, error)
            if final:
                return
            ended.wait(PAUSE)


def _since(last: str) -> dict[str, int]:
    """Return from when on a log is asked for: some seconds before its last line, in whole seconds, as the API takes it."""
    if not last:
        return {}
    then = datetime.fromisoformat(last[:19]).replace(tzinfo=UTC)
    return {"since_seconds": max(1, int((datetime.now(UTC) - then).total_seconds()) + 2)}


def rank(pod: Record) -> str:
    """Return what stands before a pod's lines: ``worker-0`` for the pods of a group, else the pod's name."""
    labels = pod["metadata"].get("labels", {})
    for label in INDEX_LABELS:
        if label in labels:
            return f"worker-{labels[label]}"
    return str(pod["metadata"]["name"])
