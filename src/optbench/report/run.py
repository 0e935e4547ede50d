"""One run in a few lines, for the end of `optbench run`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optbench.protocol import around_name
from optbench.records import Run
from optbench.records.chosen import ACCURACY, CHECKPOINTS, VALIDATION_LOSS
from optbench.records.metrics import COLUMN, column_of, directions
from optbench.report.strips import BLOCKS
from optbench.statistics.numbers import number, percent, printable

_FLAT = 0.01
"""Of its size: a loss that changes by less is a flat line."""
_LEVEL = 1e-6
"""Gradient norm below which a place where the loss stood still is called flat."""


def run_lines(run: Run, encoding: str = "utf-8") -> list[str]:
    """What came out of a run: status and reason, losses, cost, where it stopped, its folder.

    Args:
        run: the run.
        encoding: of the output; the picture of the loss is left out where it has no characters for it.
    """
    facts = run.summary
    on = "" if facts.get("data") in (None, "none") else f" on {facts['data']}"
    lines = [
        f"{facts.get('model')}{on}, {around_name(facts) or None}, {facts.get('scheduler')}, seed {facts.get('seed')}",
        *([f"book: {facts['book']}"] if facts.get("book") else []),
        f"{run.status.replace('_', ' ')}" + (f": {run.reason}" if run.reason else ""),
        _losses(run),
    ]
    lines += [*_validation(facts), *_pseudo_labels(facts)]
    if facts.get("target") is not None:
        hit = facts.get("steps_to_target")
        when = "not reached" if hit is None else f"reached at step {number(hit)}"
        lines.append(f"target {number(facts['target'])} {when}")
    lines += _place(run)
    steps, evals, seconds = (number(facts.get(column)) for column in ("steps", "evals", "seconds"))
    clock = "timed with its batch alone" if facts.get("seconds_of") == "batch" else f"{seconds} s"
    if facts.get("compile_seconds") is not None:
        clock += f" (and {number(facts['compile_seconds'])} s of compiling)"
    products = facts.get("hessian_products")
    of_second_order = "" if products is None else f"{number(products)} Hessian products, "
    lines.append(f"{steps} steps, {evals} evaluations, {of_second_order}{clock}")
    picture = _picture(run, encoding)
    return [*map(printable, lines), *([f"loss {picture}"] if picture else []), *([str(run.path)] if run.path else [])]


def _validation(facts: Mapping[str, Any]) -> list[str]:
    """Of the best epoch and of the last one, of best.pt and of last.pt: the metrics that the run names, else the
    validation accuracy, of a regression the validation loss."""
    if names := directions(facts.get(COLUMN)):
        columns: list[tuple[str, Mapping[str, str]]] = [
            (name, {which: column_of(name, which) for which in CHECKPOINTS}) for name in names
        ]
    else:
        of_classes = facts.get(ACCURACY["last"]) is not None
        columns = [("accuracy", ACCURACY) if of_classes else ("loss", VALIDATION_LOSS)]
    return [line for name, kept in columns for line in _judged(facts, f"validation {name}", kept)]


def _judged(facts: Mapping[str, Any], what: str, kept: Mapping[str, str]) -> list[str]:
    """A figure of a run at the best epoch and at the last; nothing of one that was not computed."""

    def text(which: str) -> str:
        value = facts.get(kept[which])
        return f"{percent(value)} %" if kept["last"] == ACCURACY["last"] else number(value)

    if facts.get(kept["last"]) is None:
        return []
    if facts.get(kept["best"]) is None:
        return [f"{what} {text('last')} (last epoch)"]
    steps, at, epochs = facts.get("steps"), facts.get("best_val_step"), facts.get("epochs")
    epoch = f" {number(at / steps * epochs)}" if steps and epochs and at is not None else ""
    return [f"{what} {text('best')} (best epoch{epoch}), {text('last')} (last epoch)"]


def _pseudo_labels(facts: Mapping[str, Any]) -> list[str]:
    """How many unlabelled pictures were given a label, the first time and the last, and where it is known how many of
    these labels were right."""
    known = (facts.get("provenance") or {}).get("pseudo_labels")
    if not known:
        return []
    of = f"of {known['pictures']} unlabelled pictures, from {number(known['threshold'])} on"
    if not known.get("epochs"):
        return [f"pseudo-labels: none made {of}: the run was too short"]
    each = list(zip(*(known[name] for name in ("epochs", "taken", "right") if name in known), strict=True))
    told = []
    for epoch, taken, *right in dict.fromkeys((each[0], each[-1])):
        told.append(f"{taken} after epoch {epoch}{f' ({right[0]} right)' if right else ''}")
    return [f"pseudo-labels: {', '.join(told)} {of}"]


def _place(run: Run) -> list[str]:
    """Where a run on a surface stopped; empty if its record lacks the curvature there."""
    place, least = run.summary.get("stopped_at"), run.summary.get("lambda_min")
    if place is None and least is None:
        return []
    curvature = "" if least is None else f", smallest eigenvalue {number(least)}"
    return [f"stopped at: {'no critical point' if place is None else place}{curvature}", *_flat(run)]


def _flat(run: Run) -> list[str]:
    """That the place is flat, where a run did not get anywhere for that reason; nothing at a critical point."""
    if run.summary.get("stopped_at") is not None:
        return []
    norm = run.summary.get("final_grad_norm")
    if norm is None or not norm < _LEVEL or len(losses := run.losses()) < 2:
        return []
    moved = abs(losses[-1] - losses[0])
    if not moved < _FLAT * abs(losses[0]):
        return []
    return [f"flat there: |g| = {norm:.2g}; {number(run.summary['steps'])} steps moved the loss by {moved:.2g}"]


def _losses(run: Run) -> str:
    facts = run.summary
    best = f"best {number(facts.get('best_loss'))}"
    at = f" at step {number(facts['best_step'])}" if facts.get("best_step") is not None else ""
    gradient = facts.get("final_grad_norm")
    slope = f", gradient norm {number(gradient)}" if gradient is not None else ""
    return f"final loss {number(facts.get('final_loss'))}, {best}{at}{slope}"


def _picture(run: Run, encoding: str) -> str:
    picture = sparkline(run.losses())
    try:
        picture.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ""
    return picture


def sparkline(values: Sequence[float], width: int = 48) -> str:
    """A curve in one line of blocks: the last value of each of `width` equal parts; log scale where all are positive.

    The scale has a floor: its height is a change of at least 1 %, so that a curve which moves in its last digits is the
    flat line that it is. Values that are not finite are left blank. Empty for fewer than two finite values.
    """
    n = len(values)
    columns = min(width, n)
    picked = [values[(i + 1) * n // columns - 1] for i in range(columns)]
    finite = [v for v in picked if math.isfinite(v)]
    if len(finite) < 2:
        return ""
    scale = math.log10 if min(finite) > 0 else float
    low, high = scale(min(finite)), scale(max(finite))
    floor = math.log10(1 + _FLAT) if min(finite) > 0 else _FLAT * max(map(abs, finite))
    span = max(high - low, floor) or 1.0

    def block(value: float) -> str:
        return BLOCKS[round((scale(value) - low) / span * (len(BLOCKS) - 1))] if math.isfinite(value) else " "

    return "".join(map(block, picked))
