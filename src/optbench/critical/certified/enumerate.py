"""Branch and bound: every critical point in a box, each proved to exist and to be the only one near it.

From three coordinates on, boxes are first shrunk by constraint propagation on the gradient's program, where it has no
kinks or poles. A box is dropped when the gradient is proved not to vanish in it (propagation, ranges of the gradient,
its mean-value form, Krawczyk's operator), certified when Krawczyk's operator maps it, or an inflated box round it, into
its own interior, and else shrunk and cut in two. What is still alive below a width of `depth` is left undecided. Boxes
go breadth first, a level at a time, so that one evaluation serves thousands of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from optbench.critical.arithmetic.ends import TINY, Array, Mask, gamma
from optbench.critical.budget import Budget, Progress, Spent
from optbench.critical.certified.propagate import Propagator
from optbench.critical.programs.gradient import gradient, is_smooth
from optbench.critical.proofs.boxes import Boxes, Trail, halves, middle_of, steepest_side
from optbench.critical.proofs.components import components, extent, split_by
from optbench.critical.proofs.continuum import follows_zeros
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.krawczyk import (
    CONTRACTS,
    NARROWEST,
    Contraction,
    contract,
    half_sides,
    inflate,
    krawczyk,
    strictly_inside,
)

PROPAGATED = 3  # coordinates from which propagation pays
SHRUNK, SOME = 0.9, 0.1  # propagation must shorten a side to this share in this share of the boxes that it keeps
REST = 3  # else it is skipped this many times
NEEDLES, DOUBLINGS = 1000, 6  # boxes, and levels at which next to none was dropped: propagation leads nowhere
PIECE = 8192  # boxes examined together; fewer where their Hessians hold more than
NUMBERS = 2**20  # numbers
SMALL = 2.0**-8  # of the domain, geometric mean of a box's sides: above it, growth says nothing about a continuum
LEVELS = 12
LARGE = 0.01  # of the domain: a component at least this long is not a point
CROWD = 20_000  # boxes round what is left: too many to be worth following, if they are still multiplying
UNDERFLOW = 2.0**-1000  # derivatives below it are noise: no smaller box would tell more
MANY = 500  # boxes of one component, set aside from a crowd


class Search:
    """Branch and bound over the field's box.

    Attributes:
        unique: boxes with exactly one critical point each.
        held: enclosures of those points, in the same order.
        undecided: boxes that may hold none, one or several.
        continua: undecided boxes of components that neither shrink nor end.
        flat: undecided boxes all over which gradient and Hessian are below UNDERFLOW.
        boxes: boxes examined.
        stopped: why the search ended early; empty if it did not.

    Args:
        field: the objective on its box.
        depth: relative width below which a box is left undecided.
        max_boxes: examined at most.
        budget: of time and memory.
        progress: called with the share of the box that is done and a phrase.
        trail: told what became of every box; None: it is not recorded.
    """

    def __init__(
        self,
        field: Field,
        depth: float,
        max_boxes: int,
        budget: Budget,
        progress: Progress | None = None,
        trail: Trail | None = None,
    ) -> None:
        self.field, self.depth, self.max_boxes, self.budget = field, depth, max_boxes, budget
        self.piece = max(1, min(PIECE, NUMBERS // field.dim**2))
        self.progress = progress or (lambda share, phrase: None)
        self.unique, self.held, self.undecided, self.continua, self.flat = (Boxes(field.dim) for _ in range(5))
        self.trail = trail
        self.boxes = 0
        self.stopped = ""
        self.propagate, self._resting = _propagator(field), 0
        self._history: list[tuple[int, int, float, float]] = []

    def run(self) -> None:
        """Searches until nothing is left or a budget is spent."""
        low, high = self.field.low[None], self.field.high[None]
        while len(low):
            low, high = self._level(low, high)
            if self.stopped:
                break
            if self._only_multiplies(low, high):
                low, high = self._afresh()
                continue
            try:
                low, high = self._set_continua_aside(low, high)
            except Spent as reason:
                self.stopped = str(reason)
                break
            settled = 1.0 - self._share(low, high)
            words = f"{100 * settled:.4g} % of the volume settled, {len(self.unique)} certified, {len(low)} boxes open"
            self.progress(settled, words)
        self.undecided.add(low, high)
        if self.trail is not None:
            self.trail.add("undecided", *self.open_boxes())

    def _only_multiplies(self, low: Array, high: Array) -> bool:
        """Whether small boxes double with each level although propagation shrinks them: it has left needles along a
        continuum, which would be cut crosswise for ever."""
        if self.propagate is None or len(low) < NEEDLES or len(self._history) < DOUBLINGS:
            return False
        before, certified, *_ = self._history[-DOUBLINGS]
        small = float(np.median(((high - low) / self.field.width).max(axis=1))) <= SMALL
        return small and certified == len(self.unique) and len(low) >= 0.75 * 2.0**DOUBLINGS * before

    def _afresh(self) -> tuple[Array, Array]:
        """The whole box again, by cutting alone: boxes keep similar shapes, which shows what is a continuum."""
        self.unique, self.held, self.undecided, self.continua, self.flat = (Boxes(self.field.dim) for _ in range(5))
        self.propagate = None
        self._history.clear()
        if self.trail is not None:
            self.trail.forget()
        return self.field.low[None], self.field.high[None]

    def _level(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Examines all boxes of a level; returns their children, and the boxes not reached when a budget ran out."""
        children, k = Boxes(self.field.dim), 0
        try:
            while k < len(low):
                self.budget.poll()
                if self.boxes >= self.max_boxes:
                    raise Spent(f"the budget of {self.max_boxes} boxes is spent")
                with self._undone_if_spent():
                    children.add(*self._examine(low[k : k + self.piece], high[k : k + self.piece]))
                k += self.piece
        except Spent as reason:
            self.stopped = str(reason)
            children.add(low[k:], high[k:])
        return children.arrays()

    @contextmanager
    def _undone_if_spent(self) -> Iterator[None]:
        """Undoes the examination of some boxes where a budget runs out in the middle of it."""
        kept = (self.unique, self.held, self.undecided, self.continua, self.flat)
        before, boxes = [len(k.low) for k in kept], self.boxes
        fates = self.trail.pieces() if self.trail is not None else {}
        try:
            yield
        except Spent:
            for some, pieces in zip(kept, before, strict=True):
                some.cut_back(pieces)
            if self.trail is not None:
                self.trail.cut_back(fates)
            self.boxes = boxes
            raise

    def _examine(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Drops, certifies, leaves undecided or cuts each box; returns the halves."""
        self.boxes += len(low)
        if self.propagate is not None:
            low, high = self._propagated(self.propagate, low, high)
        over = self.field.enclose(low, high, 2)
        alive = ((over.grad[0] <= 0) & (over.grad[1] >= 0)).all(axis=1)
        if over.undefined is not None:
            alive &= ~over.undefined
        flat = (
            alive
            & (np.abs(over.grad).max(axis=(0, 2)) < UNDERFLOW)
            & (np.abs(over.hess).max(axis=(0, 2, 3)) < UNDERFLOW)
        )
        self.flat.add(low[flat], high[flat])
        if self.trail is not None:
            self.trail.add("excluded", low[~alive], high[~alive])
        alive &= ~flat
        low, high, over = low[alive], high[alive], over.rows(alive)
        middle = middle_of(low, high)
        grad = self.field.at(middle, 1).grad
        steepness = np.maximum(np.abs(over.hess[0]), np.abs(over.hess[1]))
        k = krawczyk(low, high, middle, grad, over.hess)
        excluded = _no_zero(grad, steepness, low, high, middle)
        alive = ~excluded & ~((k.low > high) | (k.high < low)).any(axis=1)
        sure = alive & strictly_inside(k, low, high)
        self.unique.add(low[sure], high[sure])
        self.held.add(k.low[sure], k.high[sure])
        open_ = alive & ~sure
        open_[open_] = ~self._inflated(low[open_], high[open_], k.rows(open_))
        if self.trail is not None:
            self.trail.add("excluded", low[excluded], high[excluded])
            self.trail.add("emptied", low[~excluded & ~alive], high[~excluded & ~alive])
            self.trail.add("proved", low[alive & ~open_], high[alive & ~open_])
            self.trail.add("split", low[open_], high[open_])
        low, high = np.maximum(low, k.low)[open_], np.minimum(high, k.high)[open_]
        small = ((high - low) <= self.depth * self.field.width).all(axis=1)
        self.undecided.add(low[small], high[small])
        return self._halves(low[~small], high[~small], steepness[open_][~small])

    def _propagated(self, propagate: Propagator, low: Array, high: Array) -> tuple[Array, Array]:
        """The boxes, or those parts of them, in which propagation leaves anything; none thinner than rounding."""
        if self._resting:
            self._resting -= 1
            return low, high
        new_low, new_high, alive = propagate(low, high)
        if self.trail is not None:
            self.trail.add("emptied", low[~alive], high[~alive])
        before = (high - low)[alive]
        low, high = new_low[alive], new_high[alive]
        shrunk = np.asarray((high - low < SHRUNK * before).any(axis=1))
        self._resting = REST if len(shrunk) and shrunk.mean() < SOME else 0
        least = 0.5 * NARROWEST * self.field.width
        middle = middle_of(low, high)
        return np.minimum(low, middle - least), np.maximum(high, middle + least)

    def open_boxes(self) -> tuple[Array, Array]:
        """Everything that is not decided."""
        parts = [boxes.arrays() for boxes in (self.undecided, self.continua, self.flat)]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def _inflated(self, low: Array, high: Array, k: Contraction) -> Mask:
        """(n,) True for boxes inside a larger box that is certified: for zeros on faces and corners."""
        done = np.zeros(len(low), dtype=bool)
        near = (np.abs(k.newton - 0.5 * (low + high)) <= (high - low) + self.depth * self.field.width).all(axis=1)
        at = np.flatnonzero(near & (k.norm < CONTRACTS))
        if not len(at):
            return done
        wide_low, wide_high = inflate(self.field, low[at], high[at], k.newton[at])
        found = contract(self.field, wide_low, wide_high)
        sure = strictly_inside(found, wide_low, wide_high)
        self.unique.add(wide_low[sure], wide_high[sure])
        self.held.add(found.low[sure], found.high[sure])
        done[at[sure]] = True
        return done

    def _halves(self, low: Array, high: Array, steepness: Array) -> tuple[Array, Array]:
        """Cuts where the gradient varies most, but never a side much thinner than the others."""
        if not len(low):
            return low, high
        axis, rows = steepest_side(steepness, high - low, self.field.width), np.arange(len(low))
        cut = middle_of(low, high)[rows, axis]
        stuck = (cut <= low[rows, axis]) | (cut >= high[rows, axis])  # no number lies between the ends
        if stuck.any():
            self.undecided.add(low[stuck], high[stuck])
            low, high, axis = low[~stuck], high[~stuck], axis[~stuck]
        return halves(low, high, axis)

    def _set_continua_aside(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Takes out components whose boxes multiply for ever: continua, and points too flat for this arithmetic."""
        span = float(((high.max(axis=0, initial=-np.inf) - low.min(axis=0, initial=np.inf)) / self.field.width).max())
        size = float(np.prod((high - low) / self.field.width, axis=1).max(initial=0.0) ** (1.0 / self.field.dim))
        self._history.append((len(low), len(self.unique), span, size))
        if len(low) < LEVELS or len(self._history) <= LEVELS:
            return low, high
        before, certified, span_before, size_before = self._history[-1 - LEVELS]
        contracting = size < 0.5 * size_before * 2.0 ** (-LEVELS / self.field.dim)
        if certified < len(self.unique) or size > SMALL or contracting:
            return low, high
        shrinking = span < 0.7 * span_before
        growing = len(low) >= before * 2.0 ** (0.75 * LEVELS / self.field.dim)
        crowded = len(low) > max(CROWD, 2 * before)
        # A valley that is about to be resolved shrinks, too, but not for long.
        steady = len(self._history) > 2 * LEVELS and span_before < 0.7 * self._history[-1 - 2 * LEVELS][2]
        if not (crowded and steady if shrinking else growing or crowded):
            return low, high
        self._history.clear()
        label = components(low, high, self.field.width)
        groups = split_by(label, low, high)
        if shrinking:  # too flat a point: its boxes multiply although the region that they fill gets smaller
            aside = (np.bincount(label) > MANY)[label]
            self.undecided.add(low[aside], high[aside])
        else:
            long = [extent(*g, self.field.width) > LARGE and follows_zeros(self.field, *g) for g in groups]
            aside = np.array(long)[label]
            self.continua.add(low[aside], high[aside])
        return low[~aside], high[~aside]

    def _share(self, low: Array, high: Array) -> float:
        """Share of the domain's volume in the boxes."""
        return float(np.prod((high - low) / self.field.width, axis=1).sum())


def _propagator(field: Field) -> Propagator | None:
    """Propagation on the gradient, where that pays and every operation is smooth; else None."""
    if field.dim < PROPAGATED:
        return None
    return Propagator(gradient(field.program)) if is_smooth(field.program) else None


def _no_zero(grad: Array, steepness: Array, low: Array, high: Array, middle: Array) -> Mask:
    """(n,) True where the mean-value form g(m) + H(X)(X - m) excludes 0."""
    with np.errstate(all="ignore"):
        half = half_sides(low, high, middle)
        reach = (steepness @ half[..., None])[..., 0] * (1.0 + 8.0 * gamma(low.shape[1])) + 4 * TINY
        return np.asarray(((grad[0] > reach) | (-grad[1] > reach)).any(axis=1))
