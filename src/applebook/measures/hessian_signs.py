"""Claim 2: v'Hv over all directions against what the function really does along them.

The signs of the eigenvalues classify; the function's own values a small way off, exact to rounding, judge the
classification. Where the second order cannot decide is looked for at every minimizer that the catalogue lists.

Source: Apple Book, section 3.1.2; Hung-yi Lee, Machine Learning 2022, lecture 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import hessian, panels, points, steps_to_target
from applebook.study import Findings, Study
from optbench import build_field, compose, critical_points, surface_names
from optbench.metrics import Floats
from optbench.plot import PALETTE

SURFACES = ("peaks", "himmelblau")
DIRECTIONS = 120
STEP = 1e-4  # far above rounding, far below the scale on which the curvature changes
NONZERO = 1e-12  # of the largest eigenvalue: below, the sign of an eigenvalue is rounding
KINDS = {"minimum": "all positive", "maximum": "all negative", "saddle": "of both signs"}


@dataclass(frozen=True)
class Fan:
    """Directions round a critical point.

    Attributes:
        surface, x, kind: the point; the kind by the signs of its eigenvalues alone.
        eigenvalues: (dim,), ascending.
        angle: (directions,) of v.
        form: v'Hv, (directions,).
        change: measured: f(x + h v) - f(x) over h^2 / 2, mean of both senses, (directions,).
        sideways: v'Hv of the direction at a right angle, (directions,).
    """

    surface: str
    x: tuple[float, ...]
    kind: str
    eigenvalues: Floats
    angle: Floats
    form: Floats
    change: Floats
    sideways: Floats


def measure(study: Study) -> Findings:
    """The evidence for claim 2; see conf/experiment/book/hessian_signs.yaml."""
    fans = [fan for name in SURFACES for fan in _fans(name)]
    low, high, both = ([fan for fan in fans if fan.kind == kind] for kind in KINDS)
    up, down = (np.concatenate([fan.change for fan in side]) for side in (low, high))
    form, change, sideways = (
        np.concatenate([getattr(fan, name) for fan in both]) for name in ("form", "change", "sideways")
    )
    minimizers = _minimizers(study.pick(3, 1))
    values = hessian(build_field(compose("model=linear_net")), [0.0, 0.0])
    evidence = {
        "minimum_rises": Evidence("share", up > 0, down > 0),
        "maximum_falls": Evidence("share", down < 0, up < 0),
        "saddle_both": Evidence("share", form * change > 0, sideways * change > 0),
        "size": _size(fans),
        "network_eigenvalues": Evidence("agreement", np.linalg.eigvalsh(values), [-2, 2], rival=[2, 2]),
        "network_escapes": Evidence("share difference", *(np.isfinite(s) for s in _escapes(study))),
        "decides": Evidence("share", [row["decided"] for row in minimizers], [fan.eigenvalues[0] > 0 for fan in both]),
    }
    undecided = [{k: v for k, v in row.items() if k != "decided"} for row in minimizers if not row["decided"]]
    figures = {"directions": _draw(study, fans)}
    return Findings(evidence, figures, {"points": _table(fans), "taylor": _taylor(), "undecided": undecided})


def _fans(name: str) -> list[Fan]:
    """A fan at each critical point of a surface of two coordinates."""
    field = build_field(compose(f"model={name}"))
    found = []
    angle = np.linspace(0.0, np.pi, DIRECTIONS, endpoint=False)
    v = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    across = np.stack([-v[:, 1], v[:, 0]], axis=1)
    for point in critical_points(field.objective, field.surface.domain, name=name).points:
        h = hessian(field, point.x)
        ways = torch.tensor(np.stack([point.x + STEP * v, point.x - STEP * v]))
        values = field.objective(ways).mean(dim=0).numpy() - point.value
        form, sideways = (np.einsum("ni,ij,nj->n", d, h, d) for d in (v, across))
        values = 2.0 * values / STEP**2
        eigenvalues = np.asarray(np.linalg.eigvalsh(h), dtype=np.float64)
        found.append(Fan(name, point.x, _kind(eigenvalues), eigenvalues, angle, form, values, sideways))
    return found


def _kind(eigenvalues: Floats) -> str:
    if eigenvalues[0] > 0:
        return "minimum"
    return "maximum" if eigenvalues[-1] < 0 else "saddle"


def _size(fans: Sequence[Fan]) -> Evidence:
    """Relative to the point's largest curvature; if the order were the first, there would be no change at all."""
    scale = [np.abs(fan.eigenvalues).max() for fan in fans]
    measured, form = (
        np.concatenate([getattr(fan, name) / s for fan, s in zip(fans, scale, strict=True)])
        for name in ("change", "form")
    )
    return Evidence("agreement", measured, form, rival=np.zeros_like(form))


def _escapes(study: Study) -> tuple[Floats, Floats]:
    """Steps to the target from starts along (1, 1), and from starts along (1, -1); +inf for never."""
    steps = steps_to_target(study.runs())
    along = np.array([np.prod(run.config["trainer"]["start"]) > 0 for run in study.runs()])
    return steps[along], steps[~along]


def _minimizers(every: int) -> list[dict[str, Any]]:
    """Each minimizer of every n-th surface in the catalogue, with the extreme eigenvalues there."""
    rows = []
    for name in surface_names()[::every]:
        config = compose(f"model={name}")
        if config["choices"]["loss"] != "surface":
            continue
        field = build_field(config)
        for point in field.surface.minimizers:
            rows.append({"surface": name, "point": _words(point)} | _verdict(hessian(field, point)))
    return rows


def _verdict(h: Floats) -> dict[str, Any]:
    if not np.isfinite(h).all():
        return {"smallest eigenvalue": None, "largest eigenvalue": None, "decided": False}
    values = np.linalg.eigvalsh(h)
    decided = bool(values[0] > NONZERO * np.abs(values).max())
    return {"smallest eigenvalue": float(values[0]), "largest eigenvalue": float(values[-1]), "decided": decided}


def _taylor() -> list[dict[str, Any]]:
    """The terms of Taylor's formula at a point with a gradient, and at a saddle, along one direction each."""
    field = build_field(compose("model=himmelblau"))
    saddle = next(p for p in critical_points(field.objective, field.surface.domain).points if p.type == "saddle")
    rows = []
    for point, name in (((1.0, 1.0), "(1, 1)"), (saddle.x, "saddle")):
        at = torch.tensor(point, dtype=torch.float64, requires_grad=True)
        value = field.objective(at)
        (gradient,) = torch.autograd.grad(value, at)
        h = hessian(field, point)
        v = np.linalg.eigh(h)[1][:, 0]
        for step in (0.01, 0.1, 0.3):
            d = step * v
            first, second = float(gradient.numpy() @ d), float(d @ h @ d / 2)
            measured = float(field.objective(torch.tensor(point + d)) - value.detach())
            parts = {"gradient's part": first, "Hessian's part": second, "sum": first + second}
            rows.append({"point": name, "|theta - theta'|": step, **parts, "measured change": measured})
    return rows


def _words(point: Sequence[float]) -> str:
    return "(" + ", ".join(f"{v:.4g}" for v in point) + ")"


def _table(fans: Sequence[Fan]) -> list[dict[str, Any]]:
    rows = []
    for name in SURFACES:
        for kind, signs in KINDS.items():
            here = [fan for fan in fans if (fan.surface, fan.kind) == (name, kind)]
            change = np.concatenate([fan.change for fan in here])
            up = float((change > 0).mean())
            rows.append(
                {"surface": name, "eigenvalues": signs, "points": len(here), "rises": up, "falls": 1 - up, "so": kind}
            )
    return rows


def _draw(study: Study, fans: Sequence[Fan]) -> Figure:
    figure, (left, right) = panels(8.0, 3.4, 2, grid=False, width_ratios=[1.35, 1.0])
    for kind, colour in zip(KINDS, PALETTE, strict=False):
        fan = next(fan for fan in fans if fan.kind == kind)
        degrees = np.degrees(fan.angle)
        left.plot(degrees, fan.form, color=colour, linewidth=1.2, label=kind)
        left.plot(degrees[::3], fan.change[::3], ".", color=colour)
    left.axhline(0.0, color="0.5", linewidth=0.8)
    left.set(xlabel="direction of v, degrees", ylabel="v'Hv (line), measured (dots)")
    left.set_title(f"three critical points of {fans[0].surface}", fontsize=10)
    left.legend(frameon=False, fontsize=8)
    left.grid(True, alpha=0.25)
    _draw_network(right, study)
    return figure


def _draw_network(ax: Axes, study: Study) -> None:
    grid = np.linspace(-1.6, 1.6, 161)
    x, y = np.meshgrid(grid, grid)
    ax.contour(x, y, (1 - x * y) ** 2, levels=[0.01, 0.1, 0.4, 0.8, 1.2, 2.0, 4.0], colors="0.8", linewidths=0.8)
    for curve in study.curves(optimizer__lr=3e-2):
        path = points(curve)
        escaped = path[0].prod() > 0
        ax.plot(*path.T, color=PALETTE[2] if escaped else PALETTE[1], linewidth=1.6)
        ax.plot(*path[0], "o", color=PALETTE[2] if escaped else PALETTE[1], markersize=4)
    ax.set(aspect="equal", xlabel="w1", ylabel="w2")
    ax.set_title("(1 - w1 w2)²: along (1, 1) and (1, -1)", fontsize=10)
