"""What the verdicts and intervals promise, counted in simulations; `pytest -s` prints the figures.

Six configurations are 15 pairs. A whole comparison is false if any pair of configurations that are the same is called
different, after Holm's correction. The losses of one seed share a part, as runs from the same start do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from optbench import metrics
from optbench.metrics import anytime, intervals, multiplicity, pairs, rank_tests
from optbench.metrics.power import seeds_needed

pytestmark = pytest.mark.slow

COMPARISONS = 1000
FIRST, SECOND = np.triu_indices(6, 1)
PAIRS = list(zip(FIRST.tolist(), SECOND.tolist(), strict=True))
Array = npt.NDArray[np.float64]


def normal(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    return rng.normal(size=size)


def lognormal(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    return rng.lognormal(size=size)


def student(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    return rng.standard_t(2, size=size)


def cauchy(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    return rng.standard_cauchy(size=size)


def diverging(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """One run in five diverges."""
    return np.where(rng.random(size) < 0.2, np.inf, rng.lognormal(size=size))


def accuracies(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Of 50 images: many ties."""
    return rng.binomial(50, 0.9, size) / 50


LOSSES = (normal, lognormal, student, cauchy, diverging, accuracies)
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


def same(draw: Draw, n: int, seed: int) -> Array:
    """Losses of comparisons of six configurations that are the same, (comparisons, 6, n)."""
    rng = np.random.default_rng(seed)
    return draw(rng, (COMPARISONS, 6, n)) + draw(rng, (COMPARISONS, 1, n))


def paired(values: Array) -> Array:
    """Differences of all pairs, (comparisons * 15, n)."""
    return rank_tests.differences(values[:, FIRST], values[:, SECOND]).reshape(-1, values.shape[-1])


def any_called_different(p: Array) -> Array:
    """Of each comparison, from (comparisons * 15, ...) p-values: whether one is below 5 % once adjusted; where none is
    different in truth, the first step decides that, which is Holm's in any procedure."""
    by_comparison = np.moveaxis(p.reshape(COMPARISONS, 15, *p.shape[1:]), 1, -1)
    return (pairs.holm(by_comparison) <= 0.05).any(axis=-1)


def report(what: str, share: float) -> None:
    print(f"\n{what}: {100 * share:.1f} %", end="")


@pytest.mark.parametrize("draw", LOSSES, ids=lambda one: one.__name__)
def test_at_most_one_comparison_of_the_same_in_twenty_is_false(draw: Draw) -> None:
    for n in (10, 30):
        values = same(draw, n, n)
        false = any_called_different(rank_tests.two_sided(*rank_tests.signed_rank_tails(paired(values)))).mean()
        report(f"the same, {draw.__name__}, n = {n}, called different in", false)
        assert false <= 0.05
    a, b = (values[:, side].reshape(-1, 30)[:, :10] for side in (FIRST, SECOND))
    apart = any_called_different(rank_tests.two_sided(*rank_tests.rank_sum_tails(a, b))).mean()
    report(f"the same, {draw.__name__}, n = 10 without shared seeds, called different in", apart)
    assert apart <= 0.05


def test_the_simulated_comparisons_are_those_of_verdicts() -> None:
    values = same(lognormal, 10, 10)
    false = any_called_different(rank_tests.two_sided(*rank_tests.signed_rank_tails(paired(values))))
    looked = anytime.tails(paired(values))
    peeked = any_called_different(rank_tests.two_sided(*(side[:, -1] for side in looked)))
    for place in [*np.flatnonzero(false)[:10], *range(10)]:
        assert any(one.verdict != "undecided" for one in pairs.verdicts(values[place])) == false[place]
        assert any(one.verdict != "undecided" for one in pairs.verdicts(values[place], anytime=True)) == peeked[place]


def test_of_many_pairs_on_few_seeds_too_at_most_one_comparison_in_twenty_is_false() -> None:
    """27 configurations on ten seeds, which share a part of each loss: 351 pairs, judged by rank sums."""
    rng = np.random.default_rng(11)
    count = 200
    for draw in (normal, diverging):
        losses = draw(rng, (count, 27, 10)) + draw(rng, (count, 1, 10))
        false = sum(any(one.verdict != "undecided" for one in pairs.verdicts(values)) for values in losses)
        report(f"27 the same, {draw.__name__}, n = 10: called different", false / count)
        assert false <= scipy.stats.binom.ppf(0.999, count, 0.05)
        assert {one.test for one in pairs.verdicts(losses[0])} == {"rank-sum"}


def test_peeking_after_every_seed_is_paid_for() -> None:
    for draw in (normal, lognormal, cauchy, diverging):
        d = paired(same(draw, 40, 7))
        found = any_called_different(rank_tests.two_sided(*anytime.tails(d)))  # (comparisons, looks)
        report(f"the same, {draw.__name__}, looked at after each of 40 seeds, called different in", found.any(1).mean())
        assert found.any(axis=1).mean() <= 0.05
    naive = [rank_tests.two_sided(*rank_tests.signed_rank_tails(d[:, :n])) for n in range(2, 41)]
    report("so looked at with p-values of one look", any_called_different(np.stack(naive, 1)).any(axis=1).mean())


def test_a_difference_of_one_deviation_is_found_with_thirty_seeds() -> None:
    rng = np.random.default_rng(11)
    for shared, least in (
        (0.5, 0.9),
        (0.0, 0.78),
    ):  # the share of the variance that the runs of one seed have in common
        noise = rng.normal(size=(COMPARISONS, 6, 30)) * np.sqrt(1 - shared)
        values = noise + rng.normal(size=(COMPARISONS, 1, 30)) * np.sqrt(shared)
        values[:, 0] -= 1.0  # of a run
        d = paired(values)
        for name, p in (
            ("one look", rank_tests.two_sided(*rank_tests.signed_rank_tails(d))),
            ("after looking at each", rank_tests.two_sided(*anytime.tails(d))[:, -1]),
        ):
            own = p.reshape(COMPARISONS, 15)
            adjusted = np.array([multiplicity.adjust(row, PAIRS, [0] * 15, 0.05).p for row in own])
            found = (adjusted[:, :5] <= 0.05).mean()  # the pairs with the better one
            plain = (pairs.holm(own)[:, :5] <= 0.05).mean()
            what = f"one deviation, n = 30, {100 * shared:.0f} % of the variance shared, {name}, found in"
            report(f"{what} {100 * plain:.1f} % by Holm's procedure, by ours", found)
            assert found >= least or name != "one look"
            assert found > plain
            assert (adjusted[:, 5:] <= 0.05).any(axis=1).mean() <= 0.05


def test_against_a_baseline_one_deviation_is_found_by_fewer_pairs() -> None:
    """Six configurations, five pairs: the baseline differs from all others, or one of them from it; with as many seeds
    as `seeds_needed` names for five pairs, and for all 15, in nine of ten cases whichever differs."""
    rng = np.random.default_rng(11)
    for shared, n, which, least in (
        (0.0, 30, 0, 0.9), (0.0, 30, 1, 0.86), (0.5, 30, 0, 0.99), (0.5, 30, 1, 0.98), (0.0, 33, 1, 0.89),
    ):  # fmt: skip
        noise = rng.normal(size=(COMPARISONS, 6, n)) * np.sqrt(1 - shared)
        values = noise + rng.normal(size=(COMPARISONS, 1, n)) * np.sqrt(shared)
        values[:, which] -= 1.0
        a, b = (one.reshape(-1, n) for one in np.broadcast_arrays(values[:, :1], values[:, 1:]))
        tails = rank_tests.signed_rank_tails(a - b) if shared else rank_tests.rank_sum_tails(a, b)
        found = pairs.holm(rank_tests.two_sided(*tails).reshape(COMPARISONS, 5)) <= 0.05
        hits = found.mean() if which == 0 else found[:, 0].mean()
        who = "the baseline differs from all" if which == 0 else "one of five differs from the baseline"
        report(f"one deviation, n = {n}, {100 * shared:.0f} % of the variance shared, {who}, found in", hits)
        assert hits >= least
        assert which == 0 or found[:, 1:].any(axis=1).mean() <= 0.05
    assert seeds_needed(1.0, 1.0, comparisons=5, paired=False) == 33
    n = seeds_needed(1.0, 1.0, comparisons=15, paired=False)
    values = rng.normal(size=(COMPARISONS, 6, n or 0))
    values[:, 0] -= 1.0
    a, b = (values[:, side].reshape(-1, values.shape[-1]) for side in (FIRST, SECOND))
    p = rank_tests.two_sided(*rank_tests.rank_sum_tails(a, b)).reshape(COMPARISONS, 15)
    hits = np.mean([(multiplicity.adjust(row, PAIRS, [0] * 15, 0.05).p[:5] <= 0.05).mean() for row in p])
    report(f"one deviation, n = {n}, nothing shared, all 15 pairs, found in", float(hits))
    assert hits >= 0.9


@pytest.mark.parametrize("draw", [normal, lognormal, student, cauchy], ids=lambda one: one.__name__)
def test_intervals_cover_as_they_say(draw: Draw) -> None:
    times = 20_000
    true_median = {"lognormal": 1.0}.get(draw.__name__, 0.0)
    for n in (5, 10, 30):
        rng = np.random.default_rng(n)
        a, b = draw(rng, (times, n)), draw(rng, (times, n))
        for name, found, true in (
            ("median", metrics.median_intervals(a), true_median),
            ("shift of pairs", intervals.paired_shifts(a - b), 0.0),
            ("shift of samples", intervals.unpaired_shifts(a[:4000], b[:4000]), 0.0),
        ):
            covered = np.mean(
                [one.low <= true <= one.high for one in found if one.low is not None and one.high is not None]
            )
            says = found[0].coverage
            assert says is not None
            report(f"{name}, {draw.__name__}, n = {n}, says {100 * says:.1f} %, covers", float(covered))
            assert covered == pytest.approx(says, abs=0.01)


def test_why_there_is_no_interval_of_a_mean() -> None:
    rng, times = np.random.default_rng(1), 4000
    for n in (5, 10, 30):
        a = lognormal(rng, (times, n))
        half = scipy.stats.t.ppf(0.975, n - 1) * a.std(axis=1, ddof=1) / np.sqrt(n)
        covered = (np.abs(a.mean(axis=1) - np.exp(0.5)) <= half).mean()
        report(f"mean by Student, lognormal, n = {n}, says 95.0 %, covers", covered)
        drawn = a[np.arange(times)[:, None, None], rng.integers(0, n, (times, 200, n))].mean(axis=2)
        low, high = np.percentile(drawn, [2.5, 97.5], axis=1)
        share = ((low <= np.exp(0.5)) & (np.exp(0.5) <= high)).mean()
        report(f"mean by bootstrap, lognormal, n = {n}, says 95.0 %, covers", share)
        assert share < covered < 0.92


def test_limits_at_all_times_cover_at_all_times() -> None:
    rng = np.random.default_rng(6)
    d = rng.standard_t(2, size=(400, 30))
    never_out = np.ones(400, dtype=bool)
    for n in range(1, 31):
        low, high = anytime.limits(d[:, :n])
        never_out &= (low <= 0) & (high >= 0)
    report("limits at all times, t of 2 degrees, after each of 30 seeds, cover at every look in", never_out.mean())
    assert never_out.mean() >= 0.95
