"""Labelled points: places, labels, years and strata."""

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import rasterio
from made import TILE, make_study

from landtide.core.errors import InputError
from landtide.core.legend import builtin_crosswalk, builtin_legend, identity_crosswalk, parse_legend
from landtide.retrieve import labelled_points, points_crosswalk, resolve_tiles

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
