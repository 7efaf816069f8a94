"""Divide the area into shards of tiles."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def plan(study: str) -> list[str]:
    """Return the shards, each a list of tile names separated by spaces."""
    from landtide import steps

    return steps.plan_shards(study)
