"""Runtimes: what each run spent until it first reached each target, and the scores that are made of that.

A runtime is a cost in any one unit (updates, evaluations, seconds). inf says that the run ended before it reached the
target; it stays in every denominator. Arrays are runs by targets, (n, t), and every score is computed for all targets
at once; (n,) is one target.

The budget of a run enters where it failed: as money spent without a result (`ert`), or as a price that is a multiple of
it (`penalised`). `sp1` leaves it out, which makes restarting free of charge.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Estimate, Floats
from optbench.metrics.resampling import DRAWS, counted, of_means, percentiles, rows_in_order

PRECISIONS: Floats = 10.0 ** np.linspace(2, -8, 51)
"""The 51 distances to the minimum for which COCO draws its distributions of runtimes: 10^2, 10^1.8, ..., 10^-8."""


def first_hits(costs: npt.ArrayLike, values: npt.ArrayLike, offsets: npt.ArrayLike, targets: npt.ArrayLike) -> Floats:
    """The first recorded cost of each run whose value is at most each target, (n, t); inf where there is none.

    A value that is no number reaches nothing. Curves where more is better are given with their signs turned.

    Args:
        costs: (m,) of all curves one behind the other, not falling within a curve.
        values: (m,) beside them.
        offsets: (n + 1,) where each curve starts, and m; a curve may be empty.
        targets: (t,) in any order.

    Raises:
        ValueError: the arrays do not fit together, a cost falls or is no number, or a target is no number.
    """
    at, seen = np.asarray(costs, dtype=float), np.asarray(values, dtype=float)
    starts, levels = np.asarray(offsets, dtype=np.int64), np.atleast_1d(np.asarray(targets, dtype=float))
    _check_curves(at, seen, starts, levels)
    n, t = len(starts) - 1, len(levels)
    order = np.argsort(levels)[::-1]  # the easiest first
    # Number of targets that a value reaches, above that of all runs before: then one running maximum serves all curves,
    # and one sorted search finds every hit.
    reached = t - np.searchsorted(levels[order][::-1], seen, side="left")
    run = np.repeat(np.arange(n), np.diff(starts))
    best = np.maximum.accumulate(reached + run * (t + 1))
    wanted = np.arange(n)[:, None] * (t + 1) + np.arange(1, t + 1)
    place = np.searchsorted(best, wanted)
    found = np.where(place < starts[1:, None], np.append(at, np.inf)[np.minimum(place, len(at))], np.inf)
    hits = np.empty((n, t))
    hits[:, order] = found
    return hits


def _check_curves(at: Floats, seen: Floats, starts: npt.NDArray[np.int64], levels: Floats) -> None:
    if at.shape != seen.shape or at.ndim != 1 or starts.ndim != 1 or not len(starts):
        raise ValueError(f"{at.shape} costs, {seen.shape} values, {starts.shape} offsets")
    if starts[0] != 0 or starts[-1] != len(at) or (np.diff(starts) < 0).any():
        raise ValueError(f"offsets ascend from 0 to the number of rows, {len(at)}")
    falls = np.flatnonzero(~(at[1:] >= at[:-1])) + 1
    if not np.isin(falls, starts).all() or np.isnan(at).any():
        raise ValueError("costs are numbers that do not fall within a curve")
    if np.isnan(levels).any():
        raise ValueError("a target is a number")


def instance_repeats(instances: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """How often to count each run, (n,), so that every instance of a problem counts alike however many runs it has.

    The least common multiple of the numbers of runs, divided by that of the run's own instance: 1 where all are equal.

    Source: coco-postprocess, `DataSet.instance_multipliers` (balance_instances = True is its default).
    """
    _, where, sizes = np.unique(np.asarray(instances), return_inverse=True, return_counts=True)
    return np.asarray((np.lcm.reduce(sizes) // sizes)[where], dtype=np.int64)


def ert(hits: npt.ArrayLike, ends: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Floats:
    """Expected running time to each target: cost spent by all runs / number of those that succeeded, (t,).

    ERT = (sum of the runtimes + sum of the lengths of the runs that failed) / successes; inf without a success. It is
    the expected cost of restarting until a success. Runs of 100, 150 that hit and 400, 400 that did not: 525.

    Args:
        hits: (n, t) or (n,) runtimes; inf or NaN for a run that did not hit.
        ends: (n,) costs at which the runs ended.
        weights: (n,) of the runs: `instance_repeats` for COCO's balanced instances; None: equal.

    Source: N. Hansen et al., COCO: Performance Assessment, arXiv:1605.03560, section 4.
    """
    runtimes, lengths = _runs(hits, ends)
    weight = np.ones(len(lengths)) if weights is None else np.asarray(weights, dtype=float)
    return np.asarray(_ert(weight[None], runtimes, lengths)[0])


def _ert(weight: Floats, runtimes: Floats, lengths: Floats) -> Floats:
    """ERT of every row of weights, (b, n), to every target, (b, t)."""
    reached = np.isfinite(runtimes)
    spent = weight @ np.where(reached, runtimes, lengths[:, None])
    successes = weight @ reached.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(successes > 0, spent / successes, np.inf))


def ert_intervals(hits: npt.ArrayLike, ends: npt.ArrayLike, level: float = 0.95, draws: int = DRAWS) -> list[Estimate]:
    """`ert` to each of t targets, with a percentile bootstrap interval over runs; infinite where resamples are.

    Args:
        hits, ends: as in `ert`.
        level: nominal coverage.
        draws: number of resamples.
    """
    runtimes, lengths = _runs(hits, ends)
    runtimes, lengths = rows_in_order(np.where(np.isfinite(runtimes), runtimes, np.inf), lengths)
    samples = _ert(counted(len(lengths), draws), runtimes, lengths)
    found, n = _ert(np.ones((1, len(lengths))), runtimes, lengths)[0], len(lengths)
    return percentiles(found, samples, level, n, measured=of_means(max(n, 2), level))


def penalised(hits: npt.ArrayLike, budget: npt.ArrayLike, k: float = 10.0) -> Floats:
    """Penalised average runtime to each target, (t,): a run that failed counts as k times its budget (PAR-k).

    Args:
        hits: (n, t) or (n,) runtimes; inf or NaN for a run that did not hit.
        budget: what a run was allowed, one number or (n,): not where it ended if it ended early.
        k: 10 and 2 are usual.

    Source: F. Hutter et al., ParamILS, J. Artif. Intell. Res. 36 (2009) 267 (PAR10).
    """
    runtimes, allowed = _runs(hits, budget)
    return np.asarray(np.where(np.isfinite(runtimes), runtimes, k * allowed[:, None]).mean(axis=0))


def sp1(hits: npt.ArrayLike) -> Floats:
    """Success performance 1 to each target, (t,): mean runtime of the runs that succeeded / their share; inf without.

    Source: A. Auger and N. Hansen, Performance evaluation of an advanced local search evolutionary algorithm, Proc. CEC
    (2005) 1777.
    """
    runtimes, _ = _runs(hits, 0.0)
    reached = np.isfinite(runtimes)
    successes = reached.sum(axis=0)
    total = np.where(reached, runtimes, 0.0).sum(axis=0) * len(runtimes)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(successes > 0, total / successes**2, np.inf))


def _runs(hits: npt.ArrayLike, ends: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Runtimes as (n, t) and what stands beside each run as (n,)."""
    runtimes = np.asarray(hits, dtype=float)
    runtimes = runtimes[:, None] if runtimes.ndim == 1 else runtimes
    if runtimes.ndim != 2 or not len(runtimes):
        raise ValueError(f"runtimes of at least one run, (n, t) or (n,), not {np.shape(hits)}")
    beside = np.asarray(ends, dtype=float)
    if beside.shape not in [(), (len(runtimes),)] or not np.isfinite(beside).all():
        raise ValueError(f"one finite cost for each of {len(runtimes)} runs, not {beside.shape}")
    return runtimes, np.broadcast_to(beside, len(runtimes))
