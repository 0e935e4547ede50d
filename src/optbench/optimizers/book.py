"""The Apple Book's general form of gradient descent, with interchangeable parts.

    theta_{t+1} = theta_t - (eta_t / sigma_t) m_t,        t = 0, 1, 2 ...

eta_t is the (scheduled) learning rate, m_t a weighted sum of the gradients g_0 ... g_t and sigma_t a scale for each
coordinate, made of the magnitudes of the same gradients. A named method is a choice of m and of sigma:

    =============  =======================================  ==================================================
    method         m_t                                      sigma_t
    =============  =======================================  ==================================================
    book_gd        g_t                                      1
    book_momentum  lambda m_{t-1} + g_t                     1
    book_adagrad   g_t                                      sqrt((g_0^2 + ... + g_t^2) / (t + 1))
    book_rmsprop   g_t                                      |g_0|, then sqrt(alpha sigma_{t-1}^2 + (1-alpha) g_t^2)
    book_adam      beta1 m_{t-1} + (1 - beta1) g_t          as book_rmsprop
    =============  =======================================  ==================================================

with m_{-1} = 0; `Book` (optimizer=book) takes any pair of them. Two conventions that the book leaves open:

* The book's momentum is a movement, m^t = lambda m^{t-1} - eta g^{t-1} and theta^t = theta^{t-1} + m^t. Under a
  constant eta that is the form above. When eta is scheduled, the general form multiplies the whole sum by the present
  eta, and so does this module (as torch.optim.SGD does).
* book_adam takes the weighted *mean*, so that beta1 = 0 is book_rmsprop to the bit and that its step compares with
  Adam's. It has no bias correction: sigma_0 is |g_0| by definition, and m starts small, at (1 - beta1) g_0.

The book has no epsilon, and none is needed: |g_t| / sigma_t is at most sqrt(t + 1) for AdaGrad and
1 / sqrt(1 - alpha) for RMSProp. Only sigma_t = 0 needs a rule: a coordinate whose scale is 0, because every gradient it
ever had was 0 (or too small to square), does not move. A NaN gradient is not such a case and shows in theta.

Source: Wang Qi, Yang Yiyuan, Jiang Ji, *Deep Learning Tutorial* (LeeDL, the "Apple Book"), chapter 3, sections on
momentum, adaptive learning rate and learning rate scheduling; AdaGrad: Duchi et al., JMLR 12 (2011) 2121.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from optbench.optimizer_base import AbstractPureOptimizer, Group, moved

Number = float | Tensor
Hyper = Mapping[str, Number]


class Rule(NamedTuple):
    """A choice of m or of sigma, as a pure elementwise function of tensors.

    Attributes:
        advance: (gradient, memory, hyperparameters, step) -> (value, next memory); every tensor of the gradient's shape
            or broadcastable to it, so that rows of a batch may carry their own hyperparameters.
        remembers: whether the memory is used; it starts at 0. A rule that does not remember passes it on untouched.
    """

    advance: Callable[[Tensor, Tensor, Hyper, Tensor], tuple[Tensor, Tensor]]
    remembers: bool


def gradient_alone(gradient: Tensor, memory: Tensor, hyper: Hyper, step: Tensor) -> tuple[Tensor, Tensor]:
    """m_t = g_t."""
    return gradient, memory


def weighted_sum(gradient: Tensor, memory: Tensor, hyper: Hyper, step: Tensor) -> tuple[Tensor, Tensor]:
    """m_t = lambda m_{t-1} + g_t, the sum of lambda^(t-i) g_i; lambda is hyper["momentum"]."""
    m = hyper["momentum"] * memory + gradient
    return m, m


def weighted_mean(gradient: Tensor, memory: Tensor, hyper: Hyper, step: Tensor) -> tuple[Tensor, Tensor]:
    """m_t = beta1 m_{t-1} + (1 - beta1) g_t; beta1 is hyper["momentum"]."""
    beta1 = hyper["momentum"]
    m = beta1 * memory + (1.0 - beta1) * gradient
    return m, m


def one(gradient: Tensor, memory: Tensor, hyper: Hyper, step: Tensor) -> tuple[Tensor, Tensor]:
    """sigma_t = 1."""
    return torch.ones_like(gradient), memory


def root_mean_square(gradient: Tensor, memory: Tensor, hyper: Hyper, step: Tensor) -> tuple[Tensor, Tensor]:
    """AdaGrad's sigma_t = sqrt((g_0^2 + ... + g_t^2) / (t + 1)); the memory is the sum of squares."""
    squares = memory + gradient * gradient
    return (squares / (step + 1)).sqrt(), squares


def recent_root_mean_square(gradient: Tensor, memory: Tensor, hyper: Hyper, step: Tensor) -> tuple[Tensor, Tensor]:
    """RMSProp's sigma_0 = |g_0|, sigma_t^2 = alpha sigma_{t-1}^2 + (1 - alpha) g_t^2; the memory is sigma^2."""
    alpha = hyper["alpha"]
    square = gradient * gradient
    square = torch.where(step == 0, square, alpha * memory + (1.0 - alpha) * square)
    return square.sqrt(), square


M_RULES: dict[str, Rule] = {
    "gradient": Rule(gradient_alone, remembers=False),
    "sum": Rule(weighted_sum, remembers=True),
    "mean": Rule(weighted_mean, remembers=True),
}
SIGMA_RULES: dict[str, Rule] = {
    "one": Rule(one, remembers=False),
    "adagrad": Rule(root_mean_square, remembers=True),
    "rmsprop": Rule(recent_root_mean_square, remembers=True),
}


def direction(m: Tensor, sigma: Tensor) -> Tensor:
    """m / sigma, and 0 where sigma = 0; NaN stays NaN."""
    return torch.where(sigma == 0, 0.0, m / sigma)


class Book(AbstractPureOptimizer):
    """theta <- theta - (eta / sigma_t) m_t with m and sigma chosen by name; keeps the memories, computes nothing else.

    Args:
        params: parameters or parameter groups, as for every torch optimizer; dense.
        lr: eta, at least 0.
        m: "gradient", "sum" or "mean"; "momentum" is the one that the chapter's methods take: the sum where sigma is 1
            (book_momentum), the mean where a scale divides it (book_adam).
        sigma: "one", "adagrad" or "rmsprop".
        momentum: lambda of "sum", beta1 of "mean", in [0, 1).
        alpha: weight of the past in sigma "rmsprop", in [0, 1).

    Raises:
        ValueError: a name or a number outside these.
    """

    memories = ("m", "sigma")

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        m: str = "gradient",
        sigma: str = "one",
        momentum: float = 0.9,
        alpha: float = 0.9,
    ) -> None:
        for name, value in (("momentum", momentum), ("alpha", alpha)):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"Invalid {name} value: {value}, expected 0 <= {name} < 1")
        if m == "momentum":
            m = "sum" if sigma == "one" else "mean"
        for name, choice, known in (("m", m, (*M_RULES, "momentum")), ("sigma", sigma, SIGMA_RULES)):
            if choice not in known:
                raise ValueError(f"Invalid {name}: {choice!r}, expected one of {', '.join(known)}")
        super().__init__(params, {"lr": lr, "m": m, "sigma": sigma, "momentum": momentum, "alpha": alpha})

    def kept(self, group: Group) -> Sequence[str]:
        """What the group's choices remember."""
        rules = {"m": M_RULES[group["m"]], "sigma": SIGMA_RULES[group["sigma"]]}
        return [name for name, rule in rules.items() if rule.remembers]

    @staticmethod
    def pure(
        x: Tensor, gradient: Tensor, memory: Mapping[str, Tensor], hyper: Mapping[str, Any], t: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One step of the general form."""
        m, next_m = M_RULES[hyper["m"]].advance(gradient, memory["m"], hyper, t)
        sigma, next_sigma = SIGMA_RULES[hyper["sigma"]].advance(gradient, memory["sigma"], hyper, t)
        return moved(x, direction(m, sigma), hyper["lr"]), {"m": next_m, "sigma": next_sigma}


def book_gd(params: ParamsT, lr: float) -> Book:
    """Gradient descent: theta <- theta - eta g_t."""
    return Book(params, lr, m="gradient", sigma="one")


def book_momentum(params: ParamsT, lr: float, momentum: float = 0.9) -> Book:
    """Gradient descent with momentum: the movement is lambda times the last one, less eta g_t."""
    return Book(params, lr, m="sum", sigma="one", momentum=momentum)


def book_adagrad(params: ParamsT, lr: float) -> Book:
    """AdaGrad with the root *mean* square of all gradients; torch's Adagrad is this one under eta / sqrt(t + 1)."""
    return Book(params, lr, m="gradient", sigma="adagrad")


def book_rmsprop(params: ParamsT, lr: float, alpha: float = 0.9) -> Book:
    """RMSProp started at sigma_0 = |g_0|, so that the first step moves every coordinate by eta."""
    return Book(params, lr, m="gradient", sigma="rmsprop", alpha=alpha)


def book_adam(params: ParamsT, lr: float, beta1: float = 0.9, alpha: float = 0.9) -> Book:
    """Adam as the book introduces it, RMSProp with momentum: weighted means of g and of g^2, no bias correction."""
    return Book(params, lr, m="mean", sigma="rmsprop", momentum=beta1, alpha=alpha)
