"""Go on from an earlier model: what it knew is kept by old samples, by its weights or by its outputs, and what is lost is measured."""

import copy
import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landtide import models
from landtide.core.errors import InputError, LandtideError
from landtide.io import storage
from landtide.models.network import Network
from landtide.train import data as samples
from landtide.train import ledger, loop
from landtide.train.batches import Batch, InMemory
from landtide.train.checkpoint import Checkpoint
from landtide.train.data import Facts, TrainingData
from landtide.train.group import joined
from landtide.train.output import TRAINING
from landtide.train.place import Place
from landtide.train.spec import Continual, Optimisation, TrainSpec

log = logging.getLogger(__name__)

TESTED = 0
"""Fold of the polygons that no model of a sequence learns from: the ledger's accuracies are theirs."""

STRENGTH = {"ewc": 1000.0, "distill": 1.0}
TEMPERATURE = 2.0
"""Source: Li & Hoiem 2016, arXiv:1606.09282."""

LOOKED_AT = 512
"""Samples behind the Fisher information: its error falls slowly, and each costs a backward pass."""


@dataclass(frozen=True)
class Earlier:
    """The model that a training goes on from."""

    model: models.TrainedModel
    rows: list[ledger.Row]

    @property
    def network(self) -> nn.Module:
        scorer = self.model.scorer
        assert isinstance(scorer, Network)
        return scorer.module


def fit(spec: TrainSpec, place: Place, config: Any, optimisation: Optimisation) -> tuple[Network, dict[str, Any], Facts]:
    """Return the network, what to report with the ledger, and what its samples are.

    Raises InputError where the earlier model is another kind of model, LandtideError where the new one forgets more than is allowed.
    """
    from landtide.train import networks  # it calls this module

    wanted = spec.continual
    assert wanted is not None
    if wanted.method == "ewc" and optimisation.parallel != "data":
        raise InputError(
            f"continual.method: ewc compares whole weights, and model.parallel: {optimisation.parallel} divides them: write data"
        )
    torch.manual_seed(spec.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(spec.threads)
    earlier = _earlier(spec, wanted, config)
    data, old = _read(spec, wanted, earlier)
    with joined(place, spec.device, pipeline=optimisation.parallel == "pipeline") as group:
        learnt, reservoir = _to_learn(data, old, wanted, spec.seed)
        source = InMemory(learnt, optimisation, spec.seed, group, classes=len(spec.legend))
        facts = _facts(source.facts, earlier)
        network = networks.build(spec, config, facts)
        hooks = loop.Hooks()
        if earlier is not None:
            _take_up(network, earlier.network)
            hooks = loop.Hooks(penalty=_penalty(earlier.network, reservoir, wanted, spec.seed))
        best, curve = loop.fit(
            network, source, settings=optimisation, seed=spec.seed, group=group, checkpoint=Checkpoint.of(spec), hooks=hooks
        )
    result = networks.build(spec, config, facts)
    report = {"device": group.device, "processes": place.world, "curve": [dataclasses.asdict(epoch) for epoch in curve]}
    if not place.first:
        return Network(result), report, facts
    result.load_state_dict(best)
    result.eval()
    rows = _rows(result, earlier, data, old)
    told = {"method": wanted.method if earlier else None, "rows": rows, **ledger.summary(rows, 1 / len(facts.seen))}
    _gate(rows, wanted)
    return Network(result), {**report, "ledger": told}, facts


def _earlier(spec: TrainSpec, wanted: Continual, config: Any) -> Earlier | None:
    """Read the earlier model. Raises InputError where it is not of the same kind: its weights would mean something else."""
    if wanted.model is None:
        return None
    model = models.load(wanted.model)
    own = {
        "model": spec.model,
        "bands": spec.bands,
        "steps": spec.steps,
        "legend": spec.legend.names,
        "settings": dataclasses.asdict(config),
    }
    card = model.card
    found = {"model": card.name, "bands": card.bands, "steps": card.steps, "legend": card.legend.names, "settings": card.settings}
    other = [key for key in own if found[key] != own[key]]
    if other:
        told = "; ".join(f"{key} {found[key]} there, {own[key]} here" for key in other)
        raise InputError(f"continual.from: model {wanted.model} cannot be gone on from: {told}")
    rows = storage.read_json(storage.join(wanted.model, TRAINING)).get("ledger", {}).get("rows", [])
    return Earlier(model, rows)


def _read(spec: TrainSpec, wanted: Continual, earlier: Earlier | None) -> tuple[TrainingData, TrainingData | None]:
    """Read new and earlier samples, standardised as the earlier model's were."""
    if earlier is None:
        return samples.read(spec), None
    if not wanted.samples:
        raise InputError("continual: the earlier model's samples are not known; give the manifest that landtide wrote for it")
    card = earlier.model.card
    both = dataclasses.replace(spec, samples=(*spec.samples, *wanted.samples))
    data = samples.read(both, statistics=(np.array(card.mean), np.array(card.std)))
    new = data.origin < len(spec.samples)
    return data.take(new), data.take(~new)


def _to_learn(data: TrainingData, old: TrainingData | None, wanted: Continual, seed: int) -> tuple[TrainingData, TrainingData | None]:
    """Return what is learnt from, and the reservoir of earlier samples. Polygons of the ledger are in neither."""
    own, reservoir = data.take(data.fold != TESTED), None
    if old is not None:
        free = old.take(old.fold != TESTED)
        reservoir = free.take(reservoir_rows(free.y, free.year, wanted.replay, seed))
        if wanted.method == "replay":
            own = join(own, reservoir)
    samples_left = np.unique(own.y)
    if len(samples_left) < 2:
        raise InputError("continual: fewer than 2 classes are left to learn from beside the polygons of the ledger: give more samples")
    if wanted.decay is not None:
        age = own.year.max() - own.year
        own = dataclasses.replace(own, trust=(own.trust * np.exp(-age / wanted.decay)).astype(np.float32))
    return own, reservoir


def reservoir_rows(y: np.ndarray, year: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw a share of each year's samples, from all classes alike as far as they reach; return row numbers in order."""
    rng, rows = np.random.default_rng(seed), []
    for one in np.unique(year):
        inside = np.flatnonzero(year == one)
        labels = np.unique(y[inside])
        left = max(round(share * len(inside)), len(labels))
        by_size = sorted((inside[y[inside] == label] for label in labels), key=len)
        for number, members in enumerate(by_size):  # small classes first: what they lack falls to the larger ones
            quota = min(left // (len(by_size) - number), len(members))
            rows.append(rng.choice(members, quota, replace=False))
            left -= quota
    return np.sort(np.concatenate(rows))


def join(first: TrainingData, second: TrainingData) -> TrainingData:
    """Return the samples of both."""
    parts = {name: np.concatenate([value, getattr(second, name)]) for name, value in vars(first).items() if name not in ("mean", "std")}
    return TrainingData(**parts, mean=first.mean, std=first.std)


def _facts(own: Facts, earlier: Earlier | None) -> Facts:
    """Return the facts of the samples, in which classes that only the earlier model saw keep its prior."""
    if earlier is None:
        return own
    kept = np.where(own.prior > 0, own.prior, np.array(earlier.model.card.prior))
    known = tuple(sorted({*own.seen, *earlier.model.classes_seen}))
    return dataclasses.replace(own, prior=kept / kept.sum(), known=known)


def _take_up(network: nn.Module, earlier: nn.Module) -> None:
    """Start from the earlier weights; which classes were seen (the boolean buffers) is the new network's own."""
    state = {name: value for name, value in earlier.state_dict().items() if value.dtype != torch.bool}
    network.load_state_dict({**network.state_dict(), **state})


def _penalty(earlier: nn.Module, reservoir: TrainingData | None, wanted: Continual, seed: int) -> loop.Penalty | None:
    strength = wanted.strength if wanted.strength is not None else STRENGTH.get(wanted.method, 0.0)
    frozen = copy.deepcopy(earlier).eval().requires_grad_(False)
    if wanted.method == "distill":
        return lambda network, batch, logits: strength * distillation(logits, frozen(batch.x, batch.mask, batch.doy))
    if wanted.method == "ewc":
        assert reservoir is not None
        return _elastic(frozen, fisher(earlier, reservoir, seed), strength)
    return None


def _elastic(frozen: nn.Module, information: dict[str, Tensor], strength: float) -> loop.Penalty:
    """Return lam / 2 sum F (theta - theta*)^2. Source: Kirkpatrick et al. 2017, doi:10.1073/pnas.1611835114."""
    anchors = dict(frozen.named_parameters())

    def penalty(network: nn.Module, batch: Batch, logits: Tensor) -> Tensor:
        terms = []
        for name, weight in network.named_parameters():
            own = name.removeprefix("module.")  # DDP's
            terms.append((information[own].to(weight.device) * (weight - anchors[own].to(weight.device)) ** 2).sum())
        return strength / 2 * torch.stack(terms).sum()

    return penalty


def distillation(new: Tensor, old: Tensor) -> Tensor:
    """Return T^2 KL(old || new) at temperature T, the mean over samples; classes that the old model did not know take no part."""
    known = torch.isfinite(old) & torch.isfinite(new)
    before = torch.log_softmax(old.masked_fill(~known, -1e9) / TEMPERATURE, dim=-1)
    after = torch.log_softmax(new.masked_fill(~known, -1e9) / TEMPERATURE, dim=-1)
    apart = (before.exp() * (before - after)).masked_fill(~known, 0.0).sum(dim=-1)
    return TEMPERATURE**2 * apart.mean()


def fisher(network: nn.Module, data: TrainingData, seed: int) -> dict[str, Tensor]:
    """Return the diagonal of the Fisher information by weight: mean squared gradient of the log-likelihood of labels that the
    network itself draws."""
    rows = np.random.default_rng(seed).permutation(len(data))[:LOOKED_AT]
    batch = Batch.of(data.x[rows], data.doy[rows], data.y[rows], np.ones(len(rows)), "cpu")
    generator = torch.Generator().manual_seed(seed)
    module = copy.deepcopy(network).cpu().eval().requires_grad_(True)
    total = {name: torch.zeros_like(weight) for name, weight in module.named_parameters()}
    for number in range(len(batch)):
        one = batch.take(slice(number, number + 1))
        log_p = torch.log_softmax(module(one.x, one.mask, one.doy), dim=-1)[0]
        label = torch.multinomial(log_p.detach().exp(), 1, generator=generator)
        module.zero_grad(set_to_none=True)
        torch.autograd.backward(log_p[label].sum())
        for name, weight in module.named_parameters():
            if weight.grad is not None:
                total[name] += weight.grad**2
    return {name: value / len(batch) for name, value in total.items()}


def _rows(network: nn.Module, earlier: Earlier | None, data: TrainingData, old: TrainingData | None) -> list[ledger.Row]:
    """Return the ledger with a row for the new model; the last row before it learns how its model does on the new years."""
    tested = [part.take(part.fold == TESTED) for part in (data, old) if part is not None]
    rows = []
    if earlier is not None:
        assert old is not None
        rows = [dict(row) for row in earlier.rows] or [{"years": sorted(map(int, np.unique(old.year))), "accuracy": {}}]
        rows[-1] = {**rows[-1], "accuracy": by_year(earlier.network.eval(), tested)}
    years = sorted(map(int, np.unique(data.year)))
    return [*rows, {"years": years, "accuracy": by_year(network, tested)}]


@torch.no_grad()
def by_year(network: nn.Module, parts: list[TrainingData]) -> dict[str, float]:
    """Return the accuracy on the samples of each year."""
    right: dict[int, list[np.ndarray]] = {}
    for data in parts:
        for year in np.unique(data.year):
            one = data.take(data.year == year)
            batch = Batch.of(one.x, one.doy, one.y, np.ones(len(one)), "cpu")
            hits = [network(part.x, part.mask, part.doy).argmax(dim=-1) == part.target for part in _pieces(batch)]
            right.setdefault(int(year), []).append(torch.cat(hits).numpy())
    return {str(year): float(np.concatenate(hits).mean()) for year, hits in sorted(right.items())}


def _pieces(batch: Batch) -> list[Batch]:
    return [batch.take(slice(start, start + loop.JUDGED)) for start in range(0, len(batch), loop.JUDGED)]


def _gate(rows: list[ledger.Row], wanted: Continual) -> None:
    """Raise LandtideError where the last model forgets more than is allowed."""
    worst = ledger.forgotten(rows[-2], rows[-1]) if len(rows) > 1 else None
    if worst is not None and worst[1] > wanted.forget:
        year, lost = worst
        raise LandtideError(
            f"the new model is refused: its accuracy on {year} falls from {rows[-2]['accuracy'][year]:.3f} to "
            f"{rows[-1]['accuracy'][year]:.3f}, and continual.forget allows {wanted.forget:g}. What is published stays. "
            f"Try continual.method replay with a larger replay (now {wanted.method}, {wanted.replay:g}), or allow {lost:.2f}"
        )
