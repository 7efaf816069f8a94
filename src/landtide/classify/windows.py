"""How large a window may be."""

from landtide.io.cube import CHUNK

LARGEST = 512
"""Pixels along a side: beyond it the reads get no cheaper, and the workers run out of windows to share."""

SHARE = 0.25
"""Part of a worker's memory that the arrays of a window may take: libraries and model need the rest."""


def window_size(memory: int, *, years: int, steps: int, bands: int, classes: int, state: int = 0, around: int = 0) -> int:
    """Return the side of a window in pixels: whole chunks, as many as a worker's memory allows, at least one.

    memory  bytes that a worker may use
    steps   of a year, or of all years where a model looks at them together
    state   values that a model keeps for each pixel beside its series
    around  pixels on each side that are read with a window, because a model sees them

    The series of so many steps are in memory, as int16, as float32, turned round and standardised; probabilities are held for all years.
    """
    series = steps * bands * (2 + 4 * 4)
    shares = classes * 4 * (years + 2) * 2
    read = series + 3 * 4 * state
    fitting = (side for side in range(LARGEST, CHUNK, -CHUNK) if read * (side + 2 * around) ** 2 + shares * side**2 <= memory * SHARE)
    return next(fitting, CHUNK)
