"""What a run is expected to need, and what its report makes of it."""

from datetime import date
from pathlib import Path

import pytest

from landtide import planning
from landtide.composite import Rate
from landtide.core.legend import builtin_legend
from landtide.core.study import parse_study
from landtide.core.tile import Tile
from landtide.io import storage
from landtide.publish import sections
from landtide.retrieve import Checked
from landtide.retrieve.check import Planned

TILE = Tile("33TVM", "EPSG:32633", (10.0, 0.0, 600000.0, 0.0, -10.0, 5100000.0), (10980, 10980))


def study(folder: Path, **keys):
    text = "name: s\narea: {bbox: [1, 2, 3, 4]}\nyears: [2020, 2021]\nsource: {catalog: c.json}\npoints: p.csv\n"
    return parse_study(text, str(folder), date(2026, 1, 1), keys)


def checked() -> Checked:
    planned = tuple(Planned("33TVM", year, images, images * 10**9, 0, ()) for year, images in ((2020, 40), (2021, 60)))
    return Checked((TILE,), builtin_legend("landtide10"), None, "SCL", planned, ())


def test_a_run_plans_by_the_rate_that_was_measured_with_the_same_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(planning.compositing, "measure", lambda *_: Rate(samples=1e9, cpu=1.5))
    assert planning.forecast(study(tmp_path), checked()).seconds == {}
    made = planning.measured(study(tmp_path), checked())
    again = planning.forecast(study(tmp_path), checked())
    assert again == made
    assert again.seconds["33TVM", 2020] == pytest.approx(10980**2 * 40 * 10 / 1e9)
    assert again.peak <= 4 * 2**30
    assert [row["images"] for row in again.record["rows"]] == [40, 60]
    assert planning.forecast(study(tmp_path, bands=["B04"]), checked()).seconds == {}
    assert planning.forecast(study(tmp_path, compute={"threads": 2}), checked()).rate is None


def test_the_clearest_dates_alone_take_time(tmp_path, monkeypatch):
    monkeypatch.setattr(planning.compositing, "measure", lambda *_: Rate(samples=1e9, cpu=1.5))
    made = planning.measured(study(tmp_path, composite={"clearest": 20}), checked())
    assert made.seconds["33TVM", 2020] == made.seconds["33TVM", 2021] == pytest.approx(10980**2 * 20 * 10 / 1e9)


def test_a_workspace_that_cannot_be_written_is_no_obstacle_to_a_plan(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(planning.compositing, "measure", lambda *_: Rate(samples=1e9, cpu=1.5))
    (tmp_path / "work").write_text("a file")
    assert planning.measured(study(tmp_path), checked()).rate is not None
    assert "could not be kept" in caplog.text


def test_the_report_holds_the_plan_against_what_it_came_to():
    planned = {"images": 10, "bytes": 2 * 10**9, "seconds": 50.0}
    actual = {"images": 9, "bytes": 10**9, "seconds": 100.0, "peak_memory": 3 * 10**9}
    rows = [{"tile": "a", "year": year, "planned": planned, "actual": actual} for year in (2020, 2021)]
    told = {row["what"]: row for row in sections.plan({"rows": rows, "peak_memory": 2 * 10**9})}
    assert (told["Images"]["planned"], told["Images"]["actual"], told["Images"]["ratio"]) == (20, 18, 0.9)
    assert told["Time of compositing"]["ratio"] == 2.0
    assert told["Peak memory of compositing, GB"]["ratio"] == 1.5
    rows[0]["planned"] = {**planned, "seconds": None}
    unplanned = {row["what"]: row for row in sections.plan({"rows": rows, "peak_memory": 2 * 10**9})}
    assert unplanned["Time of compositing"]["planned"] is None
    assert unplanned["Time of compositing"]["actual"] == 200.0


def test_the_plan_lies_in_the_runs_folder(tmp_path):
    from landtide.launch import driver

    uri = driver.new_run(study(tmp_path), plan={"rows": [], "peak_memory": 1})
    assert storage.read_json(storage.join(storage.parent(uri), driver.PLAN)) == {"rows": [], "peak_memory": 1}
