"""Distributions of runtimes over runs, targets and problems: what share of the questions was answered at which cost.

COCO's figure: each pair of a run and a target is one question. A run that failed is no answer, however long the axis
(`inf`), or it is restarted in simulation, which is sound only where runs of a problem are exchangeable and a restart
is what one would do: on surfaces from random starts, not for a network whose one training is the budget. So it is
asked for (`restarts`), never done by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Floats
from optbench.metrics.resampling import rows_in_order, stream
from optbench.metrics.runtimes import instance_repeats


@dataclass(frozen=True)
class Ecdf:
    """A step function that is 0 before its first cost.

    Attributes:
        costs: (m,) ascending, finite: where it rises.
        shares: (m,) its value from there on; the last one is below 1 by what was never answered.
    """

    costs: Floats
    shares: Floats

    def at(self, costs: npt.ArrayLike) -> Floats:
        """Its value at each cost, of any shape."""
        return np.append(0.0, self.shares)[np.searchsorted(self.costs, np.asarray(costs, dtype=float), side="right")]


def ecdf(problems: Sequence[npt.ArrayLike]) -> Ecdf:
    """The share of questions that were answered at most at each cost; every problem counts alike.

    Args:
        problems: of each problem its runtimes, (n, t) or of any other shape but empty; inf for no answer. Costs of
            problems of different dimension are divided by it beforehand, as in COCO.

    Raises:
        ValueError: there is nothing, or a runtime is no number.
    """
    arrays = [np.asarray(one, dtype=float).ravel() for one in problems]
    if not arrays or any(not len(one) or np.isnan(one).any() for one in arrays):
        raise ValueError("a distribution needs at least one runtime of each problem, and numbers only")
    runtimes = np.concatenate(arrays)
    sizes = np.repeat([len(one) for one in arrays], [len(one) for one in arrays])
    order = np.argsort(runtimes, kind="stable")
    runtimes, sizes = runtimes[order], sizes[order]
    shares = sum(np.cumsum(sizes == size) / size for size in np.unique(sizes)) / len(arrays)
    last = np.append(runtimes[1:] != runtimes[:-1], True) & np.isfinite(runtimes)
    return Ecdf(runtimes[last], shares[last])


def restarts(
    hits: npt.ArrayLike, ends: npt.ArrayLike, instances: npt.ArrayLike | None = None, draws: int = 1000
) -> Floats:
    """COCO's simulated restarts: runtimes of an algorithm that starts again until it succeeds, (draws, t), ascending.

    A run is drawn; if it failed, its length is spent and another one is drawn, with replacement. The first draws are
    no random ones: each run has the same number of them, so that without failures the runtimes themselves come out.
    Without a success, all are inf. The mean tends to `ert`.

    Args:
        hits: (n, t) or (n,) runtimes; inf or NaN for a run that did not hit.
        ends: (n,) costs at which the runs ended.
        instances: (n,) which instance each was of: runs of rarer ones are repeated until all have equally many.
        draws: their number, rounded up to a multiple of the number of runs.

    Source: coco-postprocess, `toolsstats.drawSP` and `pprldmany` (1000 = 30 + 970 draws); its newer
    `_evals_with_simulated_restarts` gives failed runs the lengths of others where lengths differ.
    """
    runtimes, lengths = np.asarray(hits, dtype=float), np.asarray(ends, dtype=float)
    runtimes = runtimes[:, None] if runtimes.ndim == 1 else runtimes
    if not len(runtimes) or lengths.shape != (len(runtimes),) or (lengths < 0).any() or not np.isfinite(lengths).all():
        raise ValueError(f"restarts need the length of each of {len(runtimes)} runs, finite numbers from 0 on")
    runtimes = np.where(np.isfinite(runtimes), runtimes, np.inf)
    if instances is not None:
        repeats = instance_repeats(instances)
        runtimes, lengths = np.repeat(runtimes, repeats, axis=0), np.repeat(lengths, repeats)
    runtimes, lengths = rows_in_order(runtimes, lengths)
    n, possible = len(lengths), np.flatnonzero(np.isfinite(runtimes).any(axis=0))
    total = np.full((-(-draws // n) * n, runtimes.shape[1]), np.inf)
    total[:, possible] = _restarted(runtimes[:, possible], lengths, len(total))
    return np.sort(total, axis=0)


def _restarted(runtimes: Floats, lengths: Floats, draws: int) -> Floats:
    """`restarts` for targets that some run reached, (n, t) -> (draws, t), not sorted."""
    n, t = runtimes.shape
    spent = np.where(np.isfinite(runtimes), runtimes, lengths[:, None])
    random = stream()
    run = np.repeat(np.arange(draws) % n, t)  # the first draw of each
    target = np.tile(np.arange(t), draws)
    total = np.zeros(draws * t)
    going = np.arange(draws * t)
    while len(going):
        total[going] += spent[run, target]
        failed = np.isinf(runtimes[run, target])
        going, target = going[failed], target[failed]
        run = random.integers(0, n, size=len(going))
    return total.reshape(draws, t)


@dataclass(frozen=True)
class BudgetMarks:
    """Where a distribution of runtimes ends to be data.

    Attributes:
        spent: 90th percentile over instances of what was spent on one / max(1, successes there): COCO's large cross.
        length: the larger of the 90th percentiles of the failed runs' lengths and of the runtimes: the thin cross.
    """

    spent: float
    length: float


def budget_marks(
    hits: npt.ArrayLike, ends: npt.ArrayLike, instances: npt.ArrayLike | None = None
) -> BudgetMarks | None:
    """COCO's marks of one problem; None where every run succeeded. Over problems, each mark is a median.

    Args:
        hits: (n,) runtimes of the hardest target; inf or NaN for a run that did not hit.
        ends: (n,) costs at which the runs ended.
        instances: (n,) which instance each was of; None: all of one.

    Source: coco-postprocess, `compall/pprldmany.py` (percentiles by Hazen's rule).
    """
    runtimes, lengths = np.asarray(hits, dtype=float), np.asarray(ends, dtype=float)
    if runtimes.ndim != 1 or not len(runtimes) or lengths.shape != runtimes.shape:
        raise ValueError(f"{runtimes.shape} runtimes of {lengths.shape} runs")
    reached = np.isfinite(runtimes)
    if reached.all():
        return None
    of = np.zeros(len(lengths), dtype=int) if instances is None else np.asarray(instances)
    _, where = np.unique(of, return_inverse=True)
    effort = np.bincount(where, lengths) / np.maximum(np.bincount(where, reached), 1)
    repeats = instance_repeats(of)
    parts = [np.repeat(lengths[~reached], repeats[~reached]), np.repeat(runtimes[reached], repeats[reached])]
    return BudgetMarks(
        float(np.percentile(effort, 90, method="hazen")),
        max(float(np.percentile(part, 90, method="hazen")) for part in parts if len(part)),
    )
