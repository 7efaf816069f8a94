"""Series without labels: what pre-training learns from."""

import numpy as np
from rasterio.windows import Window

from landtide.core.samples import SampleSet
from landtide.core.tile import Tile
from landtide.extract.series import Inputs, Labelled, open_inputs, sample_set
from landtide.io.cube import open_cube
from landtide.io.manifest import Writing
from landtide.io.table import encode_samples

SIDE = 128
"""Pixels along the side of the windows that pixels are drawn from: a chunk of a cube, which is read whole in any case."""

WINDOWS = 64
"""Windows of a tile that are read at most: the same pixels from all windows would read the whole tile."""

ALL_DRAWS = 0xFFFFFFFF


def draw_unlabelled(cubes: dict[str, dict[int, str]], count: int, seed: int, out: Writing) -> None:
    """Draw places over all tiles, and write their series of all years as the asset ``samples``; labels are 0, the polygon is the window.

    count  places in all; pixels that are never observed in any year are left out
    """
    inputs = open_inputs(cubes)
    rng = np.random.default_rng([seed, 6])
    share = -(-count // len(inputs.tiles))
    parts = [_of_tile(inputs, number, share, rng) for number in range(len(inputs.tiles))]
    found = SampleSet.concatenate(parts)
    out.put("samples.parquet", encode_samples(found))
    out.add_asset("samples", "samples.parquet", media_type="application/vnd.apache.parquet", roles=["data"], title="Series without labels")
    out.properties |= {"landtide:samples": len(found), "landtide:years": inputs.years}


def _of_tile(inputs: Inputs, number: int, count: int, rng: np.random.Generator) -> SampleSet:
    windows = _windows(inputs.tiles[number])
    chosen = [windows[index] for index in np.sort(rng.permutation(len(windows))[:WINDOWS])]
    parts = []
    for place, window in enumerate(chosen):
        own = count // len(chosen) + (place < count % len(chosen))
        pixels = rng.permutation(int(window.height * window.width))[:own]
        rows, columns = window.row_off + pixels // window.width, window.col_off + pixels % window.width
        parts.append(_read(inputs, number, rows.astype(int), columns.astype(int), place))
    return sample_set(joined := _join(parts), np.full(len(joined.label), ALL_DRAWS, np.uint32), inputs, "unlabelled")


def _read(inputs: Inputs, number: int, rows: np.ndarray, columns: np.ndarray, group: int) -> Labelled:
    """Return the series of all years of some pixels of a tile, year by year."""
    years = [open_cube(uri).read_pixels(rows, columns) for uri in inputs.uris[number]]  # (P, T, B) each
    seen = np.any([~np.isnan(x).all(axis=(1, 2)) for x in years], axis=0)
    amount, spans = int(seen.sum()), len(years)
    return Labelled(
        x=np.concatenate([x[seen] for x in years]),
        tile=np.full(spans * amount, number),
        row=np.tile(rows[seen], spans),
        column=np.tile(columns[seen], spans),
        year=np.repeat(np.arange(spans), amount),
        label=np.zeros(spans * amount, np.uint8),
        trust=np.ones(spans * amount, np.float32),
        group=np.full(spans * amount, group, np.int64),
    )


def _join(parts: list[Labelled]) -> Labelled:
    return Labelled(*(np.concatenate([getattr(part, name) for part in parts]) for name in Labelled.__dataclass_fields__))


def _windows(tile: Tile) -> list[Window]:
    return list(tile.windows(SIDE))
