"""Verdicts on pairs in words, within the width of a terminal: of the best configuration, or of the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optbench.comparison import Comparison
from optbench.comparison.judged import Verdict, lost_words
from optbench.metrics import Estimate
from optbench.statistics import STATISTICS
from optbench.statistics.numbers import SHARES, interval, number, percent, printable

WIDTH = 80
_REST = "    "
"""Before the second line of a verdict."""
MOST = 4
"""Verdicts of a problem that are printed unasked."""


def verdict_lines(comparison: Comparison, problem: str) -> list[str]:
    """Lines of at most WIDTH characters, where names allow that: each verdict, and on what it rests."""
    shown = _every(comparison, problem) if comparison.question.every else of_interest(comparison, problem)
    most = len(shown) if comparison.question.asked else MOST
    lines = [line for one in shown[:most] for line in lines_of(one)]
    left = len(shown) - most
    return [*lines, *([f"{left} more verdict{'s' * (left != 1)}: --pairs"] if left > 0 else [])]


def _every(comparison: Comparison, problem: str) -> list[Verdict]:
    """All verdicts of a problem, each of the one that stands higher in the table on the one below it."""
    place = {group.label: i for i, group in enumerate(comparison.problems[problem])}
    mine = [one for one in comparison.pairs if one.problem == problem]
    if comparison.question.baseline is not None:
        return of_interest(comparison, problem)
    found = [one.seen_from(min(one.a, one.b, key=place.__getitem__)) for one in mine]
    return sorted(found, key=lambda one: (place[one.a], place[one.b]))


def of_interest(comparison: Comparison, problem: str) -> list[Verdict]:
    """The verdicts of a problem that a table shows, in its order: on the baseline and the others, else on the best."""
    mine = [one for one in comparison.pairs if one.problem == problem]
    if comparison.question.baseline is not None:
        return _ordered(mine, [group.label for group in comparison.problems[problem]])
    leader = comparison.leader(problem)
    own = [one.seen_from(leader.label) for one in mine if leader and leader.label in (one.a, one.b)]
    place = {group.label: i for i, group in enumerate(comparison.problems[problem])}
    return sorted(own, key=lambda one: place[one.b])


def _ordered(verdicts: Sequence[Verdict], labels: Sequence[str]) -> list[Verdict]:
    place = {label: i for i, label in enumerate(labels)}
    return sorted(verdicts, key=lambda one: place[one.a])


def lines_of(one: Verdict) -> list[str]:
    """A verdict in one line, or in two where it is too long for one."""
    said, told = map(printable, one.in_words())
    whole = f"{said}: {told}"
    return [whole] if len(whole) <= WIDTH else [f"{said}:", f"{_REST}{told}"]


def unfolded(lines: Sequence[str]) -> list[str]:
    """Lines of `lines_of` for what folds text itself: a verdict each."""
    found: list[str] = []
    for line in lines:
        if line.startswith(_REST) and found:
            found[-1] += f" {line.removeprefix(_REST)}"
        else:
            found.append(line)
    return found


def quoted(head: str, metric: str, of: Estimate, n: int) -> str:
    """How a sentence that a paper can quote begins: "adam, lr 0.1: final loss 0.02 [0.01, 0.05], n = 12".

    Args:
        head: what it is of.
        metric: a score.
        of: its estimate.
        n: number of runs.
    """
    share = metric in SHARES
    title = STATISTICS[metric].title.removesuffix(", %") if metric in STATISTICS else metric
    value, _, ends = interval(of, of.n or n, share=share).partition(" [")
    return f"{head}: {title} {value}{' %' * share}{f' [{ends}' * bool(ends)}, n = {n}"


def against(one: Verdict, metric: str) -> str:
    """How such a sentence goes on: how the first of a pair does against the second."""
    if one.verdict == "undecided":
        more = f" (another {one.more_seeds} seeds would decide)" * bool(one.more_seeds)
        return f"{one.b} cannot be told from it{more}"
    if one.verdict == "equivalent":
        return f"equivalent to {one.b} within {number(one.within)}"
    if not math.isfinite(one.effect.value):
        return f"{one.verdict} than {one.b} ({lost_words(one)})"
    share = metric in SHARES
    form = percent if share else number
    size, ends = form(abs(one.effect.value)), [one.effect.low, one.effect.high]
    span = ""
    if None not in ends and all(math.isfinite(end) for end in ends):  # type: ignore[arg-type]
        sign = 1 if one.effect.value >= 0 else -1
        low, high = sorted(sign * end for end in ends)  # type: ignore[operator]
        span = f" [{form(low)}, {form(high)}]"
    return f"{one.verdict} than {one.b} by {size}{' points' * share}{span}"
