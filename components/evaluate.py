"""Score the maps, and the old map beside them."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def evaluate(
    study: str,
    retrieved: list[str],
    maps: list[str],
    samples: str,
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
) -> str:
    """Return the URI of the report's manifest."""
    from landtide import steps

    evaluation = steps.evaluate(study, retrieved, maps, samples)
    for name, value in evaluation.metrics.items():
        metrics.log_metric(name, value)
    confusion.log_confusion_matrix(*evaluation.confusion)
    return evaluation.uri
