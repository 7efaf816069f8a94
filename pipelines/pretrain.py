"""Area and years in; weights that know the series without a label out."""

from kfp import dsl

from components.draw_unlabelled import draw_unlabelled
from components.pretrain import pretrain as learn
from pipelines.parts import add, at_the_end, prepare


@dsl.pipeline(name="landtide-pretrain", description="Let the study's network learn from series without labels")
def pretrain(study: str) -> None:
    """Make the series of all tiles and years, and learn from a draw of them.

    study  URI of the study of a run, or of an order
    """
    with at_the_end(study):
        run, _, cubes = prepare(study)
        samples = add(draw_unlabelled, study=run, cubes=dsl.Collected(cubes))
        add(learn, study=run, samples=samples)
