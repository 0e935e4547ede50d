"""Boxes, points and function names as users type them: `--box "-2,2;-1,3"`, `--at "1,1"`, `--fn file.py:name`.

No torch here, so that a typing mistake is answered at once.
"""

from __future__ import annotations

import ast
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path

from optbench.errors import UserError

Box = tuple[tuple[float, float], ...]
BOX_HINT = 'write --box "lo,hi;lo,hi", or one pair for all axes: --box "-2,2"'
SWEEP_HINT = 'write --sweep "a=-1:1": the name of a parameter, and the lower and upper end of its range'
AT_HINT = 'write --at "x,y", one number for each coordinate'


@dataclass(frozen=True)
class FunctionName:
    """`path/to/file.py:function`, taken apart; the file exists and is Python."""

    path: Path
    name: str


def parse_box(text: str, dim: int | None = None) -> Box:
    """The box that `text` describes: pairs "lo,hi" separated by semicolons; one pair serves all axes.

    Args:
        text: as typed after --box.
        dim: number of axes; None takes as many as there are pairs.

    Raises:
        UserError: not numbers, NaN or infinite, lo >= hi, or as many pairs as the surface has no axes.
    """
    pairs = [part for part in text.split(";") if part.strip()]
    if not pairs:
        raise UserError(f"--box {text!r} is empty", BOX_HINT)
    box = tuple(_pair(pair, text) for pair in pairs)
    return box if dim is None else fit_box(box, dim)


def fit_box(box: Box, dim: int) -> Box:
    """The box for a surface of `dim` coordinates; one pair serves all axes. Raises UserError for another number."""
    if len(box) == dim:
        return box
    if len(box) == 1:
        return box * dim
    raise UserError(f"--box has {len(box)} pairs, the surface has {dim} coordinate{'s' * (dim != 1)}", BOX_HINT)


def parse_point(text: str, dim: int | None = None) -> tuple[float, ...]:
    """The point that `text` describes: numbers separated by commas.

    Raises:
        UserError: not numbers, NaN or infinite, or not `dim` of them.
    """
    point = tuple(_number(part, f"--at {text!r}", AT_HINT) for part in text.split(","))
    return point if dim is None else fit_point(point, dim)


def fit_point(point: tuple[float, ...], dim: int) -> tuple[float, ...]:
    """The point, of a surface of `dim` coordinates. Raises UserError for another number of them."""
    if len(point) != dim:
        came = f"{len(point)} coordinate{'s' * (len(point) != 1)}"
        raise UserError(f"--at has {came}, the surface has {dim}", AT_HINT)
    return point


def parse_sweep(text: str) -> tuple[str, tuple[float, float]]:
    """The parameter and its range that `text` describes: name=low:high.

    Raises:
        UserError: no name, or ends that are not numbers, not finite, or not in order.
    """
    name, equals, ends = (part.strip() for part in text.partition("="))
    low, colon, high = ends.partition(":")
    if not equals or not colon or not name.isidentifier():
        raise UserError(f"--sweep {text!r} is not a parameter with a range", SWEEP_HINT)
    first, last = (_number(part, f"--sweep {text!r}", SWEEP_HINT) for part in (low, high))
    if first >= last:
        raise UserError(f"--sweep {text!r}: the lower end {first:g} is not below the upper end {last:g}", SWEEP_HINT)
    if not math.isfinite(last - first):
        raise UserError(f"--sweep {text!r}: the range is too long", SWEEP_HINT)
    return name, (first, last)


def parse_function(text: str) -> FunctionName | None:
    """`path/to/file.py:function` taken apart; None where `text` is not of this form (the name of a surface).

    Raises:
        UserError: the file is missing, is not Python, or no function is named.
    """
    path, colon, name = text.rpartition(":")
    if not colon:
        path, name = text, ""
    if not path.endswith(".py"):
        return None
    hint = "write --fn path/to/file.py:function"
    if not name.isidentifier():
        raise UserError(f"--fn {text!r} names no function in the file", hint)
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"no such file: {path}", hint)
    try:
        ast.parse(file.read_bytes(), filename=path)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UserError(f"{path} is not valid Python{line}: {getattr(error, 'msg', error)}") from None
    return FunctionName(file, name)


def require_flint() -> None:
    """Raises UserError where the library behind --verify arb is not installed."""
    if importlib.util.find_spec("flint") is None:
        raise UserError("--verify arb needs python-flint", "pip install 'optbench[verify]'")


def _pair(text: str, whole: str) -> tuple[float, float]:
    parts = text.split(",")
    if len(parts) != 2:
        raise UserError(f"--box {whole!r}: {text.strip()!r} is not a pair lo,hi", BOX_HINT)
    low, high = (_number(part, f"--box {whole!r}", BOX_HINT) for part in parts)
    if low >= high:
        raise UserError(f"--box {whole!r}: the lower end {low:g} is not below the upper end {high:g}", BOX_HINT)
    return low, high


def _number(text: str, whole: str, hint: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{whole}: {text.strip()!r} is not a number", hint) from None
    if not math.isfinite(value):
        raise UserError(f"{whole}: {text.strip()!r} is not a finite number", hint)
    return value
