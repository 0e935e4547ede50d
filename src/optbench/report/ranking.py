"""A ranking in words: a sentence that a paper can quote, and a table of which configurations cannot be told apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from optbench.comparison.judged import p_words
from optbench.comparison.ranked import Place, Ranking
from optbench.report.cells import Sheet
from optbench.report.tables import aligned
from optbench.report.verdicts import against, quoted
from optbench.statistics import STATISTICS
from optbench.statistics.numbers import SHARES, interval, number, printable

_EACH = 3
"""Configurations that a sentence names one by one."""
RULE = (
    "not told from: the places of those whose difference is not significant at {alpha}, by the verdicts on all pairs "
    "(compare --explain pairs)"
)
RULE_OVER = (
    "rank: mean over problems of the rank of the median over seeds; not told from: places whose average ranks differ "
    "by less than Nemenyi's critical difference at {alpha}, {difference}; Friedman's test that no two differ: {p}"
)


def sentence(found: Ranking) -> str:
    """The ranking in a sentence, with n, the interval of the best one, and what cannot be told from it."""
    return printable(_over(found) if found.difference is not None else _on(found))


def _on(found: Ranking) -> str:
    best = found.places[0]
    if not math.isfinite(best.value.value):
        most = " in more than half of its runs" if max(one.n for one in found.places) > 1 else ""
        title = STATISTICS[found.metric].title.removesuffix(", %")
        return f"{found.problems[0]}: none ranks first: no configuration has a finite {title}{most}"
    head = quoted(f"{found.problems[0]}: {best.label}", found.metric, best.value, best.n)
    if not found.verdicts:
        return f"{head}; no pair was judged"
    better = [one for one in found.verdicts if one.verdict == "better"]
    untold = [one for one in found.verdicts if one.verdict == "undecided"]
    others = [one for one in found.verdicts if one.verdict not in ("better", "undecided")]
    told = [against(one, found.metric) for one in others]
    if len(better) <= _EACH:
        told += [against(one, found.metric) for one in better]
    else:
        told.append(f"better than {_named([one.b for one in better])}")
    if len(untold) <= _EACH:
        told += [against(one, found.metric) for one in untold]
    else:
        told.append(f"{_named([one.b for one in untold])} cannot be told from it")
    largest = max((one.p_adjusted for one in better), default=None)
    level = "" if largest is None else f" ({p_words(largest, '<=')}, adjusted for {found.family} pairs)"
    return "; ".join([head, *told]) + level


def _over(found: Ranking) -> str:
    best, others = found.places[0], found.places[1:]
    rank = f"average rank {number(best.value.value)} of {len(found.places)}"
    least, most = found.runs or (best.n, best.n)
    runs = f"{least} run{'s' * (least != 1)}" if least == most else f"{least} to {most} runs"
    head = f"over {len(found.problems)} problems, n = {runs} of each: {best.label} ranks first ({rank})"
    if found.p is not None and found.p > found.alpha:
        return f"{head}, but no two can be told apart (Friedman's test, {p_words(found.p)})"
    told = []
    if best.worse:
        named = _named([f"{one.label} ({number(one.value.value)})" for one in others if one.label in best.worse])
        told.append(f"ahead of {named} by more than the critical difference {number(found.difference)}")
    if best.untold:
        named = _named([f"{one.label} ({number(one.value.value)})" for one in others if one.label in best.untold])
        told.append(f"{named} cannot be told from it")
    level = f" (Nemenyi, {100 * found.alpha:g} %; Friedman {p_words(found.p or 0.0)})"
    return "; ".join([head, *told]) + level


def _named(labels: Sequence[str]) -> str:
    if len(labels) > _EACH:
        more = len(labels) - _EACH
        return f"{', '.join(labels[:_EACH])} and {more} other{'s' * (more != 1)}"
    return " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)


def ranking_lines(found: Ranking) -> list[str]:
    """The sentence, the table and its rule."""
    level = f"{100 * found.alpha:g} %"
    rule = RULE.format(alpha=level)
    if found.difference is not None:
        rule = RULE_OVER.format(alpha=level, difference=number(found.difference), p=p_words(found.p or 0.0))
    return [f"{sentence(found)}.", "", *aligned(_sheet(found)), "", f"{rule}."]


def _sheet(found: Ranking) -> Sheet:
    share = found.metric in SHARES
    title = "rank" if found.difference is not None else STATISTICS[found.metric].title
    place = {one.label: one.place for one in found.places}
    rows = tuple(
        (
            printable(one.label),
            str(one.place),
            str(one.n),
            interval(one.value, one.n, share=share),
            _places([place[label] for label in one.untold], one),
        )
        for one in found.places
    )
    header = ("configuration", "place", "n", title, "not told from")
    first = tuple(one.place == 1 and math.isfinite(one.value.value) for one in found.places)
    return Sheet("", header, rows, first, words=(0, 4))


def _places(places: Sequence[int], own: Place) -> str:
    """Places as people write them: "2, 4-7"; "-" where there are none."""
    parts = []
    for _, run in itertools.groupby(enumerate(sorted(set(places))), key=lambda pair: pair[1] - pair[0]):
        numbers = [place for _, place in run]
        parts.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return ", ".join(parts) if own.untold else "-"
