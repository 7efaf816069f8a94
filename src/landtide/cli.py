"""The command line: ``landtide ...``."""

import itertools
import logging
import os
import secrets
import statistics
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

import landtide
from landtide.core.cron import six_fields
from landtide.core.errors import InputError, LandtideError
from landtide.core.study import Study, parse_study, settle
from landtide.core.units import format_bytes
from landtide.io import manifest, storage
from landtide.launch import doctor as checkup
from landtide.launch import driver, jobspec, manifests, processes, progress, site, submission

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keep land-cover maps fresh: from an old map and a Sentinel-2 series to one consistent map a year.",
    epilog="--debug, anywhere, shows the traceback of an error. Exit status: 0 done, 1 the work failed, 2 the input was wrong.",
)
console = Console(highlight=False, soft_wrap=True)

StudyFile = Annotated[str, typer.Argument(metavar="STUDY", help="study file (YAML): path or URI", show_default=False)]
Workspace = Annotated[str | None, typer.Option(help="folder or s3://BUCKET/PREFIX in place of the study's workspace")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="lay a value over the study: --set model.name=svm")]
Memory = Annotated[str | None, typer.Option(help="what a process may use, such as 4GiB, in place of compute.memory")]
Tiles = Annotated[list[str] | None, typer.Option("--tile", help="only this tile; may be repeated")]
Years = Annotated[list[int] | None, typer.Option("--year", help="only this year; may be repeated")]
Force = Annotated[bool, typer.Option("--force", help="do again what is done")]

TokenFile = Annotated[str | None, typer.Option(help="file with the token of Kubeflow Pipelines' API", envvar="LANDTIDE_KFP_TOKEN_FILE")]

STEPS = {
    "retrieve": ("retrieve", "old_map"),
    "composite": ("composite",),
    "extract": ("extract", "candidates", "stable"),
    "train": ("train",),
    "classify": ("classify",),
    "evaluate": ("evaluate",),
    "publish": ("publish",),
    "audit": ("audit",),
}
"""Each step of the command line, and the manifests that ``--force`` makes anew."""

BY_TILE = ("retrieve", "composite")
"""Steps that can be done for a part of the tiles and years; the steps after them need all."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status. An error is one line; ``--debug`` adds the traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        with processes.interruptible():
            status = app(args=[word for word in words if word != "--debug"], prog_name="landtide", standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        status = processes.INTERRUPTED
    except BrokenPipeError:
        return 1
    except Exception as error:  # the program's outermost edge: nobody else would turn it into one line
        if show := getattr(error, "show", None):  # wrong usage: typer brings its own copy of click's errors, and keeps it private
            show()
            return InputError.exit_status
        if debug:
            traceback.print_exc()
        return _explain(error, debug=debug)
    if status == processes.INTERRUPTED:
        _say("stopped; what is done stays done, and the same command goes on from there")
    return int(status)


def _explain(error: Exception, *, debug: bool) -> int:
    """Print an error as one line; return the exit status."""
    line = " ".join(str(error).split())
    if not isinstance(error, LandtideError):
        _say(f"unexpected {type(error).__name__}: {line} (--debug shows where)")
        return 1
    if debug and isinstance(error, driver.StepFailedError):
        sys.stderr.write(_tracebacks(error.log_uri))
    _say(line)
    if isinstance(error, driver.StepFailedError):
        _say(f"log: {error.log_uri}")
    return error.exit_status


def _tracebacks(log_uri: str) -> str:
    """Return a run's log from its first traceback on: that of the step, then KFP's."""
    log = storage.read_bytes(log_uri).decode(errors="replace") if storage.exists(log_uri) else ""
    return log[log.find("Traceback (most recent call last)") :].rstrip() + "\n" if "Traceback" in log else ""


def _say(line: str) -> None:
    sys.stderr.write(f"landtide: {line}\n")


@app.callback(invoke_without_command=True)
def options(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    """Keep land-cover maps fresh: from an old map and a Sentinel-2 series to one consistent map a year."""
    if version:
        console.print(f"landtide {landtide.__version__}")
    elif context.invoked_subcommand is None:
        console.print(context.get_help())


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="folder to write study.yaml into")]) -> None:
    """Write a commented study file to start from."""
    path = folder / "study.yaml"
    if path.exists():
        raise InputError(f"{path} is there already: remove it, or choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text((Path(__file__).parent / "core" / "resources" / "study.yaml").read_text())
    console.print(f"Wrote {path}: fill in area, years and old_map, then `landtide run {path}`")


@app.command()
def plan(study_file: StudyFile, workspace: Workspace = None, settings: Settings = None, memory: Memory = None) -> None:
    """Say what a study needs before it runs: images and GB a tile and year, hours, memory, disk."""
    study = read_study(study_file, workspace, _with_memory(settings, memory))
    made = _steps(study).plan(study)
    for warning in made.checked.warnings:
        console.print(f"[yellow]note[/yellow] {warning}")
    table, sizes = Table(title="Images and size, a tile and year"), made.checked.table
    for number, column in enumerate(sizes.columns):
        table.add_column(column, justify="right" if number else "left")
    for row in sizes.rows:
        table.add_row(*row)
    console.print(table)
    hours, compute = sum(made.seconds.values()) / 3600, study.compute
    assert made.rate is not None
    untold = sum(one.assets_without_size for one in made.checked.planned)
    if untold:
        console.print(f"[yellow]note[/yellow] {untold} assets do not tell their size: the GB are a lower bound")
    aside = Counter(reason for one in made.checked.planned for _, reason in one.set_aside if "cloud cover" not in reason)
    cloudy = sum("cloud cover" in reason for one in made.checked.planned for _, reason in one.set_aside)
    console.print(
        f"Left out      {cloudy} images above source.max_cloud {study.source.max_cloud:g} %, {sum(aside.values())} for other reasons"
    )
    threads, cores = compute.workers * compute.threads, hours * made.rate.cpu
    console.print(
        f"Compositing   {hours:.2g} h on this machine with {threads} threads, {cores:.2g} core-hours (measured just now; "
        f"the median tile and year takes {statistics.median(made.seconds.values()) / 60:.2g} min)"
    )
    console.print(f"Peak memory   {format_bytes(made.peak)} of {format_bytes(compute.memory)} that a process may use, while compositing")
    console.print(f"Workspace     {format_bytes(made.cubes)} of composites before packing; remote images are cached beside them")


@app.command()
def run(
    study_file: StudyFile, workspace: Workspace = None, settings: Settings = None, memory: Memory = None, force: Force = False
) -> int | None:
    """Make the maps: the whole pipeline, where the study's `runner` says."""
    study = read_study(study_file, workspace, _with_memory(settings, memory))
    if study.runner == "kubernetes":
        return submit(study_file, workspace, settings, memory, force)
    checked = _check(study)
    study_uri = driver.new_run(study, _options(force), _steps(study).forecast(study, checked).record)
    with progress.Display(console) as display:
        published = driver.execute(study, study_uri, display.show)
    _tell_result(published, _view_command(study_file, workspace, settings))
    return None


def _check(study: Study) -> Any:
    """Look at everything that can be wrong, print what is worth a note, and return what was found."""
    checked = _steps(study).check(study)
    for warning in checked.warnings:
        console.print(f"[yellow]note[/yellow] {warning}")
    return checked


def _options(force: bool) -> driver.Options:
    return driver.Options(force=tuple(itertools.chain(*STEPS.values())) if force else ())


@app.command()
def submit(
    study_file: StudyFile,
    workspace: Workspace = None,
    settings: Settings = None,
    memory: Memory = None,
    force: Force = False,
    follow: Annotated[bool, typer.Option("--follow", help="where a run of the same study is under way, wait for that one")] = False,
    again: Annotated[bool, typer.Option("--again", help="start another beside it")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="follow the run to its end")] = True,
    token_file: TokenFile = None,
) -> int:
    """Have Kubeflow Pipelines make the maps, and follow the run; the exit status is the run's."""
    study, order = _order(study_file, workspace, _with_memory(settings, memory), force)
    second = "again" if again else "follow" if follow else "refuse"
    words = ["submit", order, "--second", second, *([] if wait else ["--no-wait"])]
    with progress.Display(console) as display:
        answer = submission.ask(study, words, display.show, token_file=token_file)
    console.print(f"Run {answer['id']}  {answer['url']}")
    if not wait:
        return 0
    if answer["state"] == "SUCCEEDED":
        _tell_result(driver.published(study), _view_command(study_file, workspace, settings))
        return 0
    line, status = submission.failure_of(study, answer["id"]) or (answer["message"] or f"the run ended as {answer['state']}", 1)
    _say(line)
    return status


@app.command()
def schedule(
    study_file: StudyFile,
    cron: Annotated[str, typer.Option(help="when: minute, hour, day of month, month, day of week, such as '0 3 1 * *'")],
    workspace: Workspace = None,
    settings: Settings = None,
    memory: Memory = None,
    token_file: TokenFile = None,
) -> None:
    """Leave a recurring run behind, one a study: scheduling again takes its place. Missed times are not made up for."""
    fields = six_fields(cron)
    study, order = _order(study_file, workspace, _with_memory(settings, memory), force=False)
    if isinstance(study.years, list):
        console.print(
            "[yellow]note[/yellow] years is a list: runs after the first find their maps made; `years: {from: 2018}` follows the calendar"
        )
    answer = submission.ask(study, ["schedule", order, "--cron", fields], lambda event: None, token_file=token_file)
    replaced = ", in place of the one before" if answer["replaced"] else ""
    console.print(f"Recurring run {answer['name']} ({answer['id']}) at {fields!r}, in Kubeflow's time zone{replaced}")


@app.command()
def unschedule(study_file: StudyFile, workspace: Workspace = None, settings: Settings = None, token_file: TokenFile = None) -> None:
    """Delete the recurring run of a study; runs that are under way go on."""
    study, order = _order(study_file, workspace, settings, force=False, check=False)
    answer = submission.ask(study, ["unschedule", order], lambda event: None, token_file=token_file)
    console.print(f"Deleted {answer['deleted']} recurring run{'s' if answer['deleted'] != 1 else ''} {answer['name']}")


@app.command()
def runs(study_file: StudyFile, workspace: Workspace = None, settings: Settings = None, token_file: TokenFile = None) -> None:
    """List the recurring runs and the latest runs on Kubeflow Pipelines."""
    study, order = _order(study_file, workspace, settings, force=False, check=False)
    answer = submission.ask(study, ["runs", order], lambda event: None, token_file=token_file)
    for name, columns in {"recurring": ("name", "cron", "status", "id"), "runs": ("name", "state", "created", "ended", "id")}.items():
        table = Table(*columns, title={"recurring": "Recurring runs", "runs": "Runs"}[name])
        for row in answer[name]:
            table.add_row(*(str(row[column]) for column in columns))
        console.print(table)


@app.command()
def job(study_file: StudyFile, workspace: Workspace = None, settings: Settings = None) -> None:
    """Print the Kubernetes objects of the study's final training, as `train.backend` makes them; nothing is started."""
    study = read_study(study_file, workspace, settings)
    spec_uri = storage.join(study.workspace, study.name, "spec.json")
    made = jobspec.training_job(study, stage="final", run_id="preview", digest="", spec_uri=spec_uri, grouped=study.model.two_stage)
    console.print(yaml.safe_dump_all(manifests.render(made), sort_keys=False), markup=False, end="")


@app.command()
def argo(
    study_file: StudyFile,
    workspace: Workspace = None,
    settings: Settings = None,
    memory: Memory = None,
    cron: Annotated[str | None, typer.Option(help="when, as for `schedule`; adds a CronWorkflow")] = None,
) -> None:
    """Print the study's pipeline as objects of Argo Workflows, for clusters without Kubeflow: pipe it into `kubectl apply -f -`."""
    if cron is not None and six_fields(cron) != f"0 {' '.join(cron.split())}":
        raise InputError(f"cron {cron!r}: Argo takes five fields, without seconds")
    _, order = _order(study_file, workspace, _with_memory(settings, memory), force=False)
    sys.stdout.write(submission.argo(order, cron))


def _order(file: str, workspace: str | None, settings: list[str] | None, force: bool, *, check: bool = True) -> tuple[Study, str]:
    """Read a study for a run elsewhere, check it, and write what the run starts from; return the study and the URI."""
    study = read_study(file, workspace, settings, open_years=True)
    submission.check_reachable(study)
    if check:
        _check(settle(study, date.today()))
    return study, driver.new_order(study, _options(force))


def _tell_result(published: str, view: str) -> None:
    """Say where the results are, and what they are worth."""
    headline = storage.read_json(storage.join(published, "report.json"))["headline"]
    console.print()
    if headline["kind"] == "accuracy" and headline["old"] is not None:
        console.print(f"Overall accuracy {headline['year']}: old map {headline['old']:.3f} -> new map [bold]{headline['new']:.3f}[/bold]")
    console.print(headline["sentence"])
    console.print(f"Maps     {storage.join(published, 'maps')}")
    console.print(f"Report   {storage.join(published, 'report.html')}")
    console.print(f"Web map  {storage.join(published, 'index.html')}  (open it with `{view}`)")


def _view_command(study_file: str, workspace: str | None, settings: list[str] | None) -> str:
    words = ["landtide view", study_file, *(["--workspace", workspace] if workspace else [])]
    return " ".join([*words, *(f"--set {setting}" for setting in settings or [])])


def read_study(file: str, workspace: str | None = None, settings: list[str] | None = None, *, open_years: bool = False) -> Study:
    """Read a study file; ``years: {from: ...}`` may stay open. Raises InputError where it is missing or wrong."""
    overrides = dict(_setting(text) for text in settings or [])
    if workspace is not None:
        overrides["workspace"] = workspace if "://" in workspace else str(Path(workspace).absolute())
    uri = file if "://" in file else str(Path(file).absolute())
    try:
        text = storage.read_text(uri)
    except FileNotFoundError as error:
        raise InputError(f"study file {file} does not exist; `landtide init FOLDER` writes one to start from") from error
    except IsADirectoryError as error:
        raise InputError(f"study file {file} is a folder: name the YAML file in it") from error
    return parse_study(text, storage.parent(uri), None if open_years else date.today(), overrides)


def _with_memory(settings: list[str] | None, memory: str | None) -> list[str]:
    return [*(settings or []), *([f"compute.memory={memory}"] if memory else [])]


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise InputError(f"--set {text!r} is not KEY=VALUE, such as model.name=svm")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--set {text!r}: the value is no YAML") from error


def _steps(study: Study) -> Any:
    """Return the module of the steps, loaded once the number of threads is settled: libraries read it when they are loaded."""
    os.environ.update(driver.thread_variables(study))
    from landtide import steps

    return steps


def _step_command(name: str, summary: str) -> None:
    """Add a step to the command line by its own name."""

    def command(
        study_file: StudyFile,
        workspace: Workspace = None,
        settings: Settings = None,
        memory: Memory = None,
        tile: Tiles = None,
        year: Years = None,
        force: Force = False,
    ) -> None:
        if (tile or year) and name not in BY_TILE:
            raise InputError(f"{name} takes no --tile or --year: it works on all tiles and years together")
        options = driver.Options(STEPS[name] if force else (), tuple(tile) if tile else None, tuple(year) if year else None)
        study = read_study(study_file, workspace, _with_memory(settings, memory))
        if name == "audit" and study.old_map is None:
            raise InputError("audit looks for mistakes of an old map, and the study has none: give `old_map`")
        _run_step(name, study, options)

    app.command(name, help=f"{summary}\n\nWhat it needs is done first; what is done already costs a look.", short_help=summary)(command)


for _name, _summary in {
    "retrieve": "Find, check and cache the acquisitions; warp the old map.",
    "composite": "Make the regular, cloud-free series of each tile and year.",
    "extract": "Draw training samples from the old map.",
    "train": "Train the classifier of the maps.",
    "classify": "Make the maps.",
    "evaluate": "Score the maps and the old map.",
    "publish": "Publish maps, report and web map.",
    "audit": "Rank the old map's polygons by how surely they are wrong, for review.",
}.items():
    _step_command(_name, _summary)


def _run_step(name: str, study: Study, options: driver.Options) -> None:
    """Do the steps up to one in this process."""
    with _here(study, options) as (steps, study_uri):
        for done, _ in _line(steps, study_uri, two_stage=study.model.two_stage):
            if done == name:
                break


@contextmanager
def _here(study: Study, options: driver.Options) -> Iterator[tuple[Any, str]]:
    """Check a study, and lend the module of the steps and the URI of a new run, whose steps are done in this process."""
    steps = _steps(study)
    planned = steps.forecast(study, steps.check(study)).record
    logging.getLogger("landtide.runs").setLevel(logging.CRITICAL)  # `main` prints the error of a step
    study_uri, mark = driver.new_run(study, options, planned), secrets.token_hex(8)
    os.environ[processes.MARK] = mark
    with progress.Display(console) as display:
        events = progress.EventHandler(display)
        logging.getLogger(progress.LOGGER).addHandler(events)
        try:
            yield steps, study_uri
        finally:
            logging.getLogger(progress.LOGGER).removeHandler(events)
            with processes.undisturbed():
                processes.stop(mark)


def _line(steps: Any, study_uri: str, *, two_stage: bool) -> Iterator[tuple[str, Any]]:
    """Do one step after the other, and yield the name of each when it is done, with what it made."""
    retrieved = [steps.retrieve(study_uri, shard) for shard in steps.plan_shards(study_uri)]
    yield "retrieve", retrieved
    cubes = [steps.composite(study_uri, shard) for shard in retrieved]
    yield "composite", cubes
    samples = steps.extract(study_uri, retrieved, cubes)
    stages = {}
    if two_stage:
        stages["preliminary"] = steps.train(study_uri, "preliminary", samples)
        labels = steps.classify_candidates(study_uri, stages["preliminary"], samples, cubes)
        stages["stable"] = steps.extract_stable(study_uri, labels, samples, cubes)
    yield "extract", stages.get("stable", samples)
    model = steps.train(study_uri, "final", stages.get("stable", samples))
    yield "train", model
    maps = [steps.classify(study_uri, model, shard) for shard in cubes]
    yield "classify", maps
    evaluation = steps.evaluate(study_uri, retrieved, maps, samples)
    yield "evaluate", evaluation
    yield "publish", steps.publish(study_uri, retrieved, cubes, samples, model, maps, evaluation.uri, **stages)
    yield "audit", steps.audit(study_uri, retrieved, cubes, samples, maps)


@app.command()
def pretrain(
    study_file: StudyFile, workspace: Workspace = None, settings: Settings = None, memory: Memory = None, force: Force = False
) -> None:
    """Let the study's network learn from series without labels; its training then starts from there."""
    study = read_study(study_file, workspace, _with_memory(settings, memory))
    if not study.model.two_stage:
        raise InputError(f"pretrain: model {study.model.name!r} is no network, and starts from nothing")
    with _here(study, driver.Options(("pretrain", "unlabelled") if force else ())) as (steps, study_uri):
        from landtide import learning

        cubes = next(made for name, made in _line(steps, study_uri, two_stage=True) if name == "composite")
        item_uri = learning.pretrain(study_uri, learning.draw_unlabelled(study_uri, cubes))
    console.print(f"Weights  {item_uri}")
    console.print("Train from them with this in the study:")
    console.print(yaml.safe_dump({"train": {"pretrained": item_uri}}).rstrip(), markup=False)


@app.command()
def tune(
    study_file: StudyFile,
    workspace: Workspace = None,
    settings: Settings = None,
    memory: Memory = None,
    trials: Annotated[int | None, typer.Option(help="in place of tune.trials")] = None,
    parallel: Annotated[int | None, typer.Option(help="trials at a time, in place of tune.parallel")] = None,
    force: Force = False,
) -> None:
    """Search for the settings of the model that learn best from the study's samples; an interrupted search goes on where it stopped."""
    more = [f"tune.{key}={value}" for key, value in {"trials": trials, "parallel": parallel}.items() if value is not None]
    study = read_study(study_file, workspace, _with_memory([*(settings or []), *more], memory))
    if not study.model.two_stage:
        raise InputError(f"tune: model {study.model.name!r} has nothing to search: the SVM tunes itself as it trains")
    with _here(study, driver.Options(("tune",) if force else ())) as (steps, study_uri):
        from landtide import learning

        samples = next(made for name, made in _line(steps, study_uri, two_stage=True) if name == "extract")
        meeting = learning.tune(study_uri, samples, [str(number) for number in range(study.tune.parallel)])
        item_uri, _ = learning.tune_report(study_uri, samples, [meeting])
    assets = manifest.read(item_uri).assets
    console.print(f"Best settings  {assets['settings'].href}  (put them into the study under `model`)")
    console.print(storage.read_text(assets["settings"].href).rstrip(), markup=False)
    console.print(f"Report         {assets['report'].href}")


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="folder for the world, and for a study file that maps it")],
    size: Annotated[int, typer.Option(help="side in pixels of 10 m")] = 256,
    years: Annotated[str, typer.Option(metavar="FIRST-LAST", help="years with images")] = "2018-2020",
    seed: Annotated[int, typer.Option(help="another seed, another world")] = 7,
    catalog_only: Annotated[bool, typer.Option("--catalog-only", help="only list images, at full size, for `landtide plan`")] = False,
    tiles: Annotated[str | None, typer.Option(help="MGRS tiles to list, separated by commas; ten Dutch ones by default")] = None,
) -> None:
    """Make a small synthetic world with known truth: images, an old map with errors, reference points."""
    from landtide.simulate import TILES, list_catalog, make_world

    first, _, last = years.partition("-")
    if not (first.isdigit() and (last or first).isdigit() and int(first) <= int(last or first)):
        raise InputError(f"--years {years!r} is neither a year nor FIRST-LAST, such as 2018-2020")
    span = tuple(range(int(first), int(last or first) + 1))
    if catalog_only:
        names = tuple(tiles.split(",")) if tiles else TILES
        count = list_catalog(folder, names, span, seed)
        console.print(f"Catalog of {count} images of {len(names)} tiles in {folder}, without pixels: `landtide plan {folder}/study.yaml`")
        return
    if tiles:
        raise InputError("--tiles only goes with --catalog-only: a synthetic world has one tile of its own")
    made = make_world(folder, size=size, years=span, seed=seed)
    console.print(f"Synthetic world in {folder}: {made.items} images, an old map that is right on {made.old_map_accuracy:.1%} of the area")
    console.print(f"Map it with `landtide run {made.study}`")


@app.command()
def view(
    target: Annotated[str, typer.Argument(metavar="STUDY|FOLDER", help="study file, or a published folder", show_default=False)],
    workspace: Workspace = None,
    settings: Settings = None,
    port: Annotated[int, typer.Option(help="port on this machine; 0 takes a free one")] = 8765,
    save: Annotated[Path | None, typer.Option(help="copy the site into this folder instead of serving it")] = None,
    host: Annotated[
        str, typer.Option(help="address to listen on; any but loopback's serves other machines, before anything is published too")
    ] = site.HOST,
) -> None:
    """Open the web map of a study: serve its published folder to browsers on this machine."""
    published = _published(target, workspace, settings)
    if (save is not None or host == site.HOST) and not storage.exists(storage.join(published, "index.html")):
        raise InputError(f"nothing is published at {published}: `landtide run` first")
    if save is not None:
        site.save(published, save)
        console.print(f"Saved {save / 'index.html'}")
        return
    with site.server(published, port, host) as server:
        console.print(f"Web map of {published}: http://{host}:{server.server_port}/  (Ctrl-C ends it)")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def _published(target: str, workspace: str | None, settings: list[str] | None) -> str:
    if not target.endswith((".yaml", ".yml")):
        return target if "://" in target else str(Path(target).absolute())
    study = read_study(target, workspace, settings)
    return storage.join(study.workspace, study.name, "published")


@app.command()
def doctor() -> int:
    """Say what is missing on this machine for running studies on it, and how to get it."""
    findings = checkup.examine()
    for finding in findings:
        mark = "[green]ok[/green]     " if finding.ok else "[red]missing[/red]" if finding.needed else "[yellow]absent[/yellow] "
        console.print(f"{mark} {finding.name:<22} {finding.found}")
        if not finding.ok:
            console.print(f"        {'':<22} {finding.advice}", markup=False)
    return 1 if any(finding.needed and not finding.ok for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
