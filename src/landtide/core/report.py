"""The accuracy report: what a map is worth, with intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Z95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""


@dataclass(frozen=True)
class AccuracyReport:
    """Accuracy and area of one map against one reference. Fractions 0 to 1, areas in ha; ``_error`` = standard error; NaN = undefined."""

    classes: tuple[str, ...]
    counts: np.ndarray
    """(K, K) reference units; row = map class, column = reference class."""

    proportions: np.ndarray
    """(K, K) estimated share of the area; sums to 1."""

    overall: float
    overall_error: float
    users: np.ndarray
    """(K,) user's accuracy: share of a mapped class that is right."""

    users_error: np.ndarray
    producers: np.ndarray
    """(K,) producer's accuracy: share of a true class that is mapped as it."""

    producers_error: np.ndarray
    f1: np.ndarray
    """(K,) harmonic mean of user's and producer's accuracy."""

    area: np.ndarray
    """(K,) ha of each true class, estimated from the reference and not counted from the map."""

    area_error: np.ndarray
    kappa: float
    """Cohen's kappa of `proportions`; still asked for, though it adds nothing to the above."""

    protocol: str
    """How the estimate was made, in one sentence: design, source of the reference, what the intervals mean."""

    @property
    def units(self) -> int:
        """Number of reference units (points, or pixels of a reference raster)."""
        return int(self.counts.sum())

    def interval(self, name: str) -> np.ndarray:
        """Return the 95 % half-width of an estimate (``overall``, ``users``, ``producers``, ``area``)."""
        return Z95 * np.asarray(getattr(self, f"{name}_error"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON; NaN becomes None."""

        def plain(values: Any) -> Any:
            if isinstance(values, np.ndarray):
                return [plain(value) for value in values.tolist()]
            if isinstance(values, list):
                return [plain(value) for value in values]
            return None if isinstance(values, float) and np.isnan(values) else values

        arrays = ("users", "producers", "f1", "area")
        record: dict[str, Any] = {
            "classes": list(self.classes),
            "counts": plain(self.counts),
            "proportions": plain(self.proportions),
            "overall": plain(self.overall),
            "overall_ci95": plain(float(self.interval("overall"))),
            "kappa": plain(self.kappa),
            "units": self.units,
            "protocol": self.protocol,
        }
        for name in arrays:
            record[name] = plain(getattr(self, name))
            if name != "f1":
                record[f"{name}_ci95"] = plain(self.interval(name))
        return record
