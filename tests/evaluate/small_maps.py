"""Small maps with known content."""

from landtide.core.legend import Legend
from landtide.core.tile import Tile
from landtide.evaluate.tally import Maps
from landtide.evaluate.views import map_states, views_of


def grid(name: str, shape: tuple[int, int], west: float = 500_000.0, crs: str = "EPSG:32633") -> Tile:
    return Tile(name, crs, (10.0, 0.0, west, 0.0, -10.0, 5_100_000.0), shape)


def maps_of(legend: Legend, tiles: list[Tile], labels: dict[str, dict[int, str]]) -> Maps:
    """Return maps without an old one."""
    years = sorted({year for table in labels.values() for year in table})
    return Maps(tiles, years, labels, map_states(views_of(legend)), {}, None)
