"""The kustomize base and overlays: the same objects as the chart's, and up to date."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import charts
import kubernetes_validate
import pod_security
import pytest
from charts import Manifest

SCRIPT = charts.REPOSITORY / "scripts" / "render-manifests.py"
NAMES = ["base", *sorted(f"overlays/{path.stem}" for path in (charts.MANIFESTS / "values").glob("*.yaml") if path.stem != "base")]


def by_key(manifests: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    return {(m["kind"], m["metadata"].get("namespace", ""), m["metadata"]["name"]): m for m in manifests}


def without_helm(node: Any) -> Any:
    """The test's own reading of what only Helm knows: its hooks, its labels."""
    if isinstance(node, dict):
        own = {key: without_helm(value) for key, value in node.items() if "helm.sh" not in key and value != "Helm"}
        return {key: value for key, value in own.items() if value != {} or key != "annotations"}
    return [without_helm(item) for item in node] if isinstance(node, list) else node


def test_there_are_overlays() -> None:
    assert NAMES == ["base", "overlays/production", "overlays/slurm-bridge", "overlays/trial"]


@pytest.mark.parametrize("name", NAMES)
def test_kustomize_builds_what_the_chart_renders(name: str, tmp_path: Path) -> None:
    values = charts.MANIFESTS / "values" / f"{Path(name).name}.yaml"
    chart = by_key([without_helm(m) for m in charts.render(values, "--skip-tests", folder=tmp_path)])
    chart.pop(("Job", "landtide", "landtide-unschedule"), None)  # without Helm nobody asks for it before things are deleted
    assert by_key(charts.build(name)) == chart


@pytest.mark.parametrize("name", NAMES)
def test_every_object_passes_the_schemas_and_every_pod_the_standard(name: str) -> None:
    for manifest in charts.build(name):
        if manifest["kind"] != "ClusterTrainingRuntime":
            kubernetes_validate.validate(manifest, "1.36", strict=True)
        for path, pod in pod_security.pods_of(manifest):
            assert pod_security.violations(pod) == [], f"{manifest['kind']} {path}"


def test_namespaces_are_held_to_the_restricted_standard() -> None:
    namespaces = [m for m in charts.build("overlays/slurm-bridge") if m["kind"] == "Namespace"]
    assert {m["metadata"]["name"] for m in namespaces} == {"landtide", "landtide-hpc"}
    assert {m["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] for m in namespaces} == {"restricted"}


def test_the_stored_files_are_those_of_the_chart() -> None:
    charts.program("helm")
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr


def environment() -> dict[str, str]:
    return {"PATH": f"{Path(charts.program('helm')).parent}:/usr/bin:/bin"}


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_manifests", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_changed_or_foreign_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = script()
    monkeypatch.setattr(module, "MANIFESTS", tmp_path / "stored")
    made = tmp_path / "made"
    for folder in (made, module.MANIFESTS):
        (folder / "base").mkdir(parents=True)
        (folder / "base" / "a.yaml").write_text("a: 1\n")
    assert module.compare(made) == 0
    (module.MANIFESTS / "base" / "a.yaml").write_text("a: 2\n")
    (module.MANIFESTS / "base" / "b.yaml").write_text("b: 1\n")
    assert module.compare(made) == 1
    told = capsys.readouterr().err
    assert "base/a.yaml differs" in told
    assert "base/b.yaml differs" in told
