"""``python -m components STEP --INPUT VALUE ... --outputs FOLDER``: one component as a process, for clusters without Kubeflow.

Results go into files of the folder, each under its name: ``Output`` is what the component returns, lists are JSON.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from kfp import dsl

from landtide.core.errors import LandtideError
from landtide.launch import progress

ARTIFACTS = {"system.Metrics": dsl.Metrics, "system.ClassificationMetrics": dsl.ClassificationMetrics, "system.HTML": dsl.HTML}
"""KFP's name of an artifact's kind -> its class."""

LIST = "List[String]"
STATUS = "PipelineTaskFinalStatus"


def main(words: list[str]) -> int:
    """Run one component; return the exit status."""
    progress.print_log()
    name = words[0] if words else ""
    if not name.isidentifier() or not Path(__file__).with_name(f"{name}.py").exists():
        sys.stderr.write(f"error: {name!r} is no component: say one of this folder's, such as retrieve\n")
        return 2
    component = getattr(importlib.import_module(f"components.{name}"), name)
    parser = argparse.ArgumentParser(prog=f"python -m components {name}")
    parser.add_argument("--outputs", type=Path, required=True)
    inputs = component.component_spec.inputs or {}
    for key, spec in inputs.items():
        parser.add_argument(f"--{key}", required=not spec.optional)
    arguments = vars(parser.parse_args(words[1:]))
    folder = arguments.pop("outputs")
    folder.mkdir(parents=True, exist_ok=True)
    given = {key: _read(arguments[key], spec.type) for key, spec in inputs.items() if arguments[key] is not None}
    named = {key: _place(spec.type, folder / key) for key, spec in component.component_spec.outputs.items() if key != "Output"}
    try:
        result = component.python_func(**given, **named)
    except LandtideError as error:  # the step has logged it, and left error.json
        return error.exit_status
    (folder / "Output").write_text(result if isinstance(result, str) else json.dumps(result), "utf-8")
    return 0


def _read(text: str, kind: str) -> Any:
    """Return the value of an input. A list may come with its items parsed already: they are JSON themselves."""
    if kind == LIST:
        return [item if isinstance(item, str) else json.dumps(item) for item in json.loads(text)]
    if kind == STATUS:
        return dsl.PipelineTaskFinalStatus(text, "", "", None, None)
    return text


def _place(kind: str, path: Path) -> Any:
    """Return what a component writes a named output to: the path, or the artifact that lies there."""
    artifact = ARTIFACTS.get(kind.partition("@")[0])
    return artifact(name=path.name, uri=str(path)) if artifact else str(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
