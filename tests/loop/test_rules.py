"""Each rule that ends a run, at its very bound and beside it, in whole sentences; and what the rules are fed."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from optbench.loop.progress import Progress
from optbench.loop.readings import Readings, gradient_norm, on_host
from optbench.loop.rules import by_measurement, verdict
from optbench.records import Status
from optbench.settings import NetworkTrainer, SurfaceTrainer

SURFACE: dict[str, Any] = {
    "target": 0.5, "grad_tol": 1e-3, "plateau_steps": 10, "plateau_delta": 0.01, "divergence_factor": 100.0,
    "seconds": 2.0,
}  # fmt: skip
QUIET = {"loss": 1.0, "grad_norm": 1.0}


def judged(row: dict[str, Any], exact: bool = True, **progress: Any) -> tuple[Status, str] | None:
    state: dict[str, Any] = {
        "step": 5,
        "start_loss": 3.0,
        "measure": 1.0,
        "plateau_step": 0,
        "seconds": 1.0,
        **progress,
    }
    return verdict(row, Progress(**state), SurfaceTrainer(**SURFACE), exact)


@pytest.mark.parametrize(
    ("row", "progress", "status", "reason"),
    [
        ({"loss": math.nan, "grad_norm": 1.0}, {}, Status.DIVERGED, "the loss became nan at step 5"),
        ({"loss": -math.inf, "grad_norm": 1.0}, {}, Status.DIVERGED, "the loss became -inf at step 5"),
        ({"loss": 2.0, "grad_norm": math.inf}, {}, Status.DIVERGED, "the gradient became inf at step 5 (loss 2)"),
        ({"loss": 300.5, "grad_norm": 1.0}, {}, Status.DIVERGED,
         "the loss rose above 100 times the start's scale at step 5: 300.5"),
        ({"loss": -300.5, "grad_norm": 1.0}, {}, Status.DIVERGED,
         "the loss fell below minus 100 times the start's scale at step 5: -300.5"),
        ({"loss": 300.5, "grad_norm": 1.0}, {"start_loss": -3.0}, Status.DIVERGED,
         "the loss rose above 100 times the start's scale at step 5: 300.5"),
        ({"loss": 100.5, "grad_norm": 1.0}, {"start_loss": 0.25}, Status.DIVERGED,
         "the loss rose above 100 times the start's scale at step 5: 100.5"),
        ({"loss": 100.5, "grad_norm": 1.0}, {"start_loss": None}, Status.DIVERGED,
         "the loss rose above 100 times the start's scale at step 5: 100.5"),
        (QUIET, {"measure": 0.5}, Status.TARGET_REACHED, "loss 0.5 <= target 0.5 after 5 updates"),
        (QUIET, {"measure": -2.0}, Status.TARGET_REACHED, "loss -2 <= target 0.5 after 5 updates"),
        ({"loss": 1.0, "grad_norm": 1e-3}, {}, Status.CONVERGED, "gradient norm 0.001 <= 0.001 at step 5"),
        (QUIET, {"step": 10}, Status.CONVERGED,
         "the loss fell by less than 0.01 (relative) over 10 steps, at step 10"),
        (QUIET, {"step": 25, "plateau_step": 15}, Status.CONVERGED,
         "the loss fell by less than 0.01 (relative) over 10 steps, at step 25"),
        (QUIET, {"seconds": 2.0}, Status.TIMED_OUT, "2 s of training time were spent after 5 updates"),
        # of several rules the first: diverged, target, gradient, plateau, wall clock
        ({"loss": math.nan, "grad_norm": 0.0}, {"measure": 0.0}, Status.DIVERGED, "the loss became nan at step 5"),
        ({"loss": 1.0, "grad_norm": 0.0}, {"measure": 0.0}, Status.TARGET_REACHED,
         "loss 0 <= target 0.5 after 5 updates"),
        ({"loss": 1.0, "grad_norm": 0.0}, {"step": 10}, Status.CONVERGED, "gradient norm 0 <= 0.001 at step 10"),
        (QUIET, {"step": 10, "seconds": 9.0}, Status.CONVERGED,
         "the loss fell by less than 0.01 (relative) over 10 steps, at step 10"),
    ],
)  # fmt: skip
def test_a_rule_ends_a_run_at_its_bound(row: Any, progress: Any, status: Status, reason: str) -> None:
    assert judged(row, **progress) == (status, reason)


@pytest.mark.parametrize(
    ("row", "progress"),
    [
        (QUIET, {}),
        ({}, {}),
        ({"loss": 300.0, "grad_norm": 1.0}, {}),
        ({"loss": -300.0, "grad_norm": 1.0}, {}),
        ({"loss": 100.0, "grad_norm": 1.0}, {"start_loss": 0.25}),
        (QUIET, {"measure": 0.5000001}),
        (QUIET, {"measure": None}),
        ({"loss": 1.0, "grad_norm": 1.001e-3}, {}),
        (QUIET, {"step": 9}),
        (QUIET, {"step": 24, "plateau_step": 15}),
        (QUIET, {"seconds": 1.999}),
    ],
)
def test_beside_its_bound_no_rule_ends_a_run(row: Any, progress: Any) -> None:
    assert judged(row, **progress) is None


def test_a_small_gradient_of_a_sample_says_nothing() -> None:
    assert judged({"loss": 1.0, "grad_norm": 0.0}, exact=False) is None


def test_limits_that_are_not_set_end_nothing() -> None:
    state = Progress(step=10**6, start_loss=3.0, measure=-1e9, seconds=1e9)
    assert verdict(QUIET, state, SurfaceTrainer(steps=10**7, grad_tol=1e-3), True) is None


@pytest.mark.parametrize(
    ("accuracy", "step", "ends"), [(0.75, 5, True), (0.7499, 5, False), (0.9, 0, False), (None, 5, False)]
)
def test_a_wanted_accuracy_ends_a_network(accuracy: float | None, step: int, ends: bool) -> None:
    row = {"loss": 1.0, "grad_norm": 1.0} | ({} if accuracy is None else {"val_accuracy": accuracy})
    found = verdict(row, Progress(step=step, start_loss=1.0), NetworkTrainer(target_accuracy=0.75), False)
    words = (Status.TARGET_REACHED, "validation accuracy 0.7500 >= 0.75 after 5 updates")
    assert found == (words if ends else None)


@pytest.mark.parametrize(
    ("loss", "step", "ends"), [(0.5, 5, True), (0.51, 5, False), (0.1, 0, False), (None, 5, False)]
)
def test_a_wanted_validation_loss_ends_a_network(loss: float | None, step: int, ends: bool) -> None:
    row = {"loss": 1.0, "grad_norm": 1.0} | ({} if loss is None else {"val_loss": loss})
    found = verdict(row, Progress(step=step, start_loss=1.0), NetworkTrainer(target_val_loss=0.5), False)
    assert found == ((Status.TARGET_REACHED, "validation loss 0.5 <= 0.5 after 5 updates") if ends else None)


def test_a_run_that_goes_on_notes_the_first_step_that_met_its_target() -> None:
    trainer, state = NetworkTrainer(target_accuracy=0.75, stop_at_target=False), Progress(start_loss=1.0)
    for step, accuracy in enumerate([0.8, 0.7, 0.75, 0.6, 0.9]):  # of the start nothing counts
        state.step = step
        assert verdict({"loss": 1.0, "grad_norm": 1.0, "val_accuracy": accuracy}, state, trainer, False) is None
        assert state.target_step == (2 if step >= 2 else None)
    assert state.summary(Status.COMPLETED, "", None).steps_to_target == 2


def test_by_measurement_are_the_rules_about_loss_and_gradient_alone() -> None:
    trainer, state = SurfaceTrainer(**SURFACE), Progress(step=50, start_loss=3.0, measure=0.0, seconds=9.0)
    assert by_measurement({"loss": 301.0, "grad_norm": 1.0}, state, trainer, True)
    assert by_measurement({"loss": 1.0, "grad_norm": 0.0}, state, trainer, True)
    assert not by_measurement({"loss": 1.0, "grad_norm": 0.0}, state, trainer, False)
    assert not by_measurement(QUIET, state, trainer, True)  # neither target, nor plateau, nor clock


def test_numbers_that_wait_are_fetched_in_order_and_once() -> None:
    readings, rows = Readings(3), [{"step": i} for i in range(3)]
    for i, row in enumerate(rows):
        assert not readings.full
        readings.add(row, torch.tensor(10.0 + i), torch.tensor(20.0 + i))
    assert readings.full
    assert list(readings.fetch()) == [(row, 10.0 + i, 20.0 + i) for i, row in enumerate(rows)]
    assert not readings.full
    assert list(readings.fetch()) == []
    readings.add(rows[1], torch.tensor(0.1, dtype=torch.float64), torch.tensor(0.2))
    ((row, loss, norm),) = readings.fetch()
    assert (row, loss, norm) == (rows[1], 0.1, pytest.approx(0.2))


@pytest.mark.parametrize("kinds", [[torch.float64], [torch.float32] * 3, [torch.float32, torch.float64], []])
def test_a_gradients_norm_is_that_of_one_long_vector(kinds: list[torch.dtype]) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, 3 + i, generator=generator, dtype=kind) for i, kind in enumerate(kinds)]
    expected = math.sqrt(sum(float((part.double() ** 2).sum()) for part in parts))
    found = gradient_norm([part.requires_grad_() for part in parts])
    assert float(found) == pytest.approx(expected, rel=1e-6)
    assert not found.requires_grad
    assert found.ndim == 0


def test_a_copy_on_the_host_is_a_copy_of_the_same_shape() -> None:
    weights = torch.ones(2, requires_grad=True)
    given = {"a": [weights, 1, "x"], "b": (torch.zeros(1),), "c": {"d": None}}
    kept = on_host(given)
    with torch.no_grad():
        weights += 1.0
    assert kept["a"][0].tolist() == [1.0, 1.0]
    assert not kept["a"][0].requires_grad
    assert (kept["a"][1:], kept["c"], type(kept["b"])) == ([1, "x"], {"d": None}, tuple)
    assert kept["b"][0].tolist() == [0.0]
