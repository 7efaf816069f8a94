"""The forgetting ledger: what each model of a sequence reaches on the samples of every year.

A row is a model: ``{"years": [learnt from], "accuracy": {"2018": 0.91, ...}}``; rows stand in the order of training.
"""

from typing import Any

Row = dict[str, Any]


def forgotten(earlier: Row, later: Row) -> tuple[str, float] | None:
    """Return the year on which the later model loses most, and how much; None where no year of the earlier one is known to both."""
    learnt = {str(year) for year in earlier["years"]}
    lost = {
        year: value - later["accuracy"][year] for year, value in earlier["accuracy"].items() if year in learnt and year in later["accuracy"]
    }
    return max(lost.items(), key=lambda item: item[1]) if lost else None


def summary(rows: list[Row], chance: float) -> dict[str, float | None]:
    """Return mean accuracy, backward and forward transfer of a ledger.

    chance  accuracy of a guess: forward transfer is what an earlier model knows of a year above it

    ``acc`` is the last model's mean over years; ``bwt`` the mean change on a year since it was first learnt (negative = forgotten);
    ``fwt`` the mean accuracy on a year before it was learnt, over chance. None where there is nothing to compare.
    Source: Lopez-Paz & Ranzato 2017, arXiv:1706.08840.
    """
    last = rows[-1]["accuracy"]
    since, before = [], []
    for year in last:
        first = next((number for number, row in enumerate(rows) if int(year) in row["years"]), None)
        if first is not None and first < len(rows) - 1 and year in rows[first]["accuracy"]:
            since.append(last[year] - rows[first]["accuracy"][year])
        if first and year in rows[first - 1]["accuracy"]:
            before.append(rows[first - 1]["accuracy"][year] - chance)
    return {"acc": _mean(list(last.values())), "bwt": _mean(since), "fwt": _mean(before)}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
