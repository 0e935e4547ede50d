"""Runs as they were at a budget: what `compare --budget` groups, ranks and judges.

A run that went on beyond the budget is told by its curve up to there, as if it had been planned to end at it. A run
that ended before is what it was. Schedules know the length of their run, so a curve that is cut inside a decay is not
what a run of that budget would have shown; such runs are marked, and a ranking of them has its warning
(`header.cut_inside`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from optbench.comparison.facts import alike
from optbench.comparison.header import CUT
from optbench.comparison.learning import over_epochs
from optbench.errors import UserError
from optbench.records import RunTable, Status
from optbench.records.columns import Bools, Floats, factorized
from optbench.records.curves import Columns
from optbench.records.metrics import COLUMN, column_of, directions

SPENT = {"steps": "steps", "evals": "evals", "epochs": "epochs", "seconds": "seconds"}
"""The column of a summary that says what a run took of each cost."""
ALONG = {"steps": "step", "evals": "evals", "epochs": "epoch", "seconds": "seconds"}
"""The column of curves of each cost."""
_ENDS = ("loss", "grad_norm", "val_loss", "val_accuracy")
_UNKNOWN = ("stopped_at", "critical_type", "lambda_min")
"""Of the last iterate; nobody looked at the one where a run was cut."""
_STARTED = (Status.FAILED, Status.SKIPPED)


class Within(NamedTuple):
    """Runs within a budget.

    Attributes:
        rows: the runs, as they were at it.
        notes, warnings: what a reader must know, a sentence each.
        alike: whether none was planned to end before it, so that unequal lengths are no matter.
    """

    rows: RunTable
    notes: list[str]
    warnings: list[str]
    alike: bool


def within(rows: RunTable, budget: tuple[str, float]) -> Within:
    """The runs as they were at a budget. Configurations with a run that went on beyond it and has no curve are left
    out: to keep the runs that ended before would keep those that ended badly.

    Args:
        rows: the runs.
        budget: a cost, one of SPENT, and its amount.

    Raises:
        UserError: no run is left.
        RecordError: a curve that cannot be read.
    """
    cost, amount = budget
    spent = rows.numbers(SPENT[cost])
    never = rows.where("status", lambda status: status in _STARTED)
    beyond = ~(spent <= amount) & ~(never & np.isnan(spent))
    planned = rows.where("status", lambda status: status in (Status.COMPLETED, Status.TIMED_OUT))
    same = not (planned & (spent < amount)).any()
    at = np.flatnonzero(beyond)
    if not len(at):
        return Within(rows, [], [], same)
    metrics = list(dict.fromkeys(name for text in rows.different(COLUMN) for name in directions(text)))
    columns = list(dict.fromkeys([*ALONG.values(), *_ENDS, *(column_of(name, "last") for name in metrics)]))
    rows.curves(columns, keep=True)  # the scores of targets look at those of all runs
    curves = rows.take(at).curves(columns)
    whole = np.array([ALONG[cost] in curve and bool((curve[ALONG[cost]] <= amount).any()) for curve in curves])
    left, said = _without(rows, at[~whole].tolist(), budget)
    cut = at[whole & left[at]]
    if not left.any():
        raise UserError(
            f"--budget {amount:g}{cost}: no configuration has a curve of every run that went on beyond it",
            "the same `optbench sweep` with --curves N records those of N rows of a batch",
        )
    kept = [curve for curve, fine, row in zip(curves, whole, at, strict=True) if fine and left[row]]
    changed = _cut(rows, cut.tolist(), kept, budget, metrics)
    notes = []
    if len(cut):
        many = "all runs" if len(cut) == left.sum() else f"{len(cut)} of {int(left.sum())} runs"
        notes.append(f"{many} went on beyond {amount:g} {cost} and are shown as they were there, by their curves")
    return Within(changed.take(left), notes, said, same)


def _without(rows: RunTable, lacking: Sequence[int], budget: tuple[str, float]) -> tuple[Bools, list[str]]:
    """Which runs are left without the configurations of some, (n,), and what to say of it."""
    left = np.ones(len(rows), dtype=np.bool_)
    if not len(lacking):
        return left, []
    codes, facts, _ = alike(rows)
    kinds = factorized((one.problem_key, one.configuration_key) for one in facts).codes[codes]
    left = ~np.isin(kinds, kinds[lacking])
    gone = len(np.unique(kinds[lacking]))
    said = (
        f"{gone} configuration{'s' * (gone != 1)} ({int((~left).sum())} runs) left out: no curve of every run that "
        f"went on beyond {budget[1]:g} {budget[0]}; the same `optbench sweep` with --curves N records those of N rows"
    )
    return left, [said]


def _cut(
    rows: RunTable, at: Sequence[int], curves: Sequence[Columns], budget: tuple[str, float], metrics: Sequence[str]
) -> RunTable:
    """The runs, those at `at` as their curves say that they were at the budget."""
    cost, amount = budget
    network = rows.where("data", lambda data: data not in (None, "none"))
    texts, clock, hits = rows.values(COLUMN), rows.own_clock(), rows.numbers("steps_to_target")
    found: dict[str, Floats] = {CUT: np.full(len(rows), np.nan)}
    statuses = rows.values("status")
    for row, curve in zip(at, curves, strict=True):
        kept = int(np.count_nonzero(curve[ALONG[cost]] <= amount))  # costs rise along a curve
        own = {name: np.asarray(column, dtype=np.float64)[:kept] for name, column in curve.items()
               if column.dtype != object}  # fmt: skip
        ends = _ends(own, bool(network[row]), directions(texts[row]), metrics)
        ends |= {SPENT[name]: _last(own.get(along)) for name, along in ALONG.items() if name != "seconds" or clock[row]}
        ends |= {"steps_to_target": hits[row] if hits[row] <= ends["steps"] else np.nan, CUT: 1.0}
        for name, value in ends.items():
            if name not in found:
                found[name] = rows.numbers(name).copy()
            found[name][row] = value
        statuses[row] = Status.COMPLETED.value
    unknown = {name: rows.values(name) for name in _UNKNOWN}
    for values in unknown.values():
        for row in at:
            values[row] = None
    return rows.with_columns({**found, "status": statuses, **unknown})


def _ends(curve: Columns, network: bool, better: dict[str, str], metrics: Sequence[str]) -> dict[str, float]:
    """What a summary would say of a curve that ends here; NaN where nothing was measured."""
    losses, slopes = (curve.get(name, np.full(len(curve["step"]), np.nan)) for name in ("loss", "grad_norm"))
    if network:  # of batches, the last row has that of an update which was never made; the mean of an epoch
        losses, slopes = losses[:-1], slopes[:-1]
        losses = over_epochs(curve["epoch"][:-1], curve["step"][:-1], losses)[1]
    finite = losses[np.isfinite(losses)]
    found = {
        "final_loss": _last(losses), "best_loss": float(finite.min()) if len(finite) else np.nan,
        "final_grad_norm": _last(slopes),
    }  # fmt: skip
    if not network:
        return found
    named = {column_of(name, "last"): column_of(name, "best") for name in metrics}
    named |= {"val_accuracy": "best_val_accuracy", "val_loss": "best_val_loss"}
    best = _best(curve, better)
    for last, of_best in named.items():
        values = curve.get(last)
        found[last] = _last(values)
        found[of_best] = np.nan if values is None or best is None else float(values[best])
    return found


def _best(curve: Columns, better: dict[str, str]) -> int | None:
    """The row of the best evaluation: by the first metric, else the accuracy, of equal ones that of the lower loss, and
    without either by the loss; None where nothing was evaluated."""
    name = next((column_of(one, "last") for one in better), "val_accuracy")
    loss = curve.get("val_loss")
    value = curve.get(name)
    if value is None or np.isnan(value).all():
        value, sign = loss, 1.0
    else:
        sign = -1.0 if next(iter(better.values()), "max") == "max" else 1.0
    if value is None or np.isnan(value).all():
        return None
    order = np.lexsort([np.nan_to_num(loss, nan=np.inf) if loss is not None else value, sign * value])
    return int(order[0])


def _last(values: Floats | None) -> float:
    """The last number of a column; NaN where there is none."""
    if values is None:
        return float("nan")
    if len(values) and values[-1] == values[-1]:
        return float(values[-1])
    known = values[~np.isnan(values)]
    return float(known[-1]) if len(known) else float("nan")
