"""The rows as cells: one table a setting, since times of two devices, batches or networks are never compared."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from optbench.comparison.comparison import estimate_json
from optbench.cost.measure import WARM_UP, Measured
from optbench.cost.rows import Row
from optbench.launch.probe import load_per_core
from optbench.metrics import Estimate, median_interval
from optbench.report import Sheet, aligned, interval, number
from optbench.report.tables import markdown_lines
from optbench.statistics.numbers import printable

_HEADER = (
    "optimizer", "state, MB", "bytes/param", "peak, MB",
    "step, ms", "fwd+bwd, ms", "step, %", "updates/s",
)  # fmt: skip
_MEMORY, _TIME = (0, 1, 2, 3), (0, 4, 5, 6, 7)
"""Of which the two tables of a terminal of 80 columns consist."""


def estimates(found: Measured) -> dict[str, Estimate]:
    """Medians with intervals over the updates: milliseconds, the step's share of the update, updates a second."""
    batch, passes, step = (np.asarray(part) for part in (found.batch, found.passes, found.step))
    update = batch + passes + step
    return {
        "step_ms": median_interval(1e3 * step),
        "forward_backward_ms": median_interval(1e3 * passes),
        "batch_ms": median_interval(1e3 * batch),
        "update_ms": median_interval(1e3 * update),
        "step_share": median_interval(step / update),
        "updates_per_second": median_interval(1 / update),
    }


def json_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A dictionary a row: what it is, exact bytes, times as `{value, low, high, coverage, n}`; null where it failed."""
    return [_facts(row) for row in rows]


def _facts(row: Row) -> dict[str, Any]:
    found, choices = row.measured, row.planned.choices
    times = estimates(found) if found else {}
    names = ("step_ms", "forward_backward_ms", "batch_ms", "update_ms", "step_share", "updates_per_second")
    counted = ("parameters", "parameter_bytes", "batch_size", "device", "threads", "state_bytes")
    weighed = ("last_state_bytes", "other_bytes", "peak_bytes", "evaluations")
    return (
        {"configuration": row.label, "optimizer": choices["optimizer"], "model": choices["model"]}
        | {"data": choices["data"], "precision": row.planned.config["trainer"]["precision"]}
        | {name: getattr(found, name, None) for name in counted}
        | {"state_bytes_per_parameter": found and found.state_bytes / found.parameters}
        | {name: getattr(found, name, None) for name in weighed}
        | {name: estimate_json(times.get(name)) for name in names}
        | {"status": "measured" if found else "failed", "reason": row.reason}
    )


def csv_text(rows: Sequence[Row]) -> str:
    """The same as CSV with all digits: an estimate is three columns, NAME, NAME_low and NAME_high."""
    flat = []
    for facts in json_rows(rows):
        line: dict[str, Any] = {}
        for name, value in facts.items():
            if name.endswith(("_ms", "_share", "_second")):
                kept = value or {}
                line |= {name: kept.get("value"), f"{name}_low": kept.get("low"), f"{name}_high": kept.get("high")}
            else:
                line[name] = value
        flat.append(line)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for line in flat for name in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _cells(row: Row) -> tuple[str, ...]:
    found = row.measured
    if found is None:
        return (printable(row.label), *["-"] * (len(_HEADER) - 1))
    times, n = estimates(found), len(found.step)
    return (
        printable(row.label),
        f"{found.state_bytes / 1e6:.3f}",
        f"{found.state_bytes / found.parameters:.2f}",
        "-" if found.peak_bytes is None else f"{found.peak_bytes / 1e6:.1f}",
        interval(times["step_ms"], n),
        interval(times["forward_backward_ms"], n),
        f"{100 * times['step_share'].value:.1f}",
        number(times["updates_per_second"].value),
    )


def _sheets(rows: Sequence[Row]) -> list[Sheet]:
    """One table a setting, in order; rows that failed stand with the first of their problem."""
    settings: dict[str, list[Row]] = {}
    for row in rows:
        if row.measured:
            settings.setdefault(row.setting, []).append(row)
    for row in rows:
        if not row.measured:
            home = next((name for name in settings if name.startswith(row.setting)), row.setting)
            settings.setdefault(home, []).append(row)
    order = {id(row): k for k, row in enumerate(rows)}
    sheets = []
    for title, members in settings.items():
        members.sort(key=lambda row: order[id(row)])
        cells = tuple(map(_cells, members))
        sheets.append(Sheet(printable(title), _HEADER, cells, (False,) * len(cells), words=(0,)))
    return sheets


def _part(sheet: Sheet, columns: Sequence[int]) -> Sheet:
    header, *rows = (tuple(row[i] for i in columns) for row in (sheet.header, *sheet.rows))
    return replace(sheet, header=header, rows=tuple(rows))


def text_lines(rows: Sequence[Row]) -> list[str]:
    """For a terminal: memory, then time, and the rules behind the numbers."""
    lines: list[str] = []
    for sheet in _sheets(rows):
        lines += [sheet.title, *aligned(_part(sheet, _MEMORY)), "", *aligned(_part(sheet, _TIME)), ""]
    return lines + _notes(rows)


def markdown_text(rows: Sequence[Row]) -> str:
    """One Markdown table a setting, and the rules."""
    return "\n".join([*markdown_lines(_sheets(rows)), *(f"- {line}" for line in _notes(rows))]) + "\n"


def _notes(rows: Sequence[Row]) -> list[str]:
    done = [row for row in rows if row.measured]
    found = [row.measured for row in done if row.measured]
    if not found:
        return []
    n = len(found[0].step)
    lines = ["State: the tensors of optimizer.state after the first update, exact."]
    if any(one.device == "cpu" for one in found):
        lines.append("Peak (CPU): rise of resident memory while updates were made, to some MB.")
    if any(one.device != "cpu" for one in found):
        lines.append("Peak (GPU): torch.cuda.max_memory_allocated, with parameters and data.")
    lines += [
        f"Times: medians of {n} updates after {WARM_UP}, and intervals of the median ({_coverage(found[0])}).",
        "Step: optimizer.step without its passes. Update: batch, passes and step.",
    ]
    lines += [_grown(row.label, row.measured) for row in done if row.measured]
    if (load := load_per_core()) > 1.0:
        lines.append(f"Other work shared the cores (load {load:.1f} a core): times are longer than alone.")
    return [printable(line) for line in lines if line]


def _coverage(found: Measured) -> str:
    coverage = median_interval(found.step).coverage
    return "none for one update" if coverage is None else f"{100 * coverage:.1f} %"


def _grown(label: str, found: Measured) -> str:
    """What else there is to know of an optimizer's memory and passes; mostly nothing."""
    said = []
    if found.last_state_bytes != found.state_bytes:
        said.append(f"state is {found.last_state_bytes / 1e6:.3f} MB after all updates")
    if found.other_bytes > 0:
        said.append(f"{found.other_bytes / 1e6:.3f} MB of tensors lie outside optimizer.state")
    if found.evaluations != 1:
        said.append(f"{found.evaluations:.3g} passes an update")
    return f"{label}: {'; '.join(said)}." if said else ""
