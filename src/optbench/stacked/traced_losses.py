"""A loss as machine code: value, slope and the class that is told, of examples one after the other.

torch's own run of the loss on one example is listened to, and autograd's pass back (`descend.trace`). The target is a
symbol like the outputs: what a label chooses (`gather`, a one-hot row, a weight of its class) becomes a choice among
all classes by comparing, so that one program serves every label. It is held to the loss itself on drawn outputs and
on targets of the data before it is used.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from optbench.descend import vector_math, vector_math_single
from optbench.descend.kernel import load
from optbench.descend.program import Program, Value
from optbench.descend.trace import Tracer
from optbench.problem import row_losses
from optbench.problem.network import label_rule
from optbench.stacked.updates import text_of
from optbench.tracing import Symbols

_MOST = 6000
"""Operations of an example, beyond which compiling takes longer than what it saves."""
_CLOSE = 1e-4
"""Of a compiled loss beside the loss itself, relative to the largest; both are float32."""
_SCALES = (0.1, 3.0, 30.0)
"""Of the drawn outputs on which the two are compared."""
_TARGETS = 32
_RANGES = (torch.ops.aten.min.default, torch.ops.aten.max.default, torch.ops.aten.aminmax.default)


@dataclass(frozen=True)
class TracedLoss:
    """A compiled loss.

    Attributes:
        address: of a function of z, d, targets, values, told, b: pointers to float32 and a whole number. From outputs z
            (outputs, b) and targets (b,) it makes d, the slope of the mean loss, values (b,), and told (b,), the
            classes that the outputs stand for, where there are classes.
    """

    address: int


def traced_loss(loss: nn.Module, outputs: int, targets: Tensor, classes: int) -> TracedLoss:
    """The compiled form of a loss.

    Args:
        loss: of the problem.
        outputs: of the model.
        targets: of the training examples, (n,) labels or float32 numbers.
        classes: of the data; 0: there are none.

    Raises:
        NotImplementedError: it cannot be traced or compiled, or is not what the loss computes, in a sentence.
    """
    name = type(loss).__name__
    if targets.is_floating_point() and targets.dtype != torch.float32:
        raise NotImplementedError(f"the targets are {targets.dtype}")
    try:
        source = _source(loss, outputs, targets, classes)
    except NotImplementedError as error:
        raise NotImplementedError(f"{name} cannot be traced: {error}") from error
    except Exception as error:  # a loss is anyone's code
        raise NotImplementedError(f"tracing {name} raised {type(error).__name__}: {error}") from error
    kernel: Any = load(source)
    _check(kernel, loss, outputs, targets, classes)
    return TracedLoss(int(kernel.address))


def _check(kernel: Any, loss: nn.Module, outputs: int, targets: Tensor, classes: int) -> None:
    random = np.random.default_rng(1)
    some = targets.unique()
    some = some[torch.linspace(0, len(some) - 1, min(_TARGETS, len(some))).long()]
    for scale in _SCALES:
        z = torch.from_numpy(random.normal(size=(len(some), outputs)) * scale).float()
        z[0] = 0.0  # all are the largest
        leaf = z.clone().requires_grad_(True)
        wanted = row_losses(loss, leaf, some)
        (slope,) = torch.autograd.grad(wanted.mean(), leaf)
        of_each = z.numpy().T.copy(), np.empty((outputs, len(z)), dtype=np.float32)
        columns = some.numpy().astype(np.float32), *(np.zeros(len(z), dtype=np.float32) for _ in range(2))
        places = [a.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for a in (*of_each, *columns)]
        kernel.ctypes(*places, len(z))
        pairs = ((of_each[1].T, slope), (columns[1], wanted.detach()))
        if not all(np.abs(mine - theirs.numpy()).max() <= _CLOSE * theirs.abs().max() for mine, theirs in pairs):
            raise NotImplementedError(f"the compiled {type(loss).__name__} is not what it computes")
        if classes and not np.array_equal(columns[2], label_rule(loss)(z).numpy()):
            raise NotImplementedError(f"the compiled {type(loss).__name__} tells other classes than its rule")


# the trace ------------------------------------------------------------------------------------------------------------


class _LabelTracer(Tracer):
    """A tracer for which a label may be a symbol."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _RANGES and not args[0].is_floating_point():
            return func(*args, **(kwargs or {}))  # one_hot asks whether the labels are in range
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _lowered(self, func: Any, name: str, args: Any, plain: Any, options: Any) -> Any:
        rule, at = _BY_LABEL.get(name, (None, 0))
        if rule is not None and self._depends(args[at]):
            return rule(self.program, *plain, **options)
        return super()._lowered(func, name, args, plain, options)

    def lower(self, name: str, args: Any, kwargs: Any) -> Any:
        """See `SymbolTracer`."""
        kind = kwargs.get("dtype")
        if name == "_to_copy" and kind is not None and not kind.is_floating_point:
            return _whole(self.program, args[0])
        if name == "nan_to_num":
            return _nan_to_num(self.program, *args, **kwargs)
        return super().lower(name, args, kwargs)


def _nan_to_num(p: Program, a: Symbols, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Symbols:
    """In float32, whose largest number stands for infinity."""
    largest = float(np.finfo(np.float32).max)
    high, low = (largest if posinf is None else posinf), (-largest if neginf is None else neginf)
    found = p.all("where", p.all("eq", a, math.inf), high, p.all("where", p.all("eq", a, -math.inf), low, a))
    return p.all("where", p.all("ne", a, a), nan or 0.0, found)


def _whole(p: Program, a: Symbols) -> Symbols:
    """Numbers without what stands behind the point."""
    return p.all("mul", p.all("sign", a), p.all("floor", p.all("abs", a)))


def _chosen(p: Program, among: Sequence[Any], label: Any) -> Any:
    found = among[0]
    for number, one in enumerate(among[1:], 1):
        found = p.apply("where", p.apply("eq", label, float(number)), one, found)
    return found


def _lines(a: Symbols, dim: int) -> Symbols:
    """With an axis last."""
    return np.moveaxis(np.array(a, dtype=object), dim, -1)


def _gather(p: Program, a: Symbols, dim: int, index: Symbols, **_: Any) -> Symbols:
    lines, labels = _lines(a, dim), _lines(index, dim)
    out = np.empty(labels.shape, dtype=object)
    for place in np.ndindex(labels.shape):
        out[place] = _chosen(p, lines[place[:-1]].tolist(), labels[place])
    return np.moveaxis(out, -1, dim)


def _scatter(p: Program, a: Symbols, dim: int, index: Symbols, value: Any, adds: bool = False, **_: Any) -> Symbols:
    out: Any = _lines(a, dim)
    labels: Any = _lines(index, dim)
    put = value if isinstance(value, np.ndarray) else np.asarray(float(value), dtype=object)
    values: Any = _lines(np.broadcast_to(put, index.shape), dim)
    for place in np.ndindex(labels.shape):
        for number in range(out.shape[-1]):
            at, one = (*place[:-1], number), values[place]
            there = p.apply("add", out[at], one) if adds else one
            out[at] = p.apply("where", p.apply("eq", labels[place], float(number)), there, out[at])
    return np.moveaxis(out, -1, dim)


def _scatter_add(p: Program, a: Symbols, dim: int, index: Symbols, value: Symbols, **_: Any) -> Symbols:
    return _scatter(p, a, dim, index, value, adds=True)


def _index(p: Program, a: Symbols, index: Sequence[Symbols | None], **_: Any) -> Symbols:
    (labels,) = index if len(index) == 1 else (None,)
    if labels is None or a.ndim != 1:
        raise NotImplementedError("aten.index by a label, of more than a row")
    return _gather(p, a, 0, labels.reshape(-1)).reshape(labels.shape)


def _nll(p: Program, a: Symbols, target: Symbols, weight: Any, reduction: int, ignored: int) -> Any:
    if reduction != 0 or ignored >= 0:
        raise NotImplementedError("aten.nll_loss with a reduction, or a label that it ignores")
    values = p.all("neg", _gather(p, a, 1, target[:, None])[:, 0])
    return (values if weight is None else p.all("mul", values, _index(p, weight, [target]))), np.asarray(0.0, object)


def _nll_back(
    p: Program, grad: Symbols, a: Symbols, target: Symbols, weight: Any, _reduction: int, _ignored: int, _total: Any
) -> Symbols:
    values = p.all("neg", grad if weight is None else p.all("mul", grad, _index(p, weight, [target])))
    return _scatter(p, np.full(a.shape, 0.0, dtype=object), 1, target[:, None], values[:, None])


_BY_LABEL: Mapping[str, tuple[Callable[..., Any], int]] = {
    "gather": (_gather, 2), "scatter": (_scatter, 2), "scatter_add": (_scatter_add, 2), "index": (_index, 1),
    "nll_loss_forward": (_nll, 1), "nll_loss_backward": (_nll_back, 2),
}  # fmt: skip
"""Of operations where a label says where to: what they mean, and which argument is the label."""


@dataclass(frozen=True)
class _Trace:
    """The program of one example: its value, the slope of each output, the class that is told (None: there is none)."""

    program: Program
    value: Value
    slope: Sequence[Value]
    told: Value | None


def _traced(loss: nn.Module, outputs: int, targets: Tensor, classes: int) -> _Trace:
    tracer = _LabelTracer()
    program, told = tracer.program, None
    with tracer:
        z = torch.linspace(0.25, 0.75, outputs, dtype=torch.float32)[None].clone()
        inputs = [program.input(f"z{c}") for c in range(outputs)]
        tracer.track(z, np.array([inputs], dtype=object))
        target = targets[:1].clone()
        tracer.track(target, np.array([program.input("y")], dtype=object))
        z.requires_grad_(True)
        value = row_losses(loss, z, target)
        (slope,) = torch.autograd.grad(value.sum(), z)
        if classes and getattr(loss, "predict", None) is not None:
            with torch.no_grad():
                (told,) = tracer.values(label_rule(loss)(z.detach()), (1,))
    if classes and told is None:
        told = _largest(program, inputs)
    return _Trace(program, tracer.values(value, (1,))[0], tracer.values(slope, (1, outputs)), told)


def _largest(p: Program, inputs: Sequence[Value]) -> Value:
    """Which is the first of the largest; what is not a number is larger than all, as torch has it."""
    most, at = inputs[0], p.const(0.0)
    for number, one in enumerate(inputs[1:], 1):
        new = p.apply("and", p.apply("ne", one, one), p.apply("eq", most, most))
        more = p.apply("or", p.apply("gt", one, most), new)
        most, at = p.apply("where", more, one, most), p.apply("where", more, float(number), at)
    return at


def _source(loss: nn.Module, outputs: int, targets: Tensor, classes: int) -> str:
    """The text of the kernel's module."""
    trace = _traced(loss, outputs, targets, classes)
    results = [trace.value, *trace.slope, *([] if trace.told is None else [trace.told])]
    needed = trace.program.needed(results)
    if len(needed) > _MOST:
        raise NotImplementedError(f"{len(needed)} operations for {outputs} outputs")
    places = {"y": "y[j]"} | {f"z{c}": f"z[{c}, j]" for c in range(outputs)}
    lines = [f"v{v} = {text_of(trace.program, v, places)}" for v in needed]
    lines += [f"values[j] = v{trace.value}", *(f"d[{c}, j] = v{v} * share" for c, v in enumerate(trace.slope))]
    lines += [] if trace.told is None else [f"told[j] = v{trace.told}"]
    called = any(trace.program.code[v].op in vector_math_single.FUNCTIONS for v in needed)
    return _TEMPLATE.format(
        functions=vector_math.source(vector_math_single.FUNCTIONS) if called else "",
        outputs=outputs,
        lines="\n        ".join(lines),
    )


_TEMPLATE = '''"""Written by optbench.stacked.traced_losses, and named by its hash: a change here is never looked at."""

import math

import numba
import numpy as np
from numba.extending import intrinsic

F = np.float32
ZERO, ONE, INF, NAN = F(0), F(1), F(np.inf), F(np.nan)
_P, _I = numba.types.CPointer(numba.float32), numba.int64


{functions}

@numba.cfunc(numba.void(_P, _P, _P, _P, _P, _I), cache=True, error_model="numpy")
def run(all_z, all_d, targets, all_values, all_told, b):
    z, d = numba.carray(all_z, ({outputs}, b)), numba.carray(all_d, ({outputs}, b))
    y, values, told = numba.carray(targets, b), numba.carray(all_values, b), numba.carray(all_told, b)
    share = ONE / F(b)
    for j in range(b):
        {lines}
'''
