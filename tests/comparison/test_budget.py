"""Runs at a budget are what runs that were planned to end there are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_run

import optbench
from optbench.comparison import compare
from optbench.comparison.groups import Group
from optbench.errors import UserError

SURFACE = ["model=rosenbrock", "optimizer=momentum,adam", "optimizer.lr=0.001", "seeds=6", "trainer.start=random"]
NETWORK = ["model=mlp", "model.hidden=[8]", "optimizer=adam", "scheduler=constant", "seeds=2", "data.image_size=8",
           "trainer.batch_size=300"]  # fmt: skip
OF_RESULTS = (
    "final_loss",
    "best_loss",
    "best_val_accuracy",
    "val_accuracy",
    "best_val_loss",
    "val_loss",
    "steps",
    "evals",
)


def results(groups: tuple[Group, ...]) -> dict[str, Any]:
    return {
        group.keys["optimizer"]: {name: group.statistics.get(name) for name in OF_RESULTS} | {"n": group.n_by_status}
        for group in groups
    }


@pytest.mark.parametrize(
    ("words", "key", "cost"),
    [(SURFACE, "trainer.steps", "steps"), pytest.param(NETWORK, "trainer.epochs", "epochs", marks=pytest.mark.slow)],
)
def test_a_longer_run_at_a_budget_is_the_shorter_run(words: list[str], key: str, cost: str, tmp_path: Path) -> None:
    short, long = (3, 5) if cost == "epochs" else (40, 70)
    for name, length in (("short", short), ("long", long)):
        optbench.sweep(*words, f"{key}={length}", out=tmp_path / name)
    planned = compare([tmp_path / "short"], pairs=True)
    cut = compare([tmp_path / "long"], pairs=True, budget=f"{short}{cost}", target="0.1")
    assert results(planned.groups) == results(cut.groups)
    assert [(v.a, v.b, v.verdict, v.p, v.effect) for v in planned.pairs] == [
        (v.a, v.b, v.verdict, v.p, v.effect) for v in cut.pairs
    ]
    both = compare([tmp_path], budget=f"{short}{cost}", target="0.1")  # as long as each other there
    assert not any("ranked together although" in said for said in both.warnings)
    more = compare([tmp_path], budget=f"{short + 1}{cost}", target="0.1")  # the short ones end before
    assert any("ranked together although" in said for said in more.warnings)


def curve(losses: list[float]) -> list[dict[str, object]]:
    return [{"step": k, "evals": k, "seconds": float(k), "loss": loss} for k, loss in enumerate(losses)]


def test_what_happens_after_the_budget_is_not_known(tmp_path: Path) -> None:
    target = {"trainer.target": 0.5}
    ends: dict[str, tuple[list[float], dict[str, Any]]] = {
        "late": ([9, 3, 2, 1, math.inf], {"status": "diverged", "final_loss": None}),
        "soon": ([9, math.inf], {"status": "diverged", "final_loss": None}),
        "hit": ([9, 8, 7, 0.4], {"status": "target_reached", "steps_to_target": 3, "final_loss": 0.4}),
    }
    for name, (losses, end) in ends.items():
        spent = {"steps": len(losses) - 1, "evals": len(losses) - 1}
        make_run(tmp_path / name, {"optimizer._target_": name, **target}, curve(losses), optimizer=name, **spent, **end)
    found = {group.label: group for group in compare([tmp_path], budget="2steps", target="1").groups}
    assert [found[name].statistics["final_loss"].value for name in ("late", "hit", "soon")] == [2.0, 7.0, math.inf]
    assert found["late"].n_by_status["completed"] == found["hit"].n_by_status["completed"] == 1
    assert found["soon"].n_by_status["diverged"] == 1
    assert found["hit"].statistics["steps_to_target"].value == math.inf
    whole = {group.label: group for group in compare([tmp_path], budget="9steps", target="1").groups}
    assert [whole[name].n_by_status["diverged"] for name in ("late", "soon")] == [1, 1]
    assert whole["hit"].statistics["steps_to_target"].value == 3


def test_a_schedule_that_was_cut_is_not_ranked_without_a_warning(tmp_path: Path) -> None:
    cosine = {"scheduler._target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "scheduler.T_max": None}
    for seed in range(2):
        make_run(
            tmp_path / f"d{seed}", {"seed": seed, **cosine}, curve([9, 3, 2, 1]), scheduler="cosine", steps=3, evals=3
        )
        make_run(tmp_path / f"c{seed}", {"seed": seed}, curve([9, 3, 2, 1]), steps=3, evals=3)
    for budget, warned in (("2steps", True), ("3steps", False)):
        said = compare([tmp_path], budget=budget, target="1").warnings
        assert any("cut inside the decay" in one for one in said) == warned


def test_configurations_without_curves_are_left_out_whole_and_it_is_said(tmp_path: Path) -> None:
    for name in "ab":
        for seed in range(3):
            ended = {"status": "diverged", "steps": 1, "final_loss": None} if seed == 2 else {"steps": 4}
            make_run(tmp_path / f"{name}{seed}", {"seed": seed, "optimizer._target_": name}, curve([9, 3, 2, 1, 0.5]),
                     optimizer=name, **ended)  # fmt: skip
    (tmp_path / "b0" / "metrics.csv").unlink()
    found = compare([tmp_path], budget="2steps", target="1")
    assert [(group.label, group.n) for group in found.groups] == [("a", 3)]
    assert any("1 configuration (3 runs) left out" in said and "--curves N" in said for said in found.warnings)
    (tmp_path / "a0" / "metrics.csv").unlink()
    with pytest.raises(UserError, match="--budget 2steps: no configuration has a curve"):
        compare([tmp_path], budget="2steps", target="1")
    assert np.isfinite(compare([tmp_path], metric="steps").groups[0].statistics["steps"].value)
