"""Recorded programs: the operations of a surface, run in another arithmetic, give what its own code gives there."""

from __future__ import annotations

import json
from fractions import Fraction

import members
import numpy as np
import pytest
import torch
from certified_tools import objective_of

from optbench.critical.certified import MissingRule
from optbench.critical.certified.interval import Interval
from optbench.critical.certified.jet import Jet, coordinates_of_boxes
from optbench.critical.certified.program import Step, record, trace


@pytest.mark.parametrize("name", members.surfaces())
def test_a_recorded_surface_runs_as_its_own_code(name: str) -> None:
    objective, box = objective_of(name)
    program = record(objective, len(box))
    low = np.array([[a for a, _ in box]])
    high = np.array([[b for _, b in box]])
    middle = low + (high - low) * 0.37
    x = coordinates_of_boxes(np.concatenate([low, middle]), np.concatenate([high, middle]), 2)
    with np.errstate(all="ignore"):
        direct = trace(objective, x)
        found = program.run(x.parts)[program.result]
    assert isinstance(direct, Jet)
    assert isinstance(found, Jet)
    for name_ in ("value", "grad", "hess"):
        np.testing.assert_array_equal(getattr(found, name_), getattr(direct, name_), name_)


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
    with np.errstate(all="ignore"):
        found = program.run([Interval.between(np.array([v]), np.array([v])) for v in (a, b)])[program.result]
    exact = ((Fraction(a) - Fraction(0.1)) ** 2 + Fraction(b) / 3) * Fraction(0.7)
    assert Fraction(found.low[0]) <= exact <= Fraction(found.high[0])


def test_an_operation_without_a_rule_is_named() -> None:
    with pytest.raises(MissingRule, match="erf"):
        record(lambda x: torch.erf(x[..., 0]), 1)
