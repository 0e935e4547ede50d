"""Krawczyk's operator and the enclosures of eigenvalues, piece by piece, against fractions and 60 digits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hard_numbers import MOST, TINY, exact, hard_intervals

from optbench.critical.arithmetic.ends import Array, center_radius, gamma
from optbench.critical.proofs.boxes import middle_of
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.inertia import eigenvalue_ranges
from optbench.critical.proofs.krawczyk import (
    Contraction,
    contract,
    contract_for_all,
    inflate,
    inverse,
    krawczyk,
    polish,
    strictly_inside,
)

INF = math.inf


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def test_center_and_radius_hold_the_interval() -> None:
    low, high = hard_intervals(600, 31)
    center, radius = center_radius(low, high)
    for a, b, c, r in zip(low.tolist(), high.tolist(), center.tolist(), radius.tolist(), strict=True):
        if math.isinf(a) or math.isinf(b):
            assert (c, r) == (0.0, INF)
            continue
        assert r == INF or Fraction(c) - Fraction(r) <= Fraction(a)
        assert r == INF or Fraction(b) <= Fraction(c) + Fraction(r)
        half = (Fraction(b) - Fraction(a)) / 2
        rounding = Fraction(3, 2**52) * max(abs(Fraction(a)), abs(Fraction(b)), half) + 3 * Fraction(TINY)
        assert r == INF or Fraction(r) <= half + rounding
        assert r < INF or half > Fraction(MOST) * Fraction(2**50 - 1, 2**50)


def test_middles_lie_in_their_boxes() -> None:
    low, high = hard_intervals(600, 32, finite=True)
    middle = middle_of(low[:, None], high[:, None])[:, 0]
    assert ((low <= middle) & (middle <= high)).all()
    off = np.abs(middle / 4 - (low / 8 + high / 8))
    assert (off <= 2.0**-52 * np.maximum(np.abs(low), np.abs(high)) / 4 + 2 * TINY).all()


@pytest.mark.parametrize("side", ["low", "high"])
def test_inside_means_the_interior(side: str) -> None:
    """Equal ends are not inside: K = X may have its zero on the edge, and another box may count it, too."""
    low, high = np.array([[-1.0, 0.0]]), np.array([[1.0, TINY * 4]])

    def decided(k_low: list[float], k_high: list[float]) -> bool:
        k = Contraction(np.array([k_low]), np.array([k_high]), np.zeros((1, 2)), np.zeros(1))
        return bool(strictly_inside(k, low, high)[0])

    inner = ([np.nextafter(-1.0, 0.0), TINY], [np.nextafter(1.0, 0.0), TINY * 3])
    assert decided(*inner)
    for axis in (0, 1):
        for end in ((low if side == "low" else high)[0, axis], -INF if side == "low" else INF, np.nan):
            changed = [list(ends) for ends in inner]
            changed[side == "high"][axis] = end
            assert not decided(*changed), (axis, end)


SHAPES = ((1, 1.0, 0.0), (2, 1.0, 0.0), (3, 1.0, 0.0), (4, 1e-3, 0.0), (6, 1.0, 0.0), (2, 1.0, 1e-3), (3, 1e-6, 0.1))


def systems(d: int, skew: float, width: float, rng: Any, n: int = 150) -> tuple[Array, ...]:
    """Boxes low, high (n, d), middles, grad (2, n, d) and hess (2, n, d, d), badly conditioned for a small `skew`."""
    low = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-3, 4, (n, 1))
    high = low + rng.choice([0.0, 1e-12, 1e-3, 1.0], (n, 1)) * rng.random((n, d))
    middle = np.clip(low + rng.random((n, d)) * (high - low), low, high)  # any point of the box will do
    h = rng.normal(size=(n, d, d)) / 3.0
    h = h + h.transpose(0, 2, 1)
    h[:, :, -1] = (h @ np.ones(d)) * (1.0 + skew)
    h[:, -1, :] = h[:, :, -1]
    g = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-8, 1, (n, 1))
    spread = width * rng.random((n, d, d)) * np.abs(h)
    spread = np.minimum(spread, spread.transpose(0, 2, 1))
    around = width * np.abs(g)
    return low, high, middle, np.stack([g - around, g + around]), np.stack([h - spread, h + spread])


@pytest.mark.parametrize(("d", "skew", "width"), SHAPES)
def test_krawczyk_holds_the_exact_operator(d: int, skew: float, width: float) -> None:
    """m - Y g + (I - Y H)(x - m) for members g, H and corners x, in fractions, with the Y that was used."""
    rng = np.random.default_rng(33)
    low, high, middle, grad, hess = systems(d, skew, width, rng)
    k = krawczyk(low, high, middle, grad, hess)
    y_used = inverse(center_radius(hess[0], hess[1])[0])
    assert np.isfinite(k.low).all()
    for row in range(len(low)):
        y = [[Fraction(v) for v in line] for line in y_used[row].tolist()]
        m = [Fraction(v) for v in middle[row].tolist()]
        for _ in range(3):
            pick = [rng.integers(0, 2, s) for s in ((d,), (d, d), (d,))]
            g = [Fraction(v) for v in np.where(pick[0], grad[0, row], grad[1, row]).tolist()]
            h = [[Fraction(v) for v in line] for line in np.where(pick[1], hess[0, row], hess[1, row]).tolist()]
            x = [Fraction(v) for v in np.where(pick[2], low[row], high[row]).tolist()]
            u = [x[j] - m[j] - 0 for j in range(d)]
            hu = [sum(h[i][j] * u[j] for j in range(d)) for i in range(d)]
            for i in range(d):
                value = m[i] + u[i] - sum(y[i][j] * (g[j] + hu[j]) for j in range(d))
                assert exact(float(k.low[row, i])) <= value <= exact(float(k.high[row, i])), (row, i)
                size = abs(m[i]) + sum(abs(y[i][j] * g[j]) for j in range(d))
                assert (
                    width or high[row, 0] > low[row, 0] or k.high[row, i] - k.low[row, i] <= 1e-13 * d * size + 1e-300
                )


def test_krawczyk_on_the_smallest_numbers() -> None:
    """Gradients and boxes of a few units of 2^-1074: every product rounds to a whole number of them."""
    rng = np.random.default_rng(34)
    n, d = 400, 2
    low = rng.integers(-4, 5, (n, d)) * TINY
    high = low + rng.integers(0, 3, (n, d)) * TINY
    middle = middle_of(low, high)
    g = rng.integers(-9, 10, (n, d)) * TINY
    h = rng.choice([0.3, 0.5, 0.7, 1.4, 2.0], (n, d, d))
    h = np.tril(h) + np.tril(h, -1).transpose(0, 2, 1)
    k = krawczyk(low, high, middle, np.stack([g, g]), np.stack([h, h]))
    y_used = inverse(h)
    for row in range(n):
        for i in range(d):
            y = [Fraction(v) for v in y_used[row, i].tolist()]
            value = Fraction(float(middle[row, i])) - sum(y[j] * Fraction(float(g[row, j])) for j in range(d))
            assert Fraction(float(k.low[row, i])) <= value <= Fraction(float(k.high[row, i]))


def test_krawczyk_knows_nothing_where_nothing_is_known() -> None:
    low, high = np.zeros((3, 2)), np.ones((3, 2))
    grad, hess = np.zeros((2, 3, 2)), np.tile(np.eye(2), (2, 3, 1, 1))
    hess[0, 0, 0, 1] = -INF
    grad[1, 1, 0] = INF
    hess[:, 2] = 0.0  # singular: Y = 0, and K is the box itself
    k = krawczyk(low, high, middle_of(low, high), grad, hess)
    assert (k.low[0] <= 0).all()
    assert (k.high[0] >= 1).all()
    assert (k.low[1, 0], k.high[1, 0]) == (-INF, INF)
    assert ((k.low[2] <= 0) & (k.high[2] >= 1)).all()
    assert not strictly_inside(k, low, high).any()
    assert k.norm[0] == INF
    assert k.norm[2] >= 1


def test_singular_matrices_have_no_inverse_and_spoil_none_beside_them() -> None:
    h = np.array(
        [[[1.0, 2.0], [2.0, 4.0]], [[1.0, 2.0], [2.0, 5.0]], [[0.0, 0.0], [0.0, 3.0]], [[INF, 0.0], [0.0, 1.0]]]
    )
    wanted = np.zeros((4, 2, 2))
    wanted[1] = [[5.0, -2.0], [-2.0, 1.0]]
    np.testing.assert_allclose(inverse(h), wanted, rtol=1e-14)
    turned = np.array([[[0.0, 1.0], [1.0, 0.0]]])  # its determinant is -1
    np.testing.assert_array_equal(inverse(turned), turned)


def test_a_contraction_for_all_values_of_a_parameter_is_as_narrow_as_the_mean_value_form() -> None:
    """f = x^2/2 + x t, t written so that its interval is wide: the zeros of df/dx are x = -t, for all |t| <= 0.1."""
    field = Field(
        lambda p: p[..., 0] ** 2 / 2 + p[..., 0] * ((p[..., 1] + 1) ** 2 - 1 - p[..., 1] ** 2 - p[..., 1]),
        ((-2.0, 2.0),) * 2,
    )
    low, high = np.array([[-1.0, -0.1]]), np.array([[1.0, 0.1]])
    k = contract_for_all(field, low, high, [0], [1], field.enclose(low, high, 2).hess)
    assert -0.15 < k.low[0, 0] <= -0.1
    assert 0.1 <= k.high[0, 0] < 0.15


def test_the_norm_is_that_of_the_contraction() -> None:
    """I - Y H in units of the sides: for H = diag(1 +- r), Y = I, it is r, whatever the sides are."""
    low, high = np.array([[0.0, 0.0]]), np.array([[1.0, 1e-6]])
    h = np.eye(2)[None]
    radius = np.array([[[0.25, 0.0], [0.0, 0.125]]])
    k = krawczyk(low, high, middle_of(low, high), np.zeros((2, 1, 2)), np.stack([h - radius, h + radius]))
    assert k.norm[0] == pytest.approx(0.25, rel=1e-12)
    assert k.newton[0].tolist() == [0.5, 5e-7]
    assert k.low[0].tolist() == pytest.approx([0.375, 5e-7 * (1 - 0.125)], rel=1e-9)


def test_gamma_bounds_the_error_of_inner_products() -> None:
    """Higham's bound with a unit roundoff of 2^-53: n u / (1 - n u), with room to spare."""
    for d in (1, 2, 3, 8, 50):
        assert gamma(d) >= 2 * d * 2.0**-53 / (1 - d * 2.0**-53)
        assert gamma(d) <= 4 * (d + 1) * 2.0**-53


def bowl(x: Any) -> Any:
    return (x[..., 0] - 0.3) ** 2 + 3.0 * (x[..., 1] + 0.25) ** 2 + 0.5 * x[..., 0] * x[..., 1]


def minimum() -> Array:
    """Of `bowl`: H x = b, in fractions."""
    a, b = Fraction(0.3), Fraction(-0.25)
    # 2 (x - a) + y/2 = 0, 6 (y - b) + x/2 = 0
    det = 12 - Fraction(1, 4)
    return np.array([float((12 * a - 3 * b) / det), float((12 * b - a) / det)])


def test_an_inflated_box_covers_the_box_round_the_newton_point() -> None:
    field = Field(bowl, ((-1.0, 1.0), (-2.0, 2.0)))
    rng = np.random.default_rng(35)
    low = rng.uniform(-1, 1, (50, 2))
    high = low + rng.choice([0.0, 1e-9, 0.1], (50, 1)) * rng.random((50, 2))
    newton = low + rng.uniform(-0.5, 1.5, (50, 2)) * (high - low)
    wide_low, wide_high = inflate(field, low, high, newton)
    assert ((wide_low < low) & (wide_high > high)).all()
    assert np.abs(0.5 * (wide_low + wide_high) - newton).max() < 1e-15
    sides = (wide_high - wide_low) / field.width
    assert (sides.min(axis=1) >= 0.0099 * sides.max(axis=1)).all()
    assert (sides >= 1.9e-11).all()
    old = np.maximum(newton - low, high - newton) / field.width
    assert (sides <= 2 * np.maximum(1.03 * old, np.maximum(0.0103 * old.max(axis=1, keepdims=True), 1.1e-11))).all()


def test_contract_and_polish_close_in_on_the_exact_zero() -> None:
    field = Field(bowl, ((-1.0, 1.0), (-2.0, 2.0)))
    x = minimum()
    low, high = x[None] - [[0.1, 0.3]], x[None] + [[0.2, 0.1]]
    k = contract(field, low, high)
    assert strictly_inside(k, low, high).all()
    assert ((k.low <= x) & (x <= k.high)).all()
    end_low, end_high = polish(field, k.low, k.high, low, high)
    slack = 2.0**-53 * np.abs(x)
    assert ((end_low <= x + slack) & (x - slack <= end_high)).all()
    assert (end_high - end_low < 1e-14).all()
    assert ((end_low >= low) & (end_high <= high)).all()
    none = np.empty((0, 2))
    assert [len(e) for e in polish(field, none, none, none, none)] == [0, 0]
    # A box round the zero that is known to be the only one is smaller than every box tried: narrowed where it is.
    tight_low, tight_high = x[None] - 1e-14, x[None] + 1e-14
    end_low, end_high = polish(field, tight_low, tight_high, tight_low, tight_high)
    assert ((end_low >= tight_low) & (end_high <= tight_high) & (end_low <= end_high)).all()


def test_polish_never_leaves_the_box_in_which_the_zero_is_alone() -> None:
    """x^3/3 - x has zeros at 1 and -1: from the enclosure of one it does not slip to the other."""
    field = Field(lambda x: x[..., 0] ** 3 / 3 - x[..., 0], ((-2.0, 2.0),))
    low, high = polish(field, np.array([[0.6]]), np.array([[1.3]]), np.array([[0.6]]), np.array([[1.3]]))
    assert 1 - 1e-14 < low[0, 0] <= 1 <= high[0, 0] < 1 + 1e-14


def test_polish_never_widens() -> None:
    """Where the second derivative vanishes K is no bound: the enclosure stays what it was."""
    field = Field(lambda x: x[..., 0] ** 4, ((-1.0, 1.0),))
    low, high = polish(field, np.array([[-0.1]]), np.array([[0.2]]), np.array([[-0.1]]), np.array([[0.2]]))
    assert -0.1 <= low[0, 0] <= 0.0 <= high[0, 0] <= 0.2


# eigenvalues


def held(matrices: Array, low: Array, high: Array) -> None:
    with mpmath.workdps(60):
        for a, ends_low, ends_high in zip(matrices, low.tolist(), high.tolist(), strict=True):
            scale = float(np.abs(a).max())
            m = mpmath.matrix(len(a))
            for i in range(len(a)):
                for j in range(len(a)):
                    m[i, j] = mpmath.mpf(float(a[i, j])) / (scale or 1.0)
            values = sorted(mpmath.eigsy(m, eigvals_only=True)) if len(a) > 1 else [m[0, 0]]
            for value, x, y in zip(values, ends_low, ends_high, strict=True):
                assert mpmath.mpf(x) <= value * (scale or 1.0) <= mpmath.mpf(y), a


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_thin_matrices_keep_their_eigenvalues(d: int) -> None:
    rng = np.random.default_rng(36)
    a = rng.normal(size=(60, d, d))
    a[::3] = np.round(a[::3] * 3)
    a[1::3, :, -1] = a[1::3, :, 0]  # nearly singular
    a = a + a.transpose(0, 2, 1)
    a[::2] *= 10.0 ** rng.integers(-12, 13, (len(a[::2]), 1, 1))
    a[::5] *= np.exp2(rng.integers(-900, 900, (len(a[::5]), 1, 1)))
    low, high = eigenvalue_ranges(np.stack([a, a]))
    held(a, low, high)
    assert (high - low <= 1e-13 * d * np.abs(a).max(axis=(1, 2))[:, None] + 1e-320).all()


def test_blocks_of_very_different_sizes_keep_their_eigenvalues() -> None:
    """Beside an entry of 1, a block of a few units of 2^-1074: all its products underflow."""
    rng = np.random.default_rng(37)
    a = np.zeros((300, 3, 3))
    a[:, 0, 0] = rng.choice([1.0, -1.5, 1e150], 300)
    small = rng.integers(-9, 10, (300, 2, 2)) * rng.choice([TINY, 1e-310, 1e-200], (300, 1, 1))
    a[:, 1:, 1:] = small + small.transpose(0, 2, 1)
    low, high = eigenvalue_ranges(np.stack([a, a]))
    for m, ends_low, ends_high in zip(a, low, high, strict=True):
        p, q, r = (Fraction(float(v)) for v in (m[1, 1], m[1, 2], m[2, 2]))
        with mpmath.workdps(700):  # digits of 2^-1074 and of what lies below
            middle, root = (
                (mpmath.mpf(v.numerator) / v.denominator) for v in ((p + r) / 2, ((p - r) / 2) ** 2 + q * q)
            )
            values = sorted([mpmath.mpf(float(m[0, 0])), middle - mpmath.sqrt(root), middle + mpmath.sqrt(root)])
            for value, x, y in zip(values, ends_low.tolist(), ends_high.tolist(), strict=True):
                assert mpmath.mpf(x) <= value <= mpmath.mpf(y), m


def test_subnormal_matrices_keep_their_eigenvalues() -> None:
    rng = np.random.default_rng(38)
    a = rng.integers(-9, 10, (200, 2, 2)) * TINY
    a = np.tril(a) + np.tril(a, -1).transpose(0, 2, 1)
    low, high = eigenvalue_ranges(np.stack([a, a]))
    for m, ends_low, ends_high in zip(a / TINY, low / TINY, high / TINY, strict=True):
        middle, root = (m[0, 0] + m[1, 1]) / 2, math.hypot((m[0, 0] - m[1, 1]) / 2, m[0, 1])
        for value, x, y in zip((middle - root, middle + root), ends_low, ends_high, strict=True):
            assert x <= value + 1e-9
            assert y >= value - 1e-9


@pytest.mark.parametrize("d", [1, 2, 4])
def test_interval_matrices_hold_the_eigenvalues_of_their_corners(d: int) -> None:
    rng = np.random.default_rng(39)
    center = rng.normal(size=(40, d, d))
    center = center + center.transpose(0, 2, 1)
    radius = rng.random((40, d, d)) * rng.choice([1e-12, 1e-3, 0.5], (40, 1, 1))
    radius = radius + radius.transpose(0, 2, 1)
    low, high = eigenvalue_ranges(np.stack([center - radius, center + radius]))
    for _ in range(8):
        sign = np.tril(rng.choice([-1.0, 1.0], (40, d, d)))
        sign = sign + np.tril(sign, -1).transpose(0, 2, 1)
        values = np.linalg.eigvalsh(center + sign * radius)
        slack = 1e-14 * np.abs(center).max()
        assert (low <= values + slack).all()
        assert (values - slack <= high).all()
    assert (low[:, :-1] <= low[:, 1:]).all()
    assert (high[:, :-1] <= high[:, 1:]).all()


def test_an_unknown_entry_leaves_all_eigenvalues_unknown() -> None:
    hess = np.tile(np.eye(2), (2, 3, 1, 1))
    hess[1, 1, 0, 0] = INF
    hess[0, 2, 0, 1] = -INF
    low, high = eigenvalue_ranges(hess)
    assert np.isposinf(high[1:]).all()
    assert np.isneginf(low[1:]).all()
    assert np.isfinite([low[0], high[0]]).all()


def test_signs_of_a_matrix_and_its_powers_of_two_agree() -> None:
    """A common factor changes nothing: from the smallest to the largest, the sign of every eigenvalue is proved."""
    a = np.array([[2.0, 1.0], [1.0, -3.0]])
    for power in (-1050, -1000, -500, 0, 500, 1000, 1021):
        low, high = eigenvalue_ranges(np.tile(a * 2.0**power, (2, 1, 1, 1)))
        assert high[0, 0] < 0 < low[0, 1], power


def test_any_vectors_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof takes the eigenvectors as they come: with others it is wider, not wrong, however small the entries."""
    rng = np.random.default_rng(40)

    def others(a: Array) -> tuple[Array, Array]:
        angle = rng.uniform(0, 2 * np.pi, len(a))
        v = np.tile(np.eye(3), (len(a), 1, 1))
        v[:, 1, 1] = v[:, 2, 2] = np.cos(angle)
        v[:, 1, 2], v[:, 2, 1] = -np.sin(angle), np.sin(angle)
        return np.zeros((len(a), 3)), v

    monkeypatch.setattr(np.linalg, "eigh", others)
    a = np.zeros((400, 3, 3))
    a[:, 0, 0] = 1.0
    a[:, 1, 1] = rng.integers(-9, 10, 400) * rng.choice([TINY, 1e-300, 1e-16, 1.0], 400)
    a[:, 2, 2] = a[:, 1, 1]  # a multiple of the identity, whichever way it is turned
    low, high = eigenvalue_ranges(np.stack([a, a]))
    truth = np.sort(a[:, [0, 1, 2], [0, 1, 2]], axis=1)
    assert (low <= truth).all()
    assert (truth <= high).all()
    assert (high - low <= 1e-13 * np.abs(a).max(axis=(1, 2))[:, None]).all()


def test_vectors_that_are_none_of_the_matrix_only_widen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the identity in their place Gershgorin's discs are those of the matrix itself."""
    monkeypatch.setattr(
        np.linalg, "eigh", lambda a: (np.zeros(a.shape[:2]), np.tile(np.eye(a.shape[1]), (len(a), 1, 1)))
    )
    a = np.array([[[1.0, 0.5], [0.5, 2.0]]])
    low, high = eigenvalue_ranges(np.stack([a, a]))
    held(a, low, high)
    assert low[0] == pytest.approx([0.5, 1.5], abs=1e-12)
    assert high[0] == pytest.approx([1.5, 2.5], abs=1e-12)
