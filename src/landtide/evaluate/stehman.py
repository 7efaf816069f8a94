"""Accuracy and area where the strata of the reference sample are not the classes of the map."""

import numpy as np

from landtide.core.report import AccuracyReport
from landtide.evaluate.area import cohen_kappa, f1_score, ratio


def stratified_accuracy(
    counts: np.ndarray, sizes: np.ndarray, classes: tuple[str, ...], protocol: str, *, unit_area: float, finite: bool = True
) -> AccuracyReport:
    """Estimate accuracy and area per class from a stratified random sample, whatever the strata are.

    counts     (H, K, K) sampled units of each stratum; row = map class, column = reference class
    sizes      (H,) population of each stratum: pixels, or ha of post-strata
    unit_area  ha of one unit of ``sizes``
    finite     whether ``sizes`` count units of which the sample took a part, so that a stratum taken whole has no sampling error

    User's and producer's accuracy are ratios of two estimated totals. Raises ValueError if a stratum that has a size has no unit.
    Source: Stehman 2014, Int. J. Remote Sens. 35(13), doi:10.1080/01431161.2014.930207.
    """
    sampled = counts.sum(axis=(1, 2)).astype(float)
    if ((sampled == 0) & (sizes > 0)).any():
        raise ValueError(f"Strata {np.flatnonzero((sampled == 0) & (sizes > 0)).tolist()} have a size and no reference unit.")
    total = float(sizes.sum())
    share = counts / np.maximum(sampled, 1)[:, None, None]
    p = np.einsum("h,hij->ij", sizes / total, share)
    right, mapped, true = p.diagonal(), p.sum(axis=1), p.sum(axis=0)
    users, producers = ratio(right, mapped), ratio(right, true)
    size_of_error = _ErrorOfTotal(share, sampled, sizes, finite)
    same = np.eye(len(classes), dtype=bool)
    return AccuracyReport(
        classes=classes,
        counts=counts.sum(axis=0).astype(np.int64),
        proportions=p,
        overall=float(right.sum()),
        overall_error=size_of_error(same.astype(float)) / total,
        users=users,
        users_error=np.array([_ratio_error(size_of_error, same, k, users[k], mapped[k] * total, axis=0) for k in range(len(classes))]),
        producers=producers,
        producers_error=np.array(
            [_ratio_error(size_of_error, same, k, producers[k], true[k] * total, axis=1) for k in range(len(classes))]
        ),
        f1=f1_score(users, producers),
        area=true * total * unit_area,
        area_error=np.array([size_of_error(_only(k, len(classes), axis=1)) * unit_area for k in range(len(classes))]),
        kappa=cohen_kappa(p),
        protocol=protocol,
    )


def stratified_mean(values: np.ndarray, strata: np.ndarray, sizes: np.ndarray, *, finite: bool = True) -> tuple[float, float]:
    """Return the mean of a population and its standard error from a stratified sample.

    values  (N,) of the sampled units
    strata  (N,) index into ``sizes``
    sizes   (H,) population of each stratum; strata without a unit are left out
    """
    sampled = np.bincount(strata, minlength=len(sizes)).astype(float)
    held = np.where(sampled > 0, sizes, 0).astype(float)
    means = ratio(np.bincount(strata, weights=values, minlength=len(sizes)), sampled)
    squares = np.bincount(strata, weights=(values - means[strata]) ** 2, minlength=len(sizes))
    total = held.sum()
    return float(np.nansum(held * means) / total), _error_of_total(squares, sampled, held, finite) / float(total)


class _ErrorOfTotal:
    """The standard error of the estimated total of any value that depends on a unit's map and reference class alone."""

    def __init__(self, share: np.ndarray, sampled: np.ndarray, sizes: np.ndarray, finite: bool) -> None:
        self.share, self.sampled, self.sizes, self.finite = share, sampled, sizes, finite

    def __call__(self, values: np.ndarray) -> float:
        """Return the error for ``values`` (K, K), the value of a unit by its map class and reference class."""
        means = np.einsum("hij,ij->h", self.share, values)
        squares = np.einsum("hij,hij->h", self.share, (values[None] - means[:, None, None]) ** 2) * self.sampled
        return _error_of_total(squares, self.sampled, self.sizes, self.finite)


def _error_of_total(squares: np.ndarray, sampled: np.ndarray, sizes: np.ndarray, finite: bool) -> float:
    """Combine the strata: ``squares`` is the sum of squared deviations within each; a stratum of one unit borrows the pooled variance."""
    freedom = np.maximum(sampled - 1, 0)
    pooled = squares.sum() / freedom.sum() if freedom.sum() > 0 else np.nan
    variance = np.where(freedom > 0, squares / np.maximum(freedom, 1), pooled)
    left = np.where(finite, np.clip(1 - sampled / np.maximum(sizes, 1), 0, 1), 1.0)  # a stratum of one unit that is all there is has none
    terms = np.where((sizes > 0) & (left > 0), sizes.astype(float) ** 2 * left * variance / np.maximum(sampled, 1), 0.0)
    return float(np.sqrt(terms.sum()))


def _ratio_error(error: _ErrorOfTotal, same: np.ndarray, label: int, value: float, total: float, *, axis: int) -> float:
    """Return the error of a user's (axis 0) or producer's (axis 1) accuracy by linearisation of the ratio."""
    if np.isnan(value):
        return float("nan")
    base = _only(label, len(same), axis=axis)
    return error(base * same - value * base) / total


def _only(label: int, count: int, *, axis: int) -> np.ndarray:
    """Return (K, K) with 1 in the row (axis 0) or column (axis 1) of one class."""
    values = np.zeros((count, count))
    values[(label, slice(None)) if axis == 0 else (slice(None), label)] = 1.0
    return values
