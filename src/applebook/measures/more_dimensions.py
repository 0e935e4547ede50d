"""Claim 3: kinds of critical points by dimension, on random surfaces; signs of the eigenvalues of trained networks.

A random surface is f(x) = sum_m cos(w_m x + phi_m) with w_m ~ N(0, I): up to the number of terms an isotropic Gaussian
field, whose share of minima is known: E[|det H|; H > 0] / E|det H| with H_ij of covariance d_ij d_kl + d_ik d_jl +
d_il d_jk (Kac-Rice formula; Bray and Dean, PRL 98 (2007) 150201).

Source: Apple Book, section 3.1.3; random Fourier features: Rahimi and Recht, NIPS 2007.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import network, panels
from applebook.study import Findings, Study
from optbench import Run, critical_points, find_critical, network_objective, stream
from optbench.metrics import Floats
from optbench.plot import PALETTE

SIDES = {1: 40.0, 2: 7.0, 3: 4.0, 4: 3.0, 5: 2.5, 6: 2.2}
"""Side of the box by dimension: some twenty critical points in each."""
TERMS = 16
PROVED_UP_TO = 3
ZERO = 1e-8  # of the largest |eigenvalue|: below, the sign is rounding
SAMPLES = 50_000


@dataclass(frozen=True)
class Surface:
    """Numbers of critical points of one random surface, and whether they are proved to be all."""

    minima: int
    saddles: int
    maxima: int
    proved: bool

    @property
    def points(self) -> int:
        """All of them."""
        return self.minima + self.saddles + self.maxima


@dataclass(frozen=True)
class Spectrum:
    """A trained network: training loss and norm of its gradient, and the eigenvalues of its Hessian, ascending (n,)."""

    label: str
    epochs: int
    loss: float
    gradient: float
    values: Floats

    @property
    def negative(self) -> float:
        """Share of negative eigenvalues."""
        return float((self.values < -ZERO * np.abs(self.values).max()).mean())

    @property
    def positive(self) -> float:
        """Share of positive eigenvalues."""
        return float((self.values > ZERO * np.abs(self.values).max()).mean())

    @property
    def ratio(self) -> float:
        """The lecture's minimum ratio, among the eigenvalues that are not zero."""
        return self.positive / (self.positive + self.negative)

    @property
    def steepness(self) -> float:
        """|most negative eigenvalue| over the most positive one; 0 without a negative one."""
        return float(max(0.0, -self.values[0]) / self.values[-1]) if self.negative else 0.0


def measure(study: Study) -> Findings:
    """The evidence for claim 3; see conf/experiment/book/more_dimensions.yaml."""
    dims = study.pick((1, 2, 3, 4), tuple(SIDES))
    found = {dim: [_surface(dim, seed) for seed in range(_count(study, dim))] for dim in dims}
    networks = [_spectrum(run) for run in study.runs()]
    convex = [_spectrum(run) for run in study.runs("convex")]
    last = max(n.epochs for n in networks)
    trained = [n for n in networks if n.epochs == last]
    minima, saddles = (
        {d: [getattr(s, kind) / s.points for s in found[d]] for d in (2, 4)} for kind in ("minima", "saddles")
    )
    evidence = {
        "minima_fall": Evidence("mean difference", minima[4], minima[2]),
        "saddles_rise": Evidence("mean difference", saddles[4], saddles[2]),
        "never_a_minimum": Evidence("share", [n.negative > 0 for n in trained], [n.negative > 0 for n in convex]),
        "half_down": Evidence("mean", [n.negative for n in trained], [n.negative for n in convex]),
        "minimum_ratio": Evidence("mean", [n.ratio for n in trained], [n.ratio for n in convex]),
        "steep": Evidence("mean", [n.steepness for n in trained], [n.steepness for n in convex]),
    }
    theory = {dim: _gaussian_field(dim) for dim in dims}
    tables = {"dimensions": _dimensions(found, theory), "networks": _networks([*networks, *convex])}
    return Findings(evidence, {"kinds": _draw(found, theory, networks, convex)}, tables)


def _count(study: Study, dim: int) -> int:
    """Surfaces of a dimension; the searches beyond four take longest."""
    return study.pick(2, 12 if dim <= 4 else 6)


def random_surface(dim: int, seed: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A sum of TERMS cosines, (..., dim) -> (...)."""
    generator = stream(seed, "random surface", dim)
    w = torch.randn(dim, TERMS, generator=generator, dtype=torch.float64)
    phase = 2.0 * math.pi * torch.rand(TERMS, generator=generator, dtype=torch.float64)
    return lambda x: (x @ w + phase).cos().sum(dim=-1)


def _surface(dim: int, seed: int) -> Surface:
    objective, box = random_surface(dim, seed), ((0.0, SIDES[dim]),) * dim
    if dim <= PROVED_UP_TO:
        found = critical_points(objective, box, method="certified")
    else:
        found = find_critical(objective, box)
    counts = found.counts()
    return Surface(counts["minimum"], counts["saddle"], counts["maximum"], found.complete)


def _gaussian_field(dim: int) -> float:
    """Share of minima among the critical points of an isotropic Gaussian field, by sampling its Hessian."""
    rng = np.random.default_rng(dim)
    a = rng.standard_normal((SAMPLES, dim, dim))
    # (a + a') / sqrt 2 has variance 1 off and 2 on the diagonal; the common part gives the diagonal its covariance
    h = (a + a.transpose(0, 2, 1)) / math.sqrt(2) + rng.standard_normal((SAMPLES, 1, 1)) * np.eye(dim)
    values = np.linalg.eigvalsh(h)
    weight = np.abs(values.prod(axis=1))
    return float(weight[values[:, 0] > 0].sum() / weight.sum())


def _spectrum(run: Run) -> Spectrum:
    built = network(run)
    objective = network_objective(built.model, built.loss, built.data.load("train"))
    loss, gradient = objective.gradient()
    # so few weights: all columns at once, and not one Hessian-vector product after the other; reverse over reverse, as
    # the forward mode warns of its own use of torch.jit when it loads
    rows = (torch.func.jacrev(torch.func.jacrev(part))(objective.weights) for part in objective.parts)
    h = sum(row.detach().numpy() for row in rows)
    hidden = run.config["model"].get("hidden")
    label = f"{hidden[0]} hidden units" if hidden else "softmax regression"
    values = np.linalg.eigvalsh(np.asarray(h, dtype=np.float64))
    return Spectrum(label, int(run.config["trainer"]["epochs"]), loss, float(gradient.norm()), values)


def _dimensions(found: dict[int, list[Surface]], theory: dict[int, float]) -> list[dict[str, Any]]:
    rows = []
    for dim, surfaces in found.items():
        points = sum(s.points for s in surfaces)
        rows.append(
            {
                "dimension": dim,
                "surfaces": len(surfaces),
                "critical points": points,
                "minima": sum(s.minima for s in surfaces) / points,
                "saddles": sum(s.saddles for s in surfaces) / points,
                "maxima": sum(s.maxima for s in surfaces) / points,
                "minima, Gaussian field": theory[dim],
                "proved complete": "yes" if all(s.proved for s in surfaces) else "no",
            }
        )
    return rows


def _networks(networks: Sequence[Spectrum]) -> list[dict[str, Any]]:
    rows = []
    for label, epochs in dict.fromkeys((n.label, n.epochs) for n in networks):
        here = [n for n in networks if (n.label, n.epochs) == (label, epochs)]
        row: dict[str, Any] = {"network": label, "epochs": epochs, "weights": here[0].values.size}
        for name in ("loss", "gradient", "positive", "negative", "ratio", "steepness"):
            row[name] = float(np.mean([getattr(n, name) for n in here]))
        rows.append(row)
    return rows


def _draw(
    found: dict[int, list[Surface]], theory: dict[int, float], networks: Sequence[Spectrum], convex: Sequence[Spectrum]
) -> Figure:
    figure, (left, right) = panels(8.0, 3.4, 2, grid=False)
    base = np.zeros(len(found))
    for kind, colour in zip(("minima", "saddles", "maxima"), (PALETTE[0], "0.8", PALETTE[1]), strict=True):
        share = np.array([sum(getattr(s, kind) for s in c) / sum(s.points for s in c) for c in found.values()])
        left.bar(list(found), share, bottom=base, color=colour, width=0.7, label=kind)
        base += share
    left.plot(list(theory), list(theory.values()), "o", color="black", markersize=4, label="minima, Gaussian field")
    left.set(xlabel="dimensions", ylabel="share of critical points", ylim=(0, 1.32), yticks=np.linspace(0, 1, 6))
    left.legend(frameon=False, fontsize=8, ncols=2, loc="upper center")
    _draw_networks(right, networks, convex)
    return figure


def _draw_networks(ax: Axes, networks: Sequence[Spectrum], convex: Sequence[Spectrum]) -> None:
    groups = {f"{e} epochs": [n for n in networks if n.epochs == e] for e in sorted({n.epochs for n in networks})}
    groups["softmax regression"] = list(convex)
    for (label, here), colour in zip(groups.items(), PALETTE, strict=False):
        loss, marker = [n.loss for n in here], "s" if here[0] is convex[0] else "o"
        ax.plot([n.ratio for n in here], loss, marker, color=colour, markersize=4, label=label)
        ax.plot([n.positive for n in here], loss, marker, color=colour, markersize=4, fillstyle="none")
    ax.axvspan(0.5, 0.6, color="0.92", zorder=0)
    ax.text(0.55, 1.02, "the book", ha="center", fontsize=8, color="0.4", transform=ax.get_xaxis_transform())
    ax.set(yscale="log", ylabel="training loss")
    ax.set(xlim=(0.3, 1.03), xlabel="minimum ratio: positive / nonzero (open: all)")
    ax.legend(frameon=False, fontsize=8, loc="center left")
    ax.grid(True, alpha=0.25)
