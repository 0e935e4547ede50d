"""What torch's optimizers multiply with at update t, as functions of t and of numbers alone: bias corrections, decays.

No torch here: a batch whose program is known has its tables made by the same functions as the rule that it was traced
from (`torch_rules`). Each takes t = 0, 1, 2 ..., which broadcasts against columns of hyperparameters, and those by
name.

Source: torch.optim, version 2.11 to 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Values = Mapping[str, Any]
Coefficients = Callable[[Times, Values], dict[str, Any]]


def none(t: Times, h: Values) -> dict[str, Any]:
    """Of an optimizer whose update looks at t by itself, or not at all."""
    return {}


def sgd(t: Times, h: Values) -> dict[str, Any]:
    """`gain` of the gradient in the momentum: dampening leaves the first one out."""
    plain = (t == 0) | (h["momentum"] == 0)
    return {"gain": np.where(plain, 1.0, 1.0 - h["dampening"])}


def adam(t: Times, h: Values) -> dict[str, Any]:
    """The reciprocals of the two bias corrections."""
    return {
        "scale": 1.0 / (1.0 - h["beta1"] ** (t + 1)),
        "root_scale": 1.0 / np.sqrt(1.0 - h["beta2"] ** (t + 1)),
    }


def adagrad(t: Times, h: Values) -> dict[str, Any]:
    """The decay of the learning rate."""
    return {"slowed": 1.0 / (1.0 + t * h["lr_decay"])}


def adamax(t: Times, h: Values) -> dict[str, Any]:
    """The reciprocal of the bias correction."""
    return {"scale": 1.0 / (1.0 - h["beta1"] ** (t + 1))}


def nadam(t: Times, h: Values) -> dict[str, Any]:
    """The scales of gradient and momentum under Nesterov's schedule, and the second bias correction's reciprocal."""
    n = t + 1
    mu, following = (h["beta1"] * (1.0 - 0.5 * 0.96 ** (i * h["momentum_decay"])) for i in (n, n + 1))
    # torch keeps this product in single precision, whatever the parameters are
    product = np.cumprod(mu, axis=-1, dtype=np.float32).astype(np.float64)
    return {
        "g_scale": (1.0 - mu) / (1.0 - product),
        "m_scale": following / (1.0 - product * following),
        "correction": 1.0 / (1.0 - h["beta2"] ** n),
    }


def radam(t: Times, h: Values) -> dict[str, Any]:
    """The first bias correction's reciprocal, and the rectified second one once it is to be trusted."""
    n = t + 1
    correction = 1.0 - h["beta2"] ** n
    longest = 2.0 / (1.0 - h["beta2"]) - 1.0
    length = longest - 2.0 * n * h["beta2"] ** n / correction
    trusted = length > 5.0
    safe = np.where(trusted, length, 6.0)
    rect = np.sqrt((safe - 4) * (safe - 2) * longest / ((longest - 4) * (longest - 2) * safe))
    return {
        "scale": 1.0 / (1.0 - h["beta1"] ** n),
        "trusted": trusted.astype(np.float64),
        "rectified": np.where(trusted, np.sqrt(correction) * rect, 0.0),
    }


BY_NAME: Mapping[str, Coefficients] = {f.__name__: f for f in (none, sgd, adam, adagrad, adamax, nadam, radam)}
"""Those that a kept program can name."""
