"""Curves of critical points over a parameter: branch and bound in (x, a), with Krawczyk's operator for all a at once.

For f(x, a) a cell is a box X times an interval A. It is dropped when the gradient in x is proved not to vanish in it.
Krawczyk's operator with g(m, A) in place of g(m) maps X into its interior only if for *every* a in A there is exactly
one critical point in X, and it is nondegenerate: a tube, through which one smooth curve x(a) runs. Everything else is
cut, in x or in a, until it is as small as the depth: what is then left lies round the bifurcations.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optbench.critical.arithmetic.ends import Array, Mask
from optbench.critical.budget import Progress
from optbench.critical.proofs.boxes import Boxes, halves, middle_of
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.inertia import eigenvalue_ranges
from optbench.critical.proofs.krawczyk import (
    CONTRACTS,
    MARGIN,
    Contraction,
    contract_for_all,
    strictly_inside,
)

Index = npt.NDArray[np.intp]
PIECE = 4096
LEAST = 1e-12  # of the box: sides of an inflated tube
THINNEST = 0.01  # of its widest side
SPENT, INTERRUPTED = "the budget is spent", "interrupted"
POLISH = 30


@dataclass(frozen=True)
class Tubes:
    """n tubes: for every a in [a_low, a_high] exactly one critical point in the box unique; it lies in held.

    Attributes:
        unique_low, unique_high: (n, d).
        low, high: held, (n, d).
        a_low, a_high: (n,).
    """

    unique_low: Array
    unique_high: Array
    low: Array
    high: Array
    a_low: Array
    a_high: Array

    def __len__(self) -> int:
        return len(self.a_low)

    def rows(self, chosen: Mask | Index) -> Tubes:
        """Some of them."""
        return Tubes(*(getattr(self, name)[chosen] for name in _NAMES))

    @classmethod
    def joined(cls, parts: list[Tubes], dim: int) -> Tubes:
        """All of them."""
        empty = [np.empty((0, dim))] * 4 + [np.empty(0)] * 2
        return cls(*(np.concatenate([e, *(getattr(p, n) for p in parts)]) for e, n in zip(empty, _NAMES, strict=True)))


_NAMES = ("unique_low", "unique_high", "low", "high", "a_low", "a_high")


def contract(field: Field, low: Array, high: Array) -> Contraction:
    """Krawczyk's operator in x on cells low, high (n, d + 1), for all a in them."""
    return _contract(field, low, high, field.enclose(low, high, 2).hess)


def _contract(field: Field, low: Array, high: Array, hess: Array) -> Contraction:
    d = field.dim - 1
    return contract_for_all(field, low, high, range(d), [d], hess)


class Search:
    """Branch and bound over the box of a field whose last coordinate is the parameter.

    Attributes:
        boxes: cells examined.
        stopped: why it ended early; empty if it did not.

    Args:
        field: f(x, a) on X x A.
        max_boxes: budget.
        deadline: of time.perf_counter.
        progress: told the share of the volume that is done.
    """

    def __init__(self, field: Field, max_boxes: int, deadline: float, progress: Progress | None = None) -> None:
        self.field, self.max_boxes, self.deadline = field, max_boxes, deadline
        self.progress = progress or (lambda share, phrase: None)
        self.parts: list[Tubes] = []
        self.boxes = 0
        self.stopped = ""

    def run(self, low: Array, high: Array, depth: Array) -> tuple[Array, Array]:
        """Examines the cells and their parts; returns those that are left at the depth (d + 1,) of the box."""
        left = Boxes(self.field.dim)
        try:
            low, high = self._levels(low, high, depth, left)
        except KeyboardInterrupt:
            self.stopped = INTERRUPTED
            low, high = self._level
        left.add(low, high)
        return left.arrays()

    def _levels(self, low: Array, high: Array, depth: Array, left: Boxes) -> tuple[Array, Array]:
        while len(low) and not self.stopped:
            self._level = low, high  # what is open if the search is stopped
            children = Boxes(self.field.dim)
            for k in range(0, len(low), PIECE):
                if self.boxes >= self.max_boxes or time.perf_counter() > self.deadline:
                    self.stopped = SPENT
                    left.add(low[k:], high[k:])
                    break
                new_low, new_high, steepness = self._examine(low[k : k + PIECE], high[k : k + PIECE])
                axis = self._axis(new_low, new_high, steepness, depth)
                left.add(new_low[axis < 0], new_high[axis < 0])
                children.add(*halves(new_low[axis >= 0], new_high[axis >= 0], axis[axis >= 0]))
            low, high = children.arrays()
            self._tell(low, high, left)
        return low, high

    def tubes(self) -> Tubes:
        """Those found so far."""
        return Tubes.joined(self.parts, self.field.dim - 1)

    def _tell(self, low: Array, high: Array, left: Boxes) -> None:
        share = sum(float(np.prod((b - a) / self.field.width, axis=1).sum()) for a, b in ((low, high), left.arrays()))
        self.progress(1.0 - share, f"{sum(map(len, self.parts))} tubes, {len(low) + len(left)} cells open")

    def _examine(self, low: Array, high: Array) -> tuple[Array, Array, Array]:
        """Drops and certifies cells; returns what is left of the others, and how steep the gradient is on each axis."""
        d = self.field.dim - 1
        self.boxes += len(low)
        over = self.field.enclose(low, high, 2)
        alive = np.asarray(((over.grad[0, :, :d] <= 0) & (over.grad[1, :, :d] >= 0)).all(axis=1))
        low, high, over = low[alive], high[alive], over.rows(alive)
        k = _contract(self.field, low, high, over.hess)
        x_low, x_high = low[:, :d], high[:, :d]
        alive = np.asarray(~((k.low > x_high) | (k.high < x_low)).any(axis=1))
        sure = alive & strictly_inside(k, x_low, x_high)
        a_low, a_high = low[:, d], high[:, d]
        self.parts.append(Tubes(x_low[sure], x_high[sure], k.low[sure], k.high[sure], a_low[sure], a_high[sure]))
        open_ = alive & ~sure
        open_[open_] = ~self._inflated(low[open_], high[open_], k.rows(open_))
        low, high = low[open_], high[open_]
        low[:, :d], high[:, :d] = np.maximum(low[:, :d], k.low[open_]), np.minimum(high[:, :d], k.high[open_])
        steepness = np.maximum(np.abs(over.hess[0]), np.abs(over.hess[1]))[open_][:, :d].sum(axis=1)
        return low, high, steepness

    def _inflated(self, low: Array, high: Array, k: Contraction) -> Mask:
        """(n,) True for cells inside a wider one that is a tube: for curves that run along or across their walls."""
        d = self.field.dim - 1
        done = np.zeros(len(low), dtype=bool)
        with np.errstate(invalid="ignore"):
            reach = 1.5 * (high - low)[:, :d] + (k.high - k.low)
            near = (np.abs(k.newton - 0.5 * (low + high)[:, :d]) <= reach).all(axis=1)
        at = np.flatnonzero(near & (k.norm < CONTRACTS))
        if not len(at):
            return done
        newton = k.newton[at]
        half = np.maximum(np.abs(high[at, :d] - newton), np.abs(newton - low[at, :d]))
        half = np.maximum(half, 0.5 * (k.high[at] - k.low[at])) * MARGIN
        relative = half / self.field.width[:d]
        half = np.maximum(relative, np.maximum(THINNEST * relative.max(axis=1, keepdims=True), LEAST))
        half = half * self.field.width[:d]
        wide_low, wide_high = low[at].copy(), high[at].copy()
        wide_low[:, :d], wide_high[:, :d] = newton - half, newton + half
        found = contract(self.field, wide_low, wide_high)
        sure = strictly_inside(found, wide_low[:, :d], wide_high[:, :d])
        rows = at[sure]
        self.parts.append(
            Tubes(
                wide_low[sure, :d], wide_high[sure, :d], found.low[sure], found.high[sure], low[rows, d], high[rows, d]
            )
        )
        done[rows] = True
        return done

    def _axis(self, low: Array, high: Array, steepness: Array, depth: Array) -> npt.NDArray[np.int_]:
        """(n,) the axis to cut; -1 where all are as short as the depth."""
        wide = high - low
        middle = middle_of(low, high)
        may = (wide > depth * self.field.width) & (middle > low) & (middle < high)
        with np.errstate(all="ignore"):
            smear = steepness * wide
        usable = np.isfinite(smear).all(axis=1, keepdims=True) & (smear > 0).any(axis=1, keepdims=True)
        weight = np.where(may, np.where(usable, smear, wide / self.field.width), -1.0)
        return np.where(may.any(axis=1), weight.argmax(axis=1), -1)


def at_parameter(field: Field, tubes: Tubes, a: Array, steps: int = POLISH) -> tuple[Array, Array]:
    """Narrow enclosures, (n, d) each, of the critical points of n tubes at the parameters a (n,) within them.

    Args:
        field: f(x, a).
        tubes: n of them.
        a: a parameter of each.
        steps: of Krawczyk's operator at most.
    """
    low, high = tubes.low.copy(), tubes.high.copy()
    active = np.arange(len(a))
    for _ in range(steps):
        if not len(active):
            break
        k = contract(field, np.column_stack([low[active], a[active]]), np.column_stack([high[active], a[active]]))
        new_low, new_high = np.maximum(low[active], k.low), np.minimum(high[active], k.high)
        before, after = (high[active] - low[active]).max(axis=1), (new_high - new_low).max(axis=1)
        low[active], high[active] = new_low, new_high
        active = active[after < 0.99 * before]
    return low, high


def inertia(field: Field, low: Array, high: Array, a: Array) -> Array:
    """(n,) Morse indices of nondegenerate critical points in the boxes low, high (n, d) at a (n,); -1 where open."""
    d = field.dim - 1
    cells = np.column_stack([low, a]), np.column_stack([high, a])
    eigen_low, eigen_high = eigenvalue_ranges(np.ascontiguousarray(field.enclose(*cells, 2).hess[:, :, :d, :d]))
    negative, positive = (eigen_high < 0).sum(axis=1), (eigen_low > 0).sum(axis=1)
    return np.where(negative + positive == d, negative, -1)
