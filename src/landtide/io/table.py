"""Tables in Parquet: samples (a row a sample, the series as a fixed-size list) and plain columns."""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from landtide.core.errors import LandtideError
from landtide.core.samples import SampleSet
from landtide.io import storage
from landtide.io.remote import open_seekable

SCHEMA_KEY = b"landtide"
ROW_GROUP = 65_536
"""Samples a row group: a reader that takes one at a time holds some 30 MB of x."""


def encode_samples(samples: SampleSet) -> bytes:
    """Return samples as Parquet bytes; the same samples give the same bytes."""
    count, steps, channels = samples.x.shape
    columns: dict[str, pa.Array] = {
        "x": pa.FixedSizeListArray.from_arrays(pa.array(samples.x.reshape(-1), pa.float32()), steps * channels),
        "doy": pa.FixedSizeListArray.from_arrays(pa.array(samples.doy.reshape(-1), pa.int16()), steps),
        "easting": pa.array(samples.xy[:, 0], pa.float64()),
        "northing": pa.array(samples.xy[:, 1], pa.float64()),
        "y": pa.array(samples.y, pa.uint8()),
        "year": pa.array(samples.year, pa.int16()),
        "trust": pa.array(samples.trust, pa.float32()),
        "polygon": pa.array(samples.polygon, pa.int64()),
        "tile": pa.array(samples.tile.astype(object), pa.string()),
        "draw": pa.array(samples.draw, pa.uint32()),
    }
    meta = {"steps": steps, "channels": channels, "bands": list(samples.bands), "origin": samples.origin, "count": count}
    table = pa.table(columns).replace_schema_metadata({SCHEMA_KEY: json.dumps(meta).encode()})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=ROW_GROUP)
    return sink.getvalue()


def write_samples(uri: str, samples: SampleSet) -> str:
    """Write samples as Parquet; return the SHA-256."""
    data = encode_samples(samples)
    storage.write_bytes(uri, data)
    return storage.digest(data)


@dataclass(frozen=True)
class SampleFile:
    """Samples on disk, of which a row group at a time is read."""

    uri: str
    steps: int
    bands: tuple[str, ...]
    origin: str
    groups: tuple[int, ...]
    """Samples of each row group."""

    def __len__(self) -> int:
        return sum(self.groups)

    def read(self, group: int | None = None) -> SampleSet:
        """Return the samples of one row group, or all."""
        with open_seekable(self.uri) as stream:
            file = pq.ParquetFile(stream)
            table = file.read() if group is None else file.read_row_group(group)
        return _decode(table, self)


def open_samples(uri: str) -> SampleFile:
    """Look at a file of samples. Raises FileNotFoundError, or LandtideError where the file holds no samples of landtide."""
    with open_seekable(uri) as stream:
        try:
            parquet = pq.ParquetFile(stream)
        except pa.ArrowInvalid as error:
            raise LandtideError(f"{uri} is no whole Parquet file ({str(error).splitlines()[0]}): make it again") from error
        metadata, footer = parquet.schema_arrow.metadata or {}, parquet.metadata
        groups = tuple(footer.row_group(number).num_rows for number in range(footer.num_row_groups))
    if SCHEMA_KEY not in metadata:
        raise LandtideError(f"{uri} is Parquet, but holds no samples of landtide (no schema metadata)")
    meta: dict[str, Any] = json.loads(metadata[SCHEMA_KEY])
    return SampleFile(uri, meta["steps"], tuple(meta["bands"]), meta["origin"], groups)


def read_samples(uri: str) -> SampleSet:
    """Read all samples of a file. Raises FileNotFoundError, or LandtideError where the file holds no samples of landtide."""
    return open_samples(uri).read()


def _decode(table: pa.Table, file: SampleFile) -> SampleSet:
    count, steps, channels = table.num_rows, file.steps, len(file.bands)

    def values(name: str) -> np.ndarray:
        return np.asarray(table[name].combine_chunks().to_numpy(zero_copy_only=False))

    def lists(name: str) -> np.ndarray:
        return np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table[name].chunks] or [np.empty(0)])

    return SampleSet(
        x=lists("x").astype(np.float32, copy=False).reshape(count, steps, channels),
        y=values("y").astype(np.uint8, copy=False),
        doy=lists("doy").astype(np.int16, copy=False).reshape(count, steps),
        xy=np.column_stack([values("easting"), values("northing")]).astype(np.float64),
        year=values("year").astype(np.int16, copy=False),
        trust=values("trust").astype(np.float32, copy=False),
        polygon=values("polygon").astype(np.int64, copy=False),
        tile=values("tile").astype(str),
        draw=values("draw").astype(np.uint32, copy=False),
        bands=file.bands,
        origin=file.origin,
    )


def encode_frame(frame: pd.DataFrame) -> bytes:
    """Return a table of plain columns as Parquet bytes."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink, compression="zstd")
    return sink.getvalue()


def read_frame(uri: str) -> pd.DataFrame:
    """Read a table of plain columns."""
    frame: pd.DataFrame = pq.read_table(io.BytesIO(storage.read_bytes(uri))).to_pandas()
    return frame
