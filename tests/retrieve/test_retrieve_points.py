"""Labelled points: places, labels, years and strata."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from made import TILE, make_study

from landtide.core.errors import InputError
from landtide.core.legend import builtin_crosswalk, builtin_legend, identity_crosswalk, parse_legend
from landtide.retrieve import labelled_points, near_reference, points_crosswalk, resolve_tiles

LEGEND = parse_legend("code,name,color\n10,one,#FF0000\n20,two,#00FF00\n", "small")


def table() -> pd.DataFrame:
    west, _, _, north = TILE.bounds
    return pd.DataFrame(
        {
            "x": [west + 5, west + 25, west - 50],
            "y": [north - 5, north - 395, north - 5],
            "class": [10, 20, 10],
            "stratum_pixels": [7, 8, 9],
        }
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet", "gpkg", "geo.parquet"])
def test_points_of_any_format_lie_on_their_pixels(tmp_path: Path, suffix: str):
    path = tmp_path / f"points.{suffix}"
    frame = table()
    places = gpd.GeoDataFrame(frame.drop(columns=["x", "y"]), geometry=gpd.points_from_xy(frame.x, frame.y), crs=TILE.crs)
    {
        "csv": lambda: frame.to_csv(path, index=False),
        "parquet": lambda: frame.to_parquet(path),
        "gpkg": lambda: places.to_file(path),
        "geo.parquet": lambda: places.to_parquet(path),
    }[suffix]()
    points = labelled_points(str(path), identity_crosswalk(LEGEND), TILE)
    assert points.pixel.tolist() == [[0, 0], [39, 2]]
    assert points.label.tolist() == [1, 2]
    assert points.columns["stratum_pixels"].tolist() == [7, 8]
    assert points.outside == 1
    assert points.year == (None, None)


def test_degrees_are_brought_to_the_tile(tmp_path: Path):
    frame = table()
    places = gpd.GeoSeries(gpd.points_from_xy(frame.x, frame.y), crs=TILE.crs).to_crs("EPSG:4326")
    pd.DataFrame({"lon": places.x, "lat": places.y, "class": frame["class"], "year": 2019}).to_csv(tmp_path / "points.csv", index=False)
    points = labelled_points(str(tmp_path / "points.csv"), identity_crosswalk(LEGEND), TILE)
    assert points.pixel.tolist() == [[0, 0], [39, 2]]
    assert points.year == (2019, 2019)


def test_slovenian_reference_points_lie_where_their_raster_says(shared: Path, tmp_path: Path):
    folder = shared / "catalogs/slovenia"
    study = make_study(tmp_path, source={"catalog": str(folder / "collection.json")}, bands=["NDVI"])
    (tile,) = resolve_tiles(study)
    legend = parse_legend((folder / "legend.csv").read_text(), "slovenia")
    points = labelled_points(str(folder / "reference_points.csv"), identity_crosswalk(legend), tile)
    assert (len(points.label), points.outside, points.excluded) == (300, 0, 0)
    held = [legend.codes[label - 1] for label in points.label]
    assert {code: held.count(code) for code in set(held)} == {1: 10, 2: 120, 3: 80, 4: 50, 8: 40}  # as the catalog's README counts them
    assert set(points.year) == {2017}
    with rasterio.open(folder / "reference_2017.tif") as dataset:
        codes = dataset.read(1)[points.pixel[:, 0], points.pixel[:, 1]]
    assert held == codes.tolist()


def test_lucas_column_is_read_by_the_lucas_table(tmp_path: Path):
    frame = table().rename(columns={"class": "LC1"}).assign(LC1=["C10", "A11", "G11"])
    frame.to_csv(tmp_path / "lucas.csv", index=False)
    legend = builtin_legend("landtide10")
    crosswalk = points_crosswalk(str(tmp_path / "lucas.csv"), legend, TILE.crs)
    assert crosswalk == builtin_crosswalk("lucas", legend)
    labels = labelled_points(str(tmp_path / "lucas.csv"), crosswalk, TILE).label
    assert [legend.names[label - 1] for label in labels] == ["broadleaf", "urban"]


def test_unknown_class_and_missing_column_are_named(tmp_path: Path):
    table().assign(**{"class": [10, 30, 10]}).to_csv(tmp_path / "points.csv", index=False)
    with pytest.raises(InputError, match="column 'class' holds 30, which crosswalk 'identity' does not know"):
        labelled_points(str(tmp_path / "points.csv"), identity_crosswalk(LEGEND), TILE)
    table().drop(columns="class").to_csv(tmp_path / "points.csv", index=False)
    with pytest.raises(InputError, match="no column of classes"):
        labelled_points(str(tmp_path / "points.csv"), identity_crosswalk(LEGEND), TILE)


def reviewed(path: Path, reviews: list[object], shapes: list[object] | None = None, **columns: object) -> str:
    west, _, _, north = TILE.bounds
    boxes = shapes or [shapely.box(west + 100 * n, north - 100, west + 100 * n + 100, north) for n in range(len(reviews))]
    frame = gpd.GeoDataFrame({"code": 311, "reviewed_class": reviews, "year": 2020, **columns}, geometry=boxes, crs=TILE.crs)
    frame.to_file(path, driver="GPKG")
    return str(path)


def test_reviewed_polygons_give_their_inner_pixels_and_others_nothing(tmp_path: Path):
    uri = reviewed(tmp_path / "audit.gpkg", ["one", "", None, "20", " Two "])
    points = labelled_points(uri, identity_crosswalk(LEGEND), TILE)
    assert set(zip(points.row.tolist(), points.label.tolist(), strict=True)) == {(0, 1), (1, 2), (2, 2)}
    assert set(points.year) == {2020}
    assert set(points.trust) == {0.99}
    first = points.pixel[points.row == 0]
    assert len(first) == 50, "not all 64 inner pixels: one polygon does not outvote the others"
    assert first.min() >= 1
    assert first.max() <= 8, "pixels at the edge are left out"


def test_a_polygon_smaller_than_a_pixel_is_the_pixel_it_lies_in(tmp_path: Path):
    west, _, _, north = TILE.bounds
    uri = reviewed(
        tmp_path / "audit.gpkg", ["one", "two"], [shapely.box(west + n + 31, north - 54, west + n + 33, north - 52) for n in (0, 90)]
    )
    points = labelled_points(uri, identity_crosswalk(LEGEND), TILE)
    assert points.pixel.tolist() == [[5, 3], [5, 12]]


def test_an_audit_without_a_review_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="hold no review: fill in column 'reviewed_class'"):
        labelled_points(reviewed(tmp_path / "audit.gpkg", ["", None]), identity_crosswalk(LEGEND), TILE)


def test_trust_is_read_and_must_be_a_share(tmp_path: Path):
    uri = reviewed(tmp_path / "a.gpkg", ["one", "two"], trust=[0.7, None])
    assert set(labelled_points(uri, identity_crosswalk(LEGEND), TILE).trust) == {0.7, 0.99}
    with pytest.raises(InputError, match="column 'weight' holds 7"):
        labelled_points(reviewed(tmp_path / "b.gpkg", ["one"], weight=[7]), identity_crosswalk(LEGEND), TILE)


def test_lines_are_no_labels(tmp_path: Path):
    uri = reviewed(tmp_path / "a.gpkg", ["one"], [shapely.LineString([(0, 0), (1, 1)])])
    with pytest.raises(InputError, match="hold LineString: only points and polygons"):
        labelled_points(uri, identity_crosswalk(LEGEND), TILE)


def test_pixels_on_and_beside_reference_points_are_known(tmp_path: Path):
    west, _, _, north = TILE.bounds
    pd.DataFrame({"x": [west + 55], "y": [north - 25], "class": [10]}).to_csv(tmp_path / "reference.csv", index=False)
    study = make_study(tmp_path, source={"catalog": "none.json"}, evaluate={"points": str(tmp_path / "reference.csv")})
    pixel = np.array([[2, 5], [3, 6], [1, 4], [2, 7], [4, 5]])
    assert near_reference(study, TILE, pixel).tolist() == [True, True, True, False, False]
