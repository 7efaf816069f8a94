"""From the acquisitions of a year to one cube of regular composites: mask, reduce, fill gaps."""

from landtide.composite.engine import build
from landtide.composite.estimate import Rate, measure, peak_memory

__all__ = ["Rate", "build", "measure", "peak_memory"]
