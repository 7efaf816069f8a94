"""Find the acquisitions of a shard, and warp the old map to its tiles."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def retrieve(order: str) -> str:
    """Return the manifests as JSON: ``tile/year`` and ``tile/old_map`` -> URI."""
    import json

    from landtide import steps

    return steps.retrieve(**json.loads(order))
