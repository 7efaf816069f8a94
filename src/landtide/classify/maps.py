"""Annual maps of one tile: windows out to the workers, labels back into Cloud-Optimized GeoTIFFs."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rasterio.windows import Window

from landtide.classify import predict
from landtide.classify.consistency import Method, smooth
from landtide.classify.windows import window_size
from landtide.core.errors import InputError
from landtide.core.landcover import DO_NOT_KNOW, NO_CONFIDENCE, NO_DATA
from landtide.core.legend import Legend
from landtide.core.tile import Tile
from landtide.io.cube import Cube
from landtide.io.manifest import Writing
from landtide.io.raster import CogWriter
from landtide.models import SequenceModel

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


class Mapper(Protocol):
    """What is asked of a pool of workers: results in the order of the items."""

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Job:
    """What every window of a tile shares."""

    model_uri: str
    cubes: dict[int, str]
    consistency: Method
    probabilities: bool
    threads: int
    runtime: str = "torch"


@dataclass(frozen=True)
class Part:
    """The maps of one year in one window."""

    label: np.ndarray
    """(h, w) uint8, 0 = no data."""

    confidence: np.ndarray
    """(h, w) uint8 per cent, 255 = no data."""

    probability: np.ndarray | None
    """(K, h, w) uint8 per cent, 255 = no data."""


def tile_maps(
    *,
    model_uri: str,
    cubes: dict[int, str],
    tile: Tile,
    outs: dict[int, Writing],
    probabilities: bool,
    consistency: Method,
    memory: int,
    pool: Mapper,
    threads: int,
    runtime: str = "torch",
    legend: Legend | None = None,
) -> None:
    """Write label, confidence and, where asked for, probabilities of a tile for each year.

    cubes    year -> URI of the cube
    outs     year -> where its maps go
    memory   bytes that a worker may use
    threads  that one window may use
    runtime  of networks: torch, openvino, or auto, which is OpenVINO where it is installed
    legend   that the maps must have; None = that of the model

    Raises InputError where a cube has other bands or steps than the model was trained on, or the model another legend.
    """
    model = predict.load_model(model_uri, runtime, threads)
    if legend is not None:
        predict.check_legend(model, legend, model_uri)
    for year, uri in cubes.items():
        cube = predict.open_fitting(model, uri)
        if cube.tile.shape != tile.shape or cube.tile.transform != tile.transform:
            raise InputError(f"cube {uri} of {year} lies on another grid than tile {tile.name}: composite it again")
    job = Job(model_uri, cubes, consistency, probabilities, threads, runtime)
    together = len(cubes) if model.across == "window" else 1
    side = window_size(
        memory,
        years=len(cubes),
        steps=model.steps * together,
        bands=len(model.bands),
        classes=len(model.legend),
        state=model.state_width,
        around=predict.reach(model, len(cubes)),
    )
    windows = tile.windows(side)
    with ExitStack() as stack:
        writers = {year: _open(stack, out, tile, model, probabilities) for year, out in outs.items()}
        for window, parts in zip(windows, pool.map(functools.partial(classify_window, job), windows), strict=True):
            for year, files in writers.items():
                _write(files, parts[year], window)
    for out in outs.values():
        _record(out, model, probabilities)


def classify_window(job: Job, window: Window) -> dict[int, Part]:
    """Return the maps of every year in one window."""
    model = predict.load_model(job.model_uri, job.runtime, job.threads)
    years = sorted(job.cubes)
    shape = (int(window.height), int(window.width))
    with predict.limited(job.threads):
        probability, observed = _years(model, [job.cubes[year] for year in years], window)  # (N, Y, K), (N, Y)
    if job.consistency == "hmm":
        probability = smooth(probability, model.prior, observed)
    return {year: _part(probability[:, i], observed[:, i], shape, job.probabilities) for i, year in enumerate(years)}


def _years(model: SequenceModel, uris: list[str], window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (N, Y, K) and which pixels were observed (N, Y), N = h * w.

    One year's series are in memory at a time, unless the model looks at all together.
    """
    cubes = [predict.open_fitting(model, uri) for uri in uris]
    if model.halo is not None:
        return predict.images(model, cubes, window)
    if model.across == "window":
        series, seen = zip(*(_read(model, cube, window) for cube in cubes), strict=True)
        observed = np.stack(seen, axis=1)
        return np.where(observed[..., None], predict.all_years(model, list(series), cubes, observed), 0), observed
    shares, observed_years, state = [], [], None
    for cube in cubes:
        x, observed_year = _read(model, cube, window)
        share, state = predict.one_year(model, x, cube, observed_year, state)
        shares.append(share)
        observed_years.append(observed_year)
    return np.stack(shares, axis=1), np.stack(observed_years, axis=1)


def _read(model: SequenceModel, cube: Cube, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return the series of a window (N, T, C) and which pixels were observed (N,)."""
    steps, bands = model.steps, len(model.bands)
    counted = cube.read_count(window).any(axis=0).reshape(-1)
    if not counted.any():
        return np.full((len(counted), steps, bands), np.nan, np.float32), counted
    x = np.ascontiguousarray(cube.read(window).reshape(steps, bands, -1).transpose(2, 0, 1))  # (T, C, h, w) -> (N, T, C)
    return x, counted & ~np.isnan(x).all(axis=(1, 2))


def _part(probability: np.ndarray, observed: np.ndarray, shape: tuple[int, int], wanted: bool) -> Part:
    label = np.where(observed, np.argmax(probability, axis=1) + 1, NO_DATA).astype(np.uint8)
    per_cent = np.rint(100 * probability).astype(np.uint8)
    per_cent[~observed] = NO_CONFIDENCE
    confidence = per_cent.max(axis=1)
    shares = per_cent.T.reshape(-1, *shape) if wanted else None  # (N, K) -> (K, h, w)
    return Part(label.reshape(shape), confidence.reshape(shape), shares)


def _open(stack: ExitStack, out: Writing, tile: Tile, model: SequenceModel, probabilities: bool) -> dict[str, CogWriter]:
    """Open the files of one year; leaving the stack finishes them."""
    legend, tags = model.legend, {"landtide_model": model.id}
    confidence = CogWriter(_draft(out, "confidence"), tile, dtype="uint8", nodata=NO_CONFIDENCE, tags=tags)
    label = CogWriter(
        _draft(out, "label"),
        tile,
        dtype="uint8",
        nodata=NO_DATA,
        colormap=color_table(legend),
        categories=category_names(legend),
        tags=tags,
    )
    files = {"label": stack.enter_context(label), "confidence": stack.enter_context(confidence)}
    if probabilities:
        share = CogWriter(
            _draft(out, "probability"),
            tile,
            dtype="uint8",
            nodata=NO_CONFIDENCE,
            count=len(legend),
            tags=tags,
            descriptions=list(legend.names),
        )
        files["probability"] = stack.enter_context(share)
    return files


def _write(files: dict[str, CogWriter], part: Part, window: Window) -> None:
    files["label"].write(part.label, window)
    files["confidence"].write(part.confidence, window)
    if part.probability is not None:
        for band, share in enumerate(part.probability, start=1):
            files["probability"].write(share, window, band)


def _record(out: Writing, model: SequenceModel, probabilities: bool) -> None:
    """Move the finished files to their place and list them."""
    titles = {"label": "Land cover", "confidence": "Probability of the label, per cent"}
    if probabilities:
        titles["probability"] = "Probability of each class, per cent"
    for name, title in titles.items():
        out.upload(_draft(out, name), f"{name}.tif")
        extra = {"classification:classes": classes_of(model.legend)} if name == "label" else {}
        out.add_asset(name, f"{name}.tif", media_type=COG, title=title, extra=extra)
    sidecar = Path(f"{_draft(out, 'label')}.aux.xml")
    out.upload(sidecar, "label.tif.aux.xml")
    out.properties["landtide:model"] = model.id


def color_table(legend: Legend) -> dict[int, tuple[int, int, int, int]]:
    """Return the colour of each label; no data and "do not know" are transparent and grey."""
    table = {label: (*item.rgb, 255) for label, item in enumerate(legend.classes, start=1)}
    return {NO_DATA: (0, 0, 0, 0), **table, DO_NOT_KNOW: (128, 128, 128, 255)}


def category_names(legend: Legend) -> list[str]:
    """Return the name of each label, in order from 0."""
    return ["no data", *legend.names]


def classes_of(legend: Legend) -> list[dict[str, Any]]:
    """Return the legend as the STAC classification extension writes it."""
    fill = {"value": NO_DATA, "name": "no_data", "title": "no data", "nodata": True}
    rows = [
        {"value": label, "name": _slug(item.name), "title": item.name, "color_hint": item.color.removeprefix("#")}
        for label, item in enumerate(legend.classes, start=1)
    ]
    return [fill, *rows]


def _slug(name: str) -> str:
    """Return a name of letters, digits, '-' and '_', as the extension demands."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")


def _draft(out: Writing, name: str) -> Path:
    return out.scratch / f"{name}.tif"
