"""Pictures of maps and images: reading a tile's pixels, colours, halving, PNG and WebP."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from PIL import Image
from rasterio.windows import Window

from landtide.core.landcover import DO_NOT_KNOW, NO_CONFIDENCE, NO_DATA
from landtide.core.tile import Tile
from landtide.io.cube import open_cube
from landtide.io.raster import open_raster

Style = Literal["label", "confidence", "image"]
FILLS = {"label": NO_DATA, "confidence": NO_CONFIDENCE, "image": 0}
Reader = Callable[[Window], np.ndarray]


class Source(Protocol):
    """Where the pixels of one tile come from."""

    @property
    def tile(self) -> Tile: ...

    def open(self) -> AbstractContextManager[Reader]:
        """Lend a function that reads a window: (h, w) uint8 of labels or confidence, (h, w, 4) uint8 of an image with alpha."""
        ...


@dataclass(frozen=True)
class RasterSource:
    """One band of a COG on the tile's grid."""

    tile: Tile
    uri: str

    @contextmanager
    def open(self) -> Iterator[Reader]:
        with open_raster(self.uri) as dataset:
            yield lambda window: dataset.read(1, window=window)


@dataclass(frozen=True)
class CubeSource:
    """Natural colours, or one band in grey, as the median over some steps of a cube."""

    tile: Tile
    uri: str
    channels: tuple[int, ...]
    """Bands of the cube: red, green, blue, or a single one."""

    steps: tuple[int, ...]
    low: tuple[float, ...]
    """Value of each channel that becomes black."""

    high: tuple[float, ...]
    """Value of each channel that becomes full."""

    @contextmanager
    def open(self) -> Iterator[Reader]:
        cube = open_cube(self.uri)

        def read(window: Window) -> np.ndarray:
            series = cube.read(window)[list(self.steps)][:, list(self.channels)]  # (S, 1|3, h, w)
            return shade(median(series), self.low, self.high)

        yield read


def halve(block: np.ndarray, style: Style) -> np.ndarray:
    """Return a block at half resolution: every second label, the mean of valid confidences, the mean colour weighted by alpha."""
    if style == "label":
        labels: np.ndarray = block[::2, ::2]
        return labels
    parts = np.stack([block[::2, ::2], block[1::2, ::2], block[::2, 1::2], block[1::2, 1::2]]).astype(np.float32)
    if style == "confidence":
        valid = parts != NO_CONFIDENCE
        mean = (parts * valid).sum(axis=0) / np.maximum(valid.sum(axis=0), 1)
        averaged: np.ndarray = np.where(valid.any(axis=0), np.rint(mean), NO_CONFIDENCE).astype(np.uint8)
        return averaged
    alpha = parts[..., 3:]
    colour = (parts[..., :3] * alpha).sum(axis=0) / np.maximum(alpha.sum(axis=0), 1)
    image: np.ndarray = np.rint(np.concatenate([colour, alpha.mean(axis=0)], axis=-1)).astype(np.uint8)
    return image


def encode(block: np.ndarray, style: Style, palette: np.ndarray | None) -> bytes:
    """Return a block as a picture: PNG whose palette index is the value itself (fill value transparent), or WebP of an image."""
    buffer = io.BytesIO()
    image = Image.fromarray(block)
    if palette is None:
        image.save(buffer, "WEBP", quality=82, method=2)
    else:
        image.putpalette(palette.tobytes())
        image.save(buffer, "PNG", transparency=FILLS[style], compress_level=6)
    return buffer.getvalue()


def decode(data: bytes) -> np.ndarray:
    """Return the values of a palette picture (h, w), or the RGBA of an image (h, w, 4)."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image if image.mode == "P" else image.convert("RGBA"))


def median(series: np.ndarray) -> np.ndarray:
    """Return the median of the valid values over the first axis; NaN where there is none.

    series  (S, C, h, w) float32, NaN = missing. Sorting puts NaN last, so the middle of the valid ones is found by their count.
    """
    ordered = np.sort(series, axis=0)
    valid = (~np.isnan(series)).sum(axis=0)[None]
    lower = np.take_along_axis(ordered, np.maximum(valid - 1, 0) // 2, axis=0)[0]
    upper = np.take_along_axis(ordered, np.minimum(valid // 2, len(series) - 1), axis=0)[0]
    middle: np.ndarray = (lower + upper) / 2
    return middle


def shade(values: np.ndarray, low: tuple[float, ...], high: tuple[float, ...]) -> np.ndarray:
    """Turn channels (1|3, h, w) into (h, w, 4) uint8 with a slight gamma, for shadows; a pixel with a missing channel is transparent."""
    floor, top = (np.asarray(limit, np.float32)[:, None, None] for limit in (low, high))
    valid = ~np.isnan(values).any(axis=0)
    scaled = np.clip((values - floor) / np.maximum(top - floor, 1e-6), 0, 1)
    colour = np.rint(255 * np.where(valid, scaled, 0) ** (1 / 1.3)).astype(np.uint8)
    channels = colour if len(colour) == 3 else np.repeat(colour, 3, axis=0)
    return np.moveaxis(np.concatenate([channels, (valid[None] * 255).astype(np.uint8)]), 0, -1)  # (4, h, w) -> (h, w, 4)


def label_palette(colours: list[tuple[int, int, int]]) -> np.ndarray:
    """Return (256, 3) uint8: the colour of each label 1..K, nudged by one step where two classes share it.

    A browser sees colours and not palette indices, so it can only tell labels apart if every colour is used once.
    """
    palette = np.zeros((256, 3), np.uint8)
    used: set[tuple[int, int, int]] = {(0, 0, 0)}
    for label, colour in [*enumerate(colours, start=1), (DO_NOT_KNOW, (128, 128, 128))]:
        free = next(shade for shade in _nearby(colour) if shade not in used)
        used.add(free)
        palette[label] = free
    return palette


def confidence_palette() -> np.ndarray:
    """Return (256, 3) uint8 for 0 to 100 per cent, violet to yellow: rising lightness, so that it also reads without colour vision."""
    anchors = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)
    palette = np.zeros((256, 3), np.uint8)
    for channel in range(3):
        palette[:101, channel] = np.rint(np.interp(np.arange(101), np.linspace(0, 100, 5), anchors[:, channel]))
    return palette


def _nearby(colour: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """Return a colour and then its nearest neighbours in blue, green and red."""
    yield colour
    for step in range(1, 128):
        for channel in (2, 1, 0):
            for sign in (-1, 1):
                moved = list(colour)
                moved[channel] += sign * step
                if 0 <= moved[channel] <= 255:
                    yield (moved[0], moved[1], moved[2])
