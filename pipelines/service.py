"""The client of Kubeflow Pipelines: submit and follow a run, keep a recurring one, list runs."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import kfp_server_api
from kfp.client import Client, ServiceAccountTokenVolumeCredentials
from urllib3.exceptions import HTTPError

from landtide.core.errors import InputError, LandtideError
from landtide.launch.progress import Event
from landtide.launch.submission import LOST

EXPERIMENT = "landtide"
PAGE = 100

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
UNDER_WAY = ("PENDING", "RUNNING", "PAUSED", "CANCELING")

POLL = 5.0
"""Seconds between looks at a run."""

PATIENCE = 600.0
"""Seconds that the API may be away while a run is followed: the run goes on without it."""


class Service:
    """One Kubeflow Pipelines, as the user of one namespace sees it."""

    def __init__(self, url: str, token: str | None, namespace: str, tell: Callable[[Event], None]) -> None:
        self.url, self.tell = url.rstrip("/"), tell
        credentials = None if token else _pod_credentials()
        with _explained(self.url):
            shared = _multi_user(self.url, token or (credentials.get_token() if credentials else None))
            self.client = Client(host=self.url, existing_token=token, credentials=credentials)
            # Without profiles there is one namespace, and the API refuses to hear of another.
            self.namespace = namespace if shared else None
            self.experiment = self.client.create_experiment(EXPERIMENT, namespace=self.namespace).experiment_id

    def submit(self, package: str, study: str, name: str, account: str, second: Literal["refuse", "follow", "again"]) -> str:
        """Start a run and return its id.

        second  what to do where a run of the same study is under way: raise InputError, return that one, or start another
        """
        with _explained(self.url):
            for run in [] if second == "again" else self.runs():
                if run.state in UNDER_WAY and (run.runtime_config.parameters or {}).get("study") == study:
                    if second == "follow":
                        return str(run.run_id)
                    raise InputError(
                        f"run {run.display_name} ({run.run_id}) of the same study is under way at {self.link(run.run_id)}: "
                        "--follow waits for it, --again starts another beside it"
                    )
            started = self.client.create_run_from_pipeline_package(
                _file(package), {"study": study}, run_name=name, experiment_id=self.experiment, service_account=account
            )
        return str(started.run_id)

    def follow(self, run_id: str, steps: set[str], poll: float = POLL) -> tuple[str, str]:
        """Tell the progress of a run until it ends; return its state and its own message."""
        states: dict[str, str] = {}
        while True:
            run = self._look(run_id)
            for task in (run.run_details.task_details if run.run_details else None) or []:
                if task.display_name in steps and states.get(task.task_id) != task.state:
                    states[task.task_id] = task.state
                    self._tell_task(task)
            if run.state in ENDED:
                return run.state, " ".join((run.error.message if run.error else "").split())
            time.sleep(poll)

    def schedule(self, package: str, study: str, name: str, account: str, cron: str) -> tuple[str, int]:
        """Keep one recurring run of a name; return its id, and how many it takes the place of: those go once the new one is there."""
        with _explained(self.url):
            old = self.recurring(name)
            made = self.client.create_recurring_run(
                self.experiment,
                name,
                description="Made by `landtide schedule`",
                cron_expression=cron,
                max_concurrency=1,
                no_catchup=True,
                params={"study": study},
                pipeline_package_path=_file(package),
                service_account=account,
            )
            for one in old:
                self.client.delete_recurring_run(one.recurring_run_id)
        return str(made.recurring_run_id), len(old)

    def unschedule(self, name: str) -> int:
        """Delete the recurring runs of a name; return how many there were."""
        with _explained(self.url):
            old = self.recurring(name)
            for one in old:
                self.client.delete_recurring_run(one.recurring_run_id)
        return len(old)

    def recurring(self, name: str | None = None) -> list[Any]:
        """Return the recurring runs, of one name or all."""
        found = list(_pages(lambda token: self.client.list_recurring_runs(token, PAGE, experiment_id=self.experiment), "recurring_runs"))
        return [one for one in found if name in (None, one.display_name)]

    def runs(self) -> list[Any]:
        """Return the latest runs, newest first."""
        with _explained(self.url):
            listed = self.client.list_runs(page_size=PAGE, sort_by="created_at desc", experiment_id=self.experiment)
        return listed.runs or []

    def link(self, run_id: str) -> str:
        """Return where a person looks at a run."""
        return f"{self.url}/#/runs/details/{run_id}"

    def _look(self, run_id: str) -> Any:
        """Return a run; the API may be away for a while."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.client.get_run(run_id)
            except (HTTPError, OSError, kfp_server_api.ApiException) as error:
                passing = not isinstance(error, kfp_server_api.ApiException) or error.status in (0, 429, 500, 502, 503, 504)
                if not passing or time.monotonic() > deadline:
                    with _explained(self.url):
                        raise
            self.tell(Event(LOST, "started"))
            time.sleep(POLL / 5)

    def _tell_task(self, task: Any) -> None:
        match task.state:
            case "RUNNING":
                self.tell(Event(task.display_name, "started"))
            case "SUCCEEDED" | "CACHED":
                self.tell(Event(task.display_name, "done", seconds=_seconds(task)))
            case "FAILED" | "CANCELED":
                self.tell(Event(task.display_name, "failed", seconds=_seconds(task)))


def _pod_credentials() -> Any:
    """Return the token that a pod is given for Kubeflow Pipelines, None where there is none."""
    credentials = ServiceAccountTokenVolumeCredentials()
    return credentials if Path(credentials._token_path).exists() else None


def _multi_user(url: str, token: str | None) -> bool:
    """Say whether the API has profiles. `Client` itself asks five times, whatever the answer is, before it says what is wrong."""
    configuration = kfp_server_api.Configuration(host=url)
    if token:
        configuration.api_key, configuration.api_key_prefix = {"authorization": token}, {"authorization": "Bearer"}
    api = kfp_server_api.HealthzServiceApi(kfp_server_api.ApiClient(configuration))
    return bool(api.healthz_service_get_healthz().multi_user)


def _pages(ask: Callable[[str], Any], name: str) -> Iterator[Any]:
    token = ""
    while True:
        page = ask(token)
        yield from getattr(page, name) or []
        token = page.next_page_token
        if not token:
            return


def _file(package: str) -> str:
    """Return the path of a file with a compiled pipeline; it lies in the folder for temporary files until the process ends."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
        file.write(package)
    return file.name


def _seconds(task: Any) -> float:
    start, end = task.start_time, task.end_time or datetime.now(UTC)
    return max(0.0, (end - start).total_seconds()) if start else 0.0


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn errors of the client into one line that says what to do."""
    try:
        yield
    except kfp_server_api.ApiException as error:
        raise _api_error(url, error) from error
    except (HTTPError, OSError) as error:
        words = " ".join(str(error).split())[:160]
        raise InputError(f"Kubeflow Pipelines does not answer at {url} ({words}): is it up, and is kubernetes.api right?") from error


def _api_error(url: str, error: kfp_server_api.ApiException) -> LandtideError:
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or error.reason or "")
    words = " ".join(body.split())[:300]
    match error.status:
        case 401:
            return InputError(f"Kubeflow Pipelines at {url} refuses the token (401): log in again, and give it by --token-file")
        case 403:
            return InputError(f"Kubeflow Pipelines at {url} does not allow it (403): {words}")
        case 404:
            return InputError(f"there is no Kubeflow Pipelines 2 at {url} (404): is kubernetes.api right? {words}")
        case 400:
            return InputError(f"Kubeflow Pipelines refuses the pipeline: {words}")
    return LandtideError(f"Kubeflow Pipelines at {url} failed with {error.status}: {words}")
