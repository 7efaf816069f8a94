"""Train a classifier, and order its use on each shard."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def train(study: str, stage: str, samples: str, cubes: list[str], model: dsl.OutputPath(str)) -> list[str]:  # type: ignore[valid-type]
    """Return the orders as JSON: ``study_uri``, ``model`` (URI), ``cubes`` (a shard's manifests). Stage: ``preliminary`` or ``final``."""
    import json
    from pathlib import Path

    from landtide import steps

    uri = steps.train(study, stage, samples)
    Path(model).write_text(uri, encoding="utf-8")
    return [json.dumps({"study_uri": study, "model": uri, "cubes": shard}) for shard in cubes]
