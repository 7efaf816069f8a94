"""Training samples from an old map: cleaned, scored and drawn, with a report of what was refused."""

from landtide.extract.audit import audit
from landtide.extract.oldmap import from_old_map
from landtide.extract.points import LabelledPoint
from landtide.extract.stable import stable

__all__ = ["LabelledPoint", "audit", "from_old_map", "stable"]
