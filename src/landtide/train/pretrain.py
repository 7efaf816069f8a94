"""Learn from series without labels: to know a pixel again in another year or by other dates, and to tell what the clouds hid.

The network is that of the classifier without its head, so that training starts where this ends.
"""

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landtide import models
from landtide.core.errors import InputError
from landtide.io import storage
from landtide.models.card import standardise
from landtide.models.network import split_mask
from landtide.train import data as samples
from landtide.train.batches import seed_of
from landtide.train.optimisers import Course, optimiser_of
from landtide.train.output import TRAINING
from landtide.train.spec import Optimisation, Pretrain, TrainSpec, split_settings

log = logging.getLogger(__name__)

WEIGHTS = "encoder.safetensors"
HEAD = "head."
"""Prefix of the weights that belong to the classes: what is learnt without labels has none."""

PROJECTED = 128
"""Values in which views are compared. Source: Chen et al. 2020, arXiv:2002.05709."""

INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0
"""Weights of VICReg's three terms. Source: Bardes et al. 2022, arXiv:2105.04906."""

GAIN = 0.05
"""Deviation of a view's brightness: haze, sun, calibration."""

HIDDEN = (0.3, 0.7)
"""Shares of a series' steps that are hidden and must be told."""


@dataclass(frozen=True)
class Places:
    """P places with Y years of T steps."""

    x: Tensor
    """(P, Y, T, C) standardised, 0 = missing."""

    mask: Tensor
    """(P, Y, T) bool, True = observed."""

    doy: Tensor
    """(P, Y, T)"""

    def __len__(self) -> int:
        return len(self.x)


class Encoder(nn.Module):
    """A network up to what its head is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.width = _last_linear(network).in_features
        self._found: Tensor | None = None
        network.get_submodule("head").register_forward_pre_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._found = inputs[0]

    def forward(self, x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
        """Return features (B, D)."""
        self.network(x, mask, doy)
        assert self._found is not None
        found, self._found = self._found, None
        return found


def pretrain(spec: TrainSpec) -> str:
    """Pre-train the network of a spec on series without labels; return the folder with its weights.

    Raises InputError where the model is no network, or where there are too few places.
    """
    wanted = spec.pretrain
    assert wanted is not None
    if spec.model not in models.NETWORKS:
        raise InputError(f"pretrain: model {spec.model!r} is no network ({', '.join(models.NETWORKS)} are)")
    config, optimisation = split_settings(spec.model, spec.settings)
    torch.manual_seed(spec.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(spec.threads)
    places, mean, std = read(spec)
    network: nn.Module = models.build(
        spec.model,
        channels=len(spec.bands),
        steps=spec.steps,
        classes=len(spec.legend),
        seen=list(range(1, len(spec.legend) + 1)),
        **dataclasses.asdict(config),
    )
    curve = learn(Encoder(network), places, wanted, optimisation, spec.seed)
    kept = {name: value for name, value in network.state_dict().items() if not name.startswith(HEAD) and value.dtype != torch.bool}
    _deliver(spec, config, kept, mean, std, {"places": len(places), "curve": curve})
    return spec.output


def read(spec: TrainSpec) -> tuple[Places, np.ndarray, np.ndarray]:
    """Return the places of a spec's samples, with the mean and deviation that they were standardised by."""
    parts = [file.read() for file in samples.look(spec)]
    x = np.concatenate([part.x for part in parts])
    mean, std = samples.band_statistics(x)
    xy = np.concatenate([part.xy for part in parts])
    year = np.concatenate([part.year for part in parts])
    place, row = np.unique(xy, axis=0, return_inverse=True)
    years, column = np.unique(year, return_inverse=True)
    shape = (len(place), len(years))
    series = np.full((*shape, *x.shape[1:]), np.nan, np.float32)
    doy = np.ones((*shape, x.shape[1]), np.int16)
    series[row.reshape(-1), column] = standardise(x, tuple(mean), tuple(std))
    doy[row.reshape(-1), column] = np.concatenate([part.doy for part in parts])
    return places_of(series, doy), mean, std


def places_of(series: np.ndarray, doy: np.ndarray) -> Places:
    """Return places from standardised series (P, Y, T, C), NaN = missing, and days (P, Y, T)."""
    count, years, steps, channels = series.shape
    values, mask = split_mask(series.reshape(-1, steps, channels))
    return Places(
        values.reshape(count, years, steps, channels), mask.reshape(count, years, steps), torch.from_numpy(doy.astype(np.float32))
    )


def learn(encoder: Encoder, places: Places, wanted: Pretrain, settings: Optimisation, seed: int) -> list[float]:
    """Train an encoder in place; return the mean loss of each pass."""
    steps, channels = places.x.shape[2:]
    if len(places) < 2 * wanted.batch:
        raise InputError(f"pretrain: {len(places)} places are fewer than two batches of {wanted.batch}: raise pretrain.places")
    projector = nn.Sequential(nn.Linear(encoder.width, PROJECTED), nn.ReLU(), nn.Linear(PROJECTED, PROJECTED))
    decoder = nn.Sequential(nn.Linear(encoder.width, 2 * PROJECTED), nn.ReLU(), nn.Linear(2 * PROJECTED, steps * channels))
    everything = nn.ModuleList([encoder, projector, decoder])
    optimiser = optimiser_of(everything, settings)
    count = len(places) // wanted.batch
    course = Course(dataclasses.replace(settings, epochs=wanted.epochs), count, 1)
    curve = []
    for epoch in range(wanted.epochs):
        own = seed_of(seed, epoch)
        torch.manual_seed(own)
        generator = torch.Generator().manual_seed(own)
        everything.train()
        total, order = 0.0, torch.randperm(len(places), generator=generator)
        for number, index in enumerate(order[: count * wanted.batch].chunk(count)):
            course.apply(optimiser, epoch * count + number)
            loss = torch.zeros(())
            if wanted.method in ("contrastive", "both"):
                one, two = views(places, index, generator)
                loss = loss + vicreg(projector(encoder(*one)), projector(encoder(*two)))
            if wanted.method in ("masked", "both"):
                loss = loss + masked_loss(encoder, decoder, places, index, generator)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(everything.parameters(), 1.0)
            optimiser.step()
            total += float(loss.detach())
        curve.append(total / count)
        log.info("pass %d: loss %.4f", epoch, curve[-1])
    return curve


View = tuple[Tensor, Tensor, Tensor]
"""x (B, T, C), mask (B, T), doy (B, T)."""


def views(places: Places, index: Tensor, generator: torch.Generator) -> tuple[View, View]:
    """Return two views of places: disjoint, interleaved halves of the steps, of one year or of two years that look alike.

    Source of the disjoint halves: Saget et al. 2025, arXiv:2506.18587; of other seasons as positives: Manas et al. 2021, arXiv:2103.16607.
    """
    years, steps = places.x.shape[1:3]
    first = torch.randint(years, (len(index),), generator=generator)
    second = (first + torch.randint(max(years - 1, 1), (len(index),), generator=generator) + 1) % years
    second = torch.where(_alike(places, index, first, second), second, first)
    flips = torch.rand(len(index), -(-steps // 2), generator=generator) < 0.5
    left = torch.stack([flips, ~flips], dim=2).flatten(1)[:, :steps]  # of each pair of neighbours, one step a view
    return _view(places, index, first, left, generator), _view(places, index, second, ~left, generator)


def _alike(places: Places, index: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Say which places differ less between two years than half of the batch does: those that changed are not the same land any more."""
    both = places.mask[index, first] & places.mask[index, second]
    apart = (places.x[index, first] - places.x[index, second]).abs().mean(dim=2)
    distance = (apart * both).sum(dim=1) / both.sum(dim=1).clamp(min=1)
    return (both.any(dim=1)) & (distance <= distance.median())


def _view(places: Places, index: Tensor, year: Tensor, kept: Tensor, generator: torch.Generator) -> View:
    x, mask, doy = places.x[index, year], places.mask[index, year], places.doy[index, year]
    seen = mask & kept
    seen = torch.where(seen.any(dim=1, keepdim=True), seen, mask)  # a series must not be empty
    gain = 1 + GAIN * torch.randn(len(index), 1, 1, generator=generator)
    noise = 0.1 * torch.randn(x.shape, generator=generator)
    return (x * gain + noise) * seen.unsqueeze(-1), seen, doy


def vicreg(one: Tensor, two: Tensor) -> Tensor:
    """Return VICReg's loss of two sets of projections (B, D): alike in pairs, spread over the batch, each value for itself.

    It needs no negatives: with few classes, most of a batch would be false ones. Source: Bardes et al. 2022, arXiv:2105.04906.
    """
    apart = (one - two).square().mean()
    spread = torch.stack([torch.relu(1 - (part.var(dim=0) + 1e-4).sqrt()).mean() for part in (one, two)]).mean()
    loss: Tensor = INVARIANCE * apart + VARIANCE * spread + COVARIANCE * (_off_diagonal(one) + _off_diagonal(two))
    return loss


def _off_diagonal(values: Tensor) -> Tensor:
    centred = values - values.mean(dim=0)
    covariance = centred.T @ centred / (len(values) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / values.shape[1]


def masked_loss(encoder: Encoder, decoder: nn.Module, places: Places, index: Tensor, generator: torch.Generator) -> Tensor:
    """Return the squared error of the steps that the network was not shown.

    Source of the idea for pixel series: Tseng et al. 2023, arXiv:2304.14065.
    """
    year = torch.randint(places.x.shape[1], (len(index),), generator=generator)
    x, mask, doy = places.x[index, year], places.mask[index, year], places.doy[index, year]
    share = HIDDEN[0] + (HIDDEN[1] - HIDDEN[0]) * torch.rand(len(index), 1, generator=generator)
    shown = mask & (torch.rand(mask.shape, generator=generator) >= share)
    shown = torch.where(shown.any(dim=1, keepdim=True), shown, mask)
    told = decoder(encoder(x * shown.unsqueeze(-1), shown, doy)).view(x.shape)
    hidden = (mask & ~shown).unsqueeze(-1)
    loss: Tensor = ((told - x).square() * hidden).sum() / (hidden.sum() * x.shape[2]).clamp(min=1)
    return loss


@dataclass(frozen=True)
class Start:
    """Weights that a training starts from, and what the inputs must be standardised by."""

    weights: dict[str, Tensor]
    mean: np.ndarray
    std: np.ndarray

    def put_into(self, network: nn.Module) -> None:
        """Give a network the weights; its head stays as it is."""
        network.load_state_dict({**network.state_dict(), **self.weights})


def load(folder: str, spec: TrainSpec, config: Any) -> Start:
    """Read what pre-training has left. Raises InputError where it is of another network, other bands or steps."""
    from safetensors.torch import load as load_tensors

    record = storage.read_json(storage.join(folder, TRAINING))
    own = {"model": spec.model, "bands": list(spec.bands), "steps": spec.steps, "settings": dataclasses.asdict(config)}
    other = [key for key in own if record[key] != own[key]]
    if other:
        told = "; ".join(f"{key} {record[key]} there, {own[key]} here" for key in other)
        raise InputError(f"train.pretrained: {folder} holds another network: {told}")
    weights = load_tensors(storage.read_bytes(storage.join(folder, WEIGHTS)))
    return Start(weights, np.array(record["mean"]), np.array(record["std"]))


def _deliver(spec: TrainSpec, config: Any, weights: dict[str, Tensor], mean: np.ndarray, std: np.ndarray, report: dict[str, Any]) -> None:
    from safetensors.torch import save

    data = save({name: value.detach().cpu().contiguous() for name, value in weights.items()})
    storage.write_bytes(storage.join(spec.output, WEIGHTS), data)
    record = {
        "model": spec.model,
        "bands": list(spec.bands),
        "steps": spec.steps,
        "settings": dataclasses.asdict(config),
        "mean": mean.tolist(),
        "std": std.tolist(),
        "seed": spec.seed,
        "pretrain": dataclasses.asdict(spec.pretrain) if spec.pretrain else None,
        **report,
        "files": {WEIGHTS: storage.digest(data)},
    }
    storage.write_json(storage.join(spec.output, TRAINING), record)


def _last_linear(network: nn.Module) -> nn.Linear:
    linear = [module for module in network.get_submodule("head").modules() if isinstance(module, nn.Linear)]
    return linear[-1]
