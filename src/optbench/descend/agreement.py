"""What rows compute, checked against the loop: before a batch is trusted, its forms run beside the real objects.

An engine that computes something else than the loop is worse than a slow one. So, once a kind of batch:

* the schedule is the scheduler's own steps (`schedules`), for the whole planned run;
* the *rule* makes `UPDATES` updates beside the optimizer itself, some rows side by side, each with its own numbers. The
  gradients and learning rates are drawn, not those of a surface: then rounding does not grow, a state that differs
  shows in later updates, and a rule that looks at the loss cannot agree. Among them are zeros and twelve magnitudes;
* the *surface* is evaluated at points near the starts, all at once and one by one;
* the *compiled* step makes some updates beside the eager one, near the starts. Where the dynamics amplifies rounding
  (which runs that are nudged by rounding show) the comparison ends.

What is found is a sentence: which form differs, where, and by how much. The loop runs then.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import optimizer as torch_optimizer

from optbench.descend.batch import Batch, Floats, Ints
from optbench.descend.eager import run_eager
from optbench.descend.kept import has_agreed, in_use, keep_agreement
from optbench.descend.plan import Plan, Table, make_plan
from optbench.descend.rule import UnsupportedError, find
from optbench.descend.rules import rule_for
from optbench.descend.store import Store
from optbench.descend.uncompiled import uncompiled
from optbench.folders import cache_folder
from optbench.problem import Objective
from optbench.settings import SurfaceTrainer

UPDATES = 48
ROWS = 8
"""Rows that are tried: the extremes of what varies, and some in between."""
_MADE = 1000
"""Rows up to which every optimizer and scheduler is made to see whether it refuses its numbers; 50 ms."""
_CLOSE = 1e-9
"""Of a surface, relative to its largest value."""
_CLOSE_UPDATES = 1e-7
"""Of iterates: an optimizer may keep its scalars in single precision (`torch.where(c, 1.0, 0.5)` does), a rule not."""
_HUGE = 1e150
"""Beyond it rounding decides when a number overflows; the loop has called such a run diverged long before."""
_POINTS = 12
_CONSTANT = {"_target_": "torch.optim.lr_scheduler.ConstantLR", "factor": 1.0, "total_iters": 0}

_rules_seen: dict[Any, str | None] = {}


def disagreement(batch: Batch) -> str | None:
    """Why the loop would give other numbers than the rows of a batch, in a sentence; None when they agree."""
    rows = telling_rows([v for node in (batch.optimizer, batch.scheduler) for v in _arrays(node)], batch.rows)
    optimizer, scheduler = taken(batch.optimizer, rows), taken(batch.scheduler, rows)
    return (
        rule_disagreement(optimizer, len(rows))
        or schedule_disagreement(optimizer, scheduler, len(rows), batch.steps)
        or surface_disagreement(batch.objective, batch.starts[rows])
    )


def _arrays(node: Mapping[str, Any]) -> list[NDArray[Any]]:
    return [value for value in node.values() if isinstance(value, np.ndarray)]


def taken(node: Mapping[str, Any], rows: Ints) -> dict[str, Any]:
    """The configuration node of some rows."""
    return {k: v[rows] if isinstance(v, np.ndarray) else v for k, v in node.items()}


def telling_rows(columns: Sequence[NDArray[Any]], rows: int) -> Ints:
    """Rows at the ends of each column, and some between, at most ROWS; the same for the same batch."""
    flat = [line for column in columns for line in np.atleast_2d(np.asarray(column).T)]
    ends = [int(end) for line in flat for end in (np.argmin(line), np.argmax(line))]
    between = np.random.default_rng(rows).integers(rows, size=ROWS).tolist()
    chosen = list(dict.fromkeys(itertools.chain([0, rows - 1], ends, between)))
    return np.array(chosen[: max(ROWS, len(ends) + 2)], dtype=np.int64)


def refused(batch: Batch) -> dict[int, str]:
    """Rows whose optimizer or scheduler refuses its numbers, and in which words: the loop says the same.

    Of many rows those at the ends of each number are tried, and all if one of them is refused.
    """
    columns = [*_arrays(batch.optimizer), *_arrays(batch.scheduler)]
    everyone: Ints = np.arange(batch.rows if columns else 1)
    words = _refusals(batch, everyone if len(everyone) <= _MADE else telling_rows(columns, batch.rows))
    if words and len(everyone) > _MADE:
        words = _refusals(batch, everyone)
    return words if columns else dict.fromkeys(range(batch.rows), words[0]) if words else {}


def _refusals(batch: Batch, rows: Ints) -> dict[int, str]:
    found = {}
    for row in map(int, rows):
        optimizer, scheduler = (
            _of_row(batch.optimizer, row),
            _of_row(batch.scheduler, row, batch.steps),
        )
        x = torch.zeros(batch.dim, dtype=torch.float64, requires_grad=True)
        try:
            with uncompiled(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = find(str(batch.optimizer["_target_"]))([x], **optimizer)
                find(str(batch.scheduler["_target_"]))(made, **scheduler)
        except Exception as error:  # parts are anyone's code
            found[row] = f"{type(error).__name__}: {error}"
    return found


def _of_row(node: Mapping[str, Any], row: int, length: int | None = None) -> dict[str, Any]:
    """The keywords of one row; what is null is the length of the run, where one is given."""
    keywords = {k: v[row].tolist() if isinstance(v, np.ndarray) else v for k, v in node.items() if k[:1] != "_"}
    return keywords if length is None else {k: length if v is None else v for k, v in keywords.items()}


# the schedule ---------------------------------------------------------------------------------------------------------


def schedule_disagreement(
    optimizer: Mapping[str, Any], scheduler: Mapping[str, Any], rows: int, steps: int
) -> str | None:
    """Why a schedule has no table that is its own steps over the planned run; the nodes are those of `rows` rows."""
    try:
        make_plan(_batch(optimizer, scheduler, np.zeros((rows, 1)), steps))
    except UnsupportedError as error:
        return str(error)
    return None


def _batch(optimizer: Mapping[str, Any], scheduler: Mapping[str, Any], starts: Floats, steps: int) -> Batch:
    """Rows that no stop rule ends; the objective is not looked at before it is replaced."""
    trainer = SurfaceTrainer(steps=steps, grad_tol=-1.0, divergence_factor=float("inf"))
    return Batch(
        objective=lambda x: x.sum(-1),
        starts=starts,
        optimizer=optimizer,
        scheduler=scheduler,
        trainer=trainer,
        record=range(len(starts)),
        backend="eager",
    )


# the rule -------------------------------------------------------------------------------------------------------------


def rule_disagreement(optimizer: Mapping[str, Any], rows: int) -> str | None:
    """Why an optimizer's rule is not the optimizer; the node is that of `rows` rows.

    Asked once a process; of torch's optimizers and this package's once a machine, for each choice of options.
    """
    target = str(optimizer["_target_"])
    try:
        made = find(target)
        key = made, repr([(k, v.tolist() if isinstance(v, np.ndarray) else v) for k, v in optimizer.items()])
        if key not in _rules_seen:
            kept = _kept_rule(optimizer) if target.startswith(("torch.optim.", "optbench.")) else None
            if kept is not None and has_agreed(kept) and rule_for(optimizer):
                return None
            with uncompiled():
                _rules_seen[key] = _rule_disagreement(optimizer, rows)
            if kept is not None and _rules_seen[key] is None:
                keep_agreement(kept)
        return _rules_seen[key]
    except UnsupportedError as error:
        return str(error)
    except Exception as error:  # a rule is anyone's code
        return f"{optimizer['_target_']}: its rule raised {type(error).__name__}: {error}"


def _kept_rule(node: Mapping[str, Any]) -> Path:
    """Where it is kept that a rule agreed: by which options are in use, not by their numbers."""
    return cache_folder() / "rules" / f"{hashlib.sha256(in_use(node).encode()).hexdigest()[:20]}.txt"


def _rule_disagreement(node: Mapping[str, Any], rows: int) -> str | None:
    found, whole = _trial(node, rows, pauses=True)
    return found if found is not None or whole else _trial(node, rows, pauses=False)[0]


def _trial(node: Mapping[str, Any], rows: int, pauses: bool) -> tuple[str | None, bool]:
    """Why the rule is not the optimizer, and whether no row ended in numbers that are none (0/0 in a pause)."""
    random = np.random.default_rng(0)
    starts, gradients = _starts(random, rows), _gradients(random, pauses)
    factors = random.uniform(0.1, 1.0, UPDATES + 1)
    batch = _batch(node, _CONSTANT, starts, UPDATES)
    plan = make_plan(batch)
    plan = replace(plan, tables=(plan.tables[0], Table(("factor",), factors[None, None], None)))
    store = Store(batch)
    run_eager(replace(batch, objective=_forced(gradients)), plan, store)
    for row in range(rows):
        path = _path(str(node["_target_"]), _of_row(node, row), starts[row], gradients, factors)
        end = int(store.steps[row])
        found = store.path[row, : end + 1]
        found[end] = store.x[row]
        if (update := _first_difference(found, path[: end + 1])) is not None:
            k, i = update
            numbers = f"x = {path[k, i]:.6g} after {k} updates, its rule {found[k, i]:.6g}"
            return f"{node['_target_']} makes other updates than its rule for rows ({numbers})", False
    return None, bool((store.steps == UPDATES).all())


def _starts(random: np.random.Generator, rows: int) -> Floats:
    """(rows, 8): half of the coordinates start at 0, where a small step is not lost beside x, half do not."""
    return np.concatenate([np.zeros((rows, 4)), random.normal(size=(rows, 4)) + 2.0], axis=1)


def _gradients(random: np.random.Generator, pauses: bool) -> Floats:
    """(UPDATES + 1, 8) of many magnitudes and both signs; with pauses some wait for their first, all rest at times."""
    found = random.normal(size=(UPDATES + 1, 8)) * 10.0 ** random.uniform(-6.0, 6.0, size=(UPDATES + 1, 8))
    found[:, ::2] = random.normal(size=(UPDATES + 1, 4))
    if pauses:
        found[:3, [0, 5]] = 0.0
        found[7] = found[20:23] = 0.0
    return found


def _forced(gradients: Floats) -> Callable[[Tensor], Tensor]:
    """An objective whose gradient at its k-th evaluation is the k-th given one, wherever it is evaluated."""
    ahead = iter(torch.from_numpy(gradients))
    return lambda x: (x * next(ahead)).sum(-1)


def _path(target: str, keywords: Mapping[str, Any], start: Floats, gradients: Floats, factors: Floats) -> Floats:
    """The iterates of the optimizer itself, called as the loop does, (UPDATES + 1, dim)."""
    x = torch.from_numpy(start.copy()).requires_grad_(True)
    calls = 0
    try:
        optimizer = find(target)([x], **keywords)
        _check_bare(optimizer, x)
        (group,) = optimizer.param_groups
        lr, seen = group["lr"], [start]
        for k in range(UPDATES):
            gradient = torch.from_numpy(gradients[k])

            def closure(gradient: Tensor = gradient) -> Tensor:
                nonlocal calls
                calls += 1
                optimizer.zero_grad()
                loss = (x * gradient).sum()
                loss.backward()
                return loss

            group["lr"] = lr * float(factors[k])
            optimizer.step(closure)
            seen.append(x.detach().numpy().copy())
    except UnsupportedError:
        raise
    except Exception as error:  # an optimizer is anyone's code
        raise UnsupportedError(f"{target}: {type(error).__name__}: {error}") from error
    if calls != UPDATES:
        raise UnsupportedError(f"{target} evaluates the objective {calls} times in {UPDATES} updates")
    return np.array(seen)


def _check_bare(optimizer: Any, x: Tensor) -> None:
    """Raises UnsupportedError where something acts at an update without being part of the optimizer's class."""
    name = type(optimizer).__name__
    hooks = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    everywhere = ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")
    if any(getattr(optimizer, h, None) for h in hooks) or any(getattr(torch_optimizer, h, None) for h in everywhere):
        raise UnsupportedError(f"{name} has a hook at its step")
    if x._backward_hooks or getattr(x, "_post_accumulate_grad_hooks", None):
        raise UnsupportedError(f"{name} has a hook on its parameters")
    replaced = [key for key in vars(optimizer) if callable(getattr(type(optimizer), key, None))]
    if replaced:
        raise UnsupportedError(f"this {name} has its own {replaced[0]}, which its class has not")
    if len(optimizer.param_groups) != 1 or [id(p) for p in optimizer.param_groups[0]["params"]] != [id(x)]:
        raise UnsupportedError(f"{name} keeps other parameters than it was given")


def _first_difference(found: Floats, wanted: Floats) -> tuple[int, int] | None:
    """The first (update, coordinate) at which two paths of the same start part; (updates + 1, dim) each."""
    size = np.maximum.accumulate(np.abs(np.nan_to_num(wanted, posinf=0.0, neginf=0.0)), axis=0)
    over = np.maximum.accumulate(~(np.abs(np.where(np.isnan(wanted), 0.0, wanted)) < _HUGE), axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = ~((np.abs(found - wanted) <= _CLOSE_UPDATES * size) | (np.isnan(found) & np.isnan(wanted)) | over)
    places = np.argwhere(apart)
    return (int(places[0][0]), int(places[0][1])) if len(places) else None


# the surface ----------------------------------------------------------------------------------------------------------


def surface_disagreement(objective: Objective, starts: Floats) -> str | None:
    """Why a surface is not the same for many points at once as for one; the points are near `starts`, (n, dim)."""
    points = _near(starts, max(2, min(_POINTS, 2_000_000 // starts.shape[1])))
    try:
        many = _evaluated(objective, torch.from_numpy(np.ascontiguousarray(points.T)), 0)
        single = [_evaluated(objective, torch.from_numpy(point.copy()), -1) for point in points]
    except Exception as error:  # a surface is anyone's code
        return f"the surface does not take many points at once ({type(error).__name__}: {error})"
    if many[0].shape != (len(points),):
        return f"the surface gives {tuple(many[0].shape)} values for {len(points)} points"
    for what, found, one in zip(("value", "slope"), many, zip(*single, strict=True), strict=True):
        wanted = np.stack(one, axis=-1)
        size = np.abs(np.nan_to_num(wanted, posinf=0.0, neginf=0.0)).max(initial=0.0)
        with np.errstate(invalid="ignore"):
            near = (np.abs(found - wanted) <= _CLOSE * size) | (found == wanted) | (np.isnan(found) & np.isnan(wanted))
        if not near.all():
            place = tuple(np.argwhere(~near)[0])
            return f"the surface's {what} at a point among others is {found[place]:.6g}, alone {wanted[place]:.6g}"
    return None


def _near(starts: Floats, points: int) -> Floats:
    random = np.random.default_rng(1)
    chosen = starts[np.arange(points) % len(starts)]
    found: Floats = chosen + 1e-2 * (1.0 + np.abs(chosen)) * random.normal(size=chosen.shape)
    return found


def _evaluated(objective: Objective, x: Tensor, dim: int) -> tuple[Floats, Floats]:
    """Value and gradient; coordinates lie along `dim`."""
    x.requires_grad_(True)
    loss = objective(x.movedim(dim, -1))
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    return loss.detach().numpy(), gradient.numpy()


# the compiled step ----------------------------------------------------------------------------------------------------

Execute = Callable[[Batch, Plan, Store, Ints], None]
_COMPILED_UPDATES = 32


def compiled_disagreement(batch: Batch, plan: Plan, execute: Execute) -> str | None:
    """Why a compiled step is not the eager one, by some updates of some rows from near their starts.

    Args:
        batch: the runs.
        plan: its plan.
        execute: runs some recorded rows into a store by the compiled step.
    """
    eps = float(np.finfo(batch.dtype).eps)
    rows = np.sort(telling_rows([*_arrays(batch.optimizer), *_arrays(batch.scheduler)], batch.rows))
    starts = batch.starts.copy()
    starts[rows] = _near(starts[rows], len(rows))
    steps = min(batch.steps, _COMPILED_UPDATES)
    short = replace(
        batch,
        starts=starts,
        trainer=replace(batch.trainer, steps=steps, record_every=1),
        record=rows,
        stop_requested=lambda: False,
        on_rows=lambda n: None,
    )
    found = Store(short)
    execute(short, plan, found, rows)
    wanted = _eager(short, plan, rows, 0.0)

    @functools.cache
    def stores() -> list[Store]:  # two more runs, which no step that is right asks for
        return [_eager(short, plan, rows, nudge) for nudge in (4.0 * eps, -4.0 * eps)]

    def nudged(name: str) -> list[Floats]:
        return [_columns(store, name) for store in stores()]

    for name in ("loss", "path"):
        mine, eager = (_columns(store, name) for store in (found, wanted))
        if (place := _parting(mine, eager, functools.partial(nudged, name), eps)) is not None:
            return f"the compiled step gives {mine[place]:.6g} at update {place[2]}, the eager one {eager[place]:.6g}"
    return None


def _columns(store: Store, name: str) -> Floats:
    """The recorded losses, or coordinates, of a store: (columns, rows, points)."""
    return np.moveaxis(np.atleast_3d(getattr(store, name)), -1, 0)


def _eager(batch: Batch, plan: Plan, rows: Ints, nudge: float) -> Store:
    starts = batch.starts.copy()
    starts[rows] *= 1.0 + nudge
    store = Store(batch)
    run_eager(replace(batch, starts=starts), plan, store, rows)
    return store


def _parting(
    found: Floats, wanted: Floats, nudged: Callable[[], Sequence[Floats]], eps: float
) -> tuple[int, ...] | None:
    """Where curves (columns, rows, points) part that rounding, as the nudged ones show it, does not explain."""
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.maximum.accumulate(np.nan_to_num(np.abs(wanted), posinf=0.0), axis=-1)
        apart = np.abs(found - wanted)
        near = (apart <= np.sqrt(eps) * size) | (found == wanted) | (np.isnan(found) & np.isnan(wanted))
        if near.all():
            return None
        others = nudged()
        drift = np.max([np.nan_to_num(np.abs(other - wanted), nan=np.inf) for other in others], axis=0)
        drift[np.isnan(wanted) & np.all([np.isnan(other) for other in others], axis=0)] = 0.0
        drift = np.maximum.accumulate(drift.max(axis=0), axis=-1)
        stable = 1e3 * drift <= 1e-2 * size
        near |= (apart <= np.sqrt(eps) * size + 1e3 * drift) | ~stable
    places = np.argwhere(~near)
    return tuple(int(i) for i in places[np.argmin(places[:, 2])]) if len(places) else None
