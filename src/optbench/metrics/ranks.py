"""Configurations ranked on each problem, and which differences of average ranks are more than chance.

Ranks know no scale: a problem with large losses counts like any other, and so does a narrow win. 1 is the best, the
least value; equal values share the mean of their ranks, among them those that never arrived (inf).
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Floats
from optbench.metrics.rank_tests import doubled_midranks


@dataclass(frozen=True)
class Friedman:
    """Whether any configurations differ in rank.

    Attributes:
        statistic: chi squared with k - 1 degrees of freedom, corrected for ties.
        p: its probability if there is no difference.
        f: Iman and Davenport's F with k - 1 and (k - 1)(N - 1) degrees of freedom, which is less conservative.
        p_f: its probability.
        p_exact: that of the statistic over all orders of each problem's ranks; None where they are too many to count.
    """

    statistic: float
    p: float
    f: float
    p_f: float
    p_exact: float | None = None

    @property
    def best(self) -> float:
        """The exact probability where it is known, else that of F: with few problems F says too little, and 0 where all
        agree."""
        return self.p_f if self.p_exact is None else self.p_exact


def ranks(values: npt.ArrayLike) -> Floats:
    """Rank of each configuration on each problem, (p, k) -> (p, k).

    Args:
        values: less is better, inf for a run without result.

    Raises:
        ValueError: a value is no number, or there are none.
    """
    given = np.asarray(values, dtype=float)
    if given.ndim != 2 or not given.size or np.isnan(given).any():
        raise ValueError(f"values of problems by configurations, numbers only, not {given.shape}")
    return doubled_midranks(given) / 2


def average_ranks(values: npt.ArrayLike) -> Floats:
    """Mean rank over problems of each configuration, (p, k) -> (k,); `values` as in `ranks`."""
    return np.asarray(ranks(values).mean(axis=0))


def friedman(values: npt.ArrayLike) -> Friedman:
    """Friedman's test of no difference between k configurations on N problems, N >= 2, k >= 2.

    With R_j the sum of ranks, chi^2 = (k - 1) sum_j (R_j - N (k + 1) / 2)^2 / (sum of squares of all ranks -
    N k (k + 1)^2 / 4), which without ties is 12 / (N k (k + 1)) sum R_j^2 - 3 N (k + 1). F = (N - 1) chi^2 /
    (N (k - 1) - chi^2).

    Args:
        values: (p, k) as in `ranks`.

    Source: M. Friedman, J. Am. Stat. Assoc. 32 (1937) 675; W. J. Conover, Practical Nonparametric Statistics, 3rd ed.
    (1999), section 5.8; R. L. Iman and J. M. Davenport, Commun. Stat. A 9 (1980) 571.
    """
    from scipy.special import chdtrc, fdtrc

    own = ranks(values)
    n, k = own.shape
    if n < 2 or k < 2:
        raise ValueError(f"at least 2 problems and 2 configurations, not {n} and {k}")
    spread = float((own**2).sum()) - n * k * (k + 1) ** 2 / 4
    if spread == 0:  # all tied everywhere
        return Friedman(0.0, 1.0, 0.0, 1.0, 1.0)
    statistic = (k - 1) * float(((own.sum(axis=0) - n * (k + 1) / 2) ** 2).sum()) / spread
    rest = n * (k - 1) - statistic
    ratio = (n - 1) * statistic / rest if rest > 1e-12 * statistic else math.inf
    by_f = float(fdtrc(k - 1, (k - 1) * (n - 1), ratio))
    return Friedman(statistic, float(chdtrc(k - 1, statistic)), ratio, by_f, _exact(np.rint(2 * own).astype(np.int64)))


_WORK = 200_000
"""Rank sums that are looked at for an exact probability."""


def _exact(doubled: npt.NDArray[np.int64]) -> float | None:
    """P(sum of squared rank sums >= that of these ranks) where within each problem every order is as likely.

    One problem after the other is added to all the rank sums that there can be. Their order does not matter, since all
    orders of the next are as likely, so they are kept sorted. Where there are too many, only the case that all problems
    agree, which nothing exceeds, has a closed form.

    Args:
        doubled: twice the ranks, (p, k).
    """
    n, k = doubled.shape
    kept = np.sort(doubled, axis=1)
    agreeing = (doubled == doubled[0]).all()
    if agreeing:  # as likely as the n - 1 others having the order of the first
        ways = math.factorial(k) / math.prod(map(math.factorial, np.unique(kept[0], return_counts=True)[1].tolist()))
        return float(ways ** (1 - n))
    if math.factorial(k) > _WORK:
        return None
    scale = (2 * k * n + 1) ** np.arange(k - 1, -1, -1, dtype=np.float64)
    if scale[0] > 2.0**53:
        return None
    sums, work = kept[:1], 0
    chances: Floats = np.ones(1)
    for own in kept[1:]:
        orders, counts = np.unique(list(itertools.permutations(own.tolist())), axis=0, return_counts=True)
        work += len(sums) * len(orders)
        if work > _WORK:
            return None
        after = np.sort((sums[:, None] + orders).reshape(-1, k), axis=1)
        likely = (chances[:, None] * (counts / counts.sum())).ravel()
        _, first, code = np.unique(after @ scale, return_index=True, return_inverse=True)
        sums, chances = after[first], np.bincount(code, weights=likely).astype(np.float64)
    reached = (doubled.sum(axis=0) ** 2).sum()
    return min(1.0, float(chances[(sums**2).sum(axis=1) >= reached].sum()))


def critical_difference(problems: int, configurations: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of average ranks, for all pairs at once: q sqrt(k (k + 1) / (6 N)).

    q is the upper alpha quantile of the studentized range of k at infinitely many degrees of freedom, / sqrt(2). Of two
    configurations it is exact instead (the sign test): by the formula, two alike that meet on four problems differ in
    one case of eight. It is then the least difference that is rare enough, and 2, which there cannot be, where none is.

    Source: J. Demsar, J. Mach. Learn. Res. 7 (2006) 1, sections 3.1.4 and 3.2.2.
    """
    if problems < 1 or configurations < 2:
        raise ValueError(f"at least 1 problem and 2 configurations, not {problems} and {configurations}")
    if configurations == 2:
        from scipy.special import bdtr

        lost = np.arange((problems + 1) // 2, dtype=np.float64)
        rare = lost[2 * bdtr(lost, problems, 0.5) <= alpha]
        return float(1 - 2 * rare[-1] / problems) if len(rare) else 2.0
    q = _range_quantile(1 - alpha, configurations) / math.sqrt(2)
    return q * math.sqrt(configurations * (configurations + 1) / (6 * problems))


@functools.lru_cache(maxsize=64)
def _range_quantile(level: float, k: int) -> float:
    """The quantile of the range of k standard normal numbers: here, since importing scipy.stats takes 0.5 s.

    P(range <= q) = k integral of phi(z) (Phi(z) - Phi(z - q))^(k - 1) dz, by the trapezoidal rule, which is exact to
    1e-12 for what falls off so fast; q by halving.
    """
    from scipy.special import ndtr

    z = np.linspace(-9.0, 9.0, 1801)
    density, below = np.exp(-z * z / 2) / math.sqrt(2 * math.pi), ndtr(z)
    low, high = 0.0, 40.0
    for _ in range(60):
        q = (low + high) / 2
        inside = k * float((density * (below - ndtr(z - q)) ** (k - 1)).sum()) * (z[1] - z[0])
        low, high = (q, high) if inside < level else (low, q)
    return (low + high) / 2


def cliques(averages: npt.ArrayLike, difference: float) -> list[list[int]]:
    """Groups that cannot be told apart: the bars of a diagram of critical differences, the best first.

    Each is as large as it can be: all its average ranks lie within `difference` (which is not yet one), and no other
    one could be added. A configuration that differs from all others is in none.

    Args:
        averages: (k,) average ranks.
        difference: the critical difference.

    Returns:
        Of each group, its configurations by number, the best first.
    """
    given = np.asarray(averages, dtype=float)
    order = np.argsort(given, kind="stable")
    ends = np.searchsorted(given[order], given[order] + difference, side="right")
    found, reached = [], 0
    for start, end in enumerate(ends.tolist()):
        if end > reached and end - start > 1:
            found.append(order[start:end].tolist())
        reached = max(reached, end)
    return found
