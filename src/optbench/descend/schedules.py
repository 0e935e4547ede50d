"""Schedules as tables: the learning rate of update t as floor + (lr - floor) * factor(t), a line of factors a setting.

No formula of a schedule stands here: formulas differ from the scheduler's own steps at some edge. Every schedule but
one that follows the loss is a function of t, so the scheduler itself is stepped through the planned run before the
batch, on an optimizer that does nothing: once a distinct setting, beside the learning rates of the rows that have it.
What is not of the form above, or touches more than the learning rate, is left to the loop.

Measured: a step of a torch scheduler takes 3 to 5 microseconds, one of this package's 40 (they evaluate tensors). So
where many settings of those differ, only some are stepped, and the module of the `_target_` is asked for the function
`<name>_factor(t, **keywords)` that its schedulers evaluate themselves, here for all t at once.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.lr_scheduler import LRScheduler

from optbench.descend.rule import UnsupportedError, find, floor_key
from optbench.descend.uncompiled import uncompiled

Table = NDArray[np.float64]
Settings = Sequence[Mapping[str, Any]]
Rates = Sequence[Sequence[float]]

_OURS = ("optbench.",)
_KNOWN = ("torch.optim.", *_OURS)
_STEPPED = 40_000
"""Steps of this package's schedulers from which only some of the settings are stepped: 2 seconds."""
_OTHERS = {"momentum": 0.0, "betas": (0.9, 0.999), "weight_decay": 0.0}
"""What an optimizer has beside its learning rate, and a schedule may set."""


def factor_table(target: str, settings: Settings, rates: Rates, points: int) -> Table:
    """factor(t) for t = 0 ... points - 1 of each setting, (settings, points).

    Args:
        target: what makes the scheduler.
        settings: its keywords, once each.
        rates: learning rates that rows have under each setting: the table is held to the schedule of each.
        points: one more than the updates of the run.

    Raises:
        UnsupportedError: the schedule cannot be made, or is none of this form.
    """
    pure = _factor_of(target)
    if pure is None or len(settings) * points <= _STEPPED:
        return np.stack([_factors(target, k, r, points) for k, r in zip(settings, rates, strict=True)])
    t = torch.arange(points, dtype=torch.float64)
    found = np.stack([np.asarray(pure(t, **k), dtype=np.float64) for k in settings])
    chosen = np.unique(np.linspace(0, len(settings) - 1, max(2, _STEPPED // (4 * points))).astype(int))
    for i in map(int, chosen):
        if not np.allclose(found[i], _factors(target, settings[i], rates[i], points), rtol=1e-9, atol=1e-14):
            raise UnsupportedError(f"{target} is not what its {pure.__name__} says")
    return found


def _factor_of(target: str) -> Any:
    """The function that a scheduler of this package evaluates; None for others, whose word alone is not enough."""
    module, _, name = target.rpartition(".")
    find(target)
    return getattr(importlib.import_module(module), f"{name}_factor", None) if target.startswith(_OURS) else None


def _factors(target: str, keywords: Mapping[str, Any], rates: Sequence[float], points: int) -> Table:
    """The factors of one setting, held to what the scheduler makes of each of the rates."""
    key = floor_key(target)
    floor = float(keywords.get(key, 0.0)) if key else 0.0
    beside = [] if floor else [*rates]
    seen = stepped(target, {**keywords, key: 0.0} if key and floor else keywords, [1.0, *beside], points)
    factor = seen[:, 0]
    of_rates = stepped(target, keywords, rates, points) if floor and rates else seen[:, 1:]
    given = np.asarray(rates, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        wanted = floor + (given - floor) * factor[:, None]
        apart = np.abs(wanted - of_rates) > 1e-12 * np.maximum(np.abs(given), abs(floor))
    apart &= ~np.isclose(wanted, of_rates, rtol=1e-9, atol=0.0, equal_nan=True)
    if apart.any():
        t, i = (int(v) for v in np.argwhere(apart)[0])
        words = f"{of_rates[t, i]:g} at update {t} for lr={given[i]:g}, {factor[t]:g} for lr=1"
        raise UnsupportedError(f"{target} is not proportional to the learning rate ({words})")
    return factor


class _Still(torch.optim.Optimizer):
    """Changes nothing: it only carries learning rates."""

    def __init__(self, rates: Sequence[float]) -> None:
        groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates]
        super().__init__(groups, dict(_OTHERS))

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        return

    def touched(self) -> str | None:
        """A setting beside the learning rate that is not what it was."""
        group = self.param_groups[0]
        for key, value in _OTHERS.items():
            if group[key] != value:
                return key
        return None


def stepped(target: str, keywords: Mapping[str, Any], rates: Sequence[float], points: int) -> Table:
    """What the scheduler itself makes of each learning rate, (points, rates).

    Raises:
        UnsupportedError: it cannot be made or stepped, follows the loss, touches more than the learning rate, or is not
            the same twice.
    """
    try:
        with uncompiled(), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = _stepped(target, keywords, rates, points)
            if not target.startswith(_KNOWN) and not np.array_equal(
                found, _stepped(target, keywords, rates, points), equal_nan=True
            ):
                raise UnsupportedError(f"{target} is not the same twice")
    except UnsupportedError:
        raise
    except Exception as error:  # a schedule is anyone's code
        raise UnsupportedError(f"{target}: {type(error).__name__}: {error}") from error
    return found


def _stepped(target: str, keywords: Mapping[str, Any], rates: Sequence[float], points: int) -> Table:
    optimizer = _Still(rates)
    scheduler = find(target)(optimizer, **keywords)
    if "metrics" in inspect.signature(scheduler.step).parameters:
        raise UnsupportedError("a schedule that follows the loss")
    # torch's look at the optimizer's step once, to warn; anyone else's may look at it always
    once = isinstance(scheduler, LRScheduler) and type(scheduler).__module__ == LRScheduler.__module__
    seen = np.empty((points, len(rates)))
    groups = optimizer.param_groups
    for k in range(points):
        seen[k] = [group["lr"] for group in groups]
        if (touched := optimizer.touched()) is not None:
            raise UnsupportedError(f"{target} changes the optimizer's {touched}")
        if k + 1 < points:  # as often as the loop does: some refuse to go on past their end
            if not (once and k):
                optimizer.step()
            scheduler.step()
    if len(optimizer.param_groups) != len(rates) or optimizer.param_groups[0] is not groups[0]:
        raise UnsupportedError(f"{target} changes the optimizer's groups")
    return seen
