"""Many runs on one surface as one array program.

Runs whose settings differ only in numbers are the *rows* of a batch. `descend` runs them all with the numbers of the
training loop: *eager*, one batched torch gradient and update a step, which starts at once; or *fused*, where the step
that the surface, the optimizer and the schedule define is traced and compiled into one loop (numba; cached on disk).
Where the traced step is known already, two more ways come to the bits of the compiled one without a compiler: rows one
by one in Python's own floats, or side by side as arrays. Which way a batch goes is a matter of estimated seconds. What
has no form for rows, L-BFGS or a schedule that follows the loss, is named by `unsupported` and left to the training
loop; what has a form that does not compute the same is found by `disagreement`.

    batch, plan    what is asked, and what it comes down to: a rule, numbers a row, tables over the steps
    rule           an optimizer as a pure function; torch_rules: torch's own; rules: whose is which
    schedules      tables of factors
    agreement      the forms beside the real optimizer, scheduler and surface: who differs is left to the loop
    eager          the batched loop
    trace, aten    a step to a program of scalars (program)
    forms          what the operations of a program are, as text
    scalar         one row of the program in Python's own floats, with the bits of the compiled one
    scalar_rows    rows one by one; array_rows: side by side
    emit, kernel   the program to source, the source to machine code
    fused          the compiled loop over blocks of rows
    portable       the program with functions (portable_math) and coefficients that have the same bits everywhere
    javascript     the program for a web page
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.descend.agreement import disagreement, refused
    from optbench.descend.batch import Batch, BatchResult, Curves
    from optbench.descend.engine import descend, forecast, unsupported
    from optbench.descend.rule import UnsupportedError

_HOME = {
    "disagreement": "agreement",
    "refused": "agreement",
    "Batch": "batch",
    "BatchResult": "batch",
    "Curves": "batch",
    "descend": "engine",
    "forecast": "engine",
    "unsupported": "engine",
    "UnsupportedError": "rule",
}

__all__ = [
    "Batch", "BatchResult", "Curves", "UnsupportedError", "descend", "disagreement", "forecast", "refused",
    "unsupported",
]  # fmt: skip


def __getattr__(name: str) -> Any:  # what needs torch: a run whose program is known does without
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
