"""Area, years and an old map in; published annual maps out.

One function a scheme, flat and without conditions: the Kubeflow UI shows the tasks that run and no others, no pod is spent on a
condition, and what the second stage alone makes needs no stand-in. A loop takes its item and the study, nothing else: inside a loop,
kfp.local 2.17 gives the output of any other task the value of the item (`deal` puts the model into the item). Every use of a loop's
output makes its own `dsl.Collected`: the compiler changes the object, and fails on a second use.
"""

from typing import Any

from kfp import dsl

from components.classify import classify
from components.classify_candidates import classify_candidates
from components.composite import composite
from components.deal import deal
from components.evaluate import evaluate
from components.extract import extract
from components.extract_stable import extract_stable
from components.plan import plan
from components.publish import publish
from components.retrieve import retrieve
from components.train import train

# The helpers stand first: KFP runs a pipeline's function at the moment it is decorated.


def _add(component: Any, **inputs: Any) -> Any:
    """Add a task and return its result. KFP's cache is off: it answers "done" although the objects behind a URI are gone."""
    return component(**inputs).set_caching_options(False).outputs["Output"]


def _prepare(study: str) -> tuple[Any, Any]:
    """Retrieve and composite every shard; return what each made."""
    with dsl.ParallelFor(_add(plan, study=study)) as shard:
        retrieved = _add(retrieve, study=study, shard=shard)
        cubes = _add(composite, study=study, retrieved=retrieved)
    return retrieved, cubes


def _map_and_score(study: str, retrieved: Any, cubes: Any, samples: Any, model: Any) -> dict[str, Any]:
    """Classify every shard and evaluate the maps; return the inputs that `publish` shares between the schemes."""
    with dsl.ParallelFor(_add(deal, model=model, cubes=dsl.Collected(cubes))) as order:
        maps = _add(classify, study=study, order=order)
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
def update(study: str) -> str:
    """Learn stable samples by a first classifier, and from them the classifier of the maps.

    study  URI of the resolved study
    """
    retrieved, cubes = _prepare(study)
    samples = _add(extract, study=study, retrieved=dsl.Collected(retrieved), cubes=dsl.Collected(cubes))
    preliminary = _add(train, study=study, stage="preliminary", samples=samples)
    labels = _add(classify_candidates, study=study, model=preliminary, samples=samples, cubes=dsl.Collected(cubes))
    stable = _add(extract_stable, study=study, labels=labels, samples=samples, cubes=dsl.Collected(cubes))
    model = _add(train, study=study, stage="final", samples=stable)
    shared = _map_and_score(study, retrieved, cubes, samples, model)
    return _add(publish, preliminary=preliminary, stable=stable, **shared)


@dsl.pipeline(name="landtide-update-single", description="One land-cover map a year from an old map: one stage of training")
def update_single(study: str) -> str:
    """Learn the classifier of the maps from the old map's samples at once.

    study  URI of the resolved study
    """
    retrieved, cubes = _prepare(study)
    samples = _add(extract, study=study, retrieved=dsl.Collected(retrieved), cubes=dsl.Collected(cubes))
    model = _add(train, study=study, stage="final", samples=samples)
    return _add(publish, **_map_and_score(study, retrieved, cubes, samples, model))
