"""A step as plain data that can be kept, and the batch that is made of it without torch.

The program of a step is the same for all rows of a batch, for other learning rates and for a run by itself: what it
depends on is the surface and which options of the optimizer are in use. Beside it is kept how the rule's numbers follow
from the configuration (`recipe`), which coefficients it has (`coefficients`), and the factors of a schedule.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optbench.descend.body import farthest, slope_of
from optbench.descend.portable import PREFIX
from optbench.descend.portable_coefficients import named
from optbench.descend.portable_noise import noise_inputs
from optbench.descend.program import Instruction, Program, Step
from optbench.descend.recipe import numbers_of
from optbench.descend.rule import Rule
from optbench.descend.scalar import plain_program

if TYPE_CHECKING:
    from optbench.descend.plan import Plan

Plain = Mapping[str, Any]
_LEADING = 3
"""Results of a plain step before the next iterate: the loss, the squared gradient norm, the farthest argument."""


@dataclass(frozen=True)
class Known:
    """What is known of the step of a batch.

    Attributes:
        program: what `plain_step` gave, and `hyper`, the recipe of the rule's numbers.
        factors: of each schedule, by `schedule_key`: one factor of the learning rate for t = 0, 1 ... steps.
    """

    program: Plain
    factors: Mapping[str, Sequence[float]]

    @property
    def portable(self) -> bool:
        """Whether it is in its portable form, which no other way than its program has the bits of."""
        return str(self.program["coefficients"]).startswith(PREFIX)

    @cached_property
    def rule(self) -> Rule:
        """The rule, as far as the compiled engine looks at it: it has no update."""
        found = self.program
        return Rule(tuple(found["memories"]), _no_update, {}, named(found["coefficients"]), tuple(found["inputs"]))

    def numbers(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """The rule's numbers of an optimizer's node: a float, or (rows,)."""
        return numbers_of(self.program["hyper"], node)

    def factor_table(self, settings: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """(settings, steps + 1) the factors of the schedules with these keywords."""
        return np.array([self.factors[schedule_key(keywords)] for keywords in settings], dtype=np.float64)

    @cached_property
    def step(self) -> Step:
        """The step as a program."""
        return step_of(self.program)


def schedule_key(keywords: Mapping[str, Any]) -> str:
    """A name for the keywords of a schedule."""
    return json.dumps({k: v for k, v in keywords.items() if not k.startswith("_")}, sort_keys=True)


def _no_update(*given: Any) -> Any:
    raise AssertionError("a kept step has a program and no update")


def plain_step(step: Step, plan: Plan, dim: int, noisy: bool = False) -> dict[str, Any]:
    """A traced step as plain data; `noisy`: it was traced so, and its last inputs are the noise of each coordinate.

    Returns:
        step: its program (see scalar.ScalarStep).
        gradient: where in the program the gradient stands, but for signs.
        memories: names of its memories, in order.
        inputs: which of the rule's numbers its coefficients look at.
        coefficients: their name.
    """
    names = plan.rule.memories
    memory = [value for name in names for value in step.memory[name]]
    _, slope = slope_of(step)
    far = farthest(step.program, [step.loss, slope, *step.x, *memory])
    far = step.program.const(0.0) if far is None else far
    inputs = [f"{name}[{i}]" for name in ("x", *names) for i in range(dim)]
    inputs += [*plan.hyper, *plan.tables[0].names, "t", *(noise_inputs(dim) if noisy else ())]
    results = [step.loss, slope, far, *step.x, *memory]
    place = {value: i for i, value in enumerate(step.program.needed(results))}
    code = step.program.code
    unsigned = [code[g].args[0] if code[g].op == "neg" else g for g in step.gradient]
    return {
        "step": plain_program(step.program, inputs, results),
        "gradient": [place[g] for g in unsigned],
        "memories": list(names),
        "inputs": list(plan.rule.inputs),
        "coefficients": plan.rule.coefficients.__name__ if plan.rule.inputs else "none",
    }


def step_of(plain: Plain) -> Step:
    """The step that `plain_step` was given, but for signs of the gradient."""
    program, found = Program(), plain["step"]
    for op, args, payload in found["code"]:
        program.enter(Instruction(op, tuple(args), payload))
    dim, results = len(plain["gradient"]), found["results"][_LEADING:]
    lines = [results[first : first + dim] for first in range(0, len(results), dim)]
    memory = dict(zip(plain["memories"], lines[1:], strict=True))
    return Step(program, found["results"][0], plain["gradient"], lines[0], memory)
