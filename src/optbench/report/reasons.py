"""Why a comparison says what it says: of each pair in question the runs, the rule, the test, p and how it was adjusted,
the effect, and what would decide. The rules by themselves are `comparison.rules`."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from optbench.comparison import Comparison, Group
from optbench.comparison.judged import Verdict, effect_text, lost_words, p_text
from optbench.errors import UserError
from optbench.metrics.multiplicity import EXHAUSTIVE, MANY
from optbench.report.verdicts import WIDTH, of_interest
from optbench.statistics import STATISTICS
from optbench.statistics.numbers import SHARES, interval, number, printable

MOST = 10
"""Pairs of a problem that are explained where none is named and --pairs is not asked for."""


def reasons(found: Comparison, names: Sequence[str] = (), every: bool = False) -> list[str]:
    """Lines of at most WIDTH characters.

    Args:
        found: with its verdicts.
        names: one or two configurations, by name or that of their optimizer: pairs of others are left out.
        every: whether all pairs in question are explained, however many.

    Raises:
        UserError: there is no such configuration, or no pair to explain.
    """
    asked = [_labels(found, name) for name in names]
    if len(asked) > 2:
        raise UserError(f"--explain: {len(names)} configurations", "name one, or the two of a pair")
    lines: list[str] = []
    for problem in found.problems:
        own = _asked(found, problem, asked)
        if own or not names:
            lines += [*_of_problem(found, problem, own if every or names else own[:MOST]), ""]
            left = 0 if every or names else len(own) - MOST
            lines += [f"{left} more pairs: --pairs, or name two configurations", ""] if left > 0 else []
    if not lines:
        judged = f" against {found.question.baseline}" if found.question.baseline else ""
        raise UserError(f"--explain: no pair of {' and '.join(names)} was judged{judged}", "see the verdicts: --pairs")
    return lines[:-1]


def _labels(found: Comparison, name: str) -> set[str]:
    """The labels that a name may mean."""
    labels = {group.label for group in found.groups if group.label == name}
    labels |= {group.label for group in found.groups if group.keys.get("optimizer") == name} if not labels else set()
    if not labels:
        known = list(dict.fromkeys(group.label for group in found.groups))
        more = " ..." * (len(known) > 6)
        raise UserError(f"--explain {name}: no path, rule or configuration of that name",
                        f"configurations: {', '.join(known[:6])}{more}")  # fmt: skip
    return labels


def _asked(found: Comparison, problem: str, asked: Sequence[set[str]]) -> list[Verdict]:
    if not asked:
        return of_interest(found, problem)
    mine = [one for one in found.pairs if one.problem == problem]
    if len(asked) == 1:
        return [one.seen_from(one.a if one.a in asked[0] else one.b) for one in mine if {one.a, one.b} & asked[0]]
    first, second = asked
    return [
        one if one.a in first and one.b in second else one.seen_from(one.b)
        for one in mine
        if (one.a in first and one.b in second) or (one.b in first and one.a in second)
    ]


def _of_problem(found: Comparison, problem: str, pairs: Sequence[Verdict]) -> list[str]:
    groups = found.problems[problem]
    if not pairs:
        why = found.unsought or ("there is one configuration" if len(groups) == 1 else "nothing was judged")
        return _wrapped(f"{problem}: {why}", "")
    metric = STATISTICS[pairs[0].metric]
    better = "small" if metric.direction < 0 else "large"
    head = f"{problem}: {len(groups)} configurations, ranked by {metric.title.removesuffix(', %')}"
    lines = _wrapped(f"{head}: {metric.rule}; {better} is better.", "")
    lines += _wrapped(_family(found, problem, pairs[0]), "")
    lines += _wrapped(f"{found.hopeless}.", "") if found.hopeless else []
    by_label = {group.label: group for group in groups}
    for one in pairs:
        lines += ["", *_of_pair(found, one, by_label[one.a], by_label[one.b])]
    return lines


def _family(found: Comparison, problem: str, one: Verdict) -> str:
    question, pairs = found.question, one.family
    together = "the one pair that was judged" if pairs == 1 else f"{pairs} pairs judged together"
    if pairs == 1:
        return f"Rule: {together}; nothing to adjust for, alpha = {question.alpha:g}."
    return (
        f"Rule: {together}, p adjusted by {_procedure(found, problem, pairs)}, so that the chance of any false verdict "
        f"among them is at most alpha = {question.alpha:g}."
    )


def _procedure(found: Comparison, problem: str, pairs: int) -> str:
    if found.question.within is not None:
        return "Holm's steps, over differences and equivalences alike"
    if found.question.baseline is not None:
        return "Holm's procedure, as all are held against one"
    if len(found.problems[problem]) <= EXHAUSTIVE and pairs <= MANY:
        return "Bergmann and Hommel's procedure"
    return "Shaffer's procedure"


def _of_pair(found: Comparison, one: Verdict, a: Group, b: Group) -> list[str]:
    heads = {"undecided": f"{one.a} and {one.b}: not enough evidence"}
    heads["equivalent"] = f"{one.a} and {one.b} are equivalent within {number(one.within)}"
    head = heads.get(one.verdict, f"{one.a} is {one.verdict} than {one.b}")
    parts = {
        "runs": f"{_runs(one, a)}; {_runs(one, b)}",
        "test": _test(found, one, a, b),
        "p": _p(found, one),
        "effect": _effect(one),
        "to decide": _needed(one),
    }
    lines = _wrapped(head, "")
    for name, text in parts.items():
        if text:
            lines += _wrapped(text, f"  {name:<10}")
    return lines


def _wrapped(text: str, begin: str) -> list[str]:
    """The text below itself, behind what it begins with."""
    behind = " " * len(begin) or "  "
    return textwrap.wrap(printable(text), WIDTH, initial_indent=begin, subsequent_indent=behind,
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def _runs(one: Verdict, group: Group) -> str:
    """How many runs a configuration has, how they ended, and what they are worth."""
    ended = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in group.n_by_status.items() if n)
    copies = "" if group.distinct == group.n else f", of which {group.distinct} distinct"
    value = interval(group.statistics[one.metric], group.distinct, share=one.metric in SHARES)
    chosen = f", {group.tuned.in_words()}" if group.tuned else ""
    share = " %" * (one.metric in SHARES)
    return f"{group.label}: {group.n} ({ended}){copies}, median {value}{share}{chosen}"


def _test(found: Comparison, one: Verdict, a: Group, b: Group) -> str:
    if one.test == "none":
        return "none: one of them has no run to compare"
    if one.test == "bets":
        return f"bets on {one.n} pairs of runs, which hold though seeds are added and looked at (--anytime)"
    wins = one.beats.value * one.n if one.beats and one.test == "signed-rank" else None
    if wins is not None:
        ahead = f"{one.a} is ahead on {number(wins)} of them (ties are halves)"
        return f"signed-rank test of the {one.n} seeds that both have: {ahead}"
    seeds = [set(group.rows.numbers("seed").tolist()) for group in (a, b)]
    shared = len(seeds[0] & seeds[1])
    if 2 * shared >= max(map(len, seeds)):
        least = p_text(2.0 ** (1 - shared))
        why = f"{shared} shared seeds could not decide among {one.family} pairs, the least p by seeds being {least}"
    else:
        why = f"they share {shared} seeds, fewer than half"
    often = f"; a run of {one.a} is better than one of {one.b} with probability {number(one.beats.value)}" \
        if one.beats else ""  # fmt: skip
    return f"rank-sum test of runs, since {why}{often}"


def _p(found: Comparison, one: Verdict) -> str:
    alpha = found.question.alpha
    side = "at most" if one.p_adjusted <= alpha else "above"
    adjusted = "" if one.family == 1 and one.p_equivalent is None else f", adjusted {p_text(one.p_adjusted)}"
    text = f"{p_text(one.p)} two-sided{adjusted}: {side} alpha = {alpha:g}"
    if one.p_equivalent is None:
        return text
    same = "at most" if one.p_equivalent <= alpha else "above"
    return f"{text}; of a difference of {number(one.within)} or more, adjusted {p_text(one.p_equivalent)}: {same} alpha"


def _effect(one: Verdict) -> str:
    if one.test == "none":
        return ""
    level = "" if one.effect.coverage is None else f", {100 * one.effect.coverage:.3g} %"
    if not math.isfinite(one.effect.value):
        size = effect_text(one.effect, one.metric)
        return f"{one.a} - {one.b} has no size: {lost_words(one)}{f'; {size}{level}' * bool(size)}, for this pair alone"
    size = f"{one.a} - {one.b} = {effect_text(one.effect, one.metric)}{level}"
    return f"{size}, by Hodges and Lehmann, for this pair alone"


def _needed(one: Verdict) -> str:
    if one.verdict != "undecided":
        return "it is decided"
    if one.more_seeds is None:
        return "no number of further seeds is foreseen to: there is no effect to find, or a seed changes nothing"
    return f"another {one.more_seeds} seeds of both, in 9 of 10 cases, if the effect is as it seems"
