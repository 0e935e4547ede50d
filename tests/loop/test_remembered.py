"""What a run remembers of itself: the best so far, since when nothing fell, its summary; and when its state is kept."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from loop_tools import Watcher, constant, gd, on_dots, on_field, run_loop
from torch import nn

from optbench.loop import Loop
from optbench.loop.progress import Progress
from optbench.records import Status
from optbench.records.vocabulary import kept_checkpoint


@pytest.mark.parametrize(
    ("measures", "delta", "best_step", "fell_at"),
    [
        ([3.0, 2.0, 2.0, 1.0, 1.0], 0.0, 3, 3),  # of equals the first, and an equal one is no fall
        ([8.0, 4.0, 4.0, 5.0], 0.5, 1, 0),  # a fall by exactly the half is not more than the half
        ([8.0, 3.9, 3.8, 1.9], 0.5, 3, 3),  # 3.8 is below 3.9 and not by the half; 1.9 is, of 3.9
        ([-1.0, -1.4, -1.6, -1.7], 0.5, 3, 2),  # relative to the size, whatever the sign
        ([0.0, -1e-9, 1.0], 0.5, 1, 1),
        ([math.inf, 5.0, math.nan, 5.0], 0.5, 1, 1),
        ([math.nan, math.inf], 0.5, None, 0),
    ],
)
def test_the_best_and_the_last_fall(measures: list[float], delta: float, best_step: int | None, fell_at: int) -> None:
    progress = Progress()
    for step, measure in enumerate(measures):
        progress.step = step
        progress.judge(measure, delta)
    assert (progress.best_step, progress.plateau_step) == (best_step, fell_at)
    assert progress.best_measure == (math.inf if best_step is None else measures[best_step])
    found = progress.summary(Status.COMPLETED, "", None)
    assert found.best_loss == (None if best_step is None else measures[best_step])
    assert found.final_loss == measures[-1] or math.isnan(measures[-1])


def test_a_summary_is_of_whole_epochs_as_soon_as_there_is_one() -> None:
    first = Progress(step=2, evals=3, seconds=0.5, epoch_losses=[1.0, 2.0], grad_norm=4.0)
    cut = first.summary(Status.INTERRUPTED, "why", 0.1, per_epoch=4)
    assert (cut.status, cut.reason, cut.target, cut.steps, cut.evals) == (Status.INTERRUPTED, "why", 0.1, 2, 3)
    assert (cut.final_loss, cut.best_loss, cut.epochs, cut.final_grad_norm) == (1.5, None, 0.5, 4.0)
    later = Progress(step=6, measure=9.0, best_measure=8.0, best_step=3, epoch_losses=[1.0, 2.0])
    assert later.summary(Status.DIVERGED, "", None).final_loss == 9.0
    assert Progress().summary(Status.FAILED, "", None).final_loss is None
    reached = {status for status in Status if later.summary(status, "", None).steps_to_target is not None}
    assert reached == {Status.TARGET_REACHED}


class Kept(Watcher):
    """Remembers every state that it was given, by name and number of updates; `due` asks for one at every update."""

    def __init__(self, due: bool = False, stop_after: int | None = None) -> None:
        super().__init__(stop_after)
        self.checkpoint_due = due
        self.kept: list[tuple[str, int]] = []
        self.told: list[int] = []

    def step(self, step: int, total: int, row: Mapping[str, Any]) -> None:
        super().step(step, total, dict(row))
        self.told.append(step)

    def checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        super().checkpoint(name, state)
        loaded = torch.load(io.BytesIO(self.states[name]), weights_only=True)
        self.kept.append((name, loaded["step"] if "step" in loaded else loaded["progress"]["step"]))

    def steps_of(self, name: str) -> list[int]:
        return [step for kept, step in self.kept if kept == name]


def watched(problem: Any, trainer: Any, watcher: Kept, lr: float = 0.1, **options: Any) -> Loop:
    optimizer = gd(lr)(list(problem.module.parameters()))
    return Loop(problem, optimizer, constant(optimizer), trainer, watcher, **options)


def test_states_to_go_on_from_are_kept_every_few_epochs_or_when_it_is_time() -> None:
    """Epochs of four updates; the start is no state to go on from, the end is one."""

    def last(due: bool = False, **settings: Any) -> list[int]:
        watcher = Kept(due)
        watched(*on_dots(**settings), watcher).run()
        return watcher.steps_of("last")

    assert last(epochs=5, checkpoint_every=2) == [8, 16, 20]
    assert last(steps=6, checkpoint_every=1) == [4, 6]
    assert last(epochs=2) == []
    assert last(epochs=1, due=True) == [1, 2, 3, 4]
    assert last(epochs=2, due=True, checkpoint_every=1) == [4, 8]
    for stop_after in (None, 3):
        watcher = Kept(due=True, stop_after=stop_after)
        watched(*on_field(lambda x: (x**2).sum(-1), [1.0], steps=5), watcher).run()
        assert watcher.kept == []  # a surface's run is made anew


def test_weights_of_an_epoch_are_those_after_it_and_of_no_part_of_one() -> None:
    watcher = Kept()
    watched(*on_dots(steps=6, keep_every=1), watcher).run()
    assert [watcher.steps_of(kept_checkpoint(epoch)) for epoch in range(3)] == [[0], [4], []]
    watcher = Kept()
    watched(*on_dots(epochs=5, keep_every=2), watcher).run()
    assert [watcher.steps_of(kept_checkpoint(epoch)) for epoch in range(6)] == [[0], [], [8], [], [16], []]


@pytest.mark.parametrize(
    ("figures", "patience", "epochs", "best"),
    [
        ([{"val_loss": v} for v in (1.0, 0.5, 0.5, 0.6, 0.4)], 1, 3, 1),  # a regression: by loss, an equal one is stale
        ([{"val_loss": v} for v in (1.0, 0.5, 0.6, 0.4, 0.5)], 1, 4, 3),
        ([{"val_loss": 1.0, "val_accuracy": 0.0}] * 5, 1, 2, 0),  # accuracy 0 at the start is one to fall behind
        ([{"val_loss": 1.0 / k, "val_accuracy": 0.5} for k in range(1, 6)], 2, 3, 3),  # by accuracy, then by loss
    ],
)
def test_patience_counts_evaluations_without_a_better_one(
    figures: list[dict[str, float]], patience: int, epochs: int, best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, trainer = on_dots(epochs=4, patience=patience)
    told = iter(figures)
    monkeypatch.setattr(problem, "evaluate", lambda: next(told))
    if "val_accuracy" not in figures[0]:
        monkeypatch.setattr(type(problem), "ranked_by", ("val_loss", -1))
    summary, _ = run_loop(problem, trainer, gd(0.1))
    assert (summary.steps, summary.best_val_step) == (4 * epochs, 4 * best)
    assert (summary.val_loss, summary.val_accuracy) == (
        figures[epochs]["val_loss"],
        figures[epochs].get("val_accuracy"),
    )
    by_loss = f"validation loss has not fallen below {figures[best]['val_loss']:.4g} in"
    by_accuracy = f"validation accuracy has not risen above {summary.best_val_accuracy or 0.0:.4f} in"
    ended_early = by_loss if summary.val_accuracy is None else by_accuracy
    assert (ended_early if epochs < 4 else "made all 16 updates") in summary.reason


def test_the_rate_of_a_row_is_the_one_of_its_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an evaluation lowers the rate, the row of that evaluation has the new one already."""
    used: list[float] = []

    class Noting(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:  # type: ignore[override]
            loss = super().step(closure)
            used.append(self.param_groups[0]["lr"])
            return loss

    problem, trainer = on_dots(epochs=4)
    monkeypatch.setattr(problem, "evaluate", lambda: {"val_loss": 1.0, "val_accuracy": 0.5})
    _, rows = run_loop(
        problem, trainer, lambda p: Noting(p, lr=0.4),
        schedule=lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0),
    )  # fmt: skip
    assert [row["lr"] for row in rows[:-1]] == used
    assert len(set(used)) > 1


def test_a_model_that_was_left_evaluating_is_trained() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 2))
    problem, trainer = on_dots(model, steps=2, eval_every=100)
    model.eval()
    run_loop(problem, trainer, gd(0.1))
    assert int(model[1].num_batches_tracked) == 2  # type: ignore[union-attr, arg-type]


def test_only_where_looking_costs_a_wait_is_it_put_off() -> None:
    network, surface = on_dots(), on_field(lambda x: (x**2).sum(-1), [1.0])
    assert [watched(*one, Kept())._readings.every for one in (network, surface)] == [1, 1]
    for one, every in ((network, 16), (surface, 1)):
        one[0].module.to("meta")  # stands for an accelerator; nothing is run on it
        assert watched(*one, Kept())._readings.every == every
    assert watched(*network, Kept(), look_every=3)._readings.every == 3


def test_no_step_is_told_a_second_time_when_the_loop_goes_back() -> None:
    watcher = Kept()
    problem, trainer = on_dots(epochs=50, batch_size=2, divergence_factor=2.0)
    summary = watched(problem, trainer, watcher, lr=1e3, look_every=8).run()
    assert summary.status == "diverged"
    made = max(watcher.told)
    assert made > summary.steps > 0  # it had gone on
    assert watcher.told == [*range(1, made + 1), summary.steps]


def test_updates_are_counted_in_steps_or_in_whole_epochs() -> None:
    def total(made: tuple[Any, Any]) -> int:
        return watched(*made, Kept()).total

    assert (total(on_dots(epochs=3)), total(on_dots(steps=5)), total(on_dots(epochs=2, batch_size="full"))) == (
        12,
        5,
        2,
    )
    assert total(on_field(lambda x: (x**2).sum(-1), [1.0], steps=7)) == 7


def test_an_old_gradient_of_a_frozen_parameter_counts_nowhere() -> None:
    model, plain = (nn.Sequential(nn.Flatten(), nn.Linear(16, 2)) for _ in range(2))
    plain.load_state_dict(model.state_dict())
    for one in (model, plain):
        one[1].bias.requires_grad_(False)  # type: ignore[union-attr, operator]
    model[1].bias.grad = torch.full((2,), 1e6)  # type: ignore[union-attr]
    found, expected = (
        run_loop(*on_dots(one, epochs=1, clip_norm=0.01), lambda parameters: torch.optim.SGD(parameters[:1], lr=0.1))[1]
        for one in (model, plain)
    )
    columns = ("step", "loss", "grad_norm", "val_loss")
    assert [[row.get(c) for c in columns] for row in found] == [[row.get(c) for c in columns] for row in expected]


@pytest.mark.parametrize("every", [1, 2, 3])
def test_the_landscape_is_measured_every_so_many_updates(every: int) -> None:
    """And what was measured is recorded, also where a row is not due."""
    problem, trainer = on_field(lambda x: (x**2).sum(-1), [1.0], steps=7, record_every=5, curvature_every=every)
    optimizer, watcher = gd(0.1)(list(problem.module.parameters())), Kept()
    count = iter(range(99))
    loop = Loop(
        problem, optimizer, constant(optimizer), trainer, watcher, lambda: {"full_grad_norm": float(next(count))}
    )
    loop.run()
    measured = {row["step"]: row["full_grad_norm"] for row in watcher.rows if "full_grad_norm" in row}
    assert measured == {step: step / every for step in range(0, 8, every)}
    assert [row["step"] for row in watcher.rows] == sorted({0, 5, 7, *measured})


def test_what_a_device_still_has_to_do_at_a_checkpoint_is_time_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves by one each time it is read: an update takes 1, and waiting for numbers 1 more."""
    ticks = itertools.count(1)
    monkeypatch.setattr("optbench.loop.train.time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    watcher = Kept(due=True)
    watched(*on_dots(epochs=1), watcher, look_every=5).run()
    assert [row["seconds"] for row in watcher.rows] == [0.0, 2.0, 4.0, 6.0, 7.0]  # the epoch's end has waited already
