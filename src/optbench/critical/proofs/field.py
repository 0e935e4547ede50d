"""An objective on a box, seen through interval jets: boxes in, enclosures of f, gradient and Hessian out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from optbench.critical.arithmetic.ends import Array, Mask
from optbench.critical.arithmetic.jet import Jet, coordinates_of_boxes, pairs
from optbench.critical.budget import Budget
from optbench.critical.programs.program import record
from optbench.problem import Box, Objective

CHUNK = 4096  # boxes evaluated together: their intermediate arrays stay in the cache; fewer where they would hold
NUMBERS = 2**18  # numbers or more


@dataclass(frozen=True)
class Enclosure:
    """Ranges over n boxes, natural ends: [0] lower, [1] upper; infinite where nothing is known.

    Attributes:
        value: (2, n).
        grad: (2, n, d); empty where it was not asked for.
        hess: (2, n, d, d), symmetric; empty where it was not asked for.
        undefined: (n,) True where f is proved to be NaN all over the box; None: nowhere.
    """

    value: Array
    grad: Array
    hess: Array
    undefined: Mask | None = None

    def rows(self, chosen: Mask) -> Enclosure:
        """The enclosures of some of the boxes."""
        undefined = None if self.undefined is None else self.undefined[chosen]
        return Enclosure(self.value[:, chosen], self.grad[:, chosen], self.hess[:, chosen], undefined)


class Field:
    """An objective with a box.

    Args:
        objective: torch callable (..., d) -> (...).
        box: (low, high) of each axis.

    Attributes:
        program: the operations of the objective; enclosures are of this program.
        budget: asked before each piece of work; None: no limit.

    Raises:
        MissingRule: the objective uses an operation without an interval rule.
        UserError: it does not return one value a point.
    """

    budget: Budget | None = None

    def __init__(self, objective: Objective, box: Box) -> None:
        self.objective = objective
        self.low = np.array([float(low) for low, _ in box])
        self.high = np.array([float(high) for _, high in box])
        self.width = self.high - self.low
        self.dim = len(box)
        inside = np.random.default_rng(0).uniform(0.25, 0.75, (3, self.dim))
        self.program = record(objective, self.dim, self.low + inside * self.width)

    @property
    def chunk(self) -> int:
        """Boxes evaluated together."""
        return max(16, min(CHUNK, NUMBERS // self.dim**2))

    def enclose(self, low: Array, high: Array, order: int) -> Enclosure:
        """Ranges of f and its derivatives up to `order` over the boxes low, high: (n, d).

        Raises:
            Spent: the field has a budget, and it is spent.
        """
        found = []
        for k in range(0, max(len(low), 1), self.chunk):
            if self.budget is not None:
                self.budget.poll()
            found.append(self._enclose(low[k : k + self.chunk], high[k : k + self.chunk], order))
        if len(found) == 1:
            return found[0]
        value, grad, hess = (
            np.concatenate([getattr(f, name) for f in found], axis=1) for name in ("value", "grad", "hess")
        )
        void = [np.zeros(f.value.shape[1], dtype=bool) if f.undefined is None else f.undefined for f in found]
        return Enclosure(value, grad, hess, np.concatenate(void))

    def at(self, x: Array, order: int) -> Enclosure:
        """Enclosures at the points x (n, d): wide by rounding only."""
        return self.enclose(x, x, order)

    def undefined_share(self) -> float:
        """A lower bound on the share of the box in which f is undefined, from the cells of a grid."""
        per_axis = int(CHUNK ** (1.0 / self.dim)) - 1 | 1  # odd: the edges of cells are not those that people choose
        if per_axis < 3 or self.enclose(self.low[None], self.high[None], 0).undefined is None:
            return 0.0
        ends = np.linspace(self.low, self.high, per_axis + 1)
        cells = np.stack(np.meshgrid(*[np.arange(per_axis)] * self.dim, indexing="ij"), -1).reshape(-1, self.dim)
        axes = np.arange(self.dim)
        undefined = self.enclose(ends[cells, axes], ends[cells + 1, axes], 0).undefined
        return 0.0 if undefined is None else float(undefined.mean())

    def values(self, x: Array) -> Array:
        """f at the points x (n, d) in plain floating point: nothing is proved, nothing is rounded outward."""
        with torch.no_grad():
            found = self.objective(torch.from_numpy(np.ascontiguousarray(x)))
            return np.asarray(torch.as_tensor(found, dtype=torch.float64).expand(len(x)).numpy())

    def _enclose(self, low: Array, high: Array, order: int) -> Enclosure:
        n, d = low.shape
        with np.errstate(all="ignore"):
            jet = self._run(low, high, order)
            empty = np.empty((2, n, 0))
            grad = _full(jet, jet.grad, n, d) if order else empty
            hess = _symmetric(jet, n, d) if order > 1 else empty[..., None]
            undefined = None if jet.gaps is None else np.array(np.broadcast_to(jet.gaps[1], n))
            return Enclosure(_natural(np.broadcast_to(jet.value, (2, n))), grad, hess, undefined)

    def _run(self, low: Array, high: Array, order: int) -> Jet:
        found = self.program.value(coordinates_of_boxes(low, high, order))
        assert isinstance(found, Jet)
        return found


def _natural(values: Array) -> Array:
    """Natural ends, contiguous."""
    out = np.array(values)
    np.negative(out[0], out=out[0])
    return out


def _full(jet: Jet, grad: Array, n: int, d: int) -> Array:
    out = np.zeros((2, n, d))
    for k, i in enumerate(jet.coordinates):
        out[0, :, i], out[1, :, i] = -grad[0, k], grad[1, k]
    return out


def _symmetric(jet: Jet, n: int, d: int) -> Array:
    out = np.zeros((2, n, d, d))
    if jet.hess is not None:
        rows, columns = pairs(len(jet.coordinates))
        for k in range(len(rows)):
            i, j = jet.coordinates[rows[k]], jet.coordinates[columns[k]]
            for p, q in {(i, j), (j, i)}:
                out[0, :, p, q], out[1, :, p, q] = -jet.hess[0, k], jet.hess[1, k]
    return out
