"""One training from spec to files."""

import dataclasses
import logging
from typing import Any

import numpy as np

from landtide import models
from landtide.models.card import Card
from landtide.train import data as samples
from landtide.train.data import TrainingData
from landtide.train.output import deliver
from landtide.train.place import Place
from landtide.train.spec import Optimisation, TrainSpec, split_settings

log = logging.getLogger(__name__)


def train(spec: TrainSpec, place: Place | None = None) -> str:
    """Train what a spec asks for; return the folder with model.json, weights and training.json.

    place  which of several processes this is; the first writes the result, and trains alone what is no network

    The same spec gives the same bytes on one machine with the same number of threads and processes.
    Raises InputError where the samples cannot be learnt from.
    """
    place = place or Place()
    config, optimisation = split_settings(spec.model, spec.settings)
    if spec.model not in models.NETWORKS and not place.first:
        log.info("%s is trained by the first process alone", spec.model)
        return spec.output
    data = samples.read(spec)
    counts = {spec.legend.names[label - 1]: int((data.y == label).sum()) for label in data.seen}
    if place.first:
        log.info("training %s on %d samples: %s", spec.model, len(data), ", ".join(f"{name} {count}" for name, count in counts.items()))
    scorer, report, balance = _fit(spec, place, config, optimisation, data)
    if not place.first:
        return spec.output
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
    deliver(models.assemble(card, scorer), {**card.training, "settings": spec.settings, **report}, spec.output)
    if spec.model in models.NETWORKS:
        from landtide.train.checkpoint import Checkpoint

        Checkpoint.of(spec).remove()
    return spec.output


def _fit(
    spec: TrainSpec, place: Place, config: Any, optimisation: Optimisation, data: TrainingData
) -> tuple[models.Scorer, dict[str, Any], float]:
    """Return the scorer, what to report of its making, and the class balance that it was trained with."""
    classes = len(spec.legend)
    if spec.model in models.NETWORKS:
        return *_fit_network(spec, place, optimisation, data), optimisation.balance
    if spec.model == "svm":
        from landtide.train import classic

        ensemble, choice = classic.fit_svm(data, config, classes=classes, seed=spec.seed, threads=spec.threads)
        report = {"chosen": classic.describe(choice), "members": len(ensemble.intercepts), "support_vectors": len(ensemble.vectors)}
        return ensemble, report, config.balance
    from landtide.train import trees

    return trees.fit_forest(data, config, classes=classes, seed=spec.seed, threads=spec.threads), {}, config.balance


def _fit_network(spec: TrainSpec, place: Place, optimisation: Optimisation, data: TrainingData) -> tuple[models.Scorer, dict[str, Any]]:
    import torch  # seconds to import: an SVM needs none of it

    from landtide.models.network import Network
    from landtide.train import loop
    from landtide.train.checkpoint import Checkpoint
    from landtide.train.group import joined
    from landtide.train.years import source_of

    torch.manual_seed(spec.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(spec.threads)
    own = split_settings(spec.model, spec.settings)[0]
    shape: dict[str, Any] = {"channels": len(spec.bands), "steps": spec.steps, "classes": len(spec.legend), "seen": data.seen}
    module = models.build(spec.model, **shape, **dataclasses.asdict(own))
    with joined(place, spec.device) as group:
        source = source_of(data, optimisation, spec.seed, group, getattr(own, "years", "separate"))
        checkpoint = Checkpoint.of(spec)
        best, curve = loop.fit(module, source, settings=optimisation, seed=spec.seed, group=group, checkpoint=checkpoint)
    result = models.build(spec.model, **shape, **dataclasses.asdict(own))
    if place.first:
        result.load_state_dict(best)
    report = {"device": group.device, "processes": place.world, "curve": [dataclasses.asdict(epoch) for epoch in curve]}
    return Network(result.eval()), report
