"""Periods of time: a year of a study and the composite steps in it."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from landtide.core.errors import InputError


@dataclass(frozen=True, order=True)
class Period:
    """A half-open span of days, named as ISO 8601 names it."""

    start: date
    """First day."""

    end: date
    """First day after the period."""

    @classmethod
    def of_year(cls, year: int) -> "Period":
        """Return the calendar year."""
        return cls(date(year, 1, 1), date(year + 1, 1, 1))

    @property
    def name(self) -> str:
        """ISO 8601 name: ``2018`` for a whole year, ``2018-03`` for a month, else ``start/duration`` as ``2018-03-01--P16D``."""
        if self == Period.of_year(self.start.year):
            return f"{self.start:%Y}"
        if self.start.day == 1 and self.end == _add_months(self.start, 1):
            return f"{self.start:%Y-%m}"
        return f"{self.start.isoformat()}--P{(self.end - self.start).days}D"

    @property
    def middle(self) -> date:
        """The day in the middle: it stands for the period where one date is asked for."""
        return self.start + (self.end - self.start) / 2

    def contains(self, moment: datetime) -> bool:
        """Say whether a moment (UTC where it has no zone) lies in the period."""
        utc = moment.astimezone(UTC) if moment.tzinfo else moment
        return self.start <= utc.date() < self.end

    def interval(self) -> str:
        """Return the STAC ``datetime`` interval, first to last second."""
        last = datetime.combine(self.end, datetime.min.time()) - timedelta(seconds=1)
        return f"{self.start.isoformat()}T00:00:00Z/{last.isoformat()}Z"

    def split(self, duration: str) -> list["Period"]:
        """Cut the period into steps of an ISO 8601 duration: ``P1M``, ``P3M``, ``P16D``, ``P1Y``.

        Steps are counted from the first day. A last step of days that is shorter than half a step is joined to the one before,
        so that ``P16D`` gives 23 steps a year and no step of five days.
        """
        count, unit = parse_duration(duration)
        steps: list[Period] = []
        start = self.start
        while start < self.end:
            end = start + timedelta(days=count) if unit == "D" else _add_months(start, count * (12 if unit == "Y" else 1))
            steps.append(Period(start, min(end, self.end)))
            start = end
        if unit == "D" and len(steps) > 1 and (steps[-1].end - steps[-1].start).days * 2 < count:
            last = steps.pop()
            steps[-1] = Period(steps[-1].start, last.end)
        return steps


def parse_duration(text: str) -> tuple[int, str]:
    """Return count and unit (``D``, ``M`` or ``Y``) of an ISO 8601 duration; weeks come back as days."""
    match = re.fullmatch(r"P(\d+)([DWMY])", text)
    if match is None or int(match[1]) == 0:
        raise InputError(f"period {text!r} is not an ISO 8601 duration of days, weeks, months or years: write P1M, P3M or P16D")
    count = int(match[1])
    return (count * 7, "D") if match[2] == "W" else (count, match[2])


def _add_months(day: date, months: int) -> date:
    total = day.year * 12 + day.month - 1 + months
    return date(total // 12, total % 12 + 1, day.day)
