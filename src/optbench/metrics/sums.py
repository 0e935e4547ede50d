"""Order statistics of all sums of two rows, without making all the sums: the median of 31,375 averages of 250 values
needs some hundreds of them.

With both rows ascending the sums u_i + v_j rise along i and along j, also as rounded, and with +inf - inf as 0. So what
is below a bound is a staircase, found by a binary search a step, and between the staircases of two bounds lie the sums
between them, which alone are made and sorted. The bounds are guessed, from sums of a few quantiles, and then proved:
by the counts of what is below; where a guess was wrong, it is widened. The results are those of sorting all sums, to
the bit.

Source: staircases of sorted sums, D. B. Johnson and T. Mizoguchi, SIAM J. Comput. 7 (1978) 147; guessed bounds of the
Hodges-Lehmann estimate, J. F. Monahan, ACM Trans. Math. Softw. 10 (1984) 265.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Floats

Ints = npt.NDArray[np.int64]

_AT_ONCE = 1 << 22
"""Sums that are held in memory at a time."""
_ALL = 4000
"""Sums of a row up to which all of them are made."""
_MARGIN = 0.004
"""How far from the guessed place, as a share of all sums, the bounds are set at first."""


def parts(rows: int, count: int) -> Iterator[slice]:
    """So many of the rows at a time that `count` numbers for each of them fit."""
    size = max(1, _AT_ONCE // max(count, 1))
    return (slice(start, start + size) for start in range(0, rows, size))


def quantiles(values: Floats, most: int) -> Floats:
    """So many of the quantiles of ascending values, or these, (..., n) -> (..., most at most)."""
    n = values.shape[-1]
    if n <= most:
        return values
    return values[..., ((np.arange(most) + 0.5) * n / most).astype(int)]


@dataclass(frozen=True)
class Sums:
    """The sums of each row: u_i + v_j for all i and j, or where there is no v u_i + u_j for i <= j.

    Attributes:
        u, v: ascending, (rows, n) and (rows, m), without NaN; +inf - inf is 0.
    """

    u: Floats
    v: Floats | None = None

    @classmethod
    def of_pairs(cls, d: Floats) -> Sums:
        """The Walsh averages (d_i + d_j) / 2, i <= j, of each row, (rows, n)."""
        return cls(np.sort(d, axis=1) / 2)

    @classmethod
    def of_samples(cls, a: Floats, b: Floats) -> Sums:
        """All differences a_i - b_j of each row, (rows, n) and (rows, m)."""
        return cls(np.sort(a, axis=1), np.sort(-b, axis=1))

    @property
    def count(self) -> int:
        """How many sums a row has."""
        n = int(self.u.shape[1])
        return n * (n + 1) // 2 if self.v is None else n * int(self.v.shape[1])

    def some(self, rows: slice | Ints) -> Sums:
        """Those of some rows."""
        return Sums(self.u[rows], None if self.v is None else self.v[rows])

    def coarse(self) -> Floats:
        """Sums of a few quantiles, ascending, (rows, k): about as many of all lie between any two as of these."""
        sizes = [2 * int(np.sqrt(one.shape[1])) + 8 for one in (self.u, self.u if self.v is None else self.v)]
        v = None if self.v is None else quantiles(self.v, sizes[1])
        return np.sort(Sums(quantiles(self.u, sizes[0]), v).all(), axis=1)

    def all(self) -> Floats:
        """Every sum, (rows, count)."""
        if self.v is None:
            left, right = np.triu_indices(self.u.shape[1])
            return _sum(np.take(self.u, left, axis=1), np.take(self.u, right, axis=1))
        return _sum(self.u[:, :, None], self.v[:, None, :]).reshape(len(self.u), -1)

    def at(self, places: Sequence[int]) -> Floats:
        """The sums in these places from the least one, which is 0, (rows, places)."""
        if not 0 <= min(places) <= max(places) < self.count:
            raise ValueError(f"no places {places} among {self.count} sums")
        if self.count <= _ALL:
            made = [np.partition(self.some(one).all(), sorted(set(places)), axis=1)[:, places] for one in self._parts()]
            return np.concatenate(made) if made else np.empty((0, len(places)))
        found = np.empty((len(self.u), len(places)))
        spans = _spans(sorted(set(places)))
        for part in parts(len(self.u), self.u.shape[1] * 16):
            own = self.some(part)
            coarse = own.coarse()
            for first, last in spans:
                ordered = own._consecutive(first, last, coarse)
                for column, place in enumerate(places):
                    if first <= place <= last:
                        found[part, column] = ordered[:, place - first]
        return found

    def _parts(self) -> Iterator[slice]:
        return parts(len(self.u), self.count)

    def _consecutive(self, first: int, last: int, coarse: Floats) -> Floats:
        """The sums in the places from first to last, (rows, last - first + 1)."""
        found = np.empty((len(self.u), last - first + 1))
        left, margin = np.arange(len(self.u)), _MARGIN
        while len(left):
            low, high = _guessed(coarse[left], first / self.count - margin, (last + 1) / self.count + margin)
            here = np.zeros(len(left), dtype=np.bool_)
            if len(same := np.flatnonzero(low == high)):  # many equal sums, which are counted and not made
                below, upto = self.some(left[same]).counts(low[same], high[same])
                same = same[(below <= first) & (upto > last)]
                found[left[same]], here[same] = low[same, None], True
            if len(apart := np.flatnonzero(low < high)):  # what equals a bound may be many
                inner, outer = np.nextafter(low[apart], np.inf), np.nextafter(high[apart], -np.inf)
                inner, outer = (
                    np.where(np.isinf(low[apart]), low[apart], inner),
                    np.where(np.isinf(high[apart]), high[apart], outer),
                )
                below, within, counts = self.some(left[apart]).within(inner, outer)
                fits = (below <= first) & (below + counts > last)
                at = (first - below[fits])[:, None] + np.arange(last - first + 1)
                found[left[apart[fits]]] = np.take_along_axis(within[fits], at, axis=1)
                here[apart[fits]] = True
            left, margin = left[~here], margin * 4
        return found

    def counts(self, low: Floats, high: Floats) -> tuple[Ints, Ints]:
        """How many sums are below a bound, and not above another one, (rows,) each."""
        v, start = self._second()
        first = _first(self.u, v, start, low, beyond=False)
        return (first - start).sum(axis=1), (_first(self.u, v, first, high, beyond=True) - start).sum(axis=1)

    def _second(self) -> tuple[Floats, Ints]:
        """The row that is added, and where it begins for each i, (rows, n)."""
        rows, n = self.u.shape
        start = np.arange(n) if self.v is None else np.zeros(n, dtype=np.int64)
        return self.u if self.v is None else self.v, np.broadcast_to(start, (rows, n))

    def within(self, low: Floats, high: Floats) -> tuple[Ints, Floats, Ints]:
        """The sums between two bounds, with these.

        Args:
            low, high: of each row, (rows,).

        Returns:
            below: how many sums are below `low`, (rows,).
            within: those that are not and not above `high`, ascending, filled up with inf, (rows, most of any).
            counts: how many these are, (rows,).
        """
        rows, n = self.u.shape
        v, start = self._second()
        first = _first(self.u, v, start, low, beyond=False)
        lengths = _first(self.u, v, first, high, beyond=True) - first
        counts, whole = lengths.sum(axis=1), lengths.reshape(-1)
        step = np.repeat(np.arange(rows * n), whole)  # the step of the staircase of each sum
        ordinal = np.arange(len(step)) - np.repeat(np.cumsum(whole) - whole, whole)  # its place in that step
        row = step // n
        made = _sum(self.u.reshape(-1)[step], v.reshape(-1)[row * v.shape[1] + first.reshape(-1)[step] + ordinal])
        within = np.full((rows, int(counts.max(initial=0))), np.inf)
        within[row, np.arange(len(step)) - np.repeat(np.cumsum(counts) - counts, counts)] = made
        within.sort(axis=1)
        return (first - start).sum(axis=1), within, counts


def _sum(u: Floats, v: Floats) -> Floats:
    with np.errstate(invalid="ignore", over="ignore"):
        found: Floats = u + v
    if np.isinf(u).any() and np.isinf(v).any():
        found[np.isnan(found)] = 0.0
    return found


def _first(u: Floats, v: Floats, start: Ints, bound: Floats, beyond: bool) -> Ints:
    """The first j from `start` on with u_i + v_j >= bound (`beyond`: > bound), for each i of each row, (rows, n)."""
    rows, m = v.shape
    before = np.less_equal if beyond else np.less
    found, flat, bound = start.copy(), v.reshape(-1), bound[:, None]
    head = np.arange(rows)[:, None] * m - 1
    for power in reversed(range(int(m).bit_length())):
        further = found + (1 << power)  # whether so many more are before the bound: if the last of them is
        there = before(_sum(u, flat[np.minimum(further, m) + head]), bound)
        there &= further <= m
        found += there.astype(np.int64) << power
    return found


def _guessed(coarse: Floats, first: float, last: float) -> tuple[Floats, Floats]:
    """Bounds between which the sums from one share of all to another probably are, (rows,) each."""
    k = coarse.shape[1]
    left, right = min(int(np.floor(first * k)), k) - 1, max(int(np.ceil(last * k)), 0)
    endless = np.full(len(coarse), np.inf)
    return coarse[:, left] if left >= 0 else -endless, coarse[:, right] if right < k else endless


def _spans(places: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending places as runs of neighbours, first and last."""
    found: list[tuple[int, int]] = []
    for place in places:
        if found and place == found[-1][1] + 1:
            found[-1] = (found[-1][0], place)
        else:
            found.append((place, place))
    return found
