"""The jobs that users copy into their own CI."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import charts
import pytest
import yaml

FOLDER = charts.REPOSITORY / "examples" / "ci"
SCHEMAS = {"github-actions.yml": "vendor.github-workflows", "gitlab-ci.yml": "vendor.gitlab-ci"}


def check(schema: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", schema, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_example_passes_the_schema_of_its_service(name: str) -> None:
    done = check(SCHEMAS[name], FOLDER / name)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("name", "key"), [("github-actions.yml", "runs-on"), ("gitlab-ci.yml", "resource_group")])
def test_a_misspelt_key_would_fail(name: str, key: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(
        (FOLDER / name).read_text().replace(f"{key}:", "resource-groop: [{}]\n  image:" if key == "resource_group" else f"{key}n:")
    )
    assert check(SCHEMAS[name], path).returncode != 0


def commands(node: Any) -> list[str]:
    """Return every shell line of an example."""
    if isinstance(node, dict):
        own = [node["run"]] if isinstance(node.get("run"), str) else [line for line in node.get("script", []) if isinstance(line, str)]
        return own + [line for value in node.values() for line in commands(value)]
    return [line for item in node for line in commands(item)] if isinstance(node, list) else []


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_example_submits_by_a_target_that_the_makefile_has(name: str) -> None:
    called = [line for line in commands(yaml.safe_load((FOLDER / name).read_text())) if "make " in line]
    assert [re.findall(r"make -C landtide (\w+) STUDY=", line) for line in called] == [["submit"]]
    makefile = (charts.REPOSITORY / "Makefile").read_text()
    assert re.search(r"^submit:", makefile, re.MULTILINE)


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_secret_is_written_into_an_example(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert not re.search(r"AKIA|BEGIN|eyJ", text)
    assert "KUBECONFIG" in text
