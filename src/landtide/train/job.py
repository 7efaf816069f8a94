"""One training from spec to files."""

import dataclasses
import logging
from typing import Any

import numpy as np

from landtide import models
from landtide.core.errors import InputError, memory_explained
from landtide.io import storage
from landtide.models.card import Card
from landtide.train import data as samples
from landtide.train.data import Facts
from landtide.train.output import deliver
from landtide.train.place import Place
from landtide.train.spec import Optimisation, TrainSpec, split_settings

log = logging.getLogger(__name__)

OF_PIXELS = tuple(name for name in models.NETWORKS if name != "convlstm")
"""Networks of single pixels: those that can go on from earlier weights, and learn without labels."""

MEMBER_SEEDS = 1000
"""Between the seeds of two members of an ensemble: studies that differ by one in their seed share none."""


def train(spec: TrainSpec, place: Place | None = None) -> str:
    """Train what a spec asks for; return the folder with model.json, weights and training.json.

    place  which of several processes this is; the first writes the result, and trains alone what is no network

    The same spec gives the same bytes on one machine with the same number of threads and processes.
    Raises InputError where the samples cannot be learnt from, LandtideError where memory does not suffice.
    """
    with memory_explained(f"training {spec.model}", advice(spec.model)):
        return _train(spec, place or Place())


def advice(model: str) -> str:
    """Say what to lower so that a training takes less memory."""
    samples_part = "compute.memory, half of which the samples may take"
    if model == "convlstm":
        return "lower model.patches, model.batch, model.patch or model.hidden"
    if model in (*models.NETWORKS, "ensemble"):
        return f"lower model.batch, the size of the network, train.processes, or {samples_part}"
    return f"lower extract.per_class, compute.threads, or {samples_part}"


def _train(spec: TrainSpec, place: Place) -> str:
    if spec.search is not None:
        from landtide.train import search  # Optuna is an extra of its own

        search.work(spec)
        return spec.output
    config, optimisation = split_settings(spec.model, spec.settings)
    if (spec.continual or spec.start or spec.pretrain) and spec.model not in OF_PIXELS:
        raise InputError(f"model {spec.model!r} cannot go on from earlier weights or learn without labels: {', '.join(OF_PIXELS)} can")
    if spec.pretrain is not None:
        from landtide.train.pretrain import pretrain

        return pretrain(spec)
    if spec.model not in (*models.NETWORKS, "ensemble") and not place.first:
        log.info("%s is trained by the first process alone", spec.model)
        return spec.output
    scorer, report, facts = _fit(spec, place, config, optimisation)
    if not place.first:
        return spec.output
    counts = facts.named(spec.legend)
    card = Card(
        name=spec.model,
        settings=dataclasses.asdict(config),
        legend=spec.legend,
        bands=spec.bands,
        steps=spec.steps,
        mean=tuple(facts.mean.tolist()),
        std=tuple(facts.std.tolist()),
        classes_seen=tuple(facts.seen),
        prior=tuple(facts.prior.tolist()),
        training={"seed": spec.seed, "samples": facts.samples, "samples_a_class": counts, "polygons": facts.polygons},
    )
    deliver(models.assemble(card, scorer), {**card.training, "settings": spec.settings, **report}, spec.output)
    if spec.model in models.NETWORKS:
        from landtide.train.checkpoint import Checkpoint

        Checkpoint.of(spec).remove()
    return spec.output


def _fit(spec: TrainSpec, place: Place, config: Any, optimisation: Optimisation) -> tuple[models.Scorer, dict[str, Any], Facts]:
    """Return the scorer, what to report of its making, and what its samples are."""
    if spec.model in models.NETWORKS:
        from landtide.train import networks  # torch takes seconds to import: an SVM needs none of it

        return networks.fit(spec, place, config, optimisation)
    if spec.model == "ensemble":
        return _fit_members(spec, place, config)
    data, classes = samples.read(spec), len(spec.legend)
    facts = Facts.of(data, config.balance, classes)
    log.info("training %s on %s", spec.model, samples.described(facts, spec))
    if spec.model == "svm":
        from landtide.train import classic

        ensemble, choice = classic.fit_svm(data, config, classes=classes, seed=spec.seed, threads=spec.threads)
        report = {"chosen": classic.describe(choice), "members": len(ensemble.intercepts), "support_vectors": len(ensemble.vectors)}
        return ensemble, report, facts
    from landtide.train import trees

    return trees.fit_forest(data, config, classes=classes, seed=spec.seed, threads=spec.threads), {}, facts


def _fit_members(spec: TrainSpec, place: Place, config: Any) -> tuple[models.Scorer, dict[str, Any], Facts]:
    """Fit the members of an ensemble one after another, the networks with the loop's settings that the study gives; each has its seed."""
    from landtide.models.ensemble import Ensemble
    from landtide.train.checkpoint import Checkpoint

    given = {key: value for key, value in spec.settings.items() if key != "members"}
    scorers, reports, facts = [], [], []
    for number, (name, own) in enumerate(config.parts):
        if name not in models.NETWORKS and not place.first:
            continue
        member = dataclasses.replace(
            spec,
            model=name,
            seed=spec.seed + MEMBER_SEEDS * number,
            settings={**given, **own} if name in models.NETWORKS else own,
            checkpoint=f"{spec.checkpoint or storage.join(spec.output, 'checkpoint')}-{number}",
        )
        scorer, report, fact = _fit(member, place, *split_settings(name, member.settings))
        scorers.append(scorer)
        reports.append({"member": name, **report})
        facts.append(fact)
        if place.first and name in models.NETWORKS:
            Checkpoint.of(member).remove()
    prior = np.mean([fact.prior for fact in facts], axis=0)
    return Ensemble(config.names, tuple(scorers)), {"members": reports}, dataclasses.replace(facts[0], prior=prior)
