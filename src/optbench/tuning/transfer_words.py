"""A transfer in words: a table of optima, a sentence on whether they move, and the same as plain data."""

from __future__ import annotations

import math
from typing import Any

from optbench.metrics.optimum import DRAWS, RULE, Optimum, Shift
from optbench.report.cells import Sheet
from optbench.report.tables import aligned
from optbench.statistics import STATISTICS
from optbench.statistics.numbers import printable
from optbench.tuning.transfer import MUP, STANDARD, Curve, Transfer

NAMES = {STANDARD: "standard", MUP: "muP"}


def transfer_lines(found: Transfer) -> list[str]:
    """What was found, for a terminal of 80 columns."""
    question = found.question
    rates = f"{len(question.rates)} rates from {question.rates[0]:g} to {question.rates[-1]:g}"
    head = f"{printable(question.problem)}: {rates}, {question.seeds} seeds each"
    rows = [_row(one) for one in found.curves]
    header = ("", question.axis, "n", "best lr", "interval", _title(question.metric))
    lines = [head, "", *aligned(Sheet("", header, tuple(rows), (False,) * len(rows)))]
    lines += [_edge_line(one) for one in found.curves if one.best is None or one.best.edge]
    return [*lines, "", sentence(found), "", *_rules(found)]


def _title(metric: str) -> str:
    return STATISTICS[metric].title.partition(",")[0]


def _row(one: Curve) -> tuple[str, ...]:
    name, n = NAMES[one.parametrisation], str(len(one.losses))
    if one.best is None:
        return name, str(one.size), n, "-", "-", "-"
    best = one.best
    return (name, str(one.size), n, f"{best.value:.3g}{'*' * bool(best.edge)}", _span(best.low, best.high),
            f"{best.least:.4g}")  # fmt: skip


def _span(low: float, high: float) -> str:
    """An interval; an end that is open is a dash."""
    return f"[{f'{low:.2g}' if low > 0 else '-'}, {f'{high:.2g}' if math.isfinite(high) else '-'}]"


def _edge_line(one: Curve) -> str:
    where = f"{NAMES[one.parametrisation]}, {one.size}"
    if one.best is None:
        return f"{where}: no rate has a result in most seeds; try smaller ones"
    further = "smaller" if one.best.edge == "low" else "larger"
    return f"* {where}: the least loss is at the {further} end of the rates; the best may lie beyond"


def sentence(found: Transfer) -> str:
    """Whether the optimum moves, in one sentence."""
    question = found.question
    said = []
    for kind in dict.fromkeys(one.parametrisation for one in found.curves):
        moves = found.moves(kind)
        under = f" under {'SP' if kind == STANDARD else 'muP'}" if question.base is not None else ""
        said.append(_moved(moves, under) if moves else f"is not known{under}")
    ends = [one.size for one in found.of(found.curves[0].parametrisation)] if found.curves else []
    if len(ends) < 2 or not said:
        return "Too few runs were made to say whether the best learning rate moves."
    sizes = f"{question.axis} {ends[0]} to {ends[-1]}"
    return f"From {sizes} the best learning rate {', and '.join(said)} (n = {question.seeds})."


def _moved(one: Shift, under: str) -> str:
    span = f"moves by x{one.factor:.2g} {_span(one.low, one.high)}"
    return f"{span}{under}" if one.told else f"{span}, which may be nothing,{under}"


def _rules(found: Transfer) -> list[str]:
    question = found.question
    lines = [f"{RULE}."]
    if question.base is not None:
        same = f"the same at {question.axis} {question.base}"
        lines.append(f"SP: standard parametrisation; muP: Yang et al. 2021, Table 3, {same}.")
    return lines


def transfer_json(found: Transfer) -> dict[str, Any]:
    """The same as plain data; what is not finite is null."""
    question = found.question
    kinds = dict.fromkeys(one.parametrisation for one in found.curves)
    return {
        "problem": question.problem, "axis": question.axis, "key": question.key, "metric": question.metric,
        "base": question.base, "rates": list(question.rates), "seeds": question.seeds,
        "folder": str(question.folder), "stopped": found.stopped, "bootstrap": DRAWS, "rule": RULE,
        "sentence": sentence(found),
        "moves": {kind: _shift_json(found.moves(kind)) for kind in kinds},
        "points": [
            {"parametrization": one.parametrisation, "size": one.size, "n": len(one.losses), **_best_json(one.best),
             "losses": [[value if math.isfinite(value) else None for value in row] for row in one.losses.tolist()]}
            for one in found.curves
        ],
    }  # fmt: skip


def _shift_json(one: Shift | None) -> dict[str, float | None] | None:
    return None if one is None else {"factor": one.factor, "low": one.low, "high": _finite(one.high)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _best_json(best: Optimum | None) -> dict[str, Any]:
    if best is None:
        return dict.fromkeys(("rate", "low", "high", "loss", "edge"))
    return {"rate": best.value, "low": best.low, "high": _finite(best.high), "loss": best.least, "edge": best.edge}
