"""What a comparison says depends on the runs, and neither on their order nor on where they lie: its whole JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from made_runs import make_run, summarize

from optbench.comparison import compare
from optbench.records import RunTable

RNG = np.random.default_rng(5)
ASKED: list[dict[str, Any]] = [
    {},
    {"pairs": True, "score": "rank,iqm,improvement", "equivalent_within": 0.1},
    {"group_by": "optimizer", "metric": "steps"},
    {"group_by": "optimizer,optimizer.lr", "sort": "-final_loss", "anytime": True},
    {"group_by": "optimizer", "pool": True, "sort": "n", "baseline": "sgd"},
]


def rows() -> list[dict[str, Any]]:
    """Runs of two optimizers at three rates on two surfaces: unequal numbers of seeds, copies, runs that diverged, two
    engines, two budgets, and losses that are equal."""
    found = []
    for model in ("rosenbrock", "sphere"):
        for name, rate, seed in ((n, r, s) for n in ("adam", "sgd") for r in (0.01, 0.1, 1.0) for s in range(4)):
            if rate == 1.0 and seed > 2:
                continue
            state = {"status": "diverged", "final_loss": None} if rate == 1.0 and seed < 2 else {
                "final_loss": float(np.round(RNG.random(), 1)) + rate}  # fmt: skip
            settings_of = {
                "seed": seed, "optimizer.lr": rate, "optimizer._target_": f"torch.optim.{name}",
                "model._target_": f"surfaces.{model}", "trainer.steps": 100 + 100 * (rate == 0.1),
                "trainer.start": "usual" if rate == 0.1 and name == "sgd" else "random",
            }  # fmt: skip
            more = {"engine": "rows" if name == "sgd" else "loop", "steps": 100 + seed, "seconds": 1.0 + seed}
            found.append(summarize(settings_of, {"model": model, "optimizer": name, **more, **state}))
    return found


ROWS = rows()
STANDING = [json.dumps(compare(RunTable.of(ROWS), **asked).to_json()) for asked in ASKED]


@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.permutations(range(len(ROWS))), st.integers(0, len(ASKED) - 1))
def test_the_order_of_runs_changes_no_letter_of_the_json(order: list[int], which: int) -> None:
    found = compare(RunTable.of([ROWS[i] for i in order]), **ASKED[which])
    assert json.dumps(found.to_json()) == STANDING[which]


@pytest.mark.parametrize("asked", [{"score": "lr_share,lr_sensitivity"}, {"cost": "evals", "target": "1,0.1"}])
def test_nor_do_the_names_of_folders(asked: dict[str, Any], tmp_path: Path) -> None:
    places = {"here": range(24), "there": range(24)[::-1]}
    for place, numbers in places.items():
        runs = ((name, rate, seed) for name in ("adam", "sgd") for rate in (0.01, 0.1, 1.0) for seed in range(4))
        for number, (name, rate, seed) in zip(numbers, runs, strict=True):
            curve = [{"step": k, "evals": k, "loss": 4.0 * (rate / 2) ** k + 0.01 * seed} for k in range(5)]
            changes = {"seed": seed, "optimizer.lr": rate, "optimizer._target_": f"torch.optim.{name}"}
            told = {"optimizer": name, "final_loss": curve[-1]["loss"], "steps": 4, "evals": 4}
            make_run(tmp_path / place / f"{number:02}", changes, curve, **told)
    here, there = (compare([tmp_path / place], **asked).to_json() for place in places)
    assert json.dumps(here) == json.dumps(there)
