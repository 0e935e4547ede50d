"""A certificate: what a search has found, written so that `optbench.check_proof` can prove it by itself.

The search's own boxes, shrunk and inflated on the way, are useless to a checker that shares nothing with it. So the box
is cut anew, by halving alone, and every part gets the one test that closes it. Floating-point intervals propose where
to cut and which test will do, thousands of cells at a time; the checker's exact arithmetic has the last word on each
leaf before it is written down, and reads the whole file before it is handed out.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench import check_proof as checker
from optbench.critical.arithmetic.ends import Array, Mask
from optbench.critical.budget import Progress
from optbench.critical.points.found import CriticalPoint, CriticalSet
from optbench.critical.programs.program import record
from optbench.critical.proofs.boxes import middle_of, steepest_side
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.krawczyk import CONTRACTS, krawczyk
from optbench.errors import OptbenchError, UserError
from optbench.problem import Box, Objective

MOST_CELLS = 400_000
FEWEST, ENOUGH = 1000, 2
PIECE = 4096  # cells between two looks at the clock
SMALLEST = (
    2.0**-24
)  # of the box: a cell that is not closed at this size stays open where the search left something open
NEWTON = 80
LARGEST_WEIGHT = 99  # of a component of the gradient in a combination
GROWTH = 12  # doublings of one side of a unique box
Place = tuple[int, ...]


@dataclass(frozen=True)
class Written:
    """A certificate that its checker has accepted.

    Attributes:
        text: the file.
        lines: what is proved, in words.
        complete: whether it leaves nothing open.
        open: cells that it leaves open.
    """

    text: str
    lines: tuple[str, ...]
    complete: bool
    open: int


def checkable(objective: Objective, box: Box) -> dict[str, Any]:
    """The surface as a straight-line program, as a certificate holds it: of operations that the checker knows.

    Args:
        objective: torch callable (..., dim) -> (...).
        box: (low, high) of each of the dim axes.

    Raises:
        MissingRule: an operation without an interval rule.
        UserError: an operation, a number or a box that the checker cannot deal with, by name.
    """
    program = _used_steps(record(objective, len(box)).to_json())
    try:
        checker.read_program(program)
        checker.check_size(_read_box(box))
    except (checker.Unreadable, checker.Refused) as error:
        raise UserError(f"no certificate can be checked of this surface: {error}", "drop --certificate") from None
    return program


def write_certificate(
    objective: Objective,
    found: CriticalSet,
    *,
    seconds: float = 60.0,
    most: int | None = None,
    progress: Progress | None = None,
) -> Written:
    """A certificate of what a certified search has found.

    Args:
        objective: the function that `found` is about.
        found: result of `certify`.
        seconds: wall time after which cells that are not closed are listed as open.
        most: cells at most, those beyond it are listed as open; None: MOST_CELLS, and where the search left something
            open, no more than some times the boxes it took.
        progress: called with the share of the box that is closed (0..1) and a phrase.

    Raises:
        UserError: an operation that the checker does not know.
        OptbenchError: the checker refuses the certificate, or it contradicts the search; both are faults of optbench.
    """
    paper = _Paper(Field(objective, found.box), checkable(objective, found.box), found)
    try:
        limit = most or (MOST_CELLS if paper.all_regular else min(MOST_CELLS, max(FEWEST, ENOUGH * found.boxes)))
        paper.cut(time.perf_counter() + seconds, limit, progress or (lambda share, phrase: None))
        text = paper.text()
        read = checker.load(text.encode())
        verdict = checker.check(read)
    except (checker.Refused, checker.Unreadable) as error:
        raise OptbenchError(f"no certificate: its own checker refuses it ({error})", "please report this") from error
    why = _contradiction(found, verdict)
    if why:
        raise OptbenchError(f"no certificate: {why}", "please report this")
    return Written(text, tuple(checker.describe(read, verdict)), bool(verdict.claim["complete"]), len(verdict.open))


def _used_steps(program: dict[str, Any]) -> dict[str, Any]:
    """The program without the steps on which its result does not depend; coordinates stay.

    What a search knows of pieces that meet is left out: the checker could not see it, and takes nothing on trust.
    """
    steps = [[op, args, None if op == "where" else number] for op, args, number in program["steps"]]
    used = {program["result"], *range(program["dim"])}
    for k in range(len(steps) - 1, -1, -1):
        used |= set(steps[k][1]) if k in used else set()
    place = {k: at for at, k in enumerate(sorted(used))}
    kept = [[op, [place[i] for i in args], number] for op, args, number in (steps[k] for k in place)]
    return {"dim": program["dim"], "steps": kept, "result": place[program["result"]]}


def _box_json(box: Box) -> list[list[str]]:
    return [[float(low).hex(), float(high).hex()] for low, high in box]


def _contradiction(found: CriticalSet, verdict: checker.Verdict) -> str:
    """How the certificate and the search contradict each other, in words; empty if they agree."""
    counts = found.counts()
    if found.complete and verdict.claim["complete"]:
        differ = [kind for kind in checker.KINDS if counts[kind] != verdict.claim[kind]]
        if differ:
            return f"its number of {differ[0]} points is not that of the search"
    for point in _certain(found):
        x, slack = [_whole(v) for v in point.x], _whole(point.radius or 0.0) + 2
        reach = [slack + u for u in checker.fine(_read_box(found.box))]
        here = [p.kind for p in verdict.points if all(abs(a - b) <= r for a, b, r in zip(p.x, x, reach, strict=True))]
        if (not here and verdict.claim["complete"]) or any(kind != point.type for kind in here):
            return f"it has {here or 'nothing'} at {point.x}, where the search has a {point.type}"
    return ""


def _certain(found: CriticalSet) -> list[CriticalPoint]:
    return [p for p in found.points if p.basis == "proved" and p.type != "degenerate"]


def _read_box(box: Box) -> checker.Box:
    return checker.read_box(_box_json(box), "the box", len(box))


class _Paper:
    """The certificate as it grows: points, and a tree of cells in the checker's own numbers."""

    def __init__(self, field: Field, program: dict[str, Any], found: CriticalSet) -> None:
        self.field, self.found, self.json = field, found, program
        self.program = checker.read_program(program)
        self.box = _read_box(found.box)
        self.all_regular = found.complete and not found.counts()["degenerate"]
        self.points: list[checker.Point] = []
        self.cells: list[Any] = [None]  # an axis and the first of two children, a leaf, or None while it is not settled
        self.low, self.high = (np.empty((0, field.dim)) for _ in range(2))  # of the unique boxes
        self.deadline = math.inf

    def cut(self, deadline: float, most: int, progress: Progress) -> None:
        """Closes, cuts or leaves open every cell, a level at a time."""
        smallest = SMALLEST**2 if self.all_regular else SMALLEST
        todo, self.deadline = [(0, self.box)], deadline
        for point in _certain(self.found):
            if time.perf_counter() < deadline:
                self._add_point(np.array(point.x))
        while todo:
            if len(self.cells) > most or time.perf_counter() > deadline:
                break
            halves: list[tuple[int, checker.Box]] = []
            for k in range(0, len(todo), PIECE):
                halves += self._settle(todo[k : k + PIECE], smallest)
            todo = halves
            open_ = sum(math.prod(b - a for a, b in box) for _, box in todo)
            share = 1.0 - open_ / math.prod(b - a for a, b in self.box)
            progress(share, f"{len(self.cells)} cells, {len(todo)} not yet closed")
        for at, _ in todo:
            self.cells[at] = ["open"]

    def _settle(self, todo: Sequence[tuple[int, checker.Box]], smallest: float) -> list[tuple[int, checker.Box]]:
        """Notes the test that closes each cell; returns the halves of those that none does."""
        low, high = (np.array([[side[k] / checker.ONE for side in box] for _, box in todo]) for k in (0, 1))
        inside = self._in_unique(low, high)
        rest = [i for i, (at, box) in enumerate(todo) if not self._is_of_point(at, box, inside[i])]
        if not rest:
            return []
        guess = _Guess(self.field, low[rest], high[rest])
        halves = []
        for row, i in enumerate(rest):
            at, box = todo[i]
            if time.perf_counter() > self.deadline:
                self.cells[at] = ["open"]
                continue
            leaf = self._leaf(box, guess, row)
            if leaf is None and guess.contracts[row] and self._add_point(guess.newton[row]):
                leaf = ["point", len(self.points) - 1] if self._is_inside(box, len(self.points) - 1) else None
            self.cells[at] = leaf
            if leaf is None:
                small = bool((high[i] - low[i] <= smallest * self.field.width).all())
                halves += self._halves(at, box, int(guess.axis[row]), small)
        return halves

    def _leaf(self, box: checker.Box, guess: _Guess, row: int) -> list[Any] | None:
        if guess.excluded[row]:
            return checker.Cell(self.program, box).test(guess.weights[row])
        if guess.unknown[row]:
            jets = checker.run(self.program, box, 1)
            for k in sorted(checker.needed(self.program)):
                step = self.program.steps[k]
                if step.args and checker.undefined(step, jets[step.args[0]].value):
                    return ["undefined", k]
        return None

    def _halves(self, at: int, box: checker.Box, axis: int, small: bool) -> list[tuple[int, checker.Box]]:
        try:
            left, right = checker.halves(box, axis)
        except checker.Refused:  # no number of the checker lies between the ends
            small = True
        if small:
            self.cells[at] = ["open"]
            return []
        child = len(self.cells)
        self.cells[at] = (axis, child)
        self.cells += [None, None]
        return [(child, left), (child + 1, right)]

    def _in_unique(self, low: Array, high: Array) -> list[Any]:
        """Numbers of the points in whose unique boxes the cells may lie, a list a cell."""
        meets = ((low[:, None] >= self.low) & (high[:, None] <= self.high)).all(axis=2)
        return [np.flatnonzero(row).tolist() for row in np.asarray(meets)]

    def _is_of_point(self, at: int, box: checker.Box, candidates: Sequence[int]) -> bool:
        k = next((k for k in candidates if self._is_inside(box, k)), None)
        if k is not None:
            self.cells[at] = ["point", k]
        return k is not None

    def _is_inside(self, box: checker.Box, k: int) -> bool:
        return checker.lies_in(box, self.points[k].unique)

    def _add_point(self, x: Array) -> bool:
        """Adds the point that Newton's method leads to from x; False where it is known, or nothing is proved of it."""
        zero = _zero(self.program, tuple(_whole(v) for v in x.tolist()), checker.fine(self.box))
        if zero is None or any(_holds(p.unique, zero[0]) for p in self.points):
            return False
        point = prove_point(self.field, self.program, self.box, *zero)
        if point is None:
            return False
        self.points.append(point)
        ends = [np.array([[side[k] / checker.ONE for side in point.unique]]) for k in (0, 1)]
        self.low, self.high = np.concatenate([self.low, ends[0]]), np.concatenate([self.high, ends[1]])
        return True

    def text(self) -> str:
        """The file."""
        self._leave_out_unused()
        cells = list(self._preorder())
        tests = {name: sum(type(c) is list and c[0] == name for c in cells) for name in ("open", "undefined")}
        document = {
            "format": checker.FORMAT,
            "surface": self.found.surface,
            "program": self.json,
            "box": _box_json(self.found.box),
            "points": [_point_json(point) for point in self.points],
            "cells": cells,
            "claim": checker.summary(tuple(self.points), tests),
        }
        document["digest"] = checker.digest_of(document)
        return _laid_out(document)

    def _leave_out_unused(self) -> None:
        """Points outside the box that no cell needs."""
        used = {cell[1] for cell in self.cells if cell[0] == "point"}
        kept = [k for k, p in enumerate(self.points) if p.place != "outside" or k in used]
        self.points = [self.points[k] for k in kept]
        self.cells = [["point", kept.index(c[1])] if c[0] == "point" else c for c in self.cells]

    def _preorder(self) -> Iterator[Any]:
        stack = [0]
        while stack:
            cell = self.cells[stack.pop()]
            if isinstance(cell, tuple):
                stack += [cell[1] + 1, cell[1]]
                yield cell[0]
            else:
                yield cell


class _Guess:
    """What floating-point intervals say of cells low, high (n, d): it steers, and proves nothing.

    Attributes:
        excluded: (n,) where some test seems to close the cell.
        weights: a combination of the components for each, whole numbers.
        contracts: (n,) where Newton's method seems to lead to a zero in or next to the cell.
        newton: (n, d) that point.
        unknown: (n,) where the gradient is unbounded.
        axis: (n,) along which to cut.
    """

    def __init__(self, field: Field, low: Array, high: Array) -> None:
        over, middle = field.enclose(low, high, 2), middle_of(low, high)
        grad = field.at(middle, 1).grad
        with np.errstate(all="ignore"):
            steepness = np.abs(over.hess).max(axis=0)
            found = krawczyk(low, high, middle, grad, over.hess)
            self.newton = found.newton
            near = np.abs(found.newton - middle) <= high - low
            self.contracts: Mask = np.asarray((found.norm < CONTRACTS) & near.all(axis=1))
            rows, margin = _combinations(grad, over.hess, 0.5 * (high - low))
            natural = (over.grad[0] > 0) | (over.grad[1] < 0)
            self.excluded: Mask = np.asarray(natural.any(axis=1) | (margin > 0).any(axis=1))
            best = np.where(np.isnan(margin), -np.inf, margin).argmax(axis=1)
            self.weights = [_whole_weights(row) for row in rows[np.arange(len(low)), best]]
            self.unknown: Mask = np.asarray(~np.isfinite(over.grad).all(axis=(0, 2)))
            self.axis = steepest_side(steepness, high - low, field.width)


def _combinations(grad: Array, hess: Array, half: Array) -> tuple[Array, Array]:
    """Candidate weights (n, k, d), and by how much the mean-value form of each keeps away from 0, (n, k)."""
    n, d = half.shape
    g, h = grad.mean(axis=0), 0.5 * (hess[0] + hess[1])
    radius = 0.5 * (hess[1] - hess[0])
    scaled = np.where(np.isfinite(h), h, 0.0) * half[:, None, :]
    inverse = np.linalg.pinv(scaled)
    rows = np.concatenate([np.broadcast_to(np.eye(d), (n, d, d)), inverse, g[:, None, :]], axis=1)
    rows = rows / np.maximum(np.abs(rows).max(axis=2, keepdims=True), 1e-300)
    rows[:, d:] = np.rint(LARGEST_WEIGHT * rows[:, d:])
    reach = np.abs(rows @ h) + np.abs(rows) @ radius
    at = (rows @ g[..., None])[..., 0]
    spread = (reach @ half[..., None])[..., 0] + (np.abs(rows) @ (grad[1] - grad[0])[..., None])[..., 0]
    margin = (np.abs(at) - spread) / (np.abs(at) + spread)
    return rows, margin


def _whole_weights(row: Array) -> list[int] | None:
    """Weights without a common factor, the first of them positive."""
    whole = [int(v) for v in row] if np.isfinite(row).all() else []
    common = math.gcd(*whole)
    if not common:
        return None
    sign = 1 if next(v for v in whole if v) > 0 else -1
    return [sign * v // common for v in whole]


def prove_point(
    field: Field, program: checker.Program, box: checker.Box, zero: Place, hessian: Array
) -> checker.Point | None:
    """The critical point next to `zero`, with everything that the checker needs; None where it would refuse it.

    Args:
        field: the objective.
        program: the same for the checker.
        box: the domain.
        zero: nearly a zero of the gradient, in the checker's numbers.
        hessian: nearly the Hessian there, (d, d).
    """
    inverse, vectors = (np.asarray(m, dtype=np.float64) for m in (np.linalg.inv(hessian), np.linalg.eigh(hessian)[1]))
    for exact in dict.fromkeys([_on_ends(box, zero), ()]):
        point = _point_at(program, box, _rounded(box, zero, exact), exact, inverse, vectors)
        unique = None if point is None else _unique(field, program, point, inverse)
        if point is not None and unique is not None:
            point = point._replace(unique=unique)
            if not checker.point_fails(program, box, point):
                return point
    return None


def _zero(program: checker.Program, x: Place, fine: Place) -> tuple[Place, Array] | None:
    """The zero of the gradient near x in the checker's numbers, and the Hessian there in floating point."""
    h = _hessian(program, x)
    for _ in range(NEWTON):
        if h is None:
            return None
        y = [[_whole(float(v)) for v in row] for row in np.linalg.inv(h)]
        g = checker.run(program, tuple((v, v) for v in x), 1)[program.result].grad
        if any(part is None for part in g):
            return None
        middle = [(part[0] + part[1]) // 2 for part in g if part is not None]
        step = [sum(a * b for a, b in zip(row, middle, strict=True)) >> checker.P for row in y]
        x = tuple(v - s for v, s in zip(x, step, strict=True))
        if all(abs(s) * 64 < u for s, u in zip(step, fine, strict=True)):
            return x, h
        h = _hessian(program, x)
    return None


def _hessian(program: checker.Program, x: Place) -> Array | None:
    """The Hessian at a point, in floating point; None where it is unknown, too large or singular."""
    jet = checker.run(program, tuple((v, v) for v in x), 2)[program.result]
    rows = checker.matrix(jet, program.dim)
    try:
        h = np.array([[float("nan") if v is None else (v[0] + v[1]) / (2 * checker.ONE) for v in row] for row in rows])
        good = np.isfinite(h).all() and np.isfinite(np.linalg.inv(h)).all()
    except (OverflowError, np.linalg.LinAlgError):
        return None
    return h if good else None


def _on_ends(box: checker.Box, x: Place) -> tuple[int, ...]:
    """Coordinates that agree with an end of the box."""
    near = checker.fine(box)
    return tuple(i for i, v in enumerate(x) if any(abs(v - end) < near[i] for end in box[i]))


def _rounded(box: checker.Box, x: Place, exact: tuple[int, ...]) -> Place:
    """x on the grid of the checker, with these coordinates at the ends of the box that they agree with."""
    nearest = [(2 * v + u) // (2 * u) * u for v, u in zip(x, checker.fine(box), strict=True)]
    for i in exact:
        low, high = box[i]
        nearest[i] = low if abs(low - x[i]) < abs(high - x[i]) else high
    return tuple(nearest)


def _point_at(
    program: checker.Program, box: checker.Box, x: Place, exact: tuple[int, ...], inverse: Array, vectors: Array
) -> checker.Point | None:
    """The point without its unique box: type and place."""
    thin: list[list[list[checker.Interval]]] = [
        [[(_whole(v), _whole(v)) for v in row] for row in m.tolist()] for m in (inverse, vectors)
    ]
    point = checker.Point(x, checker.fine(box), exact, "", 0, "", (), *thin)
    e = point.enclosure()
    h = checker.matrix(checker.run(program, e, 2)[program.result], program.dim)
    negative = checker.negative_eigenvalues(h, point.diagonal)
    if negative is None:
        return None
    kind = checker.kind_of(negative, program.dim)
    return point._replace(kind=kind, morse_index=negative, place=checker.place_of(e, box))


def _unique(field: Field, program: checker.Program, point: checker.Point, inverse: Array) -> checker.Box | None:
    """As large a box round the point as can be proved to hold no other; None where none can."""
    x = np.array([v / checker.ONE for v in point.x])
    half = np.outer(2.0 ** -np.arange(0.0, 44.0), field.width)
    good = _regular(field, x, half, inverse)
    if not good.any():
        return None
    best = half[good.argmax()]
    for axis in [*range(field.dim)] * 2:
        grown = np.tile(best, (GROWTH, 1))
        grown[:, axis] *= 2.0 ** np.arange(GROWTH, 0.0, -1.0)
        good = _regular(field, x, grown, inverse)
        best = grown[good.argmax()] if good.any() else best
    for _ in range(8):
        low, high = x - best, x + best
        unique = tuple((_whole(a), _whole(b)) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        if not checker.unique_fails(program, point._replace(unique=unique)):
            return unique
        best = 0.75 * best
    return None


def _regular(field: Field, x: Array, half: Array, inverse: Array) -> Mask:
    """(n,) where the Hessian seems regular all over the boxes x +- half (n, d)."""
    with np.errstate(all="ignore"):
        low, high = field.enclose(x - half, x + half, 2).hess
        r = np.abs(np.eye(len(x)) - inverse @ (0.5 * (low + high))) + np.abs(inverse) @ (0.5 * (high - low))
        return np.asarray(((r @ half[..., None])[..., 0] < 0.999 * half).all(axis=1))


def _holds(box: checker.Box, x: Place) -> bool:
    return all(low <= v <= high for (low, high), v in zip(box, x, strict=True))


def _whole(value: float) -> int:
    """A number of float64 in the units of the checker; what is finer is cut off."""
    top, bottom = value.as_integer_ratio()
    return top * checker.ONE // bottom


def _hex(n: int) -> str:
    """A number of the checker, exactly."""
    zeros = (n & -n).bit_length() - 1 if n else 0
    return f"{'-' if n < 0 else ''}0x{abs(n) >> zeros:x}p{zeros - checker.P}" if n else "0x0p0"


def _point_json(point: checker.Point) -> dict[str, Any]:
    rows = ([[_hex(v[0]) for v in row if v is not None] for row in m] for m in (point.inverse, point.diagonal))
    inverse, diagonal = rows
    return {
        "x": [*map(_hex, point.x)],
        "radius": [*map(_hex, point.radius)],
        "exact": list(point.exact),
        "type": point.kind,
        "morse_index": point.morse_index,
        "place": point.place,
        "unique": [[_hex(low), _hex(high)] for low, high in point.unique],
        "inverse": inverse,
        "diagonal": diagonal,
    }


def _laid_out(document: dict[str, Any]) -> str:
    """JSON with one step, point or test a line."""
    parts = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            inner = ",\n  ".join(map(json.dumps, value))
            parts.append(f" {json.dumps(name)}: [\n  {inner}\n ]")
        else:
            parts.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
