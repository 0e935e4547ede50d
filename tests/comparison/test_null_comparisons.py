"""Whole comparisons of configurations that are the same, by the very code that `optbench compare` runs: how many of
them say anything. `pytest -s` prints the figures."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from made_runs import summarize

from optbench.comparison import Comparison, compare
from optbench.metrics import wilson
from optbench.records import RunTable

CONFIGURATIONS = 6
Losses = npt.NDArray[np.float64]


@functools.cache
def row(configuration: int, seed: int) -> dict[str, Any]:
    """A run with its settings, as a record has them; its losses are drawn below."""
    return summarize({"seed": seed, "optimizer.lr": 10.0**-configuration}, {})


def compared(losses: Losses, seeds: Sequence[int], **asked: Any) -> Comparison:
    """The comparison of runs of these losses, (configurations, seeds); infinite where a run diverged."""
    runs = [
        row(i, seed)
        | ({"final_loss": float(loss)} if np.isfinite(loss) else {"final_loss": None, "status": "diverged"})
        for i, own in enumerate(losses)
        for seed, loss in zip(seeds, own, strict=True)
    ]
    return compare(RunTable.of(runs), **asked)


def says_something(found: Comparison) -> bool:
    assert len(found.pairs) == CONFIGURATIONS * (CONFIGURATIONS - 1) // 2
    return any(one.verdict != "undecided" for one in found.pairs)


def drawn(rng: np.random.Generator, seeds: int) -> Losses:
    """Losses of one distribution, in turn of three kinds: normal, lognormal, and with one run in ten diverged; those of
    a seed have a part in common."""
    shape = (CONFIGURATIONS, seeds)
    kind = int(rng.integers(3))
    losses = rng.normal(size=shape) if kind == 0 else rng.lognormal(size=shape)
    if kind == 2:
        losses = np.where(rng.random(shape) < 0.1, np.inf, losses)
    return losses + rng.normal(size=(1, seeds)) * rng.integers(2)


def report(what: str, false: int, count: int) -> None:
    """Prints the share of false ones with Wilson's interval."""
    share = wilson(false / count, count)
    ends = f"[{100 * (share.low or 0):.1f}, {100 * (share.high or 0):.1f}]"
    print(f"\n{what}: {false} of {count}, {100 * share.value:.1f} % {ends}", end="")


def test_the_simulated_comparison_is_that_of_records(tmp_path: Any) -> None:
    from made_runs import make_run

    losses = drawn(np.random.default_rng(1), 6)
    losses[0] -= 100.0
    for i, own in enumerate(losses):
        for seed, loss in enumerate(own):
            make_run(tmp_path / f"{i}-{seed}", {"seed": seed, "optimizer.lr": 10.0**-i}, final_loss=float(loss))
    ours, theirs = compared(losses, range(6)), compare([tmp_path])
    assert [one.to_json() for one in ours.pairs] == [one.to_json() for one in theirs.pairs]
    assert says_something(compared(np.arange(6.0)[:, None] + np.arange(10) / 100, range(10)))


@pytest.mark.slow
def test_of_a_thousand_comparisons_of_the_same_at_most_one_in_twenty_says_anything() -> None:
    rng = np.random.default_rng(16)
    false = sum(says_something(compared(drawn(rng, 10), range(10))) for _ in range(1000))

    report("comparisons of 6 configurations, 10 seeds: any verdict in", false, 1000)
    assert false / 1000 <= 0.05


@pytest.mark.slow
def test_looked_at_after_every_seed_too() -> None:
    rng, count, seeds = np.random.default_rng(61), 150, 12
    false = naive = 0
    for _ in range(count):
        losses = drawn(rng, seeds)
        looks = [compared(losses[:, :n], range(n), anytime=True) for n in range(2, seeds + 1)]
        false += any(map(says_something, looks))
    for _ in range(20):
        losses = drawn(rng, 40)
        naive += any(says_something(compared(losses[:, :n], range(n))) for n in range(6, 41, 2))
    report("so looked at with the p of one look, seeds 6 to 40", naive, 20)
    report(f"looked at after each of {seeds} seeds with --anytime: any verdict in", false, count)
    assert false / count <= 0.05
