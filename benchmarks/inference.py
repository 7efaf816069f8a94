"""How fast trained models classify, beside their peers: networks on OpenVINO against plain PyTorch, SVM and forest against libraries.

Usage: python benchmarks/inference.py [--quick] [--seeds N] [--models NAME ...] [--json PATH]

One thread; ours and the peers take turns, and medians of CPU seconds are compared, which other work on the machine disturbs less than wall
seconds. Ours is the whole way from series with gaps to probabilities; the peers get what their library takes, prepared beforehand.
Networks: the peer is the same trained network called in float32 on 4096 pixels at a time. Trained on a simulated world of 12 months and 10
bands; labels are compared on pixels of other blocks. --seeds is the number of rounds.
"""

import argparse
import copy
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from multiyear import DOY, Scene, draw_scene, fit, samples_of
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.svm import SVC
from sklearnex import svm as one_dal  # before OpenVINO, whose older threading library it cannot use
from threadpoolctl import threadpool_limits
from torch import nn

from landtide import models
from landtide.models import forest, svm
from landtide.models.card import standardise
from landtide.models.network import Network, split_mask
from landtide.models.series import fill_gaps

SEED = 31
CALL = 4096
"""Pixels a call of the plain network."""

PIXELS = 16_384
SVM_PIXELS = 2048
SIZE = 128
MACHINE_PLACES = 1500
"""Training places of the SVM, four years each."""

Work = Callable[[], np.ndarray]


def main() -> None:
    """Measure and print every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few pixels, little training, three rounds")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--models", nargs="+", choices=models.NAMES, default=list(models.NAMES))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rounds = min(arguments.seeds, 3) if arguments.quick else arguments.seeds
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with threadpool_limits(1):
        scene = draw_scene(SEED, SIZE)
        for name in arguments.models:
            cases = network(scene, name, arguments.quick) if name in models.NETWORKS else CASES[name](scene, arguments.quick)
            rows += list(compare(name, cases, rounds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows.append(
        {"name": "peak memory", "value": peak, "unit": "GiB", "peer": None, "peer_value": None, "ratio": None, "protocol": "", "seeds": 1}
    )
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows}, indent=2), "utf-8")


def compare(name: str, cases: dict[str, tuple[int, Work]], rounds: int) -> Iterator[dict[str, Any]]:
    """Let all cases take turns; yield a row a peer, ours being the first case. A case is the number of pixels and what classifies them."""
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    labels = {case: work() for case, (_, work) in cases.items()}  # compiles, too
    for _ in range(rounds):
        for case, (_, work) in cases.items():
            start = time.process_time()
            work()
            seconds[case].append(time.process_time() - start)
    rate = {case: count / statistics.median(seconds[case]) / 1000 for case, (count, _) in cases.items()}
    own, *peers = cases
    for peer in peers:
        same = float((labels[own] == labels[peer]).mean())
        print(
            f"{name:12s} {own} {rate[own]:8.1f} kpx/s   {peer:28s} {rate[peer]:8.1f}   {rate[own] / rate[peer]:6.2f} x   same {same:.4f}",
            flush=True,
        )
        yield {"name": f"{name}, {own}", "value": rate[own], "unit": "kpx/s", "peer": peer, "peer_value": rate[peer]} | {
            "ratio": rate[own] / rate[peer],
            "same labels": same,
            "protocol": f"one thread, medians of CPU seconds, {rounds} rounds by turns, T=12, 10 bands",
            "seeds": 1,
        }


def network(scene: Scene, name: str, quick: bool) -> dict[str, tuple[int, Work]]:
    """Train a network with its default shape, and run it by OpenVINO, by PyTorch in our blocks, and plainly."""
    trained = fit(samples_of(scene, SEED), name, {"epochs": 3 if quick else 8, "batch": 128}, SEED)
    x = judged(scene, CALL if quick else PIXELS)
    doy, year = np.tile(DOY, (len(x), 1)), np.full(x.shape[:2], 2018, np.int16)
    values, mask = split_mask(standardise(x, trained.card.mean, trained.card.std))
    days, module = torch.from_numpy(doy), cast(Network, trained.scorer).module

    @torch.inference_mode()
    def plain(module: nn.Module) -> np.ndarray:
        parts = [module(values[at : at + CALL], mask[at : at + CALL], days[at : at + CALL]) for at in range(0, len(x), CALL)]
        return torch.softmax(torch.cat(parts), dim=1).argmax(dim=1).numpy() + 1

    fast = models.on_runtime(trained, "openvino", 1)
    multiplied = with_keys(module) if name == "ltae" else module
    published = {"PyTorch, as published": (len(x), lambda: plain(multiplied))} if name == "ltae" else {}
    return {
        "OpenVINO": (len(x), lambda: fast.predict_proba(x, doy, year)[:, 0].argmax(axis=1) + 1),
        "PyTorch, 4096 px a call": (len(x), lambda: plain(module)),
        "PyTorch, our blocks": (len(x), lambda: trained.predict_proba(x, doy, year)[:, 0].argmax(axis=1) + 1),
        **published,
    }


def with_keys(module: nn.Module) -> nn.Module:
    """Return an L-TAE that computes keys and multiplies them with the query, as published; ours folds the two products into one."""
    copied = copy.deepcopy(module)
    attend: Any = copied.attend

    def forward(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        keys = attend.key(states).view(*states.shape[:2], attend.heads, -1)  # (B, T, D) -> (B, T, h, k)
        score = (keys * attend.query).sum(dim=3).masked_fill(~mask.unsqueeze(-1), -1e4)  # (B, T, h)
        values = states.view(*states.shape[:2], attend.heads, -1)  # (B, T, h, D/h)
        return (torch.softmax(score, dim=1).unsqueeze(-1) * values).sum(dim=1).flatten(1)  # (B, D)

    attend.forward = forward
    return copied


def machine(scene: Scene, quick: bool) -> dict[str, tuple[int, Work]]:
    """Fit one RBF machine with many support vectors, and evaluate it by ours, libsvm and oneDAL."""
    learn, labels = features(scene, scene.training[: MACHINE_PLACES // 2 if quick else MACHINE_PLACES])
    settings: dict[str, Any] = {"C": 10.0, "gamma": 1.0 / learn.shape[1]}
    member = SVC(**settings).fit(learn, labels)
    accelerated = one_dal.SVC(**settings).fit(learn, labels)
    ensemble = svm.stack([member], [np.arange(len(learn))], learn, 10)
    asked = features(scene, scene.judged[: 512 if quick else SVM_PIXELS])[0]
    count = len(asked)
    print(f"svm: {len(ensemble.vectors)} support vectors, {len(member.classes_)} classes")
    return {
        "matrix products": (count, lambda: ensemble.labels_of(asked)[0]),
        "scikit-learn": (count, lambda: member.predict(asked)),
        "scikit-learn-intelex": (count, lambda: accelerated.predict(asked)),
    }


def trees(scene: Scene, quick: bool) -> dict[str, tuple[int, Work]]:
    """Fit a forest, and evaluate it by ours, scikit-learn and ONNX Runtime."""
    import onnxruntime
    from skl2onnx import to_onnx

    learn, labels = features(scene, scene.training)
    fitted = ExtraTreesClassifier(100, min_samples_leaf=5, random_state=0, n_jobs=1).fit(learn, labels)
    wrapped = forest.wrap(fitted, 10)
    asked = features(scene, scene.judged[: 1024 if quick else len(scene.judged)])[0]
    series = asked.reshape(len(asked), 12, -1)
    exported = to_onnx(fitted, learn[:1], options={"zipmap": False})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(exported.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    return {
        "flat trees": (len(asked), lambda: wrapped.probability(series, np.zeros(series.shape[:2], np.int16)).argmax(axis=1) + 1),
        "scikit-learn": (len(asked), lambda: fitted.classes_[fitted.predict_proba(asked).argmax(axis=1)]),
        "ONNX Runtime": (len(asked), lambda: fitted.classes_[session.run(None, {feed: asked})[1].argmax(axis=1)]),
    }


CASES = {"svm": machine, "forest": trees}


def features(scene: Scene, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised gap-filled features (n, T*C) of all years of places, and their labels."""
    x = scene.x[places].reshape(-1, *scene.x.shape[2:])
    known = ~np.isnan(x).all(axis=(1, 2))
    mean, std = np.nanmean(scene.x[scene.training], axis=(0, 1, 2)), np.nanstd(scene.x[scene.training], axis=(0, 1, 2))
    filled = fill_gaps(((x - mean) / std).astype(np.float32)[known])
    return filled.reshape(len(filled), -1), scene.truth[places].reshape(-1)[known]


def judged(scene: Scene, count: int) -> np.ndarray:
    """Return (n, T, C) series of places that no model was trained on."""
    x = scene.x[scene.judged].reshape(-1, *scene.x.shape[2:])
    return x[~np.isnan(x).all(axis=(1, 2))][:count]


if __name__ == "__main__":
    main()
