"""Areas become tiles: the catalog's own grids, MGRS tiles, boxes and polygons."""

import json
from pathlib import Path

import numpy as np
import pytest
from made import TILE, make_study, red, write_collection, write_item

from landtide.core.errors import InputError
from landtide.core.tile import Tile, mgrs_tile
from landtide.retrieve import place, resolve_tiles

REAL = {
    # catalog: band, then name, CRS, upper left corner and shape as the catalog's README gives them
    "slovenia": ("NDVI", "slovenia", "EPSG:32633", (465181.05, 5080254.63), (101, 100)),
    "belgium_a": ("B04", "31UFS", "EPSG:32631", (664760.0, 5612400.0), (50, 48)),
    "belgium_b": ("B04", "31UFS", "EPSG:32631", (664000.0, 5612120.0), (100, 100)),
    "l2a_scl_cube": ("B04", "l2a_scl_cube", "EPSG:32631", (587880.0, 5685430.0), (52, 46)),
    "southtyrol": ("B04", "southtyrol", "EPSG:32632", (674990.0, 5154960.0), (705, 935)),
}


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_catalog_gives_its_own_grid_and_name(shared: Path, tmp_path: Path, name: str):
    band, tile_name, crs, corner, shape = REAL[name]
    study = make_study(tmp_path, source={"catalog": str(shared / "catalogs" / name / "collection.json")}, bands=[band])
    (tile,) = resolve_tiles(study)
    assert (tile.name, tile.crs, tile.shape) == (tile_name, crs, shape)
    assert tile.transform[2::3] == pytest.approx(corner, abs=0.01)


def test_slovenian_pixels_stay_as_they_are_and_are_not_rounded_to_10_m(shared: Path, tmp_path: Path):
    study = make_study(tmp_path, source={"catalog": str(shared / "catalogs/slovenia/collection.json")}, bands=["NDVI"])
    (tile,) = resolve_tiles(study)
    assert (tile.transform[0], tile.transform[4]) == pytest.approx((9.99479, -9.99745), abs=1e-5)


def test_the_finest_grid_among_the_bands_counts(tmp_path: Path):
    coarse = Tile(TILE.name, TILE.crs, (20.0, 0.0, 600_000.0, 0.0, -20.0, 5_700_000.0), (20, 25))
    path = write_item(tmp_path, "a", "2020-05-01T10:00:00Z", {"B04": red()})
    record = json.loads(path.read_text())
    record["assets"]["B11"] = {**record["assets"]["B04"], "proj:transform": list(coarse.transform), "proj:shape": list(coarse.shape)}
    record["assets"] = {"B11": record["assets"]["B11"], "B04": record["assets"]["B04"]}
    path.write_text(json.dumps(record))
    study = make_study(tmp_path, source={"catalog": str(write_collection(tmp_path))}, bands=["B11", "B04"])
    assert [tile.transform for tile in resolve_tiles(study)] == [TILE.transform]


def test_different_grids_give_a_tile_each_under_different_names(tmp_path: Path):
    east = Tile(TILE.name, TILE.crs, (10.0, 0.0, 610_000.0, 0.0, -10.0, 5_700_000.0), TILE.shape)
    write_item(tmp_path, "a", "2020-05-01T10:00:00Z", {"B04": red()}, **{"grid:code": "MGRS-31UFS"})
    write_item(tmp_path, "b", "2020-05-06T10:00:00Z", {"B04": red()}, **{"grid:code": "MGRS-31UFS"})
    write_item(tmp_path, "c", "2020-05-01T10:00:00Z", {"B04": red()}, east, **{"grid:code": "MGRS-31UFS"})
    study = make_study(tmp_path, source={"catalog": str(write_collection(tmp_path))})
    tiles = resolve_tiles(study)
    assert [tile.name for tile in tiles] == ["31UFS", "31UFS_part2"]
    assert [tile.transform[2] for tile in tiles] == [600_000.0, 610_000.0]


def test_items_without_projection_fields_are_opened(tmp_path: Path):
    path = write_item(tmp_path, "a", "2020-05-01T10:00:00Z", {"B04": red()})
    record = json.loads(path.read_text())
    for key in ("proj:code", "proj:transform", "proj:shape"):
        del record["properties"][key]
    path.write_text(json.dumps(record))
    (tile,) = resolve_tiles(make_study(tmp_path, source={"catalog": str(write_collection(tmp_path, "my area"))}))
    assert (tile.name, tile.transform, tile.shape) == ("my-area", TILE.transform, TILE.shape)


def test_mgrs_names_of_an_api_give_full_tiles(tmp_path: Path):
    study = make_study(tmp_path, area={"tiles": ["T31UGS", "31UFS"]}, source={"api": "earth-search"})
    assert resolve_tiles(study) == [mgrs_tile("31UFS"), mgrs_tile("31UGS")]


def test_catalog_extent_of_an_api_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"catalog-extent needs source\.catalog or source\.folder"):
        resolve_tiles(make_study(tmp_path, source={"api": "earth-search"}))


def test_box_inside_a_tile_is_cropped_from_it_on_its_grid(tmp_path: Path):
    study = make_study(tmp_path, area={"bbox": [5.32, 50.62, 5.34, 50.64]}, source={"api": "earth-search"})
    (tile,) = resolve_tiles(study)
    whole = mgrs_tile("31UFS")
    assert (tile.name, tile.crs) == (whole.name, whole.crs)
    offset = ((tile.transform[2] - whole.transform[2]) / 10, (whole.transform[5] - tile.transform[5]) / 10)
    assert offset == (round(offset[0]), round(offset[1]))
    west, south, east, north = tile.lonlat_bounds()
    assert west <= 5.32
    assert south <= 50.62
    assert east >= 5.34
    assert north >= 50.64
    assert 140 < tile.shape[1] < 165  # 0.02 degrees of longitude are 1.42 km there, 0.02 of latitude 2.22 km
    assert 220 < tile.shape[0] < 240


def test_box_over_several_tiles_gets_one_grid_on_multiples_of_10_m(tmp_path: Path):
    study = make_study(tmp_path, area={"bbox": [4.0, 50.0, 6.5, 51.0]}, source={"api": "cdse"})
    (tile,) = resolve_tiles(study)
    assert (tile.name, tile.crs) == ("test", "EPSG:32631")
    assert [value % 10 for value in tile.bounds] == [0, 0, 0, 0]


def test_box_in_a_catalog_crops_the_catalogs_grid(shared: Path, tmp_path: Path):
    catalog = str(shared / "catalogs/southtyrol/collection.json")
    study = make_study(tmp_path, area={"bbox": [11.30, 46.48, 11.31, 46.49]}, source={"catalog": catalog})
    (tile,) = resolve_tiles(study)
    assert tile.name == "southtyrol"
    assert (tile.transform[2] - 674990) % 10 == 0
    assert tile.shape[0] < 705


def test_polygon_is_read_from_geojson(shared: Path, tmp_path: Path):
    ring = [[11.30, 46.48], [11.31, 46.48], [11.31, 46.49], [11.30, 46.48]]
    (tmp_path / "area.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    source = {"catalog": str(shared / "catalogs/southtyrol/collection.json")}
    by_polygon = resolve_tiles(make_study(tmp_path, area={"geojson": "area.geojson"}, source=source))
    assert by_polygon == resolve_tiles(make_study(tmp_path, area={"bbox": [11.30, 46.48, 11.31, 46.49]}, source=source))


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is no GeoJSON"), ('{"type": "Point", "coordinates": [600000, 5700000]}', "no area in WGS 84")]
)
def test_bad_geojson_is_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "area.geojson").write_text(text)
    with pytest.raises(InputError, match=message):
        resolve_tiles(make_study(tmp_path, area={"geojson": "area.geojson"}, source={"api": "cdse"}))


def test_area_beside_the_catalog_names_both_extents(shared: Path, tmp_path: Path):
    catalog = str(shared / "catalogs/southtyrol/collection.json")
    with pytest.raises(InputError, match=r"\[5\.0000, .* does not overlap the catalog's \[11\.27"):
        resolve_tiles(make_study(tmp_path, area={"bbox": [5.0, 50.0, 5.1, 50.1]}, source={"catalog": catalog}))


def test_outline_across_the_antimeridian_has_two_parts():
    shape = place.outline(mgrs_tile("01KAB"))
    assert shape.geom_type == "MultiPolygon"
    assert np.isclose(shape.bounds[0], -180)
    assert np.isclose(shape.bounds[2], 180)
    assert shape.area < 2
