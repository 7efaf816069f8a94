"""Commands that talk to Kubeflow Pipelines: what the command line's ``submit``, ``schedule``, ``unschedule`` and ``runs`` start.

Progress goes to stdout, an event a line; the answer goes to a file, an error's line too.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from kfp.dsl.graph_component import GraphComponent

from components.placement import Placement
from landtide.core.errors import LandtideError
from landtide.core.study import Study
from landtide.launch import driver, processes
from landtide.launch.progress import Event
from pipelines.service import Service

Compile = Callable[[Study], tuple[GraphComponent, str]]


def add_commands(commands: Any) -> None:
    """Add the commands to the parser of the command line."""
    for name, help_text in {
        "submit": "start a run of an order, and follow it to its end",
        "schedule": "keep one recurring run of an order",
        "unschedule": "delete the recurring run of an order",
        "runs": "list runs",
    }.items():
        command = commands.add_parser(name, help=help_text)
        command.add_argument("order", help="URI of the order, or of a run's study")
        command.add_argument("--url", required=True, help="of Kubeflow Pipelines' API")
        command.add_argument("--token-file", type=Path, help="file with the API's token")
        command.add_argument("--answer", type=Path, required=True, help="file for the answer, in JSON")
        if name == "submit":
            command.add_argument("--no-wait", action="store_true", help="come back as soon as the run has started")
            command.add_argument("--second", choices=["refuse", "follow", "again"], default="refuse", help="where one is under way")
            command.add_argument("--poll", type=float, default=5.0, help="seconds between looks at the run")
        if name == "schedule":
            command.add_argument("--cron", required=True, help="six fields, seconds first")


def run(arguments: argparse.Namespace, compile_for: Compile) -> int:
    """Do a command; return the exit status. Errors go into the answer as one line."""
    processes.end_with_parent()
    try:
        answer = _answer(arguments, compile_for)
    except LandtideError as error:
        _write(arguments.answer, {"message": " ".join(str(error).split())})
        return error.exit_status
    _write(arguments.answer, answer)
    return 0


def _answer(arguments: argparse.Namespace, compile_for: Compile) -> dict[str, Any]:
    study = driver.read_run(arguments.order)
    token = arguments.token_file.read_text().strip() if arguments.token_file else None
    service = Service(arguments.url, token, study.kubernetes.namespace, _tell)
    match arguments.command:
        case "submit":
            return _submit(arguments, service, study, compile_for)
        case "schedule":
            _, package = compile_for(study)
            account = study.kubernetes.service_account
            made, replaced = service.schedule(package, arguments.order, _name(study), account, arguments.cron)
            return {"id": made, "name": _name(study), "replaced": replaced}
        case "unschedule":
            return {"name": _name(study), "deleted": service.unschedule(_name(study))}
    return {"runs": [_row(run) for run in service.runs()], "recurring": [_recurring_row(one) for one in service.recurring()]}


def _submit(arguments: argparse.Namespace, service: Service, study: Study, compile_for: Compile) -> dict[str, Any]:
    pipeline, package = compile_for(study)
    name = f"{study.name} {datetime.now():%Y-%m-%d %H:%M:%S}"
    run_id = service.submit(package, arguments.order, name, study.kubernetes.service_account, arguments.second)
    answer = {"id": run_id, "url": service.link(run_id), "state": "PENDING", "message": ""}
    _write(arguments.answer, answer)  # whoever interrupts the waiting still learns which run it was
    if arguments.no_wait:
        return answer
    state, message = service.follow(run_id, steps_of(pipeline), arguments.poll)
    return {**answer, "state": state, "message": message}


def steps_of(pipeline: GraphComponent) -> set[str]:
    """Return the names of a pipeline's tasks that are pods: loops and the exit handler are none."""
    spec = pipeline.pipeline_spec
    dags = [spec.root.dag, *(component.dag for component in spec.components.values())]
    return {name for dag in dags for name, task in dag.tasks.items() if not spec.components[task.component_ref.name].HasField("dag")}


def compiler(choose: Callable[[Study], GraphComponent], compiled: Callable[[GraphComponent, Placement], str]) -> Compile:
    """Return the function that compiles a study's pipeline with what its tasks get."""

    def compile_for(study: Study) -> tuple[GraphComponent, str]:
        pipeline = choose(study)
        return pipeline, compiled(pipeline, Placement.of(study))

    return compile_for


def _name(study: Study) -> str:
    """Return the name of a study's recurring run."""
    return f"landtide-{study.name}"


def _row(run: Any) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "name": run.display_name,
        "state": run.state,
        "created": _time(run.created_at),
        "ended": _time(run.finished_at),
    }


def _recurring_row(one: Any) -> dict[str, Any]:
    cron = one.trigger.cron_schedule.cron if one.trigger and one.trigger.cron_schedule else ""
    return {"id": one.recurring_run_id, "name": one.display_name, "cron": cron, "status": one.status}


def _time(moment: datetime | None) -> str:
    return moment.isoformat(sep=" ", timespec="seconds") if moment and moment.year > 1970 else ""


def _tell(event: Event) -> None:
    sys.stdout.write(json.dumps(asdict(event)) + "\n")
    sys.stdout.flush()


def _write(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record), "utf-8")
