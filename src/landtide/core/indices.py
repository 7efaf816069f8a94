"""Spectral indices by formula: read without ``eval``, computed from the bands of a composite."""

import ast
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from landtide.core.bands import band_id, is_reflectance
from landtide.core.errors import InputError

KNOWN = {
    "NDVI": "(B08 - B04) / (B08 + B04)",
    "NDWI": "(B03 - B08) / (B03 + B08)",
    "NDSI": "(B03 - B11) / (B03 + B11)",
    "NDMI": "(B08 - B11) / (B08 + B11)",
    "EVI": "2.5 * (B08 - B04) / (B08 + 6 * B04 - 7.5 * B02 + 1)",
    "SAVI": "1.5 * (B08 - B04) / (B08 + B04 + 0.5)",
    "BSI": "((B11 + B04) - (B08 + B02)) / ((B11 + B04) + (B08 + B02))",
}
"""Indices that need no formula in the study. Sources: NDVI Rouse et al. 1974; NDWI (open water) McFeeters 1996,
doi:10.1080/01431169608948714; NDSI (snow) Hall et al. 1995, doi:10.1016/0034-4257(95)00137-P; NDMI Gao 1996,
doi:10.1016/S0034-4257(96)00067-3; EVI Huete et al. 2002, doi:10.1016/S0034-4257(02)00096-2; SAVI (L = 0.5) Huete 1988,
doi:10.1016/0034-4257(88)90106-X; BSI (bare soil) Rikimaru et al. 2002."""

LONGEST = 300
"""Characters of a formula."""

POWER = 4.0
"""Largest exponent: more is a slip, and could be made to run for ever."""

OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
FUNCTIONS: dict[str, Callable[[Any], Any]] = {"sqrt": np.sqrt, "abs": np.abs, "log": np.log}


@dataclass(frozen=True)
class Index:
    """A band that is computed from others."""

    name: str
    formula: str

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Bands that the formula reads, in the order they come in."""
        names = [band_id(node.id) for node in ast.walk(self._tree) if isinstance(node, ast.Name) and node.id not in FUNCTIONS]
        return tuple(dict.fromkeys(names))

    def compute(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the index, float32 of the bands' shape; NaN where it has no value (a missing band, a division by zero).

        values  band id -> float32 reflectance, NaN = missing
        """
        with np.errstate(all="ignore"):
            result: np.ndarray = np.asarray(_value(self._tree, values), np.float32)
        return np.where(np.isfinite(result), result, np.float32(np.nan))

    @cached_property
    def _tree(self) -> ast.expr:
        return _parse(self.name, self.formula)


def read_indices(entries: list[str | dict[str, str]]) -> tuple[Index, ...]:
    """Return the indices that a study lists: names of `KNOWN`, or tables name: formula.

    Raises InputError that names the entry.
    """
    found = []
    for entry in entries:
        for name, formula in ({entry: None} if isinstance(entry, str) else entry).items():
            if formula is None and name not in KNOWN:
                near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.0)[0]
                raise InputError(
                    f"index {name!r} has no formula and is none of {', '.join(KNOWN)} (nearest: {near}): write {{{name}: formula of bands}}"
                )
            if not name.isidentifier() or is_reflectance(name):
                raise InputError(f"index {name!r}: name it by a word of letters, digits and '_' that is no band")
            index = Index(name, KNOWN[name] if formula is None else str(formula))
            if not index.bands:
                raise InputError(f"index {name}: formula {index.formula!r} reads no band")
            found.append(index)
    return tuple(found)


def _parse(name: str, formula: str) -> ast.expr:
    """Return the formula's syntax tree. Raises InputError where it is more than arithmetic of bands."""
    if len(formula) > LONGEST:
        raise InputError(f"index {name}: a formula of {len(formula)} characters; {LONGEST} are the most")
    try:
        tree = ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"index {name}: {formula!r} is no formula: write arithmetic of bands, such as {KNOWN['NDVI']}") from error
    _check(name, formula, tree)
    return tree


def _check(name: str, formula: str, node: ast.expr) -> None:
    def refuse(what: str) -> InputError:
        return InputError(f"index {name}: {what} in {formula!r}: only bands, numbers, + - * / **, ( ), {', '.join(FUNCTIONS)} are allowed")

    match node:
        case ast.BinOp(left, operator, right):
            if type(operator) not in OPERATORS:
                raise refuse(f"operator {type(operator).__name__}")
            power = right.operand if isinstance(right, ast.UnaryOp) else right
            if isinstance(operator, ast.Pow) and not (isinstance(power, ast.Constant) and _number(power) and abs(power.value) <= POWER):  # type: ignore[arg-type]
                raise refuse(f"an exponent that is no number up to {POWER:g}")
            _check(name, formula, left)
            _check(name, formula, right)
        case ast.UnaryOp(ast.UAdd() | ast.USub(), operand):
            _check(name, formula, operand)
        case ast.Call(ast.Name(function), [argument], []) if function in FUNCTIONS:
            _check(name, formula, argument)
        case ast.Name():
            pass
        case ast.Constant() if _number(node):
            pass
        case _:
            raise refuse(f"{ast.unparse(node)!r}")


def _number(node: ast.Constant) -> bool:
    return isinstance(node.value, int | float) and not isinstance(node.value, bool)


def _value(node: ast.expr, values: Mapping[str, np.ndarray]) -> Any:
    match node:
        case ast.BinOp(left, operator, right):
            return OPERATORS[type(operator)](_value(left, values), _value(right, values))
        case ast.UnaryOp(operator, operand):
            value = _value(operand, values)
            return -value if isinstance(operator, ast.USub) else value
        case ast.Call(ast.Name(function), [argument]):
            return FUNCTIONS[function](_value(argument, values))
        case ast.Name(name):
            return values[band_id(name)]
        case ast.Constant(value):
            return np.float32(value)  # type: ignore[arg-type]
    raise AssertionError(ast.dump(node))  # `_check` lets nothing else through
