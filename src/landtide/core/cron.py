"""Cron expressions: five fields as everybody writes them, six as Kubeflow Pipelines reads them."""

import re

from landtide.core.errors import InputError

FIELDS = (("second", 0, 59), ("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6))
NAMES = {
    "month": ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
    "day of week": ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
}


def six_fields(text: str) -> str:
    """Return a cron expression with the field for seconds, which is put before five fields as 0.

    Raises InputError where it has neither five nor six fields, or a field is wrong.
    """
    fields = text.split()
    if len(fields) not in (5, 6):
        raise InputError(
            f"cron {text!r} has {len(fields)} fields: write minute, hour, day of month, month, day of week, such as '0 3 1 * *'"
        )
    fields = ["0", *fields] if len(fields) == 5 else fields
    for field, (name, first, last) in zip(fields, FIELDS, strict=True):
        for part in field.split(","):
            _check(part, name, first, last, text)
    return " ".join(fields)


def _check(part: str, name: str, first: int, last: int, text: str) -> None:
    """Check one part of a field: ``*``, a number, a name or a range of them, each with a step or not."""
    match = re.fullmatch(r"(\*|\?|\w+)(?:-(\w+))?(?:/(\d+))?", part)
    if match is None:
        raise InputError(f"cron {text!r}: {part!r} is no {name}")
    low, high, step = match.groups()
    ends = [_number(word, name, first) for word in (low, high) if word is not None and word not in ("*", "?")]
    if any(end is None or not first <= end <= last for end in ends) or ends != sorted(ends, key=lambda end: end or 0):
        raise InputError(f"cron {text!r}: {part!r} is no {name}, which goes from {first} to {last}")
    if step == "0" or (high is not None and low in ("*", "?")):
        raise InputError(f"cron {text!r}: {part!r} is no {name}")


def _number(word: str, name: str, first: int) -> int | None:
    names = NAMES.get(name, ())
    if word.upper() in names:
        return names.index(word.upper()) + first
    return int(word) if word.isdigit() else None
