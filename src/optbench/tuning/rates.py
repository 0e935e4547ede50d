"""Which learning rates of those that were tried work, and how much of the range that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optbench.metrics.tuned import share_within
from optbench.statistics.numbers import SHARES
from optbench.tuning.runs import Trial

RATE = "optimizer.lr"
WITHIN = 0.05
RULE = (
    "A learning rate works within 5 % of the best accuracy, or of the way from the start to the best loss, of the same "
    "contender; the share is of the range that was tried, on a logarithmic axis"
)


@dataclass(frozen=True)
class Works:
    """The learning rates of a contender that work.

    Attributes:
        low, high: the least and the largest that was tried and came within 5 % of its best.
        share: of the range that was tried, on a logarithmic axis, by interpolation.
        good, tried: how many do, of how many.
    """

    low: float
    high: float
    share: float
    good: int
    tried: int

    def in_words(self) -> str:
        """Such as `lr 0.001 to 0.1 works: 3 of 9 tried, 40 % of the range`."""
        rates = f"{self.low:.3g}" if self.low == self.high else f"{self.low:.3g} to {self.high:.3g}"
        return f"lr {rates} works: {self.good} of {self.tried} tried, {100 * self.share:.0f} % of the range"


def works(trials: Sequence[Trial], start: float | None, metric: str) -> Works | None:
    """Which learning rates work; None where fewer than two were tried or none has a result.

    An accuracy is to be within 5 % of the best one, a loss within 5 % of the way from the start to the best one, since
    losses come close to 0; where the start is not known, within 5 % of the best.

    Args:
        trials: of a contender, with runs of one length.
        start: the loss before the first update.
        metric: that the trials are judged by.
    """
    told = ((trial, trial.cost if math.isfinite(trial.value) else math.inf) for trial in trials)  # no result, no target
    known = [(_rate(trial.point), cost) for trial, cost in told if RATE in trial.point]
    rates, costs = [rate for rate, _ in known], [cost for _, cost in known]
    if len(set(rates)) < 2 or not any(map(math.isfinite, costs)):
        return None
    best, scale = min(costs), None
    if metric not in SHARES and start is not None and start > best:
        scale = start - best
    limit = best + WITHIN * (abs(best) if scale is None else scale)
    good = [rate for rate, cost in known if cost <= limit]
    return Works(min(good), max(good), share_within(rates, costs, WITHIN, scale), len(good), len(rates))


def _rate(point: dict[str, Any]) -> float:
    return float(point[RATE])
