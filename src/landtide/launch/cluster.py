"""A connection to Kubernetes whose calls have patience, and whose errors say what to do."""

import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from landtide.core.errors import InputError, LandtideError
from landtide.launch.manifests import KINDS

log = logging.getLogger(__name__)

Record = dict[str, Any]

PATIENCE = 180.0
"""Seconds that an API server may be away: an upgrade of a control plane with one node takes about two minutes."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 20.0
"""Seconds between tries, doubling from the first."""

CONNECT = 10.0
"""Seconds until a connection stands, and until a short answer is there."""

POD_FILES = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, its namespace and the API's certificate."""

INSTALL = {
    "kubeflow.org": "the Kubeflow training operator (1.9): kubectl apply --server-side -k "
    "'github.com/kubeflow/trainer/manifests/overlays/standalone?ref=v1.9.4', or set train.backend to trainjob or job",
    "trainer.kubeflow.org": "Kubeflow Trainer (2.3): kubectl apply --server-side -k "
    "'github.com/kubeflow/trainer/manifests/overlays/manager?ref=v2.3.0', or set train.backend to pytorchjob or job",
    "kubernetes.dask.org": "the Dask operator: helm install dask-operator dask-kubernetes-operator --repo https://helm.dask.org",
    "scheduling.x-k8s.io": "the PodGroup of scheduler-plugins: helm install scheduler-plugins scheduler-plugins "
    "--repo https://scheduler-plugins.sigs.k8s.io --set 'plugins.enabled={Coscheduling}' --set scheduler.replicaCount=0",
}
"""API group -> who brings it, and how to get it."""


class NotFoundError(LandtideError):
    """The object is not there."""


class ExistsError(LandtideError):
    """An object of this name is there already."""


class ExpiredError(LandtideError):
    """The server no longer knows the version that a watch asked for."""


class Cluster:
    """Calls of one cluster's API. `connect` makes it."""

    def __init__(self, configure: Callable[[Any], None], *, patience: float = PATIENCE) -> None:
        """configure  fills a client's configuration with server and credentials; called again when the token has expired."""
        from kubernetes import client

        self.patience = patience
        self._configure = configure
        self._configuration = client.Configuration()
        configure(self._configuration)
        self._configuration.retries = False  # ours know when a second try can help, and for how long
        self._client = client.ApiClient(self._configuration)
        self._custom = client.CustomObjectsApi(self._client)
        self._core = client.CoreV1Api(self._client)

    def create(self, kind: str, manifest: Record) -> Record:
        """Make an object. Raises ExistsError where one has its name, InputError where its kind is unknown or the namespace's quota full."""
        group, version, plural = KINDS[kind]
        namespace = manifest["metadata"]["namespace"]
        try:
            return self._call(
                self._custom.create_namespaced_custom_object,
                group,
                version,
                namespace,
                plural,
                manifest,
                field_validation="Strict",
            )
        except NotFoundError as error:
            raise _missing(group, plural, namespace, error) from error

    def get(self, kind: str, namespace: str, name: str) -> Record:
        """Return an object. Raises NotFoundError."""
        return self._call(self._custom.get_namespaced_custom_object, *KINDS[kind][:2], namespace, KINDS[kind][2], name)

    def find(self, kind: str, namespace: str, label_selector: str) -> list[Record]:
        """Return the objects of a kind that carry labels; none where the kind itself is not installed."""
        group, version, plural = KINDS[kind]
        try:
            found = self._call(self._custom.list_namespaced_custom_object, group, version, namespace, plural, label_selector=label_selector)
        except NotFoundError:
            return []
        return list(found["items"])

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object and what it owns; nothing happens where it is gone already."""
        try:
            self._call(
                self._custom.delete_namespaced_custom_object,
                *KINDS[kind][:2],
                namespace,
                KINDS[kind][2],
                name,
                propagation_policy="Background",
            )
        except NotFoundError:
            return

    def watch_job(self, kind: str, namespace: str, name: str, version: str, seconds: int) -> Iterator[Record]:
        """Yield the changes of one object since a version, for so many seconds. Raises ExpiredError."""
        return self._watch(
            self._custom.list_namespaced_custom_object,
            *KINDS[kind][:2],
            namespace,
            KINDS[kind][2],
            field_selector=f"metadata.name={name}",
            resource_version=version,
            timeout_seconds=seconds,
        )

    def pod(self, namespace: str, name: str) -> Record:
        """Return a pod. Raises NotFoundError."""
        return self._call(self._core.read_namespaced_pod, name, namespace)

    def pods(self, namespace: str, label_selector: str) -> tuple[list[Record], str]:
        """Return the pods with a label, and the version of the list, from which a watch goes on."""
        found = self._call(self._core.list_namespaced_pod, namespace, label_selector=label_selector)
        return found["items"], found["metadata"]["resourceVersion"]

    def watch_pods(self, namespace: str, label_selector: str, version: str, seconds: int) -> Iterator[Record]:
        """Yield the changes of the pods with a label. Raises ExpiredError."""
        return self._watch(
            self._core.list_namespaced_pod, namespace, label_selector=label_selector, resource_version=version, timeout_seconds=seconds
        )

    def events(self, namespace: str) -> tuple[list[Record], str]:
        """Return the events of a namespace, and the version of the list."""
        found = self._call(self._core.list_namespaced_event, namespace)
        return found["items"], found["metadata"]["resourceVersion"]

    def watch_events(self, namespace: str, version: str, seconds: int) -> Iterator[Record]:
        """Yield the new events of a namespace. Raises ExpiredError."""
        return self._watch(self._core.list_namespaced_event, namespace, resource_version=version, timeout_seconds=seconds)

    def log(self, namespace: str, pod: str, **options: Any) -> str:
        """Return the log of a pod's container as it is now; empty where there is none yet."""
        try:
            return self._text(self._core.read_namespaced_pod_log, pod, namespace, **options)
        except (NotFoundError, InputError):  # "container is waiting to start" comes as 400
            return ""

    def follow_log(self, namespace: str, pod: str, **options: Any) -> Iterator[str]:
        """Yield the lines of a pod's log as they come, until the connection ends."""
        timeout = (CONNECT, 60.0)
        answer = self._raw(
            self._core.read_namespaced_pod_log, pod, namespace, follow=True, timestamps=True, _request_timeout=timeout, **options
        )
        return _lines(answer)

    def _watch(self, function: Callable[..., Any], *arguments: Any, timeout_seconds: int, **options: Any) -> Iterator[Record]:
        """Yield events of a watch; it ends by itself, or silently where the connection breaks: its caller begins anew."""
        limit = (CONNECT, timeout_seconds + CONNECT)
        answer = self._raw(function, *arguments, watch=True, timeout_seconds=timeout_seconds, _request_timeout=limit, **options)
        for line in _lines(answer):
            try:
                event = json.loads(line)
            except json.JSONDecodeError:  # cut off in the middle
                return
            if event["type"] == "ERROR":
                if event["object"].get("code") == 410:
                    raise ExpiredError("the watch is too old")
                raise LandtideError(f"the cluster ended a watch: {event['object'].get('message', 'without a reason')}")
            yield event

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Record:
        record: Record = json.loads(self._text(function, *arguments, **options))
        return record

    def _text(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
        """Call the API and read the whole answer."""

        def read(*values: Any, **named: Any) -> bytes:  # within the tries: a connection can break in the middle of an answer
            return bytes(function(*values, **named).data)

        return str(self._raw(read, *arguments, _request_timeout=(CONNECT, 3 * CONNECT), **options).decode(errors="replace"))

    def _raw(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call the API until it answers: other tries follow where the server is busy or away, once more where the token has expired."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        deadline, pause, renewed = time.monotonic() + self.patience, FIRST_PAUSE, False
        while True:
            try:
                return function(*arguments, _preload_content=False, **options)
            except ApiException as error:
                if error.status == 401 and not renewed:
                    renewed = True
                    self._configure(self._configuration)
                    continue
                wait = _retry_after(error) if error.status in (429, 500, 502, 503, 504) else None
                if wait is None or time.monotonic() + wait > deadline:
                    raise _explained(error, self._configuration.host) from error
            except (HTTPError, OSError) as error:
                wait = 0.0
                if time.monotonic() > deadline:
                    raise InputError(
                        f"no cluster answers at {self._configuration.host} ({_short(error)}): is it up, and is it reachable?"
                    ) from error
            time.sleep(max(wait, min(pause * random.uniform(0.5, 1.0), max(0.0, deadline - time.monotonic()))))
            pause = min(2 * pause, LONGEST_PAUSE)


def connect(*, patience: float = PATIENCE) -> Cluster:
    """Connect as the pod that we are, or by the user's kubeconfig. Raises InputError where there is neither, or no cluster behind it."""
    from kubernetes import config

    def configure(configuration: Any) -> None:
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ and (POD_FILES / "token").exists():
                config.load_incluster_config(client_configuration=configuration)
            else:
                config.load_kube_config(config_file=os.environ.get("KUBECONFIG"), client_configuration=configuration)
        except config.ConfigException as error:
            raise InputError(
                f"no cluster: {_short(error)}. In a pod, mount the token of a service account; elsewhere set KUBECONFIG, "
                "or run `kubectl config use-context`"
            ) from error

    return Cluster(configure, patience=patience)


def own_namespace() -> str | None:
    """Return the namespace of the pod that we are, None outside a cluster."""
    path = POD_FILES / "namespace"
    return path.read_text().strip() if path.exists() else None


def _lines(answer: Any) -> Iterator[str]:
    """Yield the lines of an answer that comes piece by piece; a broken connection is the end."""
    from urllib3.exceptions import HTTPError

    rest = b""
    try:
        for piece in answer.stream(amt=None, decode_content=False):
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
    except (HTTPError, OSError):
        return
    finally:
        answer.release_conn()
        answer.close()
    if rest:
        yield rest.decode(errors="replace")


def _retry_after(error: Any) -> float:
    """Return the seconds that the server asks us to wait, 0 where it does not say."""
    text = str((error.headers or {}).get("Retry-After", "0"))
    return float(text) if text.isdigit() else 0.0


def _explained(error: Any, host: str) -> LandtideError:
    """Return the error that an answer of the API stands for."""
    message = _message(error)
    match error.status:
        case 401:
            return InputError(f"the cluster at {host} refuses the token (401): it is wrong or has expired; log in again")
        case 403 if "exceeded quota" in message:
            return InputError(f"the namespace's quota is full: {message}. Free some, ask for more, or lower kubernetes.cpu, memory or gpus")
        case 400 | 403 | 422 if "admission webhook" in message:
            runtime = ". The chart makes the training runtime: jobs.runtime.create" if "untimeRef" in message else ""
            return InputError(f"the cluster refuses the object: {message}{runtime}")
        case 403:
            return InputError(f"the cluster does not allow it: {message}. The chart's role for service account landtide-runner does")
        case 404:
            return NotFoundError(message)
        case 409:
            return ExistsError(message)
        case 410:
            return ExpiredError(message)
        case 400 | 422:
            return InputError(f"the cluster refuses the request: {message}")
    return LandtideError(f"the cluster at {host} failed with {error.status}: {message}")


def _missing(group: str, plural: str, namespace: str, error: NotFoundError) -> InputError:
    """Return the error of a creation that was answered by 404: the kind is not installed, or the namespace is not there."""
    if "namespaces" in str(error):
        return InputError(f"namespace {namespace} does not exist: kubectl create namespace {namespace}, or install the chart there")
    return InputError(f"the cluster does not know {plural}.{group}: install {INSTALL.get(group, group)}")


def _message(error: Any) -> str:
    """Return the server's own words out of an error's body."""
    body = error.body
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or error.reason or "")
    try:
        record = json.loads(text)
    except json.JSONDecodeError:
        return " ".join(text.split())[:300]
    return " ".join(str(record.get("message", text)).split())


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
