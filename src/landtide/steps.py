"""One function a step: URIs and scalars in, a small record out. What runs after what is the pipelines' business.

Every step looks for the manifest of what it would make and does nothing where it is there, so a second run redoes nothing and an
interrupted one goes on where it stopped. Steps hand each other URIs of manifests; the pixels stay in the workspace.
"""

import dataclasses
import functools
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pystac

from landtide import retrieve as retrieving
from landtide.core import lucas
from landtide.core.errors import InputError
from landtide.core.legend import identity_crosswalk
from landtide.core.period import Period
from landtide.core.study import Continual, Study
from landtide.core.tile import Tile
from landtide.io import manifest, storage
from landtide.launch import driver, remote
from landtide.runs import (
    Report,
    Run,
    asset_uris,
    by_tile_and_year,
    cube_uris,
    cubes_behind,
    manifest_uris,
    model_folder,
    old_map_items,
    produce,
    step_of,
)

if TYPE_CHECKING:
    from landtide.planning import Plan
    from landtide.train.spec import TrainSpec

log = logging.getLogger(__name__)

# A step's own package is imported in its function: every task is a process of its own, and importing all would cost each one seconds.

MAX_SHARDS = 32
"""Iterations of one loop: Kubeflow's status updates break on many more (kubeflow/pipelines#12131)."""


@dataclass(frozen=True)
class Evaluation:
    """What Kubeflow shows of an evaluation."""

    uri: str
    """The report's manifest."""

    metrics: dict[str, float]
    confusion: tuple[list[str], list[list[float]]]
    """Class names and the matrix (rows = map), as `ClassificationMetrics.log_confusion_matrix` takes them."""


def check(study: Study, *, writable: bool = True) -> retrieving.Checked:
    """Look at everything that can be wrong before the work starts. Raises InputError with the first that is.

    writable  whether the workspace must take writing
    """
    from landtide import evaluate as evaluating
    from landtide.train.spec import split_settings

    split_settings(study.model.name, study.model.settings)
    if study.mask is not None and study.mask.method == "s2cloudless":
        from landtide.composite.cloudless import detector

        detector(study.mask.threshold)
    checked = retrieving.check(study)
    evaluating.check(study.evaluate, checked.legend, list(checked.tiles), study.all_years())
    if writable:
        storage.check_writable(study.workspace)
    return checked


def plan(study: Study) -> "Plan":
    """Say what a study will need, from its catalog and from a short job that is measured now; see `landtide.planning`."""
    from landtide import planning

    return planning.measured(study, check(study, writable=False))


def forecast(study: Study, checked: retrieving.Checked) -> "Plan":
    """Say what a study will need by what is known already; see `landtide.planning`."""
    from landtide import planning

    return planning.forecast(study, checked)


def open_run(study_uri: str, job: str) -> str:
    """Return the URI of the study of a run; an order is settled, checked and opened under the name of the pipeline's run."""
    opened = driver.open_run(study_uri, job)
    if opened != study_uri:
        _check_run(opened)
    return opened


@step_of("check")
def _check_run(run: Run, report: Report) -> None:
    """Look at everything that can be wrong where the run is: what the user's machine sees may not be what a pod sees."""
    report.note = f"{len(check(run.study).tiles)} tiles"


def clean_up(study_uri: str, job: str) -> list[str]:
    """Delete what a run has left running on a cluster; return what it was."""
    return remote.clean_up(driver.read_run(study_uri), driver.run_id(study_uri, job))


@step_of("plan")
def plan_shards(run: Run, report: Report) -> list[str]:
    """Group the study's tiles into shards; return each as tile names separated by spaces."""
    names = sorted(run.tile_grids)
    count = min(MAX_SHARDS, len(names))
    report.count(tiles=len(names), years=len(run.all_years))
    return [" ".join(names[shard::count]) for shard in range(count)]


@step_of("retrieve")
def retrieve(run: Run, report: Report, shard: str) -> str:
    """Prepare the acquisitions and the old map of a shard's tiles; return manifests by ``tile/year`` and ``tile/old_map`` as JSON."""
    study, made, report.part = run.study, {}, shard
    with run.pool() as pool:
        for name in shard.split():
            tile = run.tile_grids[name]
            for year in run.all_years:
                made[f"{name}/{year}"] = _retrieve_year(run, report, tile, year, pool)
            if study.old_map is not None:
                settings = {"tile": tile.to_dict(), "old_map": study.old_map.model_dump(exclude={"uri", "accuracy"})}
                key = run.key("old_map", name, "any", settings, [retrieving.old_map_source(study)])
                made[f"{name}/old_map"] = produce(run, report, key, functools.partial(retrieving.warp_old_map, study, tile), run.span, tile)
    for name, item in made.items():
        if not name.endswith("/old_map"):
            report.count(images=item.properties["landtide:images"], GB=item.properties["landtide:bytes"] / 1e9)
    return manifest_uris(made)


def _retrieve_year(run: Run, report: Report, tile: Tile, year: int, pool: Any) -> pystac.Item:
    """Prepare a tile and year. Acquisitions whose servers fail are left out and named; the next run finds their sources new and gets them.

    Raises UnreachedError where there is none but such.
    """
    without: tuple[Any, ...] = ()
    while True:
        sources = retrieving.source_ids(run.study, tile, year, without)
        key = run.key("retrieve", tile.name, str(year), _retrieval_settings(run.study, tile), sources)
        fetch = functools.partial(retrieving.fetch, run.study, tile, year, pool=pool, without=without)
        try:
            return produce(run, report, key, fetch, run.study.composite.span(year), tile)
        except retrieving.UnreachedError as error:
            if len(error.aside) == len(sources):
                raise
            log.warning("%s", error)
            without = (*without, *error.aside)


@step_of("composite")
def composite(run: Run, report: Report, retrieved: str) -> str:
    """Make the cube of each tile and year of a shard; return manifests by ``tile/year`` as JSON."""
    from landtide import composite as compositing

    study, made = run.study, {}
    with run.pool() as pool:
        for (name, year), item in by_tile_and_year([retrieved]).items():
            known = item.properties["landtide:mask"] or (study.mask and study.mask.method != "asset")
            mask = study.mask if known else None  # a catalog without the default mask is read unmasked
            settings = {
                "bands": study.stored_bands,
                "indices": {index.name: index.formula for index in study.index_list},
                "mask": mask.model_dump() if mask else None,
                "composite": study.composite.model_dump(),
            }
            sources, embedding = [manifest.source_of(item)], retrieving.embedding_of(study, year)
            if embedding is not None:
                settings["embedding"] = {"scale": embedding.scale, "offset": embedding.offset}
                sources.append(retrieving.embedding_source(embedding))
            build = functools.partial(
                compositing.build,
                item.assets["items"].href,
                manifest.tile_of(item),
                year,
                bands=study.stored_bands,
                indices=study.index_list,
                embedding=embedding,
                mask=mask,
                settings=study.composite,
                memory=study.compute.memory,
                pool=pool,
                slabs=1 if pool.local else pool.workers,
            )
            key = run.key("composite", name, str(year), settings, sources)
            made[f"{name}/{year}"] = produce(run, report, key, build, study.composite.span(year), manifest.tile_of(item), [item])
            report.part = " ".join(filter(None, [report.part, name])) if name not in (report.part or "") else report.part
    report.count(cubes=len(made))
    return manifest_uris(made)


@step_of("extract")
def extract(run: Run, report: Report, retrieved: list[str], cubes: list[str]) -> str:
    """Draw samples from the old map (and the study's points) on all tiles; return the URI of the samples' manifest."""
    from landtide import extract as extracting

    study = run.study
    cube_items, old_maps = by_tile_and_year(cubes), old_map_items(retrieved)
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
        if study.evaluate.points:  # its places are left out
            sources.append(storage.sha256(study.evaluate.points))
    key = run.key("extract", "all", run.span_name, settings, sources)

    def make(out: manifest.Writing) -> None:
        with run.pool() as pool:
            extracting.from_old_map(
                cubes=cube_uris(cube_items),
                old_maps={name: item.assets["old_map"].href for name, item in old_maps.items()},
                crosswalk=run.crosswalk or identity_crosswalk(run.legend),
                legend=run.legend,
                accuracy=run.accuracy,
                map_year=study.old_map.year if study.old_map else None,
                points=_labelled_points(run, old_maps),
                settings=study.extract,
                seed=study.seed,
                out=out,
                pool=pool,
            )

    item = produce(run, report, key, make, run.span, None, [*cube_items.values(), *old_maps.values()])
    report.count(samples=item.properties.get("landtide:samples", 0))
    return str(item.get_self_href())


@step_of("train")
def train(run: Run, report: Report, stage: str, samples: str) -> str:
    """Train a classifier on samples; the stage is ``preliminary`` (the SVM ensemble) or ``final``; return the model's manifest."""
    from landtide.train.output import record as record_training

    study, drawn = run.study, manifest.read(samples)
    name, own = ("svm", {}) if stage == "preliminary" else (study.model.name, study.model.settings)
    settings = {"model": name, "settings": own, "trust": study.extract.trust, "seed": study.seed, "legend": run.legend.to_dict()}
    amount: dict[str, Any] = {"threads": study.compute.threads, "processes": study.train.processes * study.train.nodes}
    going_on = study.continual if stage == "final" else None
    earlier = _earlier_models(going_on.model) if going_on is not None and going_on.model is not None else []
    begun = _pretrained(study) if stage == "final" and study.train.pretrained is not None else None
    if begun is not None:
        earlier = [*earlier, begun]
    if going_on is not None:
        amount["continual"] = going_on.model_dump(exclude={"model"})
    key = run.key("train", "all", run.span_name, {**settings, **amount}, [manifest.source_of(item) for item in (drawn, *earlier)])

    def make(out: manifest.Writing) -> None:
        spec = training_spec(run, name, own, (drawn.assets["samples"].href,), str(out.scratch / "model"))
        cubes = cubes_behind(drawn) if name == "convlstm" else {}
        spec = dataclasses.replace(spec, checkpoint=storage.join(key.uri, "checkpoint.safetensors"), cubes=cubes)
        if begun is not None:
            spec = dataclasses.replace(spec, start=storage.parent(begun.assets["pretrained"].href))
        if going_on is not None:
            spec = dataclasses.replace(spec, continual=_continual_spec(going_on, earlier if begun is None else []))
        record_training(remote.train(spec, study, run.folder, stage), out)

    item = produce(run, report, key, make, run.span, None, [drawn, *earlier[:1]])
    report.note = name
    return str(item.get_self_href())


def _pretrained(study: Study) -> pystac.Item:
    """Return the manifest of pre-trained weights. Raises InputError where it is none, or where a continual training begins elsewhere."""
    uri = str(study.train.pretrained)
    if study.continual is not None and study.continual.model is not None:
        raise InputError("give train.pretrained or continual.from, not both: each says what the weights start from")
    try:
        item = manifest.read(uri)
    except FileNotFoundError as error:
        raise InputError(f"train.pretrained: {uri} does not exist; give the item.json that `landtide pretrain` named") from error
    if "pretrained" not in item.assets:
        raise InputError(f"train.pretrained: {uri} is the manifest of {item.properties.get('landtide:step')!r}, not of a pre-training")
    return item


def _earlier_models(uri: str) -> list[pystac.Item]:
    """Return the manifest of an earlier model, then those that it went on from. Raises InputError where it is no model's manifest."""
    chain: list[pystac.Item] = []
    following: str | None = uri
    while following is not None:
        try:
            item = manifest.read(following)
        except FileNotFoundError as error:
            raise InputError(f"continual.from: {following} does not exist; give the item.json of a trained model") from error
        if "model" not in item.assets:
            raise InputError(f"continual.from: {following} is the manifest of {item.properties.get('landtide:step')!r}, not of a model")
        chain.append(item)
        following = next((link.href for link in item.get_links("derived_from") if "/train/" in link.href), None)
    return chain


def _continual_spec(going_on: Continual, earlier: list[pystac.Item]) -> Any:
    """Return how a training goes on: the earlier model, and the sample sets of all models before."""
    from landtide.train.spec import Continual as Spec

    drawn = [link.href for item in earlier for link in item.get_links("derived_from") if "/train/" not in link.href]
    return Spec(
        model=model_folder(earlier[0]) if earlier else None,
        samples=tuple(manifest.read(uri).assets["samples"].href for uri in drawn),
        **going_on.model_dump(exclude={"model"}),
    )


def training_spec(run: Run, model: str, settings: dict[str, Any], samples: tuple[str, ...], output: str) -> "TrainSpec":
    """Return a training as the study wants it."""
    from landtide.train.spec import TrainSpec

    study = run.study
    return TrainSpec(
        model=model,
        settings=settings,
        samples=samples,
        legend=run.legend,
        bands=study.channels,
        steps=study.composite.steps(study.all_years()[0]),
        trust=study.extract.trust,
        seed=study.seed,
        device=study.train.device,
        threads=study.compute.threads,
        memory=study.compute.memory,
        output=output,
    )


@step_of("classify candidates")
def classify_candidates(run: Run, report: Report, model: str, samples: str, cubes: list[str]) -> str:
    """Give the candidate pixels a preliminary label for each year; return the labels' manifest."""
    from landtide import classify as classifying

    model_item, drawn, cube_items = manifest.read(model), manifest.read(samples), by_tile_and_year(cubes)
    sources = [manifest.source_of(item) for item in (model_item, drawn, *cube_items.values())]
    key = run.key("candidates", "all", run.span_name, {}, sources)

    def make(out: manifest.Writing) -> None:

        with run.pool() as pool:
            classifying.at_candidates(
                model_uri=model_folder(model_item),
                candidates_uri=drawn.assets["candidates"].href,
                cubes=cube_uris(cube_items),
                out=out,
                pool=pool,
            )

    item = produce(run, report, key, make, run.span, None, [model_item, drawn])
    return str(item.get_self_href())


@step_of("extract stable")
def extract_stable(run: Run, report: Report, labels: str, samples: str, cubes: list[str]) -> str:
    """Keep candidates that all years and members agree on as samples of the final model; return the samples' manifest."""
    from landtide import extract as extracting

    study, label_item, drawn, cube_items = run.study, manifest.read(labels), manifest.read(samples), by_tile_and_year(cubes)
    settings = {"extract": study.extract.model_dump(), "legend": run.legend.to_dict(), "seed": study.seed}
    sources = [manifest.source_of(item) for item in (label_item, drawn, *cube_items.values())]
    key = run.key("stable", "all", run.span_name, settings, sources)

    def make(out: manifest.Writing) -> None:
        with run.pool() as pool:
            extracting.stable(
                labels_uri=label_item.assets["labels"].href,
                samples_uri=drawn.assets["samples"].href,
                cubes=cube_uris(cube_items),
                legend=run.legend,
                settings=study.extract,
                seed=study.seed,
                out=out,
                pool=pool,
            )

    item = produce(run, report, key, make, run.span, None, [label_item, drawn])
    report.count(samples=item.properties.get("landtide:samples", 0))
    return str(item.get_self_href())


@step_of("classify")
def classify(run: Run, report: Report, model: str, cubes: str) -> str:
    """Map every year of a shard's tiles; return the maps' manifests by ``tile/year`` as JSON."""
    study, model_item, cube_items = run.study, manifest.read(model), by_tile_and_year([cubes])
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
    return manifest_uris(made)


@step_of("evaluate")
def evaluate(run: Run, report: Report, retrieved: list[str], maps: list[str], samples: str) -> Evaluation:
    """Score the maps, and the old map beside them; return the report's manifest, metrics and confusion matrix."""
    from landtide import evaluate as evaluating

    study, map_items, old_maps = run.study, by_tile_and_year(maps), old_map_items(retrieved)
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
                maps=asset_uris(map_items, "label"),
                old_maps={name: item.assets["old_map"].href for name, item in old_maps.items()},
                crosswalk=run.crosswalk,
                legend=run.legend,
                tiles=run.tile_grids,
                settings=study.evaluate,
                seed=study.seed,
                out=out,
                pool=pool,
            )

    item = produce(run, report, key, make, run.span, None, [*map_items.values(), *old_maps.values()])
    record = storage.read_json(item.assets["report"].href)
    report.note = record["headline"]["sentence"]
    return Evaluation(str(item.get_self_href()), record["metrics"], _confusion(record))


@step_of("publish")
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
    from landtide import publish as publishing

    made = publishing.Made(
        study=run.study,
        legend=run.legend,
        run_id=run.folder.rsplit("/", 1)[-1],
        retrieved=by_tile_and_year(retrieved),
        old_maps=old_map_items(retrieved),
        cubes=by_tile_and_year(cubes),
        maps=by_tile_and_year(maps),
        samples={"old map": manifest.read(samples)} | ({"stable": manifest.read(stable)} if stable else {}),
        models=({"preliminary": manifest.read(preliminary)} if preliminary else {}) | {"final": manifest.read(model)},
        evaluation=manifest.read(evaluation),
        plan=_plan_of(run),
    )
    folder = driver.published(run.study)
    if "publish" not in run.force and publishing.published_id(folder) == publishing.published_content(made):
        report.found += 1
    else:
        with run.pool() as pool:
            publishing.publish_run(folder, made, pool)
        report.made += 1
    report.note = folder
    return folder, storage.read_text(storage.join(folder, "report.html"))


@step_of("audit")
def audit(run: Run, report: Report, retrieved: list[str], cubes: list[str], samples: str, maps: list[str]) -> str:
    """Rank the polygons of the old map by how surely they are wrong, and publish list and page; return the folder's URI."""
    from landtide import extract as extracting
    from landtide import publish as publishing

    study, crosswalk, old_maps = run.study, run.crosswalk, old_map_items(retrieved)
    if not old_maps or crosswalk is None:
        raise InputError("audit looks for mistakes of an old map, and the study has none: give `old_map`")
    drawn, map_items, cube_items = manifest.read(samples), by_tile_and_year(maps), by_tile_and_year(cubes)
    map_year = study.old_map.year if study.old_map else None
    settings = {"most": study.audit.most, "crosswalk": crosswalk.labels, "legend": run.legend.to_dict(), "map_year": map_year}
    sources = [drawn, *map_items.values(), *old_maps.values()]
    key = run.key("audit", "all", run.span_name, settings, [manifest.source_of(item) for item in sources])
    labels, confidences, cube_table = asset_uris(map_items, "label"), asset_uris(map_items, "confidence"), cube_uris(cube_items)

    def make(out: manifest.Writing) -> None:
        with run.pool() as pool:
            extracting.audit(
                cubes={name: next(iter(years.values())) for name, years in cube_table.items()},
                maps={name: {year: (uri, confidences[name][year]) for year, uri in years.items()} for name, years in labels.items()},
                old_maps={name: item.assets["old_map"].href for name, item in old_maps.items()},
                candidates_uri=drawn.assets["candidates"].href,
                verdicts_uri=drawn.assets["verdicts"].href,
                crosswalk=crosswalk,
                legend=run.legend,
                map_year=map_year,
                most=study.audit.most,
                out=out,
                pool=pool,
            )

    item = produce(run, report, key, make, run.span, None, sources)
    folder = storage.join(study.workspace, study.name, "published", "audit")
    made = publishing.Audit(study.name, run.legend, item, cube_table, map_year, study.audit.chips)
    if "audit" in run.force or publishing.published_id(folder) != publishing.audit_content(made):
        publishing.publish_audit(folder, made)
        report.made += 1
    report.count(polygons=item.properties["landtide:polygons"])
    report.note = folder
    return folder


def _plan_of(run: Run) -> dict[str, Any] | None:
    """Return what was planned when the run began, None where nothing was."""
    try:
        return dict(storage.read_json(storage.join(run.folder, driver.PLAN)))
    except FileNotFoundError:
        return None


def _map_tile(
    run: Run, report: Report, model: pystac.Item, cubes: dict[int, pystac.Item], keys: dict[int, manifest.Key]
) -> dict[int, pystac.Item]:
    """Map the years of one tile that are not mapped yet; the years come from one pass over the tile."""
    from landtide import classify as classifying

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
            out = manifest.writing(key, period=Period.of_year(year), tile=manifest.tile_of(cubes[year]), derived_from=sources)
            outs[year] = stack.enter_context(out)
        classifying.tile_maps(
            model_uri=model_folder(model),
            cubes={year: item.assets["cube"].href for year, item in cubes.items()},
            tile=manifest.tile_of(next(iter(cubes.values()))),
            outs=outs,
            probabilities=study.classify.probabilities,
            consistency=study.consistency.method,
            memory=study.compute.memory,
            pool=pool,
            threads=study.compute.threads,
            runtime=study.classify.runtime,
            legend=run.legend,
        )
    report.made += len(keys)
    return {year: out.item for year, out in outs.items()}


def _retrieval_settings(study: Study, tile: Tile) -> dict[str, Any]:
    record = {
        "tile": tile.to_dict(),
        "bands": study.band_ids,
        "mask": study.mask.asset if study.mask else None,
        "cache": study.source.cache,
    }
    return record | ({"first_month": study.composite.first_month} if study.composite.first_month != 1 else {})


def _labelled_points(run: Run, old_maps: dict[str, pystac.Item]) -> list[Any] | None:
    """Return the study's labelled points as places on its tiles, None where it has none. A place on two tiles counts on the first.

    old_maps  by tile, those that there are: points of LUCAS count where the map is of one class around them
    Places of reference points are left out, with the pixels around them: what a map is tested on must not teach it.
    Raises InputError where nothing else is left.
    """
    from landtide.extract import LabelledPoint

    study = run.study
    if study.points is None:
        return None
    found, seen, set_apart = [], set(), 0
    for tile in run.tile_grids.values():
        crosswalk = retrieving.points_crosswalk(study.points, run.legend, tile.crs)
        held = old_maps.get(tile.name)
        cover = retrieving.Cover(held.assets["old_map"].href, run.crosswalk) if held is not None and run.crosswalk is not None else None
        points = retrieving.labelled_points(study.points, crosswalk, tile, cover)
        mixed = points.dropped.get(lucas.MIXED)
        if mixed:
            log.info("tile %s: %d points of %s are left out: %s", tile.name, mixed, study.points, lucas.MIXED)
        tested = retrieving.near_reference(study, tile, points.pixel)
        set_apart += int(tested.sum())
        own = {int(row) for row in points.row}
        for (row, column), label, year, trust, group, test in zip(
            points.pixel.tolist(), points.label.tolist(), points.year, points.trust, points.row.tolist(), tested, strict=True
        ):
            if not test and group not in seen:
                found.append(LabelledPoint(tile.name, row, column, label, year, trust, group))
        seen |= own
    if not found and set_apart:
        raise InputError(
            f"all {set_apart} places of points {study.points} are reference points of `evaluate.points`: give others to learn from"
        )
    return found


def _confusion(record: dict[str, Any]) -> tuple[list[str], list[list[float]]]:
    """Return class names and counts of the headline's assessment; one empty class where there is nothing to compare with."""
    if not record["assessments"]:
        return ["no reference"], [[0.0]]
    new = record["assessments"][0]["views"][0]["new"]
    return list(new["classes"]), [[float(value) for value in row] for row in new["counts"]]
