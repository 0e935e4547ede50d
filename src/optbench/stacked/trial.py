"""Whether a stack computes what the loop does, seen on some of its rows before it is believed.

The rows with the smallest and the largest learning rate make a few updates in a stack, and the loop's objects
(problem, optimizer, scheduler) make the same ones. What is compared is the loss and the gradient norm of each update,
which all that came before has gone into. float32 sums in another order part by 1e-6; a network that each update throws
far enlarges that, so more is allowed for each later one, and what is not finite ends the comparison. A unit of ReLU
whose input is 0 up to rounding has another slope in the one than in the other, and Adam makes of that another update
(mlp on digits, seed 0). So what counts is whether most of the rows agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from optbench.descend.uncompiled import uncompiled
from optbench.loop.drive import driver
from optbench.loop.readings import gradient_norm
from optbench.stacked.assembled import Rows

if TYPE_CHECKING:
    from torch import Tensor

    from optbench.problem import NetworkProblem

_UPDATES, _ROWS = 3, 5
_CLOSE, _GROWS = 1e-5, 10.0
"""Relative, before the first update; and how many times as much after each."""
_KINK = 3e-3
"""As much of a gradient's norm: where a unit's input is 0 up to rounding, ReLU has one slope here, another there."""
_SMALL = 1e-3
"""What is smaller is compared as if it were this large."""

Alone = Callable[[int], tuple["NetworkProblem", Any, Any]]


def disagreement(rows: Rows, alone: Alone) -> str | None:
    """Why a stack is not believed, in a sentence; None where it agrees.

    Args:
        rows: the stack.
        alone: gives problem, optimizer and scheduler of a row as the loop has them before the first update.
    """
    updates, chosen = min(_UPDATES, rows.networks.steps - 1), _chosen(rows)
    together, apart = rows.stack(chosen).measure(updates), []
    for mine, i in zip(together, chosen, strict=True):
        with uncompiled():
            theirs = list(_measured(*alone(i), updates, rows.networks.trainer.clip_norm))
        apart += [words] if (words := _parting(mine, theirs)) is not None else []
    return apart[0] if 2 * len(apart) > len(chosen) else None


def _chosen(rows: Rows) -> list[int]:
    """The rows with the smallest and the largest learning rate, and some of other seeds where there are any."""
    lr, seeds = np.broadcast_to(rows.plan.hyper["lr"], rows.count), rows.seeds
    found = list(dict.fromkeys((int(np.argmin(lr)), int(np.argmax(lr)))))
    for i in np.argsort(lr, kind="stable").tolist():
        if len(found) < _ROWS and seeds[i] not in {seeds[j] for j in found}:
            found.append(i)
    return found


def _parting(mine: Sequence[tuple[float, float]], theirs: Sequence[tuple[float, float]]) -> str | None:
    """Where two courses of loss and gradient norm part, in a sentence."""
    for k, pairs in enumerate(zip(mine, theirs, strict=True)):
        for name, a, b in zip(("loss", "gradient norm"), *pairs, strict=True):
            if not (np.isfinite(a) and np.isfinite(b)):
                return None
            close = _CLOSE * _GROWS**k if name == "loss" else max(_KINK, _CLOSE * _GROWS**k)
            if not abs(a - b) <= close * max(abs(a), abs(b), _SMALL):
                return f"the {name} after {k} update{'s' * (k != 1)} is {a:.7g} in a stack, {b:.7g} alone"
    return None


def _measured(
    problem: NetworkProblem, optimizer: Any, scheduler: Any, updates: int, clip_norm: float | None
) -> Iterator[tuple[float, float]]:
    """Loss and gradient norm before each of so many updates, and after the last, by the loop's objects."""
    problem.module.train()
    update, parameters = driver(optimizer), list(problem.module.parameters())
    for step in range(updates + 1):
        batch, seen = problem.batch(step), (0.0, 0.0)

        def closure(batch: Any = batch) -> Tensor:
            nonlocal seen
            optimizer.zero_grad()
            loss = problem.differentiate(batch)
            norm = gradient_norm([p.grad for p in parameters if p.grad is not None])
            seen = float(loss.detach()), float(norm)
            if clip_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
            return loss

        update(closure)
        yield seen
        scheduler.step()
