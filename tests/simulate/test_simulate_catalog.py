"""The written world: read back through pystac, rasterio and the study parser."""

import csv
import hashlib
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pystac
import pytest

from landtide.core.errors import InputError
from landtide.core.legend import builtin_crosswalk, builtin_legend
from landtide.core.study import parse_study
from landtide.core.tile import Tile
from landtide.io.raster import open_raster, read_on_grid
from landtide.io.stac import read_items
from landtide.simulate import World, make_world
from landtide.simulate.catalog import digital_numbers

BANDS = {"B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("simulate") / "world", size=96, years=(2018, 2019), seed=7, dates_per_year=8)


def test_items_read_back_with_every_asset_and_a_true_checksum(written: World) -> None:
    items = list(read_items(str(written.collection)))
    assert len(items) == written.items >= 16
    for item in items:
        assert set(item.assets) == BANDS | {"SCL"}
        assert item.properties["grid:code"] == "MGRS-32TPS"
        assert item.geometry is not None
        assert item.properties["s2:processing_baseline"] in ("02.12", "05.00")
    asset = items[3].assets["B11"]
    digest = hashlib.sha256(Path(asset.href).read_bytes()).hexdigest()
    assert asset.extra_fields["file:checksum"] == f"1220{digest}"


def test_the_catalog_is_valid_for_pystac_and_survives_a_move(written: World, tmp_path: Path) -> None:
    shutil.copytree(written.folder, tmp_path / "moved")
    collection = pystac.Collection.from_file(str(tmp_path / "moved" / "collection.json"))
    items = list(collection.get_items())
    assert len(items) == written.items
    assert str(written.folder) not in (tmp_path / "moved" / "collection.json").read_text("utf-8")
    assert all(str(tmp_path) in str(asset.get_absolute_href()) for asset in items[0].assets.values())
    assert "/" not in items[0].assets["B02"].href.removeprefix("./")
    assert items[0].to_dict()["stac_version"] == "1.1.0"


def test_rasters_have_the_grid_type_and_nodata_that_their_item_tells(written: World) -> None:
    item = next(read_items(str(written.collection)))
    for key, size, kind in (("B02", 96, "uint16"), ("B8A", 48, "uint16"), ("SCL", 48, "uint8")):
        with open_raster(item.assets[key].href) as dataset:
            assert dataset.shape == (size, size) == tuple(item.assets[key].extra_fields["proj:shape"])
            assert dataset.dtypes == (kind,)
            assert dataset.nodata == 0
            assert dataset.crs.to_string() == item.properties["proj:code"]
            assert list(dataset.transform)[:6] == item.assets[key].extra_fields["proj:transform"]


def test_both_baselines_of_one_acquisition_give_the_same_reflectance(written: World) -> None:
    by_moment: dict[object, list[pystac.Item]] = {}
    for item in read_items(str(written.collection)):
        by_moment.setdefault(item.datetime, []).append(item)
    pairs = [items for items in by_moment.values() if len(items) == 2]
    assert pairs
    for items in pairs:
        values = [_reflectance(item, "B04") for item in items]
        np.testing.assert_allclose(values[0], values[1], atol=1.5e-4)


def test_dates_without_offset_and_with_it_agree_in_reflectance(written: World) -> None:
    darkest: dict[float, list[float]] = {}
    for item in read_items(str(written.collection)):
        if item.properties["eo:cloud_cover"] < 50 and item.properties["s2:nodata_pixel_percentage"] < 60:
            offset = item.assets["B04"].extra_fields["bands"][0]["raster:offset"]
            darkest.setdefault(offset, []).append(float(np.nanpercentile(_reflectance(item, "B04"), 10)))
    assert set(darkest) == {0.0, -0.1}
    assert np.median(darkest[0.0]) == pytest.approx(np.median(darkest[-0.1]), abs=0.04)


def _reflectance(item: pystac.Item, key: str) -> np.ndarray:
    band = item.assets[key].extra_fields["bands"][0]
    with open_raster(item.assets[key].href) as dataset:
        numbers = dataset.read(1).astype(np.float64)
    return np.where(numbers == 0, np.nan, numbers * band["raster:scale"] + band["raster:offset"])


def test_digital_numbers_keep_zero_for_missing_values_and_differ_by_the_offset() -> None:
    values = np.array([np.nan, 0.0, 0.00001, 0.0432, 1.6])
    assert digital_numbers(values, "02.12").tolist() == [0, 1, 1, 432, 16_000]
    assert digital_numbers(values, "05.00").tolist() == [0, 1000, 1000, 1432, 17_000]


def test_old_map_truth_and_points_belong_to_the_same_world(written: World) -> None:
    with open_raster(str(written.truth[2018])) as dataset:
        truth, tile = dataset.read(1), Tile("world", dataset.crs.to_string(), tuple(dataset.transform)[:6], dataset.shape)
    with open_raster(str(written.old_map)) as dataset:
        assert dataset.crs.to_epsg() == 3035
        assert dataset.res == (100, 100)
    codes = read_on_grid(str(written.old_map), tile, fill=999)
    labels = builtin_crosswalk("corine", builtin_legend("landtide10")).translate(codes, 999)
    assert np.mean(labels == truth) == pytest.approx(written.old_map_accuracy, abs=0.005)  # warped by GDAL here, by us there
    with written.points.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        if row["year"] == "2018":
            column, line = (float(row["x"]) - tile.transform[2]) / 10, (tile.transform[5] - float(row["y"])) / 10
            assert truth[int(line), int(column)] == int(row["class"])
            assert int(row["stratum_pixels"]) == int((truth == int(row["class"])).sum())
    assert {row["year"] for row in rows} == {"2018", "2019"}


def test_the_study_file_is_accepted_and_points_to_files_that_exist(written: World) -> None:
    study = parse_study(written.study.read_text("utf-8"), str(written.folder), date(2024, 1, 1))
    assert study.all_years() == [2018, 2019]
    assert Path(str(study.source.catalog)).exists()
    assert study.old_map is not None
    assert Path(study.old_map.uri).exists()
    assert isinstance(study.evaluate.reference, dict)
    assert all(Path(path).exists() for path in study.evaluate.reference.values())


def test_a_written_world_is_kept_and_a_foreign_folder_is_refused(written: World, tmp_path: Path) -> None:
    before = written.collection.stat().st_mtime_ns
    again = make_world(written.folder, size=96, years=(2018, 2019), seed=7, dates_per_year=8)
    assert again == written
    assert written.collection.stat().st_mtime_ns == before
    with pytest.raises(InputError, match="another synthetic world"):
        make_world(written.folder, size=128, years=(2018, 2019), seed=7, dates_per_year=8)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        make_world(tmp_path, size=96)
    assert (tmp_path / "mine.txt").read_text() == "precious"
