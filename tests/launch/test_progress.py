"""The events of a run, from the step that tells them to the line that a person reads."""

import io
import logging

import pytest
from rich.console import Console

from landtide.launch import progress
from landtide.launch.progress import Display, Event, parse


def shown(events: list[Event]) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    with Display(console) as display:
        for event in events:
            display.show(event)
    return console.file.getvalue().splitlines()


def test_an_event_comes_back_out_of_the_log_line_that_it_went_into(caplog: pytest.LogCaptureFixture) -> None:
    progress.log_events()
    event = Event("retrieve", "done", "32TPS 32TQS", 12.5, {"images": 68, "GB": 1.25}, "2 set aside")
    progress.tell(event)
    [record] = caplog.records
    assert record.name == progress.LOGGER
    assert record.levelno == logging.INFO
    assert parse(f"        [KFP Executor 2026-11-22 15:39:13,637 INFO]: {record.getMessage()}") == event


@pytest.mark.parametrize("line", ["", "plain text", '{"step": "broken', '{"step": "x"}', '{"step": "x", "state": "odd"}', '{"other": 1}'])
def test_other_lines_carry_no_event(line: str) -> None:
    assert parse(line) is None


def test_unknown_keys_of_a_newer_step_are_passed_over() -> None:
    assert parse('{"step": "x", "state": "done", "colour": "red"}') == Event("x", "done")


def test_each_finished_part_is_a_plain_line_where_there_is_no_terminal() -> None:
    lines = shown(
        [Event("retrieve", "started"), Event("retrieve", "done", "a", 3.0, {"images": 1234, "GB": 0.5}), Event("train", "skipped")]
    )
    assert lines[0].split() == ["retrieve", "[a]", "done", "3.0", "s", "1", "234", "images,", "0.50", "GB"]
    assert "already done" in lines[1]


def test_the_line_of_a_step_sums_over_its_parts() -> None:
    row = progress.Row()
    for event in [Event("r", "done", "a", 2.0, {"images": 3}), Event("r", "skipped", "b", 0.5, {"images": 4}, "ok")]:
        row.add(event)
    assert (row.seconds, row.result, row.label) == (2.5, "7 images, ok", "done, 1 of 2 already")


def test_a_terminal_shows_one_line_a_step() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    display = Display(console)
    for event in [Event("retrieve", "done", "a"), Event("retrieve", "done", "b"), Event("composite", "started")]:
        display.show(event)
    assert display._table().row_count == 2
