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

from optbench.comparison import STATISTICS
from optbench.comparison.figures import Distributions, Drop, Profiles, Ranking, Search, Searches
from optbench.comparison.judged import p_words
from optbench.plot.style import drawable, footnote, legend_outside, new_figure, styles
from optbench.plot.translate import as_typed

_COST = {"steps": "steps", "evals": "evaluations", "epochs": "epochs", "seconds": "seconds of training"}
_WIDTH, _HEIGHT = 7.5, 4.2
_DECADE = 10.0  # costs that span so much have a logarithmic axis
_NAMED = 4  # of what is left out, and of problems
_GREY = "0.45"
_ENDED: dict[str, Any] = {"marker": "x", "linestyle": "", "markersize": 6, "markeredgewidth": 1.4}
_SHARES = (-2.0, 102.0)  # %; a line at either end is seen beside the axis
_LEAST_RATIO = 2.0  # of a profile's axis
_CLIQUE, _BESIDE = 0.35, 0.04  # rows between bars; how far beside the axis of ranks names stand, in its lengths
_ACROSS = 3  # axes beside each other
_MEDIAN: dict[str, Any] = {"linestyle": (0, (1, 1.5)), "linewidth": 1.2}
_RUN_ENDED = "the longest run ended"


def looks(shown: Iterable[str], left_out: Iterable[Drop] = ()) -> dict[str, dict[str, Any]]:
    """Colour and line of each configuration: the same whichever of them a figure leaves out."""
    return styles({*shown, *(name for drop in left_out for name in drop.names)})


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
    ax.set_ylim(*_SHARES)
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
    if low == high:
        return "one run" if low == 1 else f"{low} runs"
    return f"{low} to {high} runs"


def _name_targets(figure: Figure, targets: Sequence[tuple[str, str]]) -> None:
    """Which targets the problems have, those with the same ones together."""
    alike: dict[str, list[str]] = {}
    for problem, words in targets:
        alike.setdefault(words, []).append(problem)
    for words, problems in list(alike.items())[:_NAMED]:
        where = ", ".join(problems) if len(problems) <= _NAMED else f"{len(problems)} problems"
        footnote(figure, f"{where}: {words}")
    if len(alike) > _NAMED:
        rest = sum(len(problems) for problems in list(alike.values())[_NAMED:])
        footnote(figure, f"and targets of their own for {rest} more problems")


def _name_left_out(figure: Figure, left_out: Sequence[Drop]) -> None:
    for drop in left_out:
        more = f"; and {len(drop.names) - _NAMED} more" if len(drop.names) > _NAMED else ""
        footnote(figure, f"left out, {drop.why}: {'; '.join(drop.names[:_NAMED])}{more}")


def profile_figure(found: Profiles) -> Figure:
    """Performance profiles, a line a configuration; the one that is the fastest most often is drawn last.

    Args:
        found: see `optbench.comparison.figures.profiles`.
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    ax = figure.subplots()
    look = looks((line.label for line in found.lines), found.left_out)
    ratios = np.concatenate([line.ratios for line in found.lines])
    end = 1.15 * max(_LEAST_RATIO, float(ratios.max(initial=1.0)))
    handles: dict[str, Artist] = {}
    for line in sorted(found.lines, key=lambda one: one.shares[0] if one.ratios[:1].tolist() == [1.0] else 0.0):
        before = 0 if line.ratios[:1].tolist() == [1.0] else 1
        x = np.concatenate([[1.0] * before, line.ratios, [end]])
        y = 100.0 * np.concatenate([[0.0] * before, line.shares, line.shares[-1:] if len(line.shares) else [0.0]])
        (handles[line.label],) = ax.step(x, y, where="post", linewidth=1.6, clip_on=False, **look[line.label])
    ax.set_xscale("log", base=2)
    ax.set_xlim(1.0, end)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_ylim(*_SHARES)
    ax.set_xlabel("time / least time of the problem")
    ax.set_ylabel("problems solved so fast, %")
    _plain(ax)
    legend_outside(figure, {label: handles[label] for label in look if label in handles})
    footnote(figure, f"{len(found.targets)} problems; a time is the median of {_span(found.runs)}, a miss never; "
                     "at 1: the share on which it is the fastest")  # fmt: skip
    _name_targets(figure, found.targets)
    _name_left_out(figure, found.left_out)
    return figure


def ranks_figure(found: Ranking) -> Figure:
    """The diagram of critical differences: average ranks on a line, bars over what cannot be told apart.

    Args:
        found: see `optbench.comparison.figures.ranking`.
    """
    count, half = len(found.labels), (len(found.labels) + 1) // 2
    first = _CLIQUE * (len(found.cliques) + 1) + 0.4  # of the rows of names, below the bars
    figure = new_figure(_WIDTH, 1.5 + 0.3 * (first + half))
    ax = figure.subplots()
    look = looks(found.labels, found.left_out)
    for i, (label, rank) in enumerate(zip(found.labels, found.ranks.tolist(), strict=True)):
        left = i < half
        row, edge = (i, 1.0) if left else (count - 1 - i, float(count))
        end = edge + (-_BESIDE if left else _BESIDE) * (count - 1)
        colour, y = look[label]["color"], -(first + row)
        ax.plot([rank, rank, end], [0.0, y, y], color=colour, linewidth=1.3, clip_on=False)
        ax.plot(rank, 0.0, "o", color=colour, markersize=5, clip_on=False, zorder=4)
        name = ax.text(end, y, f" {label}  {rank:.2f} ", ha="right" if left else "left", va="center", fontsize=9)
        as_typed(name, whole=True)
    for i, members in enumerate(found.cliques):
        reach = found.ranks[list(members)]
        room, y = 0.012 * (count - 1), -_CLIQUE * (i + 1)
        ax.plot([reach.min() - room, reach.max() + room], [y, y], color="black", linewidth=4, solid_capstyle="butt")
    ax.errorbar(1 + found.difference / 2, 1.0, xerr=found.difference / 2, color=_GREY, capsize=4, linewidth=1.2)
    ax.text(1 + found.difference / 2, 1.15, f"critical difference {found.difference:.2f}", ha="center", va="bottom",
            fontsize=9, color=_GREY)  # fmt: skip
    _rank_axis(ax, count, max(float(count), 1 + found.difference), -(first + half - 0.5))
    problems = f"{len(found.metric)} problems"
    footnote(figure, f"average ranks over {problems} by the median of {_span(found.runs)}, 1 the best")
    for title in dict.fromkeys(STATISTICS[name].title for _, name in found.metric):
        footnote(figure, f"ranked by: {title}")
    footnote(figure, "a bar joins what cannot be told apart at 5 % (Nemenyi's critical difference)")
    footnote(figure, f"Friedman's test that none differs: {p_words(found.p)}")
    _name_left_out(figure, found.left_out)
    return figure


def _rank_axis(ax: Axes, count: int, right: float, bottom: float) -> None:
    """The line of ranks at height 0, its numbers above it, and nothing else."""
    ax.set_xlim(1.0, right)
    ax.set_ylim(bottom, 1.6)
    ax.set_yticks([])
    ax.spines[["right", "left", "bottom"]].set_visible(False)
    ax.spines["top"].set_position(("data", 0.0))
    ax.spines["top"].set_bounds(1.0, float(count))
    ax.xaxis.set_ticks_position("top")
    ax.set_xticks(range(1, count + 1))


def best_of_figure(found: Searches) -> Figure:
    """The best of k settings over k: its mean with a band, and its median; axes a problem, a line a configuration.

    Args:
        found: see `optbench.comparison.figures.searches`.
    """
    problems = list(dict.fromkeys(line.problem for line in found.lines))
    columns = min(_ACROSS, len(problems))
    rows = -(-len(problems) // columns)
    figure = new_figure(max(_WIDTH, 2.4 + 2.9 * columns), 1.0 + 2.9 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    look = looks((line.label for line in found.lines), found.left_out)
    handles: dict[str, Artist] = {}
    for ax, problem in zip(axes, problems, strict=False):
        own = [line for line in found.lines if line.problem == problem]
        _scale(ax, own)
        for line in sorted(own, key=_goodness):
            handles[line.label] = _draw_search(ax, line, look[line.label])
        if len(problems) > 1:
            as_typed(ax.set_title(problem, fontsize=10))
        ax.set_xlabel("settings tried, k")
        ax.set_ylabel(STATISTICS[own[0].metric].title)
        ax.xaxis.get_major_locator().set_params(integer=True)
        _plain(ax)
    for ax in axes[len(problems) :]:
        ax.set_axis_off()
    meanings = {"mean of the best of k": Line2D([], [], color=_GREY, linewidth=1.6),
                "median of the best of k": Line2D([], [], color=_GREY, **_MEDIAN)}  # fmt: skip
    legend_outside(figure, {label: handles[label] for label in look if label in handles} | meanings)
    tried = {len(line.values) for line in found.lines}
    footnote(figure, f"best of k of {_to(min(tried), max(tried))} settings, drawn without replacement; a setting: "
                     f"median of {_span(found.runs)}")  # fmt: skip
    footnote(figure, "band: 95 %, bootstrap over settings; the mean is infinite, and not drawn, while all k may be "
                     "without a result")  # fmt: skip
    if found.tuning:
        footnote(figure, "by the tuning seeds, which flatter; the reports are left out")
    _name_left_out(figure, found.left_out)
    return figure


def _to(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def _goodness(line: Search) -> float:
    return float(STATISTICS[line.metric].direction * line.best.median[-1])


def _share(line: Search) -> float:
    return 100.0 if STATISTICS[line.metric].title.endswith("%") else 1.0


def _scale(ax: Axes, lines: Sequence[Search]) -> None:
    """Logarithmic where all values that are drawn are positive and span a decade."""
    drawn = np.concatenate([np.concatenate([line.best.expected, line.best.median]) for line in lines])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and drawn.min() > 0 and drawn.max() >= _DECADE * drawn.min() and _share(lines[0]) == 1.0:
        ax.set_yscale("log")
        ax.set_ylim(drawn.min() / 1.5, drawn.max() * 1.5)


def _draw_search(ax: Axes, line: Search, look: dict[str, Any]) -> Artist:
    unit, k = _share(line), line.best.trials
    expected, low, high, median = (drawable(unit * part) for part in
                                   (line.best.expected, line.best.low, line.best.high, line.best.median))  # fmt: skip
    handle: Artist
    (handle,) = ax.plot(k, expected, linewidth=1.6, **look)
    ax.plot(k, median, color=look["color"], **_MEDIAN)
    known = np.concatenate([low, expected, median])
    known = known[np.isfinite(known)]
    if not len(known):  # every best of k may be without a result: nothing can be drawn
        return handle
    bottom, top = ax.get_ylim() if ax.get_yscale() == "log" else (known.min(), known.max())
    infinite = top if STATISTICS[line.metric].direction < 0 else bottom
    low, high = (np.where(np.isnan(end), infinite, end) for end in (low, high))
    ax.fill_between(k, low, high, where=np.isfinite(expected), color=look["color"], alpha=0.13, linewidth=0)
    return handle
