"""Schedules that begin with a rise: warm-up followed by a constant, a cosine or 1/sqrt(t), and the one-cycle policy.

Each is a pure factor of the learning rate at update t = 0, 1, 2 ..., elementwise on tensors, and a function that binds
it to an optimizer. The factor never exceeds 1, so the optimizer's `lr` is the largest learning rate of the run; it is
never negative and stays at its last value past the end. A linear warm-up gives update t the factor
(t + 1) / warmup_steps: the first update counts, and update warmup_steps - 1 is the first at full learning rate. A run
that is shorter than its warm-up ends inside it; so its length is said as a share of the run, warmup_steps=0.1, or, from
1 on, as a number of updates.

Why warm up: the adaptive methods divide by a scale that is estimated from a few gradients at first (Apple Book,
chapter 3; Liu et al., arXiv:1908.03265).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def updates_of(warmup_steps: float, total_steps: int | None) -> int:
    """The length of a warm-up in updates: warmup_steps, or where that lies between 0 and 1, this share of the run.

    Raises:
        ValueError: it is negative, neither a share nor whole, or a share of a run whose length is not given.
    """
    if 0 < warmup_steps < 1:
        if total_steps is None:
            raise ValueError(f"Invalid warmup_steps: {warmup_steps}, a share of a run needs total_steps")
        return max(1, round(warmup_steps * total_steps))
    if not (warmup_steps >= 0 and warmup_steps % 1 == 0):
        raise ValueError(f"Invalid warmup_steps: {warmup_steps}, expected a share below 1 or a number of updates")
    return int(warmup_steps)


def warmup_constant_factor(t: Tensor, warmup_steps: float, total_steps: int | None = None) -> Tensor:
    """min(1, (t + 1) / warmup_steps); 1 without a warm-up."""
    return ((t + 1) / max(updates_of(warmup_steps, total_steps), 1)).clamp(max=1.0)


def cosine_between(start: float, end: float, progress: Tensor) -> Tensor:
    """Half a cosine from `start` to `end` as progress goes from 0 to 1; constant outside."""
    return end + (start - end) * 0.5 * (1.0 + torch.cos(math.pi * progress.clamp(0.0, 1.0)))


def warmup_cosine_factor(t: Tensor, warmup_steps: float, total_steps: int, min_factor: float = 0.0) -> Tensor:
    """Warm-up, then half a cosine that reaches min_factor at t = total_steps (Loshchilov & Hutter 2017)."""
    width = updates_of(warmup_steps, total_steps)
    start = max(width - 1, 0)
    decay = cosine_between(1.0, min_factor, (t - start) / max(total_steps - start, 1))
    return torch.minimum(warmup_constant_factor(t, width), decay)


def warmup_inverse_sqrt_factor(t: Tensor, warmup_steps: float, total_steps: int | None = None) -> Tensor:
    """min((t + 1) / w, sqrt(w / (t + 1))): Vaswani et al. 2017, section 5.3, scaled to a peak of 1."""
    width = max(updates_of(warmup_steps, total_steps), 1)
    return torch.minimum(warmup_constant_factor(t, width), (width / (t + 1)).sqrt())


def one_cycle_factor(
    t: Tensor, total_steps: int, pct_start: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4
) -> Tensor:
    """Half a cosine up from 1/div_factor to 1, then one down to 1/(div_factor final_div_factor).

    The peak is at t = pct_start total_steps - 1 and the end at t = total_steps - 1, as in torch's OneCycleLR.
    """
    start = 1.0 / div_factor
    peak = max(pct_start * total_steps - 1.0, 0.0)
    rise = cosine_between(start, 1.0, t / peak) if peak > 0.0 else torch.ones_like(t)
    fall = cosine_between(1.0, start / final_div_factor, (t - peak) / max(total_steps - 1.0 - peak, 1e-9))
    return torch.where(t <= peak, rise, fall)


def warmup_constant(optimizer: Optimizer, warmup_steps: float, total_steps: int | None = None) -> LambdaLR:
    """Linear warm-up, then the optimizer's learning rate.

    Raises:
        ValueError: as updates_of.
    """
    width = updates_of(warmup_steps, total_steps)
    return _schedule(optimizer, lambda t: warmup_constant_factor(t, width))


def warmup_cosine(optimizer: Optimizer, warmup_steps: float, total_steps: int, min_factor: float = 0.0) -> LambdaLR:
    """Linear warm-up, then half a cosine down to min_factor times the learning rate at the end of the run.

    Raises:
        ValueError: as updates_of, total_steps = 0 or a min_factor outside [0, 1].
    """
    _check(total_steps=total_steps)
    width = updates_of(warmup_steps, total_steps)
    if not 0.0 <= min_factor <= 1.0:
        raise ValueError(f"Invalid min_factor: {min_factor}, expected 0 <= min_factor <= 1")
    return _schedule(optimizer, lambda t: warmup_cosine_factor(t, width, total_steps, min_factor))


def warmup_inverse_sqrt(optimizer: Optimizer, warmup_steps: float, total_steps: int | None = None) -> LambdaLR:
    """Linear warm-up, then a decay with 1/sqrt(t), whatever the length of the run; that matters to a share alone.

    Raises:
        ValueError: as updates_of.
    """
    width = updates_of(warmup_steps, total_steps)
    return _schedule(optimizer, lambda t: warmup_inverse_sqrt_factor(t, width))


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> LambdaLR:
    """The one-cycle policy with the optimizer's learning rate as its maximum (Smith & Topin, arXiv:1708.07120).

    The same numbers as torch's OneCycleLR with cosine annealing, for any optimizer: momentum is left alone, and
    stepping past the end is not an error.

    Raises:
        ValueError: total_steps below 1, pct_start outside [0, 1] or a division factor below 1.
    """
    _check(total_steps=total_steps)
    if not 0.0 <= pct_start <= 1.0:
        raise ValueError(f"Invalid pct_start: {pct_start}, expected 0 <= pct_start <= 1")
    if not (div_factor >= 1.0 and final_div_factor >= 1.0):
        raise ValueError(f"Invalid div_factor or final_div_factor: {div_factor}, {final_div_factor}, expected >= 1")
    return _schedule(optimizer, lambda t: one_cycle_factor(t, total_steps, pct_start, div_factor, final_div_factor))


def _check(total_steps: int) -> None:
    if total_steps < 1:
        raise ValueError(f"Invalid total_steps: {total_steps}, expected at least 1")


def _schedule(optimizer: Optimizer, factor: Callable[[Tensor], Tensor]) -> LambdaLR:
    return LambdaLR(optimizer, lambda t: factor(torch.tensor(float(t), dtype=torch.float64)).item())
