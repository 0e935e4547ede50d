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
from optbench.descend.portable_noise import normal_draws
from optbench.experiment.programs import Shelved
from optbench.settings import SurfaceTrainer

Plain = Mapping[str, Any]
GRAD_NOISE = "grad_noise"
"""The setting of the trainer that a page has among those of the optimizer."""
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


def emitted(found: Shelved, trainer: SurfaceTrainer, seed: int = 0) -> Emitted:
    """The step of a run for the page.

    Args:
        found: its program in the portable form (`experiment.programs.shelved` under trainer.engine=portable).
        trainer: budget, stop rules and gradient noise.
        seed: root seed of the run, whose draws the noise is.
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
        "noise": _noise(trainer, seed, dim),
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


def _noise(trainer: SurfaceTrainer, seed: int, dim: int) -> Plain | None:
    """The standard normal draws of each update, and what they are multiplied by; None: the gradient is exact."""
    if not trainer.grad_noise:
        return None
    draws = bits(normal_draws(seed, trainer.steps + 1, dim))
    return {"key": GRAD_NOISE, "scale": trainer.grad_noise, "seed": seed, "draws": draws}


def keywords(node: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of an optimizer's node."""
    return {key: value for key, value in node.items() if key not in _UNSHOWN}


def bits(numbers: Sequence[float] | Any) -> str:
    """Doubles as the page reads them: base64 of their bytes, least significant first."""
    return base64.b64encode(np.ascontiguousarray(numbers, dtype="<f8").tobytes()).decode("ascii")
