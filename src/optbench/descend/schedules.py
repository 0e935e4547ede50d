"""Schedules as tables: the learning rate of update t as floor + (lr - floor) * factor(t), one factor table a setting.

Every schedule but reduce-on-plateau is a function of t, so it is evaluated once before the batch runs. torch's have
their closed forms here (torch itself computes most of them by recursion; they agree to rounding). For any other, the
module of its `_target_` is asked for a function `<name>_factor(t, **keywords)` of a tensor t; failing that the schedule
itself is stepped through the run on an optimizer that does nothing, and must be proportional to the learning rate.
"""

from __future__ import annotations

import bisect
import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from optbench.descend.rules import UnsupportedError, find

Table = NDArray[np.float64]


def _constant(t: Table, factor: float = 1.0 / 3.0, total_iters: int = 5) -> Table:
    return np.where(t < total_iters, factor, 1.0)


def _linear(t: Table, start_factor: float = 1.0 / 3.0, end_factor: float = 1.0, total_iters: int = 5) -> Table:
    return start_factor + (end_factor - start_factor) * np.minimum(t, total_iters) / total_iters


def _step(t: Table, step_size: int, gamma: float = 0.1) -> Table:
    return np.asarray(gamma ** (t // step_size))


def _multistep(t: Table, milestones: list[int], gamma: float = 0.1) -> Table:
    marks = sorted(milestones)
    return np.array([gamma ** bisect.bisect_right(marks, k) for k in t])


def _exponential(t: Table, gamma: float) -> Table:
    return np.asarray(gamma**t)


def _polynomial(t: Table, total_iters: int = 5, power: float = 1.0) -> Table:
    return np.asarray((1.0 - np.minimum(t, total_iters) / total_iters) ** power)


def _half_cosine(progress: Table) -> Table:
    return np.asarray((1.0 + np.cos(math.pi * progress)) / 2.0)


def _cosine(t: Table, T_max: float, eta_min: float = 0.0) -> Table:
    return _half_cosine(t / T_max)


def _cosine_restarts(t: Table, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> Table:
    progress, begin, length = np.empty_like(t), 0, T_0
    while begin < len(t):
        cycle = slice(begin, begin + length)
        progress[cycle] = (t[cycle] - begin) / length
        begin, length = begin + length, length * T_mult
    return _half_cosine(progress)


_TORCH: dict[str, Callable[..., Table]] = {
    "ConstantLR": _constant,
    "LinearLR": _linear,
    "StepLR": _step,
    "MultiStepLR": _multistep,
    "ExponentialLR": _exponential,
    "PolynomialLR": _polynomial,
    "CosineAnnealingLR": _cosine,
    "CosineAnnealingWarmRestarts": _cosine_restarts,
}


def factors(target: str, keywords: Mapping[str, Any], points: int) -> Table:
    """factor(t) for t = 0 ... points - 1, float64, of one setting. Raises UnsupportedError."""
    t = np.arange(points, dtype=np.float64)
    try:
        module, _, name = target.rpartition(".")
        if module == "torch.optim.lr_scheduler" and name in _TORCH:
            return _TORCH[name](t, **{k: v for k, v in keywords.items() if k != "last_epoch"})
        find(target)
        pure = getattr(importlib.import_module(module), f"{name}_factor", None)
        if pure is not None:
            return np.asarray(pure(torch.from_numpy(t), **keywords), dtype=np.float64)
        return _stepped(target, keywords, points)
    except (TypeError, ValueError) as error:
        raise UnsupportedError(f"{target}: {error}") from error


def floor_key(target: str) -> str | None:
    """The keyword that is the schedule's lowest learning rate, where it has one."""
    return "eta_min" if target.startswith("torch.optim.lr_scheduler.CosineAnnealing") else None


class _Still(torch.optim.Optimizer):
    """Changes nothing: it only carries learning rates."""

    def __init__(self, rates: list[float]) -> None:
        groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates]
        super().__init__(groups, {"momentum": 0.0, "betas": (0.9, 0.999)})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        return


def _stepped(target: str, keywords: Mapping[str, Any], points: int) -> Table:
    optimizer = _Still([1.0, 0.5])
    scheduler = find(target)(optimizer, **keywords)
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise UnsupportedError("a schedule that follows the loss")
    seen = np.empty((points, 2))
    for k in range(points):
        seen[k] = [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        scheduler.step()
    if not np.array_equal(seen[:, 0], 2.0 * seen[:, 1]):
        raise UnsupportedError(f"{target} is not proportional to the learning rate")
    return seen[:, 0]
