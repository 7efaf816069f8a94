"""Old maps on the tile: rasters in any CRS, polygons, CORINE's two codings, and what is wrong with them."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.warp
import shapely
from made import TILE, make_study, write_tiff

from landtide.core.errors import InputError
from landtide.core.legend import builtin_legend, corine_codes
from landtide.core.period import Period
from landtide.core.study import OldMap, Study
from landtide.core.tile import Tile
from landtide.io.manifest import Key, writing
from landtide.retrieve import old_map_source, polygons, positional_accuracy, warp_old_map
from landtide.retrieve.old_map import FILL, windows_of

CORINE = "data/corine/clc2018_lanjaron"
LANJARON = Tile("30SVF", "EPSG:32630", (10.0, 0.0, 456_000.0, 0.0, -10.0, 4_096_000.0), (900, 700))


def study_of(tmp_path: Path, uri: Path | str, crosswalk: str = "identity", **keys: Any) -> Study:
    old_map = {"uri": str(uri), "crosswalk": crosswalk, **keys}
    (tmp_path / "legend.csv").write_text("code,name,color\n0,other,#000000\n1,one,#FF0000\n2,two,#00FF00\n")
    legend = "landtide10" if crosswalk in ("corine", "worldcover", "clcplus") else "legend.csv"
    return make_study(tmp_path, source={"api": "cdse"}, area={"tiles": ["31UFS"]}, old_map=old_map, legend=legend)


def warp(study: Study, tile: Tile) -> tuple[np.ndarray, float]:
    key = Key(study.workspace, study.name, "old_map", tile.name, "any", "id")
    with writing(key, period=Period.of_year(2018), tile=tile) as out:
        warp_old_map(study, tile, out)
    with rasterio.open(out.item.assets["old_map"].href.replace("./", "")) as dataset:
        assert dataset.crs.to_string() == tile.crs
        return dataset.read(1), dataset.nodata


def test_corine_raster_and_polygons_agree_on_the_ground(shared: Path, tmp_path: Path):
    by_raster, nodata = warp(study_of(tmp_path, shared / f"{CORINE}_25m.tif", "corine"), LANJARON)
    by_polygon, _ = warp(study_of(tmp_path, shared / f"{CORINE}.gpkg", "corine"), LANJARON)
    assert nodata == 0
    both = (by_raster != 0) & (by_polygon != 0)
    assert both.mean() > 0.9
    assert (by_raster == by_polygon)[both].mean() > 0.97  # borders differ by up to half of a 25 m pixel
    assert {222, 311, 312, 323} <= set(np.unique(by_polygon).tolist())


def test_corine_polygons_on_the_rasters_own_grid_agree_to_its_borders(shared: Path):
    with rasterio.open(shared / f"{CORINE}_25m.tif") as dataset:
        codes = dataset.read(1)
        tile = Tile("clc", "EPSG:25830", tuple(dataset.transform)[:6], dataset.shape)
    drawn = np.full(tile.shape, FILL, np.int32)
    for window, part in windows_of(OldMap(uri=str(shared / f"{CORINE}.gpkg")), tile):
        drawn[window.row_off : window.row_off + window.height, window.col_off : window.col_off + window.width] = part
    assert (drawn == codes).mean() > 0.995


def test_grid_codes_of_the_european_raster_become_three_digit_codes(shared: Path, tmp_path: Path):
    with rasterio.open(shared / f"{CORINE}_25m.tif") as dataset:
        codes = dataset.read(1)
        tile = Tile("clc", "EPSG:25830", tuple(dataset.transform)[:6], dataset.shape)
    table = {311: 23, 312: 24, 323: 28, 223: 17}  # by hand from clc_legend.csv
    picked = np.zeros(codes.shape, np.int16)
    for code, grid in table.items():
        picked[codes == code] = grid
    picked[codes == 512] = 48  # no data of the European editions
    write_tiff(tmp_path / "clc.tif", picked, tile, nodata=None)
    warped, nodata = warp(study_of(tmp_path, tmp_path / "clc.tif", "corine"), tile)
    assert set(np.unique(warped).tolist()) == {0, *table}
    assert all((warped[codes == code] == code).all() for code in table)
    assert (warped[codes == 512] == nodata).all()


def test_100_m_map_in_etrs_laea_is_read_at_the_nearest_cell(tmp_path: Path):
    laea = Tile("clc", "EPSG:3035", (100.0, 0.0, 3_930_000.0, 0.0, -100.0, 3_180_000.0), (300, 300))
    codes = np.random.default_rng(1).choice(np.array([111, 211, 311, 512], np.int16), laea.shape)
    write_tiff(tmp_path / "clc.tif", codes, laea, nodata=-32768)
    warped, _ = warp(study_of(tmp_path, tmp_path / "clc.tif", "corine"), TILE)
    rows, columns = np.mgrid[0 : TILE.shape[0], 0 : TILE.shape[1]]
    xs, ys = TILE.affine * (columns.ravel() + 0.5, rows.ravel() + 0.5)
    east, north = (np.array(values) for values in rasterio.warp.transform(TILE.crs, laea.crs, xs, ys))
    expected = codes[((3_180_000 - north) // 100).astype(int), ((east - 3_930_000) // 100).astype(int)]
    assert (warped.ravel() == expected).mean() > 0.999  # a centre on a cell's border may fall to either side


def test_worldcover_in_degrees_keeps_its_shares(shared: Path, tmp_path: Path):
    chip = shared / "data/esa_worldcover_chip/worldcover_2021_saotome.tif"
    with rasterio.open(chip) as dataset:
        codes = dataset.read(1)
        west, south, east, north = rasterio.warp.transform_bounds("EPSG:4326", "EPSG:32632", *dataset.bounds)
    # a box inside the chip, whose edges are not straight in UTM
    shape = (int((north - south) // 10) - 60, int((east - west) // 10) - 60)
    tile = Tile("32NKF", "EPSG:32632", (10.0, 0.0, west + 300, 0.0, -10.0, north - 300), shape)
    warped, nodata = warp(study_of(tmp_path, chip, "worldcover"), tile)
    assert nodata == 0
    for code in (10, 50, 80):
        assert (warped == code).mean() == pytest.approx((codes == code).mean(), abs=0.03)
    assert positional_accuracy(OldMap(uri=str(chip), crosswalk="worldcover")) == pytest.approx(9.28, abs=0.01)  # 1/12000 degree


def test_zero_that_is_a_class_is_told_apart_from_what_the_map_does_not_cover(tmp_path: Path):
    half = Tile("old", TILE.crs, TILE.transform, (TILE.shape[0], TILE.shape[1] // 2))
    write_tiff(tmp_path / "old.tif", np.random.default_rng(0).integers(0, 3, half.shape).astype(np.uint8), half, nodata=None)
    warped, nodata = warp(study_of(tmp_path, tmp_path / "old.tif"), TILE)
    assert nodata == FILL
    assert set(np.unique(warped[:, :25]).tolist()) == {0, 1, 2}
    assert (warped[:, 25:] == FILL).all()


def test_map_elsewhere_names_both_extents(shared: Path, tmp_path: Path):
    study = study_of(tmp_path, shared / f"{CORINE}_25m.tif", "corine")
    with pytest.raises(InputError, match=r"covers \[-3\.5.*does not overlap tile 31UFS, \[4\.4") as caught:
        warp(study, TILE)
    assert "\n" not in str(caught.value)


def test_unknown_code_is_named(tmp_path: Path):
    write_tiff(tmp_path / "old.tif", np.full(TILE.shape, 7, np.uint8), TILE, nodata=None)
    with pytest.raises(InputError, match="old map holds code 7, which crosswalk 'identity' does not know"):
        warp(study_of(tmp_path, tmp_path / "old.tif"), TILE)


def test_unknown_code_outside_the_tile_does_not_matter(tmp_path: Path):
    wide = Tile("old", TILE.crs, TILE.transform, (TILE.shape[0], TILE.shape[1] + 10))
    codes = np.ones(wide.shape, np.uint8)
    codes[:, 50:] = 99
    write_tiff(tmp_path / "old.tif", codes, wide, nodata=0)
    warped, _ = warp(study_of(tmp_path, tmp_path / "old.tif"), TILE)
    assert (warped == 1).all()


def test_truncated_map_is_an_input_error(tmp_path: Path):
    path = write_tiff(tmp_path / "old.tif", np.ones(TILE.shape, np.uint8), TILE, nodata=0)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(InputError, match="truncated or damaged"):
        warp(study_of(tmp_path, path), TILE)


@pytest.mark.parametrize(("column", "message"), [("KLASSE", "no column 'KLASSE'"), ("name", "holds 'meadow', no whole number")])
def test_wrong_code_column_is_named(tmp_path: Path, column: str, message: str):
    frame = gpd.GeoDataFrame({"code": [1], "name": ["meadow"]}, geometry=[shapely.box(*TILE.bounds)], crs=TILE.crs)
    frame.to_file(tmp_path / "old.gpkg")
    with pytest.raises(InputError, match=message):
        warp(study_of(tmp_path, tmp_path / "old.gpkg", column=column), TILE)


def test_polygons_are_drawn_at_pixel_centres(tmp_path: Path):
    west, _, _, north = TILE.bounds
    square = shapely.box(west + 104, north - 96, west + 196, north - 4)  # centres of columns 10..19 and rows 0..9 lie inside
    gpd.GeoDataFrame({"code": ["2"]}, geometry=[square], crs=TILE.crs).to_file(tmp_path / "old.gpkg")
    warped, _ = warp(study_of(tmp_path, tmp_path / "old.gpkg"), TILE)
    expected = np.full(TILE.shape, FILL)
    expected[0:10, 10:20] = 2
    assert np.array_equal(warped, expected)


def test_source_changes_with_the_file_and_with_the_crosswalk(tmp_path: Path):
    path = write_tiff(tmp_path / "old.tif", np.ones(TILE.shape, np.uint8), TILE)
    table = tmp_path / "table.csv"
    table.write_text("code,target\n1,one\n")
    study = study_of(tmp_path, path, "table.csv")
    before = old_map_source(study)
    table.write_text("code,target\n1,two\n")
    after = old_map_source(study)
    write_tiff(path, np.full(TILE.shape, 2, np.uint8), TILE)
    assert len({before, after, old_map_source(study)}) == 3


def test_corines_accuracy_is_100_m_and_a_stated_one_wins():
    assert positional_accuracy(OldMap(uri="x.tif", crosswalk="corine")) == 100
    assert positional_accuracy(OldMap(uri="x.tif", crosswalk="corine", accuracy=25.0)) == 25


def test_clcplus_codes_become_classes_and_its_sentinels_none(tmp_path: Path):
    codes = np.zeros(TILE.shape, np.uint8)
    codes[0, :14] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 253, 254, 255]
    write_tiff(tmp_path / "clcplus.tif", codes, TILE, nodata=255)
    study = study_of(tmp_path, tmp_path / "clcplus.tif", "clcplus")
    key = Key(study.workspace, study.name, "old_map", TILE.name, "any", "id")
    with writing(key, period=Period.of_year(2018), tile=TILE) as out:
        warp_old_map(study, TILE, out)
    with rasterio.open(out.path("label.tif")) as dataset:
        labels = dataset.read(1)[0, :14].tolist()
    names = ["", *builtin_legend("landtide10").names]
    assert [names[label] for label in labels] == [
        "urban", "conifer", "broadleaf", "broadleaf", "shrub", "grass", "", "", "mineral", "water", "snow", "water", "", "",
    ]  # fmt: skip
    assert positional_accuracy(study.old_map) == 10


def test_worldcover_of_both_versions_is_read_as_it_is(shared: Path, tmp_path: Path):
    folder = shared / "data/esa_worldcover_chip"
    chips = sorted(folder.glob("*.tif"))
    assert {"2020", "2021"} <= {year for path in chips for year in ("2020", "2021") if year in path.name}
    for path in chips:
        with rasterio.open(path) as dataset:
            crs, transform, shape = dataset.crs.to_string(), tuple(dataset.transform)[:6], dataset.shape
            codes = dataset.read(1)
        (tmp_path / path.stem).mkdir()
        warped, _ = warp(study_of(tmp_path / path.stem, path, "worldcover"), Tile("chip", crs, transform, shape))
        assert np.array_equal(warped, codes)


@pytest.mark.parametrize("fill", [48, 49, 50, 255])
def test_unclassified_cells_of_older_corine_rasters_are_no_data(fill: int):
    assert corine_codes(np.array([2, 23, fill])).tolist() == [112, 311, 0]


@pytest.mark.parametrize("fill", [990, 995, 999])
def test_unclassified_polygons_of_corine_are_no_data(fill: int):
    assert corine_codes(np.array([112, 311, fill])).tolist() == [112, 311, 0]


@pytest.mark.parametrize(
    ("fields", "year", "picked"),
    [
        (["ID", "Code_18", "Area_Ha"], None, "Code_18"),
        (["OBJECTID", "code_90", "remark"], None, "code_90"),
        (["CODE_00"], 2012, "CODE_00"),
        (["Code_12", "Code_18", "Change"], None, "Code_18"),
        (["Code_12", "Code_18", "Change"], 2012, "Code_12"),
        (["CODE_90", "CODE_00"], None, "CODE_00"),
        (["clc_code"], None, "clc_code"),
        (["CLC2018"], None, "CLC2018"),
        (["clc18", "name"], None, "clc18"),
        (["class_id", "name"], None, "class_id"),
    ],
)
def test_the_column_of_codes_is_found_under_its_many_names(fields: list[str], year: int | None, picked: str):
    assert polygons.code_column("map.gpkg", None, fields, year) == picked


def test_national_maps_come_by_a_table_of_their_own(tmp_path: Path):
    codes = np.full(TILE.shape, 4011, np.int16)
    codes[:, 25:] = 99
    write_tiff(tmp_path / "national.tif", codes, TILE, nodata=-1)
    (tmp_path / "national.csv").write_text("code,target,name\n4011,one,meadow\n99,,military area\n")
    warped, _ = warp(study_of(tmp_path, tmp_path / "national.tif", "national.csv"), TILE)
    assert np.array_equal(warped, codes)
