"""Publication of one run: maps, web map and report from the manifests of everything that it made, and the catalog last."""

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pystac
import yaml

import landtide
from landtide.core.legend import Legend
from landtide.core.study import Study
from landtide.io import manifest, storage
from landtide.publish.maps import PublishedMap, write_maps
from landtide.publish.report import write_report
from landtide.publish.stac import read_acquisitions, write_catalog
from landtide.publish.webmap import MapLayer, Site, write_viewer


@dataclass(frozen=True)
class Made:
    """The manifests of everything that a run of a study made; annual ones by (tile, year)."""

    study: Study
    legend: Legend
    run_id: str
    retrieved: dict[tuple[str, int], pystac.Item]
    old_maps: dict[str, pystac.Item]
    cubes: dict[tuple[str, int], pystac.Item]
    maps: dict[tuple[str, int], pystac.Item]
    samples: dict[str, pystac.Item]
    models: dict[str, pystac.Item]
    evaluation: pystac.Item
    plan: dict[str, Any] | None = None
    """What the run was expected to need (`landtide.planning`)."""

    @property
    def all(self) -> list[pystac.Item]:
        """Every manifest, in the order of the steps."""
        tables = (self.retrieved, self.old_maps, self.cubes, self.samples, self.models, self.maps)
        return [item for table in tables for item in table.values()] + [self.evaluation]


PUBLISHED = "published.json"
"""Says which content lies in the published folder: it is the one folder that changes, so it has no content in its name."""


def published_id(folder: str) -> str | None:
    """Return the id of what lies in the published folder, None where there is nothing whole."""
    try:
        return str(storage.read_json(storage.join(folder, PUBLISHED))["id"])
    except FileNotFoundError:
        return None


def published_content(made: Made) -> str:
    """Return the id of what the published folder shows."""
    return manifest.content_id("publish/1", {"study": made.study.model_dump(mode="json")}, [manifest.source_of(item) for item in made.all])


def publish_run(folder: str, made: Made, pool: Any) -> None:
    """Write everything that people read; whoever follows the catalog never meets a map that is not there yet."""
    published = write_maps(folder, made.maps, made.legend)
    write_viewer(folder, _site(made, folder, published), pool)
    write_report(folder, _record(made))
    acquisitions = {key: read_acquisitions(item.assets["items"].href) for key, item in made.retrieved.items()}
    write_catalog(folder, study=made.study.name, legend=made.legend, maps=published, acquisitions=acquisitions)
    storage.write_json(storage.join(folder, PUBLISHED), {"id": published_content(made)})


def _site(made: Made, folder: str, published: list[PublishedMap]) -> Site:
    """Return what the web map shows: every year's map, confidence and image, and the old map."""
    layers = [
        MapLayer(kind, one.tile, storage.join(folder, one.files[kind].href), one.year)
        for kind in ("label", "confidence")
        for one in published
    ]
    year = made.study.old_map.year if made.study.old_map else None
    layers += [MapLayer("old_map", manifest.tile_of(item), item.assets["label"].href, year) for item in made.old_maps.values()]
    layers += [MapLayer("image", manifest.tile_of(item), item.assets["cube"].href, year) for (_, year), item in made.cubes.items()]
    return Site(made.study.name, made.legend, tuple(layers))


def _record(made: Made) -> dict[str, Any]:
    """Return what the report tells; see `landtide.publish.report`."""
    study = made.study
    described = {
        "name": study.name,
        "years": sorted({year for _, year in made.maps}),
        "tiles": sorted({tile for tile, _ in made.maps}),
        "model": study.model.name,
    }
    text = yaml.safe_dump(study.model_dump(mode="json", by_alias=True, exclude_unset=True), sort_keys=False, allow_unicode=True)
    retrieval = [storage.read_json(item.assets["report"].href) for item in made.retrieved.values()]
    versions = {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "rasterio", "scikit-learn", "zarr")}}
    return {
        "study": {**described, "bands": list(study.channels), "text": text},
        "run": {
            "id": made.run_id,
            "version": landtide.__version__,
            "finished": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "runner": study.runner,
            "versions": versions,
            "manifests": [_named(item) for item in made.all],
        },
        "evaluation": storage.read_json(made.evaluation.assets["report"].href),
        "refused": [{"stage": stage, "report": storage.read_json(item.assets["refused"].href)} for stage, item in made.samples.items()],
        "retrieval": retrieval,
        "plan": _plan(made),
        "composite": [storage.read_json(item.assets["report"].href) for item in made.cubes.values()],
        "training": [{"stage": stage, "report": storage.read_json(item.assets["training"].href)} for stage, item in made.models.items()],
    }


def _plan(made: Made) -> dict[str, Any] | None:
    """Return what was planned and what it came to, from the manifests; a row a tile and year."""
    if made.plan is None:
        return None
    planned = {(row["tile"], row["year"]): row for row in made.plan["rows"]}
    rows = []
    for (tile, year), item in made.retrieved.items():
        cube = made.cubes[tile, year].properties
        actual = {
            "images": item.properties["landtide:images"],
            "bytes": item.properties["landtide:bytes"],
            "seconds": cube.get("landtide:seconds"),
            "peak_memory": cube.get("landtide:peak_memory"),
        }
        rows.append({"tile": tile, "year": year, "planned": planned.get((tile, year)), "actual": actual})
    return {"rows": rows, "peak_memory": made.plan["peak_memory"]}


def _named(item: pystac.Item) -> dict[str, Any]:
    """Return how the report names a manifest."""
    step, tile, period = str(item.get_self_href()).rsplit("/", 5)[1:4]
    return {"step": step, "tile": tile, "period": period, "id": item.id}
