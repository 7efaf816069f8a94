"""How large a window may be."""

from landtide.io.cube import CHUNK

LARGEST = 512
"""Pixels along a side: beyond it the reads get no cheaper, and the workers run out of windows to share."""

SHARE = 0.25
"""Part of a worker's memory that the arrays of a window may take: libraries and model need the rest."""


def window_size(memory: int, *, years: int, steps: int, bands: int, classes: int, state: int = 0) -> int:
    """Return the side of a window in pixels: whole chunks, as many as a worker's memory allows, at least one.

    memory  bytes that a worker may use
    steps   of a year, or of all years where a model looks at them together
    state   values that a model hands on from year to year for each pixel

    The series of so many steps are in memory, as int16, as float32, turned round and standardised; probabilities are held for all years.
    """
    series = steps * bands * (2 + 4 * 4)
    shares = classes * 4 * (years + 2) * 2
    chunks = int((memory * SHARE / (series + shares + 3 * 4 * state)) ** 0.5) // CHUNK
    return min(max(chunks, 1) * CHUNK, LARGEST)
