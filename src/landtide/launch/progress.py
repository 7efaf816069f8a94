"""What a run tells while it goes on: one JSON line an event, and the lines that a person sees."""

import json
import logging
import sys
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, get_args

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

LOGGER = "landtide.progress"
"""Name of the logger that carries the events of a step, out of whatever process the step runs in."""

State = Literal["started", "done", "skipped", "failed"]

LABELS = {"started": "running", "done": "done", "skipped": "already done", "failed": "failed"}


@dataclass(frozen=True)
class Event:
    """One thing that happened to a step."""

    step: str
    """What a person reads: ``retrieve``, ``train preliminary``. Events of one step share a line."""

    state: State
    """``skipped`` = its manifest was there already."""

    part: str | None = None
    """What of it, where a step has several parts: the tiles of a shard."""

    seconds: float = 0.0
    counts: dict[str, float] = field(default_factory=dict)
    """Unit -> amount (``{"images": 68, "GB": 1.2}``); the line shows the sum over the parts."""

    note: str | None = None
    """A short result that cannot be summed (``OA 0.91``)."""


def tell(event: Event) -> None:
    """Log an event."""
    record = {key: value for key, value in asdict(event).items() if value not in (None, {})}
    logging.getLogger(LOGGER).info(json.dumps(record))


def log_events() -> None:
    """Let events pass, whatever level the process logs at."""
    logging.getLogger(LOGGER).setLevel(logging.INFO)


def print_log() -> None:
    """Print what this process logs to stderr: for a step that is a process of its own."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def parse(line: str) -> Event | None:
    """Return the event that a line of a log carries, None where it carries none."""
    start = line.find('{"step"')
    if start < 0:
        return None
    try:
        record = json.loads(line[start:])
    except json.JSONDecodeError:
        return None
    known = {key: value for key, value in record.items() if key in Event.__dataclass_fields__}
    return Event(**known) if known.get("state") in get_args(State) else None


class EventHandler(logging.Handler):
    """Hands the events of this process to a display."""

    def __init__(self, display: "Display") -> None:
        super().__init__()
        self.display = display

    def emit(self, record: logging.LogRecord) -> None:
        event = parse(record.getMessage())
        if event is not None:
            self.display.show(event)


@dataclass
class Row:
    """What a step has told so far."""

    state: State = "started"
    seconds: float = 0.0
    counts: dict[str, float] = field(default_factory=dict)
    note: str | None = None
    parts: int = 0
    already: int = 0

    def add(self, event: Event) -> None:
        self.state = event.state
        if event.state == "started":
            return
        self.parts += 1
        self.already += event.state == "skipped"
        self.seconds += event.seconds
        self.note = event.note or self.note
        for unit, amount in event.counts.items():
            self.counts[unit] = self.counts.get(unit, 0) + amount

    @property
    def label(self) -> str:
        """Say in words how far the step is."""
        if self.state in ("started", "failed") or self.already == self.parts:
            return LABELS[self.state]
        return f"done, {self.already} of {self.parts} already" if self.already else LABELS["done"]

    @property
    def result(self) -> str:
        """Say in words what came out."""
        return ", ".join([*(f"{_plain(amount)} {unit}" for unit, amount in self.counts.items()), *filter(None, [self.note])])


class Display:
    """One line a step: live on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.rows: dict[str, Row] = {}
        self._live = Live(console=self.console, refresh_per_second=8, get_renderable=self._table) if self.console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def show(self, event: Event) -> None:
        """Bring the step's line up to date."""
        row = self.rows.setdefault(event.step, Row())
        row.add(event)
        if self._live:
            self._live.refresh()
        elif event.state != "started":
            part = f" [{event.part}]" if event.part else ""
            one = Row()
            one.add(event)
            self.console.print(f"{event.step + part:<32} {one.label:<14} {event.seconds:8.1f} s  {one.result}".rstrip(), markup=False)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for step, row in self.rows.items():
            if row.state == "started" and row.parts == 0:
                table.add_row(Spinner("dots"), step, row.label, "", "")
            else:
                mark = "[red]✗[/red]" if row.state == "failed" else "[green]✓[/green]"
                table.add_row(mark, step, row.label, f"{row.seconds:.1f} s", row.result)
        return table


def _plain(amount: Any) -> str:
    return f"{amount:,.0f}".replace(",", " ") if float(amount).is_integer() else f"{amount:,.2f}".replace(",", " ")
