"""How often intervals cover what they are of, for 5, 10 and 30 normal, skewed and heavy-tailed runs, against what they
say; the slow tests print the figures: of means the least of the three within 0.01 of what is said, others not below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from optbench.metrics import Estimate, aggregate, censored, estimates, profiles, resampling, runtimes, tuned

Array = npt.NDArray[np.float64]
SIZES = (5, 10, 30)
DRAWN: dict[str, tuple[Callable[[np.random.Generator, tuple[int, ...]], Array], Callable[[Array], Array]]] = {
    "normal": (lambda rng, size: rng.normal(20, 1, size), scipy.stats.norm(20, 1).ppf),
    "lognormal": (lambda rng, size: rng.lognormal(0, 1, size), scipy.stats.lognorm(1).ppf),
    "t3": (lambda rng, size: 20 + rng.standard_t(3, size), scipy.stats.t(3, 20).ppf),
}
REPEATS = 1200
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


def sensitive(values: Array, rng: np.random.Generator) -> Estimate:
    losses = values.reshape(len(RATES), -1) + np.array([[4.0], [0.0], [4.0]])
    return tuned.sensitivity_interval(np.repeat(RATES, losses.shape[1]), losses.ravel(), 1e9)


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
    "median": (lambda v, _: estimates.median_interval(v), lambda v: float(np.median(v)), 1),
    "interquartile mean": (lambda v, _: aggregate.iqm([v]), middle, 1),
    "of two problems": (lambda v, _: aggregate.iqm([v[::2], v[1::2]]), middle, 2),
    "share of cost": (share, lambda v: 1.0, 2),
    "lr sensitivity": (sensitive, lambda v: 8 / 3, 3),
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
    noise = 3 * math.sqrt(said * (1 - said) / REPEATS)
    least = min(found for found, _ in shares.values())
    assert said - noise <= least <= said + 0.01 + noise


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_middles_cover_as_they_say(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    made, of, samples = OTHERS[name]
    for kind in DRAWN:
        for n in SIZES:
            found, said = covered(made, population(kind, of), kind, n, n * samples, REPEATS // 3)
            with capsys.disabled():
                print(f"\n{name} of {n} {kind}: {found:.3f}, said {said:.3f}", end="")
            assert found >= said - 0.01 - 3 * math.sqrt(said * (1 - said) / (REPEATS // 3))


def test_what_wilsons_interval_covers_is_what_is_said_of_it() -> None:
    """Exactly, by the binomial distribution, over rates from 0.001 to 0.999."""
    rates = np.linspace(0.001, 0.999, 999)
    inner = (rates >= 0.2) & (rates <= 0.8)
    for n, mean, least, inside in ((5, 0.955, 0.83, 0.91), (10, 0.954, 0.84, 0.92), (30, 0.953, 0.86, 0.93)):
        found = [estimates.success_rate(k, n) for k in range(n + 1)]
        holds = [(one.low <= rates) & (rates <= one.high) for one in found]  # type: ignore[operator]
        covers = (scipy.stats.binom.pmf(np.arange(n + 1)[:, None], n, rates) * holds).sum(axis=0)
        assert covers.mean() == pytest.approx(mean, abs=6e-4)
        assert (covers.min(), covers[inner].min()) == pytest.approx((least, inside), abs=0.008)
