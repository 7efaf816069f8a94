"""A small synthetic Sentinel-2 world with known truth: for the demo, the tests and the scale benchmarks."""

from landtide.simulate.catalog import World, make_world
from landtide.simulate.listing import TILES, list_catalog
from landtide.simulate.old_map import OldMap, draw_old_map
from landtide.simulate.phenology import Difficulty
from landtide.simulate.world import SyntheticWorld, world

__all__ = ["TILES", "Difficulty", "OldMap", "SyntheticWorld", "World", "draw_old_map", "list_catalog", "make_world", "world"]
