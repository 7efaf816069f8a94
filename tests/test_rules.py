"""Rules that no linter knows: who may read the environment, and who may set logging up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import landtide

SOURCE = Path(landtide.__file__).parent
ALLOWED = ("cli.py", "launch/", "train/__main__.py")
FILES = [path for path in sorted(SOURCE.rglob("*.py")) if not str(path.relative_to(SOURCE)).startswith(ALLOWED)]
SET_UP = {"basicConfig", "dictConfig", "fileConfig", "addHandler", "setLevel"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_the_edges_read_the_environment_and_set_logging_up(path: Path) -> None:
    attributes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    assert not [node.lineno for node in attributes if node.attr in ("environ", "getenv", "putenv")]
    assert not [node.lineno for node in attributes if node.attr in SET_UP]


def test_the_rule_reads_files() -> None:
    assert len(FILES) > 30


def test_the_steps_load_without_what_only_some_images_have() -> None:
    absent = {"torch", "torchx", "kfp", "kubernetes", "dask_kubernetes", "dask_jobqueue", "moto"}
    program = f"import sys, landtide.steps, landtide.cli; print(*{absent} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
