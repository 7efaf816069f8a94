"""The command line as a user meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import landtide
from landtide import cli
from landtide.core.errors import InputError

FAKES = Path(__file__).parent / "fakes"
PATH = os.pathsep.join(filter(None, [str(FAKES), os.environ.get("PYTHONPATH")]))
STUDY = """
name: fake
area: {catalog-extent: true}
years: [2020]
source: {catalog: catalog.json}
old_map: {uri: old.tif}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def landtide_with_fake_steps(*words: str, fake: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": PATH, "FAKE_STEP": fake, "COLUMNS": "200"}
    return subprocess.run([sys.executable, "-m", "landtide.cli", *words], env=environment, capture_output=True, text=True)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert landtide.__version__ in capsys.readouterr().out


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "retrieve" in capsys.readouterr().out


def test_unknown_command_is_wrong_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rnu"]) == 2
    assert "No such command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["run", "."], "is a folder"),
        (["run", "STUDY", "--set", "model"], "is not KEY=VALUE"),
        (["run", "STUDY", "--set", "model.nmae=svm", "--set", "bnads=[B02]"], "nearest known key: 'bands'"),
        (["train", "STUDY", "--tile", "32TPS"], "train takes no --tile"),
        (["view", "STUDY"], "nothing is published"),
        (["audit", "STUDY", "--set", "old_map=null", "--set", "points=points.csv"], "audit looks for mistakes of an old map"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(words: list[str], line: str, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([str(study) if word == "STUDY" else word for word in words]) == 2
    errors = capsys.readouterr().err
    assert line in errors
    assert errors.count("\n") == 1


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "nowhere.yaml", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_error_is_one_line_and_status_1(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(cli, "read_study", broken)
    assert cli.main(["run", str(study)]) == 1
    assert capsys.readouterr().err == "landtide: unexpected ZeroDivisionError: division by zero (--debug shows where)\n"


def test_values_are_laid_over_the_study(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read = cli.read_study("study.yaml", "elsewhere", ["model.name=svm", "compute.workers=1", "years=[2019, 2020]"])
    assert read.workspace == str(tmp_path / "elsewhere"), "a path of the command line starts where the user is"
    assert (read.model.name, read.compute.workers, read.all_years()) == ("svm", 1, [2019, 2020])
    assert read.source.catalog == str(tmp_path / "catalog.json"), "a path of the study starts at the study"
    assert cli.read_study("study.yaml", "s3://bucket/x").workspace == "s3://bucket/x"


def test_init_writes_a_study_that_is_read_and_never_overwrites_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", str(tmp_path / "new")]) == 0
    path = tmp_path / "new" / "study.yaml"
    assert cli.read_study(str(path)).model.name == "lstm"
    path.write_text(path.read_text() + "# mine\n")
    assert cli.main(["init", str(tmp_path / "new")]) == 2
    assert path.read_text().endswith("# mine\n")


def test_every_key_of_the_commented_study_is_in_its_section() -> None:
    text = (Path(cli.__file__).parent / "core" / "resources" / "study.yaml").read_text()
    assert list(yaml.safe_load(text))[:2] == ["name", "area"]
    assert all("#" in line for line in text.splitlines() if line.startswith(("area", "years", "legend", "workspace", "model")))


def test_doctor_names_what_is_missing_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(cli.checkup.PACKAGES, "no-such-package-of-landtide", (True, "pip install it"))
    assert cli.main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "no-such-package-of-landtide" in printed
    assert "pip install it" in printed


def test_run_tells_each_step_and_where_the_results_are(study: Path, tmp_path: Path) -> None:
    done = landtide_with_fake_steps("run", str(study))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "note the catalog has no SCL" in lines[0]
    assert [line.split()[0] for line in lines[1:5]] == ["plan", "retrieve", "composite", "retrieve"]
    assert "2 images" in lines[2]
    published = tmp_path / "work" / "fake" / "published"
    assert f"Report   {published}/report.html" in done.stdout
    assert f"landtide view {study}" in done.stdout
    assert "old map 0.630 -> new map 0.910" in done.stdout


def test_run_of_a_failing_step_prints_its_line_and_where_the_log_is(study: Path) -> None:
    done = landtide_with_fake_steps("run", str(study), "--debug", fake="plan:fail")
    assert done.returncode == 2
    errors = done.stderr.splitlines()
    assert errors[-2] == "landtide: class water has 3 samples, and 10 are needed"
    assert errors[-1].startswith("landtide: log: ")
    assert Path(errors[-1].split("log: ")[1]).is_file()
    assert "fake_steps.py" in done.stderr, "--debug shows the step's own traceback"


@pytest.mark.parametrize(("step", "last"), [("retrieve", "retrieve"), ("composite", "composite"), ("train", "train final")])
def test_a_step_by_its_own_name_ends_with_it(study: Path, tmp_path: Path, step: str, last: str) -> None:
    done = landtide_with_fake_steps(step, str(study))
    assert done.returncode == 0, done.stderr
    [calls] = tmp_path.glob("work/fake/runs/*/calls.jsonl")
    assert json.loads(calls.read_text().splitlines()[-1])["step"] == last
    assert last in done.stdout


def test_a_step_by_its_own_name_takes_tile_year_and_force(study: Path, tmp_path: Path) -> None:
    assert landtide_with_fake_steps("composite", str(study), "--tile", "a", "--year", "2020", "--force").returncode == 0
    [run] = tmp_path.glob("work/fake/runs/*/study.json")
    assert json.loads(run.read_text())["options"] == {"force": ["composite"], "tiles": ["a"], "years": [2020]}


def test_a_failing_step_by_its_own_name_prints_one_line(study: Path) -> None:
    done = landtide_with_fake_steps("extract", str(study), fake="extract:fail")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("class water has 3 samples, and 10 are needed (--debug shows where)")


def test_setting_needs_a_key_and_a_value() -> None:
    assert cli._setting("a.b=[1, 2]") == ("a.b", [1, 2])
    assert cli._setting("a=") == ("a", None)
    with pytest.raises(InputError, match="no YAML"):
        cli._setting("a=[1")
