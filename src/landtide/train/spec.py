"""What one training is: a record that travels as JSON to wherever the training runs."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from landtide import models
from landtide.core.errors import InputError
from landtide.core.legend import Legend


@dataclass(frozen=True)
class Optimisation:
    """Settings of the training loop, which all networks share."""

    epochs: int = 25
    """Passes at most: 20 000 samples then take about a minute of one core. Early stopping ends sooner where validation stops improving."""

    patience: int = 6
    """Passes without improvement before it stops."""

    batch: int = 256
    """On CPUs smaller batches train faster than large ones, and generalise no worse."""

    learning_rate: float = 3e-3
    """Peak of the cosine; higher diverges at times, lower needs more passes."""

    weight_decay: float = 1e-2
    q: float = 0.7
    """Generalised cross-entropy: 0 = cross-entropy, 1 = mean absolute error; 0.7 forgives wrong labels (0.856 on simulated worlds with
    8 and 15 % wrong; 0.4 gives 0.829, 0.85 gives 0.842). Source: Zhang & Sabuncu 2018, arXiv:1805.07836."""

    smoothing: float = 0.0
    """Share of each label that is spread over all classes (label smoothing): for clean labels with q = 0; q > 0 forgives by itself."""

    balance: float = 0.5
    """Class weight = count ** -balance: 0 trusts the samples' shares, 1 makes all classes equal."""

    noise: float = 0.1
    """Deviation of Gaussian noise on standardised inputs; 0.05 and 0.2 were 0.3 and 0.8 points worse on simulated worlds."""

    drop: float = 0.15
    """Share of steps hidden from the network in training, as clouds hide them."""

    epoch_samples: int = 20_000
    """Samples a pass at most, so that time does not grow with the sample set."""

    change: float = 0.0
    """Of a model that carries its state over the years: weight of the penalty for classes that differ between two years whose series do
    not. 0 = none."""

    gate: float = 0.5
    """Mean difference of two years' standardised series at which the penalty falls to 37 %; a year's noise is about 0.2."""

    splice: float = 0.2
    """Of a model that reads several years: share of places that turn into another place in a random year. Samples in stable places alone
    would teach it that nothing changes."""

    accumulate: int = 1
    """Batches whose gradients are summed before each step of the weights: a large batch in the memory of a small one."""

    optimiser: Literal["adamw", "lars", "lamb"] = "adamw"
    """``lars`` and ``lamb`` scale each layer's step by the size of its weights: for batches of thousands, which AdamW learns badly."""

    scaling: Literal["sqrt", "linear", "none"] = "sqrt"
    """How the learning rate grows with processes x accumulate, the factor by which a step sees more samples. Square root suits optimisers
    that divide by the gradient's size (AdamW, LAMB), linear suits LARS. Source: Goyal et al. 2017, arXiv:1706.02677."""

    warm_up: int = 5
    """Passes over which the rate climbs from that of one process to the scaled one (Goyal et al. 2017); without scaling, a tenth of all."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """``bf16`` computes in bfloat16 and keeps weights in float32: for processors that have it."""

    parallel: Literal["data", "sharded", "pipeline"] = "data"
    """What the processes divide: ``data`` the samples (DDP), ``sharded`` the weights too (FSDP), ``pipeline`` the layers, through which the
    ``accumulate`` batches of a step pass one after another. A network below some 100 million weights gains from the first alone."""

    def __post_init__(self) -> None:
        for key in ("epochs", "patience", "batch", "epoch_samples", "accumulate", "warm_up"):
            if getattr(self, key) < 1:
                raise InputError(f"model: setting {key} = {getattr(self, key)} must be at least 1")


@dataclass(frozen=True)
class Search:
    """A search for settings, in which many processes share one storage."""

    storage: str
    """Database URL, or folder (path or URI) of a journal."""

    trials: int
    method: Literal["asha", "hyperband", "random"] = "asha"
    first: int = 3
    reduction: int = 3
    budget: int | None = None
    """Passes in all, after which no trial begins."""

    space: dict[str, Any] = field(default_factory=dict)
    """Setting -> list of values, or table of low, high, log."""

    worker: str = "0"
    """Name of the process that works on it: what it left unfinished before is its own to give up."""

    quota: int | None = None
    """Trials that this process begins at most."""


@dataclass(frozen=True)
class Continual:
    """A training that goes on from an earlier one; see `landtide.core.study.Continual`."""

    model: str | None = None
    """Folder of the earlier model; None = the first of a sequence."""

    samples: tuple[str, ...] = ()
    """Sample sets of the earlier models."""

    method: Literal["finetune", "replay", "ewc", "distill"] = "replay"
    strength: float | None = None
    replay: float = 0.05
    decay: float | None = None
    forget: float = 0.05


@dataclass(frozen=True)
class Pretrain:
    """A training on series without labels; see `landtide.core.study.Pretrain`."""

    method: Literal["contrastive", "masked", "both"] = "both"
    epochs: int = 20
    batch: int = 512


@dataclass(frozen=True)
class TrainSpec:
    """Model, samples and settings of one training."""

    model: str
    samples: tuple[str, ...]
    """URIs of sample sets; they are joined."""

    legend: Legend
    bands: tuple[str, ...]
    """Channels that the samples must have, in this order."""

    steps: int
    """Time steps a year that the samples must have."""

    seed: int
    output: str
    """Folder for model.json, weights and, written last, training.json: a path or URI."""

    settings: dict[str, Any] = field(default_factory=dict)
    """The study's settings of the model: fields of its config, and for networks of `Optimisation`."""

    cubes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Tile -> year -> URI of the cube: a model that reads images takes from them what lies around the samples."""

    trust: float = 0.0
    """Samples below this trust are not used."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 1
    memory: int = 4 * 2**30
    """Bytes that a process may use: samples that take more than a part of it are read piece by piece."""

    checkpoint: str | None = None
    """File (path or URI) of the last pass's state, from which a cut-off training goes on; None = one in the output."""

    search: Search | None = None
    """None = one training; otherwise trials of a search, and no model is left."""

    continual: Continual | None = None
    pretrain: Pretrain | None = None
    """None = learn from labels."""

    start: str | None = None
    """Folder of a pre-training whose weights to start from."""

    def __post_init__(self) -> None:
        split_settings(self.model, self.settings)

    def to_json(self) -> str:
        record = {**dataclasses.asdict(self), "legend": self.legend.to_dict()}
        return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "TrainSpec":
        """Read a spec. Raises InputError where a key is missing or unknown."""
        record = json.loads(text)
        known = [item.name for item in dataclasses.fields(cls)]
        required = [item.name for item in dataclasses.fields(cls) if item.default is item.default_factory is dataclasses.MISSING]
        wrong = [key for key in record if key not in known] + [key for key in required if key not in record]
        if wrong:
            raise InputError(f"training spec: key {', '.join(wrong)} is unknown or missing (keys: {', '.join(known)})")
        lists: dict[str, Any] = {"samples": tuple(record["samples"]), "bands": tuple(record["bands"])}
        search = Search(**record["search"]) if record.get("search") else None
        continual = record.get("continual")
        lists["continual"] = Continual(**{**continual, "samples": tuple(continual["samples"])}) if continual else None
        lists["pretrain"] = Pretrain(**record["pretrain"]) if record.get("pretrain") else None
        return cls(**{**record, **lists, "search": search, "legend": Legend.from_dict(record["legend"])})


def split_settings(model: str, settings: dict[str, Any]) -> tuple[Any, Optimisation]:
    """Return the model's config and the loop's settings from one table.

    Raises InputError for an unknown setting, naming the nearest of both, and for a value of the wrong type or range.
    """
    loop_fields = {item.name: item for item in dataclasses.fields(Optimisation)} if model in (*models.NETWORKS, "ensemble") else {}
    own = {key: value for key, value in settings.items() if key not in loop_fields}
    known = [item.name for item in dataclasses.fields(models.config(model, {}))] + list(loop_fields)
    for key, value in settings.items():
        if key not in known:
            raise InputError(models.unknown_setting(model, key, known))
        if key in loop_fields:
            models.check_type(model, key, value, loop_fields[key].type)
    if model == "ensemble":
        for name, settings_of_member in models.config(model, own).parts:
            split_settings(name, settings_of_member)  # what is wrong is told before the first member is trained
    if settings.get("parallel") == "pipeline" and model not in models.LAYERED:
        raise InputError(f"model.parallel: pipeline divides {', '.join(models.LAYERED)} alone, not {model}: write data or sharded")
    return models.config(model, own), Optimisation(
        **{**models.optimisation(model), **{key: value for key, value in settings.items() if key in loop_fields}}
    )
