"""Give the candidate pixels a preliminary label for each year."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def classify_candidates(study: str, model: str, samples: str, cubes: list[str]) -> str:
    """Return the URI of the labels' manifest."""
    from landtide import steps

    return steps.classify_candidates(study, model, samples, cubes)
