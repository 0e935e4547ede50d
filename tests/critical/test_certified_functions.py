"""Every rule of the table of functions, alone, value and both derivatives, against 60 digits on hard arguments.

The members are those of the table: a new rule fails here until its closed form stands beside the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
from closed_forms import DIGITS, FORMS, Form, inside, power_form
from hard_numbers import hard_intervals
from mpmath import mpf

from optbench.critical.arithmetic import ends
from optbench.critical.arithmetic.ends import Array
from optbench.critical.arithmetic.functions import GAPS, RULES, Rule, power_gaps, power_rule, real_power_rule
from optbench.critical.arithmetic.interval import Interval

STEP = 2.0**-52
POWERS: dict[str, tuple[Rule, Form]] = {
    **{f"power {n}": (power_rule(n), power_form(n)) for n in (-3, -2, -1, 0, 1, 2, 3, 4, 7)},
    **{f"real power {p}": (real_power_rule(p), power_form(p)) for p in (-0.3, 1 / 3, 0.5, 1.5, 2.5, 33.25)},
}
ALL: dict[str, tuple[Rule, Form]] = {**{name: (RULES[name], FORMS[name]) for name in RULES if name in FORMS}, **POWERS}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def test_every_rule_has_its_closed_form() -> None:
    assert set(RULES) <= set(FORMS), "a new rule: add its closed form to tests/closed_forms.py"


def arguments(form: Form) -> tuple[Array, Array]:
    """Intervals (m,) to try: hard doubles, ordinary widths, next to zeros, poles and special points, far out."""
    rng = np.random.default_rng(11)
    low, high = hard_intervals(20, 12)
    x = np.concatenate([rng.uniform(-6, 6, 30), rng.uniform(-40, 40, 15), rng.uniform(-800, 800, 15)])
    width = np.concatenate([np.zeros(20), 10.0 ** rng.uniform(-15, 0.7, 40)])
    special = [float(s) for s in (*form.turns, *form.kinks, *form.poles, form.least, -1, 1) if mpmath.isfinite(s)]
    if form.period is not None:
        special += [float(k * form.period) for k in (*range(-9, 10), 10**5, 10**8, 2 * 10**8)]
    near = np.array([s + d for s in special for d in (0.0, 1e-9, -0.3)])
    near = np.concatenate([near, np.nextafter(special, np.inf), np.nextafter(special, -np.inf)])
    pairs = np.sort(rng.choice(near, (2, 60)), axis=0)
    low, high = np.concatenate([low, x, near, pairs[0]]), np.concatenate([high, x + width, near, pairs[1]])
    if math.isfinite(form.least):  # most of what is tried lies in the domain
        mirrored = (high < form.least) & (rng.random(len(low)) < 0.9)
        low, high = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    return low, high


@pytest.mark.parametrize("name", ALL)
def test_rules_hold_value_and_derivatives(name: str) -> None:
    rule, form = ALL[name]
    low, high = arguments(form)
    argument = ends.between(low, high)
    found = [np.broadcast_to(r, (2, len(low))) for r in rule(argument, 2)]
    assert np.array_equal(argument, ends.between(low, high)), "the argument is left as it is"
    short = [np.broadcast_to(r, (2, len(low))) for k in (0, 1) for r in [rule(ends.between(low, high), k)[k]]]
    for k in (0, 1):
        assert len(rule(ends.between(low[:1], high[:1]), k)) == k + 1
        assert np.array_equal(short[k], found[k]), "the same range whatever the order"
    tried = 0
    with mpmath.workdps(DIGITS):
        for i, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
            for x in inside(form, max(a, -1e300), min(b, 1e300)):
                tried += 1
                for order, function in enumerate((form.value, form.first, form.second)):
                    if order and x in form.kinks:
                        continue
                    exact = function(x)
                    assert mpf(-found[order][0, i]) <= exact <= mpf(found[order][1, i]), (a, b, x, order)
    assert tried > 500


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_known_of_derivatives_where_there_are_none(name: str) -> None:
    rule, form = ALL[name]
    low, high = arguments(form)
    found = [np.broadcast_to(r, (2, len(low))) for r in rule(ends.between(low, high), 2)]
    for s in form.poles:
        assert np.isposinf(np.stack(found).max(axis=1)[:, (low <= s) & (s <= high)]).all()
    if math.isfinite(form.least):
        assert np.isposinf(np.stack(found[1:])[:, :, low <= form.least]).all()
        nowhere = (high < form.least) | ((high == form.least) & (not form.closed))
        assert np.isposinf(found[0][1, nowhere]).all()
        assert nowhere.any()
    for s in form.kinks:
        assert np.isposinf(found[2][:, (low <= s) & (s <= high)]).all()
    if name in ("abs", "relu"):
        across = (low <= 0) & (high >= 0)
        hull = {"abs": (1.0, 1.0), "relu": (0.0, 1.0)}[name]
        assert (found[1][0, across] == hull[0]).all(), "Clarke: every slope between those on both sides"
        assert (found[1][1, across] == hull[1]).all()
    if name == "tan":
        poles = np.array([float(k * mpmath.pi / 2) for k in (-3, -1, 1, 3)])
        over = rule(ends.between(poles - 0.1, poles + 0.1), 0)[0]
        assert np.isposinf(over).all()


@pytest.mark.parametrize("name", ALL)
def test_ranges_are_no_wider_than_they_need_to_be(name: str) -> None:
    rule, form = ALL[name]
    low, high = arguments(form)
    kept = (np.maximum(abs(low), abs(high)) < 1e3) & (low > form.least) & (np.minimum(abs(low), abs(high)) > 1e-6)
    kept[kept] &= high[kept] - low[kept] < 2.5
    low, high = low[kept], high[kept]
    found = [np.broadcast_to(r, (2, len(low))) for r in rule(ends.between(low, high), 2)]
    room, compared = 1e-12 if name.startswith("real") else 1e-14, 0
    with mpmath.workdps(DIGITS):
        for i, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
            if any(a <= s <= b for s in (*form.poles, *form.kinks)) or not np.isfinite(found[0][:, i]).all():
                continue
            points = inside(form, a, b)
            for order, function in enumerate((form.value, form.first, form.second)):
                if order and a != b:  # of wide arguments only f itself is asked to be sharp
                    break
                values = [function(x) for x in points]
                size = max(map(abs, values))
                if order and name in ("tanh", "sigmoid"):
                    size = mpf(1)  # 1 - tanh^2 cancels
                if name == "tan":
                    size = size**2 * 100 + 1
                slack = room * size * (1 + order * 4) + mpf(10) ** -300
                assert min(values) - slack <= mpf(-found[order][0, i]), (a, b, order)
                assert mpf(found[order][1, i]) <= max(values) + slack, (a, b, order)
                compared += 1
    assert compared > 40


@pytest.mark.parametrize("first", [0, 10**4, 55 * 10**7])
def test_waves_reach_their_extrema_however_far_out(first: int) -> None:
    """A few units in the last place round a multiple of pi / 2: what lies between the ends is not seen at the ends."""
    rng = np.random.default_rng(14)
    multiples = first + np.arange(800)
    with mpmath.workdps(DIGITS):
        exact = [int(k) * mpmath.pi / 2 for k in multiples]
        nearest = np.array([float(x) for x in exact])
        low, high = (nearest + side * rng.integers(0, 4, 800) * np.spacing(nearest) for side in (-1, 1))
        between = [mpf(a) <= x <= mpf(b) for a, x, b in zip(low.tolist(), exact, high.tolist(), strict=True)]
    for name, at_1, at_minus_1 in (("sin", 1, 3), ("cos", 0, 2)):
        found = Interval.between(low, high).apply(name)
        assert (found.high[between & (multiples % 4 == at_1)] == 1.0).all()
        assert (found.low[between & (multiples % 4 == at_minus_1)] == -1.0).all()
    poles = between & (multiples % 2 == 1)
    assert np.isposinf(Interval.between(low, high).apply("tan").ends[:, poles]).all()
    assert poles.sum() > 100


@pytest.mark.parametrize("name", sorted(RULES))
def test_an_interval_goes_through_the_rule_of_its_name(name: str) -> None:
    low, high = arguments(FORMS[name])
    a = Interval.between(low, high)
    assert np.array_equal(a.apply(name).ends, np.broadcast_to(RULES[name](a.ends, 0)[0], a.ends.shape))


def test_ranges_end_where_the_function_does() -> None:
    """No negative exponential, no sine above 1: what follows may divide by it or take its root."""
    low, high = hard_intervals(200, 13)
    bounds: dict[str, tuple[Any, Any]] = {
        "exp": (0.0, None),
        "expm1": (-1.0, None),
        "cosh": (1.0, None),
        "log1pexp": (0.0, None),
        "sqrt": (0.0, None),
        "sin": (-1.0, 1.0),
        "cos": (-1.0, 1.0),
        "tanh": (-1.0, 1.0),
        "sigmoid": (0.0, 1.0),
        "square": (0.0, None),
    }
    for name, (least, most) in bounds.items():
        found = Interval.between(low, high).apply(name)
        known = high >= 0 if name == "sqrt" else np.ones(len(low), dtype=bool)
        assert (found.low[known] >= least).all(), name
        assert most is None or (found.high <= most).all(), name
    for n in (2, 4):
        assert (Interval.between(low, high).power(n).low >= 0).all()


@pytest.mark.parametrize("name", [*GAPS, -2.0, -1.0, -0.5, 0.5, 1.5, 2.0, 3.0])
def test_gaps_are_where_the_function_is_no_number(name: str | float) -> None:
    """Between special points each function is of one kind: what NumPy says there and at them is all that there is."""
    gaps_of = GAPS[name] if isinstance(name, str) else power_gaps(name)
    points = np.array([-3.0, -1.5, -1.0, -0.5, 0.0, 0.25, 1.0, 2.0])
    values = np.power(points, name) if isinstance(name, float) else getattr(np, name)(points)
    for i in range(len(points)):
        for k in range(i, len(points)):
            there = values[i : k + 1]
            wanted = (not np.isfinite(there).all(), bool(np.isnan(there).all()))
            found = (False, False) if gaps_of is None else gaps_of(np.array([[-points[i]], [points[k]]]))
            assert tuple(bool(np.all(part)) for part in found) == wanted, (points[i], points[k])
