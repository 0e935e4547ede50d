"""Scores on one problem, in tables: by hand, by scipy and statsmodels, and by a second implementation of each rule."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from command_tools import invoke
from made_runs import make_run
from statsmodels.duration.survfunc import SurvfuncRight

from optbench.comparison import Comparison, compare
from optbench.comparison.rules import explain
from optbench.errors import UserError
from optbench.report import export


def run(folder: Path, name: str, seed: int, losses: Sequence[float], changes: Any = None, **summary: Any) -> None:
    """A run on a surface whose curve has these losses, a row a step."""
    lines = [{"step": i, "evals": 2 * i, "seconds": i / 10, "loss": value} for i, value in enumerate(losses)]
    settings = {"seed": seed, "optimizer._target_": f"torch.optim.{name}", **(changes or {})}
    told = {"final_loss": losses[-1], "steps": len(losses) - 1, **summary}
    words = "-".join(map(str, (changes or {}).values()))
    make_run(folder / f"{name}{words}-{seed}-{len(losses)}", settings, lines, optimizer=name, **told)


def statistic(found: Comparison, label: str, name: str) -> Any:
    (group,) = [group for group in found.groups if group.label == label]
    return group.statistics[name]


def score(found: Comparison, name: str) -> dict[str, Any]:
    return {one.configuration: one.estimate for one in found.scores if one.score == name}


def until(hit: int | None, length: int) -> list[float]:
    """A loss of 5 that is 0.5 from the step `hit` on, where there is one."""
    return [0.5 if hit is not None and step >= hit else 5.0 for step in range(length + 1)]


HITS: dict[str, list[tuple[int | None, int]]] = {  # when each run met the target, and how long it was
    "a": [(3, 9), (5, 9), (None, 4), (7, 9), (None, 9)],
    "b": [(2, 9), (None, 6), (None, 3), (None, 9), (8, 9)],
}


@pytest.fixture
def unequal(tmp_path: Path) -> Path:
    for name, runs in HITS.items():
        for seed, (hit, length) in enumerate(runs):
            run(tmp_path, name, seed, until(hit, length), {"trainer.steps": 9})
    return tmp_path


def test_where_budgets_differ_the_share_solved_is_kaplan_and_meiers(unequal: Path) -> None:
    found = compare([unequal], target="1")
    for name, runs in HITS.items():
        times, solved = [hit or length for hit, length in runs], [hit is not None for hit, _ in runs]
        theirs = SurvfuncRight(times, np.array(solved, dtype=int))
        km = statistic(found, name, "km_solved")
        assert km.value == pytest.approx(1 - theirs.surv_prob[-1])
        z = scipy.stats.norm.ppf(0.975)  # log-log: of log(-log S), by the delta method
        left, error = theirs.surv_prob[-1], theirs.surv_prob_se[-1]
        half = z * error / left / abs(math.log(left))
        assert (km.low, km.high) == pytest.approx((1 - left ** math.exp(-half), 1 - left ** math.exp(half)))
        edges = [0.0, *theirs.surv_times, 9.0]
        area = sum(s * (b - a) for s, a, b in zip([1.0, *theirs.surv_prob], edges, edges[1:], strict=False))
        assert statistic(found, name, "restricted_mean").value == pytest.approx(area)
        assert km.value > np.mean(solved)  # a plain share takes a run that was stopped for one that failed


def test_a_run_that_diverged_will_never_succeed_and_equal_budgets_need_no_kaplan_and_meier(unequal: Path) -> None:
    before = statistic(compare([unequal], target="1"), "b", "km_solved").value
    run(unequal, "b", 2, until(None, 3), {"trainer.steps": 9}, status="diverged", final_loss=math.inf)
    after = compare([unequal], target="1")
    assert statistic(after, "b", "km_solved").value < before
    # successes at 2 and 8, one of five diverged at 3, one was stopped at 6: (1 - 1/5) (1 - 1/3) are left
    assert statistic(after, "b", "km_solved").value == pytest.approx(1 - 4 / 5 * 2 / 3)
    for name in ("km_solved", "restricted_mean"):
        assert statistic(compare([unequal], target="1", budget="3steps"), "a", name) is None
        assert explain(name).startswith(f"{name} (")


def test_simulated_restarts_are_cocos_drawn_by_a_second_program(unequal: Path) -> None:
    found = compare([unequal], target="1")
    for name, runs in HITS.items():
        chance = np.random.default_rng(5)
        drawn = []
        for first in range(20_000):
            spent, at = 0, first % len(runs)
            while runs[at][0] is None:
                spent, at = spent + runs[at][1], int(chance.integers(len(runs)))
            drawn.append(spent + (runs[at][0] or 0))
        own = statistic(found, name, "restarts_of_hardest")
        for end, share in ((own.low, 0.1), (own.value, 0.5), (own.high, 0.9)):
            below, to = np.mean(np.array(drawn) < end), np.mean(np.array(drawn) <= end)
            assert below - 0.03 <= share <= to + 0.03


def test_a_network_is_not_trained_again_until_it_pleases(tmp_path: Path) -> None:
    network = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}
    for seed, losses in enumerate(([5.0, 0.5], [5.0, 0.4], [5.0, 4.0])):
        run(tmp_path, "a", seed, losses, val_loss=losses[-1], best_val_loss=losses[-1], **network)
        lines = [{"step": i, "evals": i, "loss": loss, "val_loss": loss} for i, loss in enumerate(losses)]
        make_run(tmp_path / f"a-{seed}-2", {"seed": seed, "optimizer._target_": "torch.optim.a"}, lines, optimizer="a",
                 val_loss=losses[-1], best_val_loss=losses[-1], **network)  # fmt: skip
    found = compare([tmp_path], target="1")
    assert statistic(found, "a", "restarts_of_hardest") is None
    assert statistic(found, "a", "ert_of_hardest").value == 3 / 2


def falling(seed: int, end: float, length: int) -> list[float]:
    noise = np.random.default_rng(seed).normal(0, 0.02, length + 1)
    return (np.linspace(4.0, end, length + 1) + noise).tolist()


@pytest.mark.parametrize("spread", [None, 0.02])
def test_certified_steps_are_one_k_for_all_seeds_by_the_t_test(spread: float | None, tmp_path: Path) -> None:
    tables = {name: [falling(seed, end, 40) for seed in range(6)] for name, end in (("a", 1.0), ("b", 2.0))}
    for name, curves in tables.items():
        for seed, losses in enumerate(curves):
            run(tmp_path, name, seed, losses)
    found = compare([tmp_path], target="2.5", spread=spread)
    for name, curves in tables.items():
        steps = np.array(curves)
        if spread is None:
            p = scipy.stats.ttest_1samp(steps, 2.5, alternative="less").pvalue
        else:
            p = scipy.stats.norm.sf((2.5 - steps.mean(axis=0)) * math.sqrt(6) / spread)
        first = 1 + max(np.flatnonzero(p > 0.001))  # every K from there on is shown
        assert statistic(found, name, "certified_steps").value == first
    assert statistic(compare([tmp_path], target="2.5", cost="evals"), "a", "certified_steps").value % 2 == 0
    assert statistic(compare([tmp_path], target="2.5", cost="seconds"), "a", "certified_steps") is None
    run(tmp_path, "a", 6, [4.0, math.inf], status="diverged", final_loss=math.inf)
    assert statistic(compare([tmp_path], target="2.5"), "a", "certified_steps").value == math.inf


def test_within_a_decay_nothing_is_certified_and_at_its_end_something_is(tmp_path: Path) -> None:
    cosine = {"scheduler._target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "scheduler.T_max": 40}
    for seed in range(6):
        run(tmp_path, "a", seed, falling(seed, 1.0, 40), cosine, scheduler="cosine")
        run(tmp_path, "b", seed, falling(seed, 1.0, 40), {**cosine, "scheduler.T_max": 80}, scheduler="cosine")
    by = {"target": "2.5", "group_by": "optimizer"}
    found = compare([tmp_path], **by)
    assert statistic(found, "a", "certified_steps").value == 40  # and not 20, where the mean passes 2.5
    assert statistic(found, "b", "certified_steps") is None  # its schedule was not allowed to end
    assert statistic(compare([tmp_path], **by, budget="30steps"), "a", "certified_steps") is None


@pytest.fixture
def lengths(tmp_path: Path) -> Path:
    """sgd of 100 and 80 steps, adam of 90."""
    draws = np.random.default_rng(3)
    for name, steps, mean in (("sgd", 100, 3.27), ("sgd", 80, 3.28), ("adam", 90, 3.26)):
        for seed in range(8):
            curve = [4.0] * steps + [float(mean + draws.normal(0, 0.0013))]
            run(tmp_path, name, seed, curve, {"trainer.steps": steps})
    return tmp_path


def finals(folder: Path, name: str, steps: int) -> list[float]:
    rows = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}*/run.json"))]
    return [row["final_loss"] for row in rows if row["steps"] == steps]


def test_the_pairwise_rule_counts_steps_saved_as_loss(lengths: Path) -> None:
    base, short, ours = (finals(lengths, *which) for which in (("sgd", 100), ("sgd", 80), ("adam", 90)))
    found = compare([lengths], score="certified_gain", baseline="sgd steps=100")
    worth = (np.mean(short) - np.mean(base)) / 20
    gains = score(found, "certified_gain")
    assert gains["adam steps=90"].value == pytest.approx(np.mean(base) - np.mean(ours) + 10 * worth)
    test = scipy.stats.ttest_ind(np.array(base) + 10 * worth, ours, alternative="two-sided")
    ends = test.confidence_interval(0.998)
    assert (gains["adam steps=90"].low, gains["adam steps=90"].high) == pytest.approx((ends.low, ends.high))
    # against its own shorter runs the worth of the steps saved is what was lost, so that nothing is gained
    assert gains["sgd steps=80"].value == pytest.approx(0, abs=1e-12)
    assert "sgd steps=100" not in gains
    (said,) = [note for note in found.notes if "a step is worth" in note]
    assert "by its runs of 80 and 100 steps" in said
    given = score(
        compare([lengths], score="certified_gain", baseline="sgd steps=100", step_worth=1e-4), "certified_gain"
    )
    assert given["sgd steps=80"].value == pytest.approx(np.mean(base) - np.mean(short) + 20e-4)
    known = compare([lengths], score="certified_gain", baseline="sgd steps=100", step_worth=0.0, spread=0.0013)
    own = score(known, "certified_gain")["adam steps=90"]
    half = scipy.stats.norm.ppf(0.999) * 0.0013 * math.sqrt(2 / 8)
    assert (own.high - own.value, own.value - own.low) == pytest.approx((half, half))


def test_a_diverged_run_gains_nothing_and_unequal_lengths_are_no_k(lengths: Path) -> None:
    run(lengths, "adam", 9, [4.0] * 90, {"trainer.steps": 90}, status="diverged", final_loss=None)
    diverged = compare([lengths], score="certified_gain", baseline="sgd steps=100")
    gains = score(diverged, "certified_gain")
    assert (gains["adam steps=90"].value, gains["adam steps=90"].low) == (-math.inf, None)
    assert "adam steps=90 diverged" in " ".join(export(diverged, "text").split())
    run(lengths, "adam", 9, [4.0] * 80, {"trainer.steps": 90})
    found = compare([lengths], score="certified_gain", baseline="sgd steps=100")
    assert "adam steps=90" not in score(found, "certified_gain")
    assert any("not one number of steps" in note for note in found.notes)


def test_the_share_of_the_cost_of_the_baseline(tmp_path: Path) -> None:
    hits = {"slow": [9, 10, 11], "fast": [4, 5, 6], "never": [None, None, None]}
    for name, own in hits.items():
        for seed, hit in enumerate(own):
            run(tmp_path, name, seed, until(hit, 11), {"trainer.steps": 11})
    found = compare([tmp_path], score="share_of_cost", baseline="slow")
    shares = score(found, "share_of_cost")
    # each run of slow ends at 0.5 and lasts 11 steps; the middle run of fast is there after 5
    assert shares["fast"].value == pytest.approx(5 / 11)
    assert (shares["fast"].low, shares["fast"].high) == pytest.approx((4 / 11, 6 / 11))
    assert shares["never"].value == math.inf
    never = compare([tmp_path], score="share_of_cost", baseline="slow", filters=["optimizer=never,slow"])
    (row,) = [line for line in export(never, "text").splitlines() if line.split()[-2:] == ["never", "inf"]]
    assert not row.startswith("*")  # who never gets there is not the best of those who do not
    in_evals = compare([tmp_path], score="share_of_cost", baseline="slow", cost="evals", target="1")
    assert score(in_evals, "share_of_cost")["fast"].value == pytest.approx(5 / 11)
    assert any("of the cost of slow in evals" in note for note in in_evals.notes)
    lost = compare([tmp_path], score="share_of_cost", baseline="never", filters=["optimizer=never,fast"])
    assert score(lost, "share_of_cost")["fast"].value == 0.0  # the start is where the baseline ends


def test_sensitivity_to_the_learning_rate_is_wortsmans_in_plain_python(tmp_path: Path) -> None:
    ends = {1e-4: [3.0, 3.2], 1e-3: [1.0, 1.4], 1e-2: [0.5, 0.7], 1e-1: [0.9, 0.7], 1.0: [math.inf, 40.0]}
    for rate, losses in ends.items():
        for seed, loss in enumerate(losses):
            state = {"status": "diverged", "final_loss": None} if math.isinf(loss) else {"final_loss": loss}
            run(tmp_path, "adam", seed, [4.0, loss], {"optimizer.lr": rate}, **state)
    run(tmp_path, "sgd", 0, [4.0, 1.0], {"optimizer.lr": 0.1})
    means = {rate: sum(min(loss, 4.0) for loss in losses) / 2 for rate, losses in ends.items()}
    inside = [mean for rate, mean in means.items() if abs(math.log10(rate / 1e-2)) <= 1.5]
    assert len(inside) == 3
    found = compare([tmp_path], score="lr_sensitivity")
    (own,) = found.scores
    assert (own.configuration, own.estimate.n) == ("adam", 10)
    assert own.estimate.value == pytest.approx(sum(inside) / 3 - min(inside))
    assert own.estimate.low <= own.estimate.value <= own.estimate.high
    grouped = compare([tmp_path], score="lr_sensitivity", group_by="optimizer", filters=["optimizer=adam"])
    assert grouped.scores[0].estimate == own.estimate  # however groups are formed
    assert "over 5 rates, 1.00e-04 to 1; at the start 4" in " ".join(found.notes)
    # medians 3.1, 1.2, 0.6, 0.8, inf: at most 0.6 + 5 % of the 3.4 from the start to it, on straight lines between
    (share,) = compare([tmp_path], score="lr_share").scores
    assert share.estimate.value == pytest.approx(((0.77 - 0.6) / (1.2 - 0.6) + (0.77 - 0.6) / (0.8 - 0.6)) / 4)
    both = compare([tmp_path], score="lr_share,lr_sensitivity")
    assert {one.score: one.estimate for one in both.scores} == {"lr_share": share.estimate,
                                                                "lr_sensitivity": own.estimate}  # fmt: skip


def test_they_stand_in_tables_json_and_rules(lengths: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--score", "certified_gain,share_of_cost", "--baseline", "sgd steps=100"]
    code, out, _ = invoke(capsys, "compare", lengths, *asked, "--json")
    scores = json.loads(out)["scores"]
    assert code == 0
    assert {(one["score"], one["configuration"]) for one in scores} >= {("certified_gain", "adam steps=90")}
    assert {one["problem"] for one in scores} == {"rosenbrock"}
    text = export(compare([lengths], score="certified_gain", baseline="sgd steps=100"), "text")
    assert "rosenbrock: scores against a baseline" in text
    assert "certified_gain: the pairwise rule of modded-nanogpt's track 3" in text
    code, out, _ = invoke(capsys, "compare", "--explain", "lr_sensitivity")
    assert (code, out.startswith("lr_sensitivity: Wortsman's clipped sensitivity")) == (0, True)


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"score": "nonsense"}, "on each problem share_of_cost"),
        ({"step_worth": 1.0}, "--step-worth is of"),
        ({"spread": 1.0}, "--spread is of"),
        ({"score": "certified_gain", "step_worth": -1.0}, "--step-worth -1"),
        ({"target": "1", "spread": 0.0}, "--spread 0"),
        ({"score": "lr_sensitivity"}, "no configuration was run with two learning rates"),
        ({"score": "share_of_cost", "baseline": "nobody"}, "no configuration of that name"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], word: str, lengths: Path) -> None:
    with pytest.raises(UserError) as caught:
        compare([lengths], **asked)
    assert word in f"{caught.value} {caught.value.hint}"
