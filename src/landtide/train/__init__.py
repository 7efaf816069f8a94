"""Training: samples in, a model with its card out. The work itself is `landtide.train.job`, which only the training process imports."""

from landtide.train.output import record
from landtide.train.spec import TrainSpec, split_settings

__all__ = ["TrainSpec", "record", "split_settings"]
