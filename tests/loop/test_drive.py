"""Optimizers as people write them: whatever `step` takes, the run is that of torch's protocol, or it says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from loop_tools import on_dots, on_field, run_loop
from torch.optim.optimizer import register_optimizer_step_post_hook

from optbench.errors import RunFailure
from optbench.loop.drive import driver, forgetter


class Bare(torch.optim.Optimizer):
    """Gradient descent; the gradients are there."""

    def __init__(self, params: Any, lr: float = 0.25) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        self.descend()

    def descend(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] * p.grad)


class Switched(Bare):
    """Calls its closure while gradients are switched off."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else closure()
        self.descend()
        return loss


class OtherName(Bare):
    def step(self, evaluate: Callable[[], Any]) -> Any:  # type: ignore[override]
        evaluate()
        with torch.no_grad():
            self.descend()


class Anything(Bare):
    def step(self, *args: Any, **kwargs: Any) -> Any:
        args[0]()
        with torch.no_grad():
            self.descend()


class InItsPlace(Bare):
    """A closure that has no name for callers."""

    def step(self, closure: Callable[[], Any], /) -> Any:  # type: ignore[override]
        closure()
        with torch.no_grad():
            self.descend()


class ByName(Bare):
    """A closure that is never given by its place: the gradients are there."""

    @torch.no_grad()
    def step(self, *, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        assert closure is None
        self.descend()


class Replaced(Bare):
    """Another function in place of its step, as wrappers put there."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.step = self.measured  # type: ignore[assignment]

    def measured(self, closure: Callable[[], Any]) -> Any:
        closure()
        with torch.no_grad():
            self.descend()


class Never(Bare):
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        self.descend()


class Sometimes(Switched):
    """Forgets its closure in the third update."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        self.count = getattr(self, "count", 0) + 1
        return super().step(None if self.count == 3 else closure)


@pytest.mark.parametrize("kind", [Bare, Switched, OtherName, Anything, InItsPlace, ByName, Replaced])
@pytest.mark.parametrize("make", ["surface", "network"])
def test_every_way_of_step_runs_as_torchs(kind: type[Bare], make: str) -> None:
    def problem() -> Any:
        return on_field(lambda x: (x**2).sum(-1), [4.0, 1.0], steps=5) if make == "surface" else on_dots(epochs=1)

    found, rows = run_loop(*problem(), lambda parameters: kind(parameters))
    expected, right = run_loop(*problem(), lambda parameters: torch.optim.SGD(parameters, lr=0.25))
    assert [row.get("loss") for row in rows] == [row.get("loss") for row in right]
    assert (found.status, found.evals, found.final_loss) == (expected.status, expected.evals, expected.final_loss)


@pytest.mark.parametrize(("kind", "steps"), [(Never, 0), (Sometimes, 2)])
@pytest.mark.parametrize("make", ["surface", "network"])
def test_a_closure_that_is_never_called_ends_the_run(kind: type[Bare], steps: int, make: str) -> None:
    problem = on_field(lambda x: (x**2).sum(-1), [4.0], steps=5) if make == "surface" else on_dots()
    with pytest.raises(RunFailure, match=f"{kind.__name__}.step takes a closure and never called it") as caught:
        run_loop(*problem, lambda parameters: kind(parameters))
    assert "call closure()" in caught.value.hint


class Remembers(Bare):
    """Keeps its last gradients, as optimizers that compare two steps do, in a zero_grad of its own."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.before = [p.grad for group in self.param_groups for p in group["params"]]
        super().zero_grad(set_to_none)


def test_gradients_are_forgotten_as_the_optimizer_does_it() -> None:
    point = torch.nn.Parameter(torch.ones(2))
    for optimizer in (torch.optim.SGD([point], lr=0.1), torch.optim.LBFGS([point]), Bare([point])):
        point.grad = torch.ones(2)
        forgetter(optimizer)()
        assert point.grad is None
    own = Remembers([point])
    point.grad = torch.full((2,), 3.0)
    forgetter(own)()
    assert point.grad is None
    assert [kept.tolist() for kept in own.before if kept is not None] == [[3.0, 3.0]]
    replaced, calls = Bare([point]), []
    replaced.zero_grad = lambda set_to_none=True: calls.append(set_to_none)  # type: ignore[method-assign, assignment]
    forgetter(replaced)()
    assert calls == [True]


def measured(point: torch.nn.Parameter, calls: list[str]) -> Callable[[], torch.Tensor]:
    @torch.enable_grad()
    def closure() -> torch.Tensor:
        calls.append("closure")
        point.grad = None
        loss: torch.Tensor = (point**2).sum()
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.LBFGS, Bare, Switched, Replaced])
@pytest.mark.parametrize("scheduled", [True, False])
def test_an_update_is_that_of_step_itself(kind: Any, scheduled: bool) -> None:
    """Whatever is left out round it, weights and what a scheduler sees are those of the plain protocol."""
    found = []
    for by_hand in (True, False):
        point, calls = torch.nn.Parameter(torch.tensor([1.0, -2.0])), list[str]()
        optimizer = kind([point])
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5) if scheduled else None
        update, closure = driver(optimizer), measured(point, calls)
        for _ in range(3):
            if not by_hand:
                update(closure)
            elif kind is Bare:
                closure()
                optimizer.step()
            else:
                optimizer.step(closure)
            if schedule is not None:
                schedule.step()  # a warning is an error here: it looks whether there was an update
        found.append((point.tolist(), calls, optimizer.param_groups[0]["lr"]))
    assert found[0] == found[1]


def test_hooks_and_profilers_see_every_update() -> None:
    point, calls = torch.nn.Parameter(torch.ones(2)), list[str]()
    optimizer = torch.optim.SGD([point], lr=0.1)
    update, closure = driver(optimizer), measured(point, calls)
    update(closure)
    handles = [
        optimizer.register_step_pre_hook(lambda *given: calls.append("before")),
        optimizer.register_step_post_hook(lambda *given: calls.append("after")),
        register_optimizer_step_post_hook(lambda *given: calls.append("anywhere")),
    ]
    update(closure)
    for handle in handles:
        handle.remove()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        update(closure)
    assert calls == ["closure", "before", "closure", "after", "anywhere", "closure"]
    assert "Optimizer.step#SGD.step" in {event.key for event in seen.key_averages()}
    optimizer.step = lambda closure: calls.append(f"mine {closure()}")  # type: ignore[method-assign, assignment]
    update(closure)
    assert calls[-1].startswith("mine ")
