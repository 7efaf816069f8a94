"""A port of this machine that leads to a service of the cluster, by ``kubectl port-forward``."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from landtide.core.errors import InputError

HOST = "127.0.0.1"
PATIENCE = 30.0
"""Seconds until the port answers."""


class Forward:
    """A port-forward that can be taken up again: kubectl ends it when the pod behind it goes."""

    def __init__(self, namespace: str, target: str, port: int) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]
        self._command = ["kubectl", "port-forward", "--address", HOST, "--namespace", namespace, target, f"{self.port}:{port}"]
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def open(self) -> None:
        """Start kubectl where it does not run, and wait for the port. Raises InputError with kubectl's own line."""
        if self._process is not None and self._process.poll() is None:
            return
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                said = self._process.stderr.read() if self._process.stderr else ""
                raise InputError(
                    f"kubectl port-forward failed: {' '.join(said.split()) or 'no answer'}. Or give the API's URL: kubernetes.api"
                )
            time.sleep(0.1)

    def close(self) -> None:
        """End kubectl."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, self.port)) == 0


@contextmanager
def forwarding(namespace: str, target: str, port: int) -> Iterator[Forward]:
    """Lend a port that leads to a service, such as ``svc/ml-pipeline``. Raises InputError where there is no kubectl or no cluster."""
    if shutil.which("kubectl") is None:
        raise InputError(
            "Kubeflow Pipelines is reached by kubectl port-forward, and there is no kubectl: install it, or set kubernetes.api"
        )
    forward = Forward(namespace, target, port)
    try:
        forward.open()
        yield forward
    finally:
        forward.close()
