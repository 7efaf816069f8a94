"""Legends and crosswalks of a study, from landtide's own tables or the user's CSV files."""

from landtide.core.errors import InputError
from landtide.core.legend import (
    CROSSWALKS,
    LEGENDS,
    Crosswalk,
    Legend,
    builtin_crosswalk,
    builtin_legend,
    identity_crosswalk,
    parse_crosswalk,
    parse_legend,
)
from landtide.core.study import Study
from landtide.io import storage


def load_legend(study: Study) -> Legend:
    """Return the study's legend. Raises InputError where its file is missing or wrong."""
    if study.legend in LEGENDS:
        return builtin_legend(study.legend)
    return parse_legend(_text(study.legend, "legend"), _name(study.legend))


def load_crosswalk(name: str, legend: Legend) -> Crosswalk:
    """Return a crosswalk into a legend: ``identity``, one of landtide's own by name, or a CSV file by path."""
    if name == "identity":
        return identity_crosswalk(legend)
    if name in CROSSWALKS:
        return builtin_crosswalk(name, legend)
    return parse_crosswalk(_text(name, "crosswalk"), _name(name), legend)


def _text(uri: str, what: str) -> str:
    try:
        return storage.read_text(uri)
    except FileNotFoundError:
        known = ", ".join(LEGENDS if what == "legend" else ("identity", *CROSSWALKS))
        raise InputError(f"{what} {uri} does not exist: write {known} or the path of a CSV file") from None


def _name(uri: str) -> str:
    return uri.rsplit("/", 1)[-1].removesuffix(".csv")
