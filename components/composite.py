"""Turn a shard's acquisitions into regular, cloud-free series."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def composite(study: str, retrieved: str) -> str:
    """Return the cubes' manifests as JSON: ``tile/year`` -> URI."""
    from landtide import steps

    return steps.composite(study, retrieved)
