"""What a training leaves: into a folder near or far, and from there into a step's output."""

from pathlib import Path
from typing import Any

from landtide import models
from landtide.io import storage
from landtide.io.manifest import Writing

TRAINING = "training.json"
"""Curves, scores, settings and the digests of the model's files; written last, so that a folder with it is whole."""

ERROR = "error.json"
"""Line and exit status of a training that failed, for whoever started it elsewhere."""


def deliver(model: models.TrainedModel, record: dict[str, Any], folder: str) -> None:
    """Write a model, then its record, into a folder (path or URI)."""
    storage.write_json(storage.join(folder, TRAINING), {**record, "files": models.save(model, folder)})


def record(folder: str | Path, out: Writing) -> None:
    """Move what a training left in a local folder into a step's output, as the assets ``model`` and ``training``."""
    for name in (*storage.read_json(storage.join(str(folder), TRAINING))["files"], TRAINING):
        out.upload(Path(folder, name), name)
    out.add_asset("model", models.CARD, media_type="application/json", roles=["mlm:model"], title="Model card; the weights lie beside it")
    out.add_asset("training", TRAINING, media_type="application/json", roles=["metadata"], title="Curves, scores and chosen settings")
