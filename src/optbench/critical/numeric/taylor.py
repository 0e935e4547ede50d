"""One point the way the lecture looks at it: what Taylor's formula predicts round it, and what is measured.

Near x,  f(x + d) ~ f(x) + g'd + d'Hd / 2.  At a critical point g = 0, so the quadratic form v'Hv over all directions v
says what the point is: positive for all v at a minimum, negative for all at a maximum, of both signs at a saddle, where
an eigenvector of a negative eigenvalue shows the way out. Each statement is checked against f itself, at several step
lengths, because a quadratic is only as good as the place where it is used.

Source: Hung-yi Lee, Machine Learning 2022, lecture 3 ("When gradient is small: local minimum and saddle point").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from optbench.critical.numeric.calculus import Array, Field, Jet
from optbench.critical.numeric.degenerate import judge, judge_kink, smoothness
from optbench.critical.numeric.newton import PLAIN, SURE, accepted, refine, sign_trust, spectrum
from optbench.critical.numeric.splitting import directions, reduced_spheres
from optbench.critical.points.found import Kind, Verdict, type_of
from optbench.critical.points.picture import Change, Ray, TaylorPicture
from optbench.errors import UserError
from optbench.problem import Box, Objective

STEPS = (0.001, 0.01, 0.03, 0.1)  # of the scale, for predicted against measured
ESCAPES = (0.003, 0.01, 0.03, 0.1, 0.3)  # of the scale, tried in both senses
RAYS = 12
ROUNDED = 1e-4  # box widths: a critical point this near was meant, its coordinates were rounded
ROOM = 0.1  # box widths round a degenerate point that are looked at


@dataclass(frozen=True)
class _Judged:
    critical: bool
    nearest: Array | None
    type: Kind | Literal["not critical"]
    verdict: Verdict
    wording: str


def inspect_point(
    objective: Objective, x: tuple[float, ...], *, name: str = "surface", box: Box | None = None
) -> TaylorPicture:
    """The Taylor picture of f at x.

    Args:
        objective: torch callable (..., d) -> (...), evaluated in float64.
        x: d coordinates.
        name: of the surface, for the report.
        box: the region that sets the scale of steps; default: max(1, |x_i|) to either side.

    Raises:
        UserError: f has no finite value at x.
    """
    point = np.array(x, dtype=np.float64)
    reach = np.maximum(1.0, np.abs(point))
    around = tuple(zip((point - reach).tolist(), (point + reach).tolist(), strict=True))
    field = Field(objective, around if box is None else box)
    if not np.isfinite(field.value(point[None])).all():
        raise UserError(f"{name} has no finite value at {tuple(x)}", "choose another point: --at 'x,y'")
    jet = field.jet(point[None])
    if not jet.finite()[0]:
        return _without_derivatives(field, point, name)
    size = max(float(np.abs(jet.grad).max()), float(np.abs(jet.hess).max()))
    if size > 0:
        field.unit = float(2.0 ** np.clip(np.round(np.log2(size)), -1000, 1000))
    judged = _judge(field, point)
    return _picture(field, point, name, judged)


def _picture(field: Field, x: Array, name: str, judged: _Judged) -> TaylorPicture:
    jet = field.native(field.jet(x[None]))
    values, vectors = np.linalg.eigh(jet.hess[0])
    # An eigenvector has no sense of its own; the largest component is made positive.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), range(field.dim)])
    scale = float(field.width.min())
    changes = [
        _change(field, jet, x, values[i], sense * vectors[:, i], share * scale)
        for i in range(field.dim)
        for sense in (1.0, -1.0)
        for share in STEPS
    ]
    fan = np.round(directions(field.dim, 2 * RAYS)[:RAYS], 15)
    return TaylorPicture(
        surface=name,
        x=_floats(x),
        value=float(jet.value[0]),
        gradient=_floats(jet.grad[0]),
        grad_norm=float(np.hypot.reduce(jet.grad[0])),
        hessian=tuple(_floats(row) for row in jet.hess[0]),
        eigenvalues=_floats(values),
        eigenvectors=tuple(_floats(row) for row in vectors.T),
        critical=judged.critical,
        nearest=None if judged.nearest is None else _floats(judged.nearest),
        distance=None if judged.nearest is None else float(np.hypot.reduce(judged.nearest - x)),
        type=judged.type,
        verdict=judged.verdict,
        wording=judged.wording,
        fan=tuple(Ray(_floats(v), float(v @ jet.hess[0] @ v)) for v in fan),
        changes=tuple(changes),
        escape=_escape(field, jet, x, values, vectors, scale) if judged.verdict != "minimum" else None,
    )


def _change(field: Field, jet: Jet, x: Array, eigenvalue: float, v: Array, step: float) -> Change:
    first, second = step * float(jet.grad[0] @ v), 0.5 * step**2 * float(v @ jet.hess[0] @ v)
    measured = float(field.value((x + step * v)[None])[0]) * field.unit - float(jet.value[0])
    return Change(float(eigenvalue), _floats(v), step, first, second, first + second, measured)


def _escape(field: Field, jet: Jet, x: Array, values: Array, vectors: Array, scale: float) -> Change | None:
    """The best measured drop along the eigenvector of the most negative eigenvalue."""
    if values[0] >= 0:
        return None
    tried = [
        _change(field, jet, x, values[0], sense * vectors[:, 0], share * scale)
        for share in ESCAPES
        for sense in (1.0, -1.0)
    ]
    best = min(tried, key=lambda change: np.nan_to_num(change.measured, nan=np.inf))
    return best if best.measured < 0 else None


def _judge(field: Field, x: Array) -> _Judged:
    """Is x critical, or near a critical point, and what is that point?"""
    word = smoothness(field, x)
    if word.startswith("not"):
        return _kink(field, x, word)
    found = refine(field, x[None], np.array([PLAIN]))
    nearest = found[0] if len(found) else None
    if accepted(field, x[None], field.jet(x[None]))[0]:
        nearest = x
    gap = np.inf if nearest is None else float(np.abs((nearest - x) / field.width).max())
    if nearest is None or gap > ROUNDED:
        return _Judged(False, nearest, "not critical", "undecided", "not a critical point: the gradient is not zero")
    prefix = "" if gap == 0 else "a critical point up to the rounding of its coordinates; "
    jet = field.jet(nearest[None])
    spec = spectrum(field, jet)
    if (sign_trust(field, nearest[None], jet, spec) < SURE).all():
        kind = type_of(spec.values[0])
        return _Judged(True, nearest, kind, kind, prefix + _second_order(kind, spec.values[0]))
    judged = judge(field, nearest, 2 * ROOM)
    wording = f"{prefix}the second-order test cannot decide; {judged.wording}"
    return _Judged(True, nearest, "degenerate", judged.verdict, wording)


def _second_order(kind: Kind, values: Array) -> str:
    if kind == "saddle":
        negative = int((values < 0).sum())
        return f"v'Hv takes both signs: a saddle, {negative} of {len(values)} eigenvalues negative"
    sign = "> 0" if kind == "minimum" else "< 0"
    return f"v'Hv {sign} for every v: a local {kind}"


def _kink(field: Field, x: Array, word: str) -> _Judged:
    judged = judge_kink(field, x, 2 * ROOM, word)
    extreme = judged.verdict in ("minimum", "maximum")
    wording = judged.wording + "; Taylor's formula does not hold here"
    return _Judged(
        extreme, x if extreme else None, "degenerate" if extreme else "not critical", judged.verdict, wording
    )


def _without_derivatives(field: Field, x: Array, name: str) -> TaylorPicture:
    """The picture of a point with a value but no derivatives."""
    word = smoothness(field, x)
    if word.startswith("not"):
        judged = _kink(field, x, word)
    else:
        judged = _Judged(False, None, "not critical", "undecided", _no_formula(field, x, word))
    value = float(field.value(x[None])[0]) * field.unit
    nearest, distance = (_floats(x), 0.0) if judged.critical else (None, None)
    return TaylorPicture(
        name, _floats(x), value, (), float("nan"), (), (), (), judged.critical, nearest, distance,
        judged.type, judged.verdict, judged.wording, (), (), None,
    )  # fmt: skip


def _no_formula(field: Field, x: Array, word: str) -> str:
    """What can be said where the formula gives a value but no derivative, and no kink shows round the point."""
    if word == "pole":
        return "f is not continuous here"
    seen = reduced_spheres(field, x, np.eye(field.dim), np.zeros(field.dim, dtype=bool), ROOM)
    lower = any(sphere.lowest < 0 for sphere in seen)
    wording = "the formula's derivatives are not finite at this point, though f looks smooth round it"
    return wording + (
        "; not a minimum: a lower point is near" if lower else "; no lower point found on spheres round it"
    )


def _floats(v: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in v)
