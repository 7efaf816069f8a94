"""Delete what a run has left on the cluster."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def clean_up(study: str, job: str, status: dsl.PipelineTaskFinalStatus) -> str:
    """Return what was deleted, separated by commas; a run on one machine leaves nothing. By `status` KFP knows the exit task."""
    from landtide import steps

    return ", ".join(steps.clean_up(study, job))
