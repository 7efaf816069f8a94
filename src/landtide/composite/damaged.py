"""Rasters that cannot be read: which acquisition and asset it was, and whether the work can go on without it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rasterio.errors import RasterioError

from landtide.composite.acquisitions import Acquisition, Layer
from landtide.core.errors import LandtideError
from landtide.io.storage import is_remote


class DamagedError(LandtideError):
    """A local raster cannot be read, although retrieval could: the acquisition has to be left out."""

    def __init__(self, acquisition: str, reason: str) -> None:
        super().__init__(f"acquisition {acquisition}, {reason}")
        self.acquisition = acquisition
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return DamagedError, (self.acquisition, self.reason)


@contextmanager
def blamed(acquisition: Acquisition, layer: Layer) -> Iterator[None]:
    """Put acquisition and asset to what fails while a raster is read."""
    try:
        yield
    except RasterioError as error:
        why = f"asset {layer.name}: {layer.href} cannot be read any more ({' '.join(str(error).split())})"
        if is_remote(layer.href):  # perhaps its server is down: leaving the acquisition out would be wrong
            raise LandtideError(
                f"acquisition {acquisition.id}, {why}: it was whole when it was retrieved; run retrieve with --force"
            ) from error
        raise DamagedError(acquisition.id, why) from error
