"""What several pipelines begin with.

KFP runs a pipeline's function at the moment it is decorated, so what it calls stands in this module and is imported.
"""

from typing import Any

from kfp import dsl

from components.classify_candidates import classify_candidates
from components.clean_up import clean_up
from components.composite import composite
from components.extract import extract
from components.extract_stable import extract_stable
from components.placement import place
from components.plan import plan
from components.retrieve import retrieve
from components.train import train as train_component


def add(component: Any, **inputs: Any) -> Any:
    """Add a task, and return its result."""
    return place(component(**inputs)).outputs["Output"]


def add_named(component: Any, name: str, **inputs: Any) -> tuple[Any, Any]:
    """Add a task, and return its result and another, named one."""
    outputs = place(component(**inputs)).outputs
    return outputs["Output"], outputs[name]


def at_the_end(study: str) -> Any:
    """Return the block in whose end, however it comes, the cluster is cleaned up."""
    return dsl.ExitHandler(place(clean_up(study=study, job=dsl.PIPELINE_JOB_ID_PLACEHOLDER)))


def prepare(order: str) -> tuple[Any, Any, Any]:
    """Open the run, retrieve and composite every shard; return the run's study and what each shard made."""
    shards, study = add_named(plan, "run", study=order, job=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    with dsl.ParallelFor(shards) as shard:
        retrieved = add(retrieve, order=shard)
        cubes = add(composite, order=shard, retrieved=retrieved)
    return study, retrieved, cubes


def train(study: Any, stage: str, samples: Any, cubes: Any) -> tuple[Any, Any]:
    """Train, and return the orders for the shards and the model."""
    return add_named(train_component, "model", study=study, stage=stage, samples=samples, cubes=dsl.Collected(cubes))


def find_stable(study: Any, retrieved: Any, cubes: Any) -> tuple[Any, Any, Any]:
    """Learn stable samples by a first classifier; return the first samples, the first classifier and the stable samples."""
    samples = add(extract, study=study, retrieved=dsl.Collected(retrieved), cubes=dsl.Collected(cubes))
    _, preliminary = train(study, "preliminary", samples, cubes)
    labels = add(classify_candidates, study=study, model=preliminary, samples=samples, cubes=dsl.Collected(cubes))
    stable = add(extract_stable, study=study, labels=labels, samples=samples, cubes=dsl.Collected(cubes))
    return samples, preliminary, stable
