"""Verdicts on pairs in words, within the width of a terminal: of the best configuration, or of the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from optbench.comparison import Comparison
from optbench.comparison.judged import Verdict
from optbench.statistics.numbers import printable

WIDTH = 80
MOST = 4
"""Verdicts of a problem that are printed unasked."""


def verdict_lines(comparison: Comparison, problem: str) -> list[str]:
    """Lines of at most WIDTH characters, where names allow that: each verdict, and on what it rests."""
    shown = of_interest(comparison, problem)
    most = len(shown) if comparison.question.asked else MOST
    lines = [line for one in shown[:most] for line in lines_of(one)]
    left = len(shown) - most
    return [*lines, *([f"{left} more verdict{'s' * (left != 1)}: --pairs"] if left > 0 else [])]


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
    return [whole] if len(whole) <= WIDTH else [f"{said}:", f"    {told}"]
