"""Train a network, in this process or shared with others."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from landtide import models
from landtide.models.network import Network
from landtide.train import continual, loop, pretrain, years
from landtide.train import data as samples
from landtide.train.batches import Source
from landtide.train.checkpoint import Checkpoint, Epoch
from landtide.train.data import Facts
from landtide.train.group import Group, joined
from landtide.train.patches import Patches
from landtide.train.place import Place
from landtide.train.spec import Optimisation, TrainSpec, split_settings
from landtide.train.stream import Streamed

log = logging.getLogger(__name__)

CHANCE = 1.5
"""Times the share that guessing meets: below it a network is doubted."""


def fit(spec: TrainSpec, place: Place, config: Any, optimisation: Optimisation) -> tuple[Network, dict[str, Any], Facts]:
    """Return the trained network (whole in the first process), what to report of its making, and what its samples are."""
    if spec.continual is not None:
        return continual.fit(spec, place, config, optimisation)
    torch.manual_seed(spec.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(spec.threads)
    with joined(place, spec.device, pipeline=optimisation.parallel == "pipeline") as group:
        start = pretrain.load(spec.start, spec, config) if spec.start else None
        source = source_of(spec, config, optimisation, group, start)
        if place.first:
            log.info("training %s on %s", spec.model, samples.described(source.facts, spec))
        network = build(spec, config, source.facts)
        if start is not None:
            start.put_into(network)
        best, curve = loop.fit(network, source, settings=optimisation, seed=spec.seed, group=group, checkpoint=Checkpoint.of(spec))
    result = build(spec, config, source.facts)
    if place.first:
        result.load_state_dict(best)
    report = {"device": group.device, "processes": place.world, "curve": [dataclasses.asdict(epoch) for epoch in curve]}
    doubted = doubt(spec.model, curve, len(source.facts.seen))
    if doubted is not None and place.first:
        log.warning("%s", doubted)
        report["doubt"] = doubted
    return Network(result.eval()), report, source.facts


def doubt(model: str, curve: list[Epoch], classes: int) -> str | None:
    """Say in a line that a network knows the classes hardly better than chance, None where it does or where nothing could be set apart."""
    judged = [(epoch.validation, epoch.recall) for epoch in curve if epoch.validation is not None and epoch.recall is not None]
    if not judged:
        return None
    recall = min(judged)[1]
    if recall >= CHANCE / classes:
        return None
    more = "a larger area, more years or a smaller model.patch" if model == "convlstm" else "more samples"
    return (
        f"model {model} has hardly learnt: of labels set apart it meets {recall:.0%}, the mean of {classes} classes. "
        f"Try {more}, another model.learning_rate, more model.epochs, or another model"
    )


def try_settings(spec: TrainSpec, settings: dict[str, Any], watch: Callable[[int, float | None], None]) -> None:
    """Train by other settings than the spec's, for what ``watch`` is told after each epoch: its number and the mean recall.

    A trial has one process, whatever the training divides among several.
    """
    tried = dataclasses.replace(spec, settings={key: value for key, value in settings.items() if key != "parallel"})
    config, optimisation = split_settings(tried.model, tried.settings)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(spec.threads)
    with joined(Place(), spec.device) as group:
        source = source_of(tried, config, optimisation, group)
        torch.manual_seed(spec.seed)
        network = build(tried, config, source.facts)
        hooks = loop.Hooks(watch=lambda epoch: watch(epoch.epoch, epoch.recall))
        loop.fit(network, source, settings=optimisation, seed=spec.seed, group=group, hooks=hooks)


def source_of(spec: TrainSpec, config: Any, optimisation: Optimisation, group: Group, start: pretrain.Start | None = None) -> Source:
    """Return the samples of a spec: in memory where they fit; of places with several years, or after a pre-training, a draw that fits."""
    if spec.model == "convlstm" and spec.cubes:
        carried = config.years == "carried"
        return Patches(spec, optimisation, group, patch=config.patch, most=config.patches, carried=carried)
    files, across = samples.look(spec), cast(models.Across, getattr(config, "years", "separate"))
    if sum(map(len, files)) > samples.capacity(spec) and across == "separate" and start is None:
        return Streamed(spec, files, optimisation, group)
    return years.source_of(
        samples.read(spec, files, (start.mean, start.std) if start else None),
        optimisation,
        spec.seed,
        group,
        across,
        classes=len(spec.legend),
    )


def build(spec: TrainSpec, config: Any, facts: Facts) -> nn.Module:
    """Return an untrained network."""
    network: nn.Module = models.build(
        spec.model,
        channels=len(spec.bands),
        steps=spec.steps,
        classes=len(spec.legend),
        seen=facts.seen,
        **dataclasses.asdict(config),
    )
    return network
