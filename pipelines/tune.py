"""Area, years and an old map in; the best settings of the model out: a task a group of trials, which meet in one storage."""

from kfp import dsl

from components.tune import tune as do_trials
from components.tune_groups import tune_groups
from components.tune_report import tune_report
from pipelines.parts import add, at_the_end, find_stable, prepare


@dsl.pipeline(name="landtide-tune", description="Search for the settings of the model that learn best from the study's samples")
def tune(study: str) -> None:
    """Make the samples of the final model, and search on them.

    study  URI of the study of a run, or of an order
    """
    with at_the_end(study):
        run, retrieved, cubes = prepare(study)
        _, _, stable = find_stable(run, retrieved, cubes)
        with dsl.ParallelFor(add(tune_groups, study=run, samples=stable)) as order:
            meeting = add(do_trials, order=order)
        add(tune_report, study=run, samples=stable, meetings=dsl.Collected(meeting))
