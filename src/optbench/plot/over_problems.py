"""Figures of many runs over targets and problems: what was answered at which cost.

Every configuration keeps its colour from one of these figures to the next, since colours go by the names of all of them
in order. What has no line is named below the axes, with the rule by which the lines were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optbench.comparison.figures import Distributions, Drop
from optbench.plot.style import footnote, legend_outside, natural, new_figure, styles

_COST = {"steps": "steps", "evals": "evaluations", "epochs": "epochs", "seconds": "seconds of training"}
_WIDTH, _HEIGHT = 7.5, 4.2
_DECADE = 10.0  # costs that span so much have a logarithmic axis
_NAMED = 4  # of what is left out, and of problems
_GREY = "0.45"
_ENDED: dict[str, Any] = {"marker": "x", "linestyle": "", "markersize": 6, "markeredgewidth": 1.4}
_RUN_ENDED = "the longest run ended"


def looks(shown: Iterable[str], left_out: Iterable[Drop] = ()) -> dict[str, dict[str, Any]]:
    """Colour and line of each configuration: the same whichever of them a figure leaves out."""
    return styles(sorted({*shown, *(name for drop in left_out for name in drop.names)}, key=natural))


def ecdf_figure(found: Distributions) -> Figure:
    """Distributions of runtimes, a line a configuration, the best one drawn last; a cross where its data end.

    Args:
        found: see `optbench.comparison.figures.distributions`.
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    ax = figure.subplots()
    look = looks((line.label for line in found.lines), found.left_out)
    left, log = _start(found)
    handles: dict[str, Artist] = {}
    for line in sorted(found.lines, key=lambda one: one.shares[-1] if len(one.shares) else 0.0):
        x = np.concatenate([[left], np.maximum(line.costs, left), [max(line.end, left)]])
        y = 100.0 * np.concatenate([[0.0], line.shares, line.shares[-1:] if len(line.shares) else [0.0]])
        (handles[line.label],) = ax.step(x, y, where="post", linewidth=1.6, **look[line.label])
        ax.plot(x[-1:], y[-1:], color=look[line.label]["color"], clip_on=False, zorder=4, **_ENDED)
    ax.set_xscale("log" if log else "linear")
    ax.set_xlim(left=left)
    ax.set_ylim(0.0, 103.0)
    ax.set_xlabel(_COST[found.cost])
    ax.set_ylabel("pairs of run and target reached, %")
    _plain(ax)
    ordered = {label: handles[label] for label in look if label in handles}
    legend_outside(figure, ordered | {_RUN_ENDED: Line2D([], [], color=_GREY, **_ENDED)})
    problems = f"; each of {len(found.targets)} problems counts alike" if len(found.targets) > 1 else ""
    footnote(figure, f"{_span(found.runs)} of a configuration on a problem; a target that was missed is never reached"
                     f"{problems}")  # fmt: skip
    _name_targets(figure, found.targets)
    _name_left_out(figure, found.left_out)
    return figure


def _start(found: Distributions) -> tuple[float, bool]:
    """Where the axis of costs begins, and whether it is logarithmic: then at the least cost above 0."""
    costs = np.concatenate([*(line.costs for line in found.lines), [line.end for line in found.lines]])
    positive = costs[costs > 0]
    log = len(positive) > 0 and positive.max() >= _DECADE * positive.min()
    return (float(positive.min()) if log else 0.0), log


def _plain(ax: Axes) -> None:
    ax.grid(True, alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def _span(sizes: tuple[int, int]) -> str:
    low, high = sizes
    return f"{low} runs" if low == high else f"{low} to {high} runs"


def _name_targets(figure: Figure, targets: Sequence[tuple[str, str]]) -> None:
    """Which targets the problems have, those with the same ones together."""
    alike: dict[str, list[str]] = {}
    for problem, words in targets:
        alike.setdefault(words, []).append(problem)
    for words, problems in list(alike.items())[:_NAMED]:
        footnote(figure, f"{', '.join(problems)}: {words}")
    if len(alike) > _NAMED:
        rest = sum(len(problems) for problems in list(alike.values())[_NAMED:])
        footnote(figure, f"and targets of their own for {rest} more problems")


def _name_left_out(figure: Figure, left_out: Sequence[Drop]) -> None:
    for drop in left_out:
        more = f"; and {len(drop.names) - _NAMED} more" if len(drop.names) > _NAMED else ""
        footnote(figure, f"left out, {drop.why}: {'; '.join(drop.names[:_NAMED])}{more}")
