"""Distinct points of the numerical search, made into results: values, eigenvalues, type, index, words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from optbench.critical.budget import Spent
from optbench.critical.numeric.calculus import EPS, Array, Field
from optbench.critical.numeric.degenerate import Judgement, judge, judge_kink, smoothness
from optbench.critical.numeric.groups import Groups
from optbench.critical.numeric.newton import LOST, SURE, sign_trust, spectrum
from optbench.critical.numeric.splitting import directions
from optbench.critical.numeric.winding import winding_round
from optbench.critical.points.describe import signed
from optbench.critical.points.found import ORDER, Cluster, CriticalPoint, type_of

SAMPLES = 4096  # of the box, to see whether anything is lower than a continuum


@dataclass(frozen=True)
class Kinks:
    """Places without a second derivative: isolated points (n, d) with the reason of each, and samples of curves."""

    points: Array
    words: tuple[str, ...]
    curves: tuple[Array, ...]


def describe_groups(
    field: Field, groups: Groups, kinks: Kinks
) -> tuple[tuple[CriticalPoint, ...], tuple[Cluster, ...]]:
    """Points, sorted by type and coordinates, and clusters."""
    everything = np.concatenate([groups.sure, groups.doubtful, kinks.points, *groups.continua])
    field.budget, budget = None, field.budget  # what has been found is described, whatever it takes
    points = _sure(field, groups.sure, groups.radius)
    doubts: list[tuple[Array, str | None]] = [(x, None) for x in groups.doubtful]
    for x, word in [*doubts, *zip(kinks.points, kinks.words, strict=True)]:
        field.budget = budget
        try:
            judged, smooth = _judged(field, x, word, _room(field, x, everything))
        except Spent as reason:
            judged, smooth = Judgement("undecided", None, f"not looked at closely: {reason}"), word is None
        field.budget = None
        if judged is not None:
            points.append(_point(field, x, judged, smooth))
    clusters = [_continuum(field, members) for members in groups.continua]
    clusters += [_kink_curve(field, members) for members in kinks.curves]
    field.budget = budget
    return tuple(sorted(points, key=lambda p: (ORDER[p.type], p.x))), tuple(sorted(clusters, key=lambda c: c.box))


def _sure(field: Field, x: Array, radius: Array) -> list[CriticalPoint]:
    """Nondegenerate points."""
    jet = field.native(field.jet(x))
    points = []
    for i in range(len(x)):
        values = np.linalg.eigvalsh(jet.hess[i])
        # By Sylvester's law the signs are those found in box units, where they were checked.
        signs = np.linalg.eigvalsh(jet.hess[i] * np.outer(field.width, field.width) / field.unit)
        kind, negative = type_of(signs), int((signs < 0).sum())
        points.append(
            CriticalPoint(
                x=tuple(x[i].tolist()),
                value=float(jet.value[i]),
                grad_norm=float(_norm(jet.grad[i])),
                eigenvalues=tuple(values.tolist()),
                type=kind,
                morse_index=negative,
                basis="numerical",
                radius=float((radius[i] * field.width).max()),
                index=(-1) ** negative,
                verdict=kind,
                **_place(field, x[i], float(radius[i])),
            )
        )
    return points


def _judged(field: Field, x: Array, word: str | None, room: float) -> tuple[Judgement | None, bool]:
    """What is known of x, at which the second-order test cannot decide, and whether f is smooth there; None: a pole.

    Args:
        field: the objective.
        x: the point, (d,).
        word: why f has no second derivative at x; None: not known whether it has.
        room: distance to the next point.
    """
    word = smoothness(field, x) if word is None else word
    if not word:
        return _doubtful(field, x, room), True
    return (judge_kink(field, x, room, word) if word != "pole" else None), False


def _doubtful(field: Field, x: Array, room: float) -> Judgement:
    """What a point is at which the sign of some eigenvalue is not sure."""
    jet = field.jet(x[None])
    ratio = sign_trust(field, x[None], jet, spectrum(field, jet))[0]
    judged = judge(field, x, room)
    if ((ratio >= SURE) & (ratio <= LOST)).any() and not (ratio > LOST).any():
        word = f"an eigenvalue is too near 0 to trust its sign (Kantorovich ratio {ratio.max():.2g}); {judged.wording}"
        judged = Judgement("undecided", judged.index, word)
    return judged


def _point(field: Field, x: Array, judged: Judgement, smooth: bool) -> CriticalPoint:
    jet = field.native(field.jet(x[None]))
    exact = smooth and bool(jet.finite()[0])
    return CriticalPoint(
        x=tuple(x.tolist()),
        value=float(jet.value[0]),
        grad_norm=float(_norm(jet.grad[0])) if exact else float("nan"),
        eigenvalues=tuple(np.linalg.eigvalsh(jet.hess[0]).tolist()) if exact else (),
        type="degenerate",
        morse_index=None,
        basis="undecided" if judged.verdict == "undecided" else "numerical",
        index=judged.index,
        verdict=judged.verdict,
        wording=judged.wording,
        **_place(field, x, 1e-7),
    )


def _continuum(field: Field, members: Array) -> Cluster:
    """A curve or surface of critical points: signs of the sure eigenvalues along it, range of f, anything lower?"""
    jet = field.jet(members)
    values = (float(jet.value.min()), float(jet.value.max()))
    native = (values[0] * field.unit, values[1] * field.unit)
    if not jet.grad.any() and not jet.hess.any():
        index, wording = _flat(field, members, values)
        return Cluster(_hull(members), "flat", index, wording, native, len(members))
    found = spectrum(field, jet)
    sure = sign_trust(field, members, jet, found) < SURE
    positive = int((sure & (found.values > 0)).sum(axis=1).min())
    negative = int((sure & (found.values < 0)).sum(axis=1).min())
    wording = "not isolated: a curve or surface of critical points" + _along(field.dim, positive, negative)
    if positive == 0 or negative == 0:
        wording += _extreme_in_box(field, values, lower=negative == 0)
    return Cluster(_hull(members), "continuum", None, wording, native, len(members))


def _along(dim: int, positive: int, negative: int) -> str:
    """What the eigenvalues say that keep their sign all along a continuum."""
    if positive and negative:
        return f", saddles ({positive} positive and {negative} negative eigenvalues all along)"
    if not positive and not negative:
        return ""
    flat, curved = dim - positive - negative, positive + negative
    word, sign = ("valley", "positive") if positive else ("ridge", "negative")
    return f", a {word} ({flat} flat direction{'s' * (flat > 1)}, {curved} {sign} eigenvalue{'s' * (curved > 1)})"


def _extreme_in_box(field: Field, values: tuple[float, float], lower: bool) -> str:
    """Whether a sample of the box shows anything lower (higher) than the continuum."""
    everywhere = field.low + np.random.default_rng(0).random((SAMPLES, field.dim)) * field.width
    value = field.value(everywhere)
    rounding = 64 * EPS * max(abs(values[0]), abs(values[1]))
    beyond = value < values[0] - rounding if lower else value > values[1] + rounding
    return "" if beyond.any() else f"; nothing {'lower' if lower else 'higher'} among {SAMPLES} points of the box"


def _flat(field: Field, members: Array, values: tuple[float, float]) -> tuple[int | None, str]:
    """Index and wording of a region in which every derivative is exactly 0 in float64."""
    wording = "numerically flat: the gradient is 0 in float64 all over this region"
    low, high = members.min(axis=0), members.max(axis=0)
    center = 0.5 * (low + high)
    radius = 0.01 + 0.75 * float(((high - low) / field.width).max())
    ring = center + radius * directions(field.dim, 720) * field.width
    if (field.outside(ring) > 0).any():
        return None, wording
    around = field.value(ring)
    if (around > values[1]).all():
        wording += "; no lower point found round it"
    elif (around < values[0]).all():
        wording += "; no higher point found round it"
    elif (around < values[0]).any():
        wording += "; not a minimum: f is lower on a circle round it"
    index = winding_round(field, center, radius).number if field.dim <= 2 else None
    return index, wording if index is None else f"{wording}; Poincare index {signed(index)}"


def _kink_curve(field: Field, members: Array) -> Cluster:
    value = field.value(members) * field.unit
    wording = "a curve or surface of points where f is not twice differentiable and the gradient changes sign"
    return Cluster(_hull(members), "kinks", None, wording, (float(value.min()), float(value.max())), len(members))


def _hull(members: Array) -> tuple[tuple[float, float], ...]:
    return tuple(zip(members.min(axis=0).tolist(), members.max(axis=0).tolist(), strict=True))


def _room(field: Field, x: Array, others: Array) -> float:
    """Distance in box widths from x to the nearest other point; infinite when there is none."""
    distance = cKDTree(others / field.width).query(x / field.width, k=2)[0]
    return float(distance[1])


def _place(field: Field, x: Array, slack: float) -> dict[str, Any]:
    """Whether the point x, known to `slack` box widths, is at the edge of the box, and whether it may be outside."""
    reach = (slack + 4 * EPS) * field.width
    edge = np.minimum(np.abs(x - field.low), np.abs(field.high - x))
    if (edge > reach).all():
        return {}
    # A gradient of exactly 0 at a point of the closed box is as good as floating point gets.
    inside = not field.outside(x[None])[0] and not field.gradient(x[None])[1].any()
    return {
        "on_boundary": True,
        "inside": inside,
        "reach": 0.0 if inside else float((reach + edge)[edge <= reach].max()),
    }


def _norm(v: Array) -> float:
    """Euclidean norm without under- or overflow of the squares."""
    size = float(np.abs(v).max())
    return size * float(np.linalg.norm(v / size)) if np.isfinite(size) and size > 0 else size
