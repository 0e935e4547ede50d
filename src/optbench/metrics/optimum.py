"""Where a curve over a positive setting, such as the learning rate, is least, and how sure that is.

The curve is the median over seeds at each value that was tried. Its least value and the two beside it have a parabola
in the logarithm of the setting, whose vertex is the optimum; at an end of what was tried, or beside a value that
diverged, the value itself is. The interval is that of the bootstrap over seeds (95 %, percentiles), and reaches at
least half a step to both sides, since between two tried values only the parabola speaks; at an end of what was tried it
is open to that side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optbench.metrics.estimates import Floats

DRAWS = 2000
RULE = (
    "optimum: vertex of the parabola in the logarithm through the least median over seeds and its two neighbours; "
    "interval: 95 % bootstrap over seeds, at least half a step to both sides, open at an end of what was tried"
)


@dataclass(frozen=True)
class Optimum:
    """The value at which a curve is least.

    Attributes:
        value, low, high: the optimum and its interval, whose ends are 0 or infinite at an edge.
        at: place of the least value that was tried.
        least: what the curve is there.
        edge: "low" or "high" where the least value is the first or the last that was tried, so that the optimum may
            lie beyond; else None.
        draws: optima of the bootstrap, (DRAWS,).
        n: seeds.
    """

    value: float
    low: float
    high: float
    at: int
    least: float
    edge: str | None
    draws: Floats
    n: int


@dataclass(frozen=True)
class Shift:
    """By which factor an optimum moved, with its interval; `told`: whether that excludes 1."""

    factor: float
    low: float
    high: float

    @property
    def told(self) -> bool:
        """Whether the interval excludes 1."""
        return not self.low <= 1.0 <= self.high


def optimum(values: Sequence[float], losses: Floats, seed: int = 0) -> Optimum | None:
    """The optimum of a curve; None where no value has a median that is finite.

    Args:
        values: positive, ascending, (k,).
        losses: small is good, infinite without a result, (seeds, k).
        seed: of the bootstrap.
    """
    logs, n = np.log(np.asarray(values, dtype=np.float64)), len(losses)
    curve = np.median(losses, axis=0)
    if not np.isfinite(curve).any():
        return None
    found = _vertices(logs, curve[None])[0]
    drawn = np.random.default_rng(seed).integers(0, n, (DRAWS, n))
    curves = np.median(losses[drawn], axis=1)
    curves[~np.isfinite(curves).any(axis=1)] = curve  # a draw of seeds that all diverged says nothing of where
    draws = _vertices(logs, curves)
    at = int(np.argmin(curve))
    steps = np.diff(logs)
    below, above = (steps[max(at - 1, 0)], steps[min(at, len(steps) - 1)]) if len(steps) else (0.0, 0.0)
    low, high = np.percentile(draws, [2.5, 97.5])
    edge = "low" if at == 0 else "high" if at == len(curve) - 1 else None
    ends = [min(low, found - below / 2), max(high, found + above / 2)]
    if edge is not None:
        ends[edge == "high"] = math.copysign(math.inf, (edge == "high") - 0.5)
    best, low, high = (float(np.exp(one)) for one in (found, *ends))
    return Optimum(best, low, high, at, float(curve[at]), edge, np.exp(draws), n)


def shift(before: Optimum, after: Optimum) -> Shift:
    """By which factor the optimum is another after than before; its interval is made of the ends of both."""
    high = after.high / before.low if before.low > 0.0 else math.inf
    return Shift(after.value / before.value, after.low / before.high, high)


def _vertices(logs: Floats, curves: Floats) -> Floats:
    """The optimum of each curve on the logarithmic axis, (m,); curves are (m, k)."""
    rows, at = np.arange(len(curves)), np.argmin(np.where(np.isnan(curves), np.inf, curves), axis=1)
    found: Floats = logs[at].copy()
    inside = (at > 0) & (at < len(logs) - 1)
    rows, middle = rows[inside], at[inside]
    left, here, right = (curves[rows, middle + i] for i in (-1, 0, 1))
    a, b = logs[middle] - logs[middle - 1], logs[middle + 1] - logs[middle]
    with np.errstate(invalid="ignore", divide="ignore"):
        rise, fall = (right - here) / b, (left - here) / a
        moved = (fall * b - rise * a) / (2 * (rise + fall))  # of the parabola through the three
    fits = np.isfinite(moved)
    found[rows[fits]] += np.clip(moved[fits], -a[fits] / 2, b[fits] / 2)
    return found
