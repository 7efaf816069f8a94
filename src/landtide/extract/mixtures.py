"""What mixed codes of CORINE are made of: the way in for classes that an old map holds in no code of their own."""

from dataclasses import dataclass

import numpy as np

from landtide.core.legend import Crosswalk

CORINE_MIXED = {
    122: {112: 0.5, 231: 0.5},
    124: {231: 0.7, 112: 0.3},
    132: {131: 1.0},
    133: {131: 0.5, 112: 0.5},
    141: {231: 0.6, 311: 0.4},
    142: {231: 0.7, 112: 0.3},
    241: {211: 1.0},
    242: {211: 0.5, 231: 0.4, 112: 0.1},
    243: {211: 0.45, 231: 0.35, 311: 0.2},
    244: {231: 0.6, 311: 0.4},
    313: {311: 0.5, 312: 0.5},
    324: {322: 0.6, 311: 0.25, 312: 0.15},
    333: {332: 0.5, 321: 0.25, 322: 0.25},
    411: {512: 0.5, 321: 0.5},
    412: {321: 0.5, 322: 0.5},
    421: {321: 0.6, 523: 0.4},
    422: {523: 0.7, 331: 0.3},
    423: {523: 0.5, 331: 0.5},
}
"""Mixed code -> shares of pure codes, by the nomenclature's definitions (CLC illustrated nomenclature guidelines); the shares are round
figures of ours, and the algorithm learns its own from the map."""

SUBSTITUTES = {322: (323,), 332: (331,), 211: (212,), 131: (332, 331), 321: (231,), 231: (321,), 112: (111,), 512: (511, 523), 523: (512,)}
"""Pure codes that stand for another one where the crosswalk does not lead anywhere from it."""


@dataclass(frozen=True)
class CodeColumns:
    """How codes of an old map become the columns of a histogram."""

    codes: np.ndarray
    """(n,) int64 codes that occur, in rising order."""

    column: np.ndarray
    """(n,) int64 column of each code."""

    members: np.ndarray
    """(K, C) share of each class in each column by definition; a column of 0 where nothing is known."""

    def of(self, code: np.ndarray) -> np.ndarray:
        """Return the column of each code of an array."""
        return np.asarray(self.column[np.searchsorted(self.codes, code)])


def code_columns(crosswalk: Crosswalk, codes: np.ndarray, classes: int) -> CodeColumns:
    """Give every class one column for all its pure codes, and every other code a column of its own.

    codes    (n,) codes that occur in the old map, in rising order
    classes  K

    One column a class: which of its codes a class goes by depends on the place (pastures below, natural grassland above), and such
    differences within a class would pass for differences between classes. For codes without a target the definition of the CORINE
    code counts, if the crosswalk is one from CORINE.
    """
    corine = speaks_corine(crosswalk)
    names: list[tuple[str, int]] = []
    members: list[np.ndarray] = []
    column = np.zeros(len(codes), np.int64)
    for index, code in enumerate(codes.tolist()):
        label = crosswalk.labels.get(str(code))
        name = ("class", label) if label is not None else ("code", code)
        if name not in names:
            names.append(name)
            members.append(_shares(crosswalk, code, label, classes, corine))
        column[index] = names.index(name)
    return CodeColumns(codes, column, _one_orphan(np.stack(members, axis=1)) if members else np.zeros((classes, 0)))


def _one_orphan(members: np.ndarray) -> np.ndarray:
    """Let a mixed code speak for one class at most of those without a pure code: two with the same evidence could not be told apart."""
    orphan = ~(members == 1.0).any(axis=1)
    claims = np.where(orphan[:, None], members, 0.0)
    beaten = orphan[:, None] & (np.arange(len(members))[:, None] != claims.argmax(axis=0))
    return np.where(beaten, 0.0, members)


def _shares(crosswalk: Crosswalk, code: int, label: int | None, classes: int, corine: bool) -> np.ndarray:
    """Return the share of each class in a code, (K,)."""
    shares = np.zeros(classes)
    if label is not None:
        shares[label - 1] = 1.0
    elif corine:
        for part, share in CORINE_MIXED.get(code, {}).items():
            target = _target(crosswalk, part)
            if target is not None:
                shares[target - 1] += share
    return shares


def speaks_corine(crosswalk: Crosswalk) -> bool:
    """Say whether a crosswalk's codes are CORINE's: the built-in one, or a table of three-digit codes that holds its commonest ones."""
    if crosswalk.name == "corine":
        return True
    keys = set(crosswalk.labels) - {"0"}
    hallmark = {"112", "211", "231", "243", "311", "312", "313", "324", "512"}
    return bool(keys) and all(len(key) == 3 and key[0] in "12345" for key in keys) and len(hallmark & keys) >= 5


def _target(crosswalk: Crosswalk, code: int) -> int | None:
    for option in (code, *SUBSTITUTES.get(code, ())):
        label = crosswalk.labels.get(str(option))
        if label is not None:
            return label
    return None
