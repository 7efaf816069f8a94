"""Put what a training made into a step's output."""

from pathlib import Path

from landtide import models
from landtide.io.manifest import Writing

TRAINING = "training.json"


def record(folder: Path, out: Writing) -> None:
    """Move what a training left in a local folder into a step's output, as the assets ``model`` and ``training``."""
    for path in sorted(folder.iterdir()):
        out.upload(path, path.name)
    out.add_asset("model", models.CARD, media_type="application/json", roles=["mlm:model"], title="Model card; the weights lie beside it")
    out.add_asset("training", TRAINING, media_type="application/json", roles=["metadata"], title="Curves, scores and chosen settings")
