"""trainer.nan: an update whose loss or gradient is not finite ends the run, or is left out and counted."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from loop_tools import Dots, gd, loop_of, on_dots, run_loop
from torch import Tensor, nn

from optbench.experiment import plan_run
from optbench.problem import AbstractAugmentation

BAD = (2, 5, 6)
STEPS = 3 * 4  # 20 images in batches of 6, three epochs


class Poison(AbstractAugmentation):
    """Makes all images of the given calls, counted from one, worthless; of a run that goes on, from where it does."""

    def __init__(self, *bad: int, begun: int = 0) -> None:
        self.bad, self.calls = bad, begun

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        self.calls += 1
        return torch.full_like(images, math.nan) if self.calls - 1 in self.bad else images


class Numbers(Dots):
    """The same images as floating-point numbers, which can be no number."""

    def load(self, split: str) -> Any:
        found = super().load(split)
        return type(found)(found.images.float() / 255, found.labels, found.names)


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


def on_numbers(*bad: int, begun: int = 0, **settings: Any) -> Any:
    return on_dots(
        normed(), Numbers(), augmentation=Poison(*bad, begun=begun), **{"epochs": 3, "nan": "skip"} | settings
    )


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.1)


def test_what_is_left_out_changes_nothing_and_is_counted() -> None:
    """Against a loop that makes the other updates alone; the schedule goes on, batch norm's statistics stay."""
    decay = lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)  # noqa: E731
    loop, watcher = loop_of(*on_numbers(*BAD), adam, schedule=decay)
    summary = loop.run()

    model, (batches, _) = normed(), on_numbers()
    optimizer = adam(model.parameters())
    losses = []
    for step in range(STEPS):
        batch = batches.batch(step)
        optimizer.param_groups[0]["lr"] = 0.1 * 0.9**step
        if step in BAD:
            continue
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch.inputs), batch.targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for name, tensor in model.state_dict().items():
        assert torch.allclose(loop.problem.module.state_dict()[name], tensor, rtol=1e-5, atol=1e-6), name
    rows = [row for row in watcher.rows if "loss" in row]
    assert [row["step"] for row in rows if not math.isfinite(row["loss"])] == list(BAD)
    assert [row["loss"] for row in rows if math.isfinite(row["loss"])] == pytest.approx(losses, rel=1e-5)
    assert (summary.status, summary.steps) == ("completed", STEPS)
    assert summary.reason == f"made all {STEPS} updates; 3 updates were left out, whose loss or gradient was not finite"
    assert summary.final_loss == pytest.approx(sum(losses[-4:]) / 4, rel=1e-5)
    assert math.isfinite(watcher.rows[-1]["val_loss"])


def test_it_stops_unless_told_otherwise() -> None:
    summary, _ = run_loop(*on_numbers(*BAD, nan="stop"), adam)
    assert (summary.status, summary.reason) == ("diverged", "the loss became nan at step 2")


@pytest.mark.parametrize("bad", [range(STEPS), range(1, STEPS)])
def test_a_run_that_is_never_finite_again_ends(bad: range) -> None:
    loop, _ = loop_of(*on_numbers(*bad), adam)
    summary = loop.run()
    assert summary.status == "diverged"
    assert summary.steps == bad[0] + 9
    assert "10 updates in a row were not finite" in summary.reason


@pytest.mark.parametrize("size", [6, "full"])
@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_is_left_out_too(size: int | str, factor: float) -> None:
    """It is infinite, or no number; one that is no number is not taken for a small one."""

    class Root(nn.Module):
        """Its value at zero is finite, its gradient is not."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def forward(self, images: Tensor) -> Tensor:
            return (factor * self.weight).sqrt().expand(len(images), 2)

    summary, rows = run_loop(*on_dots(Root(), epochs=12, batch_size=size, nan="skip"), gd(0.1))
    assert (summary.status, summary.steps) == ("diverged", 9)
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert run_loop(*on_dots(Root(), batch_size=size), gd(0.1))[0].status == "diverged"


@pytest.mark.parametrize("stop", [3, 6])
def test_it_resumes_to_the_bit(stop: int) -> None:
    whole, _ = loop_of(*on_numbers(*BAD, ema=0.9), adam)
    expected = whole.run()
    first, watcher = loop_of(*on_numbers(*BAD, ema=0.9), adam, stop_after=stop)
    first.run()
    second, _ = loop_of(*on_numbers(*BAD, begun=stop, ema=0.9), adam)
    second.restore(watcher.state("last"))
    found = second.run()
    assert (found.status, found.reason, found.final_loss) == (expected.status, expected.reason, expected.final_loss)
    for kind in ("model", "trained"):
        for name, tensor in whole.weights()[kind].items():
            assert torch.equal(second.weights()[kind][name], tensor)


def test_stop_is_what_runs_did_before() -> None:
    words = ["model=mlp", "data=digits", "optimizer=sgd"]
    plain = plan_run(words).run_id
    assert plan_run([*words, "trainer.nan=stop"]).run_id == plain
    assert plan_run([*words, "trainer.nan=skip"]).run_id != plain
