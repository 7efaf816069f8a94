"""Steps that make better models rather than maps: learning without labels, and the search for settings.

They are steps as those of `landtide.steps` are: URIs and scalars in, a manifest found or made, a small record out.
"""

import dataclasses
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from landtide import steps
from landtide.core.errors import InputError
from landtide.io import manifest, storage
from landtide.launch import remote
from landtide.runs import Report, Run, by_tile_and_year, cube_uris, produce, step_of


@step_of("draw unlabelled")
def draw_unlabelled(run: Run, report: Report, cubes: list[str]) -> str:
    """Draw series without labels from all tiles and years; return the URI of their manifest."""
    from landtide.extract import unlabelled

    study, items = run.study, by_tile_and_year(cubes)
    settings = {"places": study.pretrain.places, "seed": study.seed}
    key = run.key("unlabelled", "all", run.span_name, settings, [manifest.source_of(item) for item in items.values()])

    def make(out: manifest.Writing) -> None:
        unlabelled.draw_unlabelled(cube_uris(items), study.pretrain.places, study.seed, out)

    item = produce(run, report, key, make, run.span, None, list(items.values()))
    report.count(series=item.properties.get("landtide:samples", 0))
    return str(item.get_self_href())


@step_of("pretrain")
def pretrain(run: Run, report: Report, samples: str) -> str:
    """Pre-train the study's network on series without labels; return the manifest of its weights, for ``train.pretrained``."""
    from landtide.train.output import TRAINING
    from landtide.train.spec import Pretrain

    study, drawn = run.study, manifest.read(samples)
    wanted = study.pretrain.model_dump(exclude={"places"})
    settings = {"model": study.model.name, "settings": study.model.settings, "pretrain": wanted, "seed": study.seed}
    key = run.key("pretrain", "all", run.span_name, {**settings, "threads": study.compute.threads}, [manifest.source_of(drawn)])

    def make(out: manifest.Writing) -> None:
        folder = str(out.scratch / "weights")
        spec = steps.training_spec(run, study.model.name, study.model.settings, (drawn.assets["samples"].href,), folder)
        made = remote.train(dataclasses.replace(spec, pretrain=Pretrain(**wanted)), study, run.folder, "pretrain")
        for path in sorted(Path(made).iterdir()):
            out.upload(path, path.name)
        out.add_asset(
            "pretrained", TRAINING, media_type="application/json", roles=["metadata"], title="Settings; the weights lie beside it"
        )

    item = produce(run, report, key, make, run.span, None, [drawn])
    report.note = f"{study.model.name}, {study.pretrain.method}"
    return str(item.get_self_href())


@step_of("tune groups")
def tune_groups(run: Run, report: Report, samples: str) -> list[str]:
    """Return the orders of the search, one a process that does trials, as JSON: ``study_uri``, ``samples``, ``groups``."""
    _space(run)
    parallel = run.study.tune.parallel
    report.count(processes=parallel)
    return [json.dumps({"study_uri": run.uri, "samples": samples, "groups": [str(number)]}) for number in range(parallel)]


@step_of("tune")
def tune(run: Run, report: Report, samples: str, groups: list[str]) -> str:
    """Do trials until all are done, in one process a group; return the storage where the trials of all groups meet."""
    from landtide.train.spec import Search

    study, key = run.study, _key(run, samples)
    meeting = study.tune.storage or storage.join(key.uri, "journal")
    if manifest.find(key) is not None and key.step not in run.force:
        report.found += 1
        return meeting
    settings = study.tune
    quota = -(-settings.trials // settings.parallel) if len(groups) < settings.parallel else None
    search = Search(meeting, settings.trials, settings.method, settings.first, settings.reduction, settings.budget, _space(run), "", quota)
    drawn = manifest.read(samples)
    with TemporaryDirectory(prefix="landtide-tune-") as scratch:
        spec = steps.training_spec(run, study.model.name, study.model.settings, (drawn.assets["samples"].href,), str(Path(scratch, "out")))
        remote.search(dataclasses.replace(spec, search=search), study, run.folder, groups)
    report.part, report.note = " ".join(groups), study.model.name
    report.made += 1
    return meeting


@step_of("tune report")
def tune_report(run: Run, report: Report, samples: str, meetings: list[str]) -> tuple[str, str]:
    """Say what a search has found; return the URI of its manifest, and its page as HTML."""
    from landtide.publish import tuning
    from landtide.train import search
    from landtide.train.spec import Search

    study, key = run.study, _key(run, samples)

    def make(out: manifest.Writing) -> None:
        found = search.report(Search(meetings[0], study.tune.trials, study.tune.method))
        record: dict[str, Any] = {"study": study.name, "model": study.model.name, "space": _space(run), **found}
        out.put_json("tune.json", record)
        out.put("tune.html", tuning.render(record).encode())
        best = {"model": {"name": study.model.name, **study.model.settings, **found["best"]["settings"]}}
        out.put("tuned.yaml", yaml.safe_dump(best, sort_keys=False).encode())
        out.add_asset("tune", "tune.json", roles=["metadata"], title="Trials with their curves")
        out.add_asset("report", "tune.html", roles=["overview"], title="The search as a page")
        out.add_asset("settings", "tuned.yaml", media_type="application/yaml", roles=["metadata"], title="Best settings, for the study")

    item = produce(run, report, key, make, run.span, None, [manifest.read(samples)])
    told = storage.read_json(item.assets["tune"].href)
    report.count(trials=len(told["trials"]))
    report.note = f"best mean recall {told['best']['value']:.3f}"
    return str(item.get_self_href()), storage.read_text(item.assets["report"].href)


def _key(run: Run, samples: str) -> manifest.Key:
    study = run.study
    settings = {
        "model": study.model.name,
        "settings": study.model.settings,
        "tune": study.tune.model_dump(exclude={"parallel", "storage"}),
        "space": _space(run),
        "trust": study.extract.trust,
        "seed": study.seed,
        "legend": run.legend.to_dict(),
    }
    return run.key("tune", "all", run.span_name, settings, [manifest.source_of(manifest.read(samples))])


def _space(run: Run) -> dict[str, Any]:
    try:
        from landtide.train import search
    except ModuleNotFoundError as error:
        raise InputError(f"tune needs the extra of its name ({error.name} is missing): pip install 'landtide[tune]'") from error

    own = run.study.tune.space
    written = {key: value if isinstance(value, list) else value.model_dump() for key, value in own.items()} if own else None
    return search.space_of(run.study.model.name, written)
