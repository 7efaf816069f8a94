"""Mistakes of an old map: which polygons carry a wrong class, until the map is as wrong as asked."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from landtide.core.legend import builtin_crosswalk, builtin_legend
from landtide.simulate.landscape import BROADLEAF, CONIFER, CROP, GRASS, IRRIGATED, MINERAL, SHRUB, SNOW, URBAN, WATER
from landtide.simulate.noise import hash_of, stream, uniform, voronoi

ROOM = 1.13
"""How far above the asked accuracy a map is first brought, to leave room for wrong polygons, which every old map has."""

HIDING = {SHRUB: 324, MINERAL: 333, WATER: 411}
"""Rare classes that an interpreter may never name, and the mixed code that he uses instead. Then the class is known only from mixed and
misplaced polygons."""

HABIT = 0.75
"""Share of a code's mistakes that are one and the same."""

CONFUSIONS: dict[int, tuple[int, ...]] = {
    111: (121, 112),
    112: (242, 211, 231, 121),
    121: (131, 211, 112),
    131: (121, 333, 322, 211),
    211: (231, 212, 242, 212),
    212: (211, 211, 242, 231),
    231: (211, 321, 322, 243, 311),
    242: (211, 231, 212),
    243: (231, 211, 324, 311),
    311: (312, 313, 324, 322, 231),
    312: (311, 313, 311, 324),
    313: (311, 312, 322),
    321: (231, 322, 332, 333),
    322: (321, 311, 324, 231),
    324: (311, 322, 231, 312),
    331: (511, 231, 211),
    332: (335, 321, 333, 322),
    333: (332, 321, 322),
    335: (332, 332, 333),
    511: (331, 231, 211),
    512: (411, 231, 211),
}
"""What an interpreter may take a polygon for."""


def polygons_of(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (R, C) int32 polygon number (4-connected cells of one code) and the size of each in cells (P,)."""
    polygon, count = np.zeros(codes.shape, np.int32), 0
    for code in np.unique(codes):
        part, found = ndimage.label(codes == code)
        polygon[part > 0] = part[part > 0] + (count - 1)
        count += found
    return polygon, np.bincount(polygon.ravel(), minlength=count)


@dataclass(frozen=True)
class Pieces:
    """The map's polygons, large ones cut, so that a wrong class never takes a whole landscape."""

    piece: np.ndarray
    """(R, C) int32"""

    code: np.ndarray
    """(P,) int64"""

    totals: np.ndarray
    """(P, 11) int64 pixels of each true label of the first year."""

    seed: int

    @classmethod
    def of(cls, codes: np.ndarray, right: np.ndarray, seed: int) -> "Pieces":
        """Cut a map into pieces. right (cells, 11): pixels of each label in each cell."""
        polygon, _ = polygons_of(codes)
        side = float(np.clip(np.sqrt(codes.size) / 6, 4, 9))
        block, _, _ = voronoi(
            stream(seed, "pieces"), side, np.arange(codes.shape[0])[:, None] + 0.5, np.arange(codes.shape[1])[None, :] + 0.5
        )
        _, first, piece = np.unique(hash_of(polygon, block), return_index=True, return_inverse=True)
        totals = np.zeros((len(first), 11), np.int64)
        np.add.at(totals, piece.ravel(), right)
        return cls(piece.reshape(codes.shape).astype(np.int32), codes.ravel()[first].astype(np.int64), totals, seed)

    def now(self) -> float:
        """Return the accuracy before anything is made better or worse."""
        return float(self._hits(_labels()[self.code]).sum() / self.totals.sum())

    def spoil(self, accuracy: float) -> np.ndarray:
        """Return codes (R, C) with the asked accuracy: better classes for some pieces where it is too low, then wrong ones."""
        label, count = _labels(), len(self.code)
        hidden = _hidden(self.seed)
        code = np.where(label[self.code] == hidden, HIDING[hidden], self.code) if hidden else self.code.copy()
        order = np.argsort(uniform(stream(self.seed, "spoil"), np.arange(count)))
        pixels = self.totals.sum()
        hits = self._hits(label[code])
        pure = np.where(
            self.totals.sum(axis=1) > 0, np.array([0, *[_PURE[value] for value in range(1, 11)]])[self.totals.argmax(axis=1)], code
        )
        for index in order:
            gain = self.totals[index].max() - hits[index]
            if gain > 0 and label[pure[index]] != hidden and hits.sum() < accuracy * pixels * ROOM:
                code[index], hits[index] = pure[index], hits[index] + gain
        wrong = _mistaken(code, self.seed)
        for index in order[::-1]:
            loss = hits[index] - (self.totals[index, label[wrong[index]]] if label[wrong[index]] else 0)
            if loss > 0 and hits.sum() - loss >= (accuracy - 0.0015) * pixels:
                code[index], hits[index] = wrong[index], hits[index] - loss
        return np.asarray(code[self.piece])

    def _hits(self, label: np.ndarray) -> np.ndarray:
        return np.where(label > 0, self.totals[np.arange(len(label)), label], 0)


_PURE = {URBAN: 121, GRASS: 231, CROP: 211, IRRIGATED: 212, MINERAL: 131, BROADLEAF: 311, CONIFER: 312, SHRUB: 322, WATER: 512, SNOW: 335}


def _hidden(seed: int) -> int | None:
    """Return the class that this map never names, None in half of the maps."""
    chance = float(uniform(stream(seed, "hidden"))[0])
    return list(HIDING)[int(chance * 2 * len(HIDING))] if chance < 0.5 else None


def _labels() -> np.ndarray:
    """Return the label of each code 0..999, 0 where it is excluded."""
    label = np.zeros(1000, np.int64)
    for code, value in builtin_crosswalk("corine", builtin_legend("landtide10")).labels.items():
        label[int(code)] = value or 0
    return label


def _mistaken(code: np.ndarray, seed: int) -> np.ndarray:
    """Return a plausible wrong code for each piece; most mistakes of one map are alike, as those of one interpreter are."""
    chance, which = (uniform(stream(seed, name), np.arange(len(code))) for name in ("alike", "mistake"))
    wrong = code.copy()
    for right, choices in CONFUSIONS.items():
        usual = choices[int(uniform(stream(seed, f"habit-{right}"))[0] * len(choices))]
        other = np.array(choices)[(which * len(choices)).astype(np.int64)]
        wrong = np.where(code == right, np.where(chance < HABIT, usual, other), wrong)
    return wrong
