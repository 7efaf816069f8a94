"""Containers on this machine, by podman: the images, a Docker-like service for KFP, and pods out of rendered manifests."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
BASE = "localhost/landtide-base:bookworm"
TAG = "test"
STEPS = f"localhost/landtide-steps:{TAG}"
TRAIN = f"localhost/landtide-train:{TAG}"
REQUIRED = "LANDTIDE_REQUIRE_CONTAINERS"
"""Environment variable: set, containers that cannot be had are a failure. Without it their tests are skipped."""

LIMITS = {"nofile": 16384, "nproc": 8192}
"""Below the hard limits of most machines: without CAP_SYS_RESOURCE the runtime may not raise them to its own defaults."""


def require_podman() -> None:
    """Skip, or fail where containers are required, unless this machine can build and run images."""
    missing = [name for name in ("podman", "runc", "debootstrap") if shutil.which(name) is None]
    reason = f"missing {', '.join(missing)}: scripts/install-system-packages.sh --containers" if missing else ""
    if not reason and os.geteuid() != 0:
        reason = "not root: podman's service and debootstrap need it here"
    if reason:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(f"containers: {reason}")


class Podman:
    """podman under a configuration of its own; `variables` are in the environment of every container it starts."""

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f'"{name}={value}"' for name, value in (variables or {}).items()]
        limits = [f'"{name}={value}:{value}"' for name, value in LIMITS.items()]
        (folder / "containers.conf").write_text(
            f"[containers]\ndefault_ulimits = [{', '.join(limits)}]\nenv = [{', '.join(lines)}]\n"
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n'
        )
        self.revision = ""
        """Commit that the images were built from."""

        self.environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}

    def run(self, *words: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["podman", *words], capture_output=True, text=True, check=False, env=self.environment, timeout=timeout)
        assert not check or done.returncode == 0, f"podman {' '.join(words)}: {done.stderr}"
        return done

    def has(self, image: str) -> bool:
        return self.run("image", "exists", image, check=False).returncode == 0

    def build_images(self) -> None:
        """Build both images with landtide's own script, on a base that is made here. What has not changed comes from podman's cache."""
        if not self.has(BASE):
            self._script("make-base-image.sh", BASE)
        links = os.environ.get("PIP_FIND_LINKS", "")
        head = ["git", "rev-parse", "HEAD"]
        self.revision = subprocess.run(head, capture_output=True, text=True, check=False, cwd=REPOSITORY).stdout.strip()
        own = {"BUILDER": "podman", "BASE": BASE, "TAG": TAG, **({"FIND_LINKS": links} if Path(links).is_dir() and links else {})}
        self._script("build-images.sh", **own)

    def _script(self, name: str, *words: str, **variables: str) -> None:
        command = ["nice", str(REPOSITORY / "scripts" / name), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment | variables)
        assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    @contextmanager
    def service(self) -> Iterator[str]:
        """Answer like Docker; lend the address."""
        address = f"unix://{self.folder}/podman.sock"
        server = subprocess.Popen(["podman", "system", "service", "--time=0", address], env=self.environment, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not (self.folder / "podman.sock").exists():
                assert server.poll() is None, "podman's service ended"
                assert time.monotonic() < deadline, "podman's service does not answer"
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=30)

    @contextmanager
    def playing(self, *manifests: dict[str, Any]) -> Iterator[None]:
        """Run pods, and what they refer to, by ``podman kube play``; take them down at the end."""
        name = manifests[-1]["metadata"]["name"]
        secrets = [manifest for manifest in manifests if manifest["kind"] == "Secret"]
        path = self.folder / f"{name}.yaml"
        path.write_text("---\n".join(yaml.safe_dump(manifest) for manifest in manifests if manifest not in secrets))
        for secret in secrets:
            self._keep(secret)
        try:
            self.run("kube", "play", str(path))
            yield
        finally:
            self.run("pod", "rm", "--force", name, check=False)
            self.run("kube", "down", str(path), check=False)

    def _keep(self, secret: dict[str, Any]) -> None:
        """Keep a Secret as podman 4 reads it for a variable, values in Base64 in a JSON table: its ``kube play`` writes another form."""
        name, path = secret["metadata"]["name"], self.folder / "secret.json"
        path.write_text(json.dumps({key: base64.b64encode(value.encode()).decode() for key, value in secret["stringData"].items()}))
        self.run("secret", "rm", name, check=False)
        self.run("secret", "create", name, str(path))
        path.unlink()

    def address(self, pod: str) -> str:
        """Return the IP address of a pod, which its first container has."""
        told = json.loads(self.run("pod", "inspect", pod).stdout)
        infra = json.loads(self.run("inspect", told["InfraContainerID"]).stdout)[0]
        return next(network["IPAddress"] for network in infra["NetworkSettings"]["Networks"].values())

    def wait(self, pod: str, container: str) -> tuple[int, str]:
        """Wait until a container of a pod ends; return its exit status and what it printed."""
        status = int(self.run("wait", f"{pod}-{container}").stdout)
        logs = self.run("logs", f"{pod}-{container}")
        return status, logs.stdout + logs.stderr


def as_pod(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the pod of a Deployment or Job, as podman takes it: podman 4 plays no Jobs, and knows no accounts and no pulling."""
    template = manifest["spec"].get("template", manifest)
    spec = {key: value for key, value in template["spec"].items() if key not in ("serviceAccountName", "enableServiceLinks")}
    for container in spec["containers"]:
        container["imagePullPolicy"] = "Never"
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            container.pop(probe, None)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": manifest["metadata"]["name"]}, "spec": spec}
