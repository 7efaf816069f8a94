"""The chart of operators, with the Dask operator's chart as its own package ships it."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import charts
import pod_security
import pytest
import yaml

SOURCE = charts.REPOSITORY / "helm" / "landtide-operators"


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A copy that takes the dependency from the installed package dask_kubernetes instead of its home page."""
    spec = find_spec("dask_kubernetes")
    assert spec is not None
    assert spec.origin is not None
    shipped = Path(spec.origin).parent / "operator" / "deployment" / "helm" / "dask-kubernetes-operator"
    copy = tmp_path / "landtide-operators"
    shutil.copytree(SOURCE, copy)
    record = yaml.safe_load((copy / "Chart.yaml").read_text())
    record["dependencies"][0] |= {
        "repository": f"file://{shipped}",
        "version": yaml.safe_load((shipped / "Chart.yaml").read_text())["version"],
    }
    (copy / "Chart.yaml").write_text(yaml.safe_dump(record))
    done = charts.run("helm", "dependency", "build", str(copy))
    assert done.returncode == 0, done.stderr
    return copy


def render(chart: Path, *options: str) -> list[charts.Manifest]:
    done = charts.run("helm", "template", "operators", str(chart), "--namespace", "operators", "--include-crds", *options)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def test_the_operator_comes_with_its_kinds_and_passes_the_restricted_standard(chart: Path) -> None:
    made = render(chart)
    kinds = {m["spec"]["names"]["plural"] for m in made if m["kind"] == "CustomResourceDefinition"}
    assert {"daskclusters", "daskworkergroups", "daskautoscalers"} <= kinds
    pods = [pod for manifest in made if manifest["kind"] == "Deployment" for _, pod in pod_security.pods_of(manifest)]
    assert len(pods) == 1
    assert pod_security.violations(pods[0]) == []


def test_the_operator_is_an_option(chart: Path) -> None:
    assert [m for m in render(chart, "--set", "dask-kubernetes-operator.enabled=false") if m["kind"] == "Deployment"] == []
