"""Recorded programs: the operations of a surface, run in another arithmetic, hold what its own code gives."""

from __future__ import annotations

import json
from fractions import Fraction

import members
import numpy as np
import pytest
import torch
from certified_tools import intervals, objective_of, range_of

from optbench.critical.arithmetic.jet import coordinates_of_boxes
from optbench.critical.programs.program import Step, record
from optbench.critical.programs.scalar import MissingRule


@pytest.mark.parametrize("name", members.surfaces())
def test_a_recorded_surface_holds_what_its_own_code_computes(name: str) -> None:
    objective, box = objective_of(name)
    low, high = np.array(box).T
    x = low + np.random.default_rng(0).random((50, len(box))) * (high - low)
    found, value = range_of(objective, x, x), objective(torch.from_numpy(x)).numpy()
    wide = found.high - found.low + 1e-15 * (np.abs(x).max() + 1)  # torch adds in another order, and logits otherwise
    assert (found.low - wide <= value).all()
    assert (value <= found.high + wide).all()


@pytest.mark.parametrize("name", members.surfaces())
def test_the_value_is_that_of_the_last_step(name: str) -> None:
    objective, box = objective_of(name)
    program = record(objective, len(box))
    x = coordinates_of_boxes(*(np.array(box).T[:, None]), 2)
    with np.errstate(all="ignore"):
        all_, value = program.run(x)[program.result], program.value(x)
    for part in ("value", "grad", "hess"):
        np.testing.assert_array_equal(getattr(all_, part), getattr(value, part), part)


def test_what_is_computed_twice_is_noted_once() -> None:
    program = record(lambda x: x[..., 0].sin() * x[..., 1] + x[..., 0].sin(), 2)
    assert [step.op for step in program.steps] == ["x", "x", "sin", "times", "plus"]


def test_zeros_of_both_signs_are_two_numbers() -> None:
    program = record(lambda x: x[..., 0] / torch.tensor(0.0) + x[..., 0] / torch.tensor(-0.0), 1)
    assert [str(step.number) for step in program.steps if step.op == "over"] == ["0.0", "-0.0"]


def test_a_constant_surface_is_one_step() -> None:
    program = record(lambda x: 3.0, 2)  # type: ignore[arg-type,return-value]
    assert program.steps[program.result] == Step("constant", (), 3.0)


def test_json_keeps_every_bit() -> None:
    program = record(lambda x: x[..., 0] * 0.1, 1)
    steps = json.loads(json.dumps(program.to_json()))["steps"]
    assert Fraction(float.fromhex(steps[1][2])) == Fraction(0.1)


def test_thin_intervals_hold_the_exact_value() -> None:
    program = record(lambda x: ((x[..., 0] - 0.1) ** 2 + x[..., 1] / 3.0) * 0.7, 2)
    a, b = 0.3, -1.7
    found = program.value(intervals(np.array([[a, b]]), np.array([[a, b]])))
    exact = ((Fraction(a) - Fraction(0.1)) ** 2 + Fraction(b) / 3) * Fraction(0.7)
    assert Fraction(found.low[0]) <= exact <= Fraction(found.high[0])


def test_an_operation_without_a_rule_is_named() -> None:
    with pytest.raises(MissingRule, match="lgamma"):
        record(lambda x: torch.lgamma(x[..., 0]), 1)
