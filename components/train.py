"""Train a classifier."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def train(study: str, stage: str, samples: str) -> str:
    """Return the URI of the model's manifest; the stage is ``preliminary`` or ``final``."""
    from landtide import steps

    return steps.train(study, stage, samples)
