"""How often intervals cover what they are of, for 5, 10 and 30 normal, skewed and heavy-tailed runs, against what they
say; the slow tests print the figures. All scores that there are are found by their lists: one with an interval that no
test is of fails. In 4,000 samples every interval within 0.01 and one error of simulation (0.0035) of what it says; of
means, of which the least is promised whatever the losses, the least of the three distributions; of what is made of
learning rates at least what it says, for valleys, plateaus and rates that are all alike. Intervals of medians and of
pairs are looked at in test_null_simulations.py, in 20,000 samples.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from optbench.comparison import across, within
from optbench.metrics import Estimate, aggregate, censored, profiles, resampling, runtimes, steps_to, tuned
from optbench.metrics import estimates as of_numbers
from optbench.records import RunTable
from optbench.statistics import STATISTICS, Groups
from optbench.statistics.of_targets import OF_TARGETS, Runtimes, of_targets

Array = npt.NDArray[np.float64]
SIZES = (5, 10, 30)
DRAWN: dict[str, tuple[Callable[[np.random.Generator, tuple[int, ...]], Array], Callable[[Array], Array]]] = {
    "normal": (lambda rng, size: rng.normal(20, 1, size), scipy.stats.norm(20, 1).ppf),
    "lognormal": (lambda rng, size: rng.lognormal(0, 1, size), scipy.stats.lognorm(1).ppf),
    "t3": (lambda rng, size: 20 + rng.standard_t(3, size), scipy.stats.t(3, 20).ppf),
}
REPEATS = 4000
Made = Callable[[Array, np.random.Generator], Estimate]
RATES = np.array([0.01, 0.1, 1.0])


def population(kind: str, of: Callable[[Array], float]) -> float:
    """A figure of the distribution, by a million of its quantiles."""
    return of(DRAWN[kind][1]((np.arange(1_000_000) + 0.5) / 1_000_000))


def middle(values: Array) -> float:
    return float(np.sort(values)[len(values) // 4 : -len(values) // 4].mean())


def failing(values: Array, rng: np.random.Generator) -> Estimate:
    """Three runs in ten fail, at cost 25."""
    solved = rng.random(len(values)) < 0.7
    return runtimes.ert_intervals(np.where(solved, values, np.inf), np.where(solved, values, 25.0))[0]


def share(values: Array, rng: np.random.Generator) -> Estimate:
    """Ours takes as long as the baseline, a run at its own pace."""

    def curves(paces: Array) -> profiles.Curves:
        n = len(paces)
        return np.outer(paces, [1.0, 2.0, 3.0]).ravel(), np.tile([3.0, 2.0, 1.0], n), np.arange(n + 1) * 3

    half = len(values) // 2
    return profiles.share_of_cost(curves(np.abs(values[:half])), curves(np.abs(values[half:])))


def slower(values: Array, rng: np.random.Generator) -> Estimate:
    """On two problems, 2.2 times as long as the fastest."""
    first, second, third, fourth = np.abs(values).reshape(4, -1)
    return profiles.algoperf_intervals([[first, second], [2.2 * third, 2.2 * fourth]], draws=500)[1]


def survived(values: Array, rng: np.random.Generator) -> Estimate:
    """The share solved of runs of which three in ten are stopped, less a share that is drawn; of other numbers than
    the values, whose distribution changes no rank."""
    n = len(values)
    while True:
        times, share = rng.random(n), rng.uniform(0.02, 0.98)
        ends = np.where(rng.random(n) < 0.3, rng.random(n), 2.0)
        found = censored.kaplan_meier(np.minimum(times, ends), times <= ends)
        if (at := int(np.searchsorted(found.costs, share, side="right")) - 1) >= 0:
            break
    return Estimate(0.0, float(found.low[at]) - share, float(found.high[at]) - share, resampling.of_survivors(n), n)


MEANS: dict[str, tuple[Made, Callable[[Array], float]]] = {
    "mean": (lambda v, _: aggregate.mean_score([v]), lambda v: float(v.mean())),
    "ERT": (failing, lambda v: float((0.7 * v.mean() + 0.3 * 25) / 0.7)),
    "restricted mean": (
        lambda v, _: censored.restricted_mean(np.clip(v, 0, 22), (v <= 22).tolist(), 22.0),
        lambda v: float(np.clip(v, 0, 22).mean()),
    ),
}
"""What is promised the least of the three distributions: some case must come to it."""
OTHERS: dict[str, tuple[Made, Callable[[Array], float], int]] = {
    "median": (lambda v, _: of_numbers.median_interval(v), lambda v: float(np.median(v)), 1),
    "interquartile mean": (lambda v, _: aggregate.iqm([v]), middle, 1),
    "of two problems": (lambda v, _: aggregate.iqm([v[::2], v[1::2]]), middle, 2),
    "of six problems": (lambda v, _: aggregate.iqm(np.split(v, 6)), middle, 6),
    "share of cost": (share, lambda v: 1.0, 2),
    "algoperf": (slower, lambda v: 0.6, 4),
    "Kaplan-Meier": (survived, lambda v: 0.0, 1),
    "improvement": (lambda v, _: aggregate.improvement([v[::2]], [v[1::2]]), lambda v: 0.5, 2),
    "certified gain": (lambda v, _: steps_to.gain(v[::2], v[1::2], 0.0), lambda v: 0.0, 2),
}
"""What covers as it says whatever the losses, and how many samples of n it is of."""


def covered(made: Made, truth: float, kind: str, n: int, size: int, repeats: int) -> tuple[float, float]:
    """The share of intervals that hold the truth, and what they say."""
    rng, hits, said = np.random.default_rng(n), 0, math.nan
    for _ in range(repeats):
        found = made(DRAWN[kind][0](rng, (size,)), rng)
        assert found.low is not None and found.high is not None and found.coverage is not None  # noqa: PT018
        hits, said = hits + (found.low <= truth <= found.high), found.coverage
    return hits / repeats, said


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
def test_means_say_how_often_they_are_covered_at_the_least(n: int, capsys: pytest.CaptureFixture[str]) -> None:
    shares = {
        (name, kind): covered(made, population(kind, of), kind, n, n, REPEATS)
        for name, (made, of) in MEANS.items()
        for kind in DRAWN
    }
    with capsys.disabled():
        print(*(f"\n{name} of {n} {kind}: {s:.3f}, said {t:.3f}" for (name, kind), (s, t) in shares.items()), end="")
    ((_, said),) = {(0, said) for _, said in shares.values()}
    assert said == resampling.of_means(n)
    noise = math.sqrt(said * (1 - said) / REPEATS)
    least = min(found for found, _ in shares.values())
    assert said - 0.01 - noise <= least <= said + 0.01 + noise


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", DRAWN)
def test_middles_cover_as_they_say(kind: str, name: str, n: int, capsys: pytest.CaptureFixture[str]) -> None:
    made, of, samples = OTHERS[name]
    found, said = covered(made, population(kind, of), kind, n, n * samples, REPEATS)
    with capsys.disabled():
        print(f"\n{name} of {n} {kind}: {found:.4f}, said {said:.4f}", end="")
    assert found == pytest.approx(said, abs=0.01 + math.sqrt(said * (1 - said) / REPEATS))


@pytest.mark.slow
@pytest.mark.parametrize(("problems", "n", "said"), [(2, 2, 0.65), (2, 3, 0.885), (3, 2, 0.75), (20, 2, 0.94)])
def test_two_runs_of_few_problems_cover_as_little_as_they_say(problems: int, n: int, said: float) -> None:
    for kind in DRAWN:
        found, told = covered(
            lambda v, _: aggregate.iqm(np.split(v, problems)), population(kind, middle), kind, n, problems * n, 1000
        )
        print(
            f"\ninterquartile mean of {problems} problems, {n} {kind} runs each: {found:.3f}, said {told:.3f}", end=""
        )
        assert told == said
        assert found == pytest.approx(said, abs=0.015 + math.sqrt(said * (1 - said) / 1000))


RATES = np.logspace(-3, 0, 7)
LINES = {"valley": 12 * np.linspace(-1, 1, 7) ** 2, "plateau": np.array([3.0, 1, 0, 0, 0, 1, 3]), "alike": np.zeros(7)}
"""Medians or means at each rate, without what is drawn."""
SPREADS = (0.05, 1.0)
START = 40.0


def of_lines(made: Callable[[Array, Array], Estimate], name: str, n: int, repeats: int) -> tuple[float, float]:
    """The least share of intervals over distributions, lines and spreads that hold the truth, and what they say."""
    rates, found, said = np.repeat(RATES, n), [], math.nan
    for (kind, (draw, quantile)), (line, levels), spread in itertools.product(DRAWN.items(), LINES.items(), SPREADS):
        centre = float(quantile(np.array(0.5))) if name == "lr_share" else population(kind, lambda v: float(v.mean()))
        if name == "lr_share":
            truth = tuned.share_within(RATES, levels, scale=START - levels.min())
        else:
            inside = np.abs(np.log10(RATES / RATES[levels.argmin()])) <= 1.5 + 1e-9
            truth = float(levels[inside].mean() - levels.min())
        rng, held = np.random.default_rng(n), 0
        for _ in range(repeats):
            losses = levels[:, None] + spread * (draw(rng, (len(RATES), n)) - centre)
            one = made(rates, losses.ravel())
            assert one.low is not None and one.high is not None and one.coverage is not None  # noqa: PT018
            held, said = held + (one.low - 1e-9 <= truth <= one.high + 1e-9), one.coverage
        found.append(held / repeats)
        print(f"\n{name} of {n} {kind} runs a rate, {line}, spread {spread}: {found[-1]:.3f}, said {said:.3f}", end="")
    return min(found), said


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
def test_the_share_of_rates_is_covered_at_least_as_often_as_is_said(n: int) -> None:
    least, said = of_lines(lambda rates, losses: tuned.share_interval(rates, losses, START), "lr_share", n, 400)
    assert least >= said
    medians = of_numbers.median_interval(np.arange(n, dtype=float), 1 - 0.05 / 7).coverage
    assert said == pytest.approx(1 - 7 * (1 - (medians or 0)))


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
def test_sensitivity_is_covered_at_least_as_often_as_is_said(n: int) -> None:
    """Of rates that are all alike too, where the best one found anew in each resample never covers."""
    least, said = of_lines(
        lambda rates, losses: tuned.sensitivity_interval(rates, losses, START), "lr_sensitivity", n, 300
    )
    assert least >= said - 0.01 - 2 * math.sqrt(said * (1 - said) / 300)


SCORES = {"iqm": "of two problems", "improvement": "improvement", "share_of_cost": "share of cost",
          "algoperf": "algoperf", "certified_gain": "certified gain"}  # fmt: skip
"""By which of OTHERS a score that is asked for is held."""
OF_LINES = {"lr_sensitivity", "lr_share"}
"""Those of learning rates, held above."""
NONE = {"algoperf_code", "dolan_more", "ert"}
"""Scores without an interval; that of `rank` is half a critical difference, see test_ranks.py."""
BY_COST = {"km_solved": "Kaplan-Meier", "restricted_mean": "restricted mean"}
"""Scores of targets that there are where budgets differ alone, by which of OTHERS and MEANS they are held."""


def test_every_score_that_is_asked_for_is_held() -> None:
    assert {*SCORES, *OF_LINES, *NONE, "rank"} == {*across.RULES, *within.RULES}
    assert {*SCORES.values(), *BY_COST.values()} <= {*OTHERS, *MEANS}


def rows(values: Array, met: npt.NDArray[np.bool_]) -> RunTable:
    """Runs of which every number is the one that was drawn, seconds its square; those that missed lack their step."""
    names = {name for one in STATISTICS.values() for name in one.needs} - {"status", "seconds_of", "engine", "device"}
    fixed = {"status": "completed", "engine": "loop", "device": "cpu", "epochs": 1}
    return RunTable.of([
        {**dict.fromkeys(names, value), "seconds": value**2, "steps_to_target": value if hit else None,
         "run_id": f"{i:012x}", "seed": i, **fixed}
        for i, (value, hit) in enumerate(zip(values.tolist(), met.tolist(), strict=True))
    ])  # fmt: skip


def estimates(values: Array, met: npt.NDArray[np.bool_]) -> dict[str, list[Estimate | None]]:
    """Every score of each group, (groups, n) runs, those of common targets too, by name."""
    groups, n = values.shape
    codes = np.repeat(np.arange(groups), n)
    own = Groups(rows(values.ravel(), met.ravel()), codes, groups)
    found = {name: one.compute(own) for name, one in STATISTICS.items()}
    hits, ends = np.where(met, values, np.inf).reshape(-1, 1), np.where(met, values, 25.0).ravel()
    runtimes_of = Runtimes(codes, groups, hits, ends, 0, 25.0, np.zeros(groups * n, dtype=np.bool_))
    return found | {name: [one[name] for one in of_targets(runtimes_of)] for name in OF_TARGETS}


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", DRAWN)
def test_every_score_of_a_group_covers_as_it_says(kind: str, n: int, capsys: pytest.CaptureFixture[str]) -> None:
    """What a score is of is what it is of 2,000 runs whose numbers are quantiles of the distribution. Of a share, every
    group has a rate of its own: that of whole successes goes up and down with it, and is promised on average."""
    rng, groups, many = np.random.default_rng(n), 4000, 2000
    quantiles, rate = DRAWN[kind][1]((rng.permutation(many) + 0.5) / many)[None], 0.7
    truth = estimates(quantiles, (np.arange(many) < rate * many)[None])
    drawn, luck, rates = DRAWN[kind][0](rng, (groups, n)), rng.random((groups, n)), rng.random(groups)
    made, shares = estimates(drawn, luck < rate), estimates(drawn, luck < rates[:, None])
    without = set()
    for name, (true,) in truth.items():
        is_share = true is not None and abs(true.value - rate) < 1e-9
        found = [one for one in (shares if is_share else made)[name] if one is not None]
        if true is None or not found or found[0].coverage is None:
            assert all(one.coverage is None for one in found)
            without.add(name)
            continue
        said = found[0].coverage
        aims = rates if is_share else np.full(groups, true.value)
        held = [one.low <= aim <= one.high for one, aim in zip(found, aims, strict=True)]
        share, noise = float(np.mean(held)), 0.01 + math.sqrt(said * (1 - said) / groups)
        with capsys.disabled():
            print(f"\n{name} of {n} {kind}: {share:.3f}, said {said:.3f}", end="")
        # of means the least is promised, to which some distribution comes, see above
        assert said - noise <= share
        assert share <= said + noise or said == resampling.of_means(n)
    assert set(BY_COST) <= without
    assert len(without) <= 6  # ert, PAR10, restarts, certified steps


def test_what_wilsons_interval_covers_is_what_is_said_of_it() -> None:
    """Exactly, by the binomial distribution, over rates from 0.001 to 0.999."""
    rates = np.linspace(0.001, 0.999, 999)
    inner = (rates >= 0.2) & (rates <= 0.8)
    for n, mean, least, inside in ((5, 0.955, 0.83, 0.91), (10, 0.954, 0.84, 0.92), (30, 0.953, 0.86, 0.93)):
        found = [of_numbers.success_rate(k, n) for k in range(n + 1)]
        holds = [(one.low <= rates) & (rates <= one.high) for one in found]  # type: ignore[operator]
        covers = (scipy.stats.binom.pmf(np.arange(n + 1)[:, None], n, rates) * holds).sum(axis=0)
        assert covers.mean() == pytest.approx(mean, abs=6e-4)
        assert (covers.min(), covers[inner].min()) == pytest.approx((least, inside), abs=0.008)
