"""What is wrong with a study's input is found before any work, in one line."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import TILE, make_study, red, write_collection, write_item, write_tiff

from landtide.core.errors import InputError
from landtide.core.study import parse_study
from landtide.retrieve import check


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalog of 2020, an old map, a legend, and points."""
    for day in (1, 11):
        write_item(tmp_path, f"day{day:02}", f"2020-05-{day:02}T10:00:00Z", {"B04": red(day), "SCL": np.full(TILE.shape, 4, np.uint8)})
    write_collection(tmp_path)
    (tmp_path / "legend.csv").write_text("code,name,color\n1,one,#FF0000\n2,two,#00FF00\n")
    write_tiff(tmp_path / "old.tif", np.random.default_rng(0).integers(1, 3, TILE.shape).astype(np.uint8), TILE)
    west, _, _, north = TILE.bounds
    (tmp_path / "points.csv").write_text(f"x,y,class\n{west + 5},{north - 5},1\n")
    return tmp_path


def study(folder: Path, **keys: Any):
    given = {
        "source": {"catalog": "collection.json"},
        "legend": "legend.csv",
        "old_map": {"uri": "old.tif", "crosswalk": "identity"},
        "points": None,
    }
    return make_study(folder, **{**given, **keys})


@pytest.mark.parametrize(("example", "images"), [("slovenia", {2015: 5, 2016: 15, 2017: 27}), ("belgium", {2021: 11})])
def test_examples_are_right(shared: Path, example: str, images: dict[int, int]):
    path = Path(__file__).resolve().parents[2] / "examples" / f"{example}.yaml"
    text = path.read_text().replace("../../shared", str(shared))
    checked = check(parse_study(text, str(path.parent), datetime.date(2026, 1, 1)))
    assert {one.year: one.images for one in checked.planned} == images
    assert checked.warnings == ()
    assert checked.table.columns[:3] == ("tile", f"num {min(images)}", f"size {min(images)} [GB]")


def test_a_right_study_tells_tiles_mask_and_sizes(folder: Path):
    checked = check(study(folder, mask={"asset": "SCL", "drop": [3]}, points="points.csv"))
    (planned,) = checked.planned
    assert (planned.images, checked.mask) == (2, "SCL")
    assert planned.bytes == sum(path.stat().st_size for path in folder.glob("items/*/*.tif"))
    assert checked.crosswalk is not None
    assert checked.crosswalk.labels["2"] == 2


WRONG = {
    "catalog": ({"source": {"catalog": "none.json"}}, "none.json does not exist: correct `source.catalog`"),
    "band": ({"bands": ["B8A"]}, "band 'B8A' is not among the assets; nearest: "),
    "mask": ({"mask": {"asset": "CLM", "drop": [1]}}, "mask asset 'CLM' is in no item"),
    "year": ({"years": [2020, 2021]}, r"no acquisition of tile made in 2021; years with acquisitions: 2020 \(2\)"),
    "legend": ({"legend": "none.csv"}, "legend .*none.csv does not exist: write landtide10"),
    "crosswalk": ({"old_map": {"uri": "old.tif", "crosswalk": "none.csv"}}, "crosswalk .*none.csv does not exist: write identity, corine"),
    "old map": ({"old_map": {"uri": "none.tif", "crosswalk": "identity"}}, "old map .*none.tif does not exist"),
    "no raster": ({"old_map": {"uri": "legend.csv", "crosswalk": "identity"}}, "old map .*legend.csv cannot be read as a raster"),
    "reference": ({"evaluate": {"reference": "none.tif"}}, "reference .*none.tif does not exist"),
    "points": ({"points": "none.csv"}, "file .*none.csv does not exist"),
    "reference points": ({"evaluate": {"points": "none.csv"}}, "file .*none.csv does not exist"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_input_is_one_line(folder: Path, name: str):
    keys, message = WRONG[name]
    with pytest.raises(InputError, match=message) as caught:
        check(study(folder, **keys))
    assert "\n" not in str(caught.value)


def test_old_map_elsewhere_and_unknown_codes_are_found(folder: Path, shared: Path):
    lanjaron = str(shared / "data/corine/clc2018_lanjaron_25m.tif")
    with pytest.raises(InputError, match="does not overlap tile made"):
        check(study(folder, old_map={"uri": lanjaron, "crosswalk": "corine"}, legend="landtide10"))
    write_tiff(folder / "old.tif", np.full(TILE.shape, 9, np.uint8), TILE)
    with pytest.raises(InputError, match="old map holds code 9"):
        check(study(folder, name="other", old_map={"uri": str(folder / "old.tif"), "crosswalk": "identity"}))


def test_reference_with_an_unknown_code_is_called_reference(folder: Path):
    write_tiff(folder / "reference.tif", np.full(TILE.shape, 9, np.uint8), TILE)
    with pytest.raises(InputError, match=r"^reference holds code 9"):
        check(study(folder, evaluate={"reference": "reference.tif"}))


def test_empty_old_map_is_an_error(folder: Path):
    write_tiff(folder / "empty.tif", np.zeros(TILE.shape, np.uint8), TILE)
    with pytest.raises(InputError, match="holds only no data over tile made"):
        check(study(folder, old_map={"uri": "empty.tif", "crosswalk": "identity"}))


def test_points_outside_the_area_are_an_error(folder: Path):
    (folder / "far.csv").write_text("lon,lat,class\n10.0,45.0,1\n")
    with pytest.raises(InputError, match=r"at \[10\.0000, 45\.0000.*have none inside the area"):
        check(study(folder, points="far.csv"))


def test_clouds_above_the_limit_all_year_are_told(folder: Path):
    for day in (1, 11):
        write_item(folder, f"day{day:02}", f"2020-05-{day:02}T10:00:00Z", {"B04": red(day)}, **{"eo:cloud_cover": 95})
    with pytest.raises(InputError, match=r"in 2020 is usable: 2 are set aside, the first \(day01\) because cloud cover 95 % above"):
        check(study(folder))


def test_missing_default_mask_is_a_warning(folder: Path):
    for path in folder.glob("items/*/SCL.tif"):
        path.unlink()
    for day in (1, 11):
        write_item(folder, f"day{day:02}", f"2020-05-{day:02}T10:00:00Z", {"B04": red(day)})
    given = study(folder)
    default = given.model_validate(given.model_dump(by_alias=True, exclude={"mask"}))
    assert check(default).warnings == ("no item has the default mask SCL: the series is read unmasked, with its clouds",)
