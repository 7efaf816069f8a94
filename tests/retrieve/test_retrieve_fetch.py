"""Fetch on local catalogs: what is handed on, what is set aside, what is reported."""

import json
from pathlib import Path

import numpy as np
import pytest
from made import TILE, make_study, red, run_fetch, truncate, write_collection, write_item

from landtide.core.errors import InputError
from landtide.io import storage
from landtide.io.raster import read_on_grid
from landtide.retrieve import resolve_tiles, size_table, source_ids
from landtide.retrieve.digest import matches
from landtide.simulate import make_world


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Three acquisitions of 2020, with the scene classification all vegetation."""
    for day in (1, 11, 21):
        arrays = {"B04": red(day), "SCL": np.full(TILE.shape, 4, np.uint8)}
        write_item(tmp_path, f"day{day:02}", f"2020-05-{day:02}T10:00:00Z", arrays, **{"eo:cloud_cover": 5})
    return write_collection(tmp_path)


def test_items_carry_bands_of_the_study_with_decided_scale_and_checksum(catalog: Path, tmp_path: Path):
    study = make_study(tmp_path, source={"catalog": str(catalog)}, bands=["red"], mask={"asset": "SCL", "drop": [3]})
    features, report, manifest = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert [feature["id"] for feature in features] == ["day01", "day11", "day21"]
    asset = features[0]["assets"]["B04"]
    assert (asset["raster:scale"], asset["raster:offset"], asset["nodata"], asset["data_type"]) == (1e-4, 0.0, 0.0, "uint16")
    assert matches(Path(asset["href"]), asset["file:checksum"])
    assert set(features[0]["assets"]) == {"B04", "SCL"}
    assert (report["images"], report["mask"]) == (3, "SCL")
    assert report["bytes"] == sum(path.stat().st_size for path in tmp_path.glob("items/*/*.tif"))
    assert manifest.properties["landtide:images"] == 3
    assert set(manifest.assets) == {"items", "report", "objects"}


def test_truncated_cog_is_set_aside_and_the_run_goes_on(catalog: Path, tmp_path: Path):
    truncate(tmp_path / "items/day11/B04.tif")
    study = make_study(tmp_path, source={"catalog": str(catalog)})
    features, report, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert [feature["id"] for feature in features] == ["day01", "day21"]
    (aside,) = report["set_aside"]
    assert aside["id"] == "day11"
    assert "B04.tif cannot be decoded" in aside["reason"]


def test_truncated_mask_sets_the_acquisition_aside_too(catalog: Path, tmp_path: Path):
    truncate(tmp_path / "items/day01/SCL.tif", 0.3)
    study = make_study(tmp_path, source={"catalog": str(catalog)}, mask={"asset": "SCL", "drop": [3]})
    features, _, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert [feature["id"] for feature in features] == ["day11", "day21"]


def test_missing_file_is_set_aside(catalog: Path, tmp_path: Path):
    (tmp_path / "items/day21/B04.tif").unlink()
    study = make_study(tmp_path, source={"catalog": str(catalog)})
    _, report, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert [(one["id"], "does not exist" in one["reason"]) for one in report["set_aside"]] == [("day21", True)]


def test_file_that_differs_from_the_catalogs_checksum_is_set_aside(catalog: Path, tmp_path: Path):
    path = tmp_path / "items/day01/day01.json"
    record = json.loads(path.read_text())
    record["assets"]["B04"]["file:checksum"] = "1220" + "0" * 64
    path.write_text(json.dumps(record))
    study = make_study(tmp_path, source={"catalog": str(catalog)})
    _, report, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert [(one["id"], "another checksum" in one["reason"]) for one in report["set_aside"]] == [("day01", True)]


def test_nothing_left_is_an_error_with_the_reason(catalog: Path, tmp_path: Path):
    for path in tmp_path.glob("items/*/B04.tif"):
        truncate(path, 0.3)
    study = make_study(tmp_path, source={"catalog": str(catalog)})
    with pytest.raises(InputError, match=r"no usable acquisition in 2020: all 3 are set aside, the first \(day01\)"):
        run_fetch(study, resolve_tiles(study)[0], 2020)


def test_copies_are_made_on_request_and_hold_the_same_pixels(catalog: Path, tmp_path: Path):
    study = make_study(tmp_path, source={"catalog": str(catalog), "cache": "always"})
    tile = resolve_tiles(study)[0]
    features, _, _ = run_fetch(study, tile, 2020)
    href = features[0]["assets"]["B04"]["href"]
    assert href.startswith(str(tmp_path / "work" / "test" / "cache"))
    assert np.array_equal(read_on_grid(href, tile, fill=0), red(1))
    assert features[0]["assets"]["B04"]["file:checksum"] == "1220" + storage.sha256(href)


def test_pixels_that_contradict_the_metadata_refuse_the_item(tmp_path: Path):
    draw = np.random.default_rng(3)
    for day in (1, 11, 21):
        dark = {name: draw.normal(level, 20, TILE.shape) for name, level in (("B02", 300), ("B04", 400), ("B08", 3500))}
        lift = 1000 if day == 11 else 0  # the offset is in the pixels of one, but its metadata tell offset 0
        arrays = {name: (array + lift).astype(np.uint16) for name, array in dark.items()}
        write_item(tmp_path, f"day{day:02}", f"2020-05-{day:02}T10:00:00Z", {**arrays, "SCL": np.full(TILE.shape, 4, np.uint8)})
    mask = {"asset": "SCL", "drop": [3, 8, 9, 10]}
    study = make_study(tmp_path, source={"catalog": str(write_collection(tmp_path))}, bands=["B02", "B04", "B08"], mask=mask)
    features, report, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert [feature["id"] for feature in features] == ["day01", "day21"]
    assert report["set_aside"][0]["id"] == "day11"
    assert "radiometry contradicts itself" in report["set_aside"][0]["reason"]


def test_a_series_whose_flags_are_wrong_is_mended_by_its_pixels_and_says_so(tmp_path: Path):
    # Earth Search flags items as not corrected which are: their pixels tell, one by one
    draw, corrected = np.random.default_rng(3), {1, 11}
    for day in (1, 6, 11, 16):
        dark = {name: draw.normal(level, 20, TILE.shape) for name, level in (("B02", 300), ("B04", 400), ("B08", 3500))}
        arrays = {name: (array + (0 if day in corrected else 1000)).astype(np.uint16) for name, array in dark.items()}
        path = write_item(
            tmp_path,
            f"S2A_31UFS_202205{day:02}_0_L2A",
            f"2022-05-{day:02}T10:00:00Z",
            {**arrays, "SCL": np.full(TILE.shape, 4, np.uint8)},
            **{"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "04.00"},
        )
        record = json.loads(path.read_text())
        record["collection"] = "sentinel-2-l2a"
        record["links"] = [{"rel": "via", "href": "https://earth-search.aws.element84.com/v1/collections/sentinel-2-l2a"}]
        path.write_text(json.dumps(record))
    study = make_study(
        tmp_path, source={"catalog": str(write_collection(tmp_path))}, bands=["B02", "B04", "B08"], mask={"asset": "SCL"}, years=[2022]
    )
    features, report, _ = run_fetch(study, resolve_tiles(study)[0], 2022)
    assert report["set_aside"] == []
    offsets = {feature["id"]: feature["assets"]["B04"]["raster:offset"] for feature in features}
    assert offsets == {f"S2A_31UFS_202205{day:02}_0_L2A": 0.0 if day in corrected else -0.1 for day in (1, 6, 11, 16)}
    lines = {one["id"]: one["radiometry"][0] for one in report["acquisitions"]}
    assert all("the pixels decide: absent" in lines[f"S2A_31UFS_202205{day:02}_0_L2A"] for day in corrected)
    assert all("pixels agree" in lines[f"S2A_31UFS_202205{day:02}_0_L2A"] for day in (6, 16))


def test_cloudy_harmonised_real_series_is_neither_shifted_nor_refused(shared: Path, tmp_path: Path):
    source = {"catalog": str(shared / "catalogs/l2a_scl_cube/collection.json"), "max_cloud": 100}
    study = make_study(
        tmp_path, source=source, bands=["B02", "B03", "B04", "B08"], years=[2023], mask={"asset": "SCL", "drop": [0, 1, 3, 8, 9, 10]}
    )
    features, report, _ = run_fetch(study, resolve_tiles(study)[0], 2023)
    assert len(features) == 19
    assert report["set_aside"] == []
    assert {asset["raster:offset"] for feature in features for name, asset in feature["assets"].items() if name != "SCL"} == {0.0}


@pytest.mark.parametrize(
    ("name", "bands", "year", "images"), [("southtyrol", ["B02", "B04", "B08"], 2022, 1), ("belgium_a", ["B02", "B12"], 2022, 3)]
)
def test_real_reflectance_has_scale_1e_4_and_no_offset(shared: Path, tmp_path: Path, name: str, bands: list[str], year: int, images: int):
    study = make_study(tmp_path, source={"catalog": str(shared / "catalogs" / name / "collection.json")}, bands=bands, years=[year])
    features, report, _ = run_fetch(study, resolve_tiles(study)[0], year)
    assert report["images"] == images
    told = {(asset["raster:scale"], asset["raster:offset"]) for feature in features for asset in feature["assets"].values()}
    assert told == {(1e-4, 0.0)}


def test_belgian_zero_is_a_value_and_65535_is_not(shared: Path, tmp_path: Path):
    study = make_study(tmp_path, source={"catalog": str(shared / "catalogs/belgium_b/collection.json")}, bands=["B02"], years=[2021])
    features, _, _ = run_fetch(study, resolve_tiles(study)[0], 2021)
    assert {feature["assets"]["B02"]["nodata"] for feature in features} == {65535.0}


def test_ndvi_keeps_its_scale_and_is_not_tested_for_an_offset(shared: Path, tmp_path: Path):
    source = {"catalog": str(shared / "catalogs/slovenia/collection.json")}
    study = make_study(tmp_path, source=source, bands=["NDVI"], years=[2016], mask={"asset": "CLM", "drop": [1]})
    features, report, _ = run_fetch(study, resolve_tiles(study)[0], 2016)
    ndvi = features[0]["assets"]["NDVI"]
    assert (ndvi["raster:scale"], ndvi["raster:offset"], ndvi["nodata"]) == (1e-4, 0.0, -32768.0)
    assert {line for one in report["acquisitions"] for line in one["radiometry"]} == {"no reflectance: values as declared"}


def test_source_ids_change_with_a_pixel_and_with_nothing_else(catalog: Path, tmp_path: Path):
    study = make_study(tmp_path, source={"catalog": str(catalog)})
    tile = resolve_tiles(study)[0]
    before = source_ids(study, tile, 2020)
    assert source_ids(study, tile, 2020) == before
    write_item(tmp_path, "day01", "2020-05-01T10:00:00Z", {"B04": red(1) + np.uint16(1)}, **{"eo:cloud_cover": 5})
    after = source_ids(study, tile, 2020)
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, True]


def test_table_is_the_users_own():
    records = [
        {"tile": "31UFT", "year": 2018, "images": 60, "bytes": 60_000_000_000},
        {"tile": "31UFT", "year": 2019, "images": 50, "bytes": 51_200_000_000},
        {"tile": "31UGS", "year": 2019, "images": 4, "bytes": 3_900_000_000},
    ]
    table = size_table(records)
    assert table.columns == ("tile", "num 2018", "size 2018 [GB]", "num 2019", "size 2019 [GB]", "total")
    assert table.rows == (
        ("31UFT", "60", "60", "50", "51.2", "110 images, 111 GB"),
        ("31UGS", "0", "0", "4", "3.9", "4 images, 3.9 GB"),
        ("total", "60", "60", "54", "55.1", "114 images, 115 GB"),
    )


def test_simulated_baselines_are_told_apart_by_their_pixels_alone(tmp_path: Path):
    world = make_world(tmp_path / "world", size=64, years=(2022,), seed=11)
    shifted = {}
    for path in world.folder.rglob("*.json"):
        record = json.loads(path.read_text())
        if record.get("type") != "Feature":
            continue
        record["id"] = f"scene{len(shifted)}"  # the product's name tells the baseline too
        shifted[record["id"]] = float(record["properties"].pop("s2:processing_baseline")) >= 4
        for key in ("s2:product_uri", "processing:version", "s2:datatake_id"):
            record["properties"].pop(key, None)
        for asset in record["assets"].values():
            for fields in (asset, *asset.get("bands", []), *asset.get("raster:bands", [])):
                for key in ("raster:scale", "raster:offset", "scale", "offset"):
                    fields.pop(key, None)
        path.write_text(json.dumps(record))
    study = make_study(
        tmp_path, source={"catalog": str(world.collection)}, bands=["B02", "B04", "B08"], years=[2022], mask={"asset": "SCL"}
    )
    _, report, _ = run_fetch(study, resolve_tiles(study)[0], 2022)
    judged = [
        one for one in report["acquisitions"] if "the pixels decide" in one["radiometry"][0] or "pixels agree" in one["radiometry"][0]
    ]
    assert len(judged) > report["images"] / 2
    wrong = [one["id"] for one in judged if (one["offset"] == [-0.1]) != shifted[one["id"]]]
    assert wrong == []
