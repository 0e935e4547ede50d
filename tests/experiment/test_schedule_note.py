"""A schedule that never acts within the run, and members that cannot be built: said once, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_tools import command
from descend_tools import node
from hypothesis import given
from hypothesis import strategies as st

from optbench.config import build_scheduler
from optbench.experiment.schedule_note import schedule_note


def rates(scheduler: dict[str, Any], steps: int) -> list[float]:
    """The learning rates of the updates, by the scheduler itself."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    made, seen = build_scheduler({"scheduler": {**scheduler, "_partial_": True}}, optimizer, steps), []
    for _ in range(steps):
        seen.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        made.step()
    return seen


@given(
    st.one_of(
        st.builds(lambda n: node("scheduler", "step", step_size=n), st.integers(1, 12) | st.integers(-12, -1)),
        st.builds(lambda m: node("scheduler", "multistep", milestones=m), st.lists(st.integers(-3, 12), max_size=3)),
    ),
    st.integers(1, 10),
)
def test_the_note_is_there_exactly_when_no_update_has_another_rate(scheduler: dict[str, Any], steps: int) -> None:
    """Of schedules that change the rate at some updates: the scheduler itself says whether any of them is reached."""
    changes = len(set(rates(scheduler, steps))) > 1
    assert (schedule_note(scheduler, steps) is None) == changes


@given(st.sampled_from(["warmup_constant", "warmup_inverse_sqrt"]), st.integers(0, 12), st.integers(1, 10))
def test_the_note_on_a_warm_up_that_does_not_end(name: str, warmup: int, steps: int) -> None:
    scheduler = node("scheduler", name, warmup_steps=warmup)
    assert (schedule_note(scheduler, steps) is None) == (max(rates(scheduler, steps)) == 1.0)


def test_a_schedule_that_follows_the_loss_needs_more_readings_than_its_patience() -> None:
    """On a loss that never falls: the first reading is the best, patience + 1 more cut the rate, update t sees t."""
    for steps in range(1, 8):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        made, seen = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3), []
        for _ in range(steps):
            seen.append(optimizer.param_groups[0]["lr"])
            made.step(1.0)
        note = schedule_note(node("scheduler", "plateau", patience=3), steps)
        assert (note is None) == (len(set(seen)) > 1)


def test_of_other_peoples_schedules_nothing_is_said() -> None:
    assert schedule_note({"_target_": "mine.StepLR", "step_size": 100}, 5) is None


def test_the_note_is_said_by_run_plan_and_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model=sphere", "scheduler=multistep", "trainer.steps=5"]
    note = "scheduler.milestones=[500,750] is not reached within 5 updates: the learning rate never changes"
    assert command("run", *words, "--out", tmp_path, "--json") == 0
    said = capsys.readouterr()
    assert said.err.count(note) == 1
    assert json.loads(said.out)["status"] == "completed"
    assert command("sweep", *words, "seeds=3", "--out", tmp_path, "--dry-run") == 0
    assert f"3 like sphere adam multistep seed=0: {note}" in capsys.readouterr().out
    assert command("sweep", *words, "seeds=3", "--out", tmp_path, "--jobs", "0") == 0
    assert capsys.readouterr().err.count(note) == 1
    assert command("run", *words, "scheduler.milestones=[2,900]", "--out", tmp_path) == 0
    assert "note" not in capsys.readouterr().err


def test_on_a_network_the_note_comes_with_the_number_of_updates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["model=mlp", "data=digits", "scheduler=step", "trainer.epochs=1", "trainer.batch_size=full"]
    assert command("run", *words, "--out", tmp_path) == 0
    assert "scheduler.step_size=250 is not reached within 1 update:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["+optimizer.foo=3"], "optimizer=adam"),
        (["+optimizer.foo=3", "optimizer=adam,sgd"], "optimizer=adam"),
        (["scheduler=step", "+scheduler.foo=3"], "scheduler=step"),
        (["+loss.foo=3"], "loss=surface"),
        (["+model.foo=3"], "model=sphere"),
        (["optimizer._target_=nowhere.Adam"], "optimizer=adam"),
    ],
)
def test_a_member_that_cannot_be_built_ends_the_sweep_once(
    words: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["sweep", "model=sphere", "trainer.steps=5", "trainer.start=random", *words, "seeds=20", "--out", tmp_path]
    assert command(*asked, "--jobs", "0") == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) <= 3
    assert said.startswith(f"error: {part} cannot be built, so none of its 20 runs can start: ")
    assert not list(tmp_path.iterdir())


def test_where_some_can_be_built_the_others_are_runs_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["model=sphere", "optimizer=lbfgs", "optimizer.line_search_fn=strong_wolfe,nothing", "trainer.steps=3"]
    assert command("sweep", *words, "--out", tmp_path, "--jobs", "0") in (0, 3)
    assert "2 of 2 runs" in capsys.readouterr().err


def test_the_note_on_epochs_is_said_once_the_first_run_has_counted_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["model=logistic", "data.image_size=8", "trainer.batch_size=full", "trainer.epochs=2", "scheduler=step"]
    assert command("sweep", *words, "seeds=3", "--out", tmp_path, "--jobs", "0") == 0
    note = "scheduler.step_size=250 is not reached within 2 updates: the learning rate never changes"
    assert capsys.readouterr().err.count(note) == 1
