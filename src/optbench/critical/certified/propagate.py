"""Constraint propagation on the equations g_i(x) = 0: boxes shrink without being cut, or turn out to hold no zero.

HC4 on the whole graph of the gradient's program (F. Benhamou, F. Goualard, L. Granvilliers & J.-F. Puget, Revising hull
and box consistency, ICLP 1999; X.-H. Vu, H. Schichl & D. Sam-Haroud, J. Global Optimization 45 (2009) 499). Forward,
every step gets the range of its operation on the ranges of its arguments. Then the results are set to 0, and backward
every argument is cut to what its step and the other argument leave of it. A point of the box at which all g_i vanish
gives every step a value that satisfies all of these relations, and each relation is used with its ends rounded outward,
so no such point is ever cut off. A step that several derivatives share is cut by all of them.

Steps that do the same to different arguments at the same depth (the links of a chain) are one operation on a larger
array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optbench.critical.arithmetic import ends
from optbench.critical.arithmetic.ends import Array, Mask
from optbench.critical.arithmetic.functions import RULES, power_rule
from optbench.critical.programs.gradient import Equations
from optbench.critical.programs.recorded import Step

Index = npt.NDArray[np.intp]
NUMBERS = 2**18  # ranges of all steps over the boxes that are taken together: they stay in the cache
SWEEPS = 8
GAIN = 0.9  # of some range: where all shrink less, no more is to be expected
SLACK = 2.0**-40  # relative error of a library root, or more
INVERSE = {"exp": "log", "expm1": "log1p"}


@dataclass(frozen=True)
class Group:
    """Steps that do the same at the same depth, each to arguments of its own.

    Attributes:
        op: as in `Step`.
        number: the exponent of a power; (m, 1) the numbers of shifts, factors or divisors, which have one sign.
        at: (m,) where their ranges stand.
        args: of each of their one or two arguments, where the ranges stand, (m,); no range stands there twice.
    """

    op: str
    number: Array
    at: Index
    args: tuple[Index, ...]


class Propagator:
    """Shrinks boxes to what may hold a zero of the gradient.

    Args:
        equations: the gradient.
    """

    def __init__(self, equations: Equations) -> None:
        self.dim, self.results = equations.dim, np.array(equations.results)
        self.size = len(equations.steps)
        self.groups = _grouped(equations.steps)

    def __call__(self, low: Array, high: Array) -> tuple[Array, Array, Mask]:
        """The boxes low, high (n, d) shrunk; False where a box is proved to hold no zero (it keeps some ends)."""
        low, high, alive = low.copy(), high.copy(), np.ones(len(low), dtype=bool)
        many = max(1, NUMBERS // self.size)
        with np.errstate(all="ignore"):
            for k in range(0, len(low), many):
                self._shrink(low[k : k + many], high[k : k + many], alive[k : k + many])
        return low, high, alive

    def _shrink(self, low: Array, high: Array, alive: Mask) -> None:
        """Forward and back, in place, as long as a box still shrinks."""
        rows = np.arange(len(low))
        ranges = np.empty((2, self.size, len(rows)))
        ranges[0, : self.dim], ranges[1, : self.dim] = -low.T, high.T
        for group in self.groups:
            ranges[:, group.at] = _forward(group, [ranges[:, k] for k in group.args])
        empty = np.zeros(len(rows), dtype=bool)
        _cut(ranges, self.results, 0.0, empty)
        for k in range(SWEEPS):
            before = ranges[0] + ranges[1]
            if k:
                for group in self.groups:
                    _cut(ranges, group.at, _forward(group, [ranges[:, m] for m in group.args]), empty)
            for group in reversed(self.groups):
                _backward(group, ranges, empty)
            gained = ((ranges[0] + ranges[1]) < GAIN * before).any(axis=0) & ~empty
            alive[rows[empty]] = False
            low[rows], high[rows] = -ranges[0, : self.dim].T, ranges[1, : self.dim].T
            if not gained.any():
                break
            if not gained.all():
                rows, ranges, empty = rows[gained], ranges[:, :, gained], empty[gained]


def _grouped(steps: Sequence[Step]) -> list[Group]:
    """The steps but for the coordinates, in an order in which they can be run."""
    depth: list[int] = []
    for step in steps:
        depth.append(1 + max((depth[k] for k in step.args), default=-1))
    found: dict[tuple[int, str, str, int], list[int]] = {}
    for k in sorted(range(len(steps)), key=depth.__getitem__):
        step, part = steps[k], 0
        if step.op == "x":
            continue
        # a range that two steps would cut goes to two groups
        while any(
            step.args[i] in args for i, args in enumerate(_args(steps, found.get((depth[k], *_kind(step), part), [])))
        ):
            part += 1
        found.setdefault((depth[k], *_kind(step), part), []).append(k)
    return [
        Group(
            op, np.array([[steps[k].number or 0.0] for k in at]), np.array(at), tuple(map(np.array, _args(steps, at)))
        )
        for (_, op, _, _), at in found.items()
    ]


def _kind(step: Step) -> tuple[str, str]:
    """What steps of one group have in common: factors of one sign, apart from 1 and -1, which are exact."""
    number = step.number or 0.0
    if step.op in ("scale", "over") and abs(number) != 1.0:
        return step.op, "+" if number > 0 else "-" if number < 0 else "0"
    return step.op, "" if step.op in ("shift", "constant") else float(number).hex()


def _args(steps: Sequence[Step], at: Sequence[int]) -> list[tuple[int, ...]]:
    """The first arguments of the steps, and the second ones."""
    return list(zip(*(steps[k].args for k in at), strict=True))


def _cut(ranges: Array, at: Index, by: Array | float, empty: Mask) -> None:
    """Intersects ranges: with ends as in `ends`, that is the smaller of each. Notes where nothing is left."""
    ranges[:, at] = found = np.fmin(ranges[:, at], by)
    empty |= ((found[0] + found[1]) < 0).any(axis=0)


def _forward(group: Group, args: Sequence[Array]) -> Array:
    """The ranges of an operation on the ranges of its arguments."""
    if group.op == "constant":
        return np.stack([-group.number, group.number])
    if group.op in _BINARY:
        return _BINARY[group.op](*args)
    if group.op in _WITH_NUMBER:
        return _WITH_NUMBER[group.op](args[0], group.number)
    if group.op.endswith("'"):
        return RULES[group.op[:-1]](args[0], 1)[1]
    return (power_rule(int(group.number[0, 0])) if group.op == "power" else RULES[group.op])(args[0], 0)[0]


def _shifted(a: Array, c: Array) -> Array:
    """a + c."""
    return ends.round_up(a + np.stack([-c, c]))


def _scaled(a: Array, c: Array) -> Array:
    """c a for c of one sign."""
    if abs(c[0, 0]) == 1.0:
        return a if c[0, 0] > 0 else ends.negate(a)
    return ends.round_up(a * c if c[0, 0] >= 0 else a[::-1] * -c)


def _divided(a: Array, c: Array) -> Array:
    """a / c for c of one sign, not 0."""
    return ends.round_up(a / c if c[0, 0] > 0 else a[::-1] / -c)


_BINARY: dict[str, Callable[[Array, Array], Array]] = {"plus": ends.add, "times": ends.multiply}
_WITH_NUMBER: dict[str, Callable[[Array, Array], Array]] = {"shift": _shifted, "scale": _scaled, "over": _divided}


def _backward(group: Group, ranges: Array, empty: Mask) -> None:
    """Cuts the arguments of steps to what their ranges, and the other argument, leave of them."""
    if not group.args:
        return
    r, a, number = ranges[:, group.at], group.args[0], group.number
    if group.op in _BINARY:
        b = group.args[1]
        left = _difference if group.op == "plus" else _quotient
        _cut(ranges, a, left(r, ranges[:, b], ranges[:, a]), empty)
        _cut(ranges, b, left(r, ranges[:, a], ranges[:, b]), empty)
    elif group.op == "shift":
        _cut(ranges, a, _shifted(r, -number), empty)
    elif group.op == "scale" and number[0, 0] != 0.0:
        _cut(ranges, a, _divided(r, number), empty)
    elif group.op == "over":
        _cut(ranges, a, _scaled(r, number), empty)
    elif group.op == "square" or (group.op == "power" and number[0, 0] > 0):
        _cut(ranges, a, _roots(r, 2 if group.op == "square" else int(number[0, 0]), ranges[:, a]), empty)
    elif group.op in INVERSE:
        _cut(ranges, a, RULES[INVERSE[group.op]](r, 0)[0], empty)


def _difference(r: Array, b: Array, _: Array) -> Array:
    """What a + b in r leaves of a."""
    return ends.add(r, ends.negate(b))


def _quotient(r: Array, b: Array, a: Array) -> Array:
    """What a b in r leaves of a."""
    found = ends.multiply(r, ends.reciprocal(b))
    apart = ((r[0] < 0) | (r[1] < 0)) & (b[0] >= 0) & (b[1] >= 0)  # b holds 0, and r does not
    if not apart.any():
        return found
    least = np.abs(np.where(r[0] < 0, r[0], r[1]))  # of |r|
    # a b = r with |b| up to b[0] on one side of 0 and up to b[1] on the other: |a| is at least |r| / |b| there.
    left, right = (_ratio(least, np.where(r[0] < 0, *pair)) for pair in ((b[0], b[1]), (b[1], b[0])))
    found[:, apart] = _outside(a, left, right)[:, apart]
    return found


def _ratio(a: Array, b: Array) -> Array:
    """A lower bound of a / b for a > 0 and b >= 0; infinite for b = 0, where there is nothing."""
    found = np.minimum(a / b, ends.LARGE)
    found -= found * ends.STEP + ends.TINY
    return np.where(b > 0, np.maximum(found, 0.0), np.inf)


def _outside(a: Array, left: Array, right: Array) -> Array:
    """The hull of what of a lies at or below -left, or at or above right; left, right >= 0."""
    return np.stack([
        np.where(-a[0] > -left, np.minimum(a[0], -right), a[0]),
        np.where(a[1] < right, np.minimum(a[1], -left), a[1]),
    ])  # fmt: skip


def _roots(r: Array, n: int, a: Array) -> Array:
    """What a^n in r leaves of a."""
    if n % 2:
        return np.where(r >= 0, _root_above(r, n), -_root_below(-r, n))
    found = _outside(a, *[_root_below(-r[0], n)] * 2) if (r[0] < 0).any() else a
    return np.asarray(np.minimum(found, _root_above(np.maximum(r[1], 0.0), n)))


def _root_above(x: Array, n: int) -> Array:
    """An upper bound of the n-th root of x; infinite for x < 0.

    The square root is rounded correctly. Of any other root the library's is a proposal that its own power must confirm.
    """
    if n == 2:
        return np.nan_to_num(_up(np.sqrt(x)), nan=np.inf, posinf=np.inf)
    near = _up(x ** (1.0 / n) * (1.0 + SLACK))
    return np.where(-ends.power(np.stack([-near, near]), n)[0] >= x, near, np.inf)


def _root_below(x: Array, n: int) -> Array:
    """A lower bound of the n-th root of x, at least 0."""
    if n == 2:
        near = np.sqrt(np.maximum(x, 0.0))
        return np.maximum(near - near * ends.STEP - ends.TINY, 0.0)
    near = np.maximum(x, 0.0) ** (1.0 / n) * (1.0 - SLACK)
    return np.where(ends.power(np.stack([-near, near]), n)[1] <= x, near, 0.0)


def _up(x: Array) -> Array:
    return x + x * ends.STEP + ends.TINY
