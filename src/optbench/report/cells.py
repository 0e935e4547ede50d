"""A comparison as cells of text: one table a problem, and one of where its runs stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from optbench.comparison import Comparison, Group
from optbench.comparison.arrivals import NO_POINT, at_points
from optbench.report.numbers import interval, number


@dataclass(frozen=True)
class Sheet:
    """One problem's groups as text.

    Attributes:
        title: problem and number of runs.
        header: names of the columns.
        rows: a row a group, or a group and a place, as long as the header.
        best: for each row, whether it is the best.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: tuple[bool, ...]


def statuses(group: Group) -> str:
    """ "8 completed, 2 diverged": the statuses that occur, as words."""
    return ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in group.n_by_status.items() if n)


def _median_alone(name: str) -> Callable[[Group], str]:
    def cell(group: Group) -> str:
        found = group.statistics[name]
        return "-" if found is None else number(found.value)

    return cell


def _with_interval(name: str, share: bool = False) -> Callable[[Group], str]:
    return lambda group: interval(group.statistics[name], group.n, share=share)


# A column is shown where any group of the problem has its statistic. Of the costs, the median alone: their spread is in
# the table that `compare --csv` writes.
_COLUMNS: tuple[tuple[str, str, Callable[[Group], str]], ...] = (
    ("val_accuracy", "val accuracy, %", _with_interval("val_accuracy", share=True)),
    ("final_loss", "final loss", _with_interval("final_loss")),
    ("best_loss", "best loss", _with_interval("best_loss")),
    ("success_rate", "reached target, %", _with_interval("success_rate", share=True)),
    ("steps_to_target", "steps to target", _with_interval("steps_to_target")),
    ("ert", "ERT, steps", _median_alone("ert")),
    ("steps", "steps", _median_alone("steps")),
    ("seconds", "seconds", _median_alone("seconds")),
)


_DROPPED_FIRST = ("ERT, steps", "steps to target", "seconds", "best loss", "steps", "reached target, %")
GAP = 2  # blanks between columns
_MOST_POINTS = 5  # critical points of a configuration that have a line of their own


def column_widths(sheet: Sheet) -> list[int]:
    """The widest cell of each column."""
    return [max(len(row[i]) for row in (sheet.header, *sheet.rows)) for i in range(len(sheet.header))]


def narrowed(sheet: Sheet, width: int) -> tuple[Sheet, list[str]]:
    """The sheet without as many of the lesser columns as it takes to fit into `width` characters, and their names."""
    dropped: list[str] = []
    for name in _DROPPED_FIRST:
        if sum(w + GAP for w in column_widths(sheet)) <= width:
            break
        if name in sheet.header:
            kept = [i for i, title in enumerate(sheet.header) if title != name]
            header, *rows = (tuple(row[i] for i in kept) for row in (sheet.header, *sheet.rows))
            sheet = replace(sheet, header=header, rows=tuple(rows))
            dropped.append(name)
    return sheet, dropped


def printable(text: str) -> str:
    """The text with "?" for what a terminal would obey: names come from files that anyone may have written."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def sheets(comparison: Comparison) -> list[Sheet]:
    """One sheet a problem, in order; after it the one of where its runs stopped, if any did at a critical point."""
    found = []
    for problem, groups in comparison.problems.items():
        found.append(_sheet(problem, groups))
        if any(at_points(group.stopped_at) for group in groups):
            found.append(_arrivals(problem, groups))
    return found


def _arrivals(problem: str, groups: Sequence[Group]) -> Sheet:
    """A row a configuration and critical point, the most visited first."""
    rows = []
    for group in groups:
        counts = group.stopped_at or {}
        points = at_points(counts)
        shown = [(name, counts[name]) for name in points[:_MOST_POINTS]]
        if more := points[_MOST_POINTS:]:
            shown.append((f"... {len(more)} more", sum(counts[name] for name in more)))
        shown += [(name, n) for name, n in counts.items() if name in NO_POINT]
        rows += [(printable(group.label), str(n), printable(name)) for name, n in shown]
    title = f"{printable(problem)}: where runs stopped"
    return Sheet(title, ("configuration", "runs", "stopped at"), tuple(rows), (False,) * len(rows))


def _sheet(problem: str, groups: Sequence[Group]) -> Sheet:
    shown = [column for column in _COLUMNS if any(group.statistics[column[0]] is not None for group in groups)]
    header = ("configuration", "n", "status", *(title for _, title, _ in shown))
    rows = tuple((printable(g.label), str(g.n), statuses(g), *(cell(g) for _, _, cell in shown)) for g in groups)
    n = sum(group.n for group in groups)
    title = f"{printable(problem)}: {n} run{'s' * (n != 1)} in {len(groups)} configuration{'s' * (len(groups) != 1)}"
    return Sheet(title, header, rows, tuple(group.best for group in groups))
