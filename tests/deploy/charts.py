"""The chart as helm renders it, and the manifests as kustomize builds them."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "helm" / "landtide"
MANIFESTS = REPOSITORY / "manifests"
STUDY = {
    "name": "meadows",
    "area": {"tiles": ["32TPS"]},
    "years": [2021],
    "source": {"api": "earth-search"},
    "points": "s3://maps/points.csv",
}

Manifest = dict[str, Any]


def program(name: str) -> str:
    """Return the path of helm or kubectl; where a package has it, its absence is a failure."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}:{Path(sys.prefix, 'bin')}") or shutil.which(name)
    if path is None:
        absent = pytest.fail if (sys.platform, platform.machine()) == ("linux", "x86_64") else pytest.skip
        absent(f"{name} is missing: scripts/install-cluster-tools.py")
    return str(path)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program(command[0]), *command[1:]], capture_output=True, text=True, check=False, timeout=120)


def template(
    values: Manifest | Path | None = None, *options: str, folder: Path, namespace: str = "landtide"
) -> subprocess.CompletedProcess[str]:
    """Render the chart; `folder` takes the values file."""
    if not isinstance(values, Path):
        text, values = yaml.safe_dump(values or {}), folder / "values.yaml"
        values.write_text(text)
    return run("helm", "template", "landtide", str(CHART), "--namespace", namespace, "--values", str(values), *options)


def render(values: Manifest | Path | None = None, *options: str, folder: Path) -> list[Manifest]:
    """Return the chart's objects."""
    done = template(values, *options, folder=folder)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def build(name: str) -> list[Manifest]:
    """Return the objects of a kustomization: ``base`` or ``overlays/NAME``."""
    done = run("kubectl", "kustomize", str(MANIFESTS / name))
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def find(manifests: list[Manifest], kind: str, name: str, namespace: str | None = None) -> Manifest:
    """Return the one object of a kind and name."""
    found = [
        manifest
        for manifest in manifests
        if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name) and namespace in (None, manifest["metadata"].get("namespace"))
    ]
    assert len(found) == 1, f"{len(found)} {kind} {name} in {[(m['kind'], m['metadata']['name']) for m in manifests]}"
    return found[0]
