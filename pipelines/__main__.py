"""``python -m pipelines update {compile | local | submit | schedule ...}``: compile the pipelines, run one here or on Kubeflow."""

import argparse
import io
import json
import re
import sys
import tempfile
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import yaml
from kfp import compiler, dsl, local
from kfp.dsl.graph_component import GraphComponent

from components.placement import Placement, placing
from landtide import cli
from landtide.core.study import Study
from landtide.launch import driver, processes, progress
from pipelines import argo, remote
from pipelines.pretrain import pretrain
from pipelines.tune import tune
from pipelines.update import update, update_single

COMPILED = Path(__file__).parent / "compiled"
PIPELINES = {"update": update, "update-single": update_single, "tune": tune, "pretrain": pretrain}
COMMANDS = {"update": "run", "tune": "tune", "pretrain": "pretrain"}
"""What the command line calls each pipeline on this machine."""


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description="Compile landtide's pipelines, or run one on this machine.")
    parser.add_argument("pipeline", choices=list(COMMANDS))
    commands = parser.add_subparsers(dest="command", required=True)
    to_compile = commands.add_parser("compile", help="write pipelines/compiled/*.yaml")
    to_compile.add_argument("--check", action="store_true", help="write nothing, say which file differs from its source")
    commands.add_parser("local", help="run a study on this machine: the same as `landtide run`, `landtide tune`", add_help=False)
    to_execute = commands.add_parser("execute", help="run a resolved study in this process; what `local` starts")
    to_execute.add_argument("study", help="URI of the resolved study")
    to_execute.add_argument("--folder", type=Path, required=True, help="local folder for KFP's log and artifacts")
    to_argo = commands.add_parser("argo", help="print the pipeline of an order as objects of Argo Workflows, for `kubectl apply`")
    to_argo.add_argument("order", help="URI of the order")
    to_argo.add_argument("--cron", help="five fields; adds a CronWorkflow")
    remote.add_commands(commands)
    arguments, rest = parser.parse_known_args()
    match arguments.command:
        case "local":
            return cli.main([COMMANDS[arguments.pipeline], *rest])
        case "compile":
            return compile_all(check=arguments.check)
        case "argo":
            return print_argo(arguments.order, arguments.cron)
        case "execute":
            return execute(arguments.study, arguments.folder, arguments.pipeline)
        case _:
            return remote.run(arguments, remote.compiler(partial(pipeline_of, name=arguments.pipeline), compiled))


def print_argo(order: str, cron: str | None) -> int:
    """Print the pipeline as objects of Argo Workflows; return the exit status."""
    study = driver.read_run(order)
    made = [argo.workflow_template(compiled(pipeline_of(study), Placement.of(study)), study, order)]
    made += [argo.cron_workflow(study, order, cron)] if cron else []
    yaml.safe_dump_all(made, sys.stdout, sort_keys=False)
    return 0


def pipeline_of(study: Study, name: str = "update") -> GraphComponent:
    """Return the pipeline of a name as a study needs it: maps are made in one stage or in two."""
    return PIPELINES["update-single" if name == "update" and not study.model.two_stage else name]


def compile_all(*, check: bool) -> int:
    """Write the compiled pipelines, or only say which stored one differs; return the exit status."""
    status = 0
    for name, pipeline in PIPELINES.items():
        path = COMPILED / f"{name}.yaml"
        text = compiled(pipeline)
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or not same_pipeline(path.read_text(), text):
            sys.stderr.write(f"{path} differs from its source: run `make compile`\n")
            status = 1
    return status


def compiled(pipeline: GraphComponent, placement: Placement | None = None) -> str:
    """Return a pipeline in the form that Kubeflow Pipelines reads, with what its tasks get on a cluster."""
    with tempfile.TemporaryDirectory() as folder, placing(placement or Placement()):
        path = Path(folder, "pipeline.yaml")
        placed = dsl.pipeline(name=pipeline.name, description=pipeline.description)(pipeline.pipeline_func)
        compiler.Compiler().compile(placed, str(path))
        return path.read_text()


def same_pipeline(one: str, other: str) -> bool:
    """Whether two compiled forms say the same.

    The compiler's version does not count, which changes with every patch release, nor does how YAML writes long strings, which any
    imported library may set for the whole process (hera does).
    """
    return _parsed(one) == _parsed(other)


def _parsed(text: str) -> list[Any]:
    return list(yaml.safe_load_all(re.sub(r"^sdkVersion: .*$", "sdkVersion:", text, flags=re.MULTILINE)))


def execute(study_uri: str, folder: Path, name: str = "update") -> int:
    """Run the pipeline of a resolved study in this process: events to stdout, all else into the log; return the exit status."""
    processes.end_with_parent()
    pipeline = _for_one_machine(pipeline_of(driver.read_run(study_uri), name))
    warnings.filterwarnings("ignore", message=".*non-Python base image.*")  # our images have Python; kfp looks at the name alone
    with (folder / driver.LOG).open("w") as log, redirect_stdout(_Log(log, sys.stdout)) as stream, redirect_stderr(stream):
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "kfp"), enable_caching=False)
        try:
            pipeline(study=study_uri)
        except RuntimeError:  # all that kfp tells of a failed task; the step itself has left error.json
            traceback.print_exc(file=log)
            return 1
    return 0


def _for_one_machine(pipeline: GraphComponent) -> GraphComponent:
    """Let loops do one shard after the other, whose own workers fill the machine; and try nothing again: a person waits and can do so."""
    spec = pipeline.component_spec.implementation.graph
    for dag in [spec.root.dag, *(component.dag for component in spec.components.values())]:
        for task in dag.tasks.values():
            task.ClearField("retry_policy")
            if task.HasField("parameter_iterator"):
                task.iterator_policy.parallelism_limit = 1
    return pipeline


class _Log(io.TextIOBase):
    """A text stream that goes to a file, and whose events go on to a console."""

    def __init__(self, file: TextIO, console: TextIO) -> None:
        self.file = file
        self.console = console
        self.line = ""

    def write(self, text: str) -> int:
        self.file.write(text)
        *lines, self.line = (self.line + text).split("\n")
        if lines:
            self.file.flush()
        for event in filter(None, map(progress.parse, lines)):
            self.console.write(json.dumps(asdict(event)) + "\n")
            self.console.flush()
        return len(text)

    def flush(self) -> None:
        self.file.flush()


if __name__ == "__main__":
    sys.exit(main())
