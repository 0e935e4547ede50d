"""Lion: the sign of an interpolated momentum, so that every coordinate moves by exactly the learning rate.

    c_t     = beta1 m_{t-1} + (1 - beta1) g_t
    theta_t = theta_{t-1} - eta_t (sign(c_t) + lambda theta_{t-1})
    m_t     = beta2 m_{t-1} + (1 - beta2) g_t

Source: Chen et al., *Symbolic Discovery of Optimization Algorithms* (2023), arXiv:2302.06675, Algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


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


class Lion(Optimizer):
    """Lion with decoupled weight decay.

    Args:
        params: parameters or parameter groups; real and dense.
        lr: eta, at least 0; 3 to 10 times smaller than Adam's.
        betas: (beta1, beta2), each in [0, 1).
        weight_decay: lambda, at least 0; multiplied by the learning rate.

    Raises:
        ValueError: a number outside these ranges.
    """

    memories = ("m",)

    @staticmethod
    def pure(
        x: Tensor, gradient: Tensor, memory: Mapping[str, Tensor], hyper: Mapping[str, Any], t: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The same update as a function of many runs at once; see optbench.descend.rules."""
        sign, m = lion_update(gradient, memory["m"], *hyper["betas"])
        return x * (1.0 - hyper["lr"] * hyper["weight_decay"]) - hyper["lr"] * sign, {"m": m}

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}, expected at least 0")
        for index, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {index}: {beta}, expected 0 <= beta < 1")
        if not weight_decay >= 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}, expected at least 0")
        beta1, beta2 = betas
        super().__init__(params, {"lr": lr, "betas": (beta1, beta2), "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update; returns the closure's value (the loss before the update), if there is a closure.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.grad.is_sparse:
                    raise RuntimeError("Lion does not support sparse gradients")
                state = self.state[parameter]
                m = state["m"] if state else torch.zeros_like(parameter)
                sign, state["m"] = lion_update(parameter.grad, m, *group["betas"])
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                parameter.add_(sign, alpha=-group["lr"])
        return loss
