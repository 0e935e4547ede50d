"""A comparison on the terminal, or as plain aligned text where the output is no terminal."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from optbench.catalogue import against_the_book
from optbench.comparison import Comparison, Drawn, Group, Response
from optbench.comparison.arrivals import RULE, at_points
from optbench.comparison.judged import RULE as JUDGED
from optbench.comparison.observations import RULE as DISTINCT
from optbench.comparison.tuned import RULE as TUNED
from optbench.errors import RecordError
from optbench.metrics import Estimate
from optbench.report import strips
from optbench.report.cells import (
    GAP,
    Sheet,
    column_widths,
    gap_within,
    narrowed,
    sheets,
    shown,
    side_by_side,
    with_column,
)
from optbench.report.failures import failure_lines
from optbench.report.verdicts import unfolded
from optbench.statistics import INTERVAL, MEDIAN, STATISTICS, Statistic
from optbench.statistics.numbers import printable

if TYPE_CHECKING:
    from rich.console import Console


_FORCED = {"FORCE_COLOR", "TTY_COMPATIBLE"}
"""Variables by which rich takes a pipe for a terminal."""


def footnotes(comparison: Comparison) -> list[str]:
    """The rules behind the numbers shown, and what a reader must know of these runs."""
    rules = [MEDIAN[0].upper() + MEDIAN[1:]]
    if any(group.distinct > 1 for group in comparison.groups):
        rules.append(INTERVAL)
    if comparison.pairs or comparison.unsought:
        rules.append(comparison.unsought or JUDGED)
    if comparison.hopeless:
        rules.append(comparison.hopeless)
    rules += _of_scores(comparison)
    if few := covering_less(comparison):
        said = [f"{share}: {', '.join(own)}" for share, own in few.items()]
        rules.append(f"{COVERING}. {'; '.join(said)}")
    if any(group.distinct < group.n for group in comparison.groups):
        rules.append(DISTINCT)
    found = [(one, groups) for groups in comparison.problems.values()
             for one in shown(groups, comparison.checkpoint, comparison.asked)]  # fmt: skip
    rules += dict.fromkeys(one.sentence for one, groups in found if one.noted or _of_some(one, groups))
    if not any(group.statistics["seconds"] for group in comparison.groups) and _of_batches(comparison):
        rules.append(STATISTICS["seconds"].sentence)  # why there is no such column
    if any(at_points(group.stopped_at) for group in comparison.groups):
        rules.append(RULE[0].upper() + RULE[1:])
    rules += [*_tuned(comparison), *_against_the_book(comparison), *comparison.notes, *_warned(comparison)]
    return [f"{rule}." for rule in rules]


def _tuned(comparison: Comparison) -> list[str]:
    found = [group for group in comparison.groups if group.tuned]
    several = len(comparison.problems) > 1
    lines = [f"{g.problem}: " * several + f"{g.label}: {g.tuned.in_words()}" for g in found if g.tuned]
    return [TUNED, *map(printable, lines)] if found else []


def _of_scores(comparison: Comparison) -> list[str]:
    if not comparison.scores:
        return []
    from optbench.comparison import across, within

    rules = {**across.RULES, **within.RULES}
    return [f"{name}: {rules[name]}" for name in dict.fromkeys(one.score for one in comparison.scores)]


_LEVEL = 0.95
"""What intervals are meant to cover; those that cover more than a hundredth less are named."""


def covering_less(comparison: Comparison) -> dict[str, list[str]]:
    """How often the intervals that cover less than others do, with their numbers of runs, and in which columns they are
    shown."""
    found: dict[str, list[Estimate | None]] = defaultdict(list)
    for groups in comparison.problems.values():
        for one in shown(groups, comparison.checkpoint, comparison.asked):
            found[one.title] += [group.statistics.get(one.name) for group in groups]
    for score in comparison.scores:
        found[score.score].append(score.estimate)
    titles: dict[str, list[str]] = defaultdict(list)
    for title, estimates in found.items():
        few = [(one.coverage, one.n) for one in estimates if one and one.coverage and one.coverage < _LEVEL - 0.01]
        if few:
            shares = dict.fromkeys(f"{100 * coverage:.3g}" for coverage, _ in (min(few), max(few)))
            sizes = sorted({n for _, n in few if n is not None})
            span = f" (n = {' to '.join(dict.fromkeys(map(str, (sizes[0], sizes[-1]))))})" if sizes else ""
            titles[f"{' to '.join(shares)} %{span}"].append(title)
    return dict(titles)


COVERING = (
    "Intervals that cover less than 95 %, since so few runs allow no more, or as measured on normal, skewed and "
    "heavy-tailed losses, the least of these"
)


def _warned(comparison: Comparison) -> list[str]:
    return [f"warning: {printable(said)}" for said in comparison.warnings]


def _against_the_book(comparison: Comparison) -> list[str]:
    """How torch's optimizers differ from the book's that stand beside them."""
    names = dict.fromkeys(str(group.keys.get("optimizer")) for group in comparison.groups)
    beside = [name for name in names if f"book_{name}" in names]
    first = {str(group.keys.get("optimizer")): group.rows.take(slice(0, 1)) for group in comparison.groups}
    found = {name: against_the_book(name, str(first[name].values("optimizer._target_")[0])) for name in beside}
    return [f"{name}: {differs}" for name, differs in found.items() if differs]


def _of_some(one: Statistic, groups: Sequence[Group]) -> bool:
    """Whether a statistic leaves out some runs."""
    found = [(group.statistics.get(one.name), group.of(one)) for group in groups]
    return any(estimate is None or estimate.n not in (None, n) for estimate, n in found)


def _of_batches(comparison: Comparison) -> bool:
    return any(not group.rows.own_clock().all() for group in comparison.groups)


def unreadable_lines(found: Comparison | Drawn | Response) -> list[str]:
    """What could not be read and is left out of every number; for standard error. Empty where all was read."""
    bad = found.unreadable
    if not bad:
        return []
    return [f"{len(bad)} could not be read and are left out:", *(f"  {printable(b.why)}" for b in bad)]


def text_lines(comparison: Comparison, signs: str = "") -> list[str]:
    """Aligned columns without colours or boxes, of any width; the best row of a problem starts with a star.

    Args:
        comparison: what to print.
        signs: of the curves in a last column, see `strips`; empty: without.
    """
    lines: list[str] = []
    for whole in sheets(comparison):
        sheet = _with_curves(whole, comparison, strips.WIDEST, signs) if signs and whole.problem else whole
        lines += [sheet.title, *aligned(sheet), *sheet.lines, ""]
    return [*lines, *footnotes(comparison), *([f"{_rule_of(signs)}."] if signs else [])]


def _with_curves(sheet: Sheet, comparison: Comparison, width: int, signs: str) -> Sheet:
    """The sheet of a problem with the curves of its configurations beside them, where there are any."""
    drawn = strips.strips(comparison.problems[sheet.problem], width, signs)
    return with_column(sheet, strips.HEADING, drawn) if any(drawn) else sheet


def _rule_of(signs: str) -> str:
    said = strips.rule(signs)
    return said[0].upper() + said[1:]


def aligned(sheet: Sheet) -> list[str]:
    """A sheet as aligned text: words to the left, numbers to the right; marks before the rows."""
    table = [sheet.header, *sheet.rows]
    widths = column_widths(sheet)
    lines = []
    for row, mark in zip(table, ("", *sheet.marks), strict=True):
        cells = [_place(cell, width, i in sheet.words) for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append(f"{mark:2}{(' ' * GAP).join(cells)}".rstrip())
    return lines


def _place(cell: str, width: int, words: bool) -> str:
    return cell.ljust(width) if words else cell.rjust(width)


def print_comparison(comparison: Comparison, console: Console | None = None, curves: bool | None = None) -> None:
    """Prints the tables and their rules: rich tables on a terminal, above them what did not end well; plain aligned
    text into a pipe or a file.

    Args:
        comparison: what to print.
        console: where to; None: standard output.
        curves: whether the loss of each configuration is drawn beside it; None: on a terminal with blocks, where there
            is room for it and at most `strips.MOST` configurations are compared.

    Raises:
        RecordError: curves that were asked for cannot be read.
    """
    if console is None and not (sys.stdout.isatty() or _FORCED & os.environ.keys()):  # rich need not be asked
        signs = strips.signs_for(sys.stdout.encoding) if curves else ""
        sys.stdout.write("\n".join(text_lines(comparison, signs)) + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    if not console.is_terminal:
        signs = strips.signs_for(console.encoding) if curves else ""
        console.file.write("\n".join(text_lines(comparison, signs)) + "\n")
        return
    for line in (bad := failure_lines(comparison)):
        console.print(Text(line, style="bold red" if line is bad[0] else "", no_wrap=True, overflow="ellipsis"))
    console.print(*[""] * bool(bad), end="\n" * bool(bad))
    signs, drawn = strips.signs_for(console.encoding), False
    every = [part for sheet in sheets(comparison) for part in side_by_side(sheet, console.width)]
    for whole in map(_marked, every):
        sheet, dropped = _fitted(whole, comparison, console.width, signs, curves)
        drawn |= strips.HEADING in sheet.header
        table = Table(
            title=Text(sheet.title) if sheet.title else None, title_justify="left", title_style="bold",
            header_style="dim", box=None, pad_edge=False, padding=(0, gap_within(sheet, console.width) or 1, 0, 0),
        )  # fmt: skip
        for i, name in enumerate(sheet.header):
            table.add_column(Text(name), justify="left" if i in sheet.words else "right", overflow="fold")
        for row, mark in zip(sheet.rows, sheet.marks, strict=True):
            table.add_row(*map(Text, row), style="bold" if mark == "*" else None)
        console.print(table)
        for line in sheet.lines:
            console.print(Text(line))
        if dropped:
            console.print(
                Text(f"too narrow for {', '.join(dropped)}; pipe the output or use --csv to see them", style="dim")
            )
        console.print()
    for line in [*footnotes(comparison), *([f"{_rule_of(signs)}."] if drawn else [])]:
        console.print(Text(line, style="dim"))


def _fitted(
    sheet: Sheet, comparison: Comparison, width: int, signs: str, curves: bool | None
) -> tuple[Sheet, list[str]]:
    """A sheet as wide as the terminal, and the columns that it is without; with curves as `print_comparison` has them:
    unasked only where no other column goes for them."""
    few = len(comparison.groups) <= strips.MOST and sum(group.n for group in comparison.groups) <= strips.MOST_RUNS
    unasked = few and signs == strips.BLOCKS
    if not sheet.problem or not (unasked if curves is None else curves):
        return narrowed(sheet, width)
    fitted, dropped = narrowed(sheet, width)
    tried, without = narrowed(sheet, width - strips.LEAST - 1)
    if (curves is None and without != dropped) or not gap_within(tried, width - strips.LEAST - 1):
        return fitted, dropped
    room = width - sum(column_widths(tried)) - len(tried.header)
    try:
        return _with_curves(tried, comparison, min(strips.WIDEST, room), signs), without
    except RecordError:
        if curves:
            raise
        return fitted, dropped  # the numbers are there without them


def _marked(sheet: Sheet) -> Sheet:
    """The sheet with the marks of what cannot be told from the best after the names."""
    rows = zip(sheet.rows, sheet.marks, strict=True)
    return replace(sheet, rows=tuple((name + _close(mark), *cells) for (name, *cells), mark in rows))


def _close(mark: str) -> str:
    return " ~" if mark == "~" else ""


def markdown_lines(found: Sequence[Sheet]) -> list[str]:
    """The sheets as Markdown tables; the best row of a problem is bold."""
    lines: list[str] = []
    for sheet in found:
        rule = ["---" if i in sheet.words else "---:" for i in range(len(sheet.header))]
        lines += [f"### {_escape(sheet.title)}", "", _row(sheet.header), _row(rule)]
        for (name, *others), mark in zip(sheet.rows, sheet.marks, strict=True):
            cells = [_escape(name) + _close(mark), *map(_escape, others)]
            lines.append(_row([f"**{cell}**" for cell in cells] if mark == "*" else cells))
        lines += ["", *(f"- {_escape(line)}" for line in unfolded(sheet.lines))] + [""] * bool(sheet.lines)
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    for sign in "\\|*_[]<`":
        text = text.replace(sign, "\\" + sign)
    return " ".join(text.split())
