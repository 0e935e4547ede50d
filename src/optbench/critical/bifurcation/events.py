"""Bifurcations proved: in a box round each, how many critical points there are on both sides of one parameter value.

With the one equation b(t, a) = 0 of `reduced`, signs of its derivatives all over a box (the room) decide:

* fold: b_tt and b_a keep their signs. For each a, b is convex (or concave) in t and its extreme value rises or falls
  with a: no critical point before some a*, two after it, or the other way round.
* transcritical: a point x0 is critical for all a, b_tt and b_ta keep their signs. Besides x0 there is one more, which
  passes through x0 where b_t(x0, a) changes sign.
* pitchfork: x0 is critical for all a and f is the same under a reflection that moves t and leaves x0, so that b is odd
  in t about x0; b_ttt and b_ta keep their signs. One critical point on one side of a*, three on the other.

In each case b is proved not to vanish on the walls of the room at both ends of t, so nothing enters or leaves there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from optbench.critical.arithmetic.elementary_series import Inexact
from optbench.critical.arithmetic.ends import Array
from optbench.critical.arithmetic.exact import exact_gradient, simplest_between
from optbench.critical.bifurcation.reduced import Expansion, expand, other_coordinates, sign_along
from optbench.critical.bifurcation.symmetry import reflections
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.krawczyk import krawczyk, strictly_inside

SCALES = (1.3, 2.5, 5.0, 10.0)  # of what the room must cover
SLIM = (1.3, 3.0)  # the same, in the parameter
STEPS = 15  # of Newton's method
SIZES = (1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)  # of the box: round the bifurcation
FAR = 3.0  # hulls: how far from the middle Newton's method may lead
LOST = 0.1  # of the box: how far it may stray on the way
Kind = Literal["fold", "transcritical", "pitchfork"]


@dataclass(frozen=True)
class Event:
    """A bifurcation that is proved.

    Attributes:
        kind: fold, transcritical or pitchfork.
        a_low, a_high: enclosure of the one parameter value at which it happens.
        low, high: enclosure of the critical point there, (d,).
        room_low, room_high: the room, (d + 1,): x, then a.
        before, after: critical points in the room for each a of it below and above the value.
    """

    kind: Kind
    a_low: float
    a_high: float
    low: Array
    high: Array
    room_low: Array
    room_high: Array
    before: int
    after: int


@dataclass(frozen=True)
class _Guess:
    """Where a bifurcation seems to be, in floating point: x and a (d + 1,), t = x_i; x0 if it is critical for all a."""

    x: Array
    i: int
    fixed: tuple[Fraction, ...] | None


def prove(field: Field, low: Array, high: Array) -> Event | None:
    """The bifurcation round which the cells with the hull low, high (d + 1,) lie, if one of the three is proved."""
    try:
        guess = _locate(field, low, high)
        if guess is None:
            return None
        at = expand(field, guess.i, guess.x, guess.x)
        for wide in SCALES:
            for slim in SLIM:
                room = _room(field, guess, at, low, high, wide, slim)
                if room is None or not _within(field, room[0], room[1]):
                    continue
                over = expand(field, guess.i, *room[2:])
                if not _hopeful(guess, over):
                    return None  # nor would a larger room be
                event = _decide(field, guess, over, *room)
                if event is not None:
                    return _narrowed(field, guess, event)
    except (Inexact, np.linalg.LinAlgError):
        return None
    return None


def _hopeful(guess: _Guess, over: Expansion) -> bool:
    """Whether the derivatives that must not vanish keep their signs over the room."""
    if guess.fixed is None:
        return bool(over.sign((2, 0)) and over.sign((0, 1)))
    return bool(over.sign((1, 1)) and (over.sign((2, 0)) or over.sign((3, 0))))


def _within(field: Field, low: Array, high: Array) -> bool:
    """Whether the room lies in the box in x: what is counted in it is then counted in the box."""
    return bool((low[:-1] >= field.low[:-1]).all() and (high[:-1] <= field.high[:-1]).all())


def _locate(field: Field, low: Array, high: Array) -> _Guess | None:
    d = field.dim - 1
    x = 0.5 * (low + high)
    hess = np.mean(field.at(x[None], 2).hess[:, 0, :d, :d], axis=0) * np.outer(field.width[:d], field.width[:d])
    values, vectors = np.linalg.eigh(hess)
    i = int(np.abs(vectors[:, np.abs(values).argmin()]).argmax())
    fixed = _critical_for_all(field, low, high)
    if fixed is not None:
        x[:d] = [float(v) for v in fixed]
    reach = FAR * (high - low) + 1e-9 * field.width
    for _ in range(STEPS):
        at = expand(field, i, x, x)
        step = _newton(field, i, at, fixed is not None)
        if not np.isfinite(step).all():
            return None
        x = x + step
        if (np.abs(x - 0.5 * (low + high)) > LOST * field.width).any():
            return None
        if (np.abs(step) <= 1e-15 * field.width).all():
            break
    return None if (np.abs(x - 0.5 * (low + high)) > reach).any() else _Guess(x, i, fixed)


def _newton(field: Field, i: int, at: Expansion, fixed: bool) -> Array:
    """The step in (x, a) towards b = b_t = 0, or along a towards b_t = 0 where x stays."""
    d = field.dim - 1
    step = np.zeros(d + 1)
    with np.errstate(all="ignore"):
        if fixed:
            step[d] = -at.middle((1, 0)) / at.middle((1, 1)) if at.middle((1, 1)) else np.nan
            return step
        jacobian = np.array([[at.middle((1, 0)), at.middle((0, 1))], [2 * at.middle((2, 0)), at.middle((1, 1))]])
        step[[i, d]] = np.linalg.solve(jacobian, [-at.middle((0, 0)), -at.middle((1, 0))])
    others = [j for j in range(d) if j != i]
    if others:
        step[others] = -np.linalg.solve(at.slope, [float(np.mean(r)) for r in at.rest])
        for j, s in zip(others, at.s, strict=True):
            step[j] += sum(float(np.mean(s.get(key, 0.0))) * step[k] for key, k in (((1, 0), i), ((0, 1), d)))
    return step


def _critical_for_all(field: Field, low: Array, high: Array) -> tuple[Fraction, ...] | None:
    """A point of the hull with simple coordinates at which the gradient in x is exactly 0 for all a."""
    d = field.dim - 1
    x = tuple(simplest_between(Fraction(a), Fraction(b)) for a, b in zip(low[:d], high[:d], strict=True))
    if any(Fraction(float(v)) != v for v in x):
        return None  # boxes have floats as corners
    gradient = exact_gradient(field.program, (*x, None))[:d]
    return x if all(g == 0 for g in gradient) else None


def _room(
    field: Field, guess: _Guess, at: Expansion, low: Array, high: Array, wide: float, slim: float
) -> tuple[Array, Array, Array, Array] | None:
    """A box round the guess that covers the hull, and the same with s enclosed, as `other_coordinates` gives them."""
    d = field.dim - 1
    half = np.maximum(np.abs(high - guess.x), np.abs(low - guess.x)) + 1e-12 * field.width
    half[guess.i] *= wide
    half[d] *= slim
    others = [j for j in range(d) if j != guess.i]
    for j, s in zip(others, at.s, strict=True):
        drift = sum(abs(float(np.mean(s.get(key, 0.0)))) * half[k] for key, k in (((1, 0), guess.i), ((0, 1), d)))
        half[j] = max(half[j] * wide, 2.0 * drift)
    room_low, room_high = guess.x - half, guess.x + half
    return other_coordinates(field, guess.i, room_low, room_high)


def _decide(
    field: Field, guess: _Guess, over: Expansion, room_low: Array, room_high: Array, low: Array, high: Array
) -> Event | None:
    """The event in a room, if the signs of the derivatives over it prove one."""
    d, i = field.dim - 1, guess.i
    ends = [sign_along(field, i, *_side(low, high, i, end)) for end in (low[i], high[i])]
    event = Event("fold", float(low[d]), float(high[d]), low[:d], high[:d], room_low, room_high, 0, 0)
    if 0 in ends:
        return None
    if guess.fixed is None:
        return _fold(field, guess, low, high, over, ends, event)
    change = over.sign((1, 1))
    first, last = (_slope_at(field, guess, a) for a in (low[d], high[d]))
    if not change or first * last != -1:
        return None
    bend = over.sign((2, 0))
    if bend and ends == [bend, bend]:
        return replace(event, kind="transcritical", before=2, after=2)
    bend = over.sign((3, 0))
    if bend and ends == [-bend, bend] and reflections(field.program, guess.fixed, i):
        before, after = (1, 3) if bend * change < 0 else (3, 1)
        return replace(event, kind="pitchfork", before=before, after=after)
    return None


def _fold(
    field: Field, guess: _Guess, low: Array, high: Array, over: Expansion, ends: list[int], event: Event
) -> Event | None:
    i = guess.i
    bend, change = over.sign((2, 0)), over.sign((0, 1))
    if not bend or not change or ends != [bend, bend]:
        return None
    d = field.dim - 1
    none, two = (low[d], high[d]) if bend * change < 0 else (high[d], low[d])
    t = guess.x[i]
    if not _bounded_away(field, i, t, *_side(low, high, d, none), bend):
        return None
    if sign_along(field, i, *_side(*_side(low, high, d, two), i, t)) != -bend:
        return None
    return replace(event, before=0, after=2) if two == high[d] else replace(event, before=2, after=0)


def _bounded_away(field: Field, i: int, t: float, low: Array, high: Array, bend: int) -> bool:
    """Whether b, convex (bend 1) or concave (-1) in t, does not vanish on the box low, high: by its tangent at t."""
    held = other_coordinates(field, i, *_side(low, high, i, t))
    if held is None:
        return False
    at = expand(field, i, *held[2:])
    value = at.b.get((0, 0), (0.0, 0.0))[0] if bend > 0 else -at.b.get((0, 0), (0.0, 0.0))[1]
    slope = float(np.abs(at.b.get((1, 0), (0.0, 0.0))).max())
    return bool(value > slope * max(high[i] - t, t - low[i]) * (1.0 + 1e-12))


def _side(low: Array, high: Array, axis: int, value: float) -> tuple[Array, Array]:
    low, high = low.copy(), high.copy()
    low[axis] = high[axis] = value
    return low, high


def _slope_at(field: Field, guess: _Guess, a: float) -> int:
    """Sign of b_t at the point that is critical for all a; 0 if open."""
    x = guess.x.copy()
    x[-1] = a
    return expand(field, guess.i, x, x).sign((1, 0))


def _narrowed(field: Field, guess: _Guess, event: Event) -> Event:
    """The same event with the place enclosed as narrowly as rounding allows: by Krawczyk's operator on b = b_t = 0."""
    d, i = field.dim - 1, guess.i
    axes = [d] if guess.fixed is not None else [i, d]
    for size in SIZES:
        low, high = guess.x.copy(), guess.x.copy()
        low[axes] -= size * field.width[axes]
        high[axes] += size * field.width[axes]
        if (low < event.room_low).any() or (high > event.room_high).any():
            break
        if guess.fixed is None:
            others = [j for j in range(d) if j != i]
            low[others] -= size * field.width[others]
            high[others] += size * field.width[others]
        found = _zero(field, guess, low, high, axes)
        if found is not None:
            return replace(
                event, a_low=float(found[0][d]), a_high=float(found[1][d]), low=found[0][:d], high=found[1][:d]
            )
    return event


def _zero(field: Field, guess: _Guess, low: Array, high: Array, axes: list[int]) -> tuple[Array, Array] | None:
    """The enclosure of the bifurcation in the box, if it is proved to be there."""
    i = guess.i
    keys = [(1, 0)] if guess.fixed is not None else [(0, 0), (1, 0)]
    slopes = {(0, 0): ((1, 0), (0, 1)), (1, 0): ((2, 0), (1, 1))}
    middle = guess.x.copy()
    if guess.fixed is None:
        held = other_coordinates(field, i, low, high)
        point_low, point_high = low.copy(), high.copy()
        point_low[axes] = point_high[axes] = middle[axes]
        at_middle = other_coordinates(field, i, point_low, point_high)
        if held is None or at_middle is None:
            return None
    else:
        held, at_middle = (low, high, low, high), (middle, middle, middle, middle)
    held_low, held_high = held[2:]
    over, at = expand(field, i, held_low, held_high), expand(field, i, *at_middle[2:])
    columns = [1] if guess.fixed is not None else [0, 1]
    hess = np.array(
        [[[_factor(key, c) * np.array(over.b.get(slopes[key][c], (0.0, 0.0))) for c in columns] for key in keys]]
    )
    grad = np.array([[at.b.get(key, (0.0, 0.0)) for key in keys]])
    k = krawczyk(
        held_low[None, axes],
        held_high[None, axes],
        middle[None, axes],
        np.ascontiguousarray(np.moveaxis(grad, -1, 0)),
        np.ascontiguousarray(np.moveaxis(hess, -1, 0)),
    )
    if not strictly_inside(k, held_low[None, axes], held_high[None, axes])[0]:
        return None
    out_low, out_high = held_low.copy(), held_high.copy()
    out_low[axes], out_high[axes] = k.low[0], k.high[0]
    return out_low, out_high


def _factor(key: tuple[int, int], column: int) -> float:
    """Of a Taylor coefficient, to make it the derivative of another: (t^2)' = 2 t."""
    return 2.0 if key == (1, 0) and column == 0 else 1.0
