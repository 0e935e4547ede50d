"""Functions that are not functions of the point: noticed and named before anything is proved."""

from __future__ import annotations

import datetime
import functools
import random
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import members
import numpy as np
import pytest
import torch
from certified_tools import objective_of
from torch import Tensor

from optbench.critical.certified import certify
from optbench.critical.programs.scalar import MissingRule
from optbench.critical.programs.steady import _kept, check_steady
from optbench.critical.typed.function import check_function
from optbench.errors import UserError

Function = Callable[[Tensor], Tensor]
POINTS = np.random.default_rng(3).uniform(-1.0, 1.0, (16, 2))
COUNT, SEEN, NUMPY, PYTHON = [0], [], np.random.default_rng(0), random.Random(0)
TORCH = torch.Generator()
TOTAL = 0


def bowl(x: Tensor) -> Tensor:
    return (x**2).sum(-1)


def counted(x: Tensor) -> Tensor:
    COUNT[0] += 1
    return bowl(x) * (1.0 if COUNT[0] < 10**6 else 2.0)


def counted_global(x: Tensor) -> Tensor:
    global TOTAL
    TOTAL += 1
    return bowl(x)


def attribute(x: Tensor) -> Tensor:
    attribute.calls = getattr(attribute, "calls", 0) + 1  # type: ignore[attr-defined]
    return bowl(x)


def remembers(x: Tensor, last: list[Tensor] = []) -> Tensor:  # noqa: B006  that is the point
    last[:] = [x.detach().clone()]
    return bowl(x)


def order_dependent(x: Tensor) -> Tensor:
    SEEN.append(float(x.detach()[0, 0]))
    return bowl(x) + (1e-12 if len(SEEN) > 1 and SEEN[-2] < SEEN[-1] else 0.0)


def lagging(x: Tensor) -> Tensor:
    """Knows the value of the call before."""
    value, before = bowl(x), getattr(lagging, "last", 0.0)
    lagging.last = float(value.detach().sum()) if type(value) is Tensor else 0.0  # type: ignore[attr-defined]
    return value + 0.0 * before


class Averaging:
    """A layer in training mode: it keeps a running mean."""

    def __init__(self) -> None:
        self.mean = torch.zeros(2, dtype=torch.float64)

    def __call__(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().reshape(-1, 2).mean(0)
        return bowl(x)


def in_a_closure() -> Function:
    calls = 0

    def f(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return bowl(x)

    return f


def in_a_closure_beside_an_empty_name() -> Function:
    calls = 0
    if calls:
        a_name_without_contents = bowl  # the first of the two in the alphabet

    def f(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return bowl(x) if calls else a_name_without_contents(x)

    return f


def file_reading(x: Tensor) -> Tensor:
    return bowl(x) * len(Path(__file__).read_text()[:1])


NOT_STEADY: dict[str, tuple[Function, str]] = {
    "a counter in a list": (counted, "keeps something"),
    "a counter": (counted_global, "keeps something"),
    "an attribute": (attribute, "keeps something"),
    "a default argument": (remembers, "keeps something"),
    "the order of calls": (order_dependent, "another value|keeps something"),
    "the call before": (lagging, "keeps something|another value"),
    "a running mean": (Averaging(), "keeps something"),
    "a closure": (in_a_closure(), "keeps something"),
    "a closure with an empty name": (in_a_closure_beside_an_empty_name(), "keeps something"),
    "through a partial": (functools.partial(counted), "keeps something"),
    "a clock": (lambda x: bowl(x) + 0.0 * time.time(), r"reads the clock \(time\)"),
    "a clock under its own name": (lambda x: bowl(x) + 0.0 * perf_counter(), "reads the clock"),
    "the date": (lambda x: bowl(x) + (datetime.datetime.now().year > 3000), "reads the clock"),
    "a file": (file_reading, "asks the system or a file"),
    "NumPy's generator": (lambda x: bowl(x) + 1e-10 * float(np.random.rand()), "another value"),
    "NumPy's generator, unused": (lambda x: bowl(x) + 0.0 * np.random.rand(), "draws random"),
    "a generator of NumPy": (lambda x: bowl(x) + 0.0 * NUMPY.random(), "keeps something"),
    "Python's generator": (lambda x: bowl(x) + 1e-10 * random.random(), "draws random"),
    "uniform numbers": (lambda x: bowl(x) + 0.0 * random.uniform(0, 1), "draws random"),
    "a generator of Python": (lambda x: bowl(x) + 0.0 * PYTHON.random(), "draws random"),
    "torch's generator": (lambda x: bowl(x) + 1e-10 * torch.rand(1, dtype=torch.float64), "another value|draws random"),
    "torch's generator, unused": (lambda x: bowl(x) + 0.0 * torch.rand(1, dtype=torch.float64), "draws random"),
    "a generator of torch": (
        lambda x: bowl(x) + 0.0 * torch.rand(1, generator=TORCH, dtype=torch.float64), "keeps something"),
    "gradients or not": (lambda x: bowl(x) + 1e-13 * x.requires_grad, "another value"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_STEADY)
def test_what_is_not_a_function_of_the_point_is_named(name: str) -> None:
    function, words = NOT_STEADY[name]
    with pytest.raises(MissingRule, match=words):
        check_steady(function, POINTS)
    with pytest.raises(MissingRule):
        certify(function, ((-1.0, 1.0),) * 2)


def helper(value: float, state: list[int]) -> Callable[[Tensor], Tensor]:
    def one(x: Tensor, scale: float = value, own: list[int] = state) -> Tensor:
        own[0] += 1
        return bowl(x) * scale

    return one


def calling(helpers: list[Function]) -> Function:
    return lambda x: torch.stack([one(x) for one in helpers]).sum(0)


@pytest.mark.parametrize("counting", range(12))
def test_what_any_of_many_helpers_keeps_is_noticed(counting: int) -> None:
    helpers = [helper(1.0, [0]) if i == counting else functools.partial(bowl) for i in range(12)]
    with pytest.raises(MissingRule, match="keeps something"):
        check_steady(calling(helpers), POINTS)


def test_the_same_is_kept_however_often_it_is_looked_at() -> None:
    objective = calling([helper(float(i), [i]) for i in range(30)])
    looks = []
    for _ in range(5):
        looks.append(dict(_kept(objective)))
        crowd = [(i, str(i)) for i in range(len(looks) * 1000)]  # other memory is free at the next look
        assert crowd
    assert all(one == looks[0] for one in looks)
    scales = [value for name, value in looks[0].items() if name.endswith(" defaults[0][0]")]
    assert sorted(map(float, scales)) == list(map(float, range(30)))


def set_up_once(x: Tensor) -> Tensor:
    if not hasattr(set_up_once, "weights"):
        set_up_once.weights = torch.ones(2, dtype=torch.float64)  # type: ignore[attr-defined]
    return (x**2 * set_up_once.weights).sum(-1)  # type: ignore[attr-defined]


@functools.lru_cache
def weights() -> Tensor:
    return torch.ones(2, dtype=torch.float64)


def test_what_is_set_up_once_and_what_is_printed_is_no_state(capsys: pytest.CaptureFixture[str]) -> None:
    def printing(x: Tensor) -> Tensor:
        print("called")
        return bowl(x)

    for function in (bowl, set_up_once, printing, lambda x: (x**2 * weights()).sum(-1)):
        assert certify(function, ((-1.0, 1.0),) * 2).complete
    assert "called" in capsys.readouterr().out


@pytest.mark.parametrize("name", members.surfaces())
def test_every_surface_of_the_catalogue_is_steady(name: str) -> None:
    objective, box = objective_of(name)
    low, high = np.array(box).T
    check_steady(objective, low + np.random.default_rng(0).random((16, len(box))) * (high - low))


def test_noise_far_below_what_a_comparison_forgives_is_called_random() -> None:
    with pytest.raises(UserError, match="is random"):
        check_function(lambda x: bowl(x) + 1e-13 * torch.rand(1, dtype=torch.float64) * x[..., 0], 2)
