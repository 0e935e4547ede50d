"""Claim 15: what normalisation does to the error surface: of inputs, exactly; of hidden layers, in training.

Linear regression on two centred inputs has a quadratic error surface. At the best rate 2 / (smallest + largest
curvature) both coordinates shrink by (c - 1) / (c + 1) an update, c the condition number, so that the loss above its
minimum falls by the square of that, from whatever start. Of networks: `_batch_norm_networks`.

Source: Apple Book, section 3.7; S. Ioffe and C. Szegedy, Batch Normalization, arXiv:1502.03167; the best rate: B. T.
Polyak, Introduction to Optimization (1987), section 1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._batch_norm_networks import Path, along_path, test_time
from applebook.measures._common import column, panels, rate_of
from applebook.study import Findings, Study
from optbench import Run
from optbench.metrics import Floats
from optbench.plot import PALETTE

NORMS = {"none": "without", "batch": "with"}
LAYERS = {"main": "o-", "deep": "--"}  # arm -> line of its networks of four and of six hidden layers
COLOURS = {"none": PALETTE[1], "batch": PALETTE[0]}
SMALL, USUAL, LARGE = 1e-3, 1e-1, 1.0
LOW, WINDOW = 0.5, 20
"""A run has learnt when the mean of the training loss over so many batches is below LOW."""
POINTS, DEVIATIONS, CORRELATION, CLOSE = 100, (1.0, 100.0), 0.99, 1e-6


def measure(study: Study) -> Findings:
    """The evidence for claim 15; see conf/experiment/book/batch_norm.yaml."""
    groups, deep, sizes = (_groups(study, arm) for arm in ("main", "deep", "batches"))
    plain, normal = (_at_best_rate(groups, norm) for norm in NORMS)
    usual, small, large = ([groups[norm, rate] for norm in ("batch", "none")] for rate in (USUAL, SMALL, LARGE))
    tiny = [_best_accuracy(sizes, norm, 2) for norm in ("batch", "none")]
    surfaces = _data_sets(study.pick(5, 20))
    trained = {(arm, n): study.runs(arm, model__norm=n, optimizer__lr=USUAL) for arm in ("main", "deep") for n in NORMS}
    tested = test_time([*trained["main", "batch"], *trained["deep", "batch"]])
    paths = {key: along_path(runs) for key, runs in trained.items()}
    evidence = _inputs(surfaces) | {
        "faster_same_rate": Evidence("wins", *(g.updates for g in usual)),
        "faster_best_rate": Evidence("ratio", normal.at_least, plain.at_least),
        "larger_rate": Evidence("share difference", *(g.accuracy > 0.9 for g in large)),
        "small_rate": Evidence("wins", *(g.loss for g in small)),
        "final_accuracy": Evidence("mean difference", normal.accuracy, plain.accuracy),
        "tiny_batch": Evidence("mean difference", *(g.accuracy for g in tiny)),
        "alone": Evidence("agreement", tested.batched, tested.alone, rival=tested.training),
        "mixes": Evidence("share difference", tested.moved["train"], tested.moved["eval"]),
        "moving_averages": Evidence("agreement", tested.moving, tested.exact, rival=tested.pairs),
        "smoother": Evidence("ratio", paths["main", "batch"].change, paths["main", "none"].change),
        "smoother_deep": Evidence("ratio", paths["deep", "batch"].change, paths["deep", "none"].change),
        "covariate_shift": Evidence("ratio", paths["main", "batch"].shift, paths["main", "none"].shift),
    }
    figures = {"ellipse": _draw_ellipse(*surfaces[0]), "training": _draw_training(groups, paths)}
    return Findings(evidence, figures, {"ends": _rows(groups) + _rows(deep) + _rows(sizes)})


# two inputs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Regression:
    """The error surface w'Hw / 2 - b'w of a linear regression on two inputs, and gradient descent on it.

    Attributes:
        hessian: (2, 2). minimizer: (2,). condition: number of the Hessian.
        updates: at the best rate from the origin until the loss is CLOSE. path: the iterates, (updates + 1, 2).
        left: loss above the minimum relative to the start, (updates + 1,).
    """

    hessian: Floats
    minimizer: Floats
    condition: float
    updates: int
    path: Floats
    left: Floats

    @property
    def predicted(self) -> float:
        """Updates by the closed form."""
        c = self.condition
        return float(np.log(CLOSE) / (2 * np.log((c - 1) / (c + 1))))


def _regression(features: Floats, targets: Floats) -> Regression:
    """Mean squared error on features (n, 2) and targets (n,), both centred."""
    hessian = 2 * features.T @ features / len(features)
    linear = 2 * features.T @ targets / len(features)
    best: Floats = np.linalg.solve(hessian, linear).astype(np.float64)
    low, high = np.linalg.eigvalsh(hessian)
    path, left = _descend(hessian, linear, best, 2.0 / float(low + high))
    return Regression(hessian, best, float(high / low), len(path) - 1, path, left)


def _descend(hessian: Floats, linear: Floats, best: Floats, rate: float) -> tuple[Floats, Floats]:
    """Gradient descent from the origin; on plain numbers, which for two of them is the fastest."""
    (a, b), (_, d) = hessian.tolist()
    (p, q), (u, v) = linear.tolist(), best.tolist()
    x = y = 0.0
    path, left = [(x, y)], [0.5 * (p * u + q * v)]
    while left[-1] > CLOSE * left[0]:
        x, y = x - rate * (a * x + b * y - p), y - rate * (b * x + d * y - q)
        path.append((x, y))
        left.append(0.5 * ((x - u) * (a * x + b * y - p) + (y - v) * (b * x + d * y - q)))
    return np.array(path), np.array(left) / left[0]


def _before_and_after(features: Floats, targets: Floats) -> tuple[Regression, Regression]:
    """Regressions of the targets (n,) on features (n, 2) as they are, and normalised; both centred."""
    features, targets = features - features.mean(axis=0), targets - targets.mean()
    return _regression(features, targets), _regression(features / features.std(axis=0), targets)


def _data_sets(count: int) -> list[tuple[Regression, Regression]]:
    """Independent inputs of very different scale, before and after normalisation."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        parts = rng.normal(size=(POINTS, 2))
        found.append(_before_and_after(parts * DEVIATIONS, parts.sum(axis=1) + rng.normal(size=POINTS)))
    return found


def _inputs(found: list[tuple[Regression, Regression]]) -> dict[str, Evidence]:
    before, after = zip(*found, strict=True)
    rng = np.random.default_rng(1)
    alike = []
    for _ in found:
        one, other, noise = rng.normal(size=(3, POINTS))
        correlated = CORRELATION * one + np.sqrt(1 - CORRELATION**2) * other
        alike.append(_before_and_after(np.column_stack([one, correlated]), one + noise))
    return {
        "rounder": Evidence("ratio", *([r.condition for r in side] for side in (before, after))),
        "arrives_sooner": Evidence("ratio", *([r.updates for r in side] for side in (before, after))),
        "closed_form": Evidence(
            "agreement", [r.updates for r in before], [r.predicted for r in before], [r.predicted for r in after]
        ),
        "correlated": Evidence("ratio", *([pair[side].condition for pair in alike] for side in (0, 1))),
    }


# training -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone; arrays are one value a seed.

    Attributes:
        run: the first of them.
        curves: of all of them.
        updates: until the training loss was below LOW (+inf: never). made: in all.
        loss: mean training loss of the last epoch (+inf: diverged).
        accuracy: on validation images, at the end (0: diverged).
    """

    run: Run
    curves: Sequence[pd.DataFrame]
    updates: Floats
    made: Floats
    loss: Floats
    accuracy: Floats

    @property
    def at_least(self) -> Floats:
        """Updates until the loss was low, all that were made where it never was: (n,)."""
        return np.minimum(self.updates, self.made)


def _groups(study: Study, arm: str) -> dict[tuple[Any, ...], Group]:
    """Groups by norm, learning rate and, where it was swept, batch size."""
    runs: dict[tuple[Any, ...], list[tuple[Run, pd.DataFrame]]] = {}
    for run, curve in study.with_curves(arm):
        key = [run.config["model"]["norm"], rate_of(run)]
        key += [run.config["trainer"]["batch_size"]] if arm == "batches" else []
        runs.setdefault(tuple(key), []).append((run, curve))
    return {key: _group(*zip(*found, strict=True)) for key, found in runs.items()}


def _group(runs: Sequence[Run], curves: Sequence[pd.DataFrame]) -> Group:
    accuracy = np.array([0.0 if run.status == "diverged" else float(run.summary["val_accuracy"]) for run in runs])
    losses = [
        np.inf
        if run.status == "diverged"
        else float(curve["loss"][curve["epoch"] >= run.config["trainer"]["epochs"] - 1].mean())
        for run, curve in zip(runs, curves, strict=True)
    ]
    made = column(runs, "steps")
    return Group(runs[0], curves, np.array([_learnt(curve) for curve in curves]), made, np.array(losses), accuracy)


def _smooth(curve: pd.DataFrame) -> Any:
    """Training loss, mean of the last WINDOW batches."""
    return curve["loss"].rolling(WINDOW).mean()


def _learnt(curve: pd.DataFrame) -> float:
    low = _smooth(curve) < LOW
    return float(curve["step"][low.idxmax()]) if low.any() else np.inf


def _at_best_rate(groups: dict[tuple[Any, ...], Group], norm: str) -> Group:
    """The group with the lowest median of final training losses."""
    return min((g for key, g in groups.items() if key[0] == norm), key=lambda g: float(np.median(g.loss)))


def _best_accuracy(groups: dict[tuple[Any, ...], Group], norm: str, batch: int) -> Group:
    """The group with the highest mean accuracy."""
    return max((g for key, g in groups.items() if key[::2] == (norm, batch)), key=lambda g: float(g.accuracy.mean()))


# tables and figures ---------------------------------------------------------------------------------------------------


def _rows(groups: dict[tuple[Any, ...], Group]) -> list[dict[str, Any]]:
    rows = []
    for g in groups.values():
        updates, config = float(np.median(g.updates)), g.run.config
        rows.append(
            {
                "hidden layers": len(config["model"]["hidden"]),
                "batch": config["trainer"]["batch_size"],
                "learning rate": config["optimizer"]["lr"],
                "batch normalisation": NORMS[config["model"]["norm"]],
                "seeds": g.loss.size,
                "updates to 0.5": updates if np.isfinite(updates) else None,
                "updates made": float(g.made.max()),
                "training loss": float(np.median(g.loss)) if np.isfinite(np.median(g.loss)) else None,
                "validation accuracy": float(np.median(g.accuracy)),
            }
        )
    return sorted(rows, key=lambda row: tuple(row.values())[:4])


def _draw_ellipse(before: Regression, after: Regression) -> Figure:
    figure, (*both, right) = panels(10.0, 3.3, 3, grid=False)
    for ax, name, one, colour in zip(both, ("before", "after"), (before, after), COLOURS.values(), strict=True):
        _contours(ax, one)
        ax.plot(*one.path.T, color=colour, linewidth=1.2)
        shown = np.unique(np.geomspace(1, len(one.path), 9).astype(int)) - 1
        ax.plot(*one.path[shown].T, "o", color=colour, markersize=3.5)
        ax.set_title(f"{name}: condition number {one.condition:,.4g}", fontsize=10)
        right.loglog(np.arange(len(one.left)) + 1, one.left, color=colour, linewidth=1.5, label=name)
    right.axhline(CLOSE, color="0.4", linestyle="--", linewidth=0.9)
    right.set(xlabel="update + 1")
    right.set_ylabel("loss above the minimum / at the start", fontsize=9)
    right.legend(frameon=False, fontsize=8, title="normalisation", title_fontsize=8)
    right.grid(True, alpha=0.25)
    return figure


def _contours(ax: Axes, surface: Regression) -> None:
    """The error surface round its minimizer, the same scale on both axes."""
    best = surface.minimizer
    half = 1.3 * float(np.abs(best).max())
    axes = [np.linspace(at - half, at + half, 401) for at in best]
    away = np.stack(np.meshgrid(*axes), axis=-1) - best
    above = 0.5 * np.einsum("...i,ij,...j->...", away, surface.hessian, away)
    ax.contour(*axes, above, levels=above.max() * np.linspace(0.1, 0.9, 7) ** 2, colors="0.65", linewidths=0.8)
    ax.plot(*best, "+", color="black")
    ax.set(xlabel="weight of input 1", ylabel="weight of input 2", aspect="equal")


def _draw_training(groups: dict[tuple[Any, ...], Group], paths: dict[tuple[str, str], Path]) -> Figure:
    figure, (left, middle, right) = panels(10.0, 3.3, 3)
    for norm, word in NORMS.items():
        look: dict[str, Any] = {"color": COLOURS[norm], "linewidth": 0.9, "alpha": 0.8}
        for i, curve in enumerate(groups[norm, USUAL].curves):
            left.semilogy(curve["step"], _smooth(curve), label=None if i else word, **look)
        shown = {key[1]: g.accuracy for key, g in groups.items() if key[0] == norm}
        rates = sorted(shown)
        middle.semilogx(rates, [np.median(shown[rate]) for rate in rates], **look)
        for rate in rates:
            middle.plot(np.full(shown[rate].size, rate), shown[rate], "o", color=COLOURS[norm], markersize=3)
        for arm, line in LAYERS.items():
            right.semilogy(paths[arm, norm].epochs, paths[arm, norm].changes.T, line, markersize=3, **look)
    left.legend(frameon=False, fontsize=8, title="batch normalisation", title_fontsize=8)
    lines = [right.plot([], [], line, color="0.4", markersize=3)[0] for line in LAYERS.values()]
    right.legend(lines, ["four hidden layers", "six"], fontsize=8)
    left.set(xlabel="update", ylabel="training loss")
    middle.set(xlabel="learning rate", ylabel="validation accuracy")
    right.set(xlabel="epoch", ylabel="change of the gradient along a step")
    return figure
