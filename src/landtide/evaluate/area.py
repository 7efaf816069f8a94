"""Accuracy and area of a categorical map, estimated from reference units that are weighted by the mapped area."""

import numpy as np

from landtide.core.report import AccuracyReport


def area_adjusted_accuracy(
    counts: np.ndarray, mapped_area: np.ndarray, classes: tuple[str, ...] | None = None, protocol: str | None = None
) -> AccuracyReport:
    """Estimate accuracy and area per class, weighting each stratum by its mapped area.

    counts       (K, K) reference units; row = map class, column = reference class
    mapped_area  (K,) ha of each map class; the map classes are the strata (of the sample, or afterwards)
    classes      names; None = 1..K

    A stratum of one unit borrows the pooled variance of the others, and its own user's accuracy has no interval.
    Raises ValueError if a class that is mapped has no unit: its row of the matrix is unknown.
    Source: Olofsson et al. 2014, Remote Sens. Environ. 148, doi:10.1016/j.rse.2014.02.015.
    """
    names = classes or tuple(str(label) for label in range(1, len(counts) + 1))
    sampled = counts.sum(axis=1).astype(float)
    missing = [name for name, empty in zip(names, (sampled == 0) & (mapped_area > 0), strict=True) if empty]
    if missing:
        raise ValueError(f"Map classes {missing} have no reference sample. Add points in these strata, or merge the classes in the legend.")
    total = float(mapped_area.sum())
    weight = mapped_area / total
    share = counts / np.maximum(sampled, 1)[:, None]  # (K, K) of each stratum
    p = weight[:, None] * share  # (K, K) of the mapped area
    right = p.diagonal()
    mapped, true = p.sum(axis=1), p.sum(axis=0)
    users, producers = ratio(right, mapped), ratio(right, true)
    variance = _variance_of_share(share, sampled)  # (K, K)
    squared = (weight**2)[:, None] * variance
    off = squared - np.diag(squared.diagonal())
    producers_variance = (1 - producers) ** 2 * squared.diagonal() + producers**2 * off.sum(axis=0)
    return AccuracyReport(
        classes=names,
        counts=counts.astype(np.int64),
        proportions=p,
        overall=float(right.sum()),
        overall_error=float(np.sqrt((weight**2 * _variance_of_share(share.diagonal()[:, None], sampled)[:, 0]).sum())),
        users=users,
        users_error=np.where(sampled > 1, np.sqrt(variance.diagonal()), np.nan),
        producers=producers,
        producers_error=ratio(np.sqrt(producers_variance), true),
        f1=f1_score(users, producers),
        area=true * total,
        area_error=np.sqrt(squared.sum(axis=0)) * total,
        kappa=cohen_kappa(p),
        protocol=protocol
        or f"{int(sampled.sum())} reference units, post-stratified by map class and weighted by mapped area (Olofsson et al. 2014)",
    )


def _variance_of_share(share: np.ndarray, sampled: np.ndarray) -> np.ndarray:
    """Return the variance of the mean of indicators, (S, J), for strata with ``sampled`` units each."""
    spread = share * (1 - share) * sampled[:, None]  # sum of squares within the stratum
    freedom = np.maximum(sampled - 1, 0)
    pooled = ratio(spread.sum(axis=0), np.full(share.shape[1], freedom.sum()))
    unit = np.where(freedom[:, None] > 0, spread / np.maximum(freedom, 1)[:, None], pooled)
    return np.where(sampled[:, None] > 0, unit / np.maximum(sampled, 1)[:, None], 0.0)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide, NaN where the denominator is 0."""
    result: np.ndarray = np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=np.asarray(denominator) > 0)
    return result


def f1_score(users: np.ndarray, producers: np.ndarray) -> np.ndarray:
    """Return the harmonic mean; 0 where both are 0, NaN where either is undefined."""
    both = users + producers
    return np.where(both == 0, 0.0, ratio(2 * users * producers, both))


def cohen_kappa(proportions: np.ndarray) -> float:
    """Return Cohen's kappa of a (K, K) matrix of shares; NaN where chance alone explains everything."""
    chance = float((proportions.sum(axis=0) * proportions.sum(axis=1)).sum())
    return float((proportions.trace() - chance) / (1 - chance)) if chance < 1 else float("nan")
