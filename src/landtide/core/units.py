"""Lengths and memory sizes as users write them: ``60 m``, ``0.1 km``, ``4GiB``."""

import re

from landtide.core.errors import InputError

METRES = {"m": 1.0, "km": 1000.0}
BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def parse_length(text: str) -> float:
    """Return a length in metres; ``"60 m"`` gives 60.0.

    Raises InputError without a unit: a bare number could be pixels as well as metres.
    """
    return _parse(text, METRES, "length", "60 m")


def parse_memory(text: str) -> int:
    """Return a memory size in bytes; ``"4GiB"`` gives 4294967296."""
    return int(_parse(text, BYTES, "memory size", "4GiB"))


def format_bytes(size: float) -> str:
    """Return a size in the largest decimal unit that keeps it at or above 1, such as ``1.2 GB``."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size >= BYTES[unit]:
            return f"{size / BYTES[unit]:.1f} {unit}"
    return f"{size:.0f} B"


def _parse(text: str, factors: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", str(text))
    if match is None or match[2] not in factors:
        units = ", ".join(factors)
        raise InputError(f"{what} {text!r} is not a number with a unit ({units}): write it like {example!r}")
    return float(match[1]) * factors[match[2]]
