"""From a study to what it reads: tiles, acquisitions with known radiometry, the old map and points on the tile."""

from landtide.retrieve.area import resolve_tiles
from landtide.retrieve.check import Checked, Planned, check
from landtide.retrieve.digest import embedding_of, embedding_source, reference_sources
from landtide.retrieve.fetch import UnreachedError, fetch, source_ids
from landtide.retrieve.legends import load_crosswalk, load_legend
from landtide.retrieve.old_map import old_map_source, positional_accuracy, warp_old_map
from landtide.retrieve.points import Cover, LabelledPoints, labelled_points, near_reference, points_crosswalk
from landtide.retrieve.report import SizeTable, size_table

__all__ = [
    "Checked",
    "Cover",
    "LabelledPoints",
    "Planned",
    "SizeTable",
    "UnreachedError",
    "check",
    "embedding_of",
    "embedding_source",
    "fetch",
    "labelled_points",
    "load_crosswalk",
    "load_legend",
    "near_reference",
    "old_map_source",
    "points_crosswalk",
    "positional_accuracy",
    "reference_sources",
    "resolve_tiles",
    "size_table",
    "source_ids",
    "warp_old_map",
]
