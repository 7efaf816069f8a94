"""Agreement between years, transitions and areas; the oracle is counting by hand."""

import numpy as np
import pytest
from small_maps import grid, maps_of

from landtide.core.tile import Tile
from landtide.evaluate.tally import count_tile
from landtide.evaluate.temporal import describe_areas, describe_years

TILE = grid("t", (2, 4))
#   same     A-B-A    changed  no data in one year
Y1 = [[1, 2, 1, 1], [1, 1, 3, 0]]
Y2 = [[1, 2, 2, 1], [1, 2, 3, 2]]
Y3 = [[1, 2, 1, 0], [1, 3, 3, 2]]


@pytest.fixture
def counted(save, legend, pool):
    labels = {"t": {year: save(str(year), np.array(y, np.uint8), TILE) for year, y in ((2018, Y1), (2019, Y2), (2020, Y3))}}
    maps = maps_of(legend, [TILE], labels)
    return maps, {"t": count_tile(maps, TILE, pool)}


def test_agreement_is_as_counted_by_hand(counted):
    temporal = describe_years(*counted)
    assert temporal["pixels"] == 6  # two of eight pixels lack a year
    assert temporal["all_years"] == pytest.approx(4 / 6)
    by_pair = {(pair["from"], pair["to"]): (pair["pixels"], pair["agreement"]) for pair in temporal["pairs"]}
    assert by_pair == {(2018, 2019): (7, 5 / 7), (2018, 2020): (6, 5 / 6), (2019, 2020): (7, 5 / 7)}
    assert temporal["pairwise"] == pytest.approx((5 / 7 + 5 / 6 + 5 / 7) / 3)
    assert temporal["flips"] == {"share": pytest.approx(1 / 6), "triples": 6}


def test_transitions_are_in_hectares_with_the_earlier_class_in_the_row(counted):
    first, second = describe_years(*counted)["transitions"]
    assert (first["from"], first["to"]) == (2018, 2019)
    np.testing.assert_allclose(first["hectares"], np.array([[3, 2, 0], [0, 1, 0], [0, 0, 1]]) * 0.01)
    np.testing.assert_allclose(second["hectares"], np.array([[2, 0, 0], [1, 2, 1], [0, 0, 1]]) * 0.01)


def test_areas_add_up_to_the_tile(counted, legend):
    maps, tallies = counted
    areas = describe_areas(maps, legend, tallies)
    assert areas["years"][0] == {"year": 2018, "hectares": pytest.approx([0.05, 0.01, 0.01]), "no_data": 0.01, "do_not_know": 0.0}
    for row in areas["years"]:
        assert sum(row["hectares"]) + row["no_data"] + row["do_not_know"] == pytest.approx(0.08)
    assert areas["old_map"] is None


def test_one_year_has_no_agreement(save, legend, pool):
    maps = maps_of(legend, [TILE], {"t": {2018: save("a", np.array(Y1, np.uint8), TILE)}})
    assert describe_years(maps, {"t": count_tile(maps, TILE, pool)}) is None


def test_places_in_two_tiles_count_once(save, legend, pool):
    tiles = [grid("a", (4, 10)), grid("b", (4, 10), west=500_060.0)]  # the last four columns of a are the first four of b
    labels = {tile.name: {2018: save(tile.name, np.ones((4, 10), np.uint8), tile)} for tile in tiles}
    maps = maps_of(legend, tiles, labels)
    assert [int(count_tile(maps, tile, pool).labels.sum()) for tile in tiles] == [40, 24]


def test_places_in_tiles_of_two_zones_count_once(save, legend, pool):
    south_of = Tile("a", "EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_100_000.0), (300, 300))
    other = Tile("b", "EPSG:32632", (10.0, 0.0, 965_000.0, 0.0, -10.0, 5_118_000.0), (300, 300))
    labels = {tile.name: {2018: save(tile.name, np.ones(tile.shape, np.uint8), tile)} for tile in (south_of, other)}
    maps = maps_of(legend, [south_of, other], labels)
    counted = int(count_tile(maps, other, pool).labels.sum())
    from odc.geo.geom import polygon_from_transform

    def outline(tile):
        return polygon_from_transform(tile.shape, tile.affine, tile.crs)

    shared = outline(other).intersection(outline(south_of).to_crs("EPSG:32632")).area / 100
    assert 0 < shared < 90_000
    assert counted == pytest.approx(90_000 - shared, abs=120)


def test_do_not_know_is_no_class(save, legend, pool):
    first, second = np.array([[1, 254, 2]], np.uint8), np.array([[1, 1, 254]], np.uint8)
    tile = grid("t", (1, 3))
    maps = maps_of(legend, [tile], {"t": {2018: save("a", first, tile), 2019: save("b", second, tile)}})
    tallies = {"t": count_tile(maps, tile, pool)}
    assert describe_years(maps, tallies)["pixels"] == 1
    assert describe_areas(maps, legend, tallies)["years"][0]["do_not_know"] == pytest.approx(0.01)
