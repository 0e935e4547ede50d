"""Elementary functions of intervals with their first two derivatives: the one table behind intervals and jets.

A rule takes the ends of the argument (see `ends`) and an order k and returns the ranges of f, f' and f'' up to order k.
It encloses every value that f takes where f is defined; derivatives are unbounded where f is not differentiable or the
argument leaves its domain, so that nothing is ever certified there. One thing is assumed of the math library:
its functions err by at most four units in the last place (measured: at most 1.6; `--verify arb` does without it).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from optbench.critical.arithmetic import ends
from optbench.critical.arithmetic.ends import Array, Mask, add, clip, multiply, negate, reciprocal, scale, shift, square

Rule = Callable[[Array, int], list[Array]]
LIBRARY = 4  # units in the last place that a library function may err
FAR = 1e13  # beyond it the phase of a wave is not resolved: its ends are known to 1e-14 turns for each turn
TURN = 2.0 * np.pi
PI = np.array([[-np.pi], [np.nextafter(np.pi, 4.0)]])  # the double next to pi lies below it


def _rising(function: Callable[[Array], Array], a: Array, steps: int = LIBRARY) -> Array:
    """Range of a rising function, rounded outward."""
    out = np.empty_like(a)
    out[0] = -function(-a[0])
    out[1] = function(a[1])
    return ends.round_up(out, steps)


def exp_ends(a: Array) -> Array:
    """Range of e^x."""
    return clip(_rising(np.exp, a), 0.0, np.inf)


def _exp(a: Array, order: int) -> list[Array]:
    return [exp_ends(a)] * (order + 1)


def _expm1(a: Array, order: int) -> list[Array]:
    return [clip(_rising(np.expm1, a), -1.0, np.inf), *[exp_ends(a)] * order]


def _log(a: Array, order: int) -> list[Array]:
    value = ends.unbounded(_rising(np.log, a), a[1] <= 0)
    ends.unbounded(value[:1], a[0] >= 0)
    return [value, *_up_to(order, lambda: _on_positive(a, _reciprocal(a, order - 1)))]


def _log1p(a: Array, order: int) -> list[Array]:
    value = ends.unbounded(_rising(np.log1p, a), a[1] <= -1)
    ends.unbounded(value[:1], a[0] >= 1)
    moved = shift(a, 1.0)
    return [value, *_up_to(order, lambda: _on_positive(moved, _reciprocal(moved, order - 1)))]


def _sqrt(a: Array, order: int) -> list[Array]:
    value = clip(_rising(np.sqrt, clip(a.copy(), 0.0, np.inf), 1), 0.0, np.inf)
    ends.unbounded(value, a[1] < 0)
    if order == 0:
        return [value]
    slope = reciprocal(scale(value, 2.0))
    found = [slope, scale(ends.power(slope, 3), -2.0)]
    return [value, *_on_positive(a, found[:order])]


def _reciprocal(a: Array, order: int) -> list[Array]:
    value = reciprocal(a)
    found = [value]
    if order > 0:
        found.append(negate(square(value)))
    if order > 1:
        found.append(scale(ends.power(value, 3), 2.0))
    return found


def _square(a: Array, order: int) -> list[Array]:
    return [square(a), scale(a, 2.0), ends.constant(2.0)][: order + 1] if order else [square(a)]


def _abs(a: Array, order: int) -> list[Array]:
    small, large = ends.magnitudes(a)
    return [np.stack([-small, large]), *_kinked(a, -1.0)[:order]]


def _relu(a: Array, order: int) -> list[Array]:
    value = np.stack([np.minimum(a[0], 0.0), np.maximum(a[1], 0.0)])
    return [value, *_kinked(a, 0.0)[:order]]


def _kinked(a: Array, left: float) -> list[Array]:
    """Derivatives of a function of slope `left` below 0 and 1 above."""
    slope = np.stack([np.where(a[0] < 0, -1.0, -left), np.where(a[1] < 0, left, 1.0)])
    return [slope, ends.unbounded(np.zeros_like(a), (a[0] >= 0) & (a[1] >= 0))]


def _waves(a: Array) -> tuple[Array, Array]:
    """Ranges of sin and cos: the ends, and the extrema in between."""
    x = np.stack([-a[0], a[1]])
    far = ~(np.abs(x).max(axis=0) < FAR)
    if far.any():
        x = np.where(far, 0.0, x)
    sin, cos = (_wave(function(x)) for function in (np.sin, np.cos))
    turns = x / TURN
    slack = 1e-14 * (1.0 + np.abs(turns))
    first, last = turns[0] - slack[0], turns[1] + slack[1]
    # An extremum at `phase` turns lies between the ends, or too near them to tell.
    for wave, phase, end in ((sin, 0.25, 1), (sin, 0.75, 0), (cos, 0.0, 1), (cos, 0.5, 0)):
        inside = np.floor(last - phase) >= np.ceil(first - phase)
        wave[end][inside | far] = 1.0
    return sin, cos


def _wave(ordinates: Array) -> Array:
    """Hull of the values at both ends, rounded outward."""
    out = np.stack([-ordinates.min(axis=0), ordinates.max(axis=0)])
    return clip(ends.round_up(out, LIBRARY), -1.0, 1.0)


def _sin(a: Array, order: int) -> list[Array]:
    sin, cos = _waves(a)
    return [sin, cos, negate(sin)][: order + 1]


def _cos(a: Array, order: int) -> list[Array]:
    sin, cos = _waves(a)
    return [cos, negate(sin), negate(cos)][: order + 1]


def _tan(a: Array, order: int) -> list[Array]:
    half_turns = np.stack([-a[0], a[1]]) / np.pi - 0.5
    slack = 1e-14 * (1.0 + np.abs(half_turns))
    pole = np.floor(half_turns[1] + slack[1]) >= np.ceil(half_turns[0] - slack[0])
    value = ends.unbounded(
        _rising(np.tan, a), pole | ~(np.maximum(a[0], a[1]) < FAR) | ~(np.minimum(a[0], a[1]) > -FAR)
    )
    slope = shift(square(value), 1.0)
    return [value, slope, scale(multiply(value, slope), 2.0)][: order + 1]


def _tanh(a: Array, order: int) -> list[Array]:
    value = clip(_rising(np.tanh, a), -1.0, 1.0)
    if order == 0:
        return [value]
    slope = clip(shift(negate(square(value)), 1.0), 0.0, 1.0)
    return [value, slope, scale(multiply(value, slope), -2.0)][: order + 1]


def _sigmoid(a: Array, order: int) -> list[Array]:
    value = clip(reciprocal(shift(exp_ends(negate(a)), 1.0)), 0.0, 1.0)
    if order == 0:
        return [value]
    other = clip(reciprocal(shift(exp_ends(a), 1.0)), 0.0, 1.0)
    slope = multiply(value, other)
    return [value, slope, multiply(slope, add(other, negate(value)))][: order + 1]


def _log1pexp(a: Array, order: int) -> list[Array]:
    # log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): three library functions deep, each within LIBRARY steps.
    value = clip(_rising(lambda x: np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))), a, 4 * LIBRARY), 0.0, np.inf)
    return [value, *_up_to(order, lambda: _sigmoid(a, order - 1))]


def _sinh(a: Array, order: int) -> list[Array]:
    sinh = _rising(np.sinh, a)
    return [sinh] if order == 0 else [sinh, cosh_ends(a), sinh][: order + 1]


def _cosh(a: Array, order: int) -> list[Array]:
    cosh = cosh_ends(a)
    return [cosh] if order == 0 else [cosh, _rising(np.sinh, a), cosh][: order + 1]


def cosh_ends(a: Array) -> Array:
    """Range of cosh, by |x|."""
    small, large = ends.magnitudes(a)
    return clip(_rising(np.cosh, np.stack([-small, large])), 1.0, np.inf)


def _atan(a: Array, order: int) -> list[Array]:
    found = [_rising(np.arctan, a)]
    if order:
        slope = reciprocal(shift(square(a), 1.0))
        found += [slope, scale(multiply(a, square(slope)), -2.0)]
    return found[: order + 1]


def _asinh(a: Array, order: int) -> list[Array]:
    found = [_rising(np.arcsinh, a)]
    if order:
        slope = reciprocal(_sqrt(shift(square(a), 1.0), 0)[0])
        found += [slope, negate(multiply(a, ends.power(slope, 3)))]
    return found[: order + 1]


def _erf(a: Array, order: int) -> list[Array]:
    from scipy.special import erf  # a quarter of a second to import: only where it is needed

    found = [clip(_rising(erf, a), -1.0, 1.0)]
    if order:
        slope = multiply(reciprocal(_sqrt(PI, 0)[0]), scale(exp_ends(negate(square(a))), 2.0))
        found += [slope, multiply(slope, scale(a, -2.0))]
    return found[: order + 1]


def _up_to(order: int, make: Callable[[], list[Array]]) -> list[Array]:
    return make() if order else []


def _on_positive(a: Array, derivatives: list[Array]) -> list[Array]:
    """Derivatives of a function whose domain is x > 0: unbounded where the argument leaves it."""
    return [ends.unbounded(d.copy(), a[0] >= 0) for d in derivatives]


@cache
def power_rule(n: int) -> Rule:
    """x^n for whole n."""
    if n < 0:
        return _negative_power_rule(-n)

    def rule(a: Array, order: int) -> list[Array]:
        found = [ends.power(a, n)]
        if order > 0:
            found.append(scale(ends.power(a, n - 1), float(n)) if n > 0 else ends.constant(0.0))
        if order > 1:
            found.append(scale(ends.power(a, n - 2), float(n * (n - 1))) if n > 1 else ends.constant(0.0))
        return found

    return rule


def _negative_power_rule(n: int) -> Rule:
    def rule(a: Array, order: int) -> list[Array]:
        inverse = reciprocal(a)
        factors = (1.0, -float(n), float(n * (n + 1)))
        return [scale(ends.power(inverse, n + k), factors[k]) for k in range(order + 1)]

    return rule


@cache
def real_power_rule(p: float) -> Rule:
    """x^p = e^(p log x) for x > 0; at x = 0 its value is 0 (p > 0) and its derivatives are unbounded."""

    # p - 1 and p (p - 1) are rounded: they enter as intervals.
    exponents = [ends.constant(p), *(shift(ends.constant(p), -k) for k in (1.0, 2.0))]
    factors = [ends.constant(1.0), exponents[0], multiply(exponents[0], exponents[1])]

    def rule(a: Array, order: int) -> list[Array]:
        log = _log(a, 0)[0]
        found = [multiply(factors[k], exp_ends(multiply(exponents[k], log))) for k in range(order + 1)]
        return [found[0], *_on_positive(a, found[1:])]

    return rule


def _below(edge: float, closed: bool = False) -> Callable[[Array], tuple[Mask, Mask]]:
    """Gaps of a function that is undefined below the edge; what it is at the edge itself is infinite unless closed."""

    def gaps(a: Array) -> tuple[Mask, Mask]:
        return (a[0] > -edge if closed else a[0] >= -edge), a[1] < edge

    return gaps


def _pole(a: Array) -> tuple[Mask, Mask]:
    return (a[0] >= 0) & (a[1] >= 0), np.zeros(a.shape[1:], dtype=bool)


GAPS: dict[str, Callable[[Array], tuple[Mask, Mask]]] = {
    "log": _below(0.0),
    "log1p": _below(-1.0),
    "reciprocal": _pole,
    "sqrt": _below(0.0, closed=True),
}
"""Where a function is not a finite number: ranges of the argument -> (there may be such a point, all of it is NaN)."""


def power_gaps(p: float) -> Callable[[Array], tuple[Mask, Mask]] | None:
    """The same for x^p."""
    if p == int(p):
        return _pole if p < 0 else None
    return _below(0.0, closed=p > 0)


RULES: dict[str, Rule] = {
    "abs": _abs,
    "asinh": _asinh,
    "atan": _atan,
    "cos": _cos,
    "cosh": _cosh,
    "erf": _erf,
    "exp": _exp,
    "expm1": _expm1,
    "log": _log,
    "log1p": _log1p,
    "log1pexp": _log1pexp,
    "reciprocal": _reciprocal,
    "relu": _relu,
    "sigmoid": _sigmoid,
    "sin": _sin,
    "sinh": _sinh,
    "sqrt": _sqrt,
    "square": _square,
    "tan": _tan,
    "tanh": _tanh,
}


def _from_edge(name: str, edge: float) -> Rule:
    """A function of RULES that is defined for x > edge, where f' > 0 falls to 0 from infinity and f'' < 0 rises to 0.

    Where the argument leaves the domain, derivatives are those in the domain: they say where f, if it is defined, has
    no critical point, so that boxes across the edge need not be cut for ever.
    """

    def rule(a: Array, order: int) -> list[Array]:
        found = RULES[name](a, order)
        across = (a[0] >= -edge) & (a[1] >= edge)
        if order and across.any():
            last = RULES[name](np.stack([-a[1], a[1]]), order)  # at the upper end, where both are nearest to 0
            for k in range(order):
                bound = np.where(a[1] > edge, last[k + 1][k], -ends.LARGE)
                found[k + 1][k][across] = bound[across]
        return found

    return rule


ACROSS: dict[str, Rule] = {
    "log": _from_edge("log", 0.0),
    "log1p": _from_edge("log1p", -1.0),
    "sqrt": _from_edge("sqrt", 0.0),
}
"""Rules that know derivatives next to the edge of a domain, for callers that know that f may be undefined: see GAPS."""
