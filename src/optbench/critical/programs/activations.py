"""Torch's activations on symbols: by pieces with torch's own thresholds, see the table in `operations`."""

from __future__ import annotations

import math

import numpy as np

from optbench.critical.programs.operations import (
    LOWERINGS,
    Element,
    Lowering,
    each,
    elementwise,
    function,
    larger,
    lowers,
    pieces,
    smaller,
    times,
)
from optbench.critical.programs.recorded import Recorded
from optbench.critical.programs.scalar import CONTINUOUS, JUMPS, SMOOTH
from optbench.tracing import Opaque, Symbols

GELU = 0.5**0.5  # the double that torch multiplies with
GELU_TANH = (2.0**0.5 * (2.0 / math.sqrt(math.pi)) * 0.5, 0.044715)


@elementwise("softplus")
def _softplus(p: Recorded, beta: float = 1.0, threshold: float = 20.0) -> Recorded:
    scaled = p.scale(beta)
    return scaled.shift(-threshold).where(p, scaled.apply("log1pexp").over(beta), JUMPS)


@elementwise("gelu")
def _gelu(p: Recorded, approximate: str = "none") -> Recorded:
    if approximate == "none":
        return p.scale(GELU).apply("erf").shift(1.0).times(p).scale(0.5)
    beta, kappa = GELU_TANH
    return p.plus(p.power(3).scale(kappa)).scale(beta).apply("tanh").shift(1.0).times(p).scale(0.5)


def elu(p: Recorded, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Recorded:
    """scale p where p > 0, else scale alpha (e^(input_scale p) - 1)."""
    below = p.scale(input_scale).apply("expm1").scale(alpha * scale)
    return p.where(p.scale(scale), below, SMOOTH if alpha == input_scale == 1.0 else CONTINUOUS)


@elementwise("celu")
def _celu(p: Recorded, alpha: float = 1.0) -> Recorded:
    return elu(p, alpha, 1.0, 1.0 / alpha)


@elementwise("clamp", "hardtanh", "clip")
def _clamp(p: Element, min: Element = None, max: Element = None) -> Element:
    p = p if min is None else larger(p, min)
    return p if max is None else smaller(p, max)


LOWERINGS["hardtanh"] = lambda x, low=-1.0, high=1.0: LOWERINGS["clamp"](x, low, high)


@elementwise("threshold")
def _threshold(p: Recorded, threshold: float, value: float) -> Recorded:
    return p.shift(-threshold).where(p, p.constant(value), CONTINUOUS if value == threshold else JUMPS)


@elementwise("softshrink")
def _softshrink(p: Recorded, width: float = 0.5) -> Recorded:
    below = p.scale(-1.0).shift(-width).where(p.shift(width), p.constant(0.0), CONTINUOUS)
    return p.shift(-width).where(p.shift(-width), below, CONTINUOUS)


@elementwise("hardshrink")
def _hardshrink(p: Recorded, width: float = 0.5) -> Recorded:
    below = p.scale(-1.0).shift(-width).where(p, p.constant(0.0), JUMPS)
    return p.shift(-width).where(p, below, JUMPS)


@elementwise("leaky_relu")
def _leaky_relu(p: Recorded, slope: float = 0.01) -> Recorded:
    return p.where(p, p.scale(slope), CONTINUOUS)


_ACTIVATIONS: dict[str, Lowering] = {
    "elu": elu,
    "silu": lambda p: p.times(p.apply("sigmoid")),
    "mish": lambda p: p.times(p.apply("log1pexp").apply("tanh")),
    "hardsigmoid": lambda p: smaller(larger(p.shift(3.0), 0.0), 6.0).over(6.0),
    "hardswish": lambda p: smaller(larger(p.shift(3.0), 0.0), 6.0).times(p).over(6.0),
    "_prelu_kernel": lambda p, slope: pieces(p, p, times(p, slope), CONTINUOUS),
    "clamp_min": larger,
    "clamp_max": smaller,
}


@lowers("log_sigmoid_forward")
def _log_sigmoid(x: Symbols) -> tuple[Symbols, Symbols]:
    found = each(lambda p: times(function("log1pexp", times(p, -1.0)), -1.0), x)
    return found, np.asarray(Opaque("a buffer of log_sigmoid's own"), dtype=object)


for _name, _rule in _ACTIVATIONS.items():
    elementwise(_name)(_rule)
