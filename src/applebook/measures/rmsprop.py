"""Claim 9: a scale that forgets (RMSProp) against one that does not (AdaGrad), where one axis is steep, flat and steep.

Source: Apple Book, section 3.3.2; T. Tieleman & G. Hinton, Neural Networks for Machine Learning (2012), lecture 6.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import (
    all_mean_square,
    arrivals,
    at_best,
    by_rate,
    gradients,
    panels,
    points,
    rate_of,
    recent_mean_square,
    steps_to_target,
)
from applebook.study import Findings, Study
from optbench import Run, build_optimizer, compose, recorded_field
from optbench.landscape import landscape
from optbench.metrics import Floats
from optbench.plot import PALETTE

ADAGRAD, RMSPROP = "book_adagrad", "book_rmsprop"
ALPHAS = (0.01, 0.5, 0.9, 0.999)
"""From one that all but forgets to one that all but keeps."""
_SEQUENCE = 20
ARROW = {"arrowstyle": "->"}
_STEEP, _FLAT = 2.0, 1.0
"""|x| from which the arm counts as steep, and up to which the bend counts as flat: curvatures above 12.9, below 3.3."""


def measure(study: Study) -> Findings:
    """The evidence for claim 9; see conf/experiment/book/rmsprop.yaml."""
    main = {name: study.runs(optimizer=name) for name in (ADAGRAD, RMSPROP)}
    published = study.runs("published")
    alphas = {0.9: main[RMSPROP]} | {alpha: study.runs("alpha", optimizer__alpha=alpha) for alpha in (0.5, 0.999)}
    both = (RMSPROP, ADAGRAD)
    evidence = {
        "closed_form": _closed_form(study),
        "weights": _weights(),
        "speeds_up": Evidence("wins", *([_tenfold(given) for _, given in _given(study, name)] for name in both)),
        "brakes": Evidence("ratio", *([_braked(given) for _, given in _given(study, name)] for name in both)),
        "by_place": Evidence("ratio", *(_by_place(study, name) for name in both)),
        "best_rates": _faster(main[RMSPROP], main[ADAGRAD]),
        "equal_small": _equal(main, 0.0, 0.01),
        "equal_large": _equal(main, 0.1, 1.0),
        "published": _faster(main[RMSPROP], published),
        "small_alpha": _faster(alphas[0.9], alphas[0.999]),
        "smaller_alpha": _faster(alphas[0.5], alphas[0.9]),
    }
    named = {"AdaGrad": main[ADAGRAD], "AdaGrad as published": published}
    named |= {f"RMSProp, alpha {alpha:g}": alphas[alpha] for alpha in sorted(alphas)}
    rows = [row for name, runs in named.items() for row in _rows(name, runs)]
    return Findings(evidence, {"turn": _draw(study), "weights": _draw_weights()}, {"rates": rows})


def _faster(left: Sequence[Run], right: Sequence[Run]) -> Evidence:
    return Evidence("wins", *(steps_to_target(at_best(runs, "optimizer.lr")) for runs in (left, right)))


def _equal(main: dict[str, list[Run]], low: float, high: float) -> Evidence:
    """All pairs of start and rate with the same rate."""
    sides = [[r for r in main[name] if low <= rate_of(r) <= high] for name in (RMSPROP, ADAGRAD)]
    return Evidence("wins", *map(steps_to_target, sides))


def _sigma(run: Run, g: Floats) -> Floats:
    squares = recent_mean_square(g, run.config["optimizer"].get("alpha", 0.0))
    return np.sqrt(squares if "alpha" in run.config["optimizer"] else all_mean_square(g))


def _closed_form(study: Study) -> Evidence:
    """If the claim were wrong, all gradients would do, as in AdaGrad."""
    run, curve = study.with_curves("turn", optimizer=RMSPROP)[0]
    x, rate = points(curve), rate_of(run)
    g = gradients(run, x)[:-1]
    rival = -rate * g / np.sqrt(all_mean_square(g))
    return Evidence("agreement", np.diff(x, axis=0), -rate * g / _sigma(run, g), rival)


def _measured_weights(optimizer: str, *settings: str) -> Floats:
    """What each gradient of a sequence counts in the last sigma^2, by asking the optimizer: all of them are 1, then one
    after another its square is 2; sigma is what the last movement divides by. (_SEQUENCE,), newest last."""
    config = compose(f"optimizer={optimizer}", *settings)
    # a column each: none changed, and each of them in turn
    g = torch.ones(_SEQUENCE, _SEQUENCE + 1, dtype=torch.float64)
    g[:, 1:] += torch.eye(_SEQUENCE, dtype=torch.float64) * (np.sqrt(2.0) - 1)
    x = torch.nn.Parameter(torch.zeros(_SEQUENCE + 1, dtype=torch.float64))
    stepper = build_optimizer(config, torch.nn.ParameterList([x]))
    for row in g:
        before = x.detach().clone()
        x.grad = row.clone()
        stepper.step()
    squares = (config["optimizer"]["lr"] * g[-1] / (before - x.detach())) ** 2
    found: Floats = (squares[1:] - squares[0]).numpy()
    return found


def _expected_weights(alpha: float) -> Floats:
    """The notes' sum: alpha^n for g_0, (1 - alpha) alpha^(n - j) for g_j; (_SEQUENCE,), newest last."""
    n = _SEQUENCE - 1
    return np.array([alpha**n, *((1 - alpha) * alpha ** (n - j) for j in range(1, n + 1))])


def _weights() -> Evidence:
    """If the claim were wrong, all would count alike, as in AdaGrad."""
    measured = [_measured_weights(RMSPROP, f"optimizer.alpha={alpha}") for alpha in ALPHAS]
    alike = _measured_weights(ADAGRAD)
    return Evidence("agreement", measured, [_expected_weights(alpha) for alpha in ALPHAS], [alike] * len(ALPHAS))


def _draw_weights() -> Figure:
    figure, (ax,) = panels(7.5, 3.4)
    ago = np.arange(_SEQUENCE)[::-1]
    for alpha, colour in zip(ALPHAS, PALETTE, strict=False):
        shown = _measured_weights(RMSPROP, f"optimizer.alpha={alpha}")
        ax.semilogy(ago, shown, "o-", color=colour, markersize=3.5, linewidth=1.2, label=f"RMSProp, alpha {alpha:g}")
    ax.semilogy(ago, _measured_weights(ADAGRAD), "--", color="0.3", linewidth=1.2, label="AdaGrad: all alike")
    ax.set(xlabel="updates ago (0: the present gradient)", ylabel="weight in sigma²", ylim=(1e-5, 2))
    ax.set(xlim=(_SEQUENCE - 0.5, -0.5), xticks=range(0, _SEQUENCE, 3))
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _given(study: Study, optimizer: str) -> list[tuple[Floats, Floats]]:
    """Of each run on the turn: x, and the rate that x is given, rate / sigma, both (steps,)."""
    found = []
    for run, curve in study.with_curves("turn", optimizer=optimizer):
        x = points(curve)[:-1]
        found.append((x[:, 0], rate_of(run) / _sigma(run, gradients(run, x))[:, 0]))
    return found


def _tenfold(given: Floats) -> float:
    """Updates until the rate is ten times the first; +inf for never."""
    there = given >= 10 * given[0]
    return float(there.argmax()) if there.any() else np.inf


def _braked(given: Floats) -> float:
    peak = int(given.argmax())
    return float(given[peak] / given[peak:].min())


def _by_place(study: Study, optimizer: str) -> Floats:
    """One value a start that got as far as the bend."""
    found = []
    for x, given in _given(study, optimizer):
        steep, flat = given[x < -_STEEP], given[np.abs(x) < _FLAT]
        if steep.size and flat.size:
            found.append(float(np.median(flat) / np.median(steep)))
    return np.array(found)


def _rows(name: str, runs: Sequence[Run]) -> list[dict[str, Any]]:
    rows = []
    for rate, here in by_rate(runs).items():
        arrived, median = arrivals(steps_to_target(here))
        rows.append({"optimizer": name, "learning rate": rate, "starts": len(here), "arrive": arrived,
                     "median updates": median})  # fmt: skip
    return rows


def _draw(study: Study) -> Figure:
    figure, (ground, rates) = panels(8.5, 3.6, 2, grid=False)
    field = recorded_field(study.runs("turn")[0])
    shape = landscape(field.objective, field.surface.domain)
    ground.contourf(shape.x, shape.y, np.log10(shape.z + 1e-3), 24, cmap="Greys", alpha=0.7)
    looks = {ADAGRAD: ("AdaGrad", PALETTE[5], 4.0), RMSPROP: ("RMSProp", PALETTE[1], 1.3)}
    for name, (label, colour, width) in looks.items():
        curve = study.curves("turn", optimizer=name)[0]
        ground.plot(*points(curve).T, color=colour, linewidth=width, label=label)
        rates.semilogy(_given(study, name)[0][1], color=colour, linewidth=1.3, label=label)
    for name, place in {"steep": (-4.0, 3.0), "flat": (0.0, 0.0)}.items():
        path = points(study.curves("turn", optimizer=RMSPROP)[0])
        at = path[np.linalg.norm(path - place, axis=1).argmin()]
        plain = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        ground.annotate(name, at, (14, 14), textcoords="offset points", fontsize=9, bbox=plain, arrowprops=ARROW)
    ground.plot(*field.surface.minimizers[0], "*", color=PALETTE[4], markersize=11)
    ground.set(xlabel="x", ylabel="y")
    rates.set(xlabel="update", ylabel="rate / sigma of x")
    rates.legend(fontsize=8)
    rates.grid(True, alpha=0.25)
    return figure
