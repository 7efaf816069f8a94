"""Preliminary labels at candidate pixels, for every year."""

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from landtide.classify import predict
from landtide.classify.maps import Mapper
from landtide.core.landcover import NO_DATA
from landtide.io import table
from landtide.io.cube import CHUNK
from landtide.io.manifest import Writing

BATCH = 4096
"""Candidates a task: enough for the matrix products, few enough to share between workers."""


@dataclass(frozen=True)
class Batch:
    """Candidates of one tile."""

    tile: str
    rows: np.ndarray
    """(N,) int64 row of each in the tile."""

    columns: np.ndarray
    place: np.ndarray
    """(N,) int64 position in the table of candidates."""


def at_candidates(
    *, model_uri: str, candidates_uri: str, cubes: dict[str, dict[int, str]], out: Writing, pool: Mapper, threads: int = 1
) -> None:
    """Label the candidate pixels in every year; write labels.parquet as the asset ``labels``.

    cubes  tile -> year -> URI of the cube

    Columns: those of the candidates (tile, row, column, old_label), and ``label_<year>`` (uint8, 0 = not observed) and ``vote_<year>``
    (float32, share of the vote or probability, 0 = not observed) for each year.
    Raises InputError where a cube has other bands or steps than the model was trained on.
    """
    frame = table.read_frame(candidates_uri)
    model = predict.load_model(model_uri)
    for by_year in cubes.values():
        for uri in by_year.values():
            predict.open_fitting(model, uri)
    years = sorted({year for by_year in cubes.values() for year in by_year})
    labels = {year: np.full(len(frame), NO_DATA, np.uint8) for year in years}
    votes = {year: np.zeros(len(frame), np.float32) for year in years}
    batches = batches_of(frame)
    work = functools.partial(label_batch, model_uri, cubes, threads)
    for batch, found in zip(batches, pool.map(work, batches), strict=True):
        for year, (label, vote) in found.items():
            labels[year][batch.place], votes[year][batch.place] = label, vote
    columns = {f"label_{year}": labels[year] for year in years} | {f"vote_{year}": votes[year] for year in years}
    out.put("labels.parquet", table.encode_frame(frame.assign(**columns)))
    out.add_asset("labels", "labels.parquet", media_type="application/vnd.apache.parquet", title="Preliminary labels at candidate pixels")


def batches_of(frame: pd.DataFrame) -> list[Batch]:
    """Cut the candidates into batches of one tile, ordered by chunk, so that most chunks are read by one batch only."""
    batches = []
    tiles = frame["tile"].to_numpy(str)
    for tile in np.unique(tiles):
        rows = np.flatnonzero(tiles == tile)
        row, column = frame["row"].to_numpy(np.int64)[rows], frame["column"].to_numpy(np.int64)[rows]
        order = np.lexsort((column // CHUNK, row // CHUNK))
        batches += [Batch(str(tile), row[part], column[part], rows[part]) for part in np.split(order, range(BATCH, len(order), BATCH))]
    return batches


def label_batch(model_uri: str, cubes: dict[str, dict[int, str]], threads: int, batch: Batch) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return label (N,) uint8 and vote (N,) float32 of a batch for each year."""
    model = predict.load_model(model_uri)
    found = {}
    with predict.limited(threads):
        for year, uri in cubes.get(batch.tile, {}).items():
            cube = predict.open_fitting(model, uri)
            x = cube.read_pixels(batch.rows, batch.columns)
            observed = ~np.isnan(x).all(axis=(1, 2))
            share, _ = predict.one_year(model, x, cube, observed)
            label = np.where(observed, share.argmax(axis=1) + 1, NO_DATA).astype(np.uint8)
            found[year] = label, share.max(axis=1)
    return found
