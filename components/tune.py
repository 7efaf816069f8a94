"""Try settings of the model."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def tune(order: str) -> str:
    """Return the storage where the trials of all tasks meet."""
    import json

    from landtide import learning

    return learning.tune(**json.loads(order))
