"""What the surface engine is measured against: the usual loop, stacked rows, JAX + optax, and C written by hand.

Each rival is made for one (surface, dim, optimizer, dtype, rows) and is a function `steps -> None` that runs the rows
from their starts for so many steps; making it (compiling) is not timed. C and JAX keep the same statistics and ask
the same stop rules as optbench (last and best loss, its step, divergence, gradient norm); (a) and (b) do not.
"""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

Run = Callable[[int], None]
Hyper = {"sgd": {}, "rmsprop": {"alpha": 0.99, "eps": 1e-8}, "adam": {"betas": (0.9, 0.999), "eps": 1e-8}}
TORCH = {"sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam}


@dataclass(frozen=True)
class Task:
    """One measurement: starts (rows, dim) float64 and learning rates (rows,)."""

    surface: str
    optimizer: str
    dtype: str
    starts: np.ndarray
    lr: np.ndarray
    objective: Callable[[torch.Tensor], torch.Tensor]

    @property
    def rows(self) -> int:
        return len(self.starts)

    @property
    def dim(self) -> int:
        return self.starts.shape[1]


def torch_loop(task: Task) -> Run:
    """(a) one run: one parameter, one torch.optim optimizer; every run costs the same, so one stands for all."""
    dtype = getattr(torch, task.dtype)

    def run(steps: int) -> None:
        x = torch.tensor(task.starts[0], dtype=dtype, requires_grad=True)
        optimizer = TORCH[task.optimizer]([x], lr=float(task.lr[0]), **Hyper[task.optimizer])
        for _ in range(steps):
            optimizer.zero_grad()
            loss = task.objective(x)
            loss.backward()
            optimizer.step()
            loss.item()

    return run


def torch_stacked(task: Task) -> Run:
    """(b) one torch.optim optimizer over all rows; one learning rate for all, since it cannot have one a row."""
    dtype = getattr(torch, task.dtype)

    def run(steps: int) -> None:
        x = torch.tensor(task.starts, dtype=dtype, requires_grad=True)
        optimizer = TORCH[task.optimizer]([x], lr=float(task.lr[0]), **Hyper[task.optimizer])
        for _ in range(steps):
            optimizer.zero_grad()
            task.objective(x).sum().backward()
            optimizer.step()

    return run


# JAX ----------------------------------------------------------------------------------------------------------------

JAX_CHUNK = 4096


def jax_optax(task: Task) -> Run:
    """(c) jit(vmap(scan(optax step))) over pieces of 4096 rows. Raises ImportError without jax and optax."""
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)

    def value(x: jax.Array) -> jax.Array:
        if task.surface == "rosenbrock":
            head, tail = x[:-1], x[1:]
            return jnp.sum(100.0 * (tail - head * head) ** 2 + (1.0 - head) ** 2)
        if task.surface == "rastrigin":
            return jnp.sum(x * x + 10.0 - 10.0 * jnp.cos(2.0 * math.pi * x))
        radius, ripple = jnp.sqrt(jnp.mean(x * x)), jnp.mean(jnp.cos(2.0 * math.pi * x))
        return 20.0 * (1.0 - jnp.exp(-0.2 * radius)) + (math.e - jnp.exp(ripple))

    make = {"sgd": optax.sgd, "rmsprop": lambda lr: optax.rmsprop(lr, decay=0.99), "adam": optax.adam}[task.optimizer]

    def one(start: jax.Array, lr: jax.Array, steps: int) -> jax.Array:
        optimizer = make(lr)

        def step(carry: tuple, t: jax.Array) -> tuple:
            x, state, best, at, code, end, bound = carry
            loss, gradient = jax.value_and_grad(value)(x)
            slope = jnp.sum(gradient * gradient)
            bound = jnp.where(t == 0, 1e6 * jnp.maximum(1.0, jnp.abs(loss)), bound)
            best, at = jnp.minimum(best, loss), jnp.where(loss < best, t, at)
            sound = (jnp.abs(loss) <= bound) & (slope < jnp.inf)
            stop = jnp.where(sound, jnp.where(slope <= 1e-24, 3, jnp.where(t == steps, 5, 0)), 1)
            running = code == 0
            code, end = jnp.where(running, stop, code), jnp.where(running, t, end)
            updates, state = optimizer.update(gradient, state, x)
            x = jnp.where(code == 0, optax.apply_updates(x, updates), x)
            return (x, state, best, at, code, end, bound), None

        whole, size = jnp.int32(0), jnp.asarray(jnp.inf, start.dtype)
        begin = (start, optimizer.init(start), size, whole, whole, whole, size)
        (x, _, best, at, code, end, _), _ = jax.lax.scan(step, begin, jnp.arange(steps + 1, dtype=jnp.int32))
        return value(x), best, at, code, end

    compiled = jax.jit(jax.vmap(one, in_axes=(0, 0, None)), static_argnums=2)
    starts, lr = (np.asarray(a, dtype=task.dtype) for a in (task.starts, task.lr))

    def run(steps: int) -> None:
        for first in range(0, task.rows, JAX_CHUNK):
            part = slice(first, first + JAX_CHUNK)
            found = compiled(starts[part], lr[part], steps)
        jax.block_until_ready(found)

    return run


# C ------------------------------------------------------------------------------------------------------------------

_FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-shared", "-fPIC"]
_UNSPLIT = ["-fdisable-tree-sincos", "-fno-tree-pre"]  # passes that would keep sin and cos from being vectorized


def _c_surface(name: str, dim: int) -> str:
    """Value f and gradient g0 ... of x0 ..., written out."""
    if name == "rosenbrock":
        pairs = range(dim - 1)
        lines = [f"R d{i} = x{i + 1} - x{i}*x{i}, e{i} = 1 - x{i};" for i in pairs]
        lines.append("f = " + " + ".join(f"(100*d{i}*d{i} + e{i}*e{i})" for i in pairs) + ";")
        for i in range(dim):
            own = f"-400*d{i}*x{i} - 2*e{i}" if i < dim - 1 else ""
            left = f" + 200*d{i - 1}" if i else ""
            lines.append(f"R g{i} = {own}{left};")
        return "\n".join(lines)
    turns = [f"R z{i} = (R)6.283185307179586*x{i}, c{i} = COS(z{i}), s{i} = SIN(z{i});" for i in range(dim)]
    if name == "rastrigin":
        value = "f = " + " + ".join(f"(x{i}*x{i} + 10 - 10*c{i})" for i in range(dim)) + ";"
        return "\n".join([*turns, value, *(f"R g{i} = 2*x{i} + (R)62.83185307179586*s{i};" for i in range(dim))])
    squares, waves = (" + ".join(t.format(i=i) for i in range(dim)) for t in ("x{i}*x{i}", "c{i}"))
    return "\n".join(
        [
            *turns,
            f"R r = SQRT(({squares})/{dim}), a = EXP(-(R)0.2*r), b = EXP(({waves})/{dim});",
            "f = 20*(1 - a) + ((R)2.718281828459045 - b);",
            f"R p = 4*a/({dim}*r), q = b*(R){2 * math.pi / dim!r};",
            *(f"R g{i} = p*x{i} + q*s{i};" for i in range(dim)),
        ]
    )


def _c_update(name: str, i: int) -> str:
    if name == "sgd":
        return f"R y{i} = x{i} - rate*g{i};"
    if name == "rmsprop":
        return f"""R v{i} = (R)0.99*V[{i}][j] + (R)0.01*g{i}*g{i}; V[{i}][j] = v{i};
                   R y{i} = x{i} - rate*g{i}/(SQRT(v{i}) + (R)1e-8);"""
    return f"""R m{i} = (R)0.9*M[{i}][j] + (R)0.1*g{i}; M[{i}][j] = m{i};
               R v{i} = (R)0.999*V[{i}][j] + (R)0.001*g{i}*g{i}; V[{i}][j] = v{i};
               R y{i} = x{i} - rate*c1*m{i}/(SQRT(v{i})*c2 + (R)1e-8);"""


def _c_source(task: Task) -> str:
    d, single = range(task.dim), task.dtype == "float32"
    suffix = "f" if single else ""
    mvec = "\n".join(
        f'__attribute__((simd("notinbranch"))) {"float" if single else "double"} {name}{suffix}'
        f"({'float' if single else 'double'});"
        for name in ("sin", "cos", "exp")
    )
    return f"""#include <math.h>
#include <float.h>
#include <string.h>
typedef {"float" if single else "double"} R;
{mvec if task.surface != "rosenbrock" else ""}
#define SQRT sqrt{suffix}
#define SIN sin{suffix}
#define COS cos{suffix}
#define EXP exp{suffix}
#define ABS fabs{suffix}
#define L 64
void run(long blocks, long steps, long n, const R *start, const R *lr, R *out, R *xout) {{
  for (long b = 0; b < blocks; b++) {{
    R X[{task.dim}][L], M[{task.dim}][L], V[{task.dim}][L], A[L];
    R best[L], at[L], code[L], end[L], bound[L], last[L], slope[L];
    memset(M, 0, sizeof M); memset(V, 0, sizeof V);
    for (int j = 0; j < L; j++) {{
      for (int i = 0; i < {task.dim}; i++) X[i][j] = start[i*n + b*L + j];
      A[j] = lr[b*L + j]; best[j] = INFINITY; at[j] = -1; code[j] = 0; end[j] = 0; bound[j] = 0;
    }}
    for (long k = 0; k <= steps; k++) {{
      R t = (R)k, c1 = (R)(1/(1 - pow(0.9, k + 1))), c2 = (R)(1/sqrt(1 - pow(0.999, k + 1)));
      R over = k == steps ? 5 : 0, begun = k > 0;
      #pragma omp simd
      for (int j = 0; j < L; j++) {{
        R f, rate = A[j];
        {" ".join(f"R x{i} = X[{i}][j];" for i in d)}
        {_c_surface(task.surface, task.dim)}
        R s = {" + ".join(f"g{i}*g{i}" for i in d)};
        R size = ABS(f), wide = (R)1e6*(size > 1 ? size : 1), lim = begun ? bound[j] : wide;
        R now = best[j], c = code[j], e = end[j], when = at[j];
        best[j] = f < now ? f : now; at[j] = f < now ? t : when; bound[j] = lim;
        R stop = s <= (R)1e-24 ? 3 : over;
        stop = (size <= lim) & (s < INFINITY) ? stop : 1;
        end[j] = c == 0 ? t : e; c = c == 0 ? stop : c; code[j] = c; last[j] = f; slope[j] = s;
        {" ".join(_c_update(task.optimizer, i) for i in d)}
        {" ".join(f"X[{i}][j] = c == 0 ? y{i} : x{i};" for i in d)}
      }}
    }}
    R *all[6] = {{code, end, last, slope, best, at}};
    for (int i = 0; i < 6; i++) memcpy(out + i*n + b*L, all[i], sizeof code);
    for (int i = 0; i < {task.dim}; i++) memcpy(xout + i*n + b*L, X[i], sizeof code);
  }}
}}
"""


def hand_c(task: Task) -> Run:
    """(d) what a careful person would write for exactly this task. Raises FileNotFoundError without gcc."""
    if shutil.which("gcc") is None:
        raise FileNotFoundError("gcc")
    folder = Path(tempfile.mkdtemp(prefix="engine-bench-"))
    (folder / "k.c").write_text(_c_source(task))
    unsplit = [] if task.surface == "rosenbrock" else _UNSPLIT
    files = ["-o", str(folder / "k.so"), str(folder / "k.c"), "-lmvec", "-lm"]
    subprocess.run(["gcc", *_FLAGS, *unsplit, *files], check=True, stderr=subprocess.DEVNULL)
    kernel = ctypes.CDLL(str(folder / "k.so")).run
    blocks = -(-task.rows // 64)
    n = blocks * 64
    fill = np.minimum(np.arange(n), task.rows - 1)
    start = np.ascontiguousarray(task.starts[fill].T, dtype=task.dtype)
    lr = np.ascontiguousarray(task.lr[fill], dtype=task.dtype)
    out, x = np.empty((6, n), dtype=task.dtype), np.empty((task.dim, n), dtype=task.dtype)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (start, lr, out, x)]

    def run(steps: int) -> None:
        kernel(ctypes.c_long(blocks), ctypes.c_long(steps), ctypes.c_long(n), *pointers)

    run.out, run.x = out, x  # type: ignore[attr-defined]
    return run
