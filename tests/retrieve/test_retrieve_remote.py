"""Catalogs and assets over http and S3, STAC APIs by recorded answers. No test reaches beyond loopback."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
from made import TILE, make_study, red, run_fetch, write_collection, write_item
from made_safe import write_jp2

from landtide.core.errors import InputError
from landtide.core.tile import Tile, mgrs_tile
from landtide.io import storage
from landtide.io.raster import read_on_grid
from landtide.retrieve import UnreachedError, api, cache, resolve_tiles, source_ids
from landtide.retrieve.search import find

WINDOW = Tile(TILE.name, TILE.crs, (10.0, 0.0, 600_100.0, 0.0, -10.0, 5_699_900.0), (20, 30))
"""Part of `TILE`."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A static catalog of two acquisitions."""
    for day in (1, 11):
        arrays = {"B04": red(day), "SCL": np.random.default_rng(day).integers(4, 7, TILE.shape).astype(np.uint8)}
        write_item(tmp_path / "catalog", f"day{day:02}", f"2020-05-{day:02}T10:00:00Z", arrays)
    write_collection(tmp_path / "catalog")
    return tmp_path / "catalog"


def fetched(served: list[str]) -> list[str]:
    return [path for path in served if path.endswith(".tif")]


def test_http_catalog_is_cached_once_and_then_read_from_the_workspace(folder: Path, tmp_path: Path, serve):
    url, served = serve(folder)
    mask = {"asset": "SCL", "drop": [3]}
    study = make_study(tmp_path, source={"catalog": f"{url}/collection.json"}, mask=mask)
    (tile,) = resolve_tiles(study)
    assert tile.transform == TILE.transform
    features, report, _ = run_fetch(study, tile, 2020)
    assert report["images"] == 2
    for feature, day in zip(features, (1, 11), strict=True):
        assert feature["assets"]["B04"]["href"].startswith(study.workspace)
        assert np.array_equal(read_on_grid(feature["assets"]["B04"]["href"], tile, fill=0), red(day))
    served.clear()
    again, _, _ = run_fetch(make_study(tmp_path, source={"catalog": f"{url}/collection.json"}, mask=mask, name="test"), tile, 2020)
    assert fetched(served) == []
    assert [item["assets"] for item in again] == [item["assets"] for item in features]


def test_resumed_fetch_gets_only_what_is_missing(folder: Path, tmp_path: Path, serve):
    url, served = serve(folder)
    study = make_study(tmp_path, source={"catalog": f"{url}/collection.json"})
    (tile,) = resolve_tiles(study)
    run_fetch(study, tile, 2020)
    # as a run that was stopped leaves it: the copy is there, its record is not
    record = next(path for path in Path(study.workspace).glob("test/cache/*/*.json"))
    record.unlink()
    served.clear()
    run_fetch(study, tile, 2020)
    assert len({*fetched(served)}) == 1


def test_only_the_window_of_a_remote_asset_is_kept(folder: Path, tmp_path: Path, serve):
    url, _ = serve(folder)
    west, south, east, north = WINDOW.lonlat_bounds()
    shrunk = [west + 1e-4, south + 1e-4, east - 1e-4, north - 1e-4]
    study = make_study(tmp_path, source={"catalog": f"{url}/collection.json"}, area={"bbox": shrunk})
    (tile,) = resolve_tiles(study)
    features, _, _ = run_fetch(study, tile, 2020)
    href = features[0]["assets"]["B04"]["href"]
    with rasterio.open(href) as dataset:
        assert dataset.shape == tile.shape
        assert dataset.shape[0] <= WINDOW.shape[0]
    assert np.array_equal(read_on_grid(href, tile, fill=0), read_on_grid(str(folder / "items/day01/B04.tif"), tile, fill=0))
    assert features[0]["assets"]["B04"]["file:checksum"] == "1220" + storage.sha256(href)


@pytest.mark.parametrize(("share", "whole"), [(0.1, True), (0.9, False)])
def test_a_remote_jp2_is_got_whole_where_much_of_it_is_needed(
    folder: Path, tmp_path: Path, serve, share: float, whole: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache, "JP2_SHARE", share)
    write_jp2(folder / "items/day01/B04.jp2", red(1), 10)
    path = folder / "items/day01/day01.json"
    record = json.loads(path.read_text())
    record["assets"]["B04"]["href"] = "./B04.jp2"
    path.write_text(json.dumps(record))
    url, _ = serve(folder)
    downloads: list[str] = []
    original = cache._download
    monkeypatch.setattr(cache, "_download", lambda href, *rest: (downloads.append(href), original(href, *rest)))
    box = [value + shift for value, shift in zip(WINDOW.lonlat_bounds(), (1e-4, 1e-4, -1e-4, -1e-4), strict=True)]
    study = make_study(tmp_path, source={"catalog": f"{url}/collection.json"}, area={"bbox": box})
    (tile,) = resolve_tiles(study)
    features, _, _ = run_fetch(study, tile, 2020)
    assert (len(downloads) == 1) == whole
    href = features[0]["assets"]["B04"]["href"]
    assert np.array_equal(read_on_grid(href, tile, fill=0), read_on_grid(str(folder / "items/day01/B04.jp2"), tile, fill=0))
    with rasterio.open(href) as dataset:
        assert (dataset.driver, dataset.shape) == ("GTiff", tile.shape)


def test_truncated_remote_asset_is_set_aside(folder: Path, tmp_path: Path, serve):
    path = folder / "items/day01/B04.tif"
    path.write_bytes(path.read_bytes()[:2500])
    url, _ = serve(folder)
    study = make_study(tmp_path, source={"catalog": f"{url}/collection.json"})
    _, report, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert [(one["id"], "cannot be decoded" in one["reason"]) for one in report["set_aside"]] == [("day01", True)]


def test_remote_asset_with_another_checksum_is_set_aside(folder: Path, tmp_path: Path, serve):
    path = folder / "items/day01/day01.json"
    record = json.loads(path.read_text())
    record["assets"]["B04"]["file:checksum"] = "1220" + "ab" * 32
    path.write_text(json.dumps(record))
    url, _ = serve(folder)
    study = make_study(tmp_path, source={"catalog": f"{url}/collection.json"})
    _, report, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert [(one["id"], "another checksum" in one["reason"]) for one in report["set_aside"]] == [("day01", True)]


def test_s3_catalog_and_s3_workspace_give_the_same_pixels_and_ids(folder: Path, tmp_path: Path, s3: str):
    for path in folder.rglob("*"):
        if path.is_file():
            storage.upload(path, storage.join(s3, "catalog", str(path.relative_to(folder))))
    study = make_study(
        tmp_path, source={"catalog": f"{s3}/catalog/collection.json"}, workspace=f"{s3}/work", mask={"asset": "SCL", "drop": [3]}
    )
    (tile,) = resolve_tiles(study)
    ids = source_ids(study, tile, 2020)
    features, report, manifest = run_fetch(study, tile, 2020)
    assert report["images"] == len(ids) == 2
    href = features[1]["assets"]["B04"]["href"]
    assert href.startswith(f"{s3}/work/test/cache/")
    assert np.array_equal(read_on_grid(href, tile, fill=0), red(11))
    assert manifest.assets["items"].href.startswith(s3)


def test_missing_catalog_is_the_users_error(tmp_path: Path, serve):
    url, _ = serve(tmp_path)
    with pytest.raises(InputError, match=r"does not exist: correct `source\.catalog`"):
        resolve_tiles(make_study(tmp_path, source={"catalog": f"{url}/none.json"}))


def recorded(shared: Path, name: str) -> dict:
    return json.loads((shared / "data/stac/responses" / name).read_text())


def test_planetary_computer_by_name_is_searched_by_tile_and_period(shared: Path, tmp_path: Path, stac_api, monkeypatch: pytest.MonkeyPatch):
    url, asked = stac_api([recorded(shared, "pc_13items_2020_jun_jul_35MNM.geojson")])
    monkeypatch.setitem(api.PROVIDERS, "planetary-computer", replace(api.PROVIDERS["planetary-computer"], url=url))
    study = make_study(
        tmp_path,
        source={"api": "planetary-computer", "max_cloud": 100},
        area={"tiles": ["35MNM"]},
        mask={"asset": "SCL", "drop": [3]},
        bands=["red"],
    )
    (tile,) = resolve_tiles(study)
    found = find(study, tile, 2020)
    assert len(found.acquisitions) == 13
    assert found.acquisitions[0].assets == {"B04": "B04", "SCL": "SCL"}
    (body,) = asked
    assert body["collections"] == ["sentinel-2-l2a"]
    assert body["datetime"] == "2020-01-01T00:00:00Z/2020-12-31T23:59:59Z"
    assert body["query"] == {"eo:cloud_cover": {"lte": 100.0}, "s2:mgrs_tile": {"eq": "35MNM"}}


def test_neighbouring_tiles_of_a_strip_are_left_out(shared: Path, tmp_path: Path, stac_api):
    strip = recorded(shared, "pc_9items_20200606_africa_strip.geojson")
    url, _ = stac_api([strip])
    name = strip["features"][4]["properties"]["s2:mgrs_tile"]
    study = make_study(tmp_path, source={"api": url, "collection": "sentinel-2-l2a", "max_cloud": 100}, area={"tiles": [name]})
    found = find(study, mgrs_tile(name), 2020)
    assert [one.item.id for one in found.acquisitions] == [strip["features"][4]["id"]]


@pytest.mark.parametrize(
    ("answer", "tile", "year", "red_key"),
    [
        ("cdse_2020_N0500_featurecollection.json", "36NYH", 2020, "B04_10m"),
        ("cdse_2026_N0512_featurecollection.json", "55WFR", 2026, "B04_10m"),
        ("earthsearch_v1_sentinel-2-c1-l2a_10items.json", "13TDE", 2024, "red"),
    ],
)
def test_bands_are_found_under_each_providers_names(
    shared: Path, tmp_path: Path, stac_api, answer: str, tile: str, year: int, red_key: str
):
    url, _ = stac_api([recorded(shared, answer)])
    study = make_study(
        tmp_path,
        source={"api": url, "collection": "c", "max_cloud": 100},
        area={"tiles": [tile]},
        bands=["B04", "B8A"],
        mask={"asset": "SCL"},
    )
    found = find(study, mgrs_tile(tile), year)
    assert found.acquisitions
    assert {one.assets["B04"] for one in found.acquisitions} == {red_key}
    assert found.mask == "SCL"


def test_all_pages_of_an_answer_are_read(shared: Path, stac_api):
    pages = recorded(shared, "recorded_earthsearch_v1_search_paged.json")
    answers = [page["response"] for page in pages if page["request"]["method"] == "POST"]
    # The two pages count their matches differently, as the live catalog grew between them, so the search is made again.
    last: dict = {"type": "FeatureCollection", "features": [], "links": []}
    url, asked = stac_api([*answers, last, *answers, last], "https://earth-search.aws.element84.com")
    found = api.search(url, "sentinel-2-l2a", TILE, "2025-07-31/2025-07-31", 100)
    assert len(found) == sum(len(answer["features"]) for answer in answers)
    assert len(asked) == 2 * (len(answers) + 1)


def test_api_that_gives_no_answer_is_the_users_error(tmp_path: Path):
    source = {"api": "http://127.0.0.1:9", "collection": "c", "requests": {"retries": 1}}
    study = make_study(tmp_path, source=source, area={"tiles": ["31UFS"]})
    with pytest.raises(InputError, match=r"STAC API http://127\.0\.0\.1:9 gives no answer"):
        find(study, mgrs_tile("31UFS"), 2020)


@pytest.mark.parametrize(
    ("source", "message"), [({"api": "usgs"}, "'usgs' is unknown"), ({"api": "http://127.0.0.1:9"}, "needs source.collection")]
)
def test_unknown_provider_and_missing_collection_are_named(tmp_path: Path, source: dict, message: str):
    study = make_study(tmp_path, source=source, area={"tiles": ["31UFS"]})
    with pytest.raises(InputError, match=message):
        find(study, mgrs_tile("31UFS"), 2020)


def test_items_of_an_api_are_fetched_as_windows(folder: Path, tmp_path: Path, serve, stac_api):
    files, _ = serve(folder)
    record = json.loads((folder / "items/day01/day01.json").read_text())
    for key, asset in record["assets"].items():
        asset["href"] = f"{files}/items/day01/{key}.tif"
    url, _ = stac_api([{"type": "FeatureCollection", "features": [record], "links": []}])
    west, south, east, north = WINDOW.lonlat_bounds()
    study = make_study(tmp_path, source={"api": url, "collection": "c"}, area={"bbox": [west, south, east, north]})
    (tile,) = resolve_tiles(study)
    features, _, _ = run_fetch(study, tile, 2020)
    there = str(folder / "items/day01/B04.tif")
    assert np.array_equal(read_on_grid(features[0]["assets"]["B04"]["href"], tile, fill=0), read_on_grid(there, tile, fill=0))


def test_assets_of_the_planetary_computer_are_signed_once_for_a_container(tmp_path: Path, serve, monkeypatch: pytest.MonkeyPatch):
    token = tmp_path / "token" / "sentinel2l2a01" / "sentinel2-l2"
    token.parent.mkdir(parents=True)
    token.write_text(json.dumps({"msft:expiry": "2030-01-01T00:00:00Z", "token": "sig=abc"}))
    url, served = serve(tmp_path)
    monkeypatch.setattr(api, "TOKENS", f"{url}/token")
    monkeypatch.setattr(api, "_TOKENS", {})
    home = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/13/T/DE"
    assert [api.signed(f"{home}/{name}.tif") for name in ("B02", "B04")] == [f"{home}/{name}.tif?sig=abc" for name in ("B02", "B04")]
    assert len(served) == 1
    assert api.signed("https://other.example/B04.tif") == "https://other.example/B04.tif"


def test_a_token_is_renewed_before_it_ends(tmp_path: Path, serve, monkeypatch: pytest.MonkeyPatch):
    token = tmp_path / "token" / "a" / "c"
    token.parent.mkdir(parents=True)
    soon, later = (datetime.now(UTC) + timedelta(minutes=minutes) for minutes in (5, 45))
    token.write_text(json.dumps({"msft:expiry": soon.isoformat(), "token": "sig=old"}))
    url, served = serve(tmp_path)
    monkeypatch.setattr(api, "TOKENS", f"{url}/token")
    monkeypatch.setattr(api, "_TOKENS", {})
    href = "https://a.blob.core.windows.net/c/B02.tif"
    assert api.signed(href) == f"{href}?sig=old"
    token.write_text(json.dumps({"msft:expiry": later.isoformat().replace("+00:00", "Z"), "token": "sig=new"}))
    assert api.signed(href) == f"{href}?sig=new"
    assert api.signed(href) == f"{href}?sig=new"
    assert len(served) == 2


def test_server_that_fails_for_all_stops_the_run_and_sets_nothing_aside(folder: Path, tmp_path: Path):
    for day in ("day01", "day11"):
        path = folder / f"items/{day}/{day}.json"
        record = json.loads(path.read_text())
        record["assets"]["B04"]["href"] = "http://127.0.0.1:9/B04.tif"
        path.write_text(json.dumps(record))
    study = make_study(tmp_path, source={"catalog": str(folder / "collection.json"), "requests": {"retries": 0}})
    (tile,) = resolve_tiles(study)
    with pytest.raises(UnreachedError, match=r"2 acquisitions cannot be got now, the first \(day01\) .* http://127\.0\.0\.1:9/B04\.tif"):
        run_fetch(study, tile, 2020)
