"""Certified steps to a target loss: after how many updates it is shown, not merely seen, that the target is reached.

The rules are those of modded-nanogpt's track 3. One number of updates K for all seeds, chosen before or on a grid,
never per run by its own validation loss; n runs, all that were made; and a one-sided test that the mean loss at K is
below the target, by the known spread of that problem or by the estimated one.

Source: modded-nanogpt, records/track_3_optimization/README.md, at f411b3d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Estimate, Floats
from optbench.metrics.resampling import student_quantile

TRACK_3_TARGET, TRACK_3_SIGMA, TRACK_3_MARGIN = 3.28, 0.0013, 0.004
"""Its target, its spread of final losses, and the margin that it asks for, which is 3.08 of these."""


@dataclass(frozen=True)
class Evidence:
    """Whether runs show that their mean loss is low enough.

    Attributes:
        accepted: whether they do.
        p: probability of losses as low or lower where the mean is just not low enough.
        distance: (target - mean) sqrt(n), or its like for pairs, which is to reach `needed`.
        needed: the margin.
        n: number of runs.
    """

    accepted: bool
    p: float
    distance: float
    needed: float
    n: int


def reaches(
    losses: npt.ArrayLike,
    target: float,
    *,
    sigma: float | None = None,
    margin: float | None = None,
    alpha: float = 0.001,
) -> Evidence:
    """The evidence rule: (target - mean) sqrt(n) >= margin.

    With a known spread the margin is its upper alpha quantile, z_alpha sigma (a z-test; one run is enough). Without, it
    is t_alpha(n - 1) s, by the spread s of the runs; runs that are all the same number are copies, and show nothing.
    A run that diverged has an infinite loss, and nothing is shown.

    Args:
        losses: (n,) of all runs at the same number of updates.
        target: loss to be below.
        sigma: known standard deviation of a run's loss.
        margin: instead of z_alpha sigma; `TRACK_3_MARGIN` for its rule to the letter.
        alpha: one-sided level.
    """
    given = _losses(losses)
    n = len(given)
    distance = math.sqrt(n) * (target - float(np.sort(given).mean()))
    return _evidence(distance, sigma, margin, alpha, math.sqrt(_squares(given) / max(n - 1, 1)), n - 1, n)


def certified_steps(
    steps: npt.ArrayLike,
    losses: npt.ArrayLike,
    target: float,
    *,
    sigma: float | None = None,
    margin: float | None = None,
    alpha: float = 0.001,
) -> tuple[float, Evidence]:
    """The least K on a grid, the same for all seeds, from which on every K passes `reaches`; inf where the last fails.

    The grid is read from its end backwards and left at the first K that fails, so that looking at many K does not
    raise the level: while mean losses fall, a K too small is certified with probability at most alpha. A K within a
    decay of the learning rate is no run of that length, which would have ended lower: give runs of each length there.

    Args:
        steps: (k,) ascending numbers of updates.
        losses: (n, k) of each run at each of them.
        target, sigma, margin, alpha: as in `reaches`.

    Returns:
        K, and the evidence there; that of the last K where it fails.

    Source of the order: W. Maurer, L. A. Hothorn and W. Lehmacher, Multiple comparisons in drug clinical trials and
    preclinical assays: a-priori ordered hypotheses (1995).
    """
    grid, table = np.asarray(steps, dtype=float), np.asarray(losses, dtype=float)
    if grid.ndim != 1 or not len(grid) or table.shape[1:] != grid.shape or (np.diff(grid) <= 0).any():
        raise ValueError(f"losses of runs at ascending numbers of updates, not {table.shape} at {grid.shape}")
    possible = _low_enough(table, target)
    least, shown = math.inf, None
    for k in range(len(grid) - 1, -1, -1):
        if not possible[k] and shown is not None:
            break  # its evidence is not shown
        evidence = reaches(table[:, k], target, sigma=sigma, margin=margin, alpha=alpha)
        if not evidence.accepted:
            return least, shown or evidence
        least, shown = float(grid[k]), evidence
    assert shown is not None
    return least, shown


def _low_enough(table: Floats, target: float) -> npt.NDArray[np.bool_]:
    """Where the mean of the runs is at most the target, (k,): elsewhere nothing needs to be tested."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.where(np.isnan(table), np.inf, table).mean(axis=0) <= target + 1e-9 * abs(target))


def beats(
    ours: npt.ArrayLike,
    theirs: npt.ArrayLike,
    steps_saved: float = 0.0,
    loss_per_step: float = 0.0,
    *,
    sigma: float | None = None,
    margin: float | None = None,
    alpha: float = 0.001,
) -> Evidence:
    """The pairwise rule: (difference of means + value of the steps saved) / sqrt(1 / n1 + 1 / n2) >= margin.

    A run that is shorter may end a little higher: each step saved is worth `loss_per_step` (`exchange_rate`).

    Args:
        ours, theirs: (n1,) and (n2,) losses of all runs, each at its own number of updates.
        steps_saved: theirs - ours.
        loss_per_step: 0.0045 / 100 in track 3.
        sigma: known standard deviation of a run's loss; without, the pooled one of both is estimated.
        margin, alpha: as in `reaches`.
    """
    a, b = _losses(ours), _losses(theirs)
    gained = _difference(float(np.sort(b).mean()), float(np.sort(a).mean())) + steps_saved * loss_per_step
    freedom = len(a) + len(b) - 2
    spread = math.sqrt((_squares(a) + _squares(b)) / max(freedom, 1))
    distance = gained / math.sqrt(1 / len(a) + 1 / len(b))
    return _evidence(distance, sigma, margin, alpha, spread, freedom, len(a) + len(b))


def gain(
    ours: npt.ArrayLike,
    theirs: npt.ArrayLike,
    steps_saved: float = 0.0,
    loss_per_step: float = 0.0,
    *,
    sigma: float | None = None,
    alpha: float = 0.001,
) -> Estimate:
    """What `beats` judges: difference of means + value of the steps saved, with the interval of its test.

    The interval has the level 1 - 2 alpha to both sides, so that `beats` accepts exactly where its lower end is not
    below 0. Without a spread to go by (a run diverged, or all are copies) there is none.

    Args:
        ours, theirs, steps_saved, loss_per_step, sigma, alpha: as in `beats`.
    """
    a, b = _losses(ours), _losses(theirs)
    value = _difference(float(np.sort(b).mean()), float(np.sort(a).mean())) + steps_saved * loss_per_step
    found = beats(a, b, steps_saved, loss_per_step, sigma=sigma, alpha=alpha)
    n = min(len(a), len(b))
    if not (math.isfinite(found.needed) and math.isfinite(value)):
        return Estimate(value, n=n)
    half = found.needed * math.sqrt(1 / len(a) + 1 / len(b))
    return Estimate(value, value - half, value + half, 1 - 2 * alpha, n)


def exchange_rate(long: npt.ArrayLike, short: npt.ArrayLike, steps_saved: float, level: float = 0.95) -> Estimate:
    """What a step is worth: (mean loss of shortened runs - of long ones) / steps saved, with Student's interval.

    Track 3 shortened one setup by 200 steps and lost 0.0091: 0.0045 per 100 steps.

    Args:
        long, short: (n1,) and (n2,) final losses, finite, at least 3 in all.
        steps_saved: by which the schedule was shortened, positive.
    """
    a, b = _losses(long), _losses(short)
    freedom = len(a) + len(b) - 2
    if freedom < 1 or not steps_saved > 0 or not np.isfinite(np.concatenate([a, b])).all():
        raise ValueError("finite losses of at least 3 runs, and a positive number of steps")
    value = float(np.sort(b).mean() - np.sort(a).mean()) / steps_saved
    error = math.sqrt((_squares(a) + _squares(b)) / freedom * (1 / len(a) + 1 / len(b))) / steps_saved
    half = student_quantile(level, freedom) * error
    return Estimate(value, value - half, value + half, level, len(a) + len(b))


def _losses(losses: npt.ArrayLike) -> Floats:
    given = np.asarray(losses, dtype=float).ravel()
    if not len(given):
        raise ValueError("losses of at least one run")
    return np.where(np.isnan(given), np.inf, given)


def _difference(high: float, low: float) -> float:
    """high - low of means; against a mean that diverged nothing is lost, and by one nothing is gained."""
    return -math.inf if math.isinf(low) else high - low


def _squares(given: Floats) -> float:
    """Sum of squares about the mean; infinite where a run diverged, 0 where all are the same number."""
    if not np.isfinite(given).all():
        return math.inf
    return 0.0 if (given == given[0]).all() else float(((np.sort(given) - np.sort(given).mean()) ** 2).sum())


def _evidence(
    distance: float, sigma: float | None, margin: float | None, alpha: float, spread: float, freedom: int, n: int
) -> Evidence:
    if sigma is not None:
        if not sigma > 0:
            raise ValueError("a known spread is positive")
        needed = NormalDist().inv_cdf(1 - alpha) * sigma if margin is None else margin
        p = 0.5 * math.erfc(distance / sigma / math.sqrt(2)) if math.isfinite(distance) else float(distance < 0)
        return Evidence(distance >= needed, p, distance, needed, n)
    if margin is not None:
        raise ValueError("a margin belongs to a known spread")
    if freedom < 1 or spread == 0 or math.isinf(spread):
        return Evidence(False, 1.0, distance, math.inf, n)
    from scipy.special import stdtr

    needed = student_quantile(1 - 2 * alpha, freedom) * spread
    return Evidence(distance >= needed, float(stdtr(freedom, -distance / spread)), distance, needed, n)
