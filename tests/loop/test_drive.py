"""Optimizers as people write them: whatever `step` takes, the run is that of torch's protocol, or it says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from loop_tools import on_dots, on_field, run_loop

from optbench.errors import RunFailure
from optbench.loop.drive import forgetter


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
