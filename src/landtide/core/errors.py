"""The two ways in which landtide fails, and the exit status that each stands for."""


class LandtideError(Exception):
    """The work failed although the input was right: exit status 1."""

    exit_status = 1


class InputError(LandtideError, ValueError):
    """The user's input is wrong: exit status 2, one line that says what, where, the value and what to do."""

    exit_status = 2
