"""The numbers that a network is trained in: what of it is computed in 16 bits, and whether that is worth while here.

Weights, optimizer, loss and evaluations are float32 always. With bf16 and fp16 the forward pass, and with it the
backward pass, runs under torch.autocast, which says operator by operator what may be done in 16 bits. fp16 has few
exponents: its loss is multiplied by a scale before the backward pass and the gradients are divided by it afterwards, by
torch's GradScaler, which finds the scale as it goes; a gradient that overflowed is not finite, and no update is made.

Micikevicius et al., Mixed precision training (2018).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from optbench.errors import IncompatibleError
from optbench.problem.trees import Tree, called, leaves, part_of, rows

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions of 16 bits, and what torch calls them."""

_FEW = 8  # examples
_ROUNDS, _QUICK, _LONGEST = 5, 0.5, 3.0  # pairs of passes at least, and for how many seconds they are made
_TRIES = 3
"""Probes that must all find it slow: where other work shares the cores, one by itself may be wrong by any factor."""
_TOO_SLOW = 1.25
"""Times as long as in fp32: of a small network on two shared cores bf16 was measured from 0.5 to 1.2, by turns."""


def forward(precision: str, model: Callable[..., Tensor], inputs: Tree) -> Tensor:
    """The model's outputs in this precision; whatever it is, as float32 where they would be of 16 bits."""
    if precision not in HALF:
        return called(model, inputs)
    with torch.autocast(leaves(inputs)[0].device.type, HALF[precision]):
        outputs = called(model, inputs)
    return outputs.float()


class Scaler:
    """The scale of the loss in fp16, as an update uses it: `scaled` before the backward pass, `unscale` after it.

    Args:
        module: whose gradients are scaled.
        device: where it is.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type)
        # GradScaler finds the gradients through an optimizer; the run's own need not have all parameters
        self._holder = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.0)

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss times the scale."""
        found: Tensor = self._scaler.scale(loss)
        return found

    def unscale(self) -> None:
        """Divides the gradients by the scale and judges it: halved after an overflow, doubled after 2000 without."""
        self._scaler.unscale_(self._holder)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state_dict()."""
        self._scaler.load_state_dict(state)


def check_precision(precision: str, model: nn.Module, inputs: Tree, device: torch.device) -> None:
    """Checks that a precision can be had on a device, and on a CPU that it is not slower than fp32.

    Args:
        precision: fp32, tf32, bf16 or fp16.
        model: of the run; a copy of it is tried.
        inputs: on the device, a mini-batch as the model takes it.
        device: of the run.

    Raises:
        IncompatibleError: saying how much slower it was.
    """
    if device.type != "cuda" and precision == "tf32":
        raise IncompatibleError(f"trainer.precision=tf32 is of NVIDIA GPUs; this run is on {device.type}",
                                "use trainer.precision=fp32")  # fmt: skip
    if device.type != "cpu" or precision not in HALF:
        return
    factor = math.inf
    for _ in range(_TRIES):
        factor = min(factor, slowdown(precision, model, inputs))
        if factor <= _TOO_SLOW:
            return
    raise IncompatibleError(
        f"trainer.precision={precision} makes an update take {factor:.1f} times as long as fp32 on this CPU",
        f"use trainer.precision=fp32; measured with {torch.get_num_threads()} threads",
    )


def slowdown(precision: str, model: nn.Module, inputs: Tree) -> float:
    """Times as long as in fp32 that a forward and backward pass takes: the quickest of each, made in turn.

    Other work on the machine only ever makes a pass longer. Of a network that is slow, a few examples are tried.
    """
    model, few = copy.deepcopy(model).train(), part_of(inputs, slice(0, _FEW))
    names = ("fp32", precision)
    with torch.random.fork_rng(devices=[]):
        for name in names:
            _seconds(name, model, few)  # the first one pays for what is set up lazily
        if _seconds("fp32", model, few) * rows(inputs) < _QUICK * rows(few):
            few = inputs
            for name in names:
                _seconds(name, model, few)
        times: list[list[float]] = []
        began = time.perf_counter()
        while (spent := time.perf_counter() - began) < _LONGEST or not times:
            if len(times) >= _ROUNDS and spent > _QUICK:
                break
            times.append([_seconds(name, model, few) for name in names])
    return min(pair[1] for pair in times) / min(pair[0] for pair in times)


def _seconds(precision: str, model: nn.Module, inputs: Tree) -> float:
    """Of one forward and backward pass."""
    model.zero_grad()
    began = time.perf_counter()
    outputs = forward(precision, model, inputs)
    outputs.square().mean().backward()
    return time.perf_counter() - began
