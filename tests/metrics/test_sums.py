"""Order statistics of sums, and limits that hold at all times, against making and sorting every sum."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.metrics import anytime, rank_tests, sums
from optbench.metrics.sums import Sums

Array = npt.NDArray[np.float64]
NUMBERS = st.one_of(st.integers(-4, 4).map(float), st.floats(allow_nan=False))
ROWS = st.integers(1, 12).flatmap(lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), min_size=1, max_size=3))


def every(a: Array, b: Array | None = None) -> Array:
    """All averages of each row, or all differences of two, ascending; inf - inf is 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        made = (a / 2)[:, :, None] + (a / 2)[:, None, :] if b is None else a[:, :, None] - b[:, None, :]
    if b is None:
        left, right = np.triu_indices(a.shape[1])
        made = made[:, left, right]
    return np.sort(np.where(np.isnan(made), 0.0, made).reshape(len(a), -1), axis=1)


@given(ROWS, st.data())
def test_order_statistics_are_those_of_all_sums(rows: list[list[float]], data: st.DataObject) -> None:
    a = np.array(rows)
    b = a[:, ::-1] + 1 if data.draw(st.booleans()) else None
    expected = every(a, b)
    found = Sums.of_pairs(a) if b is None else Sums.of_samples(a, b)
    assert found.count == expected.shape[1]
    places = data.draw(st.lists(st.integers(0, found.count - 1), min_size=1, max_size=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "_ALL", data.draw(st.sampled_from([0, 4000])))
        patch.setattr(sums, "_AT_ONCE", data.draw(st.sampled_from([1, 1 << 22])))
        assert (found.at(places) == expected[:, places]).all()


def test_what_lies_between_two_bounds_is_all_that_does() -> None:
    a = np.random.default_rng(2).integers(-20, 20, (6, 90)) / 4.0
    expected, low, high = every(a), np.linspace(-3, 0, 6), np.linspace(-3, 2, 6)
    below, within, counts = Sums.of_pairs(a).within(low, high)
    for row, least, most, before, found, count in zip(expected, low, high, below, within, counts, strict=True):
        assert before == (row < least).sum()
        assert (found[:count] == row[(row >= least) & (row <= most)]).all()
    with pytest.raises(ValueError, match="no places"):
        Sums.of_pairs(a).at([90 * 91 // 2])


def halved(d: Array, level: float) -> Array:
    """The upper limit of each row: all averages sorted, and those just right of which the bets got rich, by halving."""
    finite = np.isfinite(d)
    reach = np.abs(np.where(finite, d, 0.0)).max(axis=1)
    d = np.where(finite, d, np.sign(d) * (16 * reach + 1)[:, None])
    averages = every(d)
    found = np.full(len(d), np.inf)
    for row, values in enumerate(averages):
        between = np.append(values[:-1] / 2 + values[1:] / 2, values[-1] + 2 * reach[row] + 1)
        least, most = 0, len(values)
        while least < most:
            middle = (least + most) // 2
            rich = anytime.most_wealth(-anytime.scores(d[row][None] - between[middle]))[0, -1] >= 2 / (1 - level)
            least, most = (least, middle) if rich else (middle + 1, most)
        if most < len(values):
            found[row] = values[most] if abs(values[most]) <= reach[row] else math.copysign(math.inf, values[most])
    return found


@pytest.mark.parametrize(("n", "rows", "looked_up"), [(1, 2, True), (12, 16, True), (40, 6, False), (130, 2, True)])
def test_limits_at_all_times_are_those_of_sorting_all_averages(
    n: int, rows: int, looked_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anytime, "_ALL_FACTORS", 256 if looked_up else 0)
    rng = np.random.default_rng(n)
    losses = rng.lognormal(0.3, 2, (rows, 2, n))
    losses[rng.random(losses.shape) < 0.15] = np.inf
    losses[: rows // 2] = np.round(losses[: rows // 2])  # many are equal
    d = rank_tests.differences(losses[:, 0], losses[:, 1])
    for level in (0.95, 0.6):
        low, high = anytime.limits(d, level)
        assert (high == halved(d, level)).all()
        assert (low == -halved(-d, level)).all()
