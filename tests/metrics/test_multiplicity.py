"""Adjusted p-values of pairs, held to their definition by brute force, to published counts and to simulations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.metrics import multiplicity
from optbench.metrics.multiplicity import adjust, partitions, possible_counts
from optbench.metrics.pairs import holm

P = st.sampled_from([1e-6, 1e-4, 0.001, 0.003, 0.004, 0.01, 0.02, 0.024, 0.04, 0.3, 1.0])


def all_pairs(k: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(k), 2))


def exhaustive_sets(k: int, listed: list[tuple[int, int]]) -> set[frozenset[tuple[int, int]]]:
    """By the definition, and not by listing partitions: sets of pairs that are closed under a = b = c."""
    found = set()
    for labels in itertools.product(range(k), repeat=k):
        found.add(frozenset(pair for pair in listed if labels[pair[0]] == labels[pair[1]]))
    return found


def closed(p: list[float], k: int, listed: list[tuple[int, int]]) -> list[float]:
    value = dict(zip(listed, p, strict=True))
    sets = [one for one in exhaustive_sets(k, listed) if one]
    return [min(1.0, max(len(one) * min(value[q] for q in one) for one in sets if pair in one)) for pair in listed]


@settings(max_examples=40, deadline=None)
@given(st.lists(P, min_size=10, max_size=10))
def test_it_is_bergmann_and_hommels_by_its_definition(p: list[float]) -> None:
    found = adjust(p, all_pairs(5), [0] * 10, 0.05)
    assert found.p.tolist() == pytest.approx(closed(p, 5, all_pairs(5)))
    assert (found.p <= holm(p) + 1e-15).all()  # uniformly more powerful
    assert found.p.min() == pytest.approx(holm(p).min())  # and the first step is the same


@settings(max_examples=25, deadline=None)
@given(st.lists(P, min_size=6, max_size=6), st.lists(P, min_size=3, max_size=3))
def test_sets_of_several_problems_combine_freely(first: list[float], second: list[float]) -> None:
    listed = all_pairs(4) + [(a + 4, b + 4) for a, b in all_pairs(3)]
    value = dict(zip(listed, first + second, strict=True))
    ours = exhaustive_sets(4, all_pairs(4))
    theirs = {frozenset((a + 4, b + 4) for a, b in one) for one in exhaustive_sets(3, all_pairs(3))}
    sets = [one | other for one in ours for other in theirs if one | other]
    by_hand = [min(1.0, max(len(one) * min(value[q] for q in one) for one in sets if pair in one)) for pair in listed]
    found = adjust(first + second, all_pairs(4) + all_pairs(3), [7] * 6 + [2] * 3, 0.05)
    assert found.p.tolist() == pytest.approx(by_hand)


def test_three_configurations_in_closed_form_and_one_baseline_is_holms() -> None:
    found = adjust([0.01, 0.04, 0.03], all_pairs(3), [0, 0, 0], 0.05)
    assert found.p.tolist() == pytest.approx([0.03, 0.04, 0.03])  # max of p and of 3 times the least one
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    p = [0.001, 0.02, 0.013, 0.3]
    assert adjust(p, [(0, 9), (1, 9), (2, 9), (3, 9)], [0] * 4, 0.05).p.tolist() == pytest.approx(holm(p).tolist())


def test_how_many_pairs_can_be_the_same() -> None:
    assert possible_counts(6) == [0, 1, 2, 3, 4, 6, 7, 10, 15]  # Shaffer 1986
    for k in range(2, 8):
        sizes = {sum(math.comb(n, 2) for n in np.bincount(labels)) for labels in itertools.product(range(k), repeat=k)}
        assert possible_counts(k) == sorted(sizes)
    assert [len(partitions(k)) for k in range(1, 10)] == [1, 2, 5, 15, 52, 203, 877, 4140, 21147]  # Bell
    assert len({tuple(row) for row in partitions(7).tolist()}) == 877


def test_of_many_configurations_sizes_have_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    p = (rng.random(15) ** 6).tolist()
    whole = adjust(p, all_pairs(6), [0] * 15, 0.05)
    monkeypatch.setattr(multiplicity, "EXHAUSTIVE", 5)
    sized = adjust(p, all_pairs(6), [0] * 15, 0.05)
    order, counts = np.argsort(p), possible_counts(6)
    steps = [max(n for n in counts if n <= 15 - i) for i in range(15)]  # 15, 10, 10, 10, 10, 10, 7, 7, 7, 6, 4, ...
    shaffer = np.empty(15)
    shaffer[order] = np.minimum(1, np.maximum.accumulate(np.array(p)[order] * steps))
    assert sized.p.tolist() == pytest.approx(shaffer.tolist())
    assert (whole.p <= sized.p + 1e-15).all()
    assert (sized.p <= holm(p) + 1e-15).all()
    monkeypatch.setattr(multiplicity, "_LARGE", 5)
    multiplicity._possible.cache_clear()
    least = adjust(p, all_pairs(6), [0] * 15, 0.05)
    multiplicity._possible.cache_clear()
    assert (least.p >= sized.p - 1e-15).all()
    assert (least.p <= holm(p) + 1e-15).all()


def test_what_is_left_to_be_told_apart() -> None:
    # 0 is told from all; the others are five alike, of which a pair is among 10 at most
    p = [1e-6 if a == 0 else 0.4 for a, _ in all_pairs(6)]
    found = adjust(p, all_pairs(6), [0] * 15, 0.05)
    assert found.left[5:].tolist() == [10] * 10
    assert adjust([0.4] * 15, all_pairs(6), [0] * 15, 0.05).left.tolist() == [15] * 15


@pytest.mark.slow
def test_families_with_some_that_are_the_same_are_false_in_at_most_alpha() -> None:
    """Rank sums of normal samples: all six alike, five, three and three, two pairs; the share of false families."""
    from optbench.metrics import rank_tests

    rng, count, n = np.random.default_rng(4), 2000, 12
    first, second = np.triu_indices(6, 1)
    for levels in ([0] * 6, [9, 0, 0, 0, 0, 0], [0, 0, 0, 9, 9, 9], [0, 0, 9, 9, 20, 30]):
        values = rng.normal(size=(count, 6, n)) + np.array(levels)[:, None]
        a, b = (values[:, side].reshape(-1, n) for side in (first, second))
        p = rank_tests.two_sided(*rank_tests.rank_sum_tails(a, b)).reshape(count, 15)
        same = np.array(levels)[first] == np.array(levels)[second]
        false = np.mean([(adjust(row, all_pairs(6), [0] * 15, 0.05).p[same] <= 0.05).any() for row in p.tolist()])
        print(f"\n{levels}: a false pair in {100 * false:.1f} % of {count} families", end="")
        assert false <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / count)
