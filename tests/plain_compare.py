"""The second implementation of comparisons: every file read, every run an object, every statistic in plain Python.

No index, no columns, no shared configurations: what `optbench.comparison` computes fast is held to this.
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd

from optbench import metrics
from optbench.comparison import labels
from optbench.comparison.arrivals import ELSEWHERE, NO_POINT, UNKNOWN
from optbench.comparison.facts import Facts, facts_of
from optbench.comparison.filters import predicate, resolve_key
from optbench.comparison.groups import IDENTITY
from optbench.errors import RecordError
from optbench.metrics import Estimate
from optbench.records import RUN_COLUMNS, Run, Status, read_run


@dataclass(frozen=True)
class Row(Facts):
    """A run and everything known of it."""

    run: Run


def read_row(run: Run) -> Row:
    return Row(facts_of(run).values, run)


@dataclass(frozen=True)
class PlainGroup:
    """What a comparison.Group tells, but for its rows."""

    problem: str
    label: str
    keys: Mapping[str, Any]
    rows: Sequence[Row]
    n_by_status: Mapping[str, int]
    statistics: Mapping[str, Estimate | None]
    stopped_at: Mapping[str, int] | None
    best: bool = False
    to_target: bool = False


def places(path: Path) -> Iterator[Path]:
    """Run folders and tables under a path."""
    if path.is_file():
        yield path.parent if path.name == "run.json" else path
        return
    for folder, subfolders, files in os.walk(path):
        subfolders.sort()
        if {"run.json", "config.yaml", "metrics.csv"} & set(files):
            subfolders.clear()
            yield Path(folder)
        elif "runs.parquet" in files:
            yield Path(folder) / "runs.parquet"


def table_runs(path: Path) -> list[Run]:
    try:
        frame = pd.read_parquet(path)
    except Exception as error:
        raise RecordError(f"{path}: {' '.join(str(error).split())[:200]}") from error
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [Run({str(k): v for k, v in row.items()}, None, path.with_name("curves.parquet")) for row in rows]


def plain_scan(paths: Sequence[Path]) -> tuple[list[Run], list[tuple[Path, str]]]:
    """Every run under the paths and what cannot be read, place by place."""
    runs: dict[str, Run] = {}
    bad: list[tuple[Path, str]] = []
    for place in (place for path in paths for place in places(path)):
        try:
            found = table_runs(place) if place.suffix == ".parquet" else [read_run(place)]
        except RecordError as error:
            bad.append((place, error.message))
            continue
        for run in found:
            runs.setdefault(f"{place.resolve()}/{run.run_id}", run)
    return list(runs.values()), bad


def plain_rows(paths: Sequence[Path]) -> tuple[list[Row], list[tuple[Path, str]], tuple[str, ...]]:
    """The rows of every run once, what cannot be read, and the notes on copies and on seconds that are no run's own."""
    runs, bad = plain_scan(paths)
    records: dict[str, list[Row]] = {}
    for run in runs:
        try:
            row = read_row(run)
            records.setdefault(run.run_id, []).append(row)
        except RecordError as error:
            assert run.path is not None
            bad.append((run.path, error.message))
    rows, copies = [], []
    for run_id, found in records.items():
        ended = [row for row in found if row.run.status.final] or found
        rows.append(([row for row in ended if row.run.path] or ended)[0])
        others = [row.run for row in found if not of_one_sweep(row.run, rows[-1].run)]
        copies += [f"{run_id} ({run.path or run.table})" for run in others[-1:]]
    more = " ..." if len(copies) > 3 else ""
    note = f"found more than once and counted once: {', '.join(copies[:3])}{more}"
    shares = [row for row in rows if of_a_batch(row.values) and row.values.get("seconds") is not None]
    said = (
        f"seconds of {len(shares)} rows are left out: their records, of an older version, hold a share of the batch's"
    )
    rows = [replace(row, values={**row.values, "seconds": None}) if row in shares else row for row in rows]
    return rows, bad, (*([note] if copies else []), *([said] if shares else []))


def of_one_sweep(one: Run, other: Run) -> bool:
    """Whether they are the same record, or a folder and a row of one sweep."""
    if (one.path is None) == (other.path is None):
        return one is other
    return (one.path or one.table or Path()).parent == (other.path or other.table or Path()).parent


def plain_compare(
    read: tuple[list[Row], list[tuple[Path, str]], tuple[str, ...]],
    filters: Sequence[str] = (),
    group_by: Sequence[str] | None = None,
) -> tuple[list[PlainGroup], list[str], list[tuple[Path, str]], tuple[str, ...], pd.DataFrame]:
    """Of `plain_rows`: groups as `compare` orders them, differing settings, what is unreadable, notes, a row a run."""
    rows, bad, notes = read
    known = list(dict.fromkeys([*RUN_COLUMNS, *(key for row in rows for key in row.values)]))
    for filter_ in filters:
        key, test = predicate(filter_, known)
        rows = [row for row in rows if test(row.values.get(key))]
    by = None if group_by is None else [resolve_key(name, known) for name in group_by]
    found, differing = groups(rows, by)
    found.sort(key=lambda group: (group.problem, rank(group), group.label))
    values = [{"problem": g.problem, "configuration": g.label, **row.values} for g in found for row in g.rows]
    keys = dict.fromkeys(["problem", "configuration", *RUN_COLUMNS, *(key for row in values for key in row)])
    return found, differing, bad, notes, pd.DataFrame([{key: row.get(key) for key in keys} for row in values])


def groups(rows: Sequence[Row], by: Sequence[str] | None) -> tuple[list[PlainGroup], list[str]]:
    names = labels.problem_names(rows)
    by_problem: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        by_problem[row.problem_key].append(row)
    found: list[PlainGroup] = []
    differing: dict[str, None] = {}
    for problem, members in by_problem.items():
        key_of, label_of, keys = labelling(members, by)
        differing.update(dict.fromkeys(keys))
        configurations: dict[Hashable, list[Row]] = defaultdict(list)
        for row in members:
            configurations[key_of(row)].append(row)
        made = [group(names[problem], label_of(m[0]), keys, m) for m in configurations.values()]
        to_target = stop_at_target(members)
        made = [replace(g, to_target=to_target) for g in made]
        measured = [
            to_target,
            *(any(g.statistics[name] for g in made) for name in ("best_val_accuracy", "best_val_loss")),
        ]
        criterion = [*measured, True].index(True)
        top = min(rank(g)[criterion] for g in made)
        found += [replace(g, best=rank(g)[criterion] == top < math.inf) for g in made]
    return found, [key for key in differing if key not in IDENTITY]


def labelling(
    rows: Sequence[Row], by: Sequence[str] | None
) -> tuple[Callable[[Row], Hashable], Callable[[Row], str], list[str]]:
    if by is None:
        names, keys = labels.configuration_names(rows)
        return lambda row: row.configuration_key, lambda row: names[row.configuration_key], keys
    short = labels.short_names(by)

    def label(row: Row) -> str:
        values = {k: labels.text(row.values.get(k)) for k in by}
        return " ".join(v if k in IDENTITY else f"{short[k]}={v}" for k, v in values.items())

    return lambda row: tuple(row.values.get(k) for k in by), label, list(by)


def group(problem: str, label: str, keys: Sequence[str], rows: Sequence[Row]) -> PlainGroup:
    def common(key: str) -> Any:
        values = {row.values.get(key) for row in rows}
        return values.pop() if len(values) == 1 else None

    counts = Counter(row.run.status for row in rows)
    shared = {key: common(key) for key in (*IDENTITY, *keys)}
    return PlainGroup(problem, label, shared, rows, {str(s): counts[s] for s in Status}, statistics(rows), stops(rows))


def stop_at_target(rows: Sequence[Row]) -> bool:
    """Whether all runs of a problem have a target and some stopped at it."""
    aims = ("target", "trainer.target", "trainer.target_accuracy", "trainer.target_val_loss")
    aimed = [any(row.values.get(name) is not None for name in aims) for row in rows]
    return all(aimed) and any(row.run.status is Status.TARGET_REACHED for row in rows)


def rank(one: PlainGroup) -> tuple[float, float, float, float]:
    accuracy, steps = (one.statistics[name] for name in ("best_val_accuracy", "steps_to_target"))
    held_out, loss = (one.statistics[name] for name in ("best_val_loss", "final_loss"))
    return (
        steps.value if steps and one.to_target else math.inf,
        -accuracy.value if accuracy else math.inf,
        held_out.value if held_out else math.inf,
        loss.value if loss else math.inf,
    )


def median(values: Sequence[float]) -> Estimate | None:
    """By sorting."""
    if not values:
        return None
    ordered, n = sorted(map(float, values)), len(values)
    k, coverage = metrics.estimates._median_rank(n, 0.95)
    left, right = ordered[(n - 1) // 2], ordered[n // 2]
    finite = math.isfinite(left) and math.isfinite(right)
    middle = float((Fraction(left) + Fraction(right)) / 2) if finite else left / 2 + right / 2
    return Estimate(middle, ordered[k - 1], ordered[n - k], coverage) if n > 1 else Estimate(middle)


def statistics(rows: Sequence[Row]) -> dict[str, Estimate | None]:
    def results(column: str, worst: float) -> list[float]:
        bad = {Status.DIVERGED, Status.FAILED, Status.INTERRUPTED, Status.SKIPPED}
        values = [(row.values.get(column), row.run.status in bad) for row in rows]
        return [worst if value is None or math.isnan(value) or none else value for value, none in values]

    def given(column: str) -> list[float]:
        return [v for row in rows if (v := row.values.get(column)) is not None]

    targets = ("target", "trainer.target", "trainer.target_accuracy", "trainer.target_val_loss")
    aimed = [row for row in rows if any(row.values.get(key) is not None for key in targets)]
    timed = [row.values for row in rows if clocked(row.values)]
    shared = [row.values for row in rows if not of_a_batch(row.values)]
    places = {values.get("device") for values in shared} - {None}
    found = {
        "final_loss": median(results("final_loss", math.inf)),
        "best_loss": median(results("best_loss", math.inf)),
        **{
            name: median(results(name, -math.inf)) if given(name) else None
            for name in ("best_val_accuracy", "val_accuracy")
        },
        **{name: median(results(name, math.inf)) if given(name) else None for name in ("best_val_loss", "val_loss")},
        **{name: median(given(name)) for name in ("steps", "evals", "gradients", "hessian_products")},
        "seconds": median([values["seconds"] for values in timed]) if len(places) < 2 else None,
        **{
            f"seconds_per_{name}": median([v["seconds"] / v[column] for v in timed if v.get(column)])
            if len(places) < 2
            else None
            for name, column in (("update", "steps"), ("epoch", "epochs"))
        },
        **dict.fromkeys(("steps_to_target", "success_rate", "ert")),
    }
    if aimed:
        hits = [row.values.get("steps_to_target") for row in aimed]
        spent = [(row.values.get("steps") or 0) if hit is None else hit for row, hit in zip(aimed, hits, strict=True)]
        reached = sum(hit is not None for hit in hits)
        found["steps_to_target"] = median([math.inf if hit is None else hit for hit in hits])
        found["success_rate"] = metrics.success_rate(reached, len(hits))
        found["ert"] = Estimate(sum(spent) / reached if reached else math.inf)
    return found


def clocked(values: Mapping[str, Any]) -> bool:
    """Whether a run was timed by itself."""
    return values.get("seconds") is not None and not of_a_batch(values)


def of_a_batch(values: Mapping[str, Any]) -> bool:
    """Whether a run was a row of a batch."""
    return values.get("seconds_of") == "batch" or values.get("engine") in ("eager", "fused", "fused+eager")


def stops(rows: Sequence[Row]) -> dict[str, int] | None:
    def place(row: Row) -> str:
        if (point := row.values.get("stopped_at")) is not None:
            return str(point)
        if row.run.status in NO_POINT:
            return str(row.run.status)
        return UNKNOWN if row.values.get("lambda_min") is None else ELSEWHERE

    ended = [row.values for row in rows if row.run.status not in NO_POINT]
    surface = all(row.values.get("data") in (None, "none") for row in rows)
    if not surface or (ended and all(v.get("stopped_at") is None and v.get("lambda_min") is None for v in ended)):
        return None
    counts = Counter(map(place, rows))
    points = sorted((name for name in counts if name not in NO_POINT), key=lambda name: (-counts[name], name))
    return {name: counts[name] for name in (*points, *(name for name in NO_POINT if counts[name]))}
