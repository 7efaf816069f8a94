"""Put the model beside each shard's cubes: one order for each task of the loop that classifies."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def deal(model: str, cubes: list[str]) -> list[str]:
    """Return the orders as JSON: ``model`` (URI), ``cubes`` (the shard's manifests)."""
    import json

    return [json.dumps({"model": model, "cubes": shard}) for shard in cubes]
