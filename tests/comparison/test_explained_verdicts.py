"""`compare PATH --explain`: every number of a verdict's explanation, by scipy and by hand, within 80 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from command_tools import invoke
from made_runs import make_run


def made(folder: Path, name: str, losses: Sequence[float], seeds: Sequence[int] | None = None) -> None:
    for seed, loss in zip(seeds or range(len(losses)), losses, strict=True):
        lost = {"final_loss": None, "status": "diverged"} if math.isinf(loss) else {"final_loss": float(loss)}
        changes = {"seed": seed, "optimizer._target_": f"torch.optim.{name}"}
        make_run(folder / f"{name}-{seed}", changes, optimizer=name, **lost)


A, B = np.random.default_rng(3).normal([[0.0], [2.0]], size=(2, 12))


@pytest.fixture
def three(tmp_path: Path) -> Path:
    made(tmp_path, "a", A.tolist())
    made(tmp_path, "b", [*B[:11].tolist(), math.inf])
    made(tmp_path, "c", (A + 0.01).tolist(), range(100, 112))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    code, out, _ = invoke(capsys, "compare", *words)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    return " ".join(out.split())


def test_a_verdict_is_explained_by_its_own_numbers(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, three, "--explain", "a", "b")
    p = scipy.stats.wilcoxon(A, np.append(B[:11], 1e9), method="exact").pvalue
    rank_sum = [scipy.stats.mannwhitneyu(one, A + 0.01, method="exact").pvalue for one in (A, np.append(B[:11], 1e9))]
    adjusted = max(p, 3 * min(p, *rank_sum))  # three configurations, in closed form
    assert "rosenbrock: 3 configurations, ranked by final loss: median of the loss at the last iterate" in out
    assert "Rule: 3 pairs judged together, p adjusted by Bergmann and Hommel's procedure" in out
    assert "a is better than b" in out
    assert f"runs a: 12 (12 completed), median {np.median(A):.4g}" in out
    assert "b: 12 (11 completed, 1 diverged), median" in out
    ahead = int((np.append(B[:11], np.inf) > A).sum())
    assert f"test signed-rank test of the 12 seeds that both have: a is ahead on {ahead} of them" in out
    told = [f"{one:.2g}" if one >= 1e-3 else f"{one:.0e}" for one in (p, adjusted)]
    assert f"p {told[0]} two-sided, adjusted {told[1]}: at most alpha = 0.05" in out
    assert "to decide it is decided" in out
    assert "a - b = " in out
    assert "a and c" not in out


def test_the_best_is_explained_against_all_and_why_runs_are_compared(
    three: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = said(capsys, three, "--explain")
    assert "a and c: not enough evidence" in out
    assert "test rank-sum test of runs, since they share 0 seeds, fewer than half; a run of a is better than" in out
    assert "to decide another " in out
    assert "b and c" not in out  # neither is the best
    assert said(capsys, three, "--explain", "c").count(" to decide ") == 2
    assert invoke(capsys, "compare", three, "--explain", "ert")[1].count("\n") == 2  # a rule alone, beside a path too
    against = said(capsys, three, "--explain", "--baseline", "b", "--equivalent-within", "0.5")
    assert "p adjusted by Holm's steps, over differences and equivalences alike" in against
    assert "of a difference of 0.5 or more, adjusted " in against
    assert "Holm's procedure, as all are held against one" in said(capsys, three, "--explain", "--baseline", "b")
    assert "bets on 12 pairs of runs" in said(capsys, three, "--explain", "--anytime")


def test_many_pairs_and_few_seeds_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(12):
        made(tmp_path, f"o{i:02d}", [i + k / 10 for k in range(7)])
    out = said(capsys, tmp_path, "--explain")
    assert "66 pairs judged together, p adjusted by Shaffer's procedure" in out
    assert "since 7 shared seeds could not decide among 66 pairs, the least p by seeds being 0.016" in out
    assert out.endswith("1 more pairs: --pairs, or name two configurations")
    assert "more pairs" not in said(capsys, tmp_path, "--explain", "--pairs")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--explain", "nobody"], "no path, rule or configuration of that name"),
        (["--explain", "a", "b", "c"], "name one, or the two of a pair"),
        (["--explain", "--json"], "--explain prints words"),
        (["--explain", "a", "c", "--baseline", "b"], "no pair of a and c was judged against b"),
    ],
)
def test_what_cannot_be_explained(words: list[str], why: str, three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = invoke(capsys, "compare", three, *words)
    assert (code, why in err) == (2, True), err
