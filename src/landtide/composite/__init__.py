"""From the acquisitions of a year to one cube of regular composites: mask, reduce, fill gaps."""

from landtide.composite.engine import build

__all__ = ["build"]
