"""Map the tiles of a shard."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def classify(order: str) -> str:
    """Return the maps' manifests as JSON: ``tile/year`` -> URI."""
    import json

    from landtide import steps

    return steps.classify(**json.loads(order))
