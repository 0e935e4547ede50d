"""BBOB: the 24 noiseless functions on which black-box optimizers have been compared since 2009, with their instances.

A function is one difficulty at a time (separable, ill-conditioned, multimodal with or without structure); an instance
is a draw of where its minimum lies, of how it is rotated and of the value there, so that neither the axes nor the
origin nor zero tells an optimizer anything. Each function is a few transformations of x around a simple core; they are
built here from constants of the instance as torch operations on x, so that gradients, rows of a batch and certified
searches have them as any other surface.

Written from the published definitions, and held to the values of COCO's own package in `tests/surfaces/test_bbob.py`.
Where a definition has no derivative the value that autograd gives is said at the function: T_osz has slope 1 at 0, and
roots have slope 0 there.

Source: N. Hansen, S. Finck, R. Ros & A. Auger, "Real-Parameter Black-Box Optimization Benchmarking 2009: Noiseless
Functions Definitions", INRIA RR-6829 (2009, updated 2010).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.errors import UserError
from optbench.problem import AbstractSurface, check_dim
from optbench.surfaces.bbob_instances import Floats, normal, offset, optimum, order, rotation, signs, uniform

Function = Callable[[Tensor], Tensor]
Made = tuple[Function, Floats]
"""A function without its offset, and where its minimum lies."""

_TINY = 1e-300


class Bbob(AbstractSurface):
    """Function `function` of BBOB in `dim` dimensions on [-5, 5]^dim: minimum f_opt at x_opt, both of the instance.

    The start is the origin, as COCO proposes it. `minimizers` has x_opt; on f7, a staircase, a whole plateau has the
    minimum, and on f5 what lies beyond x_opt, a corner of the domain.

    Args:
        function: 1 to 24.
        instance: from 1 on; COCO's suites take 1 to 15.
        dim: at least 2; COCO's suites take 2, 3, 5, 10, 20 and 40.

    Attributes:
        title: name of the function.

    Raises:
        UserError: there is no such function or instance.

    Source: N. Hansen, S. Finck, R. Ros & A. Auger, INRIA RR-6829 (2009, updated 2010), see the module.
    """

    def __init__(self, function: int = 1, instance: int = 1, dim: int = 2) -> None:
        _check("function", function, len(FUNCTIONS))
        _check("instance", instance, None)
        check_dim(dim, least=2)
        seed = _SEEDS.get(function, function) + 10000 * instance
        self.title, make = FUNCTIONS[function - 1]
        self._offset = offset(seed)
        self._function, x_opt = make(Draw(dim, seed))
        super().__init__([(-5.0, 5.0)] * dim, [0.0] * dim, [x_opt.tolist()], self._offset)

    def __call__(self, x: Tensor) -> Tensor:
        return self._function(x) + self._offset


def _check(name: str, value: int, most: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most is not None and value > most):
        expected = "a whole number of at least 1" if most is None else f"a whole number from 1 to {most}"
        raise UserError(f"{name}={value}: expected {expected}")


@dataclass(frozen=True)
class Draw:
    """What is drawn for an instance.

    Attributes:
        dim: number of coordinates D.
        seed: of the function and the instance.
    """

    dim: int
    seed: int

    @property
    def x_opt(self) -> Floats:
        """Where the minimum lies, (D,)."""
        return optimum(self.dim, self.seed)

    @property
    def r(self) -> Floats:
        """The first rotation, (D, D)."""
        return rotation(self.dim, self.seed + 1000000)

    @property
    def q(self) -> Floats:
        """The second rotation, (D, D)."""
        return rotation(self.dim, self.seed)

    @property
    def ramp(self) -> Floats:
        """0, 1/(D-1), ..., 1."""
        return np.arange(self.dim) / (self.dim - 1)

    def scales(self, condition: float) -> Floats:
        """The diagonal of the published Lambda: condition^(ramp / 2)."""
        return np.asarray(condition ** (0.5 * self.ramp))


class Constant:
    """Numbers of an instance; called with x they are a tensor of its dtype, where x is."""

    def __init__(self, numbers: NDArray[Any]) -> None:
        self._numbers = torch.from_numpy(np.array(numbers, dtype=np.float64))

    def __call__(self, x: Tensor) -> Tensor:
        return self._numbers.to(x)


class Affine:
    """x -> M (x - c) on the last axis, by products and sums: a library's matrix product rounds a point otherwise in a
    larger batch."""

    def __init__(self, matrix: Floats, centre: Floats | None = None) -> None:
        self._matrix = Constant(matrix)
        self._centre = None if centre is None else Constant(centre)

    def __call__(self, x: Tensor) -> Tensor:
        moved = x if self._centre is None else x - self._centre(x)
        return (moved.unsqueeze(-2) * self._matrix(x)).sum(dim=-1)


# transformations ------------------------------------------------------------------------------------------------------


def oscillated(x: Tensor) -> Tensor:
    """T_osz, coordinate by coordinate: x exp(0.049 (sin c1 log|x| + sin c2 log|x|)), 0 at 0, where autograd gives 1."""
    logs = torch.where(x != 0.0, x.abs(), 1.0).log()
    first, second = torch.where(x > 0.0, 10.0 * logs, 5.5 * logs), torch.where(x > 0.0, 7.9 * logs, 3.1 * logs)
    return x * (0.049 * (first.sin() + second.sin())).exp()


class Skewed:
    """T_asy: x_i^(1 + beta ramp_i sqrt(x_i)) where x_i > 0, x_i elsewhere."""

    def __init__(self, beta: float, ramp: Floats) -> None:
        self._weights = Constant(beta * ramp)

    def __call__(self, x: Tensor) -> Tensor:
        above = torch.where(x > 0.0, x, 1.0)
        return x * (self._weights(x) * above.sqrt() * above.log()).exp()


def outside(x: Tensor) -> Tensor:
    """The penalty f_pen: the squared distance to [-5, 5]^D."""
    return _squares((x.abs() - 5.0).clamp(min=0.0))


def root(x: Tensor, power: float = 0.5) -> Tensor:
    """x^power for x >= 0, with slope 0 where x has one of 0."""
    above = torch.where(x > 0.0, x, 1.0)
    return torch.where(x > 0.0, above.sqrt() if power == 0.5 else above.pow(power), x)


def _squares(x: Tensor) -> Tensor:
    return (x * x).sum(dim=-1)


# f1 to f5: separable --------------------------------------------------------------------------------------------------


def _sphere(d: Draw) -> Made:
    x_opt = Constant(d.x_opt)
    return lambda x: _squares(x - x_opt(x)), d.x_opt


def _ellipsoid(d: Draw) -> Made:
    x_opt, weights = Constant(d.x_opt), Constant(1e6**d.ramp)

    def f(x: Tensor) -> Tensor:
        z = oscillated(x - x_opt(x))
        return (weights(x) * (z * z)).sum(dim=-1)

    return f, d.x_opt


def _waves(z: Tensor) -> Tensor:
    """Rastrigin's core: 10 (D - sum cos 2 pi z) + |z|^2."""
    return 10.0 * (z.shape[-1] - (2.0 * math.pi * z).cos().sum(dim=-1)) + _squares(z)


def _rastrigin(d: Draw) -> Made:
    x_opt, skewed, scales = Constant(d.x_opt), Skewed(0.2, d.ramp), Constant(d.scales(10.0))
    return lambda x: _waves(scales(x) * skewed(oscillated(x - x_opt(x)))), d.x_opt


def _bueche_rastrigin(d: Draw) -> Made:
    odd = np.arange(d.dim) % 2 == 0  # the first, third ... coordinate
    at = np.where(odd, np.abs(d.x_opt), d.x_opt)
    x_opt, below = Constant(at), Constant(d.scales(10.0))
    above = Constant(np.where(odd, 10.0, 1.0) * d.scales(10.0))

    def f(x: Tensor) -> Tensor:
        t = oscillated(x - x_opt(x))
        return _waves(torch.where(t > 0.0, above(x) * t, below(x) * t)) + 100.0 * outside(x)

    return f, at


def _linear_slope(d: Draw) -> Made:
    at = 5.0 * np.where(d.x_opt > 0.0, 1.0, -1.0)
    slopes, side = np.sign(at) * 10.0**d.ramp, Constant(np.sign(at))
    weights = Constant(slopes)
    most = float(5.0 * np.abs(slopes).sum())

    def f(x: Tensor) -> Tensor:
        z = side(x) * (side(x) * x).clamp(max=5.0)  # beyond the corner it is level
        return most - (weights(x) * z).sum(dim=-1)

    return f, at


# f6 to f9: low or moderate conditioning -------------------------------------------------------------------------------


def _attractive_sector(d: Draw) -> Made:
    to_z = Affine(d.r @ np.diag(d.scales(10.0)) @ d.q, d.x_opt)
    x_opt = Constant(d.x_opt)

    def f(x: Tensor) -> Tensor:
        z = to_z(x)
        z = torch.where(z * x_opt(x) > 0.0, 100.0 * z, z)
        return root(oscillated(_squares(z)), 0.9)

    return f, d.x_opt


def _step_ellipsoid(d: Draw) -> Made:
    to_hat = Affine(np.diag(d.scales(10.0)) @ d.q, d.x_opt)
    turn, weights = Affine(d.r), Constant(100.0**d.ramp)

    def f(x: Tensor) -> Tensor:
        hat = to_hat(x)
        z = turn(torch.where(hat.abs() > 0.5, (hat + 0.5).floor(), (10.0 * hat + 0.5).floor() / 10.0))
        stairs = (weights(x) * (z * z)).sum(dim=-1)
        return 0.1 * torch.maximum(hat[..., 0].abs() / 1e4, stairs) + outside(x)

    return f, d.x_opt


def _stretch(dim: int) -> float:
    return max(1.0, math.sqrt(dim) / 8.0)


def _valley(z: Tensor) -> Tensor:
    """Rosenbrock's terms 100 (z_i^2 - z_{i+1})^2 + (z_i - 1)^2, (..., D - 1)."""
    first, following = z[..., :-1], z[..., 1:]
    bend, rest = first * first - following, first - 1.0
    return 100.0 * (bend * bend) + rest * rest


def _rosenbrock(d: Draw) -> Made:
    at, stretch = 0.75 * d.x_opt, _stretch(d.dim)
    x_opt = Constant(at)
    return lambda x: _valley(stretch * (x - x_opt(x)) + 1.0).sum(dim=-1), at


def _turned_valley(d: Draw) -> tuple[Function, Floats]:
    """z = stretch R x + 1/2, and where z is 1."""
    to_z = Affine(_stretch(d.dim) * d.q)
    return lambda x: to_z(x) + 0.5, d.q.T @ np.full(d.dim, 0.5 / _stretch(d.dim))


def _rosenbrock_rotated(d: Draw) -> Made:
    to_z, at = _turned_valley(d)
    return lambda x: _valley(to_z(x)).sum(dim=-1), at


# f10 to f14: high conditioning, one minimum ---------------------------------------------------------------------------


def _ellipsoid_rotated(d: Draw) -> Made:
    to_z, weights = Affine(d.r, d.x_opt), Constant(1e6**d.ramp)

    def f(x: Tensor) -> Tensor:
        z = oscillated(to_z(x))
        return (weights(x) * (z * z)).sum(dim=-1)

    return f, d.x_opt


def _discus(d: Draw) -> Made:
    to_z = Affine(d.r, d.x_opt)
    weights = Constant(np.where(np.arange(d.dim) == 0, 1e6, 1.0))

    def f(x: Tensor) -> Tensor:
        z = oscillated(to_z(x))
        return (weights(x) * (z * z)).sum(dim=-1)

    return f, d.x_opt


def _bent_cigar(d: Draw) -> Made:
    at = optimum(d.dim, d.seed + 1000000)
    to_y, turn, skewed = Affine(d.r, at), Affine(d.r), Skewed(0.5, d.ramp)
    weights = Constant(np.where(np.arange(d.dim) == 0, 1.0, 1e6))

    def f(x: Tensor) -> Tensor:
        z = turn(skewed(to_y(x)))
        return (weights(x) * (z * z)).sum(dim=-1)

    return f, at


def _sharp_ridge(d: Draw) -> Made:
    to_z = Affine(d.r @ np.diag(d.scales(10.0)) @ d.q, d.x_opt)

    def f(x: Tensor) -> Tensor:
        z = to_z(x)
        return z[..., 0] * z[..., 0] + 100.0 * root(_squares(z[..., 1:]))

    return f, d.x_opt


def _different_powers(d: Draw) -> Made:
    to_z, exponents = Affine(d.r, d.x_opt), Constant(2.0 + 4.0 * d.ramp)
    return lambda x: root(to_z(x).abs().pow(exponents(x)).sum(dim=-1)), d.x_opt


# f15 to f19: multimodal with a structure ------------------------------------------------------------------------------


def _rastrigin_rotated(d: Draw) -> Made:
    first, skewed = Affine(d.r, d.x_opt), Skewed(0.2, d.ramp)
    to_z = Affine(d.r @ np.diag(d.scales(10.0)) @ d.q)
    return lambda x: _waves(to_z(skewed(oscillated(first(x))))), d.x_opt


def _weierstrass(d: Draw) -> Made:
    first, to_z = Affine(d.r, d.x_opt), Affine(d.r @ np.diag(d.scales(0.01)) @ d.q)
    k = np.arange(12)
    heights, rates = 0.5**k, 2.0 * math.pi * 3.0**k
    h, w = Constant(heights), Constant(rates)
    at_optimum = float((heights * np.cos(0.5 * rates)).sum())

    def f(x: Tensor) -> Tensor:
        z = to_z(oscillated(first(x)))
        waves = (h(x) * (w(x) * (z.unsqueeze(-1) + 0.5)).cos()).sum(dim=(-2, -1))
        above = waves / d.dim - at_optimum
        return 10.0 * (above * above * above) + 10.0 / d.dim * outside(x)

    return f, d.x_opt


def _schaffer(condition: float) -> Callable[[Draw], Made]:
    def make(d: Draw) -> Made:
        first, skewed = Affine(d.r, d.x_opt), Skewed(0.5, d.ramp)
        to_z = Affine(np.diag(d.scales(condition)) @ d.q)

        def f(x: Tensor) -> Tensor:
            z = to_z(skewed(first(x)))
            squares = z * z
            s = squares[..., :-1] + squares[..., 1:]
            wave = (50.0 * root(s, 0.1)).sin()
            mean = (root(s, 0.25) * (1.0 + wave * wave)).sum(dim=-1) / (d.dim - 1)
            return mean * mean + 10.0 * outside(x)

        return f, d.x_opt

    return make


def _griewank_rosenbrock(d: Draw) -> Made:
    to_z, at = _turned_valley(d)

    def f(x: Tensor) -> Tensor:
        s = _valley(to_z(x))
        return 10.0 + 10.0 * (s / 4000.0 - s.cos()).sum(dim=-1) / (d.dim - 1)

    return f, at


# f20 to f24: multimodal with weak structure ---------------------------------------------------------------------------


def _schwefel(d: Draw) -> Made:
    side = signs(d.dim, d.seed)
    twice = 4.2096874637  # 2 |x_opt|
    sides, scales = Constant(side), Constant(d.scales(10.0))

    def f(x: Tensor) -> Tensor:
        hat = 2.0 * sides(x) * x
        pushed = hat[..., 1:] + 0.25 * (hat[..., :-1] - twice)
        z = torch.cat([hat[..., :1], pushed], dim=-1)
        z = 100.0 * (scales(x) * (z - twice) + twice)
        waves = (z * z.abs().clamp(min=_TINY).sqrt().sin()).sum(dim=-1)
        return 4.189828872724339 - 0.01 * waves / d.dim + 100.0 * outside(z / 100.0)

    return f, 0.5 * twice * side


def _gallagher(peaks: int, condition: float, width: float) -> Callable[[Draw], Made]:
    """Peaks of 1.1 to 9.1 beside the highest, of 10, each with axes of its own in one rotation."""

    def make(d: Draw) -> Made:
        turn = d.q
        conditions = np.append(condition, 1000.0 ** (order(peaks - 1, d.seed) / (peaks - 2)))
        ramps = np.stack([order(d.dim, d.seed + 1000 * i) / (d.dim - 1) for i in range(peaks)])
        places = width * uniform(d.dim * peaks, d.seed).reshape(peaks, d.dim) - width / 2.0
        places[0] *= 0.8
        values = np.append(10.0, np.linspace(1.1, 9.1, peaks - 1))
        weights = Constant(conditions[:, None] ** (ramps - 0.5) / (2.0 * d.dim))
        to_y, centres, depths = Affine(turn), Constant(places @ turn.T), Constant(np.log(values / 10.0))

        def f(x: Tensor) -> Tensor:
            apart = to_y(x).unsqueeze(-2) - centres(x)
            nearest = (depths(x) - (weights(x) * (apart * apart)).sum(dim=-1)).amax(dim=-1)
            z = oscillated(-10.0 * nearest.expm1())  # 10 less the highest peak there
            return z * z + outside(x)

        return f, places[0]

    return make


def _katsuura(d: Draw) -> Made:
    to_z = Affine(d.r @ np.diag(d.scales(100.0)) @ d.q, d.x_opt)
    powers, places = Constant(2.0 ** np.arange(1, 33)), Constant(1.0 + np.arange(d.dim))

    def f(x: Tensor) -> Tensor:
        z: Tensor = to_z(x).unsqueeze(-1) * powers(x)
        rough = ((z - (z + 0.5).floor()).abs() / powers(x)).sum(dim=-1)
        total = (1.0 + places(x) * rough).log().sum(dim=-1)
        whole: Tensor = 10.0 / d.dim**2 * ((10.0 / float(d.dim) ** 1.2) * total).expm1()
        return whole + outside(x)

    return f, d.x_opt


def _lunacek(d: Draw) -> Made:
    first = 2.5
    s = 1.0 - 0.5 / (math.sqrt(d.dim + 20.0) - 4.1)
    second = -math.sqrt((first * first - 1.0) / s)
    side = np.where(normal(d.dim, d.seed) < 0.0, -1.0, 1.0)
    sides, to_z = Constant(side), Affine(d.r @ np.diag(d.scales(100.0)) @ d.q)

    def f(x: Tensor) -> Tensor:
        hat = 2.0 * sides(x) * x
        bowls = torch.minimum(_squares(hat - first), d.dim + s * _squares(hat - second))
        waves = (2.0 * math.pi * to_z(hat - first)).cos().sum(dim=-1)
        return bowls + 10.0 * (d.dim - waves) + 1e4 * outside(x)

    return f, 0.5 * first * side


FUNCTIONS: tuple[tuple[str, Callable[[Draw], Made]], ...] = (
    ("sphere", _sphere),
    ("ellipsoid, separable", _ellipsoid),
    ("Rastrigin, separable", _rastrigin),
    ("Büche-Rastrigin", _bueche_rastrigin),
    ("linear slope", _linear_slope),
    ("attractive sector", _attractive_sector),
    ("step ellipsoid", _step_ellipsoid),
    ("Rosenbrock", _rosenbrock),
    ("Rosenbrock, rotated", _rosenbrock_rotated),
    ("ellipsoid", _ellipsoid_rotated),
    ("discus", _discus),
    ("bent cigar", _bent_cigar),
    ("sharp ridge", _sharp_ridge),
    ("different powers", _different_powers),
    ("Rastrigin", _rastrigin_rotated),
    ("Weierstrass", _weierstrass),
    ("Schaffer's F7", _schaffer(10.0)),
    ("Schaffer's F7, ill-conditioned", _schaffer(1000.0)),
    ("Griewank-Rosenbrock", _griewank_rosenbrock),
    ("Schwefel", _schwefel),
    ("Gallagher, 101 peaks", _gallagher(101, 1000.0**0.5, 10.0)),
    ("Gallagher, 21 peaks", _gallagher(21, 1000.0, 9.8)),
    ("Katsuura", _katsuura),
    ("Lunacek's double Rastrigin", _lunacek),
)
"""Name and maker of f1 ... f24."""

_SEEDS = {4: 3, 18: 17}
"""Functions that are drawn as another one."""
