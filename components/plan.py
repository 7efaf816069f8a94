"""Open the run, and divide the area into shards of tiles."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def plan(study: str, job: str, run: dsl.OutputPath(str)) -> list[str]:  # type: ignore[valid-type]
    """Return the shards, each as JSON: ``study_uri`` and ``shard``, tile names separated by spaces; the study of the run is `run`."""
    import json
    from pathlib import Path

    from landtide import steps

    uri = steps.open_run(study, job)
    Path(run).write_text(uri, encoding="utf-8")
    return [json.dumps({"study_uri": uri, "shard": shard}) for shard in steps.plan_shards(uri)]
