"""A user's own surface: a Python function in a file, run as it is and checked before it is studied.

Loading a file runs it. That is what `--fn path/to/file.py:function` asks for, and the only place where optbench runs a
file that a user names. What it prints goes to standard error: standard output is for the answer.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from optbench.critical.typed.parse import FunctionName
from optbench.errors import OptbenchError, UserError, in_a_line
from optbench.problem import Objective, check_takes_a_point

CONTRACT = "the function takes a float64 tensor (..., dim) and returns (...), in torch operations"


def load_function(spec: FunctionName, dim: int | None = None, parameter: str | None = None) -> Objective:
    """The function that `spec` names, checked on a small batch where `dim` is given.

    It raises UserError in place of whatever else it raises. With a `parameter` the function takes a keyword of that
    name, a tensor (...), and the objective takes it as one more coordinate, the last.

    Raises:
        UserError: the file fails when run, has no such function, or the function does not keep the contract.
    """
    names = _run(spec.path)
    if spec.name not in names:
        own = [name for name, value in names.items() if callable(value) and not name.startswith("_")]
        close = difflib.get_close_matches(spec.name, own, n=1)
        raise UserError(
            f"{spec.path} has no {spec.name!r}",
            f"did you mean {close[0]}?" if close else f"it defines {', '.join(sorted(own)) or 'no function'}",
        )
    function = names[spec.name]
    if not callable(function):
        raise UserError(f"{spec.name} in {spec.path} is not a function but a {type(function).__name__}", CONTRACT)
    if parameter is None:
        check_takes_a_point(function, spec.name)
    else:
        function = _with_parameter(function, spec, parameter)
    objective = _guarded(function, spec.name)
    if dim is not None:
        check_function(objective, dim, spec.name)
    return objective


def _with_parameter(function: Any, spec: FunctionName, parameter: str) -> Objective:
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):
        known = {}  # type: ignore[assignment]
    others = [name for name in list(known)[1:] if known[name].kind is not inspect.Parameter.VAR_KEYWORD]
    if parameter not in others and len(others) == len(list(known)[1:]):
        close = difflib.get_close_matches(parameter, others, n=1)
        raise UserError(
            f"{spec.name} in {spec.path} takes no {parameter!r}",
            f"did you mean {close[0]}?" if close else f"write def {spec.name}(x, {parameter}): ...",
        )
    return lambda x: function(x[..., :-1], **{parameter: x[..., -1]})


def _run(path: Path) -> dict[str, Any]:
    """The names that the file defines; files beside it can be imported from it, as under `python file.py`."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return runpy.run_path(str(path), run_name="<optbench>")
    except Exception as error:  # whatever the user's file raises is the user's to see, in one line
        raise UserError(f"{path} fails when it is run: {in_a_line(error)}") from error


def _guarded(function: Objective, name: str) -> Objective:
    def guarded(x: Tensor) -> Tensor:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return function(x)
        except OptbenchError:
            raise
        except Exception as error:  # anything may go wrong in a user's function, and anywhere in the box
            where = f" of shape {tuple(x.shape)}" if isinstance(x, Tensor) else ""
            raise UserError(f"{name} fails on a tensor{where}: {in_a_line(error)}", CONTRACT) from error

    return guarded


def check_function(function: Objective, dim: int, name: str = "the function") -> None:
    """Calls the function on a batch (2, 5, dim) and sees whether it keeps the contract.

    Raises:
        UserError: it raises, returns something else than a real tensor (2, 5), hides x from differentiation, mixes the
            points of a batch, or is random.
    """
    x = _sample(dim)
    value: Any = _guarded(function, name)(x)
    again: Any = _guarded(function, name)(x)
    if not isinstance(value, Tensor):
        raise UserError(f"{name} returns a {type(value).__name__}, not a tensor", CONTRACT)
    if value.shape != (2, 5):
        hint = f"{CONTRACT}; write x[..., 0] for the first coordinate"
        raise UserError(f"{name} returns shape {tuple(value.shape)} for x of shape (2, 5, {dim}), not (2, 5)", hint)
    if not value.dtype.is_floating_point:
        raise UserError(f"{name} returns {value.dtype}, not floating point", CONTRACT)
    if not value.requires_grad and bool((value != value[0, 0]).any()):
        raise UserError(f"{name} cannot be differentiated: its value depends on x, but not through torch", CONTRACT)
    if not isinstance(again, Tensor) or not torch.equal(value.nan_to_num(), again.nan_to_num()):
        raise UserError(f"{name} is random: the same point has another value each time")
    _check_each_alone(function, x, value.detach(), name)
    if value.requires_grad:
        _check_twice_differentiable(value, x, name)


def depends_on_last(function: Objective, dim: int) -> bool:
    """Whether the function, which keeps the contract, looks at the last of its coordinates at all."""
    x = _sample(dim)
    value = function(x)
    if not value.requires_grad:
        return False
    return bool((torch.autograd.grad(value.sum(), x)[0][..., -1] != 0).any())


def _sample(dim: int) -> Tensor:
    return torch.linspace(0.1, 0.9, 10 * dim, dtype=torch.float64).reshape(2, 5, dim).requires_grad_(True)


def _check_each_alone(function: Objective, x: Tensor, together: Tensor, name: str) -> None:
    alone = torch.stack([function(point[None]).detach()[0] for point in x.reshape(-1, x.shape[-1])]).reshape(2, 5)
    if torch.allclose(alone, together, rtol=1e-9, atol=1e-12, equal_nan=True):
        return
    raise UserError(f"{name} mixes the points of a batch: a point alone has another value", CONTRACT)


def _check_twice_differentiable(value: Tensor, x: Tensor, name: str) -> None:
    try:
        first = torch.autograd.grad(value.sum(), x, create_graph=True)[0]
        if first.requires_grad:
            torch.autograd.grad(first.sum(), x, allow_unused=True)
    except Exception as error:  # autograd raises several kinds
        raise UserError(f"{name} cannot be differentiated twice: {in_a_line(error)}", CONTRACT) from error
