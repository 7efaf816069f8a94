"""Keep the candidates whose label does not change, as samples of the final model."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def extract_stable(study: str, labels: str, samples: str, cubes: list[str]) -> str:
    """Return the URI of the samples' manifest."""
    from landtide import steps

    return steps.extract_stable(study, labels, samples, cubes)
