"""Learn from series without labels."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def pretrain(study: str, samples: str) -> str:
    """Return the URI of the weights' manifest."""
    from landtide import learning

    return learning.pretrain(study, samples)
