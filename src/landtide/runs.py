"""What every step shares: the study of a run, finding or making an output, telling the progress, leaving the reason of a failure."""

import functools
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pystac

from landtide import retrieve as retrieving
from landtide.core.errors import InputError, LandtideError, memory_explained
from landtide.core.legend import Crosswalk, Legend
from landtide.core.period import Period
from landtide.core.study import Study
from landtide.core.tile import Tile
from landtide.io import manifest, storage
from landtide.launch import clusters, progress, workers

log = logging.getLogger(__name__)
Result = TypeVar("Result")

LESS_MEMORY = "lower compute.workers, or compute.memory, by which windows and draws are cut, or free memory on the machine"
"""What a step that ran out of memory, in this process or a worker of it, advises."""

ALGORITHMS = {
    "retrieve": 2,
    "old_map": 1,
    "composite": 4,
    "extract": 6,
    "train": 2,
    "candidates": 1,
    "stable": 2,
    "tune": 1,
    "unlabelled": 1,
    "pretrain": 1,
    "classify": 1,
    "evaluate": 2,
    "audit": 2,
}
"""Version of each step's algorithm: raised whenever the same input gives another result, so that old results are not taken for new."""


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
        where = clusters.cluster_of(self.study, self.folder.rsplit("/", 1)[-1])
        return workers.open_pool(compute.workers, compute.threads, compute.memory, where)

    def key(self, step: str, tile: str, period: str, parameters: dict[str, Any], sources: list[str]) -> manifest.Key:
        """Return the name of an output of this run."""
        version = f"{step}/{ALGORITHMS[step]}"
        return manifest.Key(self.study.workspace, self.study.name, step, tile, period, manifest.content_id(version, parameters, sources))


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


def step_of(name: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Make a function of a run a step: it reads the run, tells its progress, and leaves ``error.json`` where it fails."""

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        @functools.wraps(function)
        def step(study_uri: str, *arguments: Any, **named: Any) -> Result:
            progress.log_events()
            report, start = Report(), time.monotonic()
            title = f"{name} {arguments[0]}" if name == "train" else name
            progress.tell(progress.Event(title, "started"))
            try:
                with _disk_errors(study_uri), memory_explained(name, LESS_MEMORY):
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


def produce(
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


def manifest_uris(made: dict[str, pystac.Item]) -> str:
    return json.dumps({name: str(item.get_self_href()) for name, item in made.items()})


def by_tile_and_year(shards: list[str]) -> dict[tuple[str, int], pystac.Item]:
    """Read the annual manifests of shards, in the order of tile and year."""
    names = {tuple(name.rsplit("/", 1)): uri for name, uri in _read_all(shards).items() if not name.endswith("/old_map")}
    return {(tile, int(year)): manifest.read(names[tile, year]) for tile, year in sorted(names)}


def old_map_items(shards: list[str]) -> dict[str, pystac.Item]:
    return {name.removesuffix("/old_map"): manifest.read(uri) for name, uri in _read_all(shards).items() if name.endswith("/old_map")}


def _read_all(shards: list[str]) -> dict[str, str]:
    """Join the manifests of all shards, by ``tile/year`` or ``tile/old_map``."""
    joined: dict[str, str] = {}
    for shard in shards:
        joined |= json.loads(shard)
    return joined


def cube_uris(items: dict[tuple[str, int], pystac.Item]) -> dict[str, dict[int, str]]:
    return asset_uris(items, "cube")


def cubes_behind(item: pystac.Item) -> dict[str, dict[str, str]]:
    """Return the cubes that an output was derived from, however many steps before: tile -> year -> URI."""
    table: dict[str, dict[str, str]] = {}
    waiting, met = [item], {str(item.get_self_href())}
    while waiting:
        one = waiting.pop()
        if "cube" in one.assets:
            table.setdefault(one.properties["landtide:tile"], {})[one.properties["start_datetime"][:4]] = one.assets["cube"].href
            continue
        sources = [link.href for link in one.links if link.rel == "derived_from" and link.href not in met]
        met |= set(sources)
        waiting += [manifest.read(href) for href in sources]
    return table


def asset_uris(items: dict[tuple[str, int], pystac.Item], name: str) -> dict[str, dict[int, str]]:
    """Return one asset of every manifest: tile -> year -> URI."""
    table: dict[str, dict[int, str]] = {}
    for (tile, year), item in items.items():
        table.setdefault(tile, {})[year] = item.assets[name].href
    return table


def model_folder(item: pystac.Item) -> str:
    return storage.parent(item.assets["model"].href)
