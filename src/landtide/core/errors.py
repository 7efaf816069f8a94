"""The two ways in which landtide fails, the exit status that each stands for, and want of memory as libraries tell it."""

from collections.abc import Iterator
from contextlib import contextmanager


class LandtideError(Exception):
    """The work failed although the input was right: exit status 1."""

    exit_status = 1


NO_MEMORY = ("can't allocate memory", "out of memory")
"""What torch says on CPUs and on GPUs; it has no class of its own for the first."""


def is_want_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory did not suffice."""
    line = str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(words in line for words in NO_MEMORY))


@contextmanager
def memory_explained(what: str, advice: str) -> Iterator[None]:
    """Name want of memory as the reason for a failure of ``what``, with what to lower, whichever library met it first."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_want_of_memory(error):
            raise
        raise LandtideError(f"{what} ran out of memory: {advice}") from error


class InputError(LandtideError, ValueError):
    """The user's input is wrong: exit status 2, one line that says what, where, the value and what to do."""

    exit_status = 2
