"""From samples back to the cubes that they were drawn from."""

from pathlib import Path

import pystac

from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.io import manifest
from landtide.runs import cubes_behind


def made(folder: Path, step: str, year: int, sources: list[pystac.Item], tile: Tile | None = None) -> pystac.Item:
    key = manifest.Key(str(folder), "s", step, tile.name if tile else "all", str(year), "0" * 16)
    links = [str(item.get_self_href()) for item in sources]
    with manifest.writing(key, period=Period.of_year(year), tile=tile, derived_from=links) as out:
        name = "cube" if step == "composite" else "table"
        out.put("data", b"1")
        out.add_asset(name, "data", media_type="text/plain", title="data")
    return manifest.read(f"{key.uri}/item.json")


def test_cubes_are_found_by_the_links_of_all_steps_between(tmp_path: Path) -> None:
    tile = Tile("31UFT", "EPSG:32631", (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_700_000.0), (150, 170))
    cubes = [made(tmp_path, "composite", year, [], tile) for year in (2018, 2019)]
    old_map = made(tmp_path, "old_map", 2018, [], tile)
    drawn = made(tmp_path, "extract", 2018, [*cubes, old_map])
    labels = made(tmp_path, "candidates", 2018, [made(tmp_path, "train", 2018, [drawn]), drawn])
    found = cubes_behind(made(tmp_path, "stable", 2018, [labels, drawn]))
    assert found == {"31UFT": {str(2018 + n): item.assets["cube"].href for n, item in enumerate(cubes)}}
