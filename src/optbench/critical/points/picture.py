"""One point looked at the way the lecture does, as plain values: what Taylor's formula predicts, what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from optbench.critical.points.found import Kind, Verdict, json_of


@dataclass(frozen=True)
class Ray:
    """v'Hv for one unit vector v."""

    direction: tuple[float, ...]
    curvature: float


@dataclass(frozen=True)
class Change:
    """Change of f over `step` times an eigenvector: by Taylor's formula, and measured.

    Attributes:
        by_gradient, by_hessian: the two parts of what is predicted: d'g, and d'Hd / 2, d being the step.
    """

    eigenvalue: float
    direction: tuple[float, ...]
    step: float
    by_gradient: float
    by_hessian: float
    predicted: float
    measured: float


@dataclass(frozen=True)
class TaylorPicture:
    """What is known of one point.

    Attributes:
        surface: name.
        x: the point.
        value, gradient, hessian, eigenvalues, eigenvectors: at x; eigenvalues ascending, one eigenvector a row; empty
            where f has no derivatives.
        critical: x is a critical point, up to rounding of x or of its coordinates as given.
        nearest: where Newton's method leads from x; None if nowhere.
        distance: from x to `nearest`.
        type: by the second-order test at the critical point; "not critical" elsewhere.
        verdict: minimum, maximum, saddle or undecided, also by other means than the second order.
        wording: one sentence.
        fan: v'Hv for a fan of directions.
        changes: along each eigenvector, both senses, several steps.
        escape: the change along the most negative curvature that lowers f the most; None without negative curvature.
    """

    surface: str
    x: tuple[float, ...]
    value: float
    gradient: tuple[float, ...]
    grad_norm: float
    hessian: tuple[tuple[float, ...], ...]
    eigenvalues: tuple[float, ...]
    eigenvectors: tuple[tuple[float, ...], ...]
    critical: bool
    nearest: tuple[float, ...] | None
    distance: float | None
    type: Kind | Literal["not critical"]
    verdict: Verdict
    wording: str
    fan: tuple[Ray, ...]
    changes: tuple[Change, ...]
    escape: Change | None

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the attributes; NaN becomes null."""
        return json_of(self)
