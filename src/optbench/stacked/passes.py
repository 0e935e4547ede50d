"""A chain's updates compiled: a row makes many in one call, and its numbers stay in the cache meanwhile.

Row by row, and not layer by layer for all rows: weights, gradient and memories of a small network are some hundred
kilobytes, which a core's second-level cache holds from one update to the next. Matrix products are BLAS's
(`scipy.linalg.cython_blas`); the rest is written out here and compiled by numba for chains of any sizes, one kernel
a machine. The optimizer is another one, a rule's own (`updates.Compiled`), called by its address. No call holds
Python's lock, and what a row computes depends neither on the rows beside it nor on how updates are cut into calls.

Layers have units before examples, (units, b). What a layer needs for the pass back lies in a place that no other one
writes to, so that any may follow any. The gradient of a linear layer's weights wants its inputs as (b, units): they are
turned once a layer, which costs less than a product that reads them across.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from optbench.descend import vector_math, vector_math_single
from optbench.descend.kernel import load
from optbench.stacked.chain import Chain
from optbench.stacked.traced_losses import traced_loss
from optbench.stacked.weights import Form

_LINEAR, _NORM, _RELU, _TANH, _SIGMOID, _SAME, _DROPS = range(7)
_ELEMENTWISE: Mapping[type[nn.Module], int] = {
    nn.ReLU: _RELU, nn.Tanh: _TANH, nn.Sigmoid: _SIGMOID, nn.Identity: _SAME,
}  # fmt: skip
_OWN = (_LINEAR, _NORM, _DROPS)
"""Kinds whose pass back looks at nothing that they made, but at what they were given, normalised or drew."""
_TOGETHER = 64
"""Examples that are evaluated at once."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Updates:
    """Updates of some rows, one after the other. What a call changes is marked.

    Attributes:
        rule: address of the optimizer's kernel; unused where `whole` is 0.
        inputs: of the examples, (n, features).
        order: (rows, n), the order of the examples in this epoch.
        spans: (updates, 2), where each update's batch begins and ends in the order.
        x, g: (rows, width), weights and gradients; changed.
        memory: (memories, rows, width); changed.
        statistics: (rows, s), of batch norms; changed.
        masks: (rows, m b) what the layers that drop units multiply by, one layer's (units, b) after another's; one
            mini-batch's, so there is one span where there are any.
        counts: (width,) how many weights move as one; empty: each by itself.
        numbers: (updates, rows, names + 1), of the rule, and the factor of decoupled decay.
        clip: the largest norm of a gradient; infinity where there is none.
        first: the number of the first update.
        whole: how many updates are made; of what is left of them, loss and gradient alone are found.
        which: the rows that make them.
        loss, norm: (updates, rows); changed.
        correct: (rows,), examples that were told right are added; changed.
    """

    rule: int
    inputs: Floats
    order: Ints
    spans: Ints
    x: Floats
    g: Floats
    memory: Floats
    statistics: Floats
    masks: Floats
    counts: Floats
    numbers: Floats
    clip: float
    first: int
    whole: int
    which: Ints
    loss: NDArray[np.float64]
    norm: NDArray[np.float64]
    correct: Ints


@dataclass(frozen=True)
class Passes:
    """Updates and evaluations of a chain's rows, compiled.

    Attributes:
        layers: (layers, 6): kind, inputs, outputs, where weight and bias begin in a row of the matrix (-1: there is
            none), where the running means begin in a row of the statistics; the variances follow them. Of a layer that
            drops units the last one is how many are dropped before it.
        constants: (layers, 2): eps and momentum of a batch norm.
        statistics: names of the buffers, in the order of a row of the statistics.
        targets: (n,), labels too, whose numbers float32 holds.
        loss: address of a `traced_losses.TracedLoss`; 0: it is cross-entropy.
        smoothing: of the labels, under cross-entropy.
    """

    layers: Ints
    constants: NDArray[np.float64]
    statistics: Sequence[str]
    targets: Floats
    loss: int
    smoothing: float

    def train(self, work: Updates) -> None:
        """Makes updates in place; see `Updates`."""
        places, scratch = self._scratch(int((work.spans[:, 1] - work.spans[:, 0]).max()))
        _kernel()(
            _gemm(), work.rule, self.loss, True, self.layers, self.constants, places, scratch, work.inputs,
            self.targets, work.order, work.spans, work.x, work.g, work.memory, work.statistics, work.masks,
            work.counts, work.numbers, work.clip, self.smoothing, work.first, work.whole, work.which,
            work.loss, work.norm, work.correct, np.empty((0, 0, 0), dtype=np.float32),
        )  # fmt: skip

    def outputs(self, x: Floats, statistics: Floats, inputs: Floats) -> Floats:
        """(rows, n, outputs) of rows x (rows, width) with statistics (rows, s), on examples (n, features)."""
        rows, n = len(x), len(inputs)
        made = np.empty((rows, n, int(self.layers[-1, 2])), dtype=np.float32)
        spans = np.array([(i, min(i + _TOGETHER, n)) for i in range(0, n, _TOGETHER)], dtype=np.int64).reshape(-1, 2)
        places, scratch = self._scratch(_TOGETHER)
        none, alone = np.zeros((1, 1, 1), dtype=np.float32), np.zeros((1, 1))
        drawn = np.zeros((rows, 0), dtype=np.float32)
        _kernel()(
            _gemm(), 0, 0, False, self.layers, self.constants, places, scratch, inputs, self.targets,
            np.arange(n)[None], spans, x, x, none, statistics, drawn, none[0, 0], none, math.inf,
            0.0, 0, 0, np.arange(rows), alone, alone, np.zeros(rows, dtype=np.int64), made,
        )  # fmt: skip
        return made

    def _scratch(self, b: int) -> tuple[Ints, Floats]:
        """Room for what is between the layers: where what a layer makes of b examples begins, (layers,); then where two
        slopes begin, what was turned, the inputs, those turned, columns of each example, the scales of the units."""
        made, end, places, before = self.layers, 0, [], _SAME
        for kind, _, units, *_ in made.tolist():
            if kind in _OWN or before not in _OWN:
                places.append(end)
                end += units * b * (2 if kind == _NORM else 1)  # and the numbers that it has normalised
            else:  # in place: the layer before wants nothing of what it made
                places.append(places[-1])
            before = kind
        widest = int(made[:, 1:3].max())
        for size in (widest * b, widest * b, widest * b, widest * b, widest * b, 3 * b, self.constants.size * widest):
            places.append(end)
            end += size
        return np.array(places, dtype=np.int64), np.empty(end, dtype=np.float32)


def passes_of(chain: Chain, form: Form, loss: nn.Module, targets: Tensor, classes: int) -> Passes:
    """The compiled passes of a chain.

    Args:
        chain: the layers.
        form: how their parameters lie in a row.
        loss: of the problem.
        targets: of the training examples, (n,).
        classes: of the data; 0: there are none.

    Raises:
        NotImplementedError: there are none, in a sentence.
    """
    units, end, dropped, places = math.prod(chain.shapes[chain.layers[0][0]]), 0, 0, form.spans()
    lines, constants, held = [], [], list[str]()
    for name, layer in chain.layers:
        weight, bias = (places.get(f"{name}.{kind}", (-1, 0))[0] for kind in ("weight", "bias"))
        line, numbers = [_ELEMENTWISE.get(type(layer), -1), units, units, weight, bias, -1], (0.0, 0.0)
        if type(layer) is nn.Linear:
            first, last = places[f"{name}.weight"]
            line[:3] = _LINEAR, (last - first) // layer.out_features, layer.out_features
            units = layer.out_features
        elif type(layer) is nn.BatchNorm1d and layer.momentum is not None:
            line[0], line[5], numbers = _NORM, end, (layer.eps, layer.momentum)
            held += [f"{name}.running_mean", f"{name}.running_var"]
            end += 2 * units
        elif type(layer) is nn.Dropout and layer.p < 1.0:
            line[0], line[5] = (_DROPS, dropped) if layer.p else (_SAME, -1)
            dropped += units if layer.p else 0
        if line[0] < 0:
            raise NotImplementedError(f"{type(layer).__name__} ({name}) has no compiled passes here")
        lines.append(line)
        constants.append(numbers)
    if sorted(held) != sorted(form.buffers):
        raise NotImplementedError("a layer has statistics that are not batch norm's")
    _kernel(), _gemm()
    judged = _loss(loss, units, targets, classes)
    return Passes(np.array(lines, dtype=np.int64), np.array(constants), held, targets.float().numpy(), *judged)


def _loss(loss: nn.Module, outputs: int, targets: Tensor, classes: int) -> tuple[int, float]:
    """The address of a compiled loss, and how much of a label goes to all classes; cross-entropy is in the kernel.
    Raises NotImplementedError."""
    if type(loss) is nn.CrossEntropyLoss and classes and not targets.is_floating_point():
        plain = loss.weight is None and loss.reduction == "none" and loss.ignore_index < 0
        smoothing: float = loss.label_smoothing
        if plain and int(targets.max()) < outputs:
            return 0, smoothing
    return traced_loss(loss, outputs, targets, classes).address, 0.0


def one_thread() -> AbstractContextManager[Any]:
    """BLAS on one thread: rows are what goes side by side, and its sums hang on how many there are."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
    return limits


@functools.cache
def _kernel() -> Callable[..., None]:
    """The compiled kernel. Raises NotImplementedError."""
    library = vector_math_single.FUNCTIONS
    return load(_TEMPLATE.replace("FUNCTIONS\n", vector_math.source(library) + "\n"))


@functools.cache
def _gemm() -> int:
    """The address of BLAS's product of matrices in single precision. Raises NotImplementedError."""
    try:
        from numba.extending import get_cython_function_address
        from scipy.linalg import cython_blas

        if repr(cython_blas.__pyx_capi__["sgemm"]).count(" int *") != 6:
            raise NotImplementedError("scipy's BLAS counts in other integers")
        address: int = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
    except (ImportError, KeyError, ValueError) as error:
        raise NotImplementedError(f"scipy's BLAS is not to be had: {error}") from error
    return address


_TEMPLATE = '''"""Written by optbench.stacked.passes, and named by its hash: a change here is never looked at."""

import math

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

F = np.float32
ZERO, ONE = F(0), F(1)
LINEAR, NORM, RELU, TANH, SIGMOID, SAME, DROPS = 0, 1, 2, 3, 4, 5, 6
AS_IT_IS, TURNED = 78, 84  # BLAS's letters N and T
PART = 4096
SUMS = {"reassoc", "contract"}

FUNCTIONS

@intrinsic
def gemm(context, address, letter, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """c (m, n) = a (m, k) @ b (k, n) + beta c, columns first, b as it is or turned."""

    def build(context, builder, signature, arguments):
        address, letter, m, n, k, a, lda, b, ldb, beta, c, ldc = arguments
        i8, i32, f32 = ir.IntType(8), ir.IntType(32), ir.FloatType()

        def slot(value):
            place = cgutils.alloca_once(builder, value.type)
            builder.store(value, place)
            return place

        def whole(value):
            return slot(builder.trunc(value, i32))

        def at(value):
            return builder.inttoptr(value, f32.as_pointer())

        given = [
            slot(ir.Constant(i8, 78)), slot(builder.trunc(letter, i8)), whole(m), whole(n), whole(k),
            slot(ir.Constant(f32, 1.0)), at(a), whole(lda), at(b), whole(ldb), slot(beta), at(c), whole(ldc),
        ]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in given])
        builder.call(builder.inttoptr(address, kind.as_pointer()), given)
        return context.get_dummy_value()

    i = types.int64
    return types.void(i, i, i, i, i, i, i, i, i, types.float32, i, i), build


@intrinsic
def move(context, address, x, g, memory, numbers, counts, n, apart, t):
    """The optimizer's kernel on one row."""

    def build(context, builder, signature, arguments):
        address, x, g, memory, numbers, counts, n, apart, t = arguments
        i64, f32 = ir.IntType(64), ir.FloatType()
        places = [builder.inttoptr(value, f32.as_pointer()) for value in (x, g, memory, numbers, counts)]
        given = [*places, ir.Constant(i64, 1), n, apart, t]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in given])
        builder.call(builder.inttoptr(address, kind.as_pointer()), given)
        return context.get_dummy_value()

    i = types.int64
    return types.void(i, i, i, i, i, i, i, i, i), build


@intrinsic
def judge(context, address, z, d, targets, values, told, b):
    """The loss's kernel on a mini-batch."""

    def build(context, builder, signature, arguments):
        address, *places, b = arguments
        f32 = ir.FloatType()
        given = [*(builder.inttoptr(value, f32.as_pointer()) for value in places), b]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in given])
        builder.call(builder.inttoptr(address, kind.as_pointer()), given)
        return context.get_dummy_value()

    i = types.int64
    return types.void(i, i, i, i, i, i, i), build


@intrinsic
def turn_block(context, a, apart, made, made_apart):
    """16 rows of 16 numbers, the rows `apart` numbers from one another, to columns: four rounds of exchanges."""

    def build(context, builder, signature, arguments):
        a, apart, made, made_apart = arguments
        f32, vector = ir.FloatType(), ir.VectorType(ir.FloatType(), 16)

        def place(start, i, apart):
            along = builder.mul(apart, ir.Constant(ir.IntType(64), i))
            first = builder.gep(builder.inttoptr(start, f32.as_pointer()), [along])
            return builder.bitcast(first, vector.as_pointer())

        rows = [builder.load(place(a, i, apart), align=4) for i in range(16)]
        for step in (8, 4, 2, 1):
            upper = [lane if not lane & step else 16 + lane - step for lane in range(16)]
            lower = [lane + step if not lane & step else 16 + lane for lane in range(16)]
            before = list(rows)
            for i in range(16):
                if not i & step:
                    for place_of, lanes in ((i, upper), (i + step, lower)):
                        chosen = ir.Constant(ir.VectorType(ir.IntType(32), 16), lanes)
                        rows[place_of] = builder.shuffle_vector(before[i], before[i + step], chosen)
        for i in range(16):
            builder.store(rows[i], place(made, i, made_apart), align=4)
        return context.get_dummy_value()

    i = types.int64
    return types.void(i, i, i, i), build


@numba.njit(no_cpython_wrapper=True, error_model="numpy")
def turn(given, rows, columns, made):
    """(rows, columns) to (columns, rows)."""
    a, out = given[: rows * columns].reshape((rows, columns)), made[: rows * columns].reshape((columns, rows))
    whole, high = columns // 16 * 16, rows // 16 * 16
    for top in range(0, high, 16):
        for left in range(0, whole, 16):
            turn_block(a.ctypes.data + 4 * (top * columns + left), columns,
                       out.ctypes.data + 4 * (left * rows + top), rows)
    for i in range(rows):
        for j in range(whole if i < high else 0, columns):
            out[j, i] = a[i, j]


@numba.njit(no_cpython_wrapper=True, error_model="numpy", fastmath=SUMS)
def total(a):
    s = ZERO
    for i in range(len(a)):
        s += a[i]
    return s


@numba.njit(no_cpython_wrapper=True, error_model="numpy", fastmath=SUMS)
def dot(a, b):
    s = ZERO
    for i in range(len(a)):
        s += a[i] * b[i]
    return s


@numba.njit(no_cpython_wrapper=True, error_model="numpy", fastmath=SUMS)
def squared_distance(a, centre):
    s = ZERO
    for i in range(len(a)):
        s += (a[i] - centre) * (a[i] - centre)
    return s


@numba.njit(no_cpython_wrapper=True, error_model="numpy", fastmath=SUMS)
def weighed_squares(a, w):
    s = ZERO
    for i in range(len(a)):
        s += a[i] * a[i] * w[i]
    return s


@numba.njit(no_cpython_wrapper=True, error_model="numpy")
def squares(g, counts):
    """The sum of squares in float64 of parts in float32."""
    whole = 0.0
    for first in range(0, len(g), PART):
        part = g[first : first + PART]
        if len(counts):
            whole += weighed_squares(part, counts[first : first + PART])
        else:
            whole += dot(part, part)
    return whole


@numba.njit(no_cpython_wrapper=True, error_model="numpy")
def activate(kind, a):
    """In place."""
    if kind == RELU:
        for i in range(len(a)):
            a[i] = ZERO if a[i] < ZERO else a[i]
    elif kind == TANH:
        for i in range(len(a)):
            v = a[i]
            z, e = v * v, _vector_exp(F(-2) * abs(v))
            near = v * (ONE + z * (F(-1 / 3) + z * (F(2 / 15) + z * F(-17 / 315))))
            far = (ONE - e) / (ONE + e)
            a[i] = near if z < F(0.01) else (-far if v < ZERO else far)
    elif kind == SIGMOID:
        for i in range(len(a)):
            a[i] = ONE / (ONE + _vector_exp(-a[i]))


@numba.njit(no_cpython_wrapper=True, error_model="numpy")
def slope_of(kind, a, d):
    """The slope before an activation from that behind it, in place, with what it made."""
    if kind == RELU:
        for i in range(len(a)):
            d[i] = ZERO if a[i] <= ZERO else d[i]
    elif kind == TANH:
        for i in range(len(a)):
            d[i] *= ONE - a[i] * a[i]
    elif kind == SIGMOID:
        for i in range(len(a)):
            d[i] *= a[i] * (ONE - a[i])


@numba.njit(no_cpython_wrapper=True, error_model="numpy")
def multiply(a, by):
    for i in range(len(a)):
        a[i] *= by[i]


@numba.njit(no_cpython_wrapper=True, error_model="numpy")
def normalise(training, given, normal, made, x, line, constants, statistics, scales, b):
    """Batch norm; `normal` becomes the normalised numbers, `scales` one over the deviations, and in training the
    running statistics move."""
    units, weight, bias, mean_at = line[2], line[3], line[4], line[5]
    eps, momentum = F(constants[0]), F(constants[1])
    for u in range(units):
        a = given[u * b : (u + 1) * b]
        mean, variance = statistics[mean_at + u], statistics[mean_at + units + u]
        if training:
            mean = total(a) / F(b)
            away = squared_distance(a, mean)
            variance = away / F(b)
            statistics[mean_at + u] += momentum * (mean - statistics[mean_at + u])
            whole = away / F(b - 1)
            statistics[mean_at + units + u] += momentum * (whole - statistics[mean_at + units + u])
        scale = ONE / math.sqrt(variance + eps)
        scales[u] = scale
        w = x[weight + u] if weight >= 0 else ONE
        c = x[bias + u] if bias >= 0 else ZERO
        own, out = normal[u * b : (u + 1) * b], made[u * b : (u + 1) * b]
        for j in range(b):
            v = (a[j] - mean) * scale
            own[j] = v
            out[j] = w * v + c


@numba.njit(no_cpython_wrapper=True, error_model="numpy")
def slope_of_norm(normal, d, x, g, line, scales, b):
    units, weight, bias = line[2], line[3], line[4]
    for u in range(units):
        own, a = d[u * b : (u + 1) * b], normal[u * b : (u + 1) * b]
        plain, along = total(own), dot(own, a)
        if weight >= 0:
            g[weight + u] = along
        if bias >= 0:
            g[bias + u] = plain
        w = (x[weight + u] if weight >= 0 else ONE) * scales[u]
        plain, along = plain / F(b), along / F(b)
        for j in range(b):
            own[j] = w * (own[j] - plain - a[j] * along)


@numba.njit(no_cpython_wrapper=True, error_model="numpy")
def forward(address, training, layers, constants, places, scratch, at, x, x_at, statistics, masks, b):
    """Scratch is filled, from the turned inputs on; gives where the outputs begin."""
    count = len(layers)
    before = places[count + 4]
    for k in range(count):
        line, place = layers[k], places[k]
        kind, inputs, units = line[0], line[1], line[2]
        made = scratch[place : place + units * b]
        if kind == LINEAR:
            for u in range(units):
                own, bias = made[u * b : (u + 1) * b], x[line[4] + u] if line[4] >= 0 else ZERO
                for j in range(b):
                    own[j] = bias
            gemm(address, AS_IT_IS, b, units, inputs, at + 4 * before, b, x_at + 4 * line[3], inputs, ONE,
                 at + 4 * place, b)
        elif kind == NORM:
            given, normal = scratch[before : before + units * b], scratch[place + units * b :]
            scales = scratch[places[count + 6] + line[5] :]
            normalise(training, given, normal, made, x, line, constants[k], statistics, scales, b)
        else:
            if place != before:
                given = scratch[before : before + units * b]
                for i in range(units * b):
                    made[i] = given[i]
            if kind != DROPS:
                activate(kind, made)
            elif training:
                multiply(made, masks[line[5] * b :])
        before = place
    return before


@numba.njit(no_cpython_wrapper=True, error_model="numpy")
def backward(address, layers, places, scratch, at, x, x_at, g, g_at, masks, b):
    """The gradient of the weights, from the slope of the outputs, which is the first of the two."""
    count = len(layers)
    here, other = places[count], places[count + 1]
    for k in range(count - 1, -1, -1):
        line = layers[k]
        kind, inputs, units = line[0], line[1], line[2]
        d = scratch[here : here + units * b]
        if kind == LINEAR:
            turned = places[count + 3]
            if k > 0:
                turned = places[count + 2]
                turn(scratch[places[k - 1] : places[k - 1] + inputs * b], inputs, b, scratch[turned:])
            gemm(address, AS_IT_IS, inputs, units, b, at + 4 * turned, inputs, at + 4 * here, b, ZERO,
                 g_at + 4 * line[3], inputs)
            if line[4] >= 0:
                for u in range(units):
                    g[line[4] + u] = total(d[u * b : (u + 1) * b])
            if k > 0:
                gemm(address, TURNED, b, inputs, units, at + 4 * here, b, x_at + 4 * line[3], inputs, ZERO,
                     at + 4 * other, b)
                here, other = other, here
        elif kind == NORM:
            normal = scratch[places[k] + units * b : places[k] + 2 * units * b]
            slope_of_norm(normal, d, x, g, line, scratch[places[count + 6] + line[5] :], b)
        elif kind == DROPS:
            multiply(d, masks[line[5] * b :])
        else:
            slope_of(kind, scratch[places[k] : places[k] + units * b], d)


@numba.njit(no_cpython_wrapper=True, error_model="numpy")
def entropy(z, d, columns, targets, index, smoothing, b):
    """Cross-entropy of outputs z (classes, b): the mean, how many are right; d becomes its slope."""
    classes = len(z) // b
    most, sums = columns[:b], columns[b : 2 * b]
    for j in range(b):
        most[j], sums[j] = z[j], ZERO
    for c in range(1, classes):
        for j in range(b):
            v = z[c * b + j]
            most[j] = v if (v > most[j]) | (v != v) else most[j]
    for c in range(classes):
        for j in range(b):
            e = _vector_exp(z[c * b + j] - most[j])
            d[c * b + j] = e
            sums[j] += e
    share, spread, right, whole = ONE / F(b), smoothing / F(classes), 0, 0.0
    for c in range(classes):
        for j in range(b):
            d[c * b + j] = (d[c * b + j] / sums[j] - spread) * share
    for j in range(b):
        label = int(targets[index[j]])
        d[label * b + j] -= (ONE - smoothing) * share
        level = F(math.log(sums[j])) + most[j]
        found = level - z[label * b + j]
        if smoothing > ZERO:
            away = ZERO
            for c in range(classes):
                away += level - z[c * b + j]
            found = (ONE - smoothing) * found + spread * away
        whole += found
        said = 0
        while said < classes - 1 and not ((z[said * b + j] == most[j]) | (z[said * b + j] != z[said * b + j])):
            said += 1
        right += said == label
    return whole / b, right


@numba.njit(no_cpython_wrapper=True, error_model="numpy")
def judged(address, z_at, d_at, columns, targets, index, b):
    """The same of another loss."""
    for j in range(b):
        columns[j] = targets[index[j]]
    begin = columns.ctypes.data
    judge(address, z_at, d_at, begin, begin + 4 * b, begin + 8 * b, b)
    right, whole = 0, 0.0
    for j in range(b):
        whole += columns[b + j]
        right += columns[2 * b + j] == columns[j]
    return whole / b, right


_I, _F, _D = numba.int64, numba.float32, numba.float64


@numba.njit(
    numba.void(
        _I, _I, _I, numba.boolean, _I[:, ::1], _D[:, ::1], _I[::1], _F[::1], _F[:, ::1], _F[::1],
        _I[:, ::1], _I[:, ::1], _F[:, ::1], _F[:, ::1], _F[:, :, ::1], _F[:, ::1], _F[:, ::1],
        _F[::1], _F[:, :, ::1], _D,
        _F, _I, _I, _I[::1], _D[:, ::1], _D[:, ::1], _I[::1],
        _F[:, :, ::1],
    ),
    cache=True,
    nogil=True,
    error_model="numpy",
)
def run(
    address, rule, loss_of, training, layers, constants, places, scratch, inputs, targets,
    order, spans, x, g, memory, statistics, masks, counts, numbers, clip,
    smoothing, first, whole, which, loss, norm, correct,
    outputs,
):
    count, features, width, at = len(layers), inputs.shape[1], x.shape[1], scratch.ctypes.data
    columns = scratch[places[count + 5] :]
    slope = scratch[places[count] :]
    for r in which:
        row, x_at, g_at = x[r], x.ctypes.data + 4 * width * r, g.ctypes.data + 4 * width * r
        for s in range(len(spans)):
            index = order[r if training else 0, spans[s, 0] : spans[s, 1]]
            b = len(index)
            given = scratch[places[count + 3] : places[count + 3] + b * features]
            for j in range(b):
                example, own = inputs[index[j]], given[j * features : (j + 1) * features]
                for i in range(features):
                    own[i] = example[i]
            turn(given, b, features, scratch[places[count + 4] :])
            drawn = masks[r]
            end = forward(address, training, layers, constants, places, scratch, at, row, x_at, statistics[r], drawn, b)
            z = scratch[end : end + layers[count - 1, 2] * b]
            if not training:
                for c in range(outputs.shape[2]):
                    for j in range(b):
                        outputs[r, spans[s, 0] + j, c] = z[c * b + j]
                continue
            if loss_of:
                found, right = judged(loss_of, at + 4 * end, at + 4 * places[count], columns, targets, index, b)
            else:
                found, right = entropy(z, slope, columns, targets, index, smoothing, b)
            loss[s, r] = found
            correct[r] += right
            backward(address, layers, places, scratch, at, row, x_at, g[r], g_at, drawn, b)
            length = math.sqrt(squares(g[r], counts))
            norm[s, r] = length
            if s >= whole:
                continue
            if clip < np.inf:
                factor = F(min(clip / (length + 1e-6), 1.0))
                for i in range(width):
                    g[r, i] *= factor
            move(rule, x_at, g_at, memory.ctypes.data + 4 * width * r, numbers.ctypes.data
                 + 4 * numbers.shape[2] * (numbers.shape[1] * s + r), counts.ctypes.data, width,
                 width * len(x), first + s)
'''
