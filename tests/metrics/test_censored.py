"""Kaplan-Meier against published tables, scipy, plain loops and the uncensored closed forms."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from optbench.metrics import censored

# 6-mercaptopurine, weeks in remission (Freireich et al., Blood 21 (1963) 699); False: still in remission
WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
ENDED = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]

runs = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=15)


def test_the_published_table_of_remissions() -> None:
    # Kleinbaum and Klein, Survival Analysis, 3rd ed. (2012), chapter 2: S(t) and its standard error
    found = censored.kaplan_meier(WEEKS, ENDED, interval="greenwood")
    assert found.costs.tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert found.at_risk.tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert found.successes.tolist() == [3, 1, 1, 1, 1, 1, 1]
    assert 1 - found.shares == pytest.approx([0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482], abs=6e-5)
    errors = (found.shares - found.low)[2:] / scipy.stats.norm.ppf(0.975)
    assert errors == pytest.approx([0.0963, 0.1068, 0.1141, 0.1282, 0.1346], abs=1e-4)


@given(runs)
def test_scipy_computes_the_same(of: list[tuple[int, bool]]) -> None:
    costs, solved = np.array([c for c, _ in of], dtype=float), np.array([s for _, s in of])
    if not solved.any():
        assert not len(censored.kaplan_meier(costs, solved).costs)
        return
    reference = scipy.stats.ecdf(scipy.stats.CensoredData(uncensored=costs[solved], right=costs[~solved]))
    for ours, theirs in (("log-log", "log-log"), ("greenwood", "linear")):
        found = censored.kaplan_meier(costs, solved, interval=ours)
        assert found.shares == pytest.approx(reference.cdf.evaluate(found.costs), abs=1e-12)
        assert (found.low <= found.shares + 1e-12).all()
        assert (found.high >= found.shares - 1e-12).all()
        inside = found.shares < 1
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # scipy says that it is undefined where S is 0
            ends = reference.cdf.confidence_interval(method=theirs)
        assert found.low[inside] == pytest.approx(ends.low.evaluate(found.costs[inside]), abs=1e-9)
        assert found.high[inside] == pytest.approx(ends.high.evaluate(found.costs[inside]), abs=1e-9)


@pytest.mark.slow
def test_statsmodels_computes_the_same() -> None:
    from statsmodels.duration.survfunc import SurvfuncRight  # a second of imports

    reference = SurvfuncRight(np.array(WEEKS), np.array(ENDED))
    found = censored.kaplan_meier(WEEKS, ENDED, interval="greenwood")
    assert 1 - found.shares == pytest.approx(reference.surv_prob)
    assert (found.shares - found.low)[1:] / scipy.stats.norm.ppf(0.975) == pytest.approx(reference.surv_prob_se[1:])


def test_where_all_have_succeeded_the_lower_end_goes_on() -> None:
    found = censored.kaplan_meier([1, 2, 3], [True, True, True])
    assert found.shares == pytest.approx([1 / 3, 2 / 3, 1])
    assert (found.low[2], found.high[2]) == (found.low[1], 1.0)
    one = censored.kaplan_meier([4], [True])
    assert (one.shares[0], one.low[0], one.high[0]) == (1, 0, 1)


def test_one_that_failed_for_good_stays_among_those_that_have_not() -> None:
    lost = censored.kaplan_meier([1, 2, math.inf], [True, True, False])
    assert lost.shares == pytest.approx([1 / 3, 2 / 3])
    stopped = censored.kaplan_meier([1, 2, 1.5], [True, True, False])
    assert stopped.shares == pytest.approx([1 / 3, 1])


@given(runs, st.integers(0, 25))
def test_a_run_that_never_succeeds_improves_nothing(of: list[tuple[int, bool]], end: int) -> None:
    costs, solved = [float(c) for c, _ in of], [s for _, s in of]
    before = censored.kaplan_meier(costs, solved)
    after = censored.kaplan_meier([*costs, float(end)], [*solved, False])
    assert (after.shares <= before.shares + 1e-12).all()


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.integers(0, 25))
def test_without_censoring_the_restricted_mean_is_a_mean(costs: list[int], limit: int) -> None:
    capped = np.minimum(costs, limit)
    found = censored.restricted_mean(costs, [True] * len(costs), limit, level=0.9)
    assert found.value == pytest.approx(capped.mean())
    if len(costs) == 1:
        assert found.low is found.coverage is None
        return
    half = scipy.stats.sem(capped) * scipy.stats.t.ppf(0.95, len(costs) - 1)  # Student's interval of their mean
    assert (found.low, found.high) == pytest.approx((max(0, found.value - half), min(limit, found.value + half)))


def test_the_restricted_mean_of_remissions() -> None:
    found = censored.restricted_mean(WEEKS, ENDED)
    steps = scipy.stats.ecdf(scipy.stats.CensoredData.right_censored(WEEKS, np.array(ENDED) == 0)).sf
    assert found.value == pytest.approx(sum(float(steps.evaluate(c)) for c in range(35)))  # S falls at whole weeks only
    areas = {c: sum(float(steps.evaluate(w)) for w in range(c, 35)) for c in (6, 7, 10, 13, 16, 22, 23)}
    table = zip(areas.values(), (21, 17, 15, 12, 11, 7, 6), (3, 1, 1, 1, 1, 1, 1), strict=True)
    error = math.sqrt(sum(a * a * d / (n * (n - d)) for a, n, d in table))
    assert (found.high or 0) - found.value == pytest.approx(error * math.sqrt(21 / 20) * scipy.stats.t.ppf(0.975, 20))
    assert (round(found.value, 1), round(error, 2)) == (23.3, 2.83)  # as R's survival prints them for these data


def test_a_mean_beyond_what_was_watched_is_refused() -> None:
    with pytest.raises(ValueError, match="not known"):
        censored.restricted_mean([3, 5], [True, False], limit=6)
    assert censored.restricted_mean([3, 5, math.inf], [True, True, False], limit=6).value == pytest.approx(14 / 3)
    assert censored.restricted_mean([3, 5, math.inf], [True, True, False]).value == pytest.approx(13 / 3)
    with pytest.raises(ValueError, match="not known"):
        censored.restricted_mean([math.inf], [False])
    for costs, solved, why in (([], [], "at least one"), ([math.inf], [True], "infinite"), ([-1.0], [True], "from 0")):
        with pytest.raises(ValueError, match=why):
            censored.kaplan_meier(costs, solved)
