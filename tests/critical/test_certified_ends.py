"""Every operation on the ends of intervals, alone, against fractions: subnormal, huge, equal, infinite ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hard_numbers import FINITE, MOST, TINY, beyond, exact, hard_intervals, images, is_tight, members

from optbench.critical.arithmetic import ends
from optbench.critical.arithmetic.ends import Array
from optbench.critical.arithmetic.interval import Interval

INF = math.inf
ONE: dict[str, tuple[Callable[[Interval], Interval], Callable[[Fraction], Fraction], int]] = {
    "square": (lambda a: a.apply("square"), lambda x: x * x, 1),
    "reciprocal": (lambda a: a.apply("reciprocal"), lambda x: 1 / x, 1),
    "power 0": (lambda a: a.power(0), lambda x: Fraction(1), 1),
    **{f"power {n}": (lambda a, n=n: a.power(n), lambda x, n=n: x**n, 2 * n) for n in range(1, 10)},
    **{f"power {n}": (lambda a, n=n: a.power(n), lambda x, n=n: x**n, 4 - 3 * n) for n in (-1, -2, -3)},
}
NUMBERS = [*FINITE[::3].tolist(), 0.0, -0.0, 1 / 3, -3.0, MOST, -TINY]
WITH_NUMBER: dict[str, tuple[Callable[[Interval, float], Interval], Callable[[Fraction, Fraction], Fraction]]] = {
    "shift": (lambda a, c: a.shift(c), lambda x, c: x + c),
    "scale": (lambda a, c: a.scale(c), lambda x, c: x * c),
    "over": (lambda a, c: a.over(c), lambda x, c: x / c),
}
TWO: dict[str, tuple[Callable[[Interval, Interval], Interval], Callable[[Fraction, Fraction], Fraction]]] = {
    "plus": (lambda a, b: a.plus(b), lambda x, y: x + y),
    "times": (lambda a, b: a.times(b), lambda x, y: x * y),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def check(found: Interval, function: Callable[..., Any], boxes: list[tuple[Array, Array]], steps: int) -> None:
    """Every row of `found` holds the exact values over its boxes, and is no wider than rounding makes it."""
    columns = [zip(low.tolist(), high.tolist(), strict=True) for low, high in boxes]
    for low, high, *box in zip(found.low.tolist(), found.high.tolist(), *columns, strict=True):
        values = list(images(function, *box))
        assert not any(beyond(v, low, high) for v in values), (box, low, high)
        pole = len(values) < math.prod(len(members(*pair)) for pair in box)
        if not pole and all(math.isfinite(end) for pair in box for end in pair):
            assert is_tight(low, min(values), steps), (box, low, high)
            assert is_tight(high, max(values), steps), (box, low, high)


@pytest.mark.parametrize("name", ONE)
def test_operations_on_one_interval(name: str) -> None:
    ours, truth, steps = ONE[name]
    low, high = hard_intervals(300, 1)
    found = ours(Interval.between(low, high))
    check(found, truth, [(low, high)], steps)


@pytest.mark.parametrize("name", WITH_NUMBER)
def test_operations_with_a_number(name: str) -> None:
    ours, truth = WITH_NUMBER[name]
    low, high = hard_intervals(20, 2)
    for c in NUMBERS:
        found = ours(Interval.between(low, high), c)
        check(found, lambda x, c=c: truth(x, Fraction(c)), [(low, high)], 1)


@pytest.mark.parametrize("name", TWO)
def test_operations_on_two_intervals(name: str) -> None:
    ours, truth = TWO[name]
    rng = np.random.default_rng(3)
    thin = tuple((x, x) for x in rng.choice(FINITE, (2, 800)))
    wide = [rng.permutation(np.stack(hard_intervals(500, seed), axis=1))[:500].T for seed in (4, 5)]
    for boxes in (thin, tuple((low, high) for low, high in wide)):
        found = ours(*(Interval.between(*box) for box in boxes))
        check(found, truth, list(boxes), 1)


def test_exact_operations_round_nothing() -> None:
    low, high = hard_intervals(200, 6)
    a = Interval.between(low, high)
    for same, sign in ((a.scale(1.0), 1), (a.scale(-1.0), -1), (Interval(ends.negate(a.ends)), -1)):
        expected = (low, high) if sign > 0 else (-high, -low)
        assert (same.low.tolist(), same.high.tolist()) == tuple(e.tolist() for e in expected)
    assert a.power(0).ends.tolist() == [[-1.0] * len(low), [1.0] * len(low)]
    assert np.array_equal(a.power(1).ends, a.ends)
    assert ends.constant(0.1).tolist() == [[-0.1], [0.1]]
    assert ends.lower(ends.between(low, high)).tolist() == low.tolist()
    assert ends.between(low, high)[1].tolist() == high.tolist()


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_rounding_moves_every_end_by_that_many_units_in_the_last_place(steps: int) -> None:
    x = np.array([*FINITE, INF, -INF, np.nan])
    kept = x.copy()
    assert ends.round_up(x, steps) is x
    for before, after in zip(kept[:-3].tolist(), x[:-3].tolist(), strict=True):
        assert exact(after) >= Fraction(before) + steps * Fraction(math.ulp(before))
        assert is_tight(after, Fraction(before), steps)
    assert x[-3] == x[-1] == INF
    assert -1.7e308 <= x[-2] <= -1.69e308  # a lower end beyond 1.7e308 is known to be beyond 1.69e308


def test_a_number_that_is_none_leaves_nothing_known() -> None:
    a = Interval.between(np.array([-2.0, 0.0, 1.0, -INF]), np.array([-1.0, 0.0, INF, INF]))
    for unknown in (a.scale(math.nan), a.shift(math.nan), a.over(math.nan), a.over(0.0), a.over(-0.0)):
        assert np.isposinf(unknown.ends).all()
    for unknown in (a.scale(INF).ends[:, 1], a.over(INF).ends[:, 2:].max(axis=0)):
        assert np.isposinf(unknown).all()


def test_magnitudes_are_the_least_and_the_largest_size() -> None:
    low, high = hard_intervals(400, 7)
    small, large = ends.magnitudes(ends.between(low, high))
    for a, b, s, t in zip(low.tolist(), high.tolist(), small.tolist(), large.tolist(), strict=True):
        assert s == (0.0 if a <= 0 <= b else min(abs(a), abs(b)))
        assert t == max(abs(a), abs(b))


def test_clip_cuts_off_what_is_out_of_reach_and_nothing_else() -> None:
    a = ends.between(np.array([-3.0, 0.2, -INF, -0.5]), np.array([0.5, 4.0, INF, 0.25]))
    same = ends.clip(a, -1.0, 2.0)
    assert same is a
    assert ends.lower(a).tolist() == [-1.0, 0.2, -1.0, -0.5]
    assert a[1].tolist() == [0.5, 2.0, 2.0, 0.25]


def test_unbounded_touches_only_what_it_is_told() -> None:
    a = ends.between(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    kept = a.copy()
    assert ends.unbounded(a, np.zeros(3, dtype=bool)) is a
    assert np.array_equal(a, kept)
    ends.unbounded(a, np.array([False, True, False]))
    assert np.isposinf(a[:, 1]).all()
    assert np.array_equal(a[:, ::2], kept[:, ::2])


def test_a_reciprocal_is_unbounded_exactly_where_the_interval_holds_0() -> None:
    low, high = hard_intervals(300, 8)
    found = ends.reciprocal(ends.between(low, high))
    holds = (low <= 0) & (high >= 0)
    assert np.isposinf(found[:, holds]).all()
    large = ~holds & (np.minimum(abs(low), abs(high)) >= 1 / MOST)
    assert np.isfinite(found[:, large]).all()
    assert large.any()


def test_the_smallest_numbers_round_outward() -> None:
    """1e-200 squared is 1e-400: the interval reaches from below it to above it."""
    x = Interval.between(np.array([1e-200, TINY]), np.array([1e-200, TINY]))
    for small in (x.apply("square"), x.times(x), x.power(2), x.power(3), x.scale(1e-200), x.over(1e200)):
        assert (small.low >= -TINY).all()
        assert (small.low <= 0).all()
        assert (small.high >= TINY).all()
        assert (small.high <= 4 * TINY).all()
