"""The state of an optimizer comes back as it was, where torch's own loading gives it the dtype of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from loop_tools import Watcher, constant, on_dots

from optbench.disjoint import Together
from optbench.loop import Loop
from optbench.loop.held import restore_state
from optbench.wrappers.clip import Clip


class Thirds(torch.optim.Optimizer):
    """Keeps sums in double precision, some of them in lists and tuples, whatever the weights are."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    total = state.get("total", torch.zeros_like(p, dtype=torch.float64)) + p.grad.double() / 3
                    state.update(total=total, parts=[(2, total * 7), {"half": total.half()}])
                    p -= group["lr"] * (total + state["parts"][0][1] / 11)
        return loss


BUILDS: dict[str, Callable[[list[Any]], torch.optim.Optimizer]] = {
    "alone": Thirds,
    "together": lambda weights: Together([Thirds(weights[:1]), Thirds(weights[1:])]),
    "wrapped": lambda weights: Clip(Thirds(weights), norm=1.0),
}


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [one for part in parts for one in tensors(part)]


@pytest.mark.parametrize("build", BUILDS)
def test_a_state_keeps_its_dtypes(build: str) -> None:
    weights = [torch.rand(3, requires_grad=True), torch.rand(2, 2, requires_grad=True)]
    first, second = (BUILDS[build](weights) for _ in range(2))
    for weight in weights:
        weight.grad = torch.rand_like(weight)
    first.step()
    kept = copy.deepcopy(first.state_dict())
    restore_state(second, kept)
    before, after = tensors(kept), tensors(second.state_dict())
    assert [t.dtype for t in after] == [t.dtype for t in before]
    assert {torch.float64, torch.float16} <= {t.dtype for t in after}
    assert all(map(torch.equal, after, before))
    first.step()
    assert all(map(torch.equal, tensors(second.state_dict()), before))  # of memory of its own


def test_a_run_in_single_precision_goes_on_to_the_bit_with_sums_in_double() -> None:
    loops = []
    for stop_after in (None, 4, None):
        watcher = Watcher(stop_after)
        problem, trainer = on_dots(steps=9)
        optimizer = Thirds(problem.module.parameters())
        loops.append((Loop(problem, optimizer, constant(optimizer), trainer, watcher), watcher))
    (whole, _), (stopped, seen), (again, _) = loops
    whole.run()
    stopped.run()
    again.restore(seen.state("last"))
    again.run()
    assert all(map(torch.equal, tensors(again.weights()), tensors(whole.weights())))
