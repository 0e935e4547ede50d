"""A batch made ready: a rule, numbers a row, and tables over the steps. Both engines execute this and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.descend.batch import Batch, Floats, Ints
from optbench.descend.rule import Rule, UnsupportedError, floor_key


@dataclass(frozen=True)
class Table:
    """Coefficients over the steps, one line for each distinct setting.

    Attributes:
        names: n coefficients.
        values: (n, settings, steps + 1) float64, for t = 0 ... steps; nothing is updated at t = steps.
        index: (rows,) the setting of each row; None when all have the same.
    """

    names: tuple[str, ...]
    values: Floats
    index: Ints | None


@dataclass(frozen=True)
class Plan:
    """What a batch computes.

    Attributes:
        rule: the optimizer.
        hyper: the rule's numbers as the engine passes them, flat: name to a float or (rows,) float64.
        floor: lowest learning rate of the schedule, a float or (rows,); None when it is 0 for all.
        tables: the optimizer's coefficients, then the schedule's factor (named "factor").
    """

    rule: Rule
    hyper: Mapping[str, float | Floats]
    floor: float | Floats | None
    tables: tuple[Table, Table]

    def structured(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """The mapping that the rule's update takes, from values for the flat names (and coefficients)."""
        out = dict(flat)
        for name, value in self.rule.hyper.items():
            if isinstance(value, tuple):
                out[name] = tuple(out.pop(f"{name}.{i}") for i in range(len(value)))
            elif name not in out:
                out[name] = value
        return out


def make_plan(batch: Batch) -> Plan:
    """Raises UnsupportedError when the optimizer or the schedule has no form for rows."""
    if batch.known is not None:
        rule, hyper = batch.known.rule, evened(batch.known.numbers(batch.optimizer))
    else:
        from optbench.descend.rules import rule_for

        rule = rule_for(batch.optimizer)
        hyper = flat_numbers(rule)
    if "lr" not in hyper:
        raise UnsupportedError("the optimizer has no learning rate")
    factor, floor = _schedule(batch, hyper)
    return Plan(rule, hyper, floor, (_coefficients(rule, hyper, batch), factor))


def flat_numbers(rule: Rule) -> dict[str, float | Floats]:
    """The numbers of a rule as the engines pass them: pairs taken apart, equal rows as one number."""
    parts: dict[str, Any] = {}
    for name, value in rule.hyper.items():
        parts |= {f"{name}.{i}": v for i, v in enumerate(value)} if isinstance(value, tuple) else {name: value}
    return evened(parts)


def evened(numbers: Mapping[str, Any]) -> dict[str, float | Floats]:
    """Numbers by name, equal rows as one number; what is none is left out."""
    flat: dict[str, float | Floats] = {}
    for key, part in numbers.items():
        if isinstance(part, np.ndarray):
            flat[key] = part if np.any(part != part[0]) else float(part[0])
        elif isinstance(part, int | float) and not isinstance(part, bool):
            flat[key] = float(part)
    return flat


def _coefficients(rule: Rule, hyper: Mapping[str, float | Floats], batch: Batch) -> Table:
    varied = [name for name in rule.inputs if isinstance(hyper[name], np.ndarray)]
    values: dict[str, Any] = {name: hyper[name] for name in rule.inputs}
    index = None
    if varied:
        columns = np.stack([np.asarray(hyper[name]) for name in varied], axis=1)
        distinct, index = np.unique(columns, axis=0, return_inverse=True)
        values |= {name: distinct[:, i : i + 1] for i, name in enumerate(varied)}
    t = np.arange(batch.steps + 1, dtype=np.float64)
    found = rule.coefficients(t, values) if rule.inputs else {}
    settings = 1 if index is None else int(index.max()) + 1
    shape = (settings, batch.steps + 1)
    lines = [np.broadcast_to(value, shape) for value in found.values()]
    stacked = np.stack(lines) if lines else np.zeros((0, *shape))
    return Table(
        tuple(found), np.ascontiguousarray(stacked), None if index is None else index.reshape(-1).astype(np.int64)
    )


def _schedule(batch: Batch, hyper: Mapping[str, float | Floats]) -> tuple[Table, float | Floats | None]:
    target = str(batch.scheduler["_target_"])
    keywords = {k: v for k, v in batch.scheduler.items() if not k.startswith("_")}
    keywords = {k: batch.steps if v is None else v for k, v in keywords.items()}
    per_row = [k for k, v in keywords.items() if isinstance(v, np.ndarray)]
    settings, index = [keywords], np.zeros(batch.rows, dtype=np.int64)
    if per_row:
        columns = np.column_stack([np.asarray(keywords[k], dtype=np.float64) for k in per_row])
        _, first, index = np.unique(columns, axis=0, return_index=True, return_inverse=True)
        index = index.reshape(-1).astype(np.int64)
        settings = [keywords | {k: keywords[k][row].tolist() for k in per_row} for row in first]
    if batch.known is not None:
        table = batch.known.factor_table(settings)
    else:
        from optbench.descend.schedules import factor_table

        rates = _extremes(np.broadcast_to(hyper["lr"], batch.rows), index, len(settings))
        table = factor_table(target, settings, rates, batch.steps + 1)
    floor = np.asarray(keywords.get(floor_key(target) or "", 0.0), dtype=np.float64)
    lowest = (floor if floor.ndim else float(floor)) if np.any(floor != 0.0) else None
    return Table(("factor",), table[None], index if len(settings) > 1 else None), lowest


def _extremes(values: Floats, index: Ints, settings: int) -> list[list[float]]:
    """The lowest and the highest of the rows' values under each setting."""
    low, high = np.full(settings, np.inf), np.full(settings, -np.inf)
    np.minimum.at(low, index, values)
    np.maximum.at(high, index, values)
    return [sorted({float(a), float(b)}) for a, b in zip(low, high, strict=True)]


def learning_rates(plan: Plan, rows: Ints, steps: Ints) -> Floats:
    """Learning rate of update `steps` of each row, (n, m).

    Args:
        plan: the plan.
        rows: (n,) rows.
        steps: (m,) steps for all rows, or (n, 1) one step for each row.
    """
    table = plan.tables[1]
    setting = np.zeros(len(rows), dtype=np.int64) if table.index is None else table.index[rows]
    factor = table.values[0][setting[:, None], steps]
    lr, low = _column(plan.hyper["lr"], rows), _column(0.0 if plan.floor is None else plan.floor, rows)
    with np.errstate(over="ignore", invalid="ignore"):  # a schedule may grow without bound
        return np.asarray(low + (lr - low) * factor)


def _column(value: float | Floats, rows: Ints) -> Floats:
    """(n, 1), or (1, 1) where all rows have the same."""
    return value[rows][:, None] if isinstance(value, np.ndarray) else np.array([[value]])
