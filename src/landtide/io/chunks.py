"""Windows of an array of Zarr in local files, decoded here instead of by Zarr.

Zarr passes every chunk through an event loop, a pipeline of codecs and several copies, which together take longer than the decoding
(`benchmarks/cube.py`). Here a chunk is mapped, decoded and copied to its place by one thread. Other stores and codecs are left to Zarr.
"""

import mmap
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import blosc
from zarr.codecs import BloscCodec, BytesCodec
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import LocalStore

from landtide.core.errors import LandtideError

ROOMS = 4
"""Shapes of chunks for which a thread keeps memory: composites and counts, of cubes of two kinds."""

_own = threading.local()


@dataclass(frozen=True)
class LocalChunks:
    """An array (..., y, x) whose chunks hold all of the leading axes, are packed by Blosc alone, and lie in files of this machine."""

    folder: Path
    metadata: ArrayV3Metadata
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, array: zarr.Array[Any]) -> "LocalChunks | None":
        """Return the chunks of an array, None where it is stored otherwise."""
        metadata, store = array.metadata, array.store
        if not isinstance(store, LocalStore) or not isinstance(metadata, ArrayV3Metadata) or array.shards is not None:
            return None
        codecs = metadata.codecs
        plain = len(codecs) == 2 and isinstance(codecs[0], BytesCodec) and isinstance(codecs[1], BloscCodec)
        if not plain or sys.byteorder != "little" or array.dtype.byteorder == ">" or array.chunks[:-2] != array.shape[:-2]:
            return None
        return cls(Path(store.root) / array.path, metadata, array.chunks, array.dtype)

    def read(self, rows: slice, columns: slice, out: np.ndarray, change: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        """Read a window into ``out``, (..., h, w); a chunk that was never written is of the fill value.

        change  what becomes of the numbers on the way, pixel by pixel: done in each chunk's thread, while they are in its cache

        Raises LandtideError where a chunk is damaged.
        """
        shape = self.metadata.shape
        down, across = range(*rows.indices(shape[-2])), range(*columns.indices(shape[-1]))
        height, width = self.chunk[-2:]
        places = list(product(range(down.start // height, -(-down.stop // height)), range(across.start // width, -(-across.stop // width))))

        def copy(place: tuple[int, int]) -> None:
            top, left = place[0] * height, place[1] * width
            y = slice(max(down.start, top), min(down.stop, top + height))
            x = slice(max(across.start, left), min(across.stop, left + width))
            part = self._decoded(place)[..., y.start - top : y.stop - top, x.start - left : x.stop - left]
            into = out[..., y.start - down.start : y.stop - down.start, x.start - across.start : x.stop - across.start]
            into[...] = part if change is None else change(part)

        if len(places) == 1:
            copy(places[0])
        else:
            list(_decoders(os.getpid()).map(copy, places))

    def _decoded(self, place: tuple[int, int]) -> np.ndarray:
        """Return a chunk in memory of this thread, which its next chunk overwrites."""
        path = self.folder / self.metadata.encode_chunk_key((*[0] * (len(self.chunk) - 2), *place))
        room = _room(self.chunk, self.dtype)
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as packed:
                if int.from_bytes(packed[4:8], "little") != room.nbytes:  # Source: Blosc 1 header: bytes when unpacked
                    raise RuntimeError("it is of another size")
                blosc.decompress(packed, room)
        except FileNotFoundError:
            room[...] = self.metadata.fill_value
        except (RuntimeError, ValueError) as error:  # what Blosc and mmap raise
            raise LandtideError(f"{path} cannot be decoded ({error}): remove the composite it belongs to, and run again") from error
        return room


def _room(chunk: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Return an array that this thread decodes into, taken once."""
    rooms: dict[Any, np.ndarray] = _own.__dict__.setdefault("rooms", {})
    if (chunk, dtype) not in rooms:
        if len(rooms) == ROOMS:
            rooms.clear()
        rooms[chunk, dtype] = np.empty(chunk, dtype)
    return rooms[chunk, dtype]


@cache
def _decoders(process: int) -> ThreadPoolExecutor:
    """Return the threads of a process: one that was forked has not those of its parent."""
    return ThreadPoolExecutor(os.cpu_count() or 1, f"landtide-chunks-{process}")
