"""Every run once, and what a reader must know of them: copies, planned runs that are missing, incomplete records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from optbench.records.columns import Ints
from optbench.records.sources import USUAL_LENGTH, Folders, Source, keys_of, mixed
from optbench.records.sweep_plan import SweepPlan
from optbench.records.vocabulary import Status
from optbench.records.walk import Plans


class _Record(NamedTuple):
    """One record of a run that has others; `at` is its number, counted through all sources."""

    at: int
    place: str
    folder: Path
    label: str
    in_table: bool
    final: bool


def each_once(sources: Sequence[Source]) -> tuple[Ints | None, tuple[str, ...]]:
    """The records that count, by number, in the order of the runs' first records; and a note on the others.

    The rule is that of `table.read`; what is not believed takes no part. None: all count.
    """
    keys = np.concatenate([np.zeros(0, dtype=np.uint64), *(source.keys() for source in sources)])
    starts = np.cumsum([0, *(source.size for source in sources)]).tolist()
    out = np.zeros(len(keys), dtype=np.bool_)
    out[[start + i for start, source in zip(starts, sources, strict=False) for i in source.why]] = True
    ordered = np.sort(keys)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(again) and not out.any():
        return None, ()
    order, several = np.arange(len(keys)), np.flatnonzero(np.isin(keys, again) & ~out)
    out[several] = True
    copies: list[str] = []
    for run_id, found in _records(sources, several).items():
        counts = min(found, key=lambda one: (not one.final, one.in_table))
        order[found[0].at], out[found[0].at] = counts.at, False
        copies += [f"{run_id} ({one.label})" for one in found if _is_copy(one, counts)][-1:]
    if not copies:
        return order[~out], ()
    more = " ..." if len(copies) > 3 else ""
    return order[~out], (f"found more than once and counted once: {', '.join(copies[:3])}{more}",)


def _is_copy(one: _Record, counts: _Record) -> bool:
    """Whether it is worth a note; a sweep's row for a folder beside it is not."""
    return one is not counts and (one.folder != counts.folder or one.in_table == counts.in_table)


def _records(sources: Sequence[Source], several: Ints) -> dict[str, list[_Record]]:
    found: dict[str, list[_Record]] = {}
    starts = np.cumsum([0, *(source.size for source in sources)])
    whose = np.searchsorted(starts, several, side="right") - 1
    for number in np.unique(whose).tolist():
        source = sources[number]
        ids, status = source.column("run_id"), source.column("status")
        for at in several[whose == number].tolist():
            i = at - int(starts[number])
            final = Status(status.values[status.codes[i]]).final
            place, folder, label = source.place(i)
            own = found.setdefault(ids.values[ids.codes[i]], [])
            if all(other.place != place for other in own):  # else reached twice
                own.append(_Record(at, place, folder, label, not isinstance(source, Folders), final))
    return found


def notes_of(sources: Sequence[Source], plans: Plans) -> Iterator[str]:
    """Which planned runs are missing, and which files of records, a sentence each."""
    for folder, members in plans:
        yield from _unmade(sources, folder, members)
    found = [line for source in sources if isinstance(source, Folders) for line in source.missing()]
    if found:
        more = f", ... and {len(found) - 3} more" if len(found) > 3 else ""
        yield f"incomplete: {', '.join(found[:3])}{more}; the same command makes it again"


def _unmade(sources: Sequence[Source], folder: Path, plans: Sequence[SweepPlan]) -> Iterator[str]:
    found = np.concatenate([np.zeros(0, dtype=np.uint64), *(source.keys_in(folder) for source in sources)])
    for plan in plans:
        wanted = _planned(plan.run_ids)
        if len(wanted) == len(found) and wanted.sum() == found.sum():  # the usual case, and a million rows
            continue
        absent = np.flatnonzero(~np.isin(wanted, found))
        if len(absent):
            first = ", ".join(plan.run_ids[13 * at : 13 * at + 12] for at in absent[:3].tolist())
            torn = not (folder / "runs.parquet").exists() and (folder / "curves.parquet").exists()
            yield (
                f"{folder} lacks {len(absent)} of the {len(wanted)} runs that were planned ({first}"
                f"{', ...' if len(absent) > 3 else ''}){', its runs.parquet is missing' if torn else ''}; "
                f"this command makes them: {plan.command(folder)}"
            )
    table, curves = folder / "runs.parquet", folder / "curves.parquet"
    if table.exists() and not curves.exists() and any(plan.curves for plan in plans):
        yield f"{curves} is missing, and with it the curves of rows; the same command makes it again"


def _planned(run_ids: str) -> npt.NDArray[np.uint64]:
    """The keys of run_ids that are joined by blanks."""
    raw = np.frombuffer(f"{run_ids} ".encode(), np.uint8)
    if len(raw) % (USUAL_LENGTH + 1):
        return keys_of(run_ids.split())
    return mixed(raw.reshape(-1, USUAL_LENGTH + 1)[:, :USUAL_LENGTH])
