"""Trust: the probability that a sample's label is right, from what the extraction knows without any truth."""

import numpy as np

# What `benchmarks/label_cleaning.py --fit` gives on simulated worlds 1 to 8. Weights of other worlds differ, so their signs mean little.
OLD_MAP = {"constant": 0.23, "confidence": 0.7, "misfit": -2.66, "same": -0.18}

# STABLE was fitted once on preliminary labels of two simulated worlds of 256 px; no script repeats that fit.
STABLE = {"constant": -0.24, "vote": 0.23, "agrees": 0.77, "differs": -0.21}


def old_map_features(posterior: np.ndarray, misfit: np.ndarray, label: np.ndarray, old_label: np.ndarray) -> dict[str, np.ndarray]:
    """Return what trust is computed from, by name of the weight, each (N,).

    posterior  (N, K) of the classes, the place's own code heard
    misfit     (N,) of its words, nats
    label      (N,) uint8 label of the sample
    old_label  (N,) uint8 label of the old map, 0 = excluded
    """
    own = posterior[np.arange(len(label)), label.astype(np.int64) - 1]
    return {"confidence": logit(own), "misfit": np.minimum(misfit, 2.0), "same": (label == old_label).astype(np.float64)}


def stable_features(vote: np.ndarray, label: np.ndarray, presumed: np.ndarray, first: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the trust of a stable place is computed from, each (N,).

    vote      (N,) lowest share of the ensemble in any year
    label     (N,) label of the ensemble
    presumed  (N,) label of the first extraction, and ``first`` its trust (N,)
    """
    same = label == presumed
    return {
        "vote": logit(vote),
        "agrees": np.where(same, logit(first), 0.0),
        "differs": np.where(same, 0.0, 1.0 + np.maximum(logit(first), 0.0)),
    }


def logistic(features: dict[str, np.ndarray], weights: dict[str, float]) -> np.ndarray:
    """Return the probability (N,) float32 of a logistic model whose weights are named like the features, and ``constant``."""
    total = weights["constant"] + sum(weights[name] * values for name, values in features.items())
    return np.asarray(1 / (1 + np.exp(-total)), np.float32)


def logit(share: np.ndarray) -> np.ndarray:
    """Return the log odds of a share, cut at 1 % and 99 %: posteriors of a few vocabularies say no more than that."""
    kept = np.clip(share, 0.01, 0.99)
    return np.asarray(np.log(kept / (1 - kept)))


def calibration_error(trust: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Return the expected calibration error: mean gap of trust and share of right labels over bins of trust, weighted by their size.

    Source: Guo et al. 2017, ICML.
    """
    place = np.minimum((trust * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    gap = np.abs(np.bincount(place, trust, minlength=bins) - np.bincount(place, right.astype(float), minlength=bins))
    return float(gap.sum() / max(count.sum(), 1))
