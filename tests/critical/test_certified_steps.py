"""The steps between the arithmetic and a verdict: turns of the gradient, heights, faces, the trial before the proof."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hard_numbers import TINY

from optbench.critical.arithmetic.ends import Array
from optbench.critical.numeric.calculus import Field as FloatField
from optbench.critical.numeric.degenerate import judge
from optbench.critical.numeric.splitting import Sphere
from optbench.critical.programs.scalar import MissingRule
from optbench.critical.proofs import extremum, winding
from optbench.critical.proofs.extremum import extremum_inside, faces, prove_above, proved_finite
from optbench.critical.proofs.faithful import check_faithful
from optbench.critical.proofs.field import Enclosure, Field
from optbench.critical.proofs.winding import certified_winding
from optbench.curvature.lanczos import Ends, Pair, ends, lanczos
from optbench.errors import UserError

UNIT = ((-1.0, 1.0),) * 2


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


# winding numbers


def harmonic(n: int, x0: float = 0.0, y0: float = 0.0, turn: float = 0.0) -> Callable[[Any], Any]:
    """Re(e^(i turn) z^n) / n round (x0, y0): its gradient turns 1 - n times."""

    def f(x: Any) -> Any:
        a, b = x[..., 0] - x0, x[..., 1] - y0
        re, im = a, b
        for _ in range(n - 1):
            re, im = re * a - im * b, re * b + im * a
        return (math.cos(turn) * re - math.sin(turn) * im) / n

    return f


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_winding_numbers_of_harmonic_functions(n: int) -> None:
    low, high = np.array([-0.8, -0.35]), np.array([0.5, 0.9])
    for turn in (0.0, 1.0, 2.5):
        assert certified_winding(Field(harmonic(n, turn=turn), UNIT), low, high).number == 1 - n
        outside = Field(harmonic(n, 0.7, 0.2, turn), UNIT)  # the zero lies right of the rectangle
        assert certified_winding(outside, low, high).number == 0


def test_winding_numbers_of_bowls_hills_and_saddles() -> None:
    low, high = np.array([-0.8, -0.35]), np.array([0.5, 0.9])
    for a, b, number in ((1.0, 2.0, 1), (-1.0, -0.5, 1), (1.0, -1.0, -1), (-3.0, 1.0, -1)):
        field = Field(lambda x, a=a, b=b: a * x[..., 0] ** 2 + b * x[..., 1] ** 2, UNIT)
        assert certified_winding(field, low, high).number == number
    two = Field(lambda x: (x[..., 0] ** 2 - 0.16) ** 2 + x[..., 1] ** 2, UNIT)  # two minima and the saddle between
    assert certified_winding(two, low, high).number == 1
    assert certified_winding(two, np.array([-0.5, -0.1]), np.array([0.2, 0.1])).number == 0
    assert certified_winding(two, np.array([-0.2, -0.1]), np.array([0.2, 0.1])).number == -1


@pytest.mark.parametrize("corner", list(itertools.product((-0.8, 0.5, -0.1), (-0.35, 0.9, 0.2))))
def test_no_winding_number_where_the_gradient_vanishes_on_the_edge(corner: tuple[float, float]) -> None:
    low, high = np.array([-0.8, -0.35]), np.array([0.5, 0.9])
    field = Field(lambda x: (x[..., 0] - corner[0]) ** 2 + (x[..., 1] - corner[1]) ** 2, UNIT)
    found = certified_winding(field, low, high)
    if corner == (-0.1, 0.2):
        assert found.number == 1
    else:
        assert found.number is None
        assert "may vanish" in found.reason


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_component_that_is_0_turns_nothing(axis: int, sign: int) -> None:
    """f = x^2 or y^2 alone: one component is exactly 0 all along, the other where the edge is crossed."""
    low, high = np.array([-0.8, -0.35]), np.array([0.5, 0.9])
    assert certified_winding(Field(lambda x: sign * x[..., axis] ** 2, UNIT), low, high).number is None


def test_the_edge_is_the_rectangle_and_its_corners_are_exact() -> None:
    low, high = np.array([0.1, 1 / 3]), np.array([1.0, 2.7])
    t = np.linspace(0, 4, 4 * 7 + 1)
    starts, stops = winding._edge(low, high, t[:-1]), winding._edge(low, high, t[1:])
    assert np.array_equal(starts[1:], stops[:-1]), "pieces share their ends"
    assert np.array_equal(starts[0], stops[-1])
    assert starts[::7].tolist() == [[0.1, 1 / 3], [1.0, 1 / 3], [1.0, 2.7], [0.1, 2.7]]
    for side, (axis, value) in enumerate(((1, 1 / 3), (0, 1.0), (1, 2.7), (0, 0.1))):
        piece = np.concatenate([starts[7 * side : 7 * side + 7], stops[7 * side : 7 * side + 7]])
        assert (piece[:, axis] == value).all()
        along = np.diff(starts[7 * side : 7 * side + 7, 1 - axis])
        assert (along > 0).all() if side < 2 else (along < 0).all()


@pytest.mark.parametrize(("power", "sign", "degree"), [(2, 1, 1), (2, -1, -1), (3, 1, 0), (3, -1, 0), (4, 1, 1)])
def test_degrees_on_an_interval(power: int, sign: int, degree: int) -> None:
    field = Field(lambda x: sign * (x[..., 0] - 0.1) ** power, ((-1.0, 1.0),))
    assert certified_winding(field, np.array([-0.5]), np.array([0.7])).number == degree
    for low, high in ((0.1, 0.7), (-0.5, 0.1)):
        found = certified_winding(field, np.array([low]), np.array([high]))
        assert (found.number, "sign of the derivative" in found.reason) == (None, True)
    assert certified_winding(field, np.array([0.2]), np.array([0.7])).number == 0


def test_no_winding_number_in_three_dimensions() -> None:
    field = Field(lambda x: (x**2).sum(dim=-1), ((-1.0, 1.0),) * 3)
    assert certified_winding(field, field.low, field.high).number is None


# heights


class Told:
    """A field whose enclosures are what they are told to be: of f = c + g . (x - m), with f(m) known to be `here`."""

    def __init__(self, c: float, slopes: list[float]) -> None:
        self.c, self.slopes = c, np.array(slopes)
        self.dim, self.width = len(slopes), np.ones(len(slopes))

    def enclose(self, low: Array, high: Array, order: int) -> Enclosure:
        n = len(low)
        grad = np.tile(self.slopes, (2, n, 1))
        return Enclosure(np.stack([np.full(n, -np.inf), np.full(n, np.inf)]), grad, np.empty((2, n, 0, 0)))

    def at(self, x: Array, order: int) -> Enclosure:
        return Enclosure(np.full((2, len(x)), self.c), np.tile(self.slopes, (2, len(x), 1)), np.empty((2, 0, 0, 0)))


def lowest(c: float, slopes: list[float], low: Array, high: Array) -> Fraction:
    """c - |g| . (farthest distance from the middle), in fractions."""
    middle = extremum.middle_of(low, high)
    reach = Fraction(0)
    for g, a, b, m in zip(slopes, low[0].tolist(), high[0].tolist(), middle[0].tolist(), strict=True):
        reach += abs(Fraction(g)) * max(Fraction(b) - Fraction(m), Fraction(m) - Fraction(a))
    return Fraction(c) - reach


@pytest.mark.parametrize("sign", [1, -1])
def test_a_height_is_proved_only_where_it_is_true(sign: int) -> None:
    """The mean-value form on a box, where it decides alone: the level may be at most the exact bound."""
    rng = np.random.default_rng(41)
    proved = 0
    for trial in range(400):
        d = int(rng.integers(1, 5))
        scale = 1.0 if trial % 2 else TINY * 8
        slopes = (rng.choice([-1.0, 1.0], d) * rng.random(d)).tolist()
        low = (
            np.round(rng.normal(size=(1, d)) * 5 * (scale / TINY if scale < 1 else 1)) * TINY
            if scale < 1
            else rng.normal(size=(1, d))
        )
        high = low + (rng.integers(0, 9, (1, d)) * TINY if scale < 1 else rng.random((1, d)))
        c = float(rng.normal()) if scale == 1.0 else float(rng.integers(-20, 20)) * TINY
        bound = lowest(c, slopes, low, high)
        field: Any = Told(sign * c, [sign * g for g in slopes])
        level = float(bound)
        for there in (level, np.nextafter(level, -np.inf), np.nextafter(level, np.inf)):
            if prove_above(field, low, high, there, sign, most=1):
                assert bound > Fraction(float(there)), (trial, there)
        loose = level - (1e-12 if scale == 1.0 else 40 * TINY)
        proved += prove_above(field, low, high, loose, sign, most=1)
    assert proved == 400


def test_heights_of_a_bowl() -> None:
    field = Field(lambda x: (x**2).sum(dim=-1) - 0.25, ((-1.0, 1.0),) * 2)
    edge = faces(np.array([-0.5, -0.5]), np.array([0.5, 0.5]))
    assert prove_above(field, *edge, -1e-9)
    assert not prove_above(field, *edge, 1e-9)
    assert not prove_above(field, *edge, 0.0), "0 is reached"
    hill = Field(lambda x: 0.25 - (x**2).sum(dim=-1), ((-1.0, 1.0),) * 2)
    assert prove_above(hill, *edge, -1e-9, sign=-1)
    assert not prove_above(hill, *edge, 1e-9, sign=-1)
    cone = Field(lambda x: x[..., 0].abs(), ((-1.0, 1.0),) * 2)  # its range is exact
    quarter = np.zeros((1, 2)), np.ones((1, 2))
    assert prove_above(cone, *quarter, -1e-300)
    assert not prove_above(cone, *quarter, 0.0, most=50), "0 is reached on a side"
    none = np.empty((0, 2))
    assert prove_above(field, none, none, 1e9), "of nothing, everything is true"
    assert not prove_above(field, *edge, -1e-9, most=3), "the budget"


def test_halves_cover_the_box_and_cut_where_f_varies_most() -> None:
    low, high = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), np.array([[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]])
    slope = np.array([[3.0, 1.0, 9.0], [np.inf, 1.0, 1.0]])
    a, b = extremum._halves(low, high, slope, np.ones(3))
    assert a.tolist() == [[0, 0, 1], [0, 0, 1], [0.5, 0, 1], [0, 1, 1]]  # unknown slopes: the longest side
    assert b.tolist() == [[0.5, 2, 1], [1, 1, 1], [1, 2, 1], [1, 2, 1]]


def test_faces_are_the_whole_edge() -> None:
    low, high = np.array([0.0, 2.0, -1.0]), np.array([1.0, 5.0, 3.0])
    a, b = faces(low, high)
    found = {(tuple(p), tuple(q)) for p, q in zip(a.tolist(), b.tolist(), strict=True)}
    expected = set()
    for axis, end in itertools.product(range(3), (low, high)):
        p, q = low.copy(), high.copy()
        p[axis] = q[axis] = end[axis]
        expected.add((tuple(p), tuple(q)))
    assert found == expected


def test_extrema_inside_boxes() -> None:
    low, high = np.array([-0.5, -0.5]), np.array([0.5, 0.5])
    middle = np.zeros((1, 2))
    for f, kind in (
        (lambda x: x[..., 0] ** 4 + x[..., 1] ** 2, "minimum"),
        (lambda x: 1.0 - x[..., 0] ** 4 - x[..., 1] ** 2, "maximum"),
        (lambda x: x[..., 0] ** 2 - x[..., 1] ** 2, ""),
        (lambda x: x[..., 0] ** 2 + x[..., 1] ** 3, ""),
        (lambda x: x[..., 0] * 0.0 + 1.0, ""),
    ):
        assert extremum_inside(Field(f, UNIT), low, high, middle) == kind
    off = np.array([[0.49, 0.49], [0.0, 0.1]])  # the best candidate counts
    assert extremum_inside(Field(lambda x: (x**2).sum(dim=-1), UNIT), low, high, off) == "minimum"
    assert extremum_inside(Field(lambda x: 0.0 - (x**2).sum(dim=-1), UNIT), low, high, off) == "maximum"
    unknown = np.array([[0.0, 0.0]])
    assert extremum_inside(Field(lambda x: torch.log(x[..., 0]) + x[..., 1] ** 2, UNIT), low, high, unknown) == ""


def test_finite_where_there_is_no_pole() -> None:
    low, high = np.array([-0.5, -0.5]), np.array([0.5, 0.5])
    root = Field(lambda x: (x[..., 0] ** 2 + 1e-3).sqrt() + x[..., 1], UNIT)
    pole = Field(lambda x: 1.0 / (x[..., 0] - 0.3) + x[..., 1], UNIT)
    kink = Field(lambda x: torch.sqrt(torch.abs(x[..., 0])) + x[..., 1], UNIT)
    assert proved_finite(root, low, high, 0)
    assert proved_finite(root, low, high, 1)
    assert not proved_finite(pole, low, high, 0)
    assert proved_finite(pole, low, np.array([0.2, 0.5]), 1)
    assert proved_finite(kink, low, high, 0)
    assert not proved_finite(kink, low, high, 1)


# the trial


def two_faced(on_tensors: Callable[[Any], Any], on_intervals: Callable[[Any], Any]) -> Field:
    """A surface with the program of another one."""
    field = Field(on_intervals, UNIT)
    field.objective = on_tensors
    return field


def bowl(x: Any) -> Any:
    return (x[..., 0] - 0.3) ** 2 + torch.exp(x[..., 1])


@pytest.mark.parametrize(
    "change",
    [
        lambda x: bowl(x) + 1e-7,
        lambda x: bowl(x) + 1e-3 * torch.sin(1e6 * x[..., 0]) * 1e-4,
        lambda x: bowl(x).detach() + 0.5 * (bowl(x) - bowl(x).detach()),
        lambda x: bowl(x).detach(),
    ],
)
def test_a_surface_with_two_faces_is_refused(change: Callable[[Any], Any]) -> None:
    """By its value or by its gradient, above or below."""
    check_faithful(Field(bowl, UNIT))
    with pytest.raises(MissingRule, match="something in this surface"):
        check_faithful(two_faced(change, bowl))
    with pytest.raises(MissingRule, match="something in this surface"):
        check_faithful(two_faced(lambda x: -change(x), lambda x: -bowl(x)))


def test_a_surface_that_is_nowhere_finite_is_named() -> None:
    with pytest.raises(UserError, match="not finite anywhere"):
        check_faithful(Field(lambda x: torch.log(x[..., 0] - 5.0) + x[..., 1], UNIT))


# powers and bounds found in floating point


@pytest.mark.parametrize(
    ("power", "verdict", "words"),
    [(2.5, "undecided", "no power of the distance"), (3.45, "undecided", "no power"), (4.0, "minimum", "distance^4")],
)
def test_growth_that_is_no_whole_power_decides_nothing(power: float, verdict: str, words: str) -> None:
    field = FloatField(lambda x: torch.abs(x[..., 0]) ** power, ((-1.0, 1.0),))
    found = judge(field, np.zeros(1), 1.0)
    assert found.verdict == verdict
    assert words in found.wording


@pytest.mark.parametrize("lowest", [False, True])
def test_powers_are_whole_or_none(lowest: bool) -> None:
    from optbench.critical.numeric.degenerate import _power

    def spheres(p: float) -> list[Sphere]:
        radii = (0.1, 0.05, 0.02, 0.01)
        return [Sphere(r, -3.0 * r**p if lowest else 3.0 * r**p, 7.0 * r**p) for r in radii]

    for p in (1, 2, 3, 4, 6):
        assert _power(spheres(p), lowest) == p
        assert _power(spheres(p + 0.1), lowest) == p
    for p in (0.4, 1.5, 2.45, 2.5, 3.55):
        assert _power(spheres(p), lowest) is None, p
    changing = spheres(2.0)[:2] + spheres(4.0)[2:]
    assert _power(changing, lowest) is None
    assert _power(spheres(2)[:2], lowest) is None


def test_bounds_on_the_spectrum_add_the_share_that_was_missed() -> None:
    """With eps missed at each end of a true width W, the width found is at least (1 - 2 eps) W."""
    v = torch.zeros(3)
    for miss in (0.0, 0.1, 0.25, 0.49):
        low, high = -2.0, 6.0
        found = Ends(Pair(low, 0.0, v), Pair(high, 0.0, v), (), miss, 0.9)
        width = (high - low) / (1 - 2 * miss)
        assert found.lower_bound == pytest.approx(low - miss * width, rel=1e-14)
        assert found.upper_bound == pytest.approx(high + miss * width, rel=1e-14)
        assert found.upper_bound - found.lower_bound == pytest.approx(width, rel=1e-14)
    unknown = Ends(Pair(-2.0, 0.0, v), Pair(6.0, 0.0, v), (), 0.5, 0.9)
    assert (unknown.lower_bound, unknown.upper_bound) == (-math.inf, math.inf)


@pytest.mark.parametrize("steps", [3, 6, 12])
def test_residual_bounds_are_the_residuals(steps: int) -> None:
    generator = torch.Generator().manual_seed(5)
    a = torch.randn(40, 40, generator=generator, dtype=torch.float64)
    a = a + a.T
    start = torch.randn(40, generator=generator, dtype=torch.float64)
    run = lanczos(lambda v: a @ v, start, steps, torch.float64)
    values, vectors, bounds = run.tridiagonal.ritz()
    for k in range(steps):
        y = run.combine(vectors[:, k])
        assert float((a @ y - values[k] * y).norm()) == pytest.approx(float(bounds[k]), rel=1e-8, abs=1e-10)
    found = ends(lambda v: a @ v, 40, steps, 2, confidence=0.9)
    for pair in (found.low, found.high):
        truth = float((a @ pair.vector - pair.value * pair.vector).norm())
        assert pair.residual == pytest.approx(truth, rel=1e-8, abs=1e-10)
