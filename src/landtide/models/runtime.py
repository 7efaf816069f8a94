"""Networks compiled by OpenVINO: the labels of PyTorch, in a part of its time; where OpenVINO is not installed, PyTorch runs them."""

import copy
import importlib.util
import logging
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from landtide.core.errors import InputError

log = logging.getLogger(__name__)

Forward = Callable[[list[np.ndarray]], list[np.ndarray]]
"""Arrays of one block in, arrays out; all blocks have the shapes of the first."""


@runtime_checkable
class Narrow(Protocol):
    """A network that has a form in 8-bit products."""

    def eight_bit(self) -> nn.Module: ...


def chosen(runtime: str) -> Literal["torch", "openvino"]:
    """Settle ``auto``: OpenVINO where it is installed. Raises InputError where OpenVINO is asked for and missing."""
    installed = importlib.util.find_spec("openvino") is not None
    if runtime == "openvino" and not installed:
        raise InputError("classify.runtime: openvino is not installed: pip install 'landtide[fast]', or say auto or torch")
    return "openvino" if installed and runtime != "torch" else "torch"


def eager(module: nn.Module) -> Forward:
    """Return a module's forward pass as PyTorch runs it."""

    def forward(inputs: list[np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            found = module(*(torch.from_numpy(part) for part in inputs))
        return [part.numpy() for part in (found if isinstance(found, tuple) else (found,))]

    return forward


def compiled(module: nn.Module, threads: int, *, exact: bool) -> Forward:
    """Return a module's forward pass compiled by OpenVINO, in bfloat16 where the processor computes in it and ``exact`` does not forbid it;
    a network that can (`eight_bit`) then has its products in 8-bit integers.

    It is compiled at the first block, for the shapes of that block.
    """
    requests: list[Any] = []

    def forward(inputs: list[np.ndarray]) -> list[np.ndarray]:
        if not requests:
            requests.append(_compile(module, inputs, threads, exact))
        found = requests[0].infer(inputs, share_inputs=True)
        return [np.array(found[number]) for number in range(len(found))]

    return forward


def _compile(module: nn.Module, inputs: list[np.ndarray], threads: int, exact: bool) -> Any:
    import openvino

    core = _core()
    capable = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")  # such processors multiply 8-bit integers, too
    precision = "bf16" if capable and not exact else "f32"
    module = unrolled(module) if precision == "f32" else narrowed(unrolled(module))
    tensors = tuple(torch.from_numpy(part) for part in inputs)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", TracerWarning)  # that shapes are fixed by the trace is meant
        converted = openvino.convert_model(module, example_input=tensors, input=[list(tensor.shape) for tensor in tensors])
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # workers share the cores with others
    }
    log.info("network compiled by OpenVINO in %s", precision)
    return core.compile_model(converted, "CPU", settings).create_infer_request()


@lru_cache(maxsize=1)
def _core() -> Any:
    import openvino

    return openvino.Core()


class Shares(nn.Module):
    """A network with its softmax, so that both are compiled together."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, mask: Tensor, doy: Tensor) -> Tensor:
        return torch.softmax(self.network(x, mask, doy), dim=1)


class Year(nn.Module):
    """One year of a network that carries a state, with its softmax."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, mask: Tensor, doy: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        logits, after = self.network.year(x, mask, doy, state)
        return torch.softmax(logits, dim=1), after


def unrolled(module: nn.Module) -> nn.Module:
    """Return a copy whose LSTMs are written out step by step.

    OpenVINO runs torch's LSTM as a loop of float32 operations, two thirds of the network's time; written out, its products are compiled.
    """
    copied = copy.deepcopy(module)
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.LSTM):
                setattr(parent, name, UnrolledLstm(child))
    return copied


def narrowed(module: nn.Module) -> nn.Module:
    """Replace, in place, each network by its form in 8-bit products, where it has one."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Narrow):
                setattr(parent, name, child.eight_bit())
    return module


class UnrolledLstm(nn.Module):
    """A bidirectional, batch-first ``nn.LSTM`` as products and sums; its weights are the other's."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        assert lstm.bidirectional
        assert lstm.batch_first
        self.lstm = lstm
        self.num_layers, self.hidden_size = lstm.num_layers, lstm.hidden_size

    def forward(self, x: Tensor, begin: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return states (B, T, 2H) and, of each layer and direction, hidden and cell state at its end (2L, B, H)."""
        hidden, cell = begin
        ends: list[tuple[Tensor, Tensor]] = []
        for layer in range(self.num_layers):
            both = []
            for direction, suffix in enumerate(("", "_reverse")):
                number = 2 * layer + direction
                states, *end = self._run(x, hidden[number], cell[number], f"_l{layer}{suffix}", reverse=bool(direction))
                both.append(states)
                ends.append((end[0], end[1]))
            x = torch.cat(both, dim=2)
        return x, (torch.stack([end[0] for end in ends]), torch.stack([end[1] for end in ends]))

    def _run(self, x: Tensor, hidden: Tensor, cell: Tensor, key: str, *, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
        weight, bias = getattr(self.lstm, f"weight_hh{key}"), getattr(self.lstm, f"bias_ih{key}") + getattr(self.lstm, f"bias_hh{key}")
        given = nn.functional.linear(x, getattr(self.lstm, f"weight_ih{key}"), bias)  # (B, T, D) -> (B, T, 4H), all steps in one product
        steps = range(x.shape[1])
        states: list[Tensor] = []
        for step in reversed(steps) if reverse else steps:
            enter, forget, new, leave = (given[:, step] + nn.functional.linear(hidden, weight)).chunk(4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
            hidden = torch.sigmoid(leave) * torch.tanh(cell)
            states.append(hidden)
        return torch.stack(states[::-1] if reverse else states, dim=1), hidden, cell
