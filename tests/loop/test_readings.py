"""What is fetched from the device seldom: how often, and that no record can tell."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from loop_tools import CPU, gd, loop_of, on_dots
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from optbench.loop import Loop
from optbench.loop.readings import gradient_norm, on_host

LOOKING = ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__")


class Looks(TorchDispatchMode):
    """Notes at which step of a run a number leaves a tensor: Python's ways to it, and the operator beneath them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[int] = []
        self.now = now
        for name in LOOKING:
            monkeypatch.setattr(Tensor, name, self._noted(getattr(Tensor, name)))

    def _noted(self, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.steps.append(self.now())
            return original(*args, **kwargs)

        return call

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "is_nonzero", "nonzero", "equal"):
            self.steps.append(self.now())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("every", [1, 5, 16])
def test_numbers_are_fetched_every_few_steps_and_at_the_end_of_an_epoch(
    every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, trainer = on_dots(epochs=2, batch_size=1, eval_every=100)  # epochs of 20 updates
    loop, watcher = loop_of(problem, trainer, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), look_every=every)
    with Looks(monkeypatch, lambda: loop.progress.step) as looks:
        loop.run()
    within = {step for step in looks.steps if step % 20}  # at the boundary itself there are the figures of the epoch
    # update k is the (k+1)-th of its epoch, after the last of which all is fetched that is still there
    due = {k for k in range(40) if (k % 20 + 1) % every == 0 or k % 20 == 19}
    assert within == due - {0, 20}
    assert [row["step"] for row in watcher.rows] == list(range(41))


def rows_of(watcher: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in watcher.rows]


def made(every: int, settings: dict[str, Any], make: Any) -> tuple[Any, list[dict[str, Any]], list[Tensor], Loop]:
    problem, trainer = on_dots(**settings)
    loop, watcher = loop_of(problem, trainer, make, look_every=every)
    return loop.run(), rows_of(watcher), [p.detach().clone() for p in problem.module.parameters()], loop


def climb(parameters: Any) -> torch.optim.Optimizer:
    """Gradient ascent: the loss grows and grows."""
    return torch.optim.SGD(parameters, lr=0.2, maximize=True)


ENDS: dict[str, tuple[dict[str, Any], Any, str]] = {
    "all updates": ({"epochs": 3}, gd(0.5), "completed"),
    "within an epoch": ({"steps": 7}, gd(0.5), "completed"),
    "diverged": ({"epochs": 50, "batch_size": 2, "divergence_factor": 2.0}, gd(1e3), "diverged"),
    "no number": ({"epochs": 50, "batch_size": 2, "divergence_factor": 1e300}, gd(1e38), "diverged"),
    "in a later epoch": ({"epochs": 90, "batch_size": 2, "divergence_factor": 40.0}, climb, "diverged"),
    "gradient": ({"epochs": 50, "batch_size": "full", "grad_tol": 0.2}, gd(0.5), "converged"),
    "target": ({"epochs": 200, "target": 0.3}, gd(1.0), "target_reached"),
    "accuracy": ({"epochs": 200, "target_accuracy": 1.0}, gd(1.0), "target_reached"),
    "past a target": ({"epochs": 40, "target": 0.6, "stop_at_target": False}, gd(1.0), "completed"),
    "plateau": ({"epochs": 50, "plateau_steps": 6, "plateau_delta": 0.5}, gd(1e-9), "converged"),
    "seconds": ({"epochs": 50, "seconds": 9.5}, gd(0.1), "timed_out"),
    "rows apart": ({"epochs": 3, "record_every": 3, "batch_size": 2}, gd(0.5), "completed"),
}


@pytest.mark.parametrize("every", [3, 16])
@pytest.mark.parametrize("name", ENDS)
def test_no_record_tells_how_often_numbers_were_fetched(name: str, every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, make, status = ENDS[name]

    def run(every: int) -> Any:
        ticks = itertools.count(1)
        clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
        monkeypatch.setattr("optbench.loop.train.time", clock)
        return made(every, settings, make)

    one, rows, weights, _ = run(1)
    assert one.status == status
    other, told, same, loop = run(every)
    assert other == one
    assert told == rows
    assert all(a.equal(b) for a, b in zip(weights, same, strict=True))
    assert loop.progress.step == one.steps


class Proud(torch.optim.SGD):
    """Breaks on numbers that are none, as decompositions do."""

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = super().step(closure)
        if not all(p.isfinite().all() for group in self.param_groups for p in group["params"]):
            raise RuntimeError("the algorithm failed to converge")
        return loss


@pytest.mark.parametrize("every", [2, 16])
def test_what_breaks_because_of_a_loss_that_nobody_looked_at_is_a_divergence(every: int) -> None:
    settings = {"epochs": 9, "batch_size": 2, "divergence_factor": 50.0}
    one, rows, _, _ = made(1, settings, lambda p: torch.optim.SGD(p, lr=1e37))
    other, told, _, _ = made(every, settings, lambda p: Proud(p, lr=1e37))
    assert one.status == "diverged"
    assert (other.status, other.reason, other.steps) == (one.status, one.reason, one.steps)
    assert [row["loss"] for row in told] == [row["loss"] for row in rows]


@pytest.mark.parametrize("stop_after", [1, 4, 7, 10])
def test_an_interrupted_run_that_looks_seldom_goes_on_to_the_bit(stop_after: int) -> None:
    def parts() -> Any:
        return on_dots(epochs=3), lambda p: torch.optim.Adam(p, lr=0.1)

    (whole_of, make) = parts()
    loop, whole = loop_of(*whole_of, make)
    expected = loop.run()
    loop, first = loop_of(*parts()[0], make, look_every=5, stop_after=stop_after)
    cut = loop.run()
    assert (cut.status, cut.steps) == ("interrupted", stop_after)
    loop, second = loop_of(*parts()[0], make, look_every=5)
    loop.restore(first.state("last"))
    again = loop.run()
    told = [{k: v for k, v in row.items() if k != "seconds"} for row in first.rows + second.rows]
    wanted = [{k: v for k, v in row.items() if k != "seconds"} for row in whole.rows]
    assert told == wanted
    again.seconds = expected.seconds
    assert again == expected


def test_the_norm_is_that_of_all_gradients_as_one_vector() -> None:
    gradients = [torch.randn(shape, generator=torch.Generator().manual_seed(3)) for shape in ((3, 4), (5,), (2, 2, 2))]
    expected = torch.cat([g.flatten() for g in gradients]).double().norm()
    assert gradient_norm(gradients).item() == pytest.approx(float(expected), rel=1e-6)
    mixed = [gradients[0].double(), *gradients[1:]]
    assert gradient_norm(mixed).item() == pytest.approx(float(expected), rel=1e-6)
    assert gradient_norm(gradients[:1]).item() == pytest.approx(float(gradients[0].norm()), rel=1e-6)
    assert gradient_norm([]).item() == 0.0
    assert not gradient_norm([g.requires_grad_() for g in gradients]).requires_grad


def test_a_copy_on_the_host_is_one() -> None:
    state = {"a": torch.ones(2), "b": [{"c": (torch.zeros(1), 3)}], "d": "word"}
    copied = on_host(state)
    state["a"].add_(1)  # type: ignore[union-attr, attr-defined]
    assert copied["a"].tolist() == [1.0, 1.0]
    assert copied["a"].device == CPU
    assert (copied["b"][0]["c"][1], copied["d"]) == (3, "word")
