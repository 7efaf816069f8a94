"""Divide a search for settings among tasks."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def tune_groups(study: str, samples: str) -> list[str]:
    """Return the orders as JSON: ``study_uri``, ``samples`` (URI), ``groups``."""
    from landtide import learning

    return learning.tune_groups(study, samples)
