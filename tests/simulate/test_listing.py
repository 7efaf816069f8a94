"""The catalog without pixels, and the plan that it is for."""

import json
import re
from pathlib import Path

import pytest

from landtide import cli
from landtide.core.errors import InputError
from landtide.core.tile import mgrs_tile
from landtide.simulate import TILES, list_catalog


def test_counts_and_sizes_are_those_of_the_dutch_study(tmp_path: Path) -> None:
    assert list_catalog(tmp_path / "a", TILES, (2018, 2019, 2020), 7) == 10 * 3 * 73
    items = json.loads((tmp_path / "a" / "items.json").read_text())["features"]
    used = [item for item in items if item["properties"]["eo:cloud_cover"] <= 20]
    size = sum(asset["file:size"] for item in used for asset in item["assets"].values())
    assert len(used) == pytest.approx(554, rel=0.1)
    assert size / 1e9 == pytest.approx(559, rel=0.1)
    assert items[0]["assets"]["red"]["proj:transform"] == list(mgrs_tile(TILES[0]).transform)


def test_the_same_seed_lists_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        list_catalog(tmp_path / name, ("31UFT",), (2019,), 3)
    assert (tmp_path / "a" / "items.json").read_bytes() == (tmp_path / "b" / "items.json").read_bytes()
    with pytest.raises(InputError, match="is not empty"):
        list_catalog(tmp_path / "a", ("31UFT",), (2019,), 3)


def test_plan_tells_what_ten_tiles_need_and_keeps_only_the_measured_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "listing"
    assert cli.main(["simulate", str(folder), "--catalog-only", "--years", "2018-2020"]) == 0
    before = {path for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert cli.main(["plan", str(folder / "study.yaml"), "--memory", "4GiB", "--set", "bands=[B02, B04, B11]"]) == 0
    told = capsys.readouterr().out
    for tile in TILES:
        assert tile in told
    assert re.search(r"Compositing +[\d.]+ h on this machine", told)
    assert re.search(r"Peak memory +[\d.]+ (GB|MB) of 4\.3 GB", told)
    assert [path.name for path in folder.rglob("*") if path.is_file() and path not in before] == ["rate.json"]


def test_tiles_are_for_catalogs_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["simulate", str(tmp_path / "a"), "--tiles", "31UFT"]) == 2
    assert "--catalog-only" in capsys.readouterr().err
    assert cli.main(["simulate", str(tmp_path / "a"), "--catalog-only", "--tiles", "99ZZZ"]) == 2
    assert "is no MGRS name" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_plan_of_a_wrong_study_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_catalog(tmp_path / "a", ("31UFT",), (2019,), 3)
    assert cli.main(["plan", str(tmp_path / "a" / "study.yaml"), "--set", "years=[2021]"]) == 2
    assert "no acquisition of tile 31UFT in 2021; years with acquisitions: 2019 (73)" in capsys.readouterr().err
