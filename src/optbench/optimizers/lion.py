"""Lion: the sign of an interpolated momentum, so that every coordinate moves by exactly the learning rate.

    c_t     = beta1 m_{t-1} + (1 - beta1) g_t
    theta_t = theta_{t-1} - eta_t (sign(c_t) + lambda theta_{t-1})
    m_t     = beta2 m_{t-1} + (1 - beta2) g_t

Source: Chen et al., *Symbolic Discovery of Optimization Algorithms* (2023), arXiv:2302.06675, Algorithm 2.
"""

from __future__ import annotations

from torch import Tensor
from torch.optim.optimizer import ParamsT

from optbench.optimizer_base import AbstractPureOptimizer, Hyper, Memory, Next, moved


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
        self, params: ParamsT, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay})

    @staticmethod
    def pure(x: Tensor, gradient: Tensor, memory: Memory, hyper: Hyper, t: Tensor) -> Next:
        """One step of Algorithm 2."""
        beta1, beta2 = hyper["betas"]
        c = beta1 * memory["m"] + (1.0 - beta1) * gradient
        # torch.sign(NaN) is 0: a gradient that is not a number would pass for one that is zero. To add 0 times what is
        # clamped, which is NaN there and finite elsewhere, takes a third of the time of choosing by isnan
        sign = c.sign() + 0.0 * c.clamp(-1.0, 1.0)
        return moved(x, sign, hyper["lr"]), {"m": beta2 * memory["m"] + (1.0 - beta2) * gradient}
