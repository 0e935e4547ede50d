"""A comparison as cells of text: one table per problem, and one of where its runs stopped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from optbench.comparison import Comparison, Group
from optbench.comparison.arrivals import NO_POINT, at_points
from optbench.comparison.ranked_by import TO_TARGET, Ranked, metrics_of
from optbench.metrics import Estimate
from optbench.records.chosen import ACCURACY, VALIDATION_LOSS
from optbench.records.metrics import column_of, directions
from optbench.report.verdicts import verdict_lines
from optbench.statistics import STATISTICS, Statistic
from optbench.statistics.numbers import interval, printable
from optbench.statistics.of_targets import OF_TARGETS

if TYPE_CHECKING:
    from optbench.comparison.across import Score


@dataclass(frozen=True)
class Sheet:
    """One problem's groups as text.

    Attributes:
        title: problem and number of runs.
        header: names of the columns.
        rows: one row per group, or per group and place, as long as the header.
        best: for each row, whether it is the best.
        close: for each row, whether it cannot be told from the best; empty: none is said to be.
        lines: what stands below the table.
        words: which columns are words; the others are numbers.
        problem: whose configurations the rows are, in the order of its groups; empty: they are something else.
        lesser: columns that a narrow table goes without first.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: tuple[bool, ...]
    close: tuple[bool, ...] = ()
    lines: tuple[str, ...] = ()
    words: tuple[int, ...] = (0, 2)
    problem: str = ""
    lesser: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        """For each row * if it is the best, ~ if it cannot be told from it, else nothing."""
        close = self.close or (False,) * len(self.best)
        return tuple("*" if best else "~" if near else "" for best, near in zip(self.best, close, strict=True))


def statuses(group: Group) -> str:
    """ "8 completed, 2 diverged": the statuses that occur, as words."""
    return ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in group.n_by_status.items() if n)


# A column is shown where any group of the problem has its statistic. Of the costs, the median alone: their spread is in
# the table that `compare --csv` writes.
_EVERY = {**STATISTICS, **OF_TARGETS}
_COLUMNS = sorted((one for one in _EVERY.values() if one.place is not None), key=lambda one: one.place or 0)
_DROPPED_FIRST = [one.title for one in sorted(_COLUMNS, key=lambda one: one.spare) if one.spare]
WORDS = 3  # columns before the scores: configuration, n, status
GAP = 2  # blanks between columns
_NAME = 12  # characters of a name that stay, however narrow the output
_MOST_POINTS = 5  # critical points of a configuration that have a line of their own


def column_widths(sheet: Sheet) -> list[int]:
    """The widest line of each column's cells."""
    rows = (sheet.header, *sheet.rows)
    return [max(len(line) for row in rows for line in row[i].split("\n")) for i in range(len(sheet.header))]


def narrowed(sheet: Sheet, width: int) -> tuple[Sheet, list[str]]:
    """The sheet fitted into `width` characters, one blank between columns: intervals go below their values and statuses
    below each other first, then the lesser columns go, and last of long names the middle, where they stay different.

    Returns:
        The sheet, and the names of the columns that it is without.
    """

    def fits() -> bool:
        return gap_within(sheet, width) > 0

    dropped: list[str] = []
    first = sheet.header[WORDS : WORDS + 1] if "status" in sheet.header else ()  # what the rows are ordered by
    if not fits():
        sheet = replace(sheet, rows=tuple((*row[:2], *map(_folded, row[2:])) for row in sheet.rows)) \
            if "status" in sheet.header else sheet  # fmt: skip
    for name in (*sheet.lesser, *_DROPPED_FIRST):
        if fits():
            break
        if name in sheet.header and name not in first:
            kept = [i for i, title in enumerate(sheet.header) if title != name]
            header, *rows = (tuple(row[i] for i in kept) for row in (sheet.header, *sheet.rows))
            sheet = replace(sheet, header=header, rows=tuple(rows))
            dropped.append(name)
    return sheet if fits() else _named_shorter(sheet, width), dropped


def side_by_side(sheet: Sheet, width: int) -> list[Sheet]:
    """A sheet without statuses as several below each other, each with the names, where it is wider than `width` even
    with intervals below their values: so that no word is broken."""
    if "status" in sheet.header or gap_within(sheet, width):
        return [sheet]
    sheet = replace(sheet, rows=tuple((row[0], *map(_folded, row[1:])) for row in sheet.rows))
    widths, parts = column_widths(sheet), [[0]]
    for i in range(1, len(widths)):
        if len(parts[-1]) > 1 and sum(widths[j] + 1 for j in parts[-1]) + widths[i] > width:
            parts.append([0])
        parts[-1].append(i)
    return [
        replace(
            sheet, title="" if number else sheet.title, header=tuple(sheet.header[i] for i in part),
            rows=tuple(tuple(row[i] for i in part) for row in sheet.rows),
            words=tuple(k for k, i in enumerate(part) if i in sheet.words),
        )
        for number, part in enumerate(parts)
    ]  # fmt: skip


def _named_shorter(sheet: Sheet, width: int) -> Sheet:
    """The sheet with names that leave room for its other columns; as it is where two would become the same."""
    widths = column_widths(sheet)
    room = max(_NAME, width - sum(widths[1:]) - (len(widths) - 1))
    names = [
        row[0] if len(row[0]) <= room else f"{row[0][: (room - 1) // 2]}…{row[0][-(room // 2) :]}" for row in sheet.rows
    ]
    if len(set(names)) < len({row[0] for row in sheet.rows}):
        return sheet
    return replace(sheet, rows=tuple((name, *row[1:]) for name, row in zip(names, sheet.rows, strict=True)))


def with_column(sheet: Sheet, heading: str, cells: Sequence[str]) -> Sheet:
    """The sheet with one more column of words, the last."""
    rows = tuple((*row, cell) for row, cell in zip(sheet.rows, cells, strict=True))
    return replace(sheet, header=(*sheet.header, heading), rows=rows, words=(*sheet.words, len(sheet.header)))


def gap_within(sheet: Sheet, width: int) -> int:
    """Blanks between the columns of a sheet that is `width` characters wide: GAP, 1, or 0 where it does not fit."""
    widths = column_widths(sheet)
    return next((gap for gap in (GAP, 1) if sum(widths) + gap * (len(widths) - 1) <= width), 0)


def _folded(cell: str) -> str:
    """A value with its interval below it, statuses below each other."""
    return cell.replace(" [", "\n[", 1) if "[" in cell else cell.replace(", ", ",\n")


def sheets(comparison: Comparison) -> list[Sheet]:
    """One sheet a problem, in order; after it the one of where its runs stopped, if any did at a critical point."""
    found = []
    for problem, groups in comparison.problems.items():
        sheet = _sheet(problem, groups, comparison.checkpoint, comparison.asked)
        untold = comparison.untold(problem)
        close = tuple(group.label in untold for group in groups)
        found.append(replace(sheet, close=close, lines=tuple(verdict_lines(comparison, problem))))
        if any(at_points(group.stopped_at) for group in groups):
            found.append(_arrivals(problem, groups))
    return [*found, *_scores(comparison)]


def _scores(comparison: Comparison) -> list[Sheet]:
    """Those over all problems, and those of each; of configurations without a learning rate apart."""
    if not comparison.scores:
        return []
    from optbench.comparison.within import OF_RATES

    parts: dict[tuple[str | None, bool], list[Score]] = {}
    for one in comparison.scores:
        parts.setdefault((one.problem, one.score in OF_RATES), []).append(one)
    found = []
    for (problem, of_rates), scores in parts.items():
        labels = len({one.configuration for one in scores})
        against = f"; improvement is over {comparison.reference}" if comparison.reference else ""
        over = f"scores over {len(comparison.problems)} problems, {labels} configurations that are on all of them"
        title = f"{over}{against}" if problem is None else f"{problem}: sensitivity to the learning rate" \
            if of_rates else f"{problem}: scores against a baseline"  # fmt: skip
        found.append(_scores_of(title, scores))
    return found


def _scores_of(title: str, scores: Sequence[Score]) -> Sheet:
    """A row a configuration, a column a score; the best by the first of them comes first."""
    from optbench.comparison.across import LARGE
    from optbench.comparison.within import LARGE as LARGE_WITHIN

    names = list(dict.fromkeys(one.score for one in scores))
    by = {(one.configuration, one.score): one.estimate for one in scores}
    sign = -1 if names[0] in (*LARGE, *LARGE_WITHIN) else 1

    def place(label: str) -> tuple[bool, float, str]:
        first = by.get((label, names[0]))
        return first is None, sign * first.value if first else 0.0, label

    labels = sorted(dict.fromkeys(c for c, _ in by), key=place)
    rows = tuple((printable(label), *(_score_cell(by.get((label, name)), name) for name in names)) for label in labels)
    best = tuple(place(label)[:2] == place(labels[0])[:2] < (False, math.inf) for label in labels)
    return Sheet(printable(title), ("configuration", *names), rows, best, words=(0,))


def _score_cell(found: Estimate | None, name: str) -> str:
    """A score with its interval; a gain that is infinite by what makes it so: it is no number to look at."""
    if name == "certified_gain" and found is not None and math.isinf(found.value):
        return "baseline diverged" if found.value > 0 else "diverged"
    return interval(found, 2)


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


def shown(groups: Sequence[Group], checkpoint: str, asked: Sequence[str] = ()) -> list[Statistic]:
    """The statistics that the table of a problem has, in order: the metrics that its runs name, of the accuracies the
    one of that checkpoint, and only where there is neither of the validation losses. What its rows are ordered by is
    one of them: those of `asked` that are none of these stand before them."""

    def there(name: str) -> bool:
        return any(group.statistics.get(name) is not None for group in groups)

    named = [column_of(name, checkpoint) for text in metrics_of(groups) for name in directions(text)]
    first = Ranked(checkpoint).first(groups)
    own = [name for name in dict.fromkeys((first, *named)) if (name in named or name == TO_TARGET) and there(name)]
    losses = set(VALIDATION_LOSS.values())
    if not any(map(there, named)) and not any(map(there, ACCURACY.values())):
        losses.remove(VALIDATION_LOSS[checkpoint])
    others = losses | {name for which, name in ACCURACY.items() if which != checkpoint} | set(own)
    others |= {name for name, usual in _USUALLY.items() if not _apart(groups, name, usual)}
    columns = [one for one in _COLUMNS if one.name not in others and there(one.name)]
    found = [*(STATISTICS[name] for name in own), *columns]
    there_already = {one.name for one in found}
    return [*(STATISTICS[name] for name in asked if name not in there_already and there(name)), *found]


_USUALLY = {"evals": "steps", "gradients": "evals"}
"""Costs that say no more than another where they are the same: an update is an evaluation, which is a gradient."""


def _apart(groups: Sequence[Group], name: str, other: str) -> bool:
    """Whether two costs differ in some group, by more than the one of a run that ends within an update."""
    pairs = ((group.statistics.get(name), group.statistics.get(other)) for group in groups)
    return any(a is not None and b is not None and abs(a.value - b.value) > 1 for a, b in pairs)


def _runs(group: Group) -> str:
    return str(group.n) if group.distinct == group.n else f"{group.n} ({group.distinct} distinct)"


def _sheet(problem: str, groups: Sequence[Group], checkpoint: str, asked: Sequence[str]) -> Sheet:
    columns = shown(groups, checkpoint, asked)
    header = ("configuration", "n", "status", *(one.title for one in columns))
    rows = tuple(
        (
            printable(g.label),
            _runs(g),
            statuses(g),
            *(one.format(g.statistics.get(one.name), g.of(one)) for one in columns),
        )
        for g in groups
    )
    n = sum(group.n for group in groups)
    title = f"{printable(problem)}: {n} run{'s' * (n != 1)} in {len(groups)} configuration{'s' * (len(groups) != 1)}"
    lesser = [one.title for one in columns[1:] if one.metric is not None or one.name in ACCURACY.values()]
    best = tuple(group.best for group in groups)
    return Sheet(title, header, rows, best, problem=problem, lesser=tuple(reversed(lesser)))
