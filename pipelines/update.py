"""Area, years and an old map in; published annual maps out.

One function a scheme, flat and without conditions: the Kubeflow UI shows the tasks that run and no others, no pod is spent on a
condition, and what the second stage alone makes needs no stand-in. A loop takes its item and nothing else: inside a loop, kfp.local 2.17
gives the output of any other task the value of the item, so the item carries the run's study and the model. It also finds the items
of a loop only in an output named "Output": the task that makes items returns them, and its other result goes by name. Every use of a
loop's output makes its own `dsl.Collected`: the compiler changes the object, and fails on a second use.
"""

from typing import Any

from kfp import dsl

from components.classify import classify
from components.evaluate import evaluate
from components.extract import extract
from components.publish import publish
from pipelines.parts import add, at_the_end, find_stable, prepare, train


def _map_and_score(orders: Any, study: Any, retrieved: Any, cubes: Any, samples: Any, model: Any) -> dict[str, Any]:
    """Classify every shard and evaluate the maps; return the inputs that `publish` shares between the schemes."""
    with dsl.ParallelFor(orders) as order:
        maps = add(classify, order=order)
    score = add(evaluate, study=study, retrieved=dsl.Collected(retrieved), maps=dsl.Collected(maps), samples=samples)
    return {
        "study": study,
        "retrieved": dsl.Collected(retrieved),
        "cubes": dsl.Collected(cubes),
        "samples": samples,
        "model": model,
        "maps": dsl.Collected(maps),
        "evaluation": score,
    }


@dsl.pipeline(name="landtide-update", description="One consistent land-cover map a year from an old map: two stages of training")
def update(study: str) -> None:
    """Learn stable samples by a first classifier, and from them the classifier of the maps.

    study  URI of the study of a run, or of an order
    """
    with at_the_end(study):
        run, retrieved, cubes = prepare(study)
        samples, preliminary, stable = find_stable(run, retrieved, cubes)
        orders, model = train(run, "final", stable, cubes)
        shared = _map_and_score(orders, run, retrieved, cubes, samples, model)
        add(publish, preliminary=preliminary, stable=stable, **shared)


@dsl.pipeline(name="landtide-update-single", description="One land-cover map a year from an old map: one stage of training")
def update_single(study: str) -> None:
    """Learn the classifier of the maps from the old map's samples at once.

    study  URI of the study of a run, or of an order
    """
    with at_the_end(study):
        run, retrieved, cubes = prepare(study)
        samples = add(extract, study=run, retrieved=dsl.Collected(retrieved), cubes=dsl.Collected(cubes))
        orders, model = train(run, "final", samples, cubes)
        add(publish, **_map_and_score(orders, run, retrieved, cubes, samples, model))
