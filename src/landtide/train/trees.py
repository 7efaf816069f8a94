"""Fit the forest."""

from landtide.models import forest
from landtide.train.data import TrainingData, class_weights, features_of


def fit_forest(data: TrainingData, config: forest.Config, *, classes: int, seed: int, threads: int) -> forest.Forest:
    """Fit a forest."""
    trees = forest.build(config, channels=data.x.shape[2], steps=data.x.shape[1], classes=classes, seen=data.seen)
    trees.set_params(random_state=seed, n_jobs=threads)
    trees.fit(features_of(data), data.y, sample_weight=class_weights(data.y, data.trust, config.balance))
    return forest.wrap(trees, classes)
