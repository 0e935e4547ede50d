"""Lion: the sign of an interpolated momentum, so that every coordinate moves by exactly the learning rate.

    c_t     = beta1 m_{t-1} + (1 - beta1) g_t
    theta_t = theta_{t-1} - eta_t (sign(c_t) + lambda theta_{t-1})
    m_t     = beta2 m_{t-1} + (1 - beta2) g_t

Source: Chen et al., *Symbolic Discovery of Optimization Algorithms* (2023), arXiv:2302.06675, Algorithm 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from optbench.optimizer_base import AbstractPureOptimizer, moved


def lion_update(gradient: Tensor, m: Tensor, beta1: float | Tensor, beta2: float | Tensor) -> tuple[Tensor, Tensor]:
    """Direction and next momentum of one step; pure and elementwise.

    Args:
        gradient: g_t, any shape.
        m: m_{t-1}, same shape; 0 at the start.
        beta1: weight of the past in the direction.
        beta2: weight of the past in the momentum.

    Returns:
        sign(c_t), whose entries are -1, 0 or 1 (NaN where the gradient is), and m_t.
    """
    c = beta1 * m + (1.0 - beta1) * gradient
    # torch.sign(NaN) is 0: a gradient that is no number would pass for one that is zero
    return torch.where(c.isnan(), c, c.sign()), beta2 * m + (1.0 - beta2) * gradient


class Lion(AbstractPureOptimizer):
    """Lion with decoupled weight decay.

    Args:
        params: parameters or parameter groups; dense.
        lr: eta, at least 0; 3 to 10 times smaller than Adam's.
        betas: (beta1, beta2), each in [0, 1).
        weight_decay: lambda, at least 0; multiplied by the learning rate.

    Raises:
        ValueError: a number outside these ranges.
    """

    memories = ("m",)
    decay = "decoupled"

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        for index, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {index}: {beta}, expected 0 <= beta < 1")
        beta1, beta2 = betas
        super().__init__(params, {"lr": lr, "betas": (beta1, beta2), "weight_decay": weight_decay})

    @staticmethod
    def pure(
        x: Tensor, gradient: Tensor, memory: Mapping[str, Tensor], hyper: Mapping[str, Any], t: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One step of Algorithm 2."""
        sign, m = lion_update(gradient, memory["m"], *hyper["betas"])
        return moved(x, sign, hyper["lr"]), {"m": m}
