"""Curves of configurations in a line of a table each: the loss of one run, all rows of a problem on the same axes.

Of a configuration it is the run whose final loss is the median of those that have a curve (of an even number the
better of the two), so one curve is read a row. A row ends where its run ended.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from optbench.comparison import Group
from optbench.comparison.learning import Series, loss_scale, series
from optbench.records import Run
from optbench.records.columns import Floats
from optbench.records.run import read_columns

BLOCKS = "▁▂▃▄▅▆▇█"
DIGITS = "12345678"
"""For an output whose encoding has no blocks."""
HEADING = "loss over steps"
MOST = 60
MOST_RUNS = 20_000
"""Configurations and runs of a comparison of which curves are read unasked."""
LEAST, WIDEST = len(HEADING), 24  # characters


def rule(signs: str) -> str:
    """What is seen, for the footnotes."""
    instead = "" if signs == BLOCKS else " (8 high, 1 low: this output's encoding has no blocks)"
    return (f"{HEADING}: of the run with the median final loss, one scale and the same steps for all rows of a "
            f"table{instead}")  # fmt: skip


def signs_for(encoding: str | None) -> str:
    """The signs that an output of this encoding has, the lowest first."""
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return DIGITS
    return BLOCKS


def strips(groups: Sequence[Group], width: int, signs: str) -> list[str]:
    """A line of at most `width` signs for each configuration of a problem; empty where no curve was recorded.

    Raises:
        RecordError: a table of curves that cannot be read.
    """
    runs = [_median_run(group) for group in groups]
    shown = [run for run in runs if run is not None]
    curves = read_columns(shown, ("step", "epoch", "loss"))
    scale = loss_scale([curve["loss"] for curve in curves if "loss" in curve])
    found = iter([series(run, curve, "loss", "step") for run, curve in zip(shown, curves, strict=True)])
    each = [(np.empty(0), np.empty(0)) if run is None else next(found) for run in runs]
    low, high = _span([values for _, values in each], scale.limits, scale.log)
    last = max((float(x[-1]) for x, _ in each if len(x)), default=0.0)
    return [_strip(one, last, width, (low, high), scale.log, signs) for one in each]


def _median_run(group: Group) -> Run | None:
    """The run of a group that is shown; None where none has a curve."""
    curved = np.flatnonzero(group.rows.has_curve())
    if not len(curved):
        return None
    known = group.rows.values("final_loss")
    ends = np.array([math.inf if known[i] is None else float(known[i]) for i in curved])
    order = np.argsort(np.where(np.isfinite(ends), ends, math.inf), kind="stable")
    place = int(curved[order[(len(order) - 1) // 2]])
    return group.rows.take(slice(place, place + 1)).runs()[0]


def _span(values: Sequence[Floats], limits: tuple[float, float] | None, log: bool) -> tuple[float, float]:
    """Between which losses the signs are, as they are shown."""
    if limits is None:
        known = np.concatenate([np.empty(0), *values])
        known = known[np.isfinite(known) & ((known > 0) | (not log))]
        limits = (float(known.min()), float(known.max())) if known.size else (1.0, 1.0)
    low, high = limits
    return (math.log10(low), math.log10(high)) if log else (low, high)


def _strip(
    one: Series, last: float, width: int, span: tuple[float, float], log: bool, signs: str
) -> str:  # fmt: skip
    """The last value of each of `width` equal stretches of the steps; a run that has no result ends above all."""
    x, values = one
    if not len(x):
        return ""
    edges = last * np.arange(1, width + 1) / width
    at = np.searchsorted(x, edges + 1e-9 * max(1.0, last), side="right") - 1
    first_after = int(np.searchsorted(edges, x[-1] * (1 - 1e-12), side="left"))  # the stretch in which it ended
    shown = values[np.maximum(at[: first_after + 1], 0)]
    low, high = span
    with np.errstate(divide="ignore"):
        height = np.log10(np.maximum(shown, 1e-300)) if log else shown
    level = np.clip((height - low) / ((high - low) or 1.0), 0.0, 1.0) * (len(signs) - 1)
    return "".join(signs[round(float(one))] for one in level)
