"""Views: the study's legend and its merges, and what a map, an old map or a reference can say in each of them."""

from dataclasses import dataclass

import numpy as np

from landtide.core.errors import InputError
from landtide.core.landcover import DO_NOT_KNOW
from landtide.core.legend import CROSSWALKS, LEGENDS, Crosswalk, Legend, builtin_crosswalk, builtin_legend, builtin_merges, corine_codes

NAMELESS = "no single class"
"""What a map says where it names no class of the legend: a mixed code of an old map, or "do not know"."""


@dataclass(frozen=True)
class View:
    """One legend in which accuracy is told."""

    legend: Legend
    labels: np.ndarray
    """(K + 1,) uint8: label of the study's legend -> label of this one; 0 stays 0."""


def views_of(legend: Legend) -> tuple[View, ...]:
    """Return the study's legend, then its merges: not every reference tells the two crop classes, or the two tree classes, apart."""
    own = View(legend, np.arange(len(legend) + 1, dtype=np.uint8))
    if legend.name not in LEGENDS or legend.names != builtin_legend(legend.name).names:
        return (own,)
    merged = [builtin_legend(name) for name in LEGENDS[LEGENDS.index(legend.name) + 1 :]]
    return (own, *(View(other, _merge(legend, other)) for other in merged))


def _merge(legend: Legend, merged: Legend) -> np.ndarray:
    targets = builtin_merges(merged)
    return np.array([0, *(merged.label_of(targets.get(name, name)) for name in legend.names)], np.uint8)


@dataclass(frozen=True)
class States:
    """What the pixels of one map can say: state 0 = no data, then one state for each different meaning.

    A code such as WorldCover's "tree cover" has no class in ten classes and has one in eight; so meaning is told for each view.
    """

    labels: np.ndarray
    """(V, S + 1) uint8: state -> label of each view; 0 = names no class there."""

    codes: Crosswalk | None = None
    """Code -> state; None for landtide's own label rasters."""

    def __len__(self) -> int:
        return int(self.labels.shape[1]) - 1

    def of(self, values: np.ndarray, nodata: float | None) -> np.ndarray:
        """Return the states (uint8) of raster values or codes. Raises InputError that names a code which the crosswalk does not know."""
        if self.codes is None:
            return np.where(values == DO_NOT_KNOW, len(self), values).astype(np.uint8)
        if self.codes.name == "corine":
            unique, inverse = np.unique(values, return_inverse=True)
            declared = np.zeros(unique.shape, bool) if nodata is None else unique == nodata
            codes = np.zeros(unique.shape, np.int32)
            codes[~declared] = corine_codes(unique[~declared])
            return self.codes.translate(codes[inverse].reshape(values.shape), 0)
        return self.codes.translate(values, nodata)

    def of_text(self, codes: list[str], what: str) -> np.ndarray:
        """Return the states (uint8) of codes as text, such as LUCAS's. Raises InputError that names the unknown ones."""
        assert self.codes is not None
        table = self.codes.labels
        unknown = sorted({code for code in codes if code not in table})
        if unknown:
            known = ", ".join(list(table)[:12])
            raise InputError(
                f"{what} hold class {', '.join(unknown[:8])}, which crosswalk {self.codes.name!r} does not know "
                f"(it knows {known}): correct the points, or `evaluate.crosswalk`"
            )
        return np.array([table[code] or 0 for code in codes], np.uint8)


def map_states(views: tuple[View, ...]) -> States:
    """Return what landtide's own maps say: the labels, and as the last state "do not know"."""
    return States(np.stack([np.append(view.labels, 0) for view in views]).astype(np.uint8))


def code_states(views: tuple[View, ...], crosswalk: Crosswalk) -> States:
    """Return what a map or points say whose codes go through a crosswalk into the study's legend.

    landtide's own tables are asked for each view, so that a code too coarse for the study's legend still counts in a merged one.
    A code 0 without a class is the usual fill value.
    """
    meanings: dict[str, tuple[int, ...]] = {}
    tables = [_in_view(view, views[0], crosswalk) for view in views]
    for code in crosswalk.labels:
        meaning = tuple(table[code] for table in tables)
        if code != "0" or any(meaning):
            meanings[code] = meaning
    distinct = sorted(set(meanings.values()), reverse=True)
    state = {code: distinct.index(meaning) + 1 for code, meaning in meanings.items()}
    labels = np.array([(0,) * len(views), *distinct], np.uint8).T
    return States(labels, Crosswalk(crosswalk.name, {code: state.get(code) for code in crosswalk.labels}, crosswalk.exact))


def _in_view(view: View, own: View, crosswalk: Crosswalk) -> dict[str, int]:
    if crosswalk.name in CROSSWALKS and view is not own:
        table = builtin_crosswalk(crosswalk.name, view.legend).labels
        return {code: table[code] or 0 for code in crosswalk.labels}
    return {code: int(view.labels[label or 0]) for code, label in crosswalk.labels.items()}
