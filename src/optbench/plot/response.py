"""Scores over the values of a setting: one line a configuration, its interval as a band, a star where it is best.

A star that is hollow lies at an end of what was tried: beyond it there may be better. A cross at the edge of the axes
is a place whose median run has no result. Up to seven configurations share their axes, a column a problem and a row a
score; more of them have small axes of their own, all alike, in which the lines are the problems.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optbench.comparison import STATISTICS, Line, Response
from optbench.comparison.labels import text
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.plot.style import PALETTE, footnote, legend_outside, new_figure, styles
from optbench.plot.translate import as_typed

Floats = npt.NDArray[np.float64]

_TOGETHER = len(PALETTE)  # lines that the eye keeps apart in one pair of axes
_COLUMNS = 5  # of small axes
_TITLE = 22  # characters of a line above them
_DECADE = 10.0  # values that span so much have a logarithmic axis
_FEW = 8  # values that are all written below the axis
_STAR: dict[str, Any] = {"marker": "*", "linestyle": "", "markersize": 11, "markeredgewidth": 0.9, "zorder": 5}
_LOST: dict[str, Any] = {"marker": "x", "linestyle": "", "markersize": 5, "clip_on": False, "zorder": 4}
_INSIDE, _EDGE, _NOTHING = "best of a line", "best, at the edge of what was tried", "median run without a result"
_GREY = "0.45"


@dataclass(frozen=True)
class _Axis:
    """Where the values of the setting stand: places (n,), and what is written there; logarithmic or not."""

    places: Floats
    names: Sequence[str] | None
    log: bool


def response_figure(response: Response) -> Figure:
    """The figure.

    Args:
        response: see `optbench.comparison.respond`.

    Raises:
        UserError: several scores of more configurations than stand in one pair of axes.
    """
    labels = list(dict.fromkeys(line.label for line in response.lines))
    problems = list(dict.fromkeys(line.problem for line in response.lines))
    if len(labels) > _TOGETHER and len(response.scores) > 1:
        raise UserError(
            f"{len(labels)} configurations: a figure of more than {_TOGETHER} has one score",
            f"give one of {', '.join(response.scores)}, or fewer configurations by --filter",
        )
    draw = _together if len(labels) <= _TOGETHER else _apart
    figure = draw(response, labels, problems)
    runs = {n for line in response.lines for n in line.runs}
    each = f"{min(runs)}" if len(runs) == 1 else f"{min(runs)} to {max(runs)}"
    if max(runs) > 1:
        footnote(
            figure, f"each point: median of {each} runs; band: its interval, at least 95 %, below 6 runs their range"
        )
    else:
        footnote(figure, "each point: one run")
    return figure


def _together(response: Response, labels: Sequence[str], problems: Sequence[str]) -> Figure:
    """All configurations in the same axes: a row a score, a column a problem."""
    rows, columns = len(response.scores), len(problems)
    figure = new_figure(3.2 + 4.6 * columns, 1.2 + 2.6 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey="row")
    look, axis = styles(labels), _axis(response.values)
    handles: dict[str, Artist] = {}
    for row, score in zip(axes, response.scores, strict=True):
        _scale(row, response.lines, score)
        for ax, problem in zip(row, problems, strict=True):
            for line in (one for one in response.lines if one.problem == problem):
                handles[line.label] = _draw(ax, response, line, score, axis, look[line.label])
        row[0].set_ylabel(STATISTICS[score].title)
    for ax, problem in zip(axes[0], problems, strict=True):
        as_typed(ax.set_title(problem, fontsize=10))
    for ax in axes[-1]:
        ax.set_xlabel(response.key)
    _ticks(axes.ravel(), axis)
    ordered = {label: handles[label] for label in look if label in handles}
    legend_outside(figure, ordered | _meanings(axes.ravel()))
    return figure


def _apart(response: Response, labels: Sequence[str], problems: Sequence[str]) -> Figure:
    """Each configuration in axes of its own, all alike; dashed, the best that any of them reached."""
    (score,) = response.scores
    rows = math.ceil(len(labels) / _COLUMNS)
    figure = new_figure(11.5, 0.8 + 1.75 * rows)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True)
    look, axis = styles(problems), _axis(response.values)
    _scale(axes.ravel(), response.lines, score)
    handles: dict[str, Artist] = {}
    for ax, label in zip(axes.ravel(), labels, strict=False):
        as_typed(ax.set_title(textwrap.fill(label, _TITLE), fontsize=8.5))
        for line in (one for one in response.lines if one.label == label):
            handles[line.problem] = _draw(ax, response, line, score, axis, look[line.problem])
    for problem in problems:
        if (top := _top([one for one in response.lines if one.problem == problem], score)) is not None:
            for ax in axes.ravel()[: len(labels)]:
                ax.axhline(top, color=look[problem]["color"], linestyle="--", linewidth=0.8, alpha=0.7, zorder=1)
    for ax in axes.ravel()[len(labels) :]:
        ax.set_axis_off()
    for place in range(_COLUMNS):  # the lowest of each column
        under = [ax for ax in axes[:, place] if ax.axison]
        under[-1].set_xlabel(response.key)
        under[-1].tick_params(labelbottom=True)
    for ax in axes[:, 0]:
        ax.set_ylabel(STATISTICS[score].title, fontsize=9)
    _ticks(axes.ravel(), axis)
    handles["best of all"] = Line2D([], [], color=_GREY, linestyle="--", linewidth=0.8)
    legend_outside(figure, handles | _meanings(axes.ravel()))
    return figure


def _axis(values: Sequence[Any]) -> _Axis:
    """Numbers where they belong, words after them, as far apart as the last two numbers are."""
    numbers = np.array([value for value in values if not isinstance(value, str)], dtype=np.float64)
    words = len(values) - len(numbers)
    log = len(numbers) > 1 and numbers[0] > 0 and numbers[-1] >= _DECADE * numbers[0]
    if len(numbers) < 2:
        return _Axis(np.arange(len(values), dtype=np.float64), [text(value) for value in values], False)
    turns = np.arange(1, words + 1)
    after = numbers[-1] * (numbers[-1] / numbers[-2]) ** turns if log else 2 * numbers[-1] - numbers[-2] + turns - 1
    decades = log and bool(np.allclose(np.log10(numbers) % 1, 0.0))
    written = words > 0 or (len(values) <= _FEW and not decades)
    return _Axis(np.concatenate([numbers, after]), [text(value) for value in values] if written else None, log)


def _ticks(axes: Iterable[Axes], axis: _Axis) -> None:
    for ax in axes:
        if axis.log:
            ax.set_xscale("log")
        if axis.names is not None:
            ax.set_xticks(axis.places, axis.names)
            ax.set_xticks([], minor=True)
        ax.grid(True, alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)


def _is_share(score: str) -> bool:
    return STATISTICS[score].title.endswith("%")


def _numbers(found: Sequence[Estimate | None], score: str) -> tuple[Floats, Floats, Floats]:
    """Value, low and high of each place, (n,); NaN where a score does not apply, percentages of shares."""
    unit = 100.0 if _is_share(score) else 1.0
    value = [math.nan if one is None else one.value for one in found]
    low = [math.nan if one is None or one.low is None else one.low for one in found]
    high = [math.nan if one is None or one.high is None else one.high for one in found]
    return unit * np.array(value), unit * np.array(low), unit * np.array(high)


def _scale(axes: Iterable[Axes], lines: Sequence[Line], score: str) -> None:
    """The same scale for all axes of a score: from 0 to 100 % of shares, else over the finite values and intervals."""
    axes = list(axes)
    if _is_share(score):
        for ax in axes:
            ax.set_ylim(0.0, 104.0)
        return
    values = np.concatenate([np.concatenate(_numbers(line.scores[score], score)) for line in lines])
    values = values[np.isfinite(values)]
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high >= _DECADE * low
    room = (high / low) ** 0.06 if log else 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    for ax in axes:
        ax.set_yscale("log" if log else "linear")
        ax.set_ylim((low / room, high * room) if log else (low - room, high + room))


def _draw(ax: Axes, response: Response, line: Line, score: str, axis: _Axis, look: dict[str, Any]) -> Artist:
    """A line with its band, the star of its best, and crosses where there is no result; its handle for the legend."""
    x = axis.places[list(line.at)]
    value, low, high = _numbers(line.scores[score], score)
    bottom, top = ax.get_ylim()
    shown = np.where(np.isfinite(value), value, np.nan)
    handle: Artist
    (handle,) = ax.plot(x, shown, marker=".", markersize=5, linewidth=1.5, **look)
    ax.fill_between(x, np.clip(low, bottom, top), np.clip(high, bottom, top), where=np.isfinite(value),
                    color=look["color"], alpha=0.15, linewidth=0)  # fmt: skip
    lost = np.isinf(value)
    worst = bottom if STATISTICS[score].direction > 0 else top
    if lost.any():
        ax.plot(x[lost], np.full(lost.sum(), worst), color=look["color"], gid=_NOTHING, **_LOST)
    best = None if STATISTICS[score].cost else response.best(line, score)
    if best is not None:
        name, face = (_EDGE, "white") if best.wider is not None else (_INSIDE, look["color"])
        ax.plot(x[best.at], shown[best.at], gid=name, color=look["color"], markerfacecolor=face, **_STAR)
    return handle


def _top(lines: Sequence[Line], score: str) -> float | None:
    """The best finite value of some lines."""
    sign = STATISTICS[score].direction
    values = np.concatenate([_numbers(line.scores[score], score)[0] for line in lines])
    values = values[np.isfinite(values)]
    return float(sign * (sign * values).max()) if values.size else None


def _meanings(axes: Iterable[Axes]) -> dict[str, Artist]:
    """What the marks stand for, of those that were drawn."""
    drawn = {one.get_gid() for ax in axes for one in ax.lines}
    marks = {
        _INSIDE: Line2D([], [], color=_GREY, **_STAR),
        _EDGE: Line2D([], [], color=_GREY, markerfacecolor="white", **_STAR),
        _NOTHING: Line2D([], [], color=_GREY, **_LOST),
    }
    return {name: mark for name, mark in marks.items() if name in drawn}
