"""Write a synthetic world to a folder: a static STAC catalog, the old map, the truth, points and a study that runs."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import yaml
from rasterio.windows import Window

from landtide.core.errors import InputError
from landtide.core.legend import builtin_legend
from landtide.core.tile import Tile
from landtide.io import storage
from landtide.io.raster import CogWriter
from landtide.simulate.items import grid_of, item_id, make_collection, make_item
from landtide.simulate.old_map import NODATA, OldMap, draw_old_map
from landtide.simulate.phenology import Difficulty
from landtide.simulate.points import points_csv
from landtide.simulate.scene import FINE, Acquisition, offset_of
from landtide.simulate.spectra import BANDS
from landtide.simulate.world import BLOCK, SyntheticWorld, world

VERSION = 1
"""Of the world that a seed gives; goes up when the same seed gives another world."""


@dataclass(frozen=True)
class World:
    """Where the parts of a written world lie."""

    folder: Path
    collection: Path
    study: Path
    old_map: Path
    points: Path
    truth: dict[int, Path]
    """Year -> raster of true labels."""

    old_map_accuracy: float
    """Share of the area where the translated old map equals the truth of the first year."""

    items: int
    """Items of the catalog; duplicates of one acquisition count each."""


def make_world(
    folder: Path,
    *,
    size: int = 256,
    years: tuple[int, ...] = (2018, 2019, 2020),
    seed: int = 7,
    dates_per_year: int = 30,
    old_map_accuracy: float = 0.63,
    difficulty: Difficulty | None = None,
    name: str = "synthetic",
) -> World:
    """Make a world and write it; a folder that holds the same world already stays as it is.

    size              pixels of 10 m along one side
    dates_per_year    overpasses a year, at most 73 (one every 5 days)
    old_map_accuracy  share of the area where the translated old map is right in the first year; excluded codes are not right

    Raises InputError where the folder holds anything else: nothing of the user's is overwritten.
    """
    folder = Path(folder)
    years = tuple(sorted(years))
    asked = {
        "version": VERSION,
        "size": size,
        "years": list(years),
        "seed": seed,
        "dates_per_year": dates_per_year,
        "old_map_accuracy": old_map_accuracy,
        "difficulty": vars(difficulty or Difficulty()),
        "name": name,
    }
    done = _found(folder, asked)
    if done is not None:
        return done
    made = world(size, years, seed, dates_per_year=dates_per_year, difficulty=difficulty)
    storage.write_json(str(folder / "world.json"), {"asked": asked})
    old = draw_old_map(made, old_map_accuracy)
    _write_maps(folder, made, old)
    storage.write_bytes(str(folder / "points.csv"), points_csv(made).encode())
    count = _write_catalog(folder, made, name)
    storage.write_bytes(str(folder / "study.yaml"), _study(made, name).encode())
    storage.write_json(str(folder / "world.json"), {"asked": asked, "old_map_accuracy": old.accuracy, "items": count})
    return _world(folder, years, old.accuracy, count)


def _found(folder: Path, asked: dict[str, Any]) -> World | None:
    """Return the world that the folder holds, None where it is yet to be written or was interrupted."""
    record = folder / "world.json"
    if record.exists():
        known = json.loads(record.read_text("utf-8"))
        if known["asked"] != json.loads(json.dumps(asked)):
            raise InputError(f"folder {folder} holds another synthetic world: give a new folder, or remove this one")
        if "items" in known:
            return _world(folder, tuple(asked["years"]), known["old_map_accuracy"], known["items"])
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"folder {folder} is not empty: give a new folder for the synthetic world")
    return None


def _world(folder: Path, years: tuple[int, ...], accuracy: float, count: int) -> World:
    truth = {year: folder / f"truth_{year}.tif" for year in years}
    return World(
        folder, folder / "collection.json", folder / "study.yaml", folder / "old_map.tif", folder / "points.csv", truth, accuracy, count
    )


def _write_maps(folder: Path, made: SyntheticWorld, old: OldMap) -> None:
    legend = builtin_legend("landtide10")
    colors = {label: (*item.rgb, 255) for label, item in enumerate(legend.classes, start=1)}
    for year in made.years:
        path = folder / f"truth_{year}.tif"
        with CogWriter(path, made.tile, dtype="uint8", nodata=0, colormap=colors, categories=["no data", *legend.names]) as writer:
            for window in made.tile.windows(BLOCK):
                writer.write(made.truth(year, window), window)
    with CogWriter(folder / "old_map.tif", old.tile, dtype="int16", nodata=NODATA) as writer:
        writer.write(old.codes, Window(0, 0, old.tile.shape[1], old.tile.shape[0]))


def _write_catalog(folder: Path, made: SyntheticWorld, name: str) -> int:
    items = [item for acquisition in made.acquisitions for item in _write_acquisition(folder, made, acquisition)]
    text = f"Synthetic Sentinel-2 Level-2A world, seed {made.seed}: {made.size} x {made.size} pixels, {len(items)} items. No real place."
    collection = make_collection(items, name, text)
    collection.catalog_type = pystac.CatalogType.SELF_CONTAINED  # relative links: the folder can be moved
    collection.set_self_href(str(folder.absolute() / "collection.json"))
    for item in items:
        item.set_self_href(str(folder.absolute() / "items" / item.id / f"{item.id}.json"))
        storage.write_json(item.self_href, item.to_dict(include_self_link=False))
    storage.write_json(collection.self_href, collection.to_dict(include_self_link=False))
    return len(items)


def _write_acquisition(folder: Path, made: SyntheticWorld, acquisition: Acquisition) -> list[pystac.Item]:
    """Write one acquisition in each of its processing baselines, window by window."""
    keys = (*BANDS, "SCL")
    files = {
        baseline: {key: folder / "items" / item_id(acquisition, baseline) / f"{key}.tif" for key in keys}
        for baseline in acquisition.baselines
    }
    counts = np.zeros(12, np.int64)
    with ExitStack() as stack:
        writers = {
            (baseline, key): stack.enter_context(_writer(path, key, made.tile))
            for baseline, paths in files.items()
            for key, path in paths.items()
        }
        for window in made.tile.windows(BLOCK):
            layers, scl = _layers(made, acquisition, window)
            counts += np.bincount(scl.ravel(), minlength=12)
            for (baseline, key), writer in writers.items():
                grid_window = window if grid_of(key, made.tile) is made.tile else _halved(window)
                writer.write(scl if key == "SCL" else digital_numbers(layers[key], baseline), grid_window)
    return [make_item(acquisition, baseline, made.tile, paths, counts) for baseline, paths in files.items()]


def _writer(path: Path, key: str, tile: Tile) -> CogWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    return CogWriter(path, grid_of(key, tile), dtype="uint8" if key == "SCL" else "uint16", nodata=0)


def _layers(made: SyntheticWorld, acquisition: Acquisition, window: Window) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the reflectance of each band on its own grid (NaN outside the swath) and the scene classification."""
    look = made.observe(acquisition, window)
    value = np.where(look.inside[..., None], look.reflectance, np.nan)
    rows, columns = value.shape[0] // 2, value.shape[1] // 2
    coarse = value.reshape(rows, 2, columns, 2, -1).mean(axis=(1, 3))
    return {key: value[..., k] if key in FINE else coarse[..., k] for k, key in enumerate(BANDS)}, look.scl


def digital_numbers(reflectance: np.ndarray, baseline: str) -> np.ndarray:
    """Turn reflectance (NaN = not seen) into the digital numbers of a processing baseline: uint16, 0 = no data and nothing else."""
    numbers = np.rint(np.nan_to_num(reflectance) * 10_000) + offset_of(baseline)
    return np.where(np.isnan(reflectance), 0, np.clip(numbers, 1, 65_535)).astype(np.uint16)


def _halved(window: Window) -> Window:
    return Window(window.col_off // 2, window.row_off // 2, window.width // 2, window.height // 2)


def _study(made: SyntheticWorld, name: str) -> str:
    """Return a study file that maps the world; its paths are relative to it."""
    record = {
        "name": name,
        "area": {"catalog-extent": True},
        "years": list(made.years),
        "source": {"catalog": "collection.json"},
        "old_map": {"uri": "old_map.tif", "year": made.base_year, "crosswalk": "corine"},
        "evaluate": {"reference": {year: f"truth_{year}.tif" for year in made.years}, "points": "points.csv"},
        "workspace": "./work",
        "seed": made.seed,
    }
    return "# Made by `landtide simulate`: truth and points are for evaluation only.\n" + yaml.safe_dump(record, sort_keys=False)
