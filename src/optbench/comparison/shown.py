"""Which runs a figure shows: those that have a curve, no more than the eye can tell apart, and the name of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optbench.comparison.facts import alike
from optbench.comparison.filters import nothing, select
from optbench.comparison.labels import named_rows, without_common
from optbench.errors import UserError
from optbench.records import Run, Unreadable, read
from optbench.records.columns import Ints


@dataclass(frozen=True)
class Drawn:
    """What a figure shows of some runs.

    Attributes:
        runs: to draw.
        labels: of each, what tells it from all that were found, drawn or not.
        problems: the name of each one's problem; empty where all that were found have the same.
        configurations: of each, what tells it from all that were found of its problem.
        found, with_curve: number of runs that were found, and of those that have a curve.
        unreadable: folders and tables that looked like results and could not be read.
        notes: what a reader must know, one sentence each.
        left_out: what a figure of the runs does not show, to stand in it; empty where it shows every run.
    """

    runs: list[Run]
    labels: list[str]
    problems: list[str]
    configurations: list[str]
    found: int
    with_curve: int
    unreadable: tuple[Unreadable, ...]
    notes: tuple[str, ...] = ()
    left_out: str = ""


def drawn(paths: Sequence[Path], filters: Sequence[str], most: int, prefer: str | None = None) -> Drawn:
    """The runs under the paths that a figure shows: as many of each label as of the others, the first ones.

    Args:
        paths: as `compare` has them.
        filters: which runs take part, see `filters.select`.
        most: runs to draw at most.
        prefer: a setting; where some runs have it, the others are left out.

    Raises:
        UserError: no run found or left, or none that has a curve.
        RecordError: a path that does not exist, a table of curves that cannot be read.
    """
    found = read(paths)
    if not len(found):
        raise nothing(paths, found.unreadable)
    found = select(found, filters)
    curved = found.has_curve()
    if not curved.any():
        folders = bool(found.present("path").all())
        raise UserError(
            f"no curve was recorded of {'this run' if len(found) == 1 else f'these {len(found)} runs'}",
            "a curve is metrics.csv in the run's folder"
            if folders
            else "a sweep keeps those of some rows of a batch: the same `optbench sweep` with --curves N records N",
        )
    if prefer is not None and (has := found.present(prefer) & curved).any():
        curved = has
    codes, facts, by_last = alike(found)
    facts = without_common(facts, ())
    parts = named_rows([*facts, *(facts[kind] for kind in by_last)])[: len(facts)]  # as `form_groups` has them
    names = [f"{problem}: {name}" if problem else name for problem, name in parts]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    at = np.flatnonzero(curved)
    chosen = at[_spread(np.array([numbers[name] for name in names])[codes[at]], most)]
    kinds = codes[chosen].tolist()
    labels = [names[kind] for kind in kinds]
    with_curve = {names[kind] for kind in np.unique(codes[at]).tolist()}
    left_out = _left_out(len(chosen), len(found), list(dict.fromkeys(names)), with_curve, set(labels))
    runs = found.take(chosen).runs()
    problems, configurations = [parts[kind][0] for kind in kinds], [parts[kind][1] for kind in kinds]
    return Drawn(runs, labels, problems, configurations, len(found), len(at), found.unreadable, found.notes, left_out)


_MOST_NAMES = 6


def _left_out(drawn: int, found: int, names: Sequence[str], with_curve: set[str], labels: set[str]) -> str:
    """What is not in a figure: how many runs, and which configurations, by name."""
    if drawn == found:
        return ""
    lines = [f"{drawn} of {found} runs are drawn"]
    for why, those in (
        ("without a recorded curve", [name for name in names if name not in with_curve]),
        ("left out by --curves", [name for name in names if name in with_curve and name not in labels]),
    ):
        if those:
            more = f", and {len(those) - _MOST_NAMES} more" if len(those) > _MOST_NAMES else ""
            lines.append(f"{len(those)} of {len(names)} configurations {why}: {'; '.join(those[:_MOST_NAMES])}{more}")
    return "\n".join(lines)


def _spread(codes: Ints, most: int) -> Ints:
    """At most so many positions, ascending, in turns of each code; of a code, the first ones."""
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    turn = np.empty(len(codes), dtype=np.int64)
    turn[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(np.argsort(turn, kind="stable")[:most])
