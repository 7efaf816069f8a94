"""Draw training samples from the old map."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def extract(study: str, retrieved: list[str], cubes: list[str]) -> str:
    """Return the URI of the samples' manifest."""
    from landtide import steps

    return steps.extract(study, retrieved, cubes)
