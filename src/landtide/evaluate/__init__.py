"""Score maps: accuracy with intervals, areas, agreement between years, and the old map by the same rule."""

from landtide.evaluate.step import check, evaluate, run

__all__ = ["check", "evaluate", "run"]
