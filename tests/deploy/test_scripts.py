"""The shell scripts, and the programs they install."""

import subprocess
import sys
from pathlib import Path

import charts
import pytest

SCRIPTS = [*sorted((charts.REPOSITORY / "scripts").glob("*.sh")), charts.REPOSITORY / ".ci" / "run"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    done = subprocess.run([str(Path(sys.executable).parent / "shellcheck"), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_helm_and_kubectl_are_those_of_the_kubernetes_that_is_tested_for() -> None:
    assert charts.run("helm", "version", "--short").stdout.startswith("v4.")
    assert '"minor": "36"' in charts.run("kubectl", "version", "--client", "--output=json").stdout


def test_the_tools_are_installed_once() -> None:
    command = [sys.executable, str(charts.REPOSITORY / "scripts" / "install-cluster-tools.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0
    assert done.stdout.startswith("helm and kubectl: in ")


def test_an_unknown_option_of_the_system_packages_is_refused() -> None:
    script = str(charts.REPOSITORY / "scripts" / "install-system-packages.sh")
    done = subprocess.run([script, "--container"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage:" in done.stderr
