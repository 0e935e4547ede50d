"""Claim 1: standing still on a critical point, and leaving a saddle along the eigenvector of its negative eigenvalue.

Near a saddle descent with rate eta multiplies the part of the distance along an eigenvector of eigenvalue lambda by
1 - eta lambda a step: for lambda < 0 that part grows, and from c to R it takes log(R / c) / log(1 + eta |lambda|)
steps.

Source: Apple Book, sections 3.1.1 to 3.1.3; the recursion is exact on a quadratic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import hessian, panels, points, rate_of
from applebook.study import Findings, Study
from optbench import SurfaceTrainer, build_field, compose, critical_points
from optbench.descend import Batch, descend
from optbench.metrics import Floats
from optbench.plot import PALETTE

SURFACES = ("two_well", "six_hump_camel", "three_hump_camel", "himmelblau", "peaks")
HAIR, AWAY = 1e-6, 1e-3  # where a start is, and where it counts as gone; the surfaces are a few units wide
DIRECTIONS, STEPS = 8, 400
RATE = 0.5  # over the largest curvature: descent is stable, and no step overshoots


@dataclass(frozen=True)
class Escape:
    """One start beside a critical point, and what became of it.

    Attributes:
        surface, saddle: which point; minima are the others.
        rounded: the start is the point itself, as float64 has it; with a gradient that is not exactly zero.
        growth, rival: 1 + eta |lambda| of the negative eigenvalue, and of the positive one.
        eigenvalues: of the Hessian, (dim,), ascending.
        along: component of the start along the negative eigenvector.
        before, after: |cosine| with that eigenvector at the start, and when it was gone; NaN if it never was.
        steps: first step at a distance of AWAY; +inf for never.
    """

    surface: str
    saddle: bool
    rounded: bool
    growth: float
    rival: float
    eigenvalues: Floats
    along: float
    before: float
    after: float
    steps: float

    def predicted(self, growth: float) -> float:
        """Steps to AWAY if the part along the eigenvector grows so much a step."""
        return float(np.ceil(np.log(AWAY / self.along) / np.log(growth)))


def measure(study: Study) -> Findings:
    """The evidence for claim 1; see conf/experiment/book/zero_gradient.yaml."""
    names = study.pick(SURFACES[:2], SURFACES)
    found = [escape for name in names for escape in _escapes(name)]
    beside = [e for e in found if e.saddle and not e.rounded]
    rounded = [e for e in found if e.saddle and e.rounded]
    minima = [e for e in found if not e.saddle]
    evidence = {
        "stays": Evidence("share", _stayed(study, [0.0, 0.0]), _stayed(study, [HAIR, HAIR])),
        "stays_rounded": Evidence("share", [np.isinf(e.steps) for e in rounded], [np.isinf(e.steps) for e in beside]),
        "leaves": Evidence("share difference", *([np.isfinite(e.steps) for e in side] for side in (beside, minima))),
        "along_negative": Evidence("mean", [np.nan_to_num(e.after) for e in beside], [e.before for e in beside]),
        "steps_quadratic": _quadratic(study),
        "steps_saddles": Evidence(
            "agreement",
            [e.steps for e in beside],
            [e.predicted(e.growth) for e in beside],
            rival=[e.predicted(e.rival) for e in beside],
        ),
    }
    return Findings(evidence, {"leaving": _draw(study, names, beside)}, {"surfaces": _table(names, beside, rounded)})


def _stayed(study: Study, start: list[float]) -> list[bool]:
    """Whether each run from a start never moved by more than rounding, (n,)."""
    paths = [points(curve) for run, curve in study.with_curves("exact") if run.config["trainer"]["start"] == start]
    return [bool(np.linalg.norm(path - path[0], axis=1).max() <= np.finfo(float).eps) for path in paths]


def _quadratic(study: Study) -> Evidence:
    """Steps to leave x^2 - y^2, whose negative eigenvalue is -2; if descent did not speed up, y / (eta |g|) of them."""
    runs = study.runs()
    y = np.array([run.config["trainer"]["start"][1] for run in runs])
    rate = np.array([rate_of(run) for run in runs])
    steps = [float(run.summary["steps_to_target"]) for run in runs]
    return Evidence("agreement", steps, np.ceil(np.log(1 / y) / np.log(1 + 2 * rate)), rival=(1 - y) / (2 * rate * y))


def _escapes(name: str) -> list[Escape]:
    """Descends from beside every certified saddle and minimum of a surface."""
    config = compose(f"model={name}", "optimizer=book_gd")
    field = build_field(config)
    found = critical_points(field.objective, field.surface.domain, name=name).points
    flat = [point for point in found if point.type != "maximum"]
    rng = np.random.default_rng(0)
    rows: list[tuple[Any, Floats]] = []
    for point in flat:
        angles = rng.uniform(0.0, 2.0 * np.pi, DIRECTIONS)
        hairs = HAIR * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        exact = point.type == "minimum" or point.grad_norm == 0.0
        rows += [(point, hair) for hair in (hairs if exact else np.vstack([np.zeros(2), hairs]))]
    rates = np.array([RATE / np.abs(point.eigenvalues).max() for point, _ in rows])
    result = descend(
        Batch(
            objective=field.objective,
            starts=np.array([point.x + hair for point, hair in rows]),
            optimizer={**config["optimizer"], "lr": rates},
            scheduler=config["scheduler"],
            trainer=SurfaceTrainer(steps=STEPS, grad_tol=0.0),
            record=range(len(rows)),
        )
    )
    spectra = {point.x: np.linalg.eigh(hessian(field, point.x)) for point in flat}
    return [
        _escape(name, point, hair, rate, path, *spectra[point.x])
        for (point, hair), rate, path in zip(rows, rates, result.curves.x, strict=True)
    ]


def _escape(name: str, point: Any, hair: Floats, rate: float, path: Floats, values: Floats, vectors: Floats) -> Escape:
    offset = path - np.asarray(point.x)
    distance = np.linalg.norm(offset, axis=1)
    away = np.flatnonzero(distance >= AWAY)
    along = np.abs(offset @ vectors[:, 0])
    rounded = not hair.any()
    return Escape(
        name, point.type == "saddle", rounded, 1 + rate * abs(values[0]), 1 + rate * abs(values[1]), values,
        float(along[0]), np.nan if rounded else float(along[0] / distance[0]),
        float(along[away[0]] / distance[away[0]]) if len(away) else np.nan,
        float(away[0]) if len(away) else np.inf,
    )  # fmt: skip


def _table(names: Sequence[str], beside: list[Escape], rounded: list[Escape]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in names:
        here = [e for e in beside if e.surface == name]
        itself = [e for e in rounded if e.surface == name]
        rows.append(
            {
                "surface": name,
                "saddles": len(here) // DIRECTIONS,
                "negative eigenvalues": _range([e.eigenvalues[0] for e in here]),
                "positive eigenvalues": _range([e.eigenvalues[1] for e in here]),
                "steps, median": float(np.median([e.steps for e in here])),
                "by the formula": float(np.median([e.predicted(e.growth) for e in here])),
                "still on the rounded saddle": (
                    f"{sum(np.isinf(e.steps) for e in itself)} of {len(itself)}" if itself else None
                ),
            }
        )
    return rows


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _draw(study: Study, names: Sequence[str], beside: list[Escape]) -> Figure:
    figure, (left, right) = panels(8.0, 3.4, 2)
    _draw_quadratic(left, study)
    for name, colour in zip(names, PALETTE, strict=False):
        here = [e for e in beside if e.surface == name]
        right.plot([e.predicted(e.growth) for e in here], [e.steps for e in here], ".", color=colour, label=name)
    top = 1.05 * max(e.predicted(e.growth) for e in beside)
    right.plot([0, top], [0, top], color="0.6", linewidth=0.8, zorder=0)
    right.set(xlabel="steps to leave, by the formula", ylabel="steps to leave, measured")
    right.legend(frameon=False, fontsize=8)
    return figure


def _draw_quadratic(ax: Axes, study: Study) -> None:
    rate = 3e-2
    for run, curve in study.with_curves(optimizer__lr=rate):
        y0 = run.config["trainer"]["start"][1]
        step = curve["step"].to_numpy()
        ax.plot(step, y0 * (1 + 2 * rate) ** step, color="0.6", linewidth=0.8)
        ax.plot(step[::10], curve["x1"].abs().to_numpy()[::10], ".", color=PALETTE[0], markersize=3)
    ax.set(yscale="log", xlabel="step (learning rate 0.03)", ylabel="distance from the ridge, |y|")
    ax.set_title("x² - y², from eight distances", fontsize=10)
