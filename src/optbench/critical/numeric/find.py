"""The numerical search for all critical points of a surface in a box: thorough, checked, and not a proof.

Seeds are the cells of a grid in which the gradient changes sign and a space-filling set; Newton runs from all of them
at once, to critical points of every kind. Cells that keep changing sign without a point in them show kinks. Rounds with
ever finer grids follow until one finds nothing new. In one and two dimensions the sum of the indices must then equal
the winding number of the gradient along the edge of the box. Neither is a proof: a dense multistart missed 3 of the 81
points of Bohachevsky's first function, and a pair of missed points (+1 and -1) leaves the sum as it was. So the result
never claims to be complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.stats import qmc

from optbench.critical.budget import Budget, Progress, Spent
from optbench.critical.numeric.calculus import Array, Field
from optbench.critical.numeric.cells import cut, grid_cells, leftovers, unexplained
from optbench.critical.numeric.degenerate import smoothness
from optbench.critical.numeric.groups import Groups, sort_out
from optbench.critical.numeric.newton import DOWN, PLAIN, UP, refine
from optbench.critical.numeric.report import Kinks, describe_groups
from optbench.critical.numeric.winding import winding_of_box
from optbench.critical.points.found import CriticalSet, Winding
from optbench.errors import UserError
from optbench.problem import Box, Objective

GRID_CORNERS = 20_000  # of the first round
MOST_CELLS = 300_000
MOST_SEEDS = 20_000  # of one echo
ECHOES = 4
GRID_DIM = 6  # no grid in more dimensions: two cells an axis say little
KINK_DIM = 3
ROUNDS = 3
MOST_COORDINATES = 200  # Newton holds a Hessian for each of some thousand seeds
SEEDS = 512  # of each of Newton's three modes, in the first round
SORTED = 0.7  # of the budget: then what has been found is sorted out
FEW, GLANCE = 16, 0.5  # seeds, and seconds at most, of a glance that no budget takes away
WHY = "not proved complete: a numerical search can miss points"


def find_critical(
    objective: Objective,
    box: Box,
    *,
    name: str = "surface",
    budget_seconds: float = 60.0,
    budget: Budget | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> CriticalSet:
    """Searches the box for critical points of every kind and says what each one is.

    Args:
        objective: torch callable (..., d) -> (...), evaluated in float64.
        box: (low, high) of each of the d axes.
        name: of the surface, for the report.
        budget_seconds: wall time, kept to within a fifth and a second.
        budget: of time and memory, in place of `budget_seconds`.
        seed: of the space-filling seeds. Same input, same output, unless the budget ends the search.
        progress: called with the share done (0..1) and a phrase.

    Raises:
        UserError: the objective is finite nowhere in the box, or too many coordinates.
    """
    if len(box) > MOST_COORDINATES:
        raise UserError(f"{len(box)} coordinates: the numerical search takes up to {MOST_COORDINATES}")
    budget = Budget(budget_seconds) if budget is None else budget
    tell = progress or (lambda share, phrase: None)
    search = Search(Field(objective, box), seed)
    note, result = search.run(budget, tell, lambda groups, winding: _result(search, groups, winding, name, box))
    tell(1.0, "done")
    notes = (*result.notes, note) if note else result.notes
    return replace(result, seconds=budget.elapsed(), notes=notes)


def _result(search: Search, groups: Groups, winding: Winding, name: str, box: Box) -> CriticalSet:
    points, clusters = describe_groups(search.field, groups, search.kinks)
    if any(point.on_boundary for point in points):
        winding = Winding(None, "a critical point lies on the edge of the box")
    notes = () if winding.number is not None else (f"no winding number: {winding.reason}",)
    return CriticalSet(name, box, "numeric", False, WHY, winding.number, points, clusters, 0.0, search.cells, notes)


class Search:
    """Rounds of ever finer seeds and what they have found so far.

    Args:
        field: the objective on its box; its unit is chosen here.
        seed: of the space-filling seeds.
    """

    def __init__(self, field: Field, seed: int) -> None:
        self.field = field
        self.seed = seed
        self.found: Array = np.empty((0, field.dim))
        self.kinks = Kinks(np.empty((0, field.dim)), (), ())
        self.cells = 0
        sample = self._spread(1024, 0)
        if not np.isfinite(field.value(sample)).any():
            raise UserError(
                "the function is not finite anywhere in the box (1024 points tried)", "choose another --box"
            )
        field.calibrate(sample)

    def run(
        self, budget: Budget, tell: Progress, describe: Callable[[Groups, Winding], CriticalSet]
    ) -> tuple[str, CriticalSet]:
        """Rounds until one finds nothing new; what stopped it before, and the result of `describe`.

        Args:
            budget: of time and memory. A glance at a few seeds, of GLANCE seconds at most, is had in any case.
            tell: called with the share done and a phrase.
            describe: turns groups and the winding number into a result.
        """
        field, note = self.field, ""
        tell(0.0, "a glance")
        field.budget = replace(budget, seconds=max(GLANCE, budget.seconds))
        self.found = refine(field, self._spread(FEW, 0), np.resize([PLAIN, DOWN, UP], FEW))
        field.budget, budget.limit = budget, SORTED * budget.seconds
        winding, k = Winding(None, "the search ended before it was computed"), 0
        before: tuple[int, ...] = ()
        try:
            winding = winding_of_box(field)
            for k in range(ROUNDS):
                tell(k / ROUNDS, f"round {k + 1}: Newton from a grid and random seeds")
                groups = self.round(k)
                size = (len(groups.sure), len(groups.doubtful), len(self.kinks.points))
                last = k + 1 == ROUNDS or bool(groups.continua or self.kinks.curves)
                if last or size == before:
                    result = describe(groups, winding)
                    if last or not result.mismatch:
                        return "", result
                before = size
        except Spent as reason:
            note = f"stopped in round {k + 1}: {reason}"
        budget.sort_out()
        try:
            groups = sort_out(field, self.found)
        except Spent:
            field.budget = None
            note += f"; of {len(self.found)} places that Newton's method reached one is looked at"
            groups = sort_out(field, self.found[:1])
            field.budget = budget
        return note, describe(groups, winding)

    def round(self, k: int) -> Groups:
        """One pass of grid, Newton and leftover cells; returns the distinct points of all rounds."""
        field = self.field
        spread = self._spread(SEEDS << k, k)
        centers, half = self._cells(k)
        seeds = [centers, 0.5 * (field.low + field.high)[None], spread, spread, spread]
        modes = np.repeat([PLAIN, PLAIN, PLAIN, DOWN, UP], [len(s) for s in seeds])
        groups = self._echo(self._newton(np.concatenate(seeds), modes))
        if field.dim > KINK_DIM:
            return groups
        # Most leftover cells hide an ordinary point: cut them, and let Newton try again from closer by.
        centers = unexplained(field, centers, half, self._known(groups), groups.continua)
        for _ in range(2):
            if len(centers) * 3**field.dim <= MOST_CELLS:
                centers, half = cut(field, centers, half)
        groups = self._newton(centers)
        places, many = leftovers(field, centers, half, self._known(groups), groups.continua)
        if len(places):
            self._keep(places, many)
            groups = sort_out(field, self.found)
        return groups

    def _echo(self, groups: Groups) -> Groups:
        """Tries where each point's neighbours, seen from it, have a mirror image: periodic surfaces fill up at once."""
        for _ in range(ECHOES):
            x, count = groups.sure, len(groups.sure)
            near = min(2 * self.field.dim + 1, count)
            if near < 2 or count * (near - 1) > MOST_SEEDS:
                break
            neighbours = cKDTree(x / self.field.width).query(x / self.field.width, k=near)[1][:, 1:]
            seeds = (2 * x[:, None] - x[neighbours]).reshape(-1, self.field.dim)
            groups = self._newton(seeds[self.field.outside(seeds) == 0])
            if len(groups.sure) == count:
                break
        return groups

    def _known(self, groups: Groups) -> Array:
        return np.concatenate([groups.sure, groups.doubtful, self.kinks.points])

    def _keep(self, places: Array, many: bool) -> None:
        """Sorts leftover places: kinks, curves of kinks, and smooth points too flat for Newton; poles are dropped."""
        words = [smoothness(self.field, place) for place in places]
        kink = np.array([word.startswith("not") for word in words])
        fresh = tuple(word for word in words if word.startswith("not"))
        if many:
            curves = (*self.kinks.curves, places[kink]) if kink.any() else self.kinks.curves
            self.kinks = Kinks(self.kinks.points, self.kinks.words, curves)
            return
        points = np.concatenate([self.kinks.points, places[kink]])
        self.kinks = Kinks(points, (*self.kinks.words, *fresh), self.kinks.curves)
        smooth = np.array([word == "" for word in words])
        self.found = np.concatenate([self.found, places[smooth]])

    def _newton(self, seeds: Array, modes: npt.NDArray[np.int_] | None = None) -> Groups:
        modes = np.full(len(seeds), PLAIN) if modes is None else modes
        self.found = np.concatenate([self.found, refine(self.field, seeds, modes)])
        return sort_out(self.field, self.found)

    def _spread(self, count: int, k: int) -> Array:
        """(count, d) Sobol points of the box; count is a power of two."""
        unit = qmc.Sobol(self.field.dim, seed=np.random.default_rng([self.seed, k])).random(count)
        return np.asarray(self.field.low + unit * self.field.width)

    def _cells(self, k: int) -> tuple[Array, Array]:
        """Sign-change cells of round k; an odd number per axis, so that the centre of the box is not a corner."""
        dim = self.field.dim
        if dim > GRID_DIM:
            return np.empty((0, dim)), self.field.width / 2
        most = min(GRID_CORNERS << (2 * k), MOST_CELLS)
        per_axis = max(3, int(most ** (1 / dim)) - 1 | 1)
        self.cells += per_axis**dim
        return grid_cells(self.field, per_axis)
