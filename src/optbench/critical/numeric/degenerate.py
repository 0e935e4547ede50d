"""What a critical point is when the second-order test cannot say: index, splitting, witnesses.

Three questions, none answered by a tolerance on an eigenvalue:

* Does the gradient turn round the point (1-D, 2-D)? Its winding number on a small circle is the Poincare index, and an
  isolated extremum has index +1: any other index settles that the point is none.
* What is left once the sure directions are taken out? The splitting lemma (`splitting`) reduces f to a function F of
  the flat directions alone: f has a minimum exactly if F has and no sure curvature is negative.
* Is anything lower, on spheres of shrinking radius? A lower point is a witness: "not a minimum". None found proves
  nothing: e^(-1/r^2) is flatter than every power. "Minimum" is said only where F grows like a power of the distance.

A point without derivatives (a kink) is judged by the values on spheres round it alone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from optbench.critical.numeric.calculus import EPS, Array, Field
from optbench.critical.numeric.newton import SURE, sign_trust, spectrum
from optbench.critical.numeric.splitting import Sphere, directions, reduced_spheres
from optbench.critical.numeric.winding import winding_round
from optbench.critical.points.describe import signed
from optbench.critical.points.found import Verdict


@dataclass(frozen=True)
class Judgement:
    """What is known of a degenerate point.

    Attributes:
        verdict: minimum, maximum, saddle, or undecided.
        index: Poincare index; None if unknown.
        wording: one sentence, no full stop.
    """

    verdict: Verdict
    index: int | None
    wording: str


def judge(field: Field, x: Array, room: float) -> Judgement:
    """Decides what the isolated, smooth, degenerate point x (d,) is.

    Args:
        field: the objective on its box.
        x: the point.
        room: distance in box widths within which there is no other critical point.
    """
    jet = field.jet(x[None])
    spec = spectrum(field, jet)
    sure = sign_trust(field, x[None], jet, spec)[0] < SURE
    signs = np.sign(spec.values[0][sure])
    positive, negative = int((signs > 0).sum()), int((signs < 0).sum())
    spheres = reduced_spheres(field, x, spec.vectors[0], sure, min(0.1, 0.5 * room))
    index = _index(field, x, min(0.1, 0.5 * room))
    verdict, wording = _verdict(positive, negative, spheres, field.unit)
    if index is None and verdict in ("minimum", "maximum"):
        index = 1 if verdict == "minimum" else (-1) ** field.dim
    elif index is None and (~sure).sum() == 1:
        index = _index_of_one_direction(negative, spheres)
    if index is not None and field.dim == 2:
        wording += f"; Poincare index {signed(index)}{_ways(index)}"
        if index != 1 and verdict == "undecided":
            verdict = "saddle"
            wording += "; an isolated extremum has index +1, so this is none"
    return Judgement(verdict, index, wording)


def judge_kink(field: Field, x: Array, room: float, what: str) -> Judgement:
    """Decides by values alone what the point x (d,), at which f has no second (or first) derivative, is."""
    none = np.zeros(field.dim, dtype=bool)
    spheres = reduced_spheres(field, x, np.eye(field.dim), none, min(0.1, 0.5 * room))
    seen = [s for s in spheres if max(-s.lowest, s.highest) > 0]
    lower, higher = any(s.lowest < 0 for s in seen[-3:]), any(s.highest > 0 for s in seen[-3:])
    verdict: Verdict = "undecided"
    if lower != higher:
        verdict = "maximum" if lower else "minimum"
    elif lower:
        verdict = "saddle"
    name = {"minimum": "nonsmooth minimum", "maximum": "nonsmooth maximum", "saddle": "nonsmooth saddle"}
    around = {"minimum": "higher", "maximum": "lower", "saddle": "higher on some sides and lower on others"}
    wording = f"{what}; {name.get(verdict, 'undecided')}"
    if verdict in around:
        wording += f": f is {around[verdict]} on all spheres tried round it"
    index = None
    if field.dim == 2 and seen:
        index = _sectors(field, x, seen[-1].radius)
    elif verdict in ("minimum", "maximum"):
        index = 1 if verdict == "minimum" else (-1) ** field.dim
    return Judgement(verdict, index, wording)


def smoothness(field: Field, x: Array) -> str:
    """Why f has no second derivative at x (d,); "pole" where f is not continuous; empty where it looks smooth.

    Compares the gradient on opposite sides of x at shrinking distance h: the difference goes to zero like h where f is
    twice differentiable and stays where f has a kink. The change of f itself goes to zero where f is continuous.
    """
    steps = np.array([1e-4, 1e-6, 1e-8])
    axes = np.concatenate([np.eye(field.dim), directions(field.dim, 8)])
    jump, change = np.zeros(3), np.zeros(3)
    center = field.value(x[None])
    for k, h in enumerate(steps):
        shift = h * axes * field.width
        (value, after), (_, before) = (field.gradient(x + side * shift) for side in (1.0, -1.0))
        with np.errstate(invalid="ignore", over="ignore"):
            jump[k] = np.nanmax(np.abs(after - before), initial=0.0)
            change[k] = np.abs(value - center).max()
    rounding = 16 * EPS * np.abs(center[0])
    if not np.isfinite(change).all() or change[2] > 0.2 * change[0] + rounding:
        return "pole"
    if jump[0] == 0 or jump[2] <= 1e-7 * jump[0]:
        return ""
    with np.errstate(divide="ignore"):
        order = np.log(jump[0] / jump[2]) / np.log(steps[0] / steps[2])
    if order < 0.1:
        return "not twice differentiable here as far as differences tell (abs or sqrt kink: the gradient jumps)"
    return (
        ""
        if order > 0.9
        else "not twice differentiable here as far as differences tell (the second derivative grows without bound)"
    )


def _verdict(positive: int, negative: int, spheres: list[Sphere], unit: float) -> tuple[Verdict, str]:
    """Verdict and reason from the sure curvatures and the reduced function."""
    if positive and negative:
        return "saddle", f"the Hessian has {positive} positive and {negative} negative eigenvalues besides those near 0"
    seen = [s for s in spheres if max(-s.lowest, s.highest) > 0]
    if not seen:
        return "undecided", "f does not change, to rounding, round the point: numerically flat"
    near = seen[-3:]
    lower, higher = any(s.lowest < 0 for s in near) or negative > 0, any(s.highest > 0 for s in near) or positive > 0
    if lower and higher:
        return "saddle", _witness(seen, negative, unit)
    power = _power(seen)
    if power is None:
        word = "lower" if higher else "higher"
        return "undecided", f"no {word} point found on spheres round it, but f follows no power of the distance"
    kind: Verdict = "minimum" if higher else "maximum"
    return kind, f"f {'grows' if higher else 'falls'} like distance^{power} along the flat directions"


def _witness(seen: list[Sphere], negative: int, unit: float) -> str:
    """The sentence that shows a lower (or, where curvature is negative, a higher) point."""
    down = [sphere for sphere in seen if sphere.lowest < 0]
    if not down:
        return "negative curvature in one direction, and f grows along the flat directions"
    best = down[len(down) // 2]
    text = f"not a minimum: f drops by {-best.lowest * unit:.2g} at a distance of {best.radius:.1g} box widths"
    power = _power(down, lowest=True)
    if power is not None and not negative:
        text += f" (like distance^{power})"
    return text


def _power(seen: list[Sphere], lowest: bool = False) -> int | None:
    """p if the change of f on the spheres follows radius^p with the same whole p everywhere, else None."""
    if len(seen) < 3:
        return None
    # The weakest growth decides between a minimum and a flat direction.
    change = [-s.lowest if lowest else min(abs(s.lowest), abs(s.highest)) for s in seen]
    if min(change) <= 0:
        return None
    slopes = np.diff(np.log(change)) / np.diff(np.log([s.radius for s in seen]))
    power = round(float(np.median(slopes[-3:])))
    return power if power >= 1 and np.abs(slopes[-3:] - power).max() < 0.4 else None


def _index(field: Field, x: Array, largest: float) -> int | None:
    """Poincare index on which two circles agree, the smaller ones first where they are above rounding."""
    if field.dim > 2:
        return None
    found = [winding_round(field, x, largest * share).number for share in (1.0, 0.3, 0.1, 0.03)]
    for large, small in itertools.pairwise(found):
        if large is not None and large == small:
            return large
    return None


def _index_of_one_direction(negative: int, spheres: list[Sphere]) -> int | None:
    """Index of a point with one flat direction: that of the one-dimensional reduced function times (-1)^negative."""
    seen = [s for s in spheres if max(-s.lowest, s.highest) > 0]
    if not seen:
        return None
    last = seen[-1]
    reduced = 1 if last.lowest > 0 else -1 if last.highest < 0 else 0 if last.lowest < 0 < last.highest else None
    return None if reduced is None else (-1) ** negative * reduced


def _sectors(field: Field, x: Array, radius: float) -> int | None:
    """2-D index from the sign changes of f - f(x) on a circle: 2k changes mean index 1 - k."""
    angle = np.linspace(0.0, 2 * np.pi, 1440, endpoint=False) + 0.1
    ring = x + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1) * field.width
    change = np.sign(field.value(ring) - field.value(x[None]))
    change = change[np.isfinite(change) & (change != 0)]
    return 1 - int((change != np.roll(change, 1)).sum()) // 2 if len(change) else None


def _ways(index: int) -> str:
    names = {0: " (a fold: down on one side)", -1: " (saddle-like)", -2: " (monkey saddle: three ways down)"}
    return names.get(index, f" ({1 - index} ways down)" if index < 0 else "")
