"""Times to a target over several problems: who is how many times slower than the fastest, and how often.

Times are configurations by problems, (s, p); inf says that the target was not reached. These scores are relative:
another configuration in the table changes the ratios of all, so what was compared belongs beside the number.

AlgoPerf's written rule (`algoperf`) and its program (`algoperf_code`) differ, and both are here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from optbench.metrics.ecdf import Ecdf, ecdf
from optbench.metrics.estimates import Estimate, Floats
from optbench.metrics.resampling import DRAWS, drawn, of_profiles, of_ratios, percentiles, stream
from optbench.metrics.runtimes import first_hits

Curves = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]
"""Costs, values and offsets of several runs, as `runtimes.first_hits` takes them."""


def ratios(times: npt.ArrayLike, reference: int | None = None) -> Floats:
    """Each time / the least one of its problem, or that of one configuration, (..., s, p).

    A problem that nobody solves has the ratio inf for all. One that the reference does not solve has the ratio 0 for
    those who do, and inf for the others. Two times of 0 have the ratio 1.

    Raises:
        ValueError: a time is negative or no number, or there are none.
    """
    given = np.asarray(times, dtype=float)
    if given.ndim < 2 or not given.size or not (given >= 0).all():
        raise ValueError(f"times of configurations by problems, from 0 on, not {given.shape}")
    best = given.min(axis=-2, keepdims=True) if reference is None else given[..., [reference], :]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(given == best, 1.0, given / best)
    return np.where(np.isinf(given), np.inf, found)


def performance_profile(times: npt.ArrayLike) -> list[Ecdf]:
    """Of each configuration, the share of problems that it solves within tau times the least time, by tau.

    rho_s(tau) = |{problems p: t_sp / min_s t_sp <= tau}| / (number of problems).

    Args:
        times: (s, p).

    Source: E. D. Dolan and J. J. More, Math. Program. 91 (2002) 201.
    """
    return [ecdf([row]) for row in ratios(times)]


def algoperf(times: npt.ArrayLike, r_max: float = 4.0, reference: int | None = None) -> Floats:
    """AlgoPerf's benchmark score of each configuration, (..., s), by its closed form.

    B_s = integral from 1 to r_max of rho_s(tau) dtau / (r_max - 1) = mean over problems of
    max(0, r_max - max(1, r_sp)) / (r_max - 1), r the ratio to the fastest (or to the reference). 1 is the fastest on
    every problem, 0 none within r_max. Of several studies of a problem, a time is the median, inf among them; of
    several trials in a study, the least.

    Args:
        times: (..., s, p).

    Source: G. E. Dahl et al., Benchmarking Neural Network Training Algorithms, arXiv:2306.07179, section 4.5.
    """
    within = np.clip(r_max - np.maximum(ratios(times, reference), 1.0), 0.0, None)
    return np.asarray(within.mean(axis=-1) / (r_max - 1))


def algoperf_intervals(
    times: Sequence[Sequence[npt.ArrayLike]], r_max: float = 4.0, level: float = 0.95, draws: int = DRAWS
) -> list[Estimate]:
    """`algoperf` of medians over seeds, each with a bootstrap interval over seeds within configurations and problems.

    Args:
        times: of s configurations, of p problems in the same order, one time a seed.
    """
    s, p = len(times), len(times[0]) if times else 0
    if not p or any(len(own) != p for own in times):
        raise ValueError("times of every configuration on every problem")
    cells = [[np.sort(np.asarray(seeds, dtype=float)) for seeds in own] for own in times]
    problems = sorted(range(p), key=lambda j: sorted(own[j].tolist() for own in cells))
    random = stream()
    samples, values = np.empty((draws, s, p)), np.empty((s, p))
    for k, j in enumerate(problems):
        for i in sorted(range(s), key=lambda i: cells[i][j].tolist()):
            seeds = cells[i][j]
            samples[:, i, k] = np.median(seeds[drawn(random, len(seeds), draws)], axis=1)
            values[i, k] = np.median(seeds)
    scores, resampled = algoperf(values, r_max), algoperf(samples, r_max)
    found: list[Estimate] = []
    for i, own in enumerate(cells):
        n = sum(len(seeds) for seeds in own)
        covers = of_profiles(min(len(seeds) for other in cells for seeds in other), level)
        found += percentiles(scores[i], resampled[:, [i]], level, n, strata=p, covers=covers, expanded=False)
    return found


def algoperf_trial(rows: npt.ArrayLike, times: npt.ArrayLike) -> float:
    """The time of a study as AlgoPerf's program takes it: of the trial that hits at the earliest *evaluation*.

    Another trial may have hit at a later evaluation and an earlier time; of equal evaluations the first trial counts.

    Args:
        rows: (trials,) number of the evaluation at which each first reached the target; inf for none.
        times: (trials,) its time.

    Source: mlcommons/algorithmic-efficiency at 2c90454, `scoring/performance_profile.py`, get_best_trial_index.
    """
    at = np.asarray(rows, dtype=float)
    first = int(np.argmin(at))
    return float(np.asarray(times, dtype=float)[first]) if math.isfinite(at[first]) else math.inf


def algoperf_code(
    times: npt.ArrayLike, max_tau: float = 4.0, reference: int | None = None, workloads: int | None = None
) -> Floats:
    """AlgoPerf's score of each configuration as its program computes it, (s,).

    1. A time is numpy's median over studies: one miss in the middle pair of an even number makes it inf; no number
       among them makes it no number, which is never reached.
    2. A time above 4 times the best of its problem becomes inf, whatever max_tau and reference are.
    3. It is divided by the best, or by the reference's; inf / inf stays inf; a finite time / inf is 0: solved.
    4. The profile is read at 100 equidistant tau from 1 to max_tau, with a constant number of problems as
       denominator, summed by the trapezoidal rule and divided by max_tau - 1.

    Args:
        times: (s, p, studies), inf for a miss.
        max_tau: 4 in the program's command.
        reference: the configuration to divide by; None: the fastest on each problem.
        workloads: the denominator; 8 in the program; None: p, so that a partial set can reach 1.

    Source: mlcommons/algorithmic-efficiency at 2c90454, `scoring/performance_profile.py`.
    """
    given = np.asarray(times, dtype=float)
    if given.ndim != 3 or not given.size:
        raise ValueError(f"times of configurations by problems by studies, not {given.shape}")
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.median(given, axis=2)
        best = np.where(np.isnan(found), np.inf, found).min(axis=0)
        found = np.where(found > 4 * best, np.inf, found)
        divided = found / (best if reference is None else found[reference])
    ratio = np.where(np.isnan(divided), found, divided)
    taus = np.linspace(1.0, max_tau, 100)
    solved = (ratio[:, :, None] <= taus).sum(axis=1) / (workloads or given.shape[1])
    steps = np.diff(taus)
    return np.asarray(((solved[:, 1:] + solved[:, :-1]) / 2 * steps).sum(axis=1) / (max_tau - 1))


def speed_up(times: npt.ArrayLike, reference: npt.ArrayLike, budgets: npt.ArrayLike) -> float:
    """Geometric mean over problems of (time of the reference / time): 2 is twice as fast.

    A miss counts as the budget of its problem and 1 second. AlgoPerf's program prints the inverse of this.

    Args:
        times, reference: (p,), inf for a miss.
        budgets: (p,) or one number: what a run was allowed.

    Source: AlgoPerf's rules of scoring; `scoring/compute_speedups.py` at 2c90454.
    """
    ours, theirs = np.asarray(times, dtype=float), np.asarray(reference, dtype=float)
    if ours.shape != theirs.shape or ours.ndim != 1 or not len(ours):
        raise ValueError(f"times of the same problems, not {ours.shape} and {theirs.shape}")
    missed = np.broadcast_to(np.asarray(budgets, dtype=float) + 1, ours.shape)
    ours, theirs = (np.where(np.isfinite(t), t, missed) for t in (ours, theirs))
    return math.exp(float(np.sort(np.log(theirs) - np.log(ours)).mean()))


def share_of_cost(ours: Curves, baseline: Curves, level: float = 0.95, draws: int = DRAWS) -> Estimate:
    """The x of "reaches the baseline's final value at x of its cost": below 1 where ours is faster, inf for never.

    x = (median over our runs of the cost at which a run first is at the median final value of the baseline)
    / (median cost of the baseline's runs). Runs of both are resampled, the target with them; the interval says how
    often such are found to cover (`resampling.of_ratios`).

    Args:
        ours, baseline: curves of runs in which less is better; each has at least one row.

    Raises:
        ValueError: there are no runs, a run has no row, or the baseline's median final value is infinite.
    """
    return shares_of_cost([ours], baseline, level, draws)[0]


def _medians(values: Floats) -> Floats:
    """The median of each row, (rows, n), without NaN: a third of numpy's time, which looks for these."""
    n = values.shape[1]
    left, right = np.partition(values, sorted({(n - 1) // 2, n // 2}), axis=1)[:, [(n - 1) // 2, n // 2]].T
    return np.asarray((left + right) / 2)


def shares_of_cost(
    several: Sequence[Curves], baseline: Curves, level: float = 0.95, draws: int = DRAWS
) -> list[Estimate]:
    """`share_of_cost` of several configurations against one baseline, whose runs are resampled once."""
    costs, seen, offsets = (np.asarray(part, dtype=float) for part in baseline)
    last = offsets[1:].astype(np.int64) - 1
    if (np.diff(offsets) < 1).any() or not len(last) or any(len(np.asarray(ours[2])) < 2 for ours in several):
        raise ValueError("at least one run of both, and of each run at least one row")
    order = np.lexsort((costs[last], seen[last]))
    finals = np.where(np.isnan(seen[last]), np.inf, seen[last])[order]
    ends = costs[last][order]
    random = stream()
    theirs = drawn(random, len(ends), draws)
    targets = np.append(np.median(finals[theirs], axis=1), np.median(finals))
    if np.isinf(targets[-1]):
        raise ValueError("half of the baseline's runs have no final value to reach")
    different, which = np.unique(np.minimum(targets, np.finfo(float).max), return_inverse=True)
    spent, after = np.median(ends[theirs], axis=1), random.bit_generator.state
    found = []
    mine: dict[int, npt.NDArray[np.int64]] = {}
    for ours in several:
        hits = first_hits(*ours, different)
        hits = hits[np.lexsort(hits.T)]
        n, t = hits.shape
        if n not in mine:
            random.bit_generator.state = after  # each has the resamples that it has alone
            mine[n] = drawn(random, n, draws) * t + which[:-1, None]
        reached = _medians(hits.reshape(-1)[mine[n]])
        share = float(np.median(hits[:, which[-1]]) / np.median(ends))
        least = min(n, len(ends))
        samples = (reached / spent)[:, None]
        found += percentiles(share, samples, level, least, covers=of_ratios(least, level), expanded=False)
    return found
