"""`--verify arb`: the same list of critical points, proved a second time in another arithmetic.

Branch and bound once more, with Arb balls in place of our intervals, one box at a time, written for clarity and not for
speed. Nothing is taken over from the first proof but its claims, which are compared with what is found here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.critical.arithmetic.ends import Array
from optbench.critical.budget import Budget
from optbench.critical.points.found import CriticalPoint, CriticalSet
from optbench.critical.programs.program import Program, record
from optbench.critical.programs.separable import factors
from optbench.critical.second_proof.agreement import Found, agreement, difference
from optbench.critical.typed.parse import require_flint
from optbench.problem import Objective

DEPTH = 1e-7  # of the domain
NEAR = 1e-5  # of the domain: what stays open here must lie this near a region that the first proof left open
STEPS = 6  # of Newton's method
SIZES = (1e-13, 1e-11, 1e-9, 1e-7, 1e-5)  # of the domain
BITS = 80
MAX_BOXES = 200_000


@dataclass(frozen=True)
class Verification:
    """Outcome of the second proof.

    Attributes:
        agrees: every certified point of the list was proved again with the same Morse index, no other was found, and
            what is open here was open there. Of a region that was open there only the listed points in its hull are
            looked at.
        why: what was compared, or what differs.
        points: certified here.
        boxes: examined here.
        seconds: wall time.
    """

    agrees: bool
    why: str
    points: int
    boxes: int
    seconds: float


def verify_arb(
    objective: Objective,
    found: CriticalSet,
    *,
    max_boxes: int = MAX_BOXES,
    seconds: float = 300.0,
    budget: Budget | None = None,
) -> Verification:
    """Proves the critical points of `found` again, in ball arithmetic.

    Args:
        objective: the function that `found` is about.
        found: result of `certify`.
        max_boxes: budget.
        seconds: budget, wall time.
        budget: of time and memory, in place of `seconds`.

    Raises:
        UserError: python-flint is not installed.
    """
    require_flint()
    import flint

    budget, bits = Budget(seconds) if budget is None else budget, flint.ctx.prec
    program = record(objective, found.dim)
    flint.ctx.prec = BITS
    try:
        return (_factors_verified if found.factors else _verified)(program, found, max_boxes, budget)
    finally:
        flint.ctx.prec = bits


def _verified(program: Program, found: CriticalSet, max_boxes: int, budget: Budget) -> Verification:
    search = _Search(program, found)
    why = search.run(max_boxes, budget) or difference(found, search.points)
    text = why or agreement(found, search.points)
    return Verification(not why, text, len(search.points), search.boxes, budget.elapsed())


def _factors_verified(program: Program, found: CriticalSet, max_boxes: int, budget: Budget) -> Verification:
    """The points of each factor proved again; that they may be combined is read from the program, as in `separable`."""
    boxes, points = 0, 0
    done: dict[tuple[Program, int], Verification] = {}
    parts = factors(program)
    if [part.coordinates for part in parts] != [factor.coordinates for factor in found.factors]:
        return Verification(False, "the factors are not those of the program", 0, 0, 0.0)
    for part, factor in zip(parts, found.factors, strict=True):
        key = (part.program, id(factor.found))
        if key in done:
            continue
        done[key] = again = _verified(part.program, factor.found, max_boxes - boxes, budget)
        boxes, points = boxes + again.boxes, points + again.points
        if not again.agrees:
            return Verification(False, f"in {factor.title}: {again.why}", points, boxes, budget.elapsed())
    why = f"each of {len(parts)} factors: " + "; ".join(dict.fromkeys(again.why for again in done.values()))
    return Verification(True, why, points, boxes, budget.elapsed())


class _Search:
    """Depth-first branch and bound; a box is a list of balls with the arrays of its ends."""

    def __init__(self, program: Program, found: CriticalSet) -> None:
        self.program = program
        self.low, self.high = (np.array([float(side[k]) for side in found.box]) for k in (0, 1))
        self.width = self.high - self.low
        self.open = [np.array(c.box).T for c in found.clusters]
        self.open += [_round(p) for p in found.points if p.type == "degenerate"]
        self.claimed = [_round(p) for p in found.points if p.type != "degenerate"]
        self.points: list[Found] = []
        self.unique_low, self.unique_high = (np.empty((0, len(self.low))) for _ in range(2))
        self.boxes = 0

    def run(self, max_boxes: int, budget: Budget) -> str:
        """Searches the whole box; returns why it could not, or an empty string."""
        stack = [(self.low.copy(), self.high.copy())]
        while stack:
            reason = f"the budget of {max_boxes} boxes is spent" if self.boxes >= max_boxes else budget.reason()
            if reason:
                return f"{reason} after {self.boxes} boxes; {self._settled(stack)}"
            low, high = stack.pop()
            self.boxes += 1
            if self._was_open(low, high) or self._known(low, high):
                continue
            children = self._examine(low, high)
            if children is None:
                place = ", ".join(f"{v:.6g}" for v in 0.5 * (low + high))
                return f"a box near ({place}) could not be decided, which the first proof had settled"
            stack += children
        return ""

    def _settled(self, stack: list[tuple[Array, Array]]) -> str:
        """How far an unfinished search has come."""
        left = sum(float(np.prod((high - low) / self.width)) for low, high in stack)
        n = len(self.points)
        return f"so far {100.0 * (1.0 - left):.3g} % of the box and {n} point{'s' * (n != 1)} are proved again"

    def _known(self, low: Array, high: Array) -> bool:
        """Whether the box lies in one that holds a certified point and no other."""
        return bool(((low >= self.unique_low) & (high <= self.unique_high)).all(axis=1).any())

    def _was_open(self, low: Array, high: Array) -> bool:
        """Whether the box lies in the hull of an open region, and no point of the list in the box.

        The hull of a ring of minima holds the maximum in its middle, which is no open question.
        """
        if any(((x[0] <= high) & (x[1] >= low)).all() for x in self.claimed):
            return False
        slack = NEAR * self.width
        return any(((low >= box[0] - slack) & (high <= box[1] + slack)).all() for box in self.open)

    def _examine(self, low: Array, high: Array) -> list[tuple[Array, Array]] | None:
        """Halves of a box; none if it is settled; None if it is too small to be cut."""
        box = _balls(low, high)
        over = self._jet(box)
        if over.void or not all(g.contains(0) for g in over.grad):
            return []
        k, newton, contracts = self._krawczyk(box, over)
        if any(not a.overlaps(b) for a, b in zip(k, box, strict=True)):
            return []
        if contracts and self._certify_near(low, high, newton, box):
            return []
        for i, ball in enumerate(k):
            if ball.is_finite():
                low[i], high[i] = max(low[i], _lower(ball)), min(high[i], _upper(ball))
        if ((high - low) <= DEPTH * self.width).all():
            return None
        axis = int(((high - low) / self.width).argmax()) if not contracts else self._steepest(over, low, high)
        cut = 0.5 * (low[axis] + high[axis])
        left, right = high.copy(), low.copy()
        left[axis], right[axis] = cut, cut
        return [(low, left), (right, high)]

    def _steepest(self, over: Any, low: Array, high: Array) -> int:
        size = [sum(float(abs(row[j]).upper()) for row in over.hess) for j in range(len(low))]
        relative = (high - low) / self.width
        axis = int((np.array(size) * (high - low)).argmax())
        return axis if relative[axis] * 64 > relative.max() else int(relative.argmax())

    def _jet(self, box: list[Any]) -> Any:
        from optbench.critical.arithmetic.arb import arb_point

        return self.program.value(arb_point(box))

    def _krawczyk(self, box: list[Any], over: Any, axes: list[int] | None = None) -> tuple[list[Any], Array, bool]:
        """K, the Newton point, and whether |I - Y H| is near enough to 0 for K to be of use.

        With `axes`, of the slopes along these alone, as functions of these coordinates alone.
        """
        import flint

        n = list(range(len(box))) if axes is None else axes
        middle = [flint.arb(b.mid()) for b in box]
        at = self._jet(middle)
        y = np.zeros((len(box), len(box)))
        y[np.ix_(n, n)] = _inverse(np.array([[float(over.hess[i][j].mid()) for j in n] for i in n]))
        k, worst = list(box), 0.0
        for i in n:
            entry = middle[i] - sum((flint.arb(y[i, j]) * at.grad[j] for j in n), flint.arb(0))
            for j in n:
                e = flint.arb(int(i == j)) - sum((flint.arb(y[i, m]) * over.hess[m][j] for m in n), flint.arb(0))
                entry += e * (box[j] - middle[j])
                worst = max(worst, float(abs(e).upper()) if e.is_finite() else np.inf)
            k[i] = entry
        step = y @ np.array([float(g.mid()) for g in at.grad])
        return k, np.array([float(m) for m in middle]) - step, worst < 0.5

    def _certify_near(self, low: Array, high: Array, newton: Array, box: list[Any]) -> bool:
        """Certifies the zero that Newton's method leads to, in a box that covers low, high; True if that settles it."""
        half = np.maximum(np.abs(high - newton), np.abs(newton - low)) * 1.02
        half = np.maximum(half, max(0.01 * (half / self.width).max(), 1e-11) * self.width)
        wide = _balls(newton - half, newton + half)
        k = self._krawczyk(wide, self._jet(wide))[0]
        if not all(b.contains_interior(a) for a, b in zip(k, wide, strict=True)):
            return False
        self._keep(newton, wide)
        self.unique_low = np.concatenate([self.unique_low, [newton - half]])
        self.unique_high = np.concatenate([self.unique_high, [newton + half]])
        return True

    def _keep(self, x: Array, unique: list[Any]) -> None:
        """Narrows a certified zero, proves its type, and adds it if it is new and in the domain."""
        for _ in range(STEPS):
            point = _balls(x, x)
            x = self._krawczyk(point, self._jet(point))[1]
        for size in SIZES:
            small = _balls(x - size * self.width, x + size * self.width)
            inside = all(b.contains(a) for a, b in zip(small, unique, strict=True))
            k = self._krawczyk(small, self._jet(small))[0]
            if inside and all(b.contains_interior(a) for a, b in zip(k, small, strict=True)):
                break
        else:
            k = unique
        sides = zip(k, self.low.tolist(), self.high.tolist(), strict=True)
        if any(a < low or a > high for a, low, high in sides):
            return
        low, high = np.array([_lower(a) for a in k]), np.array([_upper(a) for a in k])
        if not self._known(low, high):
            inside = self._is_inside(k, unique)
            self.points.append(Found(low, high, _morse_index(self._jet(k).hess), inside))

    def _is_inside(self, k: list[Any], unique: list[Any]) -> bool:
        """Whether the zero enclosed by k is proved to lie in the closed box: by its enclosure, or exactly on an edge.

        On a face x_i = e with slope exactly 0 along i, a zero of the other slopes within the box in which the zero is
        the only one must be that zero.
        """
        import flint

        sides = list(zip(k, self.low.tolist(), self.high.tolist(), strict=True))
        edge = [
            None if a >= low and a <= high else low if a.overlaps(flint.arb(low)) else high for a, low, high in sides
        ]
        free = [i for i, e in enumerate(edge) if e is None]
        if len(free) == len(edge):
            return True
        face = [b if e is None else flint.arb(e) for b, e in zip(unique, edge, strict=True)]
        slope = self._jet(face).grad
        if not all(slope[i] == 0 for i in range(len(edge)) if i not in free):
            return False
        if not free:
            return True
        for size in SIZES:
            small = [
                _balls(np.array([float(a.mid()) - size * w]), np.array([float(a.mid()) + size * w]))[0]
                if e is None
                else f
                for a, e, f, w in zip(k, edge, face, self.width.tolist(), strict=True)
            ]
            found = self._krawczyk(small, self._jet(small), free)[0]
            if all(unique[i].contains(small[i]) and small[i].contains_interior(found[i]) for i in free):
                return True
        return False


def _round(point: CriticalPoint) -> Array:
    """Ends (2, d) of the box round a point that is `radius` wide to each side."""
    return np.array(point.x) + np.array([[-1.0], [1.0]]) * (point.radius or 0.0)


def _morse_index(hess: list[list[Any]]) -> int | None:
    """Number of negative eigenvalues, by Sylvester's law and Gershgorin's discs; None if a disc holds 0."""
    import flint

    center = np.array([[float(h.mid()) for h in row] for row in hess])
    if not np.isfinite(center).all():
        return None
    v = flint.arb_mat(np.linalg.eigh(0.5 * (center + center.T))[1].tolist())
    m = v.transpose() * flint.arb_mat(hess) * v
    n, negative = range(len(hess)), 0
    for i in n:
        radius = sum((abs(m[i, j]) for j in n if j != i), flint.arb(0))
        if m[i, i] + radius < 0:
            negative += 1
        elif not m[i, i] - radius > 0:
            return None
    return negative


def _balls(low: Array, high: Array) -> list[Any]:
    from optbench.critical.arithmetic.arb import ball

    return [ball(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def _inverse(h: Array) -> Array:
    if not np.isfinite(h).all() or np.linalg.det(h / (np.abs(h).max() or 1.0)) == 0:
        return np.zeros_like(h)
    return np.asarray(np.linalg.inv(h), dtype=np.float64)


def _lower(ball: Any) -> float:
    return float(np.nextafter(float(ball.lower()), -np.inf))


def _upper(ball: Any) -> float:
    return float(np.nextafter(float(ball.upper()), np.inf))
