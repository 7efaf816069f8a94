"""One function a step: URIs and scalars in, a small record out. What runs after what is the pipelines' business.

Every step looks for the manifest of what it would make and does nothing where it is there, so a second run redoes nothing and an
interrupted one goes on where it stopped. Steps hand each other URIs of manifests; the pixels stay in the workspace.
"""

import functools
import json
import logging
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, TypeVar

import pystac
import yaml

import landtide
from landtide import composite as compositing
from landtide import evaluate as evaluating
from landtide import extract as extracting
from landtide import publish as publishing
from landtide import retrieve as retrieving
from landtide.core.errors import InputError, LandtideError
from landtide.core.legend import Crosswalk, Legend, identity_crosswalk
from landtide.core.period import Period
from landtide.core.study import Study
from landtide.core.tile import Tile
from landtide.io import manifest, storage
from landtide.launch import progress, training, workers
from landtide.train.output import record as record_training
from landtide.train.spec import TrainSpec

MAX_SHARDS = 32
"""Iterations of one loop: Kubeflow's status updates break on many more (kubeflow/pipelines#12131)."""

log = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Run:
    """One run of a study: what to do, and what to do again although it is done."""

    study: Study
    uri: str
    """URI of the study's JSON; its folder is the run's."""

    force: frozenset[str] = frozenset()
    """Steps whose manifests are made anew."""

    years: tuple[int, ...] | None = None
    """The years to work on; None = all of the study's."""

    tiles: tuple[str, ...] | None = None

    @property
    def folder(self) -> str:
        return storage.parent(self.uri)

    @functools.cached_property
    def legend(self) -> Legend:
        return retrieving.load_legend(self.study)

    @functools.cached_property
    def crosswalk(self) -> Crosswalk | None:
        old_map = self.study.old_map
        return retrieving.load_crosswalk(old_map.crosswalk, self.legend) if old_map else None

    @functools.cached_property
    def tile_grids(self) -> dict[str, Tile]:
        """The tiles to work on, by name."""
        tiles = {tile.name: tile for tile in retrieving.resolve_tiles(self.study)}
        unknown = sorted(set(self.tiles or ()) - set(tiles))
        if unknown:
            raise InputError(f"tile {', '.join(unknown)} is not in the study, which has {', '.join(sorted(tiles))}")
        return {name: tile for name, tile in tiles.items() if self.tiles is None or name in self.tiles}

    @property
    def all_years(self) -> list[int]:
        """The years to work on."""
        unknown = sorted(set(self.years or ()) - set(self.study.all_years()))
        if unknown:
            given = ", ".join(map(str, self.study.all_years()))
            raise InputError(f"year {', '.join(map(str, unknown))} is not in the study, which has {given}")
        return [year for year in self.study.all_years() if self.years is None or year in self.years]

    @property
    def span(self) -> Period:
        """All years of the study as one period."""
        years = self.study.all_years()
        return Period(Period.of_year(years[0]).start, Period.of_year(years[-1]).end)

    @property
    def span_name(self) -> str:
        years = self.all_years
        return f"{years[0]}--{years[-1]}" if len(years) > 1 else f"{years[0]}"

    @property
    def accuracy(self) -> float:
        """Positional accuracy of the old map in m."""
        return retrieving.positional_accuracy(self.study.old_map) if self.study.old_map else 0.0

    def pool(self) -> AbstractContextManager[workers.Pool]:
        compute = self.study.compute
        return workers.open_pool(compute.workers, compute.threads, compute.memory)

    def key(self, step: str, tile: str, period: str, parameters: dict[str, Any], sources: list[str]) -> manifest.Key:
        """Return the name of an output of this run."""
        version = f"{step}/{ALGORITHMS[step]}"
        return manifest.Key(self.study.workspace, self.study.name, step, tile, period, manifest.content_id(version, parameters, sources))


ALGORITHMS = {
    "retrieve": 1,
    "old_map": 1,
    "composite": 1,
    "extract": 1,
    "train": 1,
    "candidates": 1,
    "stable": 1,
    "classify": 1,
    "evaluate": 1,
}
"""Version of each step's algorithm: raised whenever the same input gives another result, so that old results are not taken for new."""


@dataclass(frozen=True)
class Evaluation:
    """What Kubeflow shows of an evaluation."""

    uri: str
    """The report's manifest."""

    metrics: dict[str, float]
    confusion: tuple[list[str], list[list[float]]]
    """Class names and the matrix (rows = map), as `ClassificationMetrics.log_confusion_matrix` takes them."""


def load(study_uri: str) -> Run:
    """Read the study of a run, as `landtide.launch.driver` wrote it."""
    record = storage.read_json(study_uri)
    options = record.get("options", {})
    years, tiles = options.get("years"), options.get("tiles")
    return Run(
        Study.model_validate(record["study"]),
        study_uri,
        frozenset(options.get("force", [])),
        tuple(years) if years else None,
        tuple(tiles) if tiles else None,
    )


def check(study: Study) -> retrieving.Checked:
    """Look at everything that can be wrong before the work starts. Raises InputError with the first that is."""
    checked = retrieving.check(study)
    evaluating.check(study.evaluate, checked.legend, list(checked.tiles), study.all_years())
    storage.check_writable(study.workspace)
    return checked


@dataclass
class Report:
    """What a step tells when it ends."""

    part: str | None = None
    counts: dict[str, float] = field(default_factory=dict)
    note: str | None = None
    made: int = 0
    found: int = 0

    def count(self, **amounts: float) -> None:
        """Add amounts to what the step's line shows."""
        for unit, amount in amounts.items():
            self.counts[unit] = self.counts.get(unit, 0) + amount


def _step(name: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Make a function of a run a step: it reads the run, tells its progress, and leaves ``error.json`` where it fails."""

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        @functools.wraps(function)
        def step(study_uri: str, *arguments: Any, **named: Any) -> Result:
            progress.log_events()
            report, start = Report(), time.monotonic()
            title = f"{name} {arguments[0]}" if name == "train" else name
            progress.tell(progress.Event(title, "started"))
            try:
                with _disk_errors(study_uri):
                    result = function(load(study_uri), report, *arguments, **named)
            except Exception as error:
                progress.tell(progress.Event(title, "failed", report.part, time.monotonic() - start))
                _leave_error(study_uri, error)
                raise
            state: progress.State = "skipped" if report.found and not report.made else "done"
            progress.tell(progress.Event(title, state, report.part, time.monotonic() - start, report.counts, report.note))
            return result

        return step

    return decorate


def _leave_error(study_uri: str, error: Exception) -> None:
    """Write what the driver prints: kind, one line, exit status. A workspace that cannot be written loses it, so it is logged too."""
    line = " ".join(str(error).split()) or type(error).__name__
    known = isinstance(error, LandtideError)
    message = line if known else f"{type(error).__name__}: {line}"
    record = {"kind": type(error).__name__, "message": message, "exit_status": error.exit_status if isinstance(error, LandtideError) else 1}
    log.error("%s", message)
    try:
        storage.write_json(storage.join(storage.parent(study_uri), "error.json"), record)
    except (LandtideError, OSError) as second:
        log.error("error.json could not be written: %s", second)


@contextmanager
def _disk_errors(uri: str) -> Iterator[None]:
    """Name a full disk as the reason, whatever library met it first."""
    try:
        with storage.explain_os_errors(storage.parent(uri)):
            yield
    except InputError:
        raise
    except Exception as error:
        path = storage.local_path(storage.parent(uri))
        if path is not None and path.exists() and shutil.disk_usage(path).free < 2**20:
            raise InputError(f"no space left on the disk of {path}: free some, or choose another workspace") from error
        raise


@_step("plan")
def plan_shards(run: Run, report: Report) -> list[str]:
    """Group the study's tiles into shards; return each as tile names separated by spaces."""
    names = sorted(run.tile_grids)
    count = min(MAX_SHARDS, len(names))
    report.count(tiles=len(names), years=len(run.all_years))
    return [" ".join(names[shard::count]) for shard in range(count)]


@_step("retrieve")
def retrieve(run: Run, report: Report, shard: str) -> str:
    """Prepare the acquisitions and the old map of a shard's tiles; return manifests by ``tile/year`` and ``tile/old_map`` as JSON."""
    study, made, report.part = run.study, {}, shard
    with run.pool() as pool:
        for name in shard.split():
            tile = run.tile_grids[name]
            for year in run.all_years:
                sources = retrieving.source_ids(study, tile, year)
                key = run.key("retrieve", name, str(year), _retrieval_settings(study, tile), sources)
                made[f"{name}/{year}"] = _produce(
                    run, report, key, functools.partial(retrieving.fetch, study, tile, year, pool=pool), Period.of_year(year), tile
                )
            if study.old_map is not None:
                settings = {"tile": tile.to_dict(), "old_map": study.old_map.model_dump(exclude={"uri", "accuracy"})}
                key = run.key("old_map", name, "any", settings, [retrieving.old_map_source(study)])
                made[f"{name}/old_map"] = _produce(
                    run, report, key, functools.partial(retrieving.warp_old_map, study, tile), run.span, tile
                )
    for name, item in made.items():
        if not name.endswith("/old_map"):
            report.count(images=item.properties["landtide:images"], GB=item.properties["landtide:bytes"] / 1e9)
    return _manifests(made)


@_step("composite")
def composite(run: Run, report: Report, retrieved: str) -> str:
    """Make the cube of each tile and year of a shard; return manifests by ``tile/year`` as JSON."""
    study, made = run.study, {}
    with run.pool() as pool:
        for (name, year), item in _by_tile_and_year([retrieved]).items():
            mask = study.mask if item.properties["landtide:mask"] else None  # a catalog without the default mask is read unmasked
            settings = {
                "bands": study.band_ids,
                "mask": mask.model_dump() if mask else None,
                "composite": study.composite.model_dump(),
            }
            build = functools.partial(
                compositing.build,
                item.assets["items"].href,
                _tile_of(item),
                year,
                bands=study.band_ids,
                mask=mask,
                settings=study.composite,
                memory=study.compute.memory,
                pool=pool,
            )
            key = run.key("composite", name, str(year), settings, [manifest.source_of(item)])
            made[f"{name}/{year}"] = _produce(run, report, key, build, Period.of_year(year), _tile_of(item), [item])
            report.part = " ".join(filter(None, [report.part, name])) if name not in (report.part or "") else report.part
    report.count(cubes=len(made))
    return _manifests(made)


@_step("extract")
def extract(run: Run, report: Report, retrieved: list[str], cubes: list[str]) -> str:
    """Draw samples from the old map (and the study's points) on all tiles; return the URI of the samples' manifest."""
    study = run.study
    cube_items, old_maps = _by_tile_and_year(cubes), _old_maps(retrieved)
    settings = {
        "extract": study.extract.model_dump(),
        "legend": run.legend.to_dict(),
        "crosswalk": run.crosswalk.labels if run.crosswalk else None,
        "accuracy": run.accuracy,
        "map_year": study.old_map.year if study.old_map else None,
        "seed": study.seed,
    }
    sources = [manifest.source_of(item) for item in (*cube_items.values(), *old_maps.values())]
    if study.points:
        sources.append(storage.sha256(study.points))
    key = run.key("extract", "all", run.span_name, settings, sources)

    def make(out: manifest.Writing) -> None:
        with run.pool() as pool:
            extracting.from_old_map(
                cubes=_cube_uris(cube_items),
                old_maps={name: item.assets["old_map"].href for name, item in old_maps.items()},
                crosswalk=run.crosswalk or identity_crosswalk(run.legend),
                legend=run.legend,
                accuracy=run.accuracy,
                map_year=study.old_map.year if study.old_map else None,
                points=_labelled_points(run),
                settings=study.extract,
                seed=study.seed,
                out=out,
                pool=pool,
            )

    item = _produce(run, report, key, make, run.span, None, [*cube_items.values(), *old_maps.values()])
    report.count(samples=item.properties.get("landtide:samples", 0))
    return str(item.get_self_href())


@_step("train")
def train(run: Run, report: Report, stage: str, samples: str) -> str:
    """Train a classifier on samples; the stage is ``preliminary`` (the SVM ensemble) or ``final``; return the model's manifest."""
    study, drawn = run.study, manifest.read(samples)
    name, own = ("svm", {}) if stage == "preliminary" else (study.model.name, study.model.settings)
    settings = {"model": name, "settings": own, "trust": study.extract.trust, "seed": study.seed, "legend": run.legend.to_dict()}
    key = run.key("train", "all", run.span_name, {**settings, "threads": study.compute.threads}, [manifest.source_of(drawn)])

    def make(out: manifest.Writing) -> None:
        spec = TrainSpec(
            model=name,
            settings=own,
            samples=(drawn.assets["samples"].href,),
            legend=run.legend,
            bands=study.band_ids,
            steps=len(Period.of_year(study.all_years()[0]).split(study.composite.period)),
            trust=study.extract.trust,
            seed=study.seed,
            device=study.train.device,
            threads=study.compute.threads,
            output=str(out.scratch / "model"),
        )
        record_training(training.run_training(spec, backend=study.train.backend), out)

    item = _produce(run, report, key, make, run.span, None, [drawn])
    report.note = name
    return str(item.get_self_href())


@_step("classify candidates")
def classify_candidates(run: Run, report: Report, model: str, samples: str, cubes: list[str]) -> str:
    """Give the candidate pixels a preliminary label for each year; return the labels' manifest."""
    from landtide import classify as classifying  # brings torch, which the image of the other steps does not have

    model_item, drawn, cube_items = manifest.read(model), manifest.read(samples), _by_tile_and_year(cubes)
    sources = [manifest.source_of(item) for item in (model_item, drawn, *cube_items.values())]
    key = run.key("candidates", "all", run.span_name, {}, sources)

    def make(out: manifest.Writing) -> None:
        with run.pool() as pool:
            classifying.at_candidates(
                model_uri=_model_folder(model_item),
                candidates_uri=drawn.assets["candidates"].href,
                cubes=_cube_uris(cube_items),
                out=out,
                pool=pool,
            )

    item = _produce(run, report, key, make, run.span, None, [model_item, drawn])
    return str(item.get_self_href())


@_step("extract stable")
def extract_stable(run: Run, report: Report, labels: str, samples: str, cubes: list[str]) -> str:
    """Keep candidates that all years and members agree on as samples of the final model; return the samples' manifest."""
    study, label_item, drawn, cube_items = run.study, manifest.read(labels), manifest.read(samples), _by_tile_and_year(cubes)
    settings = {"extract": study.extract.model_dump(), "legend": run.legend.to_dict(), "seed": study.seed}
    sources = [manifest.source_of(item) for item in (label_item, drawn, *cube_items.values())]
    key = run.key("stable", "all", run.span_name, settings, sources)

    def make(out: manifest.Writing) -> None:
        with run.pool() as pool:
            extracting.stable(
                labels_uri=label_item.assets["labels"].href,
                samples_uri=drawn.assets["samples"].href,
                cubes=_cube_uris(cube_items),
                legend=run.legend,
                settings=study.extract,
                seed=study.seed,
                out=out,
                pool=pool,
            )

    item = _produce(run, report, key, make, run.span, None, [label_item, drawn])
    report.count(samples=item.properties.get("landtide:samples", 0))
    return str(item.get_self_href())


@_step("classify")
def classify(run: Run, report: Report, model: str, cubes: str) -> str:
    """Map every year of a shard's tiles; return the maps' manifests by ``tile/year`` as JSON."""
    study, model_item, cube_items = run.study, manifest.read(model), _by_tile_and_year([cubes])
    made: dict[str, pystac.Item] = {}
    settings = {"classify": study.classify.model_dump(), "consistency": study.consistency.model_dump()}
    for name in sorted({tile for tile, _ in cube_items}):
        years = {year: item for (tile, year), item in cube_items.items() if tile == name}
        # The years of a tile are mapped together: how they agree is part of the method.
        sources = [manifest.source_of(item) for item in (model_item, *years.values())]
        keys = {year: run.key("classify", name, str(year), settings, sources) for year in years}
        made |= {f"{name}/{year}": item for year, item in _map_tile(run, report, model_item, years, keys).items()}
        report.part = " ".join(filter(None, [report.part, name]))
    report.count(maps=len(made))
    return _manifests(made)


@_step("evaluate")
def evaluate(run: Run, report: Report, retrieved: list[str], maps: list[str], samples: str) -> Evaluation:
    """Score the maps, and the old map beside them; return the report's manifest, metrics and confusion matrix."""
    study, map_items, old_maps = run.study, _by_tile_and_year(maps), _old_maps(retrieved)
    settings = {
        "evaluate": study.evaluate.model_dump(),
        "legend": run.legend.to_dict(),
        "crosswalk": run.crosswalk.labels if run.crosswalk else None,
        "seed": study.seed,
    }
    sources = [manifest.source_of(item) for item in (*map_items.values(), *old_maps.values())]
    key = run.key("evaluate", "all", run.span_name, settings, [*sources, *retrieving.reference_sources(study)])

    def make(out: manifest.Writing) -> None:
        with run.pool() as pool:
            evaluating.run(
                maps=_assets(map_items, "label"),
                old_maps={name: item.assets["old_map"].href for name, item in old_maps.items()},
                crosswalk=run.crosswalk,
                legend=run.legend,
                tiles=run.tile_grids,
                settings=study.evaluate,
                seed=study.seed,
                out=out,
                pool=pool,
            )

    item = _produce(run, report, key, make, run.span, None, [*map_items.values(), *old_maps.values()])
    record = storage.read_json(item.assets["report"].href)
    report.note = record["headline"]["sentence"]
    return Evaluation(str(item.get_self_href()), record["metrics"], _confusion(record))


@_step("publish")
def publish(
    run: Run,
    report: Report,
    retrieved: list[str],
    cubes: list[str],
    samples: str,
    model: str,
    maps: list[str],
    evaluation: str,
    *,
    preliminary: str | None = None,
    stable: str | None = None,
) -> tuple[str, str]:
    """Publish maps, web map, report and, last, the catalog; return the URI of the folder and the report's HTML."""
    made = _Made(
        retrieved=_by_tile_and_year(retrieved),
        old_maps=_old_maps(retrieved),
        cubes=_by_tile_and_year(cubes),
        maps=_by_tile_and_year(maps),
        samples={"old map": manifest.read(samples)} | ({"stable": manifest.read(stable)} if stable else {}),
        models=({"preliminary": manifest.read(preliminary)} if preliminary else {}) | {"final": manifest.read(model)},
        evaluation=manifest.read(evaluation),
    )
    folder = storage.join(run.study.workspace, run.study.name, "published")
    content = manifest.content_id(
        "publish/1", {"study": run.study.model_dump(mode="json")}, [manifest.source_of(item) for item in made.all]
    )
    if "publish" not in run.force and _published_id(folder) == content:
        report.found += 1
    else:
        _publish(run, made, folder)
        storage.write_json(storage.join(folder, PUBLISHED), {"id": content})
        report.made += 1
    report.note = folder
    return folder, storage.read_text(storage.join(folder, "report.html"))


@dataclass(frozen=True)
class _Made:
    """The manifests of everything that a run made."""

    retrieved: dict[tuple[str, int], pystac.Item]
    old_maps: dict[str, pystac.Item]
    cubes: dict[tuple[str, int], pystac.Item]
    maps: dict[tuple[str, int], pystac.Item]
    samples: dict[str, pystac.Item]
    models: dict[str, pystac.Item]
    evaluation: pystac.Item

    @property
    def all(self) -> list[pystac.Item]:
        tables = (self.retrieved, self.old_maps, self.cubes, self.samples, self.models, self.maps)
        return [item for table in tables for item in table.values()] + [self.evaluation]


PUBLISHED = "published.json"
"""Says which content lies in the published folder: it is the one folder that changes, so it has no content in its name."""


def _published_id(folder: str) -> str | None:
    try:
        return str(storage.read_json(storage.join(folder, PUBLISHED))["id"])
    except FileNotFoundError:
        return None


def _publish(run: Run, made: _Made, folder: str) -> None:
    """Write everything that people read; whoever follows the catalog never meets a map that is not there yet."""
    published = publishing.write_maps(folder, made.maps, run.legend)
    with run.pool() as pool:
        publishing.write_viewer(folder, _site(run, made, folder, published), pool)
    publishing.write_report(folder, _record(run, made))
    acquisitions = {key: publishing.read_acquisitions(item.assets["items"].href) for key, item in made.retrieved.items()}
    publishing.write_catalog(folder, study=run.study.name, legend=run.legend, maps=published, acquisitions=acquisitions)


def _site(run: Run, made: _Made, folder: str, published: list[publishing.PublishedMap]) -> publishing.Site:
    """Return what the web map shows: every year's map, confidence and image, and the old map."""
    layers = [
        publishing.MapLayer(kind, one.tile, storage.join(folder, one.files[kind].href), one.year)
        for kind in ("label", "confidence")
        for one in published
    ]
    year = run.study.old_map.year if run.study.old_map else None
    layers += [publishing.MapLayer("old_map", _tile_of(item), item.assets["label"].href, year) for item in made.old_maps.values()]
    layers += [publishing.MapLayer("image", _tile_of(item), item.assets["cube"].href, year) for (_, year), item in made.cubes.items()]
    return publishing.Site(run.study.name, run.legend, tuple(layers), old_map=f"Old map {year}" if year else "Old map")


def _record(run: Run, made: _Made) -> dict[str, Any]:
    """Return what the report tells; see `landtide.publish.report`."""
    study = run.study
    described = {"name": study.name, "years": run.all_years, "tiles": sorted({tile for tile, _ in made.maps}), "model": study.model.name}
    text = yaml.safe_dump(study.model_dump(mode="json", by_alias=True, exclude_unset=True), sort_keys=False, allow_unicode=True)
    retrieval = [storage.read_json(item.assets["report"].href) for item in made.retrieved.values()]
    versions = {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "rasterio", "scikit-learn", "zarr")}}
    return {
        "study": {**described, "bands": list(study.band_ids), "text": text},
        "run": {
            "id": storage.parent(run.uri).rsplit("/", 1)[-1],
            "version": landtide.__version__,
            "finished": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "runner": study.runner,
            "versions": versions,
            "manifests": [_named(item) for item in made.all],
        },
        "evaluation": storage.read_json(made.evaluation.assets["report"].href),
        "refused": [{"stage": stage, "report": storage.read_json(item.assets["refused"].href)} for stage, item in made.samples.items()],
        "retrieval": retrieval,
        "composite": [storage.read_json(item.assets["report"].href) for item in made.cubes.values()],
        "training": [{"stage": stage, "report": storage.read_json(item.assets["training"].href)} for stage, item in made.models.items()],
    }


def _named(item: pystac.Item) -> dict[str, Any]:
    """Return how the report names a manifest."""
    step, tile, period = str(item.get_self_href()).rsplit("/", 5)[1:4]
    return {"step": step, "tile": tile, "period": period, "id": item.id}


def _produce(
    run: Run,
    report: Report,
    key: manifest.Key,
    make: Callable[..., None],
    period: Period,
    tile: Tile | None,
    sources: list[pystac.Item] | None = None,
) -> pystac.Item:
    """Return the manifest of an output, and make the output first where there is none."""
    if key.step in run.force:
        storage.delete(storage.join(key.uri, manifest.MANIFEST))
    found = manifest.find(key)
    if found is not None:
        report.found += 1
        return found
    derived_from = [str(item.get_self_href()) for item in sources or []]
    with manifest.writing(key, period=period, tile=tile, derived_from=derived_from) as out:
        make(out=out)
    report.made += 1
    return out.item


def _map_tile(
    run: Run, report: Report, model: pystac.Item, cubes: dict[int, pystac.Item], keys: dict[int, manifest.Key]
) -> dict[int, pystac.Item]:
    """Map the years of one tile that are not mapped yet; the years come from one pass over the tile."""
    from landtide import classify as classifying  # brings torch, which the image of the other steps does not have

    if "classify" in run.force:
        for key in keys.values():
            storage.delete(storage.join(key.uri, manifest.MANIFEST))
    found = {year: item for year, key in keys.items() if (item := manifest.find(key)) is not None}
    report.found += len(found)
    if len(found) == len(keys):
        return found
    study, outs = run.study, {}
    with ExitStack() as stack, run.pool() as pool:
        for year, key in keys.items():
            sources = [str(model.get_self_href()), str(cubes[year].get_self_href())]
            out = manifest.writing(key, period=Period.of_year(year), tile=_tile_of(cubes[year]), derived_from=sources)
            outs[year] = stack.enter_context(out)
        classifying.tile_maps(
            model_uri=_model_folder(model),
            cubes={year: item.assets["cube"].href for year, item in cubes.items()},
            tile=_tile_of(next(iter(cubes.values()))),
            outs=outs,
            probabilities=study.classify.probabilities,
            consistency=study.consistency.method,
            memory=study.compute.memory,
            pool=pool,
            threads=study.compute.threads,
        )
    report.made += len(keys)
    return {year: out.item for year, out in outs.items()}


def _retrieval_settings(study: Study, tile: Tile) -> dict[str, Any]:
    return {"tile": tile.to_dict(), "bands": study.band_ids, "mask": study.mask.asset if study.mask else None, "cache": study.source.cache}


def _labelled_points(run: Run) -> list[extracting.LabelledPoint] | None:
    """Return the study's labelled points as places on its tiles, None where it has none. A point on two tiles counts on the first."""
    study = run.study
    if study.points is None:
        return None
    found = []
    for tile in run.tile_grids.values():
        crosswalk = retrieving.points_crosswalk(study.points, run.legend, tile.crs)
        points = retrieving.labelled_points(study.points, crosswalk, tile)
        columns, rows = ~tile.affine @ (points.xy[:, 0], points.xy[:, 1])
        found += [
            extracting.LabelledPoint(tile.name, int(row), int(column), int(label), year)
            for row, column, label, year in zip(rows, columns, points.label, points.year, strict=True)
        ]
    return found


def _manifests(made: dict[str, pystac.Item]) -> str:
    return json.dumps({name: str(item.get_self_href()) for name, item in made.items()})


def _read_all(shards: list[str]) -> dict[str, str]:
    """Join the manifests of all shards, by ``tile/year`` or ``tile/old_map``."""
    joined: dict[str, str] = {}
    for shard in shards:
        joined |= json.loads(shard)
    return joined


def _by_tile_and_year(shards: list[str]) -> dict[tuple[str, int], pystac.Item]:
    """Read the annual manifests of shards, in the order of tile and year."""
    names = {tuple(name.rsplit("/", 1)): uri for name, uri in _read_all(shards).items() if not name.endswith("/old_map")}
    return {(tile, int(year)): manifest.read(names[tile, year]) for tile, year in sorted(names)}


def _old_maps(shards: list[str]) -> dict[str, pystac.Item]:
    return {name.removesuffix("/old_map"): manifest.read(uri) for name, uri in _read_all(shards).items() if name.endswith("/old_map")}


def _tile_of(item: pystac.Item) -> Tile:
    """Return the grid that a manifest tells."""
    properties = item.properties
    return Tile.from_dict(
        {
            "name": properties["landtide:tile"],
            "crs": properties["proj:code"],
            "transform": properties["proj:transform"],
            "shape": properties["proj:shape"],
        }
    )


def _cube_uris(items: dict[tuple[str, int], pystac.Item]) -> dict[str, dict[int, str]]:
    return _assets(items, "cube")


def _assets(items: dict[tuple[str, int], pystac.Item], name: str) -> dict[str, dict[int, str]]:
    """Return one asset of every manifest: tile -> year -> URI."""
    table: dict[str, dict[int, str]] = {}
    for (tile, year), item in items.items():
        table.setdefault(tile, {})[year] = item.assets[name].href
    return table


def _model_folder(item: pystac.Item) -> str:
    return storage.parent(item.assets["model"].href)


def _confusion(record: dict[str, Any]) -> tuple[list[str], list[list[float]]]:
    """Return class names and counts of the headline's assessment; one empty class where there is nothing to compare with."""
    if not record["assessments"]:
        return ["no reference"], [[0.0]]
    new = record["assessments"][0]["views"][0]["new"]
    return list(new["classes"]), [[float(value) for value in row] for row in new["counts"]]
