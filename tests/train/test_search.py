"""Searching for settings: trials meet in a storage, bad ones stop early, and an interrupted search goes on."""

import dataclasses
from pathlib import Path
from typing import Any

import phenology
import pytest
from optuna.trial import TrialState

from landtide.core.errors import InputError
from landtide.io import storage, table
from landtide.launch.training import run_search
from landtide.train import search
from landtide.train.journal import ObjectJournal
from landtide.train.spec import Search, TrainSpec

SPACE = {"learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}, "hidden": [4, 8]}


def spec_for(folder: Path, **changes: Any) -> TrainSpec:
    uri = str(folder / "samples.parquet")
    if not Path(uri).exists():
        table.write_samples(uri, phenology.samples(60))
    wanted = Search(str(folder / "journal"), trials=4, first=1, reduction=2, space=SPACE)
    settings = {"epochs": 4, "convolution": 0, "batch": 32}
    spec = TrainSpec("lstm", (uri,), phenology.legend(4), phenology.BANDS, 12, 3, str(folder / "out"), settings=settings)
    return dataclasses.replace(spec, search=dataclasses.replace(wanted, **changes))


def states(spec: TrainSpec) -> list[TrialState]:
    return [trial.state for trial in search.open_study(spec.search).trials]


def test_bad_trials_stop_early_and_the_best_is_found(tmp_path: Path) -> None:
    spec = spec_for(tmp_path, trials=8, first=2)
    search.work(dataclasses.replace(spec, settings={**spec.settings, "batch": 16, "epochs": 6}))
    found = search.report(spec.search)
    assert len(found["trials"]) == 8
    assert found["epochs"] < 8 * 6
    assert sum(found["stopped_after"].values()) == sum(trial["state"] == "pruned" for trial in found["trials"]) > 0
    assert found["best"]["value"] == max(trial["value"] for trial in found["trials"] if trial["state"] == "complete") > 0.5
    assert set(found["best"]["settings"]) == set(SPACE)


def test_random_search_stops_nothing_and_keeps_to_its_budget(tmp_path: Path) -> None:
    spec = spec_for(tmp_path, trials=50, method="random", budget=9)
    search.work(spec)
    found = search.report(spec.search)
    assert [len(trial["curve"]) for trial in found["trials"]] == [4, 4, 4]


@pytest.mark.parametrize("place", ["journal", "sqlite"])
def test_an_interrupted_search_goes_on(place: str, tmp_path: Path) -> None:
    meeting = str(tmp_path / "journal") if place == "journal" else f"sqlite:///{tmp_path}/trials.db"
    spec = spec_for(tmp_path, trials=2, storage=meeting)
    search.work(spec)
    lost = search.open_study(spec.search).ask()
    lost.set_user_attr("worker", "0")
    other = search.open_study(spec.search).ask()
    other.set_user_attr("worker", "elsewhere")
    search.work(spec_for(tmp_path, trials=4, storage=meeting))
    assert states(spec)[2:4] == [TrialState.FAIL, TrialState.RUNNING]  # another process's trial is its own
    assert len([state for state in states(spec) if state in (TrialState.COMPLETE, TrialState.PRUNED)]) == 3


def test_processes_beside_each_other_share_the_trials(tmp_path: Path) -> None:
    spec = spec_for(tmp_path, trials=5)
    run_search(spec, 2)
    trials = search.open_study(spec.search).trials
    assert {trial.user_attrs["worker"] for trial in trials} == {"0.0", "0.1"}
    assert 5 <= len(trials) <= 6  # both may begin the last one
    assert len({tuple(trial.params.values()) for trial in trials}) == len(trials)


def test_two_writers_of_a_journal_lose_nothing(tmp_path: Path) -> None:
    one, two = ObjectJournal(str(tmp_path)), ObjectJournal(str(tmp_path))
    for number in range(5):
        one.append_logs([{"by": "one", "number": number}])
        two.append_logs([{"by": "two", "number": number}, {"by": "two", "number": -number}])
    entries = list(one.read_logs(0))
    assert entries == list(two.read_logs(0))
    assert len(entries) == 15
    assert list(one.read_logs(12)) == entries[12:]
    assert len(list(storage.walk(str(tmp_path)))) == 10


def test_a_trial_that_fails_does_not_end_the_search(tmp_path: Path) -> None:
    spec = spec_for(tmp_path, trials=3, space={"width": [32], "heads": [3, 4]}, method="random")
    spec = dataclasses.replace(spec, model="transformer", settings={"epochs": 1, "layers": 1, "batch": 32})
    search.work(spec)
    assert set(states(spec)) <= {TrialState.COMPLETE, TrialState.FAIL}
    assert states(spec).count(TrialState.COMPLETE) == 3 or states(spec).count(TrialState.FAIL) >= 3


def test_a_space_is_checked_before_anything_runs() -> None:
    with pytest.raises(InputError, match="model 'svm' has nothing to search"):
        search.space_of("svm", None)
    with pytest.raises(InputError, match="no setting 'hiden'; nearest: 'hidden'"):
        search.space_of("lstm", {"hiden": [4]})
    for name in search.SPACES:
        assert len(search.space_of(name, None)) > 6
