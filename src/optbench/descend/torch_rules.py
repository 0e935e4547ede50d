"""The rules of torch.optim's optimizers: what their `_single_tensor_*` functions compute, without in-place operations.

Differences are of rounding only: where torch divides by a bias correction, a rule multiplies by its reciprocal. What a
batch does not use (weight decay, momentum ...) is left out of its rule; a row gets the same bits with and without.

Source: torch.optim, version 2.11 to 2.13.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optbench.descend import coefficients
from optbench.descend.coefficients import Values
from optbench.descend.rule import Number, Rule, UnsupportedError

Memory = Mapping[str, Tensor]
Stepped = tuple[Tensor, dict[str, Tensor]]

_WITHOUT_EFFECT = ("foreach", "fused", "capturable", "differentiable")


class _Given:
    """Keywords of a torch optimizer, completed by its defaults."""

    def __init__(self, name: str, keywords: Mapping[str, Any], only_known: bool) -> None:
        kind = getattr(torch.optim, name)
        signature = inspect.signature(kind)
        self.values = {p.name: p.default for p in signature.parameters.values() if p.name != "params"}
        for key, value in keywords.items():
            if key in self.values:
                self.values[key] = value
            elif only_known:
                raise UnsupportedError(f"torch.optim.{name} has no '{key}'")
        for flag in _WITHOUT_EFFECT:
            self.values.pop(flag, None)
        if self.values.pop("maximize", False):
            raise UnsupportedError(f"torch.optim.{name}: maximize=true has no rule for rows")

    def number(self, key: str) -> Any:
        """A float or (rows,) float64."""
        value = self.values[key]
        return np.asarray(value, dtype=np.float64) if isinstance(value, np.ndarray) else float(value)

    def pair(self, key: str) -> tuple[Any, Any]:
        """Two floats or two (rows,) float64."""
        value = self.values[key]
        if isinstance(value, np.ndarray):
            first, second = np.asarray(value, dtype=np.float64).T
            return first, second
        return float(value[0]), float(value[1])

    def flag(self, key: str) -> bool:
        """A switch; the same for all rows."""
        value = self.values[key]
        if isinstance(value, np.ndarray) and len(set(value.tolist())) > 1:
            raise UnsupportedError(f"'{key}' differs between rows")
        return bool(value[0] if isinstance(value, np.ndarray) else value)

    def used(self, key: str) -> bool:
        """Whether any row has a value other than 0."""
        return bool(np.any(np.asarray(self.values[key]) != 0))


def _decayed(x: Tensor, g: Tensor, h: Values, decay: bool, decoupled: bool) -> tuple[Tensor, Tensor]:
    """Weight decay: the point where the step starts, and the gradient that it uses."""
    if not decay:
        return x, g
    if decoupled:
        return x * (1.0 - h["lr"] * h["weight_decay"]), g
    return x, g + h["weight_decay"] * x


def _moments(given: _Given) -> dict[str, Any]:
    beta1, beta2 = given.pair("betas")
    shared = {key: given.number(key) for key in ("lr", "eps", "weight_decay")}
    return {**shared, "beta1": beta1, "beta2": beta2, "rest1": 1.0 - beta1, "rest2": 1.0 - beta2}


def _first(g: Tensor, s: Memory, h: Values) -> Tensor:
    m: Tensor = h["beta1"] * s["m"] + h["rest1"] * g
    return m


def _second(g: Tensor, s: Memory, h: Values) -> Tensor:
    v: Tensor = h["beta2"] * s["v"] + h["rest2"] * g * g
    return v


def _sgd(given: _Given) -> Rule:
    decay, heavy, damped = given.used("weight_decay"), given.used("momentum"), given.used("dampening")
    nesterov = given.flag("nesterov")
    hyper = {k: given.number(k) for k in ("lr", "momentum", "dampening", "weight_decay")}

    def update(x: Tensor, g: Tensor, s: Memory, h: Values, t: Number) -> Stepped:
        x, g = _decayed(x, g, h, decay, False)
        if not heavy:
            return x - h["lr"] * g, {}
        m = h["momentum"] * s["m"] + (h["gain"] * g if damped else g)
        return x - h["lr"] * (g + h["momentum"] * m if nesterov else m), {"m": m}

    inputs = ("momentum", "dampening") if damped else ()
    return Rule(("m",) if heavy else (), update, hyper, coefficients.sgd, inputs)


def _adam(given: _Given) -> Rule:
    decoupled = bool(given.values.get("decoupled_weight_decay", True))  # AdamW has no such switch
    decay, amsgrad = given.used("weight_decay"), given.flag("amsgrad")

    def update(x: Tensor, g: Tensor, s: Memory, h: Values, t: Number) -> Stepped:
        x, g = _decayed(x, g, h, decay, decoupled)
        m, v = _first(g, s, h), _second(g, s, h)
        largest = torch.maximum(s["largest"], v) if amsgrad else v
        x = x - h["lr"] * h["scale"] * m / (largest.sqrt() * h["root_scale"] + h["eps"])
        return x, {"m": m, "v": v, **({"largest": largest} if amsgrad else {})}

    memories = ("m", "v", "largest") if amsgrad else ("m", "v")
    return Rule(memories, update, _moments(given), coefficients.adam, ("beta1", "beta2"))


def _adagrad(given: _Given) -> Rule:
    decay, slows, begun = given.used("weight_decay"), given.used("lr_decay"), given.used("initial_accumulator_value")
    hyper = {k: given.number(k) for k in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")}

    def update(x: Tensor, g: Tensor, s: Memory, h: Values, t: Number) -> Stepped:
        x, g = _decayed(x, g, h, decay, False)
        total = s["sum"]
        if begun:
            total = total + torch.where(t == 0, 1.0, 0.0) * h["initial_accumulator_value"]
        total = total + g * g
        lr = h["lr"] * h["slowed"] if slows else h["lr"]
        return x - lr * g / (total.sqrt() + h["eps"]), {"sum": total}

    return Rule(("sum",), update, hyper, coefficients.adagrad, ("lr_decay",) if slows else ())


def _rmsprop(given: _Given) -> Rule:
    decay, heavy, centered = given.used("weight_decay"), given.used("momentum"), given.flag("centered")
    alpha = given.number("alpha")
    hyper = {k: given.number(k) for k in ("lr", "momentum", "weight_decay", "eps")}

    def update(x: Tensor, g: Tensor, s: Memory, h: Values, t: Number) -> Stepped:
        x, g = _decayed(x, g, h, decay, False)
        after = {"v": h["alpha"] * s["v"] + h["rest"] * g * g}
        variance = after["v"]
        if centered:
            after["mean"] = h["alpha"] * s["mean"] + h["rest"] * g
            variance = variance - after["mean"] * after["mean"]
        d = g / (variance.sqrt() + h["eps"])
        if heavy:
            d = after["m"] = h["momentum"] * s["m"] + d
        return x - h["lr"] * d, after

    memories = ("v", *(("mean",) if centered else ()), *(("m",) if heavy else ()))
    return Rule(memories, update, {**hyper, "alpha": alpha, "rest": 1.0 - alpha})


def _adadelta(given: _Given) -> Rule:
    decay, rho = given.used("weight_decay"), given.number("rho")
    hyper = {k: given.number(k) for k in ("lr", "eps", "weight_decay")}

    def update(x: Tensor, g: Tensor, s: Memory, h: Values, t: Number) -> Stepped:
        x, g = _decayed(x, g, h, decay, False)
        v = h["rho"] * s["v"] + h["rest"] * g * g
        d = (s["moved"] + h["eps"]).sqrt() / (v + h["eps"]).sqrt() * g
        return x - h["lr"] * d, {"v": v, "moved": h["rho"] * s["moved"] + h["rest"] * d * d}

    return Rule(("v", "moved"), update, {**hyper, "rho": rho, "rest": 1.0 - rho})


def _adamax(given: _Given) -> Rule:
    decay = given.used("weight_decay")

    def update(x: Tensor, g: Tensor, s: Memory, h: Values, t: Number) -> Stepped:
        x, g = _decayed(x, g, h, decay, False)
        m = _first(g, s, h)
        u = torch.maximum(h["beta2"] * s["u"], g.abs() + h["eps"])
        return x - h["lr"] * h["scale"] * m / u, {"m": m, "u": u}

    return Rule(("m", "u"), update, _moments(given), coefficients.adamax, ("beta1",))


def _nadam(given: _Given) -> Rule:
    decay, decoupled = given.used("weight_decay"), given.flag("decoupled_weight_decay")

    def update(x: Tensor, g: Tensor, s: Memory, h: Values, t: Number) -> Stepped:
        x, g = _decayed(x, g, h, decay, decoupled)
        m, v = _first(g, s, h), _second(g, s, h)
        denominator = (v * h["correction"]).sqrt() + h["eps"]
        x = x - h["lr"] * h["g_scale"] * g / denominator - h["lr"] * h["m_scale"] * m / denominator
        return x, {"m": m, "v": v}

    hyper = {**_moments(given), "momentum_decay": given.number("momentum_decay")}
    return Rule(("m", "v"), update, hyper, coefficients.nadam, ("beta1", "beta2", "momentum_decay"))


def _radam(given: _Given) -> Rule:
    decay, decoupled = given.used("weight_decay"), given.flag("decoupled_weight_decay")

    def update(x: Tensor, g: Tensor, s: Memory, h: Values, t: Number) -> Stepped:
        x, g = _decayed(x, g, h, decay, decoupled)
        m, v = _first(g, s, h), _second(g, s, h)
        adapted = h["rectified"] / (v.sqrt() + h["eps"])
        scale = torch.where(h["trusted"] > 0.5, adapted, 1.0)
        return x - h["lr"] * h["scale"] * m * scale, {"m": m, "v": v}

    return Rule(("m", "v"), update, _moments(given), coefficients.radam, ("beta1", "beta2"))


def _rprop(given: _Given) -> Rule:
    (shrink, grow), (least, most) = given.pair("etas"), given.pair("step_sizes")
    hyper = {"lr": given.number("lr"), "shrink": shrink, "grow": grow, "least": least, "most": most}

    def update(x: Tensor, g: Tensor, s: Memory, h: Values, t: Number) -> Stepped:
        agreement = g * s["g"]
        factor = torch.where(agreement > 0, h["grow"], torch.where(agreement < 0, h["shrink"], 1.0))
        size = torch.where(t == 0, h["lr"], s["size"]) * factor
        size = torch.minimum(torch.maximum(size, h["least"]), h["most"])
        g = torch.where(agreement < 0, 0.0, g)
        return x - g.sign() * size, {"g": g, "size": size}

    return Rule(("g", "size"), update, hyper)


def _bind(name: str, make: Callable[[_Given], Rule]) -> Callable[..., Rule]:
    def build(keywords: Mapping[str, Any], only_known: bool) -> Rule:
        return make(_Given(name, keywords, only_known))

    return build


TORCH_RULES: dict[str, Callable[..., Rule]] = {
    f"torch.optim.{name}": _bind(name, make)
    for name, make in {
        "SGD": _sgd,
        "Adam": _adam,
        "AdamW": _adam,
        "Adagrad": _adagrad,
        "RMSprop": _rmsprop,
        "Adadelta": _adadelta,
        "Adamax": _adamax,
        "NAdam": _nadam,
        "RAdam": _radam,
        "Rprop": _rprop,
    }.items()
}
