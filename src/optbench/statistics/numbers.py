"""Numbers as people read them: four significant digits, powers of ten where small or large, "-" where there is none."""

from __future__ import annotations

import math

from optbench.metrics import Estimate

SHARES = frozenset({"best_val_accuracy", "val_accuracy"})
"""Scores that are read as percentages."""


def number(value: float | None) -> str:
    """Four significant digits; three and a power of ten below 0.001 and from 100,000 on; whole numbers in full."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal; "-" where there is none (a run without a result)."""
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.1f}"


def alone(found: Estimate | None, n: int) -> str:
    """The value without its interval, and of how many of the n runs it is where not of all."""
    if found is None:
        return "-"
    return number(found.value) if found.n in (n, None) else f"{number(found.value)} ({found.n} of {n})"


def interval(found: Estimate | None, n: int, *, share: bool = False) -> str:
    """`value [low, high]`; the value alone where there is no interval, one run, or nothing but one number.

    Args:
        found: the statistic; None where it does not apply.
        n: number of runs.
        share: whether to print percentages.
    """
    if found is None:
        return "-"
    form = percent if share else number
    value = form(found.value)
    if n < 2 or found.low is None or found.high is None or found.low == found.high:
        return value
    return f"{value} [{form(found.low)}, {form(found.high)}]"


def printable(text: str) -> str:
    """The text with "?" for what a terminal would obey: names come from files that anyone may have written."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
