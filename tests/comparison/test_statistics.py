"""Statistics of all groups at once are those of each group alone, to the bit, and what plain Python makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_compare import Row, clocked
from plain_compare import statistics as plain_statistics
from plain_compare import stops as plain_stops

from optbench import metrics
from optbench.comparison.arrivals import NO_POINT, at_points, stops
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.records import Run, RunTable, Status
from optbench.statistics import STATISTICS, Groups, explain, statistics_of
from optbench.statistics.numbers import alone, interval, number

LOSSES = st.none() | st.sampled_from([0.0, 1.0, 1e-300, 1e300]) | st.floats(-1e6, 1e6)
COUNTS = st.none() | st.integers(0, 10**6)


def row(values: Mapping[str, Any]) -> Row:
    facts = {"run_id": "0" * 12, **values}
    return Row(facts, Run(facts, Path("folder")))


RUNS = st.fixed_dictionaries(
    {"status": st.sampled_from([str(status) for status in Status])},
    optional={
        "final_loss": LOSSES, "best_loss": LOSSES, "val_accuracy": st.none() | st.floats(0, 1),
        "best_val_accuracy": st.none() | st.floats(0, 1), "best_val_loss": LOSSES, "val_loss": LOSSES, "steps": COUNTS,
        "evals": COUNTS, "gradients": COUNTS, "hessian_products": COUNTS,
        "seconds": st.none() | st.floats(0, 1e4), "target": st.none() | st.just(0.5),
        "trainer.target": st.none() | st.just(0.25), "data": st.sampled_from([None, "none", "none", "digits"]),
        "steps_to_target": COUNTS, "stopped_at": st.sampled_from([None, "minimum (0, 0)", "saddle (1, 1)"]),
        "lambda_min": st.none() | st.floats(-1, 1), "seconds_of": st.sampled_from([None, "run", "batch"]),
        "engine": st.sampled_from([None, "loop", "loop", "eager", "fused+eager"]),
        "device": st.sampled_from([None, "cpu", "cpu", "a GPU"]),
    },
).map(row)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(RUNS, min_size=1, max_size=9), min_size=1, max_size=7))
def test_all_groups_at_once_are_each_group_alone(groups: list[list[Row]]) -> None:
    rows = RunTable.of([one.values for group in groups for one in group])
    codes = np.repeat(np.arange(len(groups)), list(map(len, groups)))
    computed, places = statistics_of(Groups(rows, codes, len(groups))), stops(rows, codes, len(groups))
    for group, own, place in zip(groups, computed, places, strict=True):
        alone = RunTable.of([one.values for one in group])
        assert own == statistics_of(Groups.of(alone))[0] == plain_statistics(group)
        assert tuple(own) == tuple(STATISTICS)
        assert place == stops(alone, np.zeros(len(alone), dtype=np.int64), 1)[0] == plain_stops(group)
        assert place is None or list(place) == list(plain_stops(group) or ())


def median_alone(values: np.ndarray) -> Estimate:
    """Of one group, as it was computed before groups were computed together."""
    n = len(values)
    if n == 1:
        return Estimate(values[0])
    rank, coverage = metrics.estimates._median_rank(n, 0.95)
    places = [rank - 1, n - rank, n // 2 - 1 + n % 2, n // 2]
    low, high, left, right = np.partition(values, places)[places].tolist()
    return Estimate(left if n % 2 else left / 2 + right / 2, low, high, coverage)


def time_alone(hits: np.ndarray, ends: np.ndarray) -> float:
    """Likewise; sums of floats depend on their order."""
    missed = np.isnan(hits)
    return math.inf if missed.all() else float(np.where(missed, ends, hits).sum() / (~missed).sum())


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 8, 9, 100, 127, 130, 1000, 2001])
def test_groups_of_one_size_are_rows_of_an_array(n: int) -> None:
    rng = np.random.default_rng(n)
    values = rng.choice([0.1, math.inf, *rng.lognormal(0, 20, n)], (11, n))
    assert metrics.median_intervals(values) == [median_alone(one) for one in values]
    assert metrics.median_interval(values[0]) == median_alone(values[0])
    hits = np.where(rng.random((11, n)) < 0.5, rng.lognormal(0, 3, (11, n)), math.nan)
    ends = rng.lognormal(0, 3, (11, n))
    assert metrics.expected_running_times(hits, ends) == [time_alone(*one) for one in zip(hits, ends, strict=True)]
    assert metrics.expected_running_time(hits[0], ends[0]) == time_alone(hits[0], ends[0])


def test_what_is_no_number_is_refused() -> None:
    refused: Sequence[Any] = (np.empty((3, 0)), np.array([[1.0, math.nan]]))
    for values in refused:
        with pytest.raises(ValueError, match="at least one value"):
            metrics.median_intervals(values)
    assert metrics.expected_running_time([], []) == math.inf


@settings(max_examples=30, deadline=None)
@given(st.lists(RUNS, min_size=1, max_size=9))
def test_an_estimate_says_of_how_many_runs_it_is(runs: list[Row]) -> None:
    (found,) = statistics_of(Groups.of(RunTable.of([run.values for run in runs])))
    values = [run.values for run in runs]
    counted = ("steps", "evals", "gradients", "hessian_products")
    known = {name: sum(v.get(name) is not None for v in values) for name in counted}
    aimed = sum(v.get("target") is not None or v.get("trainer.target") is not None for v in values)
    expected = {name: len(runs) for name in found} | known | {"seconds": sum(map(clocked, values))}
    for name, column in (("seconds_per_update", "steps"), ("seconds_per_epoch", "epochs")):
        expected[name] = sum(bool(clocked(v) and v.get(column)) for v in values)
    expected |= dict.fromkeys(("steps_to_target", "success_rate", "ert"), aimed)
    assert {name: one.n for name, one in found.items() if one is not None} == {
        name: n for name, n in expected.items() if found[name] is not None
    }


def test_every_statistic_has_a_title_and_a_rule() -> None:
    assert {"success_rate", "ert", "steps_to_target", "final_loss"} <= STATISTICS.keys()
    for name, one in STATISTICS.items():
        assert one.name == name
        assert len(one.rule.split()) > 4
        assert f"{one.title}): {one.rule}." in explain(name)
        assert one.direction in (-1, 1)
    places = [one.place for one in STATISTICS.values() if one.place is not None]
    assert len(set(places)) == len(places)
    assert len({one.title for one in STATISTICS.values()}) == len(STATISTICS)
    with pytest.raises(UserError, match="no score 'ertt'") as caught:
        explain("ertt")
    assert "did you mean ert?" in caught.value.hint
    assert all(name in caught.value.hint for name in STATISTICS)


@pytest.mark.parametrize("name", STATISTICS)
def test_a_statistic_is_computed_from_what_it_says_it_needs(name: str) -> None:
    full = {
        "status": "target_reached", "final_loss": 0.25, "best_loss": 0.25, "val_accuracy": 0.5,
        "best_val_accuracy": 0.75, "best_val_loss": 0.25, "val_loss": 0.5, "steps": 7, "evals": 9, "epochs": 4.0,
        "gradients": 9, "hessian_products": 5,
        "seconds": 0.5, "seconds_of": "run", "engine": "loop", "device": "cpu", "target": 1,
        "trainer.target": 1, "steps_to_target": 7, "trainer.target_accuracy": 1, "trainer.target_val_loss": 1,
    }  # fmt: skip
    one, other = (
        STATISTICS[name],
        {"status": "diverged", "steps": 3, "target": 1, "seconds_of": "batch", "seconds": 9.0},
    )
    runs = [full, full | {"final_loss": 0.75, "best_loss": 0.5, "seconds": 2.0}, other]
    needed = [{key: run.get(key) for key in one.needs} for run in runs]
    every = one.compute(Groups.of(RunTable.of(runs)))
    assert every == one.compute(Groups.of(RunTable.of(needed)))
    for blank in one.needs:  # and none of them is idle, of the names of a target at least together
        blanks = {key for key in one.needs if key == blank or ("target" in key and "target" in blank)}
        judged = {"status": "failed", "engine": "fused", "seconds_of": "batch", "device": "a GPU"}
        if blank in judged:
            changed = [full | {blank: judged[blank]}, *runs[1:]]
        else:
            changed = [{key: value for key, value in run.items() if key not in blanks} for run in runs]
        assert one.compute(Groups.of(RunTable.of(changed))) != every, blank


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (math.nan, "-"), (math.inf, "inf"), (-math.inf, "-inf"), (0.0, "0"), (-0.0, "0"), (3.0, "3"),
        (-12.0, "-12"), (999_999.0, "999999"), (1e6, "1.00e+06"), (99_994.4, "9.999e+04"), (12_345.6, "1.235e+04"),
        (123_456.7, "1.23e+05"), (1e-3, "0.001"), (0.00099, "9.90e-04"), (-0.00099, "-9.90e-04"), (1.23456, "1.235"),
        (1234.56, "1235"), (-0.5, "-0.5"),
    ],
)  # fmt: skip
def test_numbers_as_people_read_them(value: float | None, text: str) -> None:
    assert number(value) == text


def test_an_estimate_in_words() -> None:
    two = Estimate(0.5, 0.25, 0.75, 0.95, 4)
    assert interval(two, 4) == "0.5 [0.25, 0.75]"
    assert interval(two, 2) == "0.5 [0.25, 0.75]"
    assert interval(two, 1) == "0.5"
    assert interval(two, 4, share=True) == "50.0 [25.0, 75.0]"
    assert interval(Estimate(0.5, 0.5, 0.5, 0.95), 4) == "0.5"
    assert interval(Estimate(0.5, None, 0.75), 4) == interval(Estimate(0.5, 0.25, None), 4) == "0.5"
    assert interval(Estimate(-math.inf, -math.inf, 1.0), 4, share=True) == "- [-, 100.0]"
    assert interval(None, 4) == alone(None, 4) == "-"
    assert [alone(two, n) for n in (4, 5)] == ["0.5", "0.5 (4 of 5)"]
    assert alone(Estimate(2.0), 5) == "2"


def test_a_rule_is_explained_with_what_it_needs_and_what_is_better() -> None:
    ert = explain("ert").splitlines()
    assert ert[0].startswith("ert (ERT, steps): expected running time: ")
    assert ert[1:] == [
        "Computed from: steps_to_target, target, trainer.target, trainer.target_accuracy, trainer.target_val_loss, "
        "steps. Better: small."
    ]
    accuracy = explain("val_accuracy").splitlines()
    assert [line.partition(" ")[0] for line in accuracy] == ["val_accuracy", "[low,", "Computed"]
    assert accuracy[-1].endswith("Better: large.")
    assert len(explain("success_rate").splitlines()) == 2
    assert len(explain("steps_to_target").splitlines()) == 3
    assert STATISTICS["ert"].sentence.startswith("ERT: expected running time")
    for wrong, hint in (
        ("final_los", "did you mean final_loss? scores: final_loss, "),
        ("zzz", "scores: final_loss, "),
    ):
        with pytest.raises(UserError, match=f"no score '{wrong}'") as caught:
            explain(wrong)
        assert caught.value.hint.startswith(hint)


def test_only_accuracies_and_shares_are_better_large() -> None:
    assert {name for name, one in STATISTICS.items() if one.direction == 1} == {
        "best_val_accuracy", "val_accuracy", "success_rate"
    }  # fmt: skip


def test_critical_points_are_what_is_left_without_the_words_for_none() -> None:
    counts = {"minimum (0, 0)": 3, "saddle (1, 1)": 2, **dict.fromkeys(NO_POINT, 1)}
    assert at_points(counts) == ["minimum (0, 0)", "saddle (1, 1)"]
    assert at_points(None) == at_points({}) == []
