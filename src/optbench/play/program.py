"""A run and its program as the page has them: plain data, and functions as JavaScript."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.descend import javascript
from optbench.descend.portable import PREFIX
from optbench.descend.portable_coefficients import coefficient_program
from optbench.experiment.programs import Shelved
from optbench.settings import SurfaceTrainer

Plain = Mapping[str, Any]
_NONE: Plain = {"code": [], "inputs": [], "results": []}
_UNSHOWN = ("_target_", "_partial_")


@dataclass(frozen=True)
class Emitted:
    """A portable step for the page.

    Attributes:
        spec: what engine.js must know of it; see `Walk` there.
        programs: plain programs by the name of the function that they become.
    """

    spec: Mapping[str, Any]
    programs: Mapping[str, Plain]

    def text(self) -> str:
        """An expression in JavaScript: an object of the functions."""
        parts = [javascript.function(name, plain) for name, plain in self.programs.items()]
        return f"(() => {{\n{chr(10).join(parts)}\nreturn {{ {', '.join(self.programs)} }};\n}})()"


def emitted(found: Shelved, trainer: SurfaceTrainer) -> Emitted:
    """The step of a run for the page.

    Args:
        found: its program in the portable form (`experiment.programs.shelved` under trainer.engine=portable).
        trainer: budget and stop rules.
    """
    program = found.program
    names, coefficients = coefficient_program(program["coefficients"].removeprefix(PREFIX))
    if not program["inputs"]:
        names, coefficients = (), _NONE
    dim, step = len(program["domain"]), program["step"]
    spec = {
        "dim": dim,
        "state": dim * (1 + len(program["memories"])),
        "memories": list(program["memories"]),
        "inputs": step["inputs"],
        "hyper": program["hyper"],
        "floor": found.floor,
        "factors": bits(found.factors),
        "coefficients": {
            "names": list(names),
            "inputs": list(coefficients["inputs"]),
            "products": javascript.products(coefficients),
        },
        "rules": {
            "divergence_factor": trainer.divergence_factor,
            "target": trainer.target,
            "grad_tol": trainer.grad_tol,
        },
        "steps": trainer.steps,
    }
    return Emitted(spec, {"step": step, "coefficients": coefficients})


def keywords(node: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of an optimizer's node."""
    return {key: value for key, value in node.items() if key not in _UNSHOWN}


def bits(numbers: Sequence[float] | Any) -> str:
    """Doubles as the page reads them: base64 of their bytes, least significant first."""
    return base64.b64encode(np.ascontiguousarray(numbers, dtype="<f8").tobytes()).decode("ascii")
