"""The compiled passes of a stack: what autograd computes, row by row, however they are cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from members import names, read

from optbench.descend.plan import Plan
from optbench.experiment import plan_sweep
from optbench.launch.sweep import Options, divide
from optbench.stacked import train
from optbench.stacked.assembled import Rows
from optbench.stacked.updates import forgets_the_smallest

SMALL = ("model=mlp", "model.hidden=[12,7]", "data.image_size=8", "data.channels=1", "trainer.epochs=2",
         "trainer.batch_size=300")  # fmt: skip
MOMENTUM = ("optimizer=momentum", "optimizer.lr=0.05,0.01")
OF_NUMBERS = ("data=diabetes", "trainer.batch_size=80", *MOMENTUM)
"""Not of pictures."""
LOSSES = [name for name in names("loss") if name != "surface"]
NUMBERS = [name for name in LOSSES if "_numbers" in str(read("loss", name).get("defaults", ""))]
HARD = ("model.norm=batch", "model.activation=tanh", "data.channels=3", "optimizer=adamw", "trainer.clip_norm=0.5",
        "optimizer.weight_decay=0.3", "optimizer.lr=0.1,1e-3")  # fmt: skip


def chosen(given: Sequence[str]) -> list[str]:
    """A small network, but for what others of these settings do away with."""
    gone = {"model=logistic": "hidden", "data=diabetes": "data.", "model=linear": "hidden"}
    parts = [part for word, part in gone.items() if word in given]
    return [*(word for word in SMALL if not any(part in word for part in parts)), *given]


def rows_of(folder: Path, *overrides: str) -> Rows:
    plan = plan_sweep(chosen(overrides), out=folder, name="s")
    (stack,) = divide(plan, Options(engine="stacked", least=2)).stacks
    assert stack.rows.networks.passes is not None
    return stack.rows


def ended(rows: Rows, which: Sequence[int]) -> dict[int, train.Ended]:
    return {one.row: one for one in rows.stack(which).run(lambda: False, lambda updates: None)}


def check_same(mine: train.Ended, theirs: train.Ended) -> None:
    """To the bit."""
    assert mine.summary == theirs.summary
    assert mine.curve == theirs.curve
    for name, value in theirs.last.items():
        np.testing.assert_array_equal(mine.last[name], value, err_msg=name)


@pytest.mark.parametrize("given", [
    HARD,
    *(pytest.param(g, marks=pytest.mark.slow) for g in (
        ("optimizer=adam", "seeds=2"), ("model.norm=batch", "optimizer=sgd", "optimizer.lr=0.3,0.1"),
        ("loss=label_smoothing", "optimizer=sgd", "optimizer.lr=0.3,0.1"),
        ("model=logistic", "optimizer=sgd", "optimizer.lr=0.3,0.1"),
        *((f"loss={name}", *(OF_NUMBERS if name in NUMBERS else MOMENTUM)) for name in LOSSES),
        ("loss=by_targets", "n_outputs=1", *OF_NUMBERS), ("model=linear", *OF_NUMBERS),
        ("model.dropout=0.3", "model.norm=batch", *MOMENTUM),
        ("model.norm=batch", "trainer.batch_size=110", "trainer.accumulate=3", *MOMENTUM),
        ("trainer.ema=0.9", "model.norm=batch", *MOMENTUM), ("wrap=[clip,ema]", "wrap.clip.norm=0.1", *MOMENTUM),
        ("wrap=lookahead", "wrap.lookahead.k=2", "data.channels=3", "optimizer=adamw", "seeds=2"),
        ("optimizer=adamw", "optimizer.groups=no_decay", "seeds=2"),
    )),
])  # fmt: skip
def test_they_are_what_autograd_computes(given: tuple[str, ...], tmp_path: Path) -> None:
    rows, both = rows_of(tmp_path, *given), []
    compiled = rows.networks
    for passes in (compiled.passes, None):
        rows.networks = replace(compiled, passes=passes)
        own = rows.stack([0, 1])
        both.append((own.measure(5), own.state()))
    (mine, at), (theirs, wanted) = both
    assert compiled.passes is not None
    np.testing.assert_allclose(mine, theirs, rtol=1e-3)  # of the sixth update; 1e-6 of the first
    np.testing.assert_allclose(np.array(mine)[:, 0], np.array(theirs)[:, 0], rtol=1e-5)
    for name, buffer in wanted["buffers"].items():
        if name.endswith("mean") and "adam" in str(given):
            continue  # moved by a bias whose gradient is 0 up to rounding, of which Adam makes whole steps
        torch.testing.assert_close(at["buffers"][name], buffer, rtol=1e-3, atol=1e-4)
    assert (at["correct"] - wanted["correct"]).abs().max() <= 2
    figures = []
    for passes in (compiled.passes, None):  # of the same weights
        rows.networks = replace(compiled, passes=passes)
        own = rows.stack([0, 1])
        own.restore(at, [0, 1])
        figures += [figure["val_loss"] for figure in own._evaluate()]
    np.testing.assert_allclose(figures[:2], figures[2:], rtol=1e-5)


def test_a_row_is_the_same_however_they_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone and among others, update by update and an epoch at once, and where a row ends within an epoch."""
    rows = rows_of(tmp_path, "model.norm=batch", "optimizer=sgd", "optimizer.lr=0.1,1e4,0.02", "trainer.batch_size=128")
    together = ended(rows, [0, 1, 2])
    assert together[1].summary.status == "diverged"
    assert together[1].summary.steps % rows.networks.steps_per_epoch > 1, "it ended among updates made in one go"
    made: list[int] = []
    passes: Any = type(rows.networks.passes)
    counted = passes.train
    monkeypatch.setattr(passes, "train", lambda self, work: (made.append(len(work.spans)), counted(self, work))[1])
    ended(rows, [0])
    assert max(made) == rows.networks.steps_per_epoch
    made.clear()
    monkeypatch.setattr(train, "_WORK", 0)
    apart = ended(rows, [2]) | ended(rows, [0, 1])
    assert set(made) == {1}
    for number, one in together.items():
        check_same(apart[number], one)


@pytest.mark.slow
def test_a_rule_knows_which_update_it_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first one is another than those after it, also among those made in one go."""
    rows = rows_of(tmp_path, "optimizer=book_rmsprop", "optimizer.lr=1e-2,1e-3", "trainer.batch_size=128")
    together = ended(rows, [0, 1])
    monkeypatch.setattr(train, "_WORK", 0)
    for number, one in ended(rows, [0, 1]).items():
        check_same(together[number], one)


@pytest.mark.parametrize(("optimizer", "forgets"), [
    pytest.param("adam", True, marks=pytest.mark.slow), ("momentum", True), ("lion", False),
])  # fmt: skip
def test_the_smallest_numbers_are_0_where_no_weight_shows_them(
    optimizer: str, forgets: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean whose gradients are 0 becomes 0 where eps hides it, or where it is added to weights; it stays where the
    rule looks at its sign. The weights are the same to the bit as where the machine cannot."""
    rows = rows_of(tmp_path, f"optimizer={optimizer}", "optimizer.lr=1e-4,1e-3", "trainer.device=cpu")
    found = []
    for can in (True, False):
        if not can:
            monkeypatch.setattr(torch, "set_flush_denormal", lambda on: False)
        own = rows.stack([0, 1])
        own._memory[0] = 1e-39
        rows.networks.train.inputs.zero_()  # only biases have gradients
        own.measure(2)
        found.append(own.state())
    mine, theirs = found
    torch.testing.assert_close(mine["flat"], theirs["flat"], rtol=0, atol=0)
    small = (theirs["memory"][0] != 0) & (theirs["memory"][0].abs() < 1e-38)
    assert small.any()
    assert bool((mine["memory"][0][small] == 0).all()) == forgets
    assert (torch.full((3,), 1e-39) * 0.5 != 0).all(), "and nowhere else"


@pytest.mark.slow
def test_which_rules_forget_the_smallest(tmp_path: Path) -> None:
    """Those that add and subtract multiples of what they keep; no sign, product, root or choice by it."""
    plan = rows_of(tmp_path, *MOMENTUM).plan
    assert isinstance(plan, Plan)
    moves: dict[str, tuple[bool, Callable[[Any, Any, Any], Any]]] = {
        "sums": (True, lambda x, g, m: 0.5 * (m - x) / 3.0 + torch.where(torch.tensor(True), g, x)),
        "sign": (False, lambda x, g, m: g + m.sign()),
        "square": (False, lambda x, g, m: g * m),
        "quotient": (False, lambda x, g, m: 1.0 / (1.0 + m)),
        "root": (False, lambda x, g, m: m.abs().sqrt()),
        "choice": (False, lambda x, g, m: torch.where(m > 0.0, g, x)),
    }
    for name, (forgets, move) in moves.items():

        def update(x: Any, g: Any, memory: Any, hyper: Any, t: Any, move: Any = move) -> Any:
            return x - hyper["lr"] * move(x, g, memory["v"]), {"v": 0.9 * memory["v"] + g}

        rule = replace(plan.rule, memories=("v",), update=update)
        assert forgets_the_smallest(replace(plan, rule=rule)) == forgets, name
