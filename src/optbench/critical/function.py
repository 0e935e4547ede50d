"""A user's own surface: a Python function in a file, run as it is and checked before it is studied.

Loading a file runs it. That is what `--fn path/to/file.py:function` asks for, and the only place where optbench runs a
file that a user names.
"""

from __future__ import annotations

import difflib
import runpy

import torch

from optbench.critical.parse import FunctionName
from optbench.errors import UserError
from optbench.problem import Objective

CONTRACT = "the function takes a float64 tensor (..., dim) and returns (...), in torch operations"


def load_function(spec: FunctionName, dim: int | None = None) -> Objective:
    """The function that `spec` names, checked on a small batch where `dim` is given.

    Raises:
        UserError: the file fails when run, has no such function, or the function does not keep the contract.
    """
    try:
        names = runpy.run_path(str(spec.path), run_name="<optbench>")
    except Exception as error:  # whatever the user's file raises is the user's to see, in one line
        raise UserError(f"{spec.path} fails when it is run: {_short(error)}") from error
    if spec.name not in names:
        own = [name for name, value in names.items() if callable(value) and not name.startswith("_")]
        close = difflib.get_close_matches(spec.name, own, n=1)
        raise UserError(
            f"{spec.path} has no {spec.name!r}",
            f"did you mean {close[0]}?" if close else f"it defines {', '.join(sorted(own)) or 'no function'}",
        )
    function: Objective = names[spec.name]
    if not callable(function):
        raise UserError(f"{spec.name} in {spec.path} is not a function but a {type(function).__name__}", CONTRACT)
    if dim is not None:
        check_function(function, dim, spec.name)
    return function


def check_function(function: Objective, dim: int, name: str = "the function") -> None:
    """Calls the function on a batch (2, 5, dim) and sees whether it keeps the contract.

    Raises:
        UserError: it raises, returns something else than a real tensor (2, 5), or hides x from differentiation.
    """
    x = torch.linspace(0.1, 0.9, 10 * dim, dtype=torch.float64).reshape(2, 5, dim).requires_grad_(True)
    try:
        value = function(x)
    except Exception as error:  # anything may go wrong in a user's function
        raise UserError(f"{name} fails on a tensor of shape (2, 5, {dim}): {_short(error)}", CONTRACT) from error
    if not isinstance(value, torch.Tensor):
        raise UserError(f"{name} returns a {type(value).__name__}, not a tensor", CONTRACT)
    if value.shape != (2, 5):
        hint = f"{CONTRACT}; write x[..., 0] for the first coordinate"
        raise UserError(f"{name} returns shape {tuple(value.shape)} for x of shape (2, 5, {dim}), not (2, 5)", hint)
    if not value.dtype.is_floating_point:
        raise UserError(f"{name} returns {value.dtype}, not floating point", CONTRACT)
    if not value.requires_grad and bool((value != value[0, 0]).any()):
        raise UserError(f"{name} cannot be differentiated: its value depends on x, but not through torch", CONTRACT)


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
