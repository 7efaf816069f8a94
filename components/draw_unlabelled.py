"""Draw series without labels."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def draw_unlabelled(study: str, cubes: list[str]) -> str:
    """Return the URI of the series' manifest."""
    from landtide import learning

    return learning.draw_unlabelled(study, cubes)
