"""Search for the settings of a model: trials that share a storage, most of them stopped early."""

import logging
from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from landtide import models
from landtide.core.errors import InputError, LandtideError
from landtide.train.journal import ObjectJournal
from landtide.train.spec import Search, TrainSpec, split_settings

log = logging.getLogger(__name__)

STUDY = "landtide"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

COMMON: dict[str, Any] = {
    "learning_rate": {"low": 3e-4, "high": 1e-2, "log": True},
    "weight_decay": {"low": 1e-4, "high": 1e-1, "log": True},
    "batch": [128, 256, 512],
    "noise": {"low": 0.02, "high": 0.2, "log": True},
    "drop": {"low": 0.0, "high": 0.3},
    "dropout": {"low": 0.0, "high": 0.5},
}
"""Searched for every network."""

SPACES: dict[str, dict[str, Any]] = {
    "lstm": {"hidden": [32, 64, 96, 128], "convolution": [0, 32, 64, 96]},
    "tempcnn": {"filters": [32, 64, 128], "kernel": [3, 5, 7], "layers": [2, 3, 4]},
    "ltae": {"width": [64, 128, 256], "heads": [8, 16], "dense": [64, 128, 256]},
    "transformer": {"width": [32, 64, 128], "layers": [1, 2, 3, 4], "dense": [64, 128, 256]},
}
"""Searched besides, by model."""


def space_of(model: str, own: dict[str, Any] | None) -> dict[str, Any]:
    """Return the space of a search. Raises InputError for what is no network, or no setting of it."""
    if model not in models.NETWORKS:
        raise InputError(
            f"tune: model {model!r} has nothing to search ({', '.join(models.NETWORKS)} have): the SVM tunes itself as it trains"
        )
    space = own or {**COMMON, **SPACES.get(model, {})}
    for key, values in space.items():
        for value in values if isinstance(values, list) else [values["low"], values["high"]]:
            split_settings(model, {key: value})
    return space


def work(spec: TrainSpec) -> None:
    """Do trials of a search until all are done. What this process left unfinished before is given up first."""
    search = _search(spec)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(search, seed=spec.seed)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get("worker") == search.worker:
            study.tell(trial.number, state=TrialState.FAIL)
    begun = len(study.trials)
    objective = _objective(spec)
    while not _done(study, search) and (search.quota is None or len(_own(study, search, begun)) < search.quota):
        study.optimize(objective, n_trials=1, catch=(LandtideError,))
        last = _own(study, search, begun)[-1]
        log.info("trial %d %s: %s", last.number, last.state.name.lower(), _told(last))


def open_study(search: Search, *, seed: int = 0) -> optuna.Study:
    """Return the shared study, made where it is not there yet.

    The sampler of each worker has a seed of its own: equal ones would try the same settings at the same time.
    """
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    own = seed + sum(map(ord, search.worker))
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=own)
    if search.method != "random":
        sampler = optuna.samplers.TPESampler(seed=own, constant_liar=True)
    if search.method == "asha":
        pruner = optuna.pruners.SuccessiveHalvingPruner(search.first, search.reduction)
    if search.method == "hyperband":
        pruner = optuna.pruners.HyperbandPruner(search.first, reduction_factor=search.reduction)
    options: dict[str, Any] = {"direction": "maximize", "load_if_exists": True, "sampler": sampler, "pruner": pruner}
    return optuna.create_study(storage=_storage(search.storage), study_name=STUDY, **options)


def report(search: Search) -> dict[str, Any]:
    """Return what a search has found: trials with their curves, the best settings, and how many were stopped where."""
    trials = open_study(search).get_trials(deepcopy=False)
    judged = [trial for trial in trials if trial.intermediate_values and trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if not judged:
        raise LandtideError(f"tune: none of {len(trials)} trials came to a result; the log says why")
    best = max((trial for trial in judged), key=lambda trial: (trial.state == TrialState.COMPLETE, max(trial.intermediate_values.values())))
    stopped: dict[str, int] = {}
    for trial in judged:
        if trial.state == TrialState.PRUNED:
            stopped[str(len(trial.intermediate_values))] = stopped.get(str(len(trial.intermediate_values)), 0) + 1
    return {
        "method": search.method,
        "best": _record(best),
        "trials": [_record(trial) for trial in trials],
        "epochs": sum(len(trial.intermediate_values) for trial in trials),
        "stopped_after": dict(sorted(stopped.items(), key=lambda item: int(item[0]))),
    }


def _objective(spec: TrainSpec) -> Callable[[Trial], float]:
    """Return the training that a trial stands for: its value is the best mean recall on polygons set apart."""
    search = _search(spec)
    from landtide.train import networks  # torch takes seconds to import: whoever only reports needs none of it

    def objective(trial: Trial) -> float:
        trial.set_user_attr("worker", search.worker)
        settings = {**spec.settings, **{key: _suggest(trial, key, values) for key, values in search.space.items()}}
        best = 0.0

        def watch(epoch: int, recall: float | None) -> None:
            nonlocal best
            if recall is None:
                raise InputError("tune: no polygon can be spared for validation: give samples of more polygons")
            best = max(best, recall)
            trial.report(best, epoch + 1)
            if trial.should_prune():
                raise optuna.TrialPruned

        networks.try_settings(spec, settings, watch)
        return best

    return objective


def _suggest(trial: Trial, key: str, values: Any) -> Any:
    if isinstance(values, list):
        return trial.suggest_categorical(key, values)
    if isinstance(values["low"], int) and isinstance(values["high"], int):
        return trial.suggest_int(key, values["low"], values["high"], log=values.get("log", False))
    return trial.suggest_float(key, values["low"], values["high"], log=values.get("log", False))


def _done(study: optuna.Study, search: Search) -> bool:
    """Say whether no further trial should begin; trials of other workers that still run count."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL]
    failed = len(study.trials) - len(trials)
    spent = sum(len(trial.intermediate_values) for trial in trials)
    return len(trials) >= search.trials or failed >= search.trials or (search.budget is not None and spent >= search.budget)


def _own(study: optuna.Study, search: Search, begun: int) -> list[FrozenTrial]:
    return [trial for trial in study.trials[begun:] if trial.user_attrs.get("worker") == search.worker]


def _search(spec: TrainSpec) -> Search:
    assert spec.search is not None
    return spec.search


def _storage(place: str) -> Any:
    """Return the storage of a database URL, or a journal in a folder or an object store."""
    scheme = place.partition("://")[0]
    if "://" in place and scheme not in ("file", "s3"):
        return optuna.storages.RDBStorage(place, heartbeat_interval=60)
    return optuna.storages.JournalStorage(ObjectJournal(place))


def _record(trial: FrozenTrial) -> dict[str, Any]:
    steps = sorted(trial.intermediate_values)
    seconds = trial.duration.total_seconds() if trial.duration else None
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": max(trial.intermediate_values.values(), default=None),
        "settings": trial.params,
        "curve": [trial.intermediate_values[step] for step in steps],
        "seconds": seconds,
    }


def _told(trial: FrozenTrial) -> str:
    settings = ", ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in trial.params.items())
    return (
        f"mean recall {max(trial.intermediate_values.values(), default=0):.4f} after {len(trial.intermediate_values)} passes ({settings})"
    )
