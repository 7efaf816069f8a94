"""One training from spec to files."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from landtide import models
from landtide.models.card import Card
from landtide.train import data as samples
from landtide.train.data import TrainingData
from landtide.train.output import TRAINING
from landtide.train.spec import Optimisation, TrainSpec, split_settings

log = logging.getLogger(__name__)


def train(spec: TrainSpec) -> Path:
    """Train what a spec asks for; return the folder with model.json, weights and training.json.

    The same spec gives the same bytes on one machine with the same number of threads.
    Raises InputError where the samples cannot be learnt from.
    """
    config, optimisation = split_settings(spec.model, spec.settings)
    data = samples.read(spec)
    counts = {spec.legend.names[label - 1]: int((data.y == label).sum()) for label in data.seen}
    log.info("training %s on %d samples: %s", spec.model, len(data), ", ".join(f"{name} {count}" for name, count in counts.items()))
    scorer, report, balance = _fit(spec, config, optimisation, data)
    weight = samples.class_weights(data.y, data.trust, balance)
    card = Card(
        name=spec.model,
        settings=dataclasses.asdict(config),
        legend=spec.legend,
        bands=spec.bands,
        steps=spec.steps,
        mean=tuple(data.mean.tolist()),
        std=tuple(data.std.tolist()),
        classes_seen=tuple(data.seen),
        prior=tuple(samples.class_prior(data.y, weight, len(spec.legend)).tolist()),
        training={"seed": spec.seed, "samples": len(data), "samples_a_class": counts, "polygons": len(np.unique(data.group))},
    )
    folder = Path(spec.output)
    models.save(models.assemble(card, scorer), folder)
    text = json.dumps({**card.training, "settings": spec.settings, **report}, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / TRAINING).write_text(text + "\n", "utf-8")
    return folder


def _fit(spec: TrainSpec, config: Any, optimisation: Optimisation, data: TrainingData) -> tuple[models.Scorer, dict[str, Any], float]:
    """Return the scorer, what to report of its making, and the class balance that it was trained with."""
    classes = len(spec.legend)
    if spec.model in models.NETWORKS:
        return *_fit_network(spec, optimisation, data), optimisation.balance
    if spec.model == "svm":
        from landtide.train import classic

        ensemble, choice = classic.fit_svm(data, config, classes=classes, seed=spec.seed, threads=spec.threads)
        report = {"chosen": classic.describe(choice), "members": len(ensemble.intercepts), "support_vectors": len(ensemble.vectors)}
        return ensemble, report, config.balance
    from landtide.train import trees

    return trees.fit_forest(data, config, classes=classes, seed=spec.seed, threads=spec.threads), {}, config.balance


def _fit_network(spec: TrainSpec, optimisation: Optimisation, data: TrainingData) -> tuple[models.Scorer, dict[str, Any]]:
    import torch  # seconds to import: an SVM needs none of it

    from landtide.models.network import Network
    from landtide.train import loop

    torch.manual_seed(spec.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(spec.threads)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if spec.device == "auto" else spec.device
    steps, channels = data.x.shape[1:]
    own = split_settings(spec.model, spec.settings)[0]
    module = models.build(spec.model, channels=channels, steps=steps, classes=len(spec.legend), seen=data.seen, **dataclasses.asdict(own))
    curve = loop.fit(module, data, settings=optimisation, seed=spec.seed, device=device)
    return Network(module.to("cpu").eval()), {"device": device, "curve": [dataclasses.asdict(epoch) for epoch in curve]}
