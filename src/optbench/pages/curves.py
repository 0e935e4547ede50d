"""Learning curves of the configurations of a problem, and curvature along training, as lines to draw."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from optbench.comparison import Group
from optbench.comparison.learning import (
    ALONG,
    LOSSES,
    WITHOUT,
    Scale,
    Series,
    all_series,
    band,
    loss_scale,
    measures_in,
)
from optbench.errors import RecordError
from optbench.pages.words import Words
from optbench.records import CURVATURE_COLUMNS, RunTable, Status
from optbench.records.columns import Floats
from optbench.records.curves import Columns

Plain = dict[str, Any]
MOST_LINES = 60
"""Configurations of a problem that are drawn: beyond, no eye tells them apart."""
_POINTS = 60_000  # moments of all lines of a page together
_LEAST, _MOST = 60, 400  # moments of a line
CURVATURE = {
    "lambda_max": "largest eigenvalue of the Hessian",
    "lambda_min": "smallest eigenvalue of the Hessian",
    "full_grad_norm": "gradient norm of the whole objective",
}
NO_CURVATURE = "no curvature was measured: trainer.curvature_every=10 measures it every 10 updates of a network"


def rounded(values: Floats, digits: int = 5) -> list[float | None]:
    """Numbers to be drawn, to a few digits; None where there is none."""
    form = f"%.{digits}g"
    return [float(form % value) if abs(value) < np.inf else None for value in values.tolist()]


class Cache:
    """Reads the curves of runs, each once however many figures are of it. One that cannot be read is as none.

    Attributes:
        unread: why a curve could not be read, a sentence each.
    """

    def __init__(self) -> None:
        self._known = dict[tuple[str | None, str], Columns]()
        self.unread: list[str] = []

    def __call__(self, rows: RunTable, names: Collection[str] | None = None) -> list[Columns]:
        """The curve of each run, whole, whatever columns are asked for: other figures want others of it."""
        keys = list(zip(rows.values("path"), rows.values("run_id"), strict=True))
        new = [place for place, key in enumerate(keys) if key not in self._known]
        for place, curve in zip(new, self._read(rows.take(np.array(new, dtype=np.int64))), strict=True):
            self._known[keys[place]] = curve
        return [self._known[key] for key in keys]

    def _read(self, rows: RunTable) -> list[Columns]:
        try:
            return rows.curves(None)
        except RecordError as error:
            if len(rows) == 1:
                self.unread.append(error.message)
                return [{}]
            return [curve for place in range(len(rows)) for curve in self._read(rows.take(slice(place, place + 1)))]


@dataclass(frozen=True)
class Curved:
    """A configuration of which runs have a curve.

    Attributes:
        label: its name.
        rows, curves: the runs that have one.
        n: number of its runs, whatever they have.
    """

    label: str
    rows: RunTable
    curves: Sequence[Columns]
    n: int

    @cached_property
    def statuses(self) -> list[Status]:
        """How each run ended, wherever a budget cuts it."""
        return [Status(status) for status in self.rows.recorded("status")]


def curved(groups: Sequence[Group], reader: Cache) -> list[Curved]:
    """The configurations of a problem that are drawn, the best first."""
    found: list[Curved] = []
    for group in groups:
        rows = group.rows.take(group.rows.has_curve())
        if len(rows) and len(found) < MOST_LINES:
            curves = reader(rows)
            known = [place for place, curve in enumerate(curves) if curve]
            if known:
                rows, curves = rows.take(np.array(known)), [curves[place] for place in known]
                found.append(Curved(group.label, rows, curves, group.n))
    return found


def points_of_a_line(lines: int) -> int:
    """How many moments a line of a page has that draws so many of them."""
    return int(np.clip(_POINTS // max(lines, 1), _LEAST, _MOST))


def learning_figure(shown: Sequence[Curved], configurations: int, most: int, words: Words) -> Plain:
    """Loss and accuracy over steps, evaluations, epochs and seconds, medians with bands.

    Args:
        shown: the configurations with curves.
        configurations: number of all of the problem.
        most: moments of a line.
        words: of the page.
    """
    title = words("Learning curves")
    views = []
    for name, what in measures_in(curve for one in shown for curve in one.curves).items():
        raw = [curve[name] for one in shown for curve in one.curves if name in curve]
        scale = loss_scale(raw) if name in LOSSES else None
        made = [_view(shown, name, along, words.sentence(what), words(over), most, scale)
                for along, over in ALONG.items()]  # fmt: skip
        views += [view for view in made if view is not None]
    if not views:
        return without(title, words("no curve was recorded: a sweep keeps those of some rows (--curves N)"))
    notes = [words(WITHOUT[along]) for along in WITHOUT if all(view["key"] != along for view in views)]
    return _drawn(title, views, [_each_line(shown, words), *_left_out(shown, configurations, words), *notes])


def curvature_figure(shown: Sequence[Curved], most: int, words: Words) -> Plain:
    """Ends of the Hessian's spectrum and norm of the whole gradient along training; arguments as `learning_figure`."""
    title = words("Curvature along training")
    views = [
        made
        for name, what in CURVATURE.items()
        for along in ("step", "epoch")
        if (made := _view(shown, name, along, words(what), words(ALONG[along]), most)) is not None
    ]
    measured = [one for one in shown if any(set(CURVATURE_COLUMNS) <= set(curve) for curve in one.curves)]
    if not views or not measured:
        return without(title, words(NO_CURVATURE))
    return _drawn(title, views, [_each_line(measured, words)])


def without(title: str, why: str) -> Plain:
    """A figure that there is not, and why."""
    return {"kind": "none", "title": title, "why": why}


def _drawn(title: str, views: Sequence[Plain], notes: Sequence[str]) -> Plain:
    return {"kind": "lines", "title": title, "views": list(views), "notes": list(notes)}


def _view(
    shown: Sequence[Curved], name: str, along: str, what: str, over: str, most: int, scale: Scale | None = None
) -> Plain | None:
    """The lines of a measure over a cost; None where no curve has both."""
    lines = []
    for one in shown:
        if known := [own for own in all_series(one.statuses, one.curves, name, along) if len(own[0])]:
            lines.append(line_of(one.label, known, most))
    if not lines:
        return None
    return {
        "what": what, "over": over, "key": along, "lines": lines,
        "y": {"log": bool(scale and scale.log), "limits": None if scale is None else scale.limits},
    }  # fmt: skip


def line_of(label: str, known: Sequence[Series], most: int) -> Plain:
    """A line with its band."""
    found = band(known, most)
    line = {"label": label, "x": rounded(found.moments, 7), "y": rounded(found.middle)}
    if found.low is not None and found.high is not None:
        line |= {"low": rounded(found.low), "high": rounded(found.high)}
    return line


def _each_line(shown: Sequence[Curved], words: Words) -> str:
    sizes = {len(one.rows) for one in shown}
    if max(sizes) == 1:
        return words("each line: one run")
    each = f"{min(sizes)}" if len(sizes) == 1 else words("{0} to {1}", min(sizes), max(sizes))
    return words("each line: median of {0} runs; band: its interval, at least 95 %, below 6 runs their range", each)


def _left_out(shown: Sequence[Curved], configurations: int, words: Words) -> list[str]:
    """What of the problem is not drawn."""
    said = []
    if len(shown) < configurations:
        said.append(
            words("{0} of {1} configurations are drawn, the best of those with a curve", len(shown), configurations)
        )
    runs, n = sum(len(one.rows) for one in shown), sum(one.n for one in shown)
    if runs < n:
        said.append(words("of these {0} of {1} runs have a recorded curve", runs, n))
    return said
