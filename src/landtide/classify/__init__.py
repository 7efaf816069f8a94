"""Classification: a model over the cubes of a tile, window by window, straight to maps."""

from landtide.classify.candidates import at_candidates
from landtide.classify.maps import tile_maps

__all__ = ["at_candidates", "tile_maps"]
