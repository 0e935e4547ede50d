"""The optimizer of a stack: its rule on the matrix of all rows, each row with its own numbers.

Two forms of one rule. *Operations*: the rule as it stands, on tensors; a dozen passes over memory. *Compiled*: the rule
traced once for a single number, as `descend` traces the step of a surface, and compiled by numba into one pass, on a
CPU. The compiled form is held to the other on drawn numbers before it is used.

Where weights move as one (`columns`), the sum s of c weights goes to k s + c u, with u the rule's move of a weight at 0
and k = 1 - lr lambda under decoupled weight decay, else 1. `moves_alike` tells for which rules that holds.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.descend import vector_math, vector_math_single
from optbench.descend.forms import FORMS
from optbench.descend.kernel import load
from optbench.descend.plan import Plan, learning_rates
from optbench.descend.program import Program, Value
from optbench.descend.trace import Tracer

_CLOSE = 1e-4
"""Of a compiled update beside the other form, relative to the largest; both are float32."""


_FORGOTTEN = 1e-12
"""An eps beside which a number of 1e-38, or its root of 1e-19, is nothing."""


def forgets_the_smallest(plan: Plan) -> bool:
    """Whether the numbers that float32 has below 1.2e-38 move no weight.

    Means of gradients that have become 0 end there (a pixel that is always black, a unit that is off), and stay: 0.9
    times the smallest number is that number. Two kinds of rules forget them:

    - what is remembered is divided by eps at least, so that it moves a weight by 1e-26 of its rate at most;
    - the next weight and memories are sums of the former ones, each times a number (momentum, heavy ball, averages). A
      memory below 1.2e-38 then moves a weight by as much times its rate, which float32 rounds away from every weight
      above 4e-31 times that rate, and is rounded away itself by the next gradient above 4e-31. Weights are the same to
      the bit where they and their gradients are 0 or larger than that.

    A rule that looks at signs (Lion, Rprop) or at quotients without an eps shows such a number whole, and keeps it.
    """
    eps = plan.hyper.get("eps")
    return (eps is not None and bool(np.min(eps) >= _FORGOTTEN)) or _is_linear(plan)


def _is_linear(plan: Plan) -> bool:
    """Whether a rule adds and subtracts multiples of weight, gradient and memories, and nothing else."""
    names = Numbers(plan, np.zeros(1, dtype=np.int64)).names
    try:
        program, following, memories = _traced(plan, names, moving=False)
    except Exception:  # a rule is anyone's code; what cannot be traced is not known
        return False
    state, wanted = {"x", "g", *(f"memory {name}" for name in plan.rule.memories)}, [following, *memories]
    found: dict[Value, bool] = {}
    """Whether a value hangs on the state, linearly; those that hang on it otherwise end this."""
    for value in program.needed(wanted):
        op, args, payload = program.code[value]
        hangs = [found[a] for a in args]
        if not args:
            found[value] = op == "input" and payload in state
        elif not any(hangs) or op in ("add", "sub", "neg"):
            found[value] = any(hangs)
        elif (op == "mul" and sum(hangs) == 1) or (op == "div" and not hangs[1]) or (op == "where" and not hangs[0]):
            found[value] = True
        else:
            return False
    return True


@contextlib.contextmanager
def flushing(holds: bool) -> Iterator[None]:
    """In it this thread takes numbers below 1.2e-38 for 0, where that is asked for and the machine can: a processor
    takes many times as long over such a number as over another (24 times here, a product in numpy)."""
    if not holds or not torch.set_flush_denormal(True):
        yield
        return
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


class Numbers:
    """The numbers of each row's rule at each update.

    Args:
        plan: of all rows.
        rows: which rows of the plan these are.
    """

    def __init__(self, plan: Plan, rows: NDArray[np.int64]) -> None:
        self.plan, self.rows = plan, rows
        self.names = ("lr", *(name for name in plan.hyper if name != "lr"), *plan.tables[0].names)

    def rates(self, t: int) -> NDArray[np.float64]:
        """(rows,) the learning rates of update t."""
        found = learning_rates(self.plan, self.rows, np.array([t]))[:, 0]
        return np.broadcast_to(found, len(self.rows))

    def at(self, t: int) -> NDArray[np.float64]:
        """(names, rows) at update t."""
        found = np.empty((len(self.names), len(self.rows)))
        found[0] = self.rates(t)
        for i, name in enumerate(self.names[1:], 1):
            if name in self.plan.hyper:
                value = self.plan.hyper[name]
                found[i] = value[self.rows] if isinstance(value, np.ndarray) else value
        table = self.plan.tables[0]
        line = np.zeros(len(self.rows), dtype=np.int64) if table.index is None else table.index[self.rows]
        for i, values in enumerate(table.values):
            found[len(self.names) - len(table.values) + i] = values[line, t]
        return found

    def decay(self, t: int) -> NDArray[np.float64]:
        """(rows,) the factor by which decoupled weight decay multiplies a weight at update t."""
        weight = self.plan.hyper.get("weight_decay", 0.0)
        return 1.0 - self.rates(t) * (weight[self.rows] if isinstance(weight, np.ndarray) else weight)

    def block(self, first: int, count: int, decays: bool) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Of updates one after the other: (updates, rows, names + 1) those of `at` and then of `decay` (1 where it
        does not act), and (updates, rows) the latter in double precision."""
        at = [self.at(t) for t in range(first, first + count)]
        keep = np.stack([self.decay(t) if decays else np.ones(len(self.rows)) for t in range(first, first + count)])
        whole = np.concatenate([np.stack(at).transpose(0, 2, 1), keep[:, :, None]], axis=2)
        return np.ascontiguousarray(whole, dtype=np.float32), keep

    def some(self, which: NDArray[np.int64]) -> Numbers:
        """Those of some of the rows."""
        return Numbers(self.plan, self.rows[which])


Apply = Callable[[Tensor, Tensor, Tensor, NDArray[np.float64], NDArray[np.float64], int], None]
"""Moves x (rows, n) by gradients (rows, n) and memories (memories, rows, n), in place, with numbers (names, rows),
factors k (rows,) and the number of the update."""


def by_operations(plan: Plan, names: tuple[str, ...], counts: Tensor | None) -> Apply:
    """The rule as torch operations.

    Args:
        plan: of the rule.
        names: of the numbers, as of `Numbers`.
        counts: (n,) how many weights move as one; None: each by itself.
    """

    def apply(x: Tensor, g: Tensor, memory: Tensor, numbers: Any, keep: Any, t: int) -> None:
        columns = torch.from_numpy(numbers).to(x.device, x.dtype)[:, :, None]
        flat = dict(zip(names, columns, strict=True))
        before = dict(zip(plan.rule.memories, memory, strict=True))
        time = torch.tensor(t, device=x.device)
        at = x if counts is None else torch.zeros_like(x)
        following, after = plan.rule.update(at, g, before, plan.structured(flat), time)
        if counts is not None:
            kept = torch.from_numpy(np.asarray(keep)).to(x.device, x.dtype)[:, None]
            following = kept * x + counts * following
        x.copy_(following)
        for name, place in zip(plan.rule.memories, memory, strict=True):
            place.copy_(after[name])

    return apply


def moves_alike(plan: Plan, names: tuple[str, ...]) -> str | None:
    """Whether a rule moves weights with equal gradients by an equal amount wherever they are: "still" where nothing
    else happens to them, "decays" where they are multiplied by 1 - lr weight_decay too; None where it does not."""
    random = np.random.default_rng(0)
    numbers = {name: 0.05 + 0.4 * random.random() for name in names}
    numbers |= {n: float(v) for n, v in plan.hyper.items() if not isinstance(v, np.ndarray) and v == 0.0}
    flat = {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}
    g, x = (torch.from_numpy(random.normal(size=64)) for _ in range(2))
    memory = {name: torch.from_numpy(random.uniform(0.1, 2.0, size=64)) for name in plan.rule.memories}

    def moved(at: Tensor, t: int) -> tuple[Tensor, dict[str, Tensor]]:
        return plan.rule.update(at, g, memory, plan.structured(flat), torch.tensor(t))

    found = set()
    for t in (0, 3):
        (here, mine), (there, others) = moved(torch.zeros_like(x), t), moved(x, t)
        if any(not torch.allclose(mine[n], others[n], rtol=1e-12, atol=0.0) for n in plan.rule.memories):
            return None
        shrunk = 1.0 - numbers["lr"] * numbers.get("weight_decay", 0.0)
        fits = {"still": 1.0, "decays": shrunk}
        held = (k for k, f in fits.items() if torch.allclose(there, f * x + here, rtol=1e-9, atol=1e-12))
        found.add(next(held, None))
    return found.pop() if len(found) == 1 else None


# compiled ------------------------------------------------------------------------------------------------------------


class Compiled:
    """The rule in one pass over memory, an `Apply`; other machine code calls it by its address.

    Args:
        plan, names, counts: as of `by_operations`.

    Attributes:
        address: of a function of x, g, memory, numbers, counts, rows, n, apart, t: pointers to float32 and int64
            numbers. It moves `rows` rows of n weights, one after the other; the memories of each begin `apart` numbers
            from one another; numbers has for each row those of `names` and the factor.

    Raises:
        NotImplementedError: it cannot be traced or compiled, or is not what the operations compute.
    """

    def __init__(self, plan: Plan, names: tuple[str, ...], counts: Tensor | None) -> None:
        kernel: Any = load(_source(plan, names, counts is not None))
        self._run, self.address = kernel, int(kernel.address)
        self._counts = np.zeros(0, dtype=np.float32) if counts is None else counts.numpy()
        _check(self, plan, names, counts)

    def __call__(self, x: Tensor, g: Tensor, memory: Tensor, numbers: Any, keep: Any, t: int) -> None:
        """See `Apply`."""
        (rows, n), of_rows = x.shape, np.column_stack([*numbers, keep]).astype(np.float32)
        arrays = (x.numpy(), g.numpy(), memory.numpy(), of_rows, self._counts)
        places = [array.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for array in arrays]
        self._run.ctypes(*places, rows, n, rows * n, t)


def _check(apply: Apply, plan: Plan, names: tuple[str, ...], counts: Tensor | None) -> None:
    random = np.random.default_rng(1)
    n, rows = 37 if counts is None else len(counts), 3
    x = torch.from_numpy(random.normal(size=(rows, n))).float()
    memory = torch.zeros(len(plan.rule.memories), rows, n)
    found, wanted = (x.clone(), memory.clone()), (x.clone(), memory.clone())
    other, index = by_operations(plan, names, counts), np.zeros(rows, dtype=np.int64)
    numbers = Numbers(plan, index)
    for t in range(min(4, plan.tables[1].values.shape[2] - 1)):
        g = torch.from_numpy(random.normal(size=(rows, n))).float()
        for form, (place, kept) in ((apply, found), (other, wanted)):
            form(place, g, kept, numbers.at(t), numbers.decay(t), t)
    for mine, theirs in zip(found, wanted, strict=True):
        if mine.numel() and not (mine - theirs).abs().max() <= _CLOSE * theirs.abs().max():
            raise NotImplementedError("the compiled update is not what its operations compute")


def _traced(plan: Plan, names: tuple[str, ...], moving: bool) -> tuple[Program, Value, list[Value]]:
    """The update of one number as a program: the next one (moving: the move of one at 0) and the next memories."""
    tracer = Tracer()

    def tracked(name: str, *shape: int) -> Tensor:
        tensor = torch.full(shape, 0.5, dtype=torch.float64)
        tracer.track(tensor, np.full(shape, tracer.program.input(name), dtype=object))
        return tensor

    with tracer, torch.no_grad():
        x = torch.zeros(1, dtype=torch.float64) if moving else tracked("x", 1)
        memory = {name: tracked(f"memory {name}", 1) for name in plan.rule.memories}
        numbers = {name: tracked(name) for name in names}
        time = tracked("t")
        following, after = plan.rule.update(x, tracked("g", 1), memory, plan.structured(numbers), time)
    program = tracer.program
    return program, tracer.values(following, (1,))[0], [tracer.values(after[m], (1,))[0] for m in plan.rule.memories]


def _source(plan: Plan, names: tuple[str, ...], moving: bool) -> str:
    """The text of the kernel's module. Raises NotImplementedError."""
    try:
        program, following, memories = _traced(plan, names, moving)
    except NotImplementedError:
        raise
    except Exception as error:  # a rule is anyone's code
        raise NotImplementedError(f"tracing raised {type(error).__name__}: {error}") from error
    places = {f"memory {name}": f"m{i}[i]" for i, name in enumerate(plan.rule.memories)}
    places |= {name: f"q{i}" for i, name in enumerate(names)} | {"x": "x[i]", "g": "g[i]", "t": "F(t)"}
    needed = program.needed([following, *memories])
    lines = [f"v{v} = {text_of(program, v, places)}" for v in needed]
    put = f"keep * x[i] + counts[i] * v{following}" if moving else f"v{following}"
    lines += [f"x[i] = {put}", *(f"m{i}[i] = v{v}" for i, v in enumerate(memories))]
    library = vector_math_single.FUNCTIONS
    called = any(program.code[v].op in library for v in needed)
    return _TEMPLATE.format(
        functions=vector_math.source(library) if called else "",
        numbers="\n        ".join(f"q{i} = numbers[{i}]" for i in range(len(names))),
        memories="\n        ".join(f"m{i} = memory[{i} * apart :][:n]" for i in range(len(memories))),
        count=len(memories),
        last=len(names),
        lines="\n            ".join(lines),
    )


def text_of(program: Program, value: Value, places: Mapping[str, str]) -> str:
    """An instruction in the text of a kernel: arguments as `v` and their number, inputs as they stand in `places`."""
    op, args, payload = program.code[value]
    if op == "const":
        number = repr(float(payload))
        return {"inf": "INF", "-inf": "-INF", "nan": "NAN"}.get(number, f"F({number})")
    return places[str(payload)] if op == "input" else FORMS[op].format(*(f"v{a}" for a in args))


_TEMPLATE = '''"""Written by optbench.stacked.updates, and named by its hash: a change here is never looked at."""

import math

import numba
import numpy as np
from numba.extending import intrinsic

F = np.float32
ZERO, ONE, INF, NAN = F(0), F(1), F(np.inf), F(np.nan)
_P, _I = numba.types.CPointer(numba.float32), numba.int64


{functions}

@numba.cfunc(numba.void(_P, _P, _P, _P, _P, _I, _I, _I, _I), cache=True, error_model="numpy")
def run(all_x, all_g, all_memory, all_numbers, all_counts, rows, n, apart, t):
    counts = numba.carray(all_counts, n)
    for row in range(rows):
        x = numba.carray(all_x, (rows, n))[row]
        g = numba.carray(all_g, (rows, n))[row]
        numbers = numba.carray(all_numbers, (rows, {last} + 1))[row]
        memory = numba.carray(all_memory, {count} * apart)[row * n :]
        {memories}
        {numbers}
        keep = numbers[{last}]
        for i in range(n):
            {lines}
'''


# norms ---------------------------------------------------------------------------------------------------------------

Norms = Callable[[Tensor], Tensor]
"""Gradients (rows, n) to their Euclidean norms (rows,), those of weights that move as one counted as they are."""


def norms_by_operations(counts: Tensor | None) -> Norms:
    """The norms as torch operations; `counts` as of `by_operations`."""

    def norms(g: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(g, dim=1) if counts is None else (g.square() @ counts).sqrt()
        return norm

    return norms


def compiled_norms(counts: Tensor | None) -> Norms:
    """The norms in one pass; torch's make a copy first, or go through memory in another order. Raises
    NotImplementedError."""
    run = load(_NORMS)
    of_each = np.zeros(0, dtype=np.float32) if counts is None else counts.numpy()

    def norms(g: Tensor) -> Tensor:
        squares = np.empty(len(g))
        run(g.numpy(), of_each, squares)
        return torch.from_numpy(np.sqrt(squares))

    return norms


_NORMS = '''"""Written by optbench.stacked.updates, and named by its hash: a change here is never looked at."""

import numba
import numpy as np

_T = numba.float32
PART = 4096


@numba.njit(
    numba.void(_T[:, ::1], _T[::1], numba.float64[::1]),
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"reassoc"},
)
def run(g, counts, squares):
    for row in range(g.shape[0]):
        whole = 0.0
        for first in range(0, g.shape[1], PART):
            last = min(first + PART, g.shape[1])
            part = np.float32(0)
            if len(counts):
                for i in range(first, last):
                    part += g[row, i] * g[row, i] * counts[i]
            else:
                for i in range(first, last):
                    part += g[row, i] * g[row, i]
            whole += part
        squares[row] = whole
'''
