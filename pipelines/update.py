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
from components.classify_candidates import classify_candidates
from components.clean_up import clean_up
from components.composite import composite
from components.evaluate import evaluate
from components.extract import extract
from components.extract_stable import extract_stable
from components.placement import place
from components.plan import plan
from components.publish import publish
from components.retrieve import retrieve
from components.train import train

# The helpers stand first: KFP runs a pipeline's function at the moment it is decorated.


def _add(component: Any, **inputs: Any) -> Any:
    """Add a task, and return its result."""
    return place(component(**inputs)).outputs["Output"]


def _add_named(component: Any, name: str, **inputs: Any) -> tuple[Any, Any]:
    """Add a task, and return its result and another, named one."""
    outputs = place(component(**inputs)).outputs
    return outputs["Output"], outputs[name]


def _at_the_end(study: str) -> Any:
    """Return the block in whose end, however it comes, the cluster is cleaned up."""
    return dsl.ExitHandler(place(clean_up(study=study, job=dsl.PIPELINE_JOB_ID_PLACEHOLDER)))


def _prepare(order: str) -> tuple[Any, Any, Any]:
    """Open the run, retrieve and composite every shard; return the run's study and what each shard made."""
    shards, study = _add_named(plan, "run", study=order, job=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    with dsl.ParallelFor(shards) as shard:
        retrieved = _add(retrieve, order=shard)
        cubes = _add(composite, order=shard, retrieved=retrieved)
    return study, retrieved, cubes


def _train(study: Any, stage: str, samples: Any, cubes: Any) -> tuple[Any, Any]:
    """Train, and return the orders for the shards and the model."""
    return _add_named(train, "model", study=study, stage=stage, samples=samples, cubes=dsl.Collected(cubes))


def _map_and_score(orders: Any, study: Any, retrieved: Any, cubes: Any, samples: Any, model: Any) -> dict[str, Any]:
    """Classify every shard and evaluate the maps; return the inputs that `publish` shares between the schemes."""
    with dsl.ParallelFor(orders) as order:
        maps = _add(classify, order=order)
    score = _add(evaluate, study=study, retrieved=dsl.Collected(retrieved), maps=dsl.Collected(maps), samples=samples)
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
    with _at_the_end(study):
        run, retrieved, cubes = _prepare(study)
        samples = _add(extract, study=run, retrieved=dsl.Collected(retrieved), cubes=dsl.Collected(cubes))
        _, preliminary = _train(run, "preliminary", samples, cubes)
        labels = _add(classify_candidates, study=run, model=preliminary, samples=samples, cubes=dsl.Collected(cubes))
        stable = _add(extract_stable, study=run, labels=labels, samples=samples, cubes=dsl.Collected(cubes))
        orders, model = _train(run, "final", stable, cubes)
        shared = _map_and_score(orders, run, retrieved, cubes, samples, model)
        _add(publish, preliminary=preliminary, stable=stable, **shared)


@dsl.pipeline(name="landtide-update-single", description="One land-cover map a year from an old map: one stage of training")
def update_single(study: str) -> None:
    """Learn the classifier of the maps from the old map's samples at once.

    study  URI of the study of a run, or of an order
    """
    with _at_the_end(study):
        run, retrieved, cubes = _prepare(study)
        samples = _add(extract, study=run, retrieved=dsl.Collected(retrieved), cubes=dsl.Collected(cubes))
        orders, model = _train(run, "final", samples, cubes)
        _add(publish, **_map_and_score(orders, run, retrieved, cubes, samples, model))
