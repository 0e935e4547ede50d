"""Verdicts as sentences: the better one is named first, with the size of the difference and its n."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.metrics.pairs import verdicts
from optbench.report.pairs import sentence


def said(a: list[float], b: list[float], direction: int = -1, share: bool = False, **options: float) -> str:
    pairs = verdicts([a, b], direction, **options)
    return sentence(pairs[0], "A", "B", len(pairs), direction, share)


LOW, HIGH = [float(i) for i in range(10)], [float(i) + 3 for i in range(10)]


def test_the_better_one_stands_first_whatever_the_order() -> None:
    assert said(LOW, HIGH) == said(HIGH, LOW).replace("A", "x").replace("B", "A").replace("x", "B")
    assert said(LOW, HIGH) == "A is better than B: 3 [3, 3] lower (n = 10 shared seeds; p = 0.002)"
    assert said(LOW, HIGH, 1) == "B is better than A: 3 [3, 3] higher (n = 10 shared seeds; p = 0.002)"


def test_shares_differ_by_points() -> None:
    found = said([0.90 + i / 1000 for i in range(8)], [0.80 + i / 1000 for i in range(8)], 1, share=True)
    assert (
        found.startswith("A is better than B: 10 [10, 10] points higher") or "10 points [10 points, 10 points]" in found
    )


def test_three_seeds_are_not_enough_and_it_says_how_many_would_be() -> None:
    found = said(LOW[:3], [h + i / 7 for i, h in enumerate(HIGH[:3])])
    assert found.startswith("A and B: not enough evidence (n = 3 shared seeds; p = 0.25; ")
    assert re.search(r"(\d+) more seeds? would decide", found)


def test_runs_without_a_result_are_words_and_no_number() -> None:
    found = said(LOW, [math.inf] * 10)
    assert found == "A is better than B: it has a result where the other has none (n = 10 shared seeds; p = 0.002)"


def test_equivalence_names_the_difference() -> None:
    found = said([1 + 1e-6 * i for i in range(20)], [1 + 1e-6 * (i % 7) for i in range(20)], equivalent_within=0.1)
    assert found.startswith("A and B are equivalent within 0.1 (n = 20 shared seeds; p = ")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([-1, 1]), st.floats(-3, 3))
def test_what_is_called_better_is_better(seed: int, direction: int, shift: float) -> None:
    random = np.random.default_rng(seed)
    a, b = random.normal(size=12), random.normal(size=12) + shift
    found = said(a.tolist(), b.tolist(), direction)
    match = re.match(r"(A|B) is better than (A|B): (\S+) ", found)
    if match is None:
        assert "not enough evidence" in found
        return
    first, second = (a, b) if match[1] == "A" else (b, a)
    assert direction * (np.median(first) - np.median(second)) > -0.5  # a test of ranks, not of medians
    assert float(match[3]) > 0


def test_names_that_a_terminal_would_obey_are_harmless() -> None:
    pair = verdicts([LOW, HIGH])[0]
    assert "\x1b" not in sentence(pair, "\x1b[31mA", "B\u202e", 1, -1)


@pytest.mark.parametrize("p", [0.5, 0.01, 0.00099, 1e-7])
def test_p_values_read_as_numbers(p: float) -> None:
    from optbench.report.pairs import _p

    assert float(_p(p)) == pytest.approx(p, rel=0.1)
