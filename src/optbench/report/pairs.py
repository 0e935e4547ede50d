"""A verdict on two configurations as a sentence that can be quoted, with its n."""

from __future__ import annotations

import math

from optbench.metrics.pairs import Pair
from optbench.report.cells import printable
from optbench.statistics.numbers import number

RULE = (
    "Verdicts: exact signed-rank tests of the seeds that both have (rank-sum tests where they share fewer than half), "
    "by Holm's procedure over all pairs shown, so that at most 5 % of such comparisons say anything false; a run "
    "without a result is the worst; differences are Hodges and Lehmann's, with 95 % intervals"
)


def sentence(pair: Pair, a: str, b: str, family: int, direction: int, share: bool = False) -> str:
    """The verdict in words: what is better, by how much, on how many seeds, and how sure that is.

    Args:
        pair: judged.
        a, b: names of the two.
        family: how many pairs were judged together.
        direction: what is better of the metric: 1 large values, -1 small ones.
        share: whether the metric is a share, whose differences are points of a percentage.
    """
    a, b = printable(a), printable(b)
    seeds = f"n = {pair.n} {'shared seeds' if pair.paired else 'runs each'}"
    sure = f"p = {_p(pair.p_adjusted)}{f' (Holm, {family} pairs)' if family > 1 else ''}"
    if pair.verdict == "undecided":
        return f"{a} and {b}: not enough evidence ({seeds}; {sure}{_more(pair)})"
    if pair.verdict == "equivalent":
        p = pair.p_equivalent_adjusted
        within = f"{number(100 * (pair.within or 0.0))} points" if share else number(pair.within)
        return f"{a} and {b} are equivalent within {within} ({seeds}; p = {_p(1.0 if p is None else p)})"
    if pair.verdict == "worse":
        a, b = b, a
    return f"{a} is better than {b}: {_effect(pair, direction, share)} ({seeds}; {sure})"


def _more(pair: Pair) -> str:
    if pair.more_seeds is None:
        return ""
    return f"; {pair.more_seeds} more seed{'s' * (pair.more_seeds != 1)} would decide if this is how they differ"


def _effect(pair: Pair, direction: int, share: bool) -> str:
    """By how much the better one is better, whatever the order of the two."""
    effect = pair.effect
    if not math.isfinite(effect.value):
        return "it has a result where the other has none"
    sign = direction if pair.verdict == "better" else -direction
    scale = 100 if share else 1
    ends = sorted(scale * sign * end for end in (effect.low, effect.high) if end is not None)
    interval = f" [{number(ends[0])}, {number(ends[1])}]" if len(ends) == 2 else ""
    unit = " points" if share else ""
    return f"{number(scale * sign * effect.value)}{interval}{unit} {'higher' if direction > 0 else 'lower'}"


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else f"{value:.0e}"
