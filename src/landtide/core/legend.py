"""Legends and crosswalks: which classes a map has, and how an old map's codes become them."""

import csv
import difflib
import io
import re
from dataclasses import dataclass
from importlib import resources

import numpy as np

from landtide.core.errors import InputError

NO_DATA_NAMES = re.compile(r"no[ _-]?data|unclassified|unknown|background|nodata|fill", re.IGNORECASE)
LEGENDS = ("landtide10", "landtide9", "landtide8")
CROSSWALKS = ("corine", "clcplus", "worldcover", "lucas")


@dataclass(frozen=True)
class LegendClass:
    """One class of a legend."""

    code: int
    """The class's own code in its source, such as 8 of 1, 2, 3, 4, 8. Rasters of landtide hold labels 1..K, not codes."""

    name: str
    color: str
    """``#RRGGBB``"""

    @property
    def rgb(self) -> tuple[int, int, int]:
        return (int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16))


@dataclass(frozen=True)
class Legend:
    """The classes in order: label i (1..K) is the i-th class."""

    name: str
    classes: tuple[LegendClass, ...]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.classes)

    @property
    def codes(self) -> tuple[int, ...]:
        return tuple(item.code for item in self.classes)

    def label_of(self, key: str | int) -> int:
        """Return the label (1..K) of a class given by its code or name.

        Raises InputError that names the nearest class.
        """
        for label, item in enumerate(self.classes, start=1):
            if str(key).strip() == str(item.code) or str(key).strip().casefold() == item.name.casefold():
                return label
        near = difflib.get_close_matches(str(key), list(self.names), n=1, cutoff=0.0)
        raise InputError(f"class {key!r} is not in legend {self.name!r}; nearest: {', '.join(near)}. Classes: {', '.join(self.names)}")

    def to_dict(self) -> dict[str, object]:
        return {"name": self.name, "classes": [{"code": c.code, "name": c.name, "color": c.color} for c in self.classes]}

    @classmethod
    def from_dict(cls, record: dict[str, object]) -> "Legend":
        classes = record["classes"]
        assert isinstance(classes, list)
        return cls(str(record["name"]), tuple(LegendClass(int(c["code"]), str(c["name"]), str(c["color"])) for c in classes))


@dataclass(frozen=True)
class Crosswalk:
    """How codes of another map become labels of a legend."""

    name: str
    labels: dict[str, int | None]
    """Code as text -> label 1..K, or None where the code is known but no single class fits (mixed, land use, transient)."""

    exact: dict[str, str]
    """Code as text -> its own name, where the table tells it."""

    def translate(self, codes: np.ndarray, nodata: float | None) -> np.ndarray:
        """Return labels (uint8; 0 = excluded or no data) of an integer array of codes.

        Raises InputError that names every code which the table does not know: a silent 0 would drop whole classes.
        """
        values, inverse = np.unique(codes, return_inverse=True)
        table = np.zeros(len(values), np.uint8)
        unknown = []
        for index, value in enumerate(values.tolist()):
            if nodata is not None and value == nodata:
                continue
            if str(value) not in self.labels:
                unknown.append(value)
                continue
            table[index] = self.labels[str(value)] or 0
        if unknown:
            known = ", ".join(list(self.labels)[:12])
            raise InputError(
                f"old map holds code {', '.join(map(str, unknown[:8]))}, which crosswalk {self.name!r} does not know "
                f"(it knows {known}{' ...' if len(self.labels) > 12 else ''}): "
                "add the code to the crosswalk, with an empty target to exclude it"
            )
        return table[inverse].reshape(codes.shape)


def builtin_legend(name: str) -> Legend:
    """Return one of landtide's own legends: ``landtide10``, its 9-class merge (one crop class) or 8-class merge (one tree class too)."""
    text = resources.files("landtide.core.resources").joinpath(f"{name}.csv").read_text("utf-8")
    return parse_legend(text, name)


def parse_legend(text: str, name: str) -> Legend:
    """Read a legend from CSV text with columns ``code,name,color``.

    A first row of code 0 that is named "no data" (or the like) is the fill value and no class; any other code 0 is a class.
    Raises InputError for a missing column, a repeated code, a bad colour or no class at all.
    """
    classes = []
    for line, row in _rows(text, ("code", "name", "color"), f"legend {name!r}"):
        if not re.fullmatch(r"#[0-9A-Fa-f]{6}", row["color"]):
            raise InputError(f"legend {name!r} line {line}: color {row['color']!r} is not #RRGGBB")
        if not re.fullmatch(r"-?\d+", row["code"]):
            raise InputError(f"legend {name!r} line {line}: code {row['code']!r} is no whole number")
        if not NO_DATA_NAMES.search(row["name"]):
            classes.append(LegendClass(int(row["code"]), row["name"], row["color"].upper()))
    if len(classes) < 2:
        raise InputError(f"legend {name!r} has {len(classes)} classes: at least 2 are needed to tell land covers apart")
    for what, seen in (("code", [str(c.code) for c in classes]), ("name", [c.name for c in classes])):
        twice = sorted({value for value in seen if seen.count(value) > 1})
        if twice:
            raise InputError(f"legend {name!r} repeats {what} {', '.join(twice)}")
    if len(classes) > 253:
        raise InputError(f"legend {name!r} has {len(classes)} classes: labels are uint8, at most 253 fit")
    return Legend(name, tuple(classes))


def builtin_crosswalk(name: str, legend: Legend) -> Crosswalk:
    """Return landtide's own table for ``corine``, ``clcplus`` (CLC+ Backbone), ``worldcover`` or ``lucas`` into a legend.

    A target that the legend splits finer (WorldCover's "tree" where the legend has broadleaf and conifer) is excluded: the code
    cannot tell which. Raises InputError where the legend has none of the table's targets: it needs a crosswalk of its own.
    """
    merges = {**builtin_merges(legend), **{target: "" for target in ("tree", "crop") if target not in legend.names}}
    if not set(legend.names) & set(builtin_legend("landtide10").names + builtin_legend("landtide8").names):
        raise InputError(
            f"crosswalk {name!r} leads to landtide's own classes, of which legend {legend.name!r} has none: "
            "write a crosswalk CSV (code,target)"
        )
    text = resources.files("landtide.core.resources").joinpath(f"crosswalk_{name}.csv").read_text("utf-8")
    return parse_crosswalk(text, name, legend, merges=merges)


def corine_codes(values: np.ndarray) -> np.ndarray:
    """Return three-digit CORINE codes (111..523) for unique raster values in either coding; 0 = no data.

    The European rasters hold grid codes 1..44, others the codes themselves: the set of values decides. What is known for no class
    is no data: 48 and 999 (no data), 49 and 990 (land, unclassified), 50 and 995 (water, unclassified), the fill values 128, 255, 32767
    and 65535 of known editions, and anything negative.
    Raises InputError where values of both codings, or of neither, occur.
    """
    fills = np.isin(values, (0, 48, 49, 50, 128, 255, 990, 995, 999, 32767, 65535)) | (values < 0)
    grid, known = _corine_grid()
    held = values[~fills]
    if np.isin(held, grid).all():
        table = dict(zip(grid.tolist(), known.tolist(), strict=True))
        return np.array([0 if fill else table[int(value)] for value, fill in zip(values, fills, strict=True)], np.int32)
    neither = held[~np.isin(held, known) & ~np.isin(held, grid)]
    wrong = neither if neither.size else held[~np.isin(held, known)]
    if wrong.size:
        listed = ", ".join(str(value) for value in wrong[:8].tolist())
        raise InputError(
            f"old map holds code {listed}, which is no CORINE code beside its others (1..44 or 111..523 throughout): "
            "is `crosswalk: corine` right for this map?"
        )
    return np.where(fills, 0, values).astype(np.int32)


def _corine_grid() -> tuple[np.ndarray, np.ndarray]:
    text = resources.files("landtide.core.resources").joinpath("crosswalk_corine.csv").read_text("utf-8")
    rows = _rows(text, ("code", "grid_code"), "crosswalk 'corine'")
    return np.array([int(row["grid_code"]) for _, row in rows]), np.array([int(row["code"]) for _, row in rows])


def builtin_merges(legend: Legend) -> dict[str, str]:
    """Return which class of landtide10 goes into which class of a merged legend (the 9- and 8-class ones)."""
    if legend.name == "landtide10":
        return {}
    merges = {"crop (not irrigated)": "crop", "crop (irrigated)": "crop"}
    if legend.name == "landtide8":
        merges |= {"broadleaf": "tree", "conifer": "tree"}
    return merges


def identity_crosswalk(legend: Legend) -> Crosswalk:
    """Return the crosswalk of a map that already uses the legend's codes."""
    labels: dict[str, int | None] = {str(item.code): label for label, item in enumerate(legend.classes, start=1)}
    if "0" not in labels:
        labels["0"] = None  # the usual fill value, where 0 is no class
    return Crosswalk("identity", labels, {str(item.code): item.name for item in legend.classes})


def parse_crosswalk(text: str, name: str, legend: Legend, merges: dict[str, str] | None = None) -> Crosswalk:
    """Read a crosswalk from CSV text with columns ``code,target`` (and optional ``name``).

    An empty target excludes the code from training; a target is a class's code or name in the legend, or a name that
    ``merges`` leads to one. Several codes may share a line, separated by spaces.
    Raises InputError for a missing column, a repeated code, a target outside the legend, or if every code is excluded.
    """
    labels: dict[str, int | None] = {}
    names: dict[str, str] = {}
    for line, row in _rows(text, ("code", "target"), f"crosswalk {name!r}"):
        target = (merges or {}).get(row["target"], row["target"])
        try:
            label = legend.label_of(target) if target else None
        except InputError as error:
            raise InputError(f"crosswalk {name!r} line {line}: {error}") from None
        for code in row["code"].split():
            if code in labels:
                raise InputError(f"crosswalk {name!r} line {line}: code {code} stands twice")
            labels[code] = label
            names[code] = row.get("name") or code
    if not any(labels.values()):
        raise InputError(f"crosswalk {name!r} excludes every code: give at least two codes a target class")
    return Crosswalk(name, labels, names)


def _rows(text: str, columns: tuple[str, ...], what: str) -> list[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    found = [field.strip() for field in reader.fieldnames or []]
    missing = [column for column in columns if column not in found]
    if missing:
        raise InputError(
            f"{what} lacks column {', '.join(missing)} (it has {', '.join(found) or 'none'}): its header must be {','.join(columns)}"
        )
    return [(line, {(key or "").strip(): (value or "").strip() for key, value in row.items()}) for line, row in enumerate(reader, start=2)]
