"""Turn a shard's acquisitions into regular, cloud-free series."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def composite(order: str, retrieved: str) -> str:
    """Return the cubes' manifests as JSON: ``tile/year`` -> URI."""
    import json

    from landtide import steps

    return steps.composite(json.loads(order)["study_uri"], retrieved)
