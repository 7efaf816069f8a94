"""Retrieval while its sources misbehave: everything else is done, the bad acquisition is named, and a second run heals."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from landtide.core.errors import InputError, LandtideError
from landtide.io import storage
from landtide.io.raster import read_on_grid
from landtide.retrieve import UnreachedError, api, digest, resolve_tiles, source_ids
from landtide.retrieve.search import SetAside, find
from tests.faults.unruly import Unruly, cut, other, refuse, trickle
from tests.retrieve.made import TILE, make_study, red, run_fetch, truncate, write_tiff
from tests.retrieve.made_safe import write_jp2, write_safe


def study_of(unruly: Unruly, tmp_path: Path, **keys):
    source = {"catalog": f"{unruly.url}/collection.json", "requests": {"retries": 3}}
    return make_study(tmp_path, **{"source": source, "mask": {"asset": "SCL", "drop": [3]}, **keys})


def pixels(feature: dict) -> np.ndarray:
    return read_on_grid(feature["assets"]["B04"]["href"], TILE, fill=0)


def assert_whole(features: list[dict], days: tuple[int, ...]) -> None:
    assert [feature["id"] for feature in features] == [f"day{day:02}" for day in days]
    for feature, day in zip(features, days, strict=True):
        assert np.array_equal(pixels(feature), red(day))


PASSING = {"429": refuse(429), "503": refuse(503), "wait": refuse(429, Retry_After="1"), "cut": cut, "trickle": trickle}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_fault_in_passing_costs_nothing_but_time(unruly: Unruly, tmp_path: Path, fault):
    study = study_of(unruly, tmp_path)
    (tile,) = resolve_tiles(study)
    unruly.faults["GET day11/B04.tif"] = [fault, fault]
    unruly.faults["HEAD day21/B04.tif"] = [refuse(503)]
    features, report, _ = run_fetch(study, tile, 2020)
    assert_whole(features, (1, 11, 21))
    assert report["set_aside"] == []


@pytest.mark.parametrize("window", [False, True], ids=["whole", "window"])
def test_a_server_that_fails_for_one_asset_leaves_the_others_ready(unruly: Unruly, tmp_path: Path, window: bool):
    area = {}
    if window:
        west, south, east, north = TILE.lonlat_bounds()
        area = {"area": {"bbox": [west + 1e-3, south + 1e-3, east - 1e-3, north - 1e-3]}}
    study = study_of(unruly, tmp_path, **area)
    (tile,) = resolve_tiles(study)
    unruly.always["GET day11/B04.tif"] = refuse(503)
    with pytest.raises(UnreachedError, match=r"1 acquisitions cannot be got now, the first \(day11\) .*B04\.tif answers 503") as caught:
        run_fetch(study, tile, 2020)
    (aside,) = caught.value.aside
    assert aside.id == "day11"
    unruly.asked.clear()
    unruly.always.clear()
    features, report, _ = run_fetch(study, tile, 2020)
    assert [feature["id"] for feature in features] == ["day01", "day11", "day21"]
    assert {path.split("/")[2] for path in unruly.paths(end=".tif")} == {"day11"}  # the others were kept
    assert report["set_aside"] == []


def test_what_a_failing_server_holds_back_is_named_and_changes_the_sources(unruly: Unruly, tmp_path: Path):
    study = study_of(unruly, tmp_path)
    (tile,) = resolve_tiles(study)
    out_of_reach = (SetAside("day11", "its server fails"),)
    whole, part = source_ids(study, tile, 2020), source_ids(study, tile, 2020, out_of_reach)
    assert set(part) < set(whole)
    assert len(part) == 2


def test_the_step_goes_on_without_what_cannot_be_got_and_heals(unruly: Unruly, tmp_path: Path):
    from landtide import steps

    study = study_of(unruly, tmp_path, compute={"workers": 1})
    (tile,) = resolve_tiles(study)
    uri = str(tmp_path / "run" / "study.json")
    storage.write_json(uri, {"study": study.model_dump(mode="json", by_alias=True)})
    unruly.always["GET day11/B04.tif"] = refuse(503)
    assert retrieved(steps.retrieve(uri, tile.name)) == (["day01", "day21"], [("day11", True)])
    unruly.always.clear()
    for remembered in (digest._head, digest._remote_source):  # a new process
        remembered.cache_clear()
    assert retrieved(steps.retrieve(uri, tile.name)) == (["day01", "day11", "day21"], [])


def test_a_user_is_told_what_could_not_be_got(unruly: Unruly, tmp_path: Path):
    write_tiff(tmp_path / "map.tif", np.full(TILE.shape, 10, np.uint8), TILE)
    record = {
        "name": "test",
        "area": {"catalog-extent": True},
        "years": [2020],
        "source": {"catalog": f"{unruly.url}/collection.json", "requests": {"retries": 0}},
        "bands": ["B04"],
        "old_map": {"uri": "map.tif", "year": 2018, "crosswalk": "worldcover"},
        "legend": "landtide8",
        "compute": {"workers": 1},
    }
    (tmp_path / "study.yaml").write_text(json.dumps(record))
    unruly.always["GET day11/B04.tif"] = refuse(503)
    command = [sys.executable, "-m", "landtide.cli", "retrieve", str(tmp_path / "study.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 acquisitions cannot be got now, the first (day11) because" in done.stdout + done.stderr
    unruly.always["B04.tif"] = refuse(503)
    done = subprocess.run([*command, "--force"], capture_output=True, text=True)
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count("3 acquisitions cannot be got now") == 1
    assert "Traceback" not in done.stderr


def retrieved(manifests: str) -> tuple[list[str], list[tuple[str, bool]]]:
    """Return ids of the acquisitions and what is set aside, with whether its server is blamed."""
    from landtide.io import manifest

    (uri,) = json.loads(manifests).values()
    item = manifest.read(uri)
    report = storage.read_json(item.assets["report"].href)
    return [one["id"] for one in report["acquisitions"]], [(one["id"], "answers 503" in one["reason"]) for one in report["set_aside"]]


def test_a_damaged_object_is_told_from_a_failing_server_and_heals_when_it_is_replaced(unruly: Unruly, tmp_path: Path):
    path = unruly.folder / "items/day11/B04.tif"
    right = path.read_bytes()
    truncate(path)
    study = study_of(unruly, tmp_path)
    (tile,) = resolve_tiles(study)
    before = source_ids(study, tile, 2020)
    features, report, _ = run_fetch(study, tile, 2020)
    assert_whole(features, (1, 21))
    assert [(one["id"], "cannot be decoded" in one["reason"]) for one in report["set_aside"]] == [("day11", True)]
    path.write_bytes(right)
    for remembered in (digest._head, digest._remote_source):
        remembered.cache_clear()
    assert source_ids(study, tile, 2020) != before
    features, _, _ = run_fetch(study, tile, 2020)
    assert_whole(features, (1, 11, 21))


def test_other_bytes_than_the_catalogs_checksum_are_refused(unruly: Unruly, tmp_path: Path):
    item = unruly.folder / "items/day11/day11.json"
    record = json.loads(item.read_text())
    record["assets"]["B04"]["file:checksum"] = "1220" + storage.sha256(str(unruly.folder / "items/day11/B04.tif"))
    item.write_text(json.dumps(record))
    unruly.always["GET day11/B04.tif"] = other((unruly.folder / "items/day21/B04.tif").read_bytes())
    study = study_of(unruly, tmp_path)
    features, report, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert_whole(features, (1, 21))
    assert [(one["id"], "another checksum" in one["reason"]) for one in report["set_aside"]] == [("day11", True)]


def test_a_refused_signature_is_renewed_and_the_read_goes_on(unruly: Unruly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tokens = iter(["sig=old", "sig=new", "sig=never"])
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    def grant(handler, data):
        handler.answer(200, json.dumps({"token": next(tokens), "msft:expiry": until}).encode(), {})

    def judge(handler, data):
        handler.answer(403, b"", {}) if handler.path.endswith("sig=old") else handler._give(data)

    unruly.always |= {"token/127/items": grant, "B04.tif": judge}
    monkeypatch.setattr(api, "TOKENS", f"{unruly.url}/token")
    monkeypatch.setattr(api, "STORAGE", unruly.url.removeprefix("http://"))
    study = study_of(unruly, tmp_path, mask=None)
    (tile,) = resolve_tiles(study)
    features, report, _ = run_fetch(study, tile, 2020)
    assert_whole(features, (1, 11, 21))
    assert report["set_aside"] == []
    assert len(unruly.paths(end="token/127/items")) == 2
    assert not any("sig=" in text for text in (json.dumps(features), json.dumps(report)))


def test_a_signature_that_ends_in_the_middle_is_renewed(unruly: Unruly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tokens = iter(["sig=old", "sig=new", "sig=never"])
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    reads = {"sig=old": 0, "sig=new": 0}

    def grant(handler, data):
        handler.answer(200, json.dumps({"token": next(tokens), "msft:expiry": until}).encode(), {})

    def judge(handler, data):
        token = handler.path.partition("?")[2]
        reads[token] += handler.command == "GET"
        handler.answer(403, b"", {}) if token == "sig=old" and reads[token] > 2 else handler._give(data)

    unruly.always |= {"token/127/items": grant, "B04.tif": judge}
    monkeypatch.setattr(api, "TOKENS", f"{unruly.url}/token")
    monkeypatch.setattr(api, "STORAGE", unruly.url.removeprefix("http://"))
    west, south, east, north = TILE.lonlat_bounds()
    box = [west + 1e-3, south + 1e-3, east - 1e-3, north - 1e-3]
    study = study_of(unruly, tmp_path, mask=None, area={"bbox": box})
    (tile,) = resolve_tiles(study)
    features, _, _ = run_fetch(study, tile, 2020)
    assert [feature["id"] for feature in features] == ["day01", "day11", "day21"]
    there = str(unruly.folder / "items/day21/B04.tif")
    here = features[2]["assets"]["B04"]["href"]
    assert np.array_equal(read_on_grid(here, tile, fill=0), read_on_grid(there, tile, fill=0))


def searched(unruly: Unruly, names: list[str], matched: int | None = None, more: bool = False) -> dict:
    """Return a page of a search."""
    records = [json.loads((unruly.folder / f"items/{name}/{name}.json").read_text()) for name in names]
    for record in records:
        for key, asset in record["assets"].items():
            asset["href"] = f"{unruly.url}/items/{record['id']}/{key}.tif"
    links = [{"rel": "next", "href": f"{unruly.url}/search", "method": "POST", "body": {"token": "x"}}] if more else []
    count = {} if matched is None else {"numberMatched": matched}
    return {"type": "FeatureCollection", "features": records, "links": links, **count}


def api_study(unruly: Unruly, tmp_path: Path):
    west, south, east, north = TILE.lonlat_bounds()
    source = {"api": unruly.url, "collection": "c", "requests": {"retries": 3}}
    return study_of(unruly, tmp_path, source=source, area={"bbox": [west + 1e-3, south + 1e-3, east - 1e-3, north - 1e-3]})


def test_items_out_of_order_and_twice_come_once_and_in_order(unruly: Unruly, tmp_path: Path):
    unruly.pages += [searched(unruly, ["day21", "day01"], more=True), searched(unruly, ["day01", "day11", "day21"])]
    study = api_study(unruly, tmp_path)
    found = find(study, resolve_tiles(study)[0], 2020)
    assert [one.item.id for one in found.acquisitions] == ["day01", "day11", "day21"]


def test_a_catalog_that_changes_between_two_pages_is_searched_again(unruly: Unruly, tmp_path: Path):
    # day01 is published while the first search runs: the second page no longer starts where the first ended, and day11 is lost
    unruly.pages += [searched(unruly, ["day11"], matched=2, more=True), searched(unruly, ["day11"], matched=3)]
    unruly.pages += [searched(unruly, ["day21", "day11"], matched=3, more=True), searched(unruly, ["day01"], matched=3)]
    study = api_study(unruly, tmp_path)
    found = find(study, resolve_tiles(study)[0], 2020)
    assert [one.item.id for one in found.acquisitions] == ["day01", "day11", "day21"]


def test_a_catalog_that_never_rests_stops_the_run(unruly: Unruly, tmp_path: Path):
    for count in range(10):
        unruly.pages += [searched(unruly, ["day01", "day11", "day21"][count % 3 :], matched=count + 10)]
    study = api_study(unruly, tmp_path)
    with pytest.raises(LandtideError, match="changed 4 times while it was searched"):
        find(study, resolve_tiles(study)[0], 2020)


def test_counts_that_are_estimates_are_not_taken_for_changes(unruly: Unruly, tmp_path: Path):
    unruly.pages += [searched(unruly, ["day01", "day11"], matched=7)] * 2
    study = api_study(unruly, tmp_path)
    assert len(find(study, resolve_tiles(study)[0], 2020).acquisitions) == 2


def test_a_search_outlasts_a_storm(unruly: Unruly, tmp_path: Path):
    unruly.faults["/search"] = [refuse(429), refuse(503), refuse(502)]
    unruly.pages += [searched(unruly, ["day01"])] * 4  # a page is taken by each refused request too
    study = api_study(unruly, tmp_path)
    assert len(find(study, resolve_tiles(study)[0], 2020).acquisitions) == 1


def test_a_search_that_fails_half_way_says_so(unruly: Unruly, tmp_path: Path):
    unruly.always["/search"] = refuse(503)
    study = api_study(unruly, tmp_path)
    with pytest.raises(LandtideError, match=r"failed while searching c in 2020"):
        find(study, resolve_tiles(study)[0], 2020)


ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}
"""Of the programs below, which use what the tests make their images by."""

FULL_DISK = """
import json, sys
from pathlib import Path
from landtide.core.errors import InputError
from landtide.core.study import Study
from landtide.retrieve import resolve_tiles
from tests.retrieve.made import run_fetch
study = Study.model_validate(json.loads(Path(sys.argv[1]).read_text()))
try:
    run_fetch(study, resolve_tiles(study)[0], 2020)
except InputError as error:
    print(error)
    sys.exit(error.exit_status)
"""


@pytest.mark.parametrize("where", ["workspace", "scratch"])
def test_a_disk_that_fills_ends_with_one_line_and_the_next_run_goes_on(unruly: Unruly, tmp_path: Path, where: str):
    small = tmp_path / "small"
    small.mkdir()
    study = study_of(unruly, tmp_path, workspace=str((small if where == "workspace" else tmp_path) / "work"))
    (tmp_path / "study.json").write_text(study.model_dump_json(by_alias=True))
    (tmp_path / "program.py").write_text(FULL_DISK)
    size = 40 if where == "workspace" else 4  # KiB: room for one or two copies, or for none
    run = f"{sys.executable} {tmp_path}/program.py {tmp_path}/study.json"
    scratch = f"export TMPDIR={small}; " if where == "scratch" else ""
    script = (
        f"mount -t tmpfs -o size={size}k tmpfs {small} && {scratch} {run}; echo status $?; "
        f"find {study.workspace} -path '*cache*' -name '*.json' | wc -l; mount -o remount,size=4m {small} && {run}; echo status $?"
    )
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], env=ENVIRONMENT, capture_output=True, text=True)
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this machine lets no small disk be mounted")
    message, first, kept, second = done.stdout.splitlines()
    assert (first, second) == ("status 2", "status 0"), done.stderr
    assert str(small) in message
    assert "no space left on the disk" in message or "free space there" in message
    assert (int(kept) > 0) == (where == "workspace")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_copy_that_is_harmed_in_the_cache_is_made_anew(unruly: Unruly, tmp_path: Path, harm: str):
    study = study_of(unruly, tmp_path)
    (tile,) = resolve_tiles(study)
    before, _, _ = run_fetch(study, tile, 2020)
    path = Path(before[1]["assets"]["B04"]["href"])
    truncate(path) if harm == "cut" else path.unlink()
    after, _, _ = run_fetch(study, tile, 2020)
    assert after == before
    assert_whole(after, (1, 11, 21))


def test_a_remote_jp2_that_does_not_decode_sets_its_acquisition_aside(unruly: Unruly, tmp_path: Path):
    for day in (1, 11):
        write_jp2(unruly.folder / f"items/day{day:02}/B04.jp2", red(day), 10)
        item = unruly.folder / f"items/day{day:02}/day{day:02}.json"
        record = json.loads(item.read_text())
        record["assets"]["B04"]["href"] = "./B04.jp2"
        item.write_text(json.dumps(record))
    truncate(unruly.folder / "items/day11/B04.jp2")
    study = study_of(unruly, tmp_path)
    features, report, _ = run_fetch(study, resolve_tiles(study)[0], 2020)
    assert_whole(features, (1, 21))
    assert [(one["id"], "B04.jp2 cannot be decoded" in one["reason"]) for one in report["set_aside"]] == [("day11", True)]


KILLED = """
import json, os, signal, sys
from pathlib import Path
from landtide.core.study import Study
from landtide.io import storage
from landtide.retrieve import cache, resolve_tiles
from tests.retrieve.made import run_fetch
study = Study.model_validate(json.loads(Path(sys.argv[1]).read_text()))
original, left = storage.write_json, [int(sys.argv[2])]

def write_json(uri, record):
    left[0] -= "/cache/" in uri
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)  # the copy is there, its record is not
    original(uri, record)

storage.write_json = write_json
run_fetch(study, resolve_tiles(study)[0], 2020)
"""


def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_bytes(tmp_path: Path):
    for day in ("20200501", "20200511", "20200521"):
        images = {"B04": red(int(day), 1200, 1600), "SCL": np.full((TILE.shape[0] // 2, TILE.shape[1] // 2), 4, np.uint8)}
        write_safe(tmp_path / "products", day, images)
    (tmp_path / "program.py").write_text(KILLED)
    found = {}
    for name, kill in (("straight", 99), ("killed", 3)):
        source = {"folder": str(tmp_path / "products")}
        study = make_study(tmp_path, source=source, mask={"asset": "SCL"}, workspace=str(tmp_path / name))
        (tmp_path / "study.json").write_text(study.model_dump_json(by_alias=True))
        program = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "study.json"), str(kill)]
        done = subprocess.run(program, env=ENVIRONMENT, check=False)
        assert done.returncode == (0 if kill == 99 else -9)
        records = sorted((tmp_path / name).rglob("cache/*/*.json"))
        assert len(records) == (6 if kill == 99 else 3)
        before = [path.stat().st_mtime_ns for path in records]
        run_fetch(study, resolve_tiles(study)[0], 2020)
        assert [path.stat().st_mtime_ns for path in records] == before  # what was whole is not made again
        found[name] = {path.name: path.read_bytes() for path in (tmp_path / name).rglob("cache/*/*.tif")}
    assert found["straight"] == found["killed"]
    assert len(found["killed"]) == 6


def test_nothing_is_written_where_nothing_is_left(unruly: Unruly, tmp_path: Path):
    for path in unruly.folder.glob("items/*/B04.tif"):
        truncate(path, 0.3)
    study = study_of(unruly, tmp_path)
    with pytest.raises(InputError, match="no usable acquisition in 2020: all 3 are set aside"):
        run_fetch(study, resolve_tiles(study)[0], 2020)
    assert not list(tmp_path.rglob("items.json"))
