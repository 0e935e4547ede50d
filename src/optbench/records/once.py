"""Every run once, and what a reader must know of them: copies, what was planned and is not there, what is not whole."""

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
    """One record of a run that may have others; `at` is its number, counted through all sources."""

    at: int
    run_id: str
    place: str
    folder: Path
    label: str
    in_table: bool
    final: bool


def each_once(sources: Sequence[Source]) -> tuple[Ints | None, tuple[str, ...]]:
    """The records that count, by number, in the order of the runs' first records; and a note on the others.

    The rule is that of `table.read`. None: every run has one record.
    """
    keys = np.concatenate([np.zeros(0, dtype=np.uint64), *(source.keys() for source in sources)])
    ordered = np.sort(keys)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(again):
        return None, ()
    several = np.flatnonzero(np.isin(keys, again))
    order, out = np.arange(len(keys)), np.zeros(len(keys), dtype=bool)
    out[several] = True
    kept: dict[str, _Record] = {}
    copies: dict[str, _Record] = {}
    place: dict[str, int] = {}
    for first, record in _one_a_sweep(_one_a_place(_records(sources, several))):
        other = kept.setdefault(record.run_id, record)
        place.setdefault(record.run_id, first)
        if other is not record:
            better, worse = (record, other) if record.final and not other.final else (other, record)
            kept[record.run_id], copies[record.run_id] = better, worse
    for run_id, record in kept.items():
        order[place[run_id]] = record.at
        out[place[run_id]] = False
    return order[~out], _note(copies)


def _note(copies: dict[str, _Record]) -> tuple[str, ...]:
    if not copies:
        return ()
    names = ", ".join(f"{run_id} ({record.label})" for run_id, record in list(copies.items())[:3])
    return (f"found more than once and counted once: {names}{' ...' if len(copies) > 3 else ''}",)


def _records(sources: Sequence[Source], several: Ints) -> Iterator[_Record]:
    starts = np.cumsum([0, *(source.size for source in sources)])
    whose = np.searchsorted(starts, several, side="right") - 1
    for number in np.unique(whose).tolist():
        source, own = sources[number], several[whose == number]
        ids, status = source.column("run_id"), source.column("status")
        for at in own.tolist():
            i = at - int(starts[number])
            final = Status(status.values[status.codes[i]]).final
            place, folder, label = source.place(i)
            in_table = not isinstance(source, Folders)
            yield _Record(at, ids.values[ids.codes[i]], place, folder, label, in_table, final)


def _one_a_place(records: Iterator[_Record]) -> list[tuple[int, _Record]]:
    """Of one run in one place, reached twice, the last record, where the first was."""
    found: dict[tuple[str, str], tuple[int, _Record]] = {}
    for record in records:
        first, _ = found.get((record.place, record.run_id), (record.at, record))
        found[record.place, record.run_id] = first, record
    return list(found.values())


def _one_a_sweep(records: Sequence[tuple[int, _Record]]) -> list[tuple[int, _Record]]:
    """Without a sweep's row of a run that has a folder beside it, or without the folder if only the row ended."""
    beside = {(r.folder, r.run_id): r for _, r in records if not r.in_table}
    left_out = set()
    for _, row in records:
        folder = beside.get((row.folder, row.run_id)) if row.in_table else None
        if folder is not None:
            left_out.add(folder.at if row.final and not folder.final else row.at)
    return [(at, record) for at, record in records if record.at not in left_out]


def notes_of(sources: Sequence[Source], plans: Plans) -> Iterator[str]:
    """What sweeps planned and is not there, and what of a record is gone, a sentence each."""
    for folder, members in plans:
        yield from _unmade(sources, folder, members)
    found = [line for source in sources if isinstance(source, Folders) for line in source.missing()]
    if found:
        more = f", ... and {len(found) - 3} more" if len(found) > 3 else ""
        yield f"not whole: {', '.join(found[:3])}{more}; made again by the same command"


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
                f"made by the same command: {plan.command}"
            )
    table, curves = folder / "runs.parquet", folder / "curves.parquet"
    if table.exists() and not curves.exists() and any(plan.curves for plan in plans):
        yield f"{curves} is missing, and with it the curves of rows; made again by the same command"


def _planned(run_ids: str) -> npt.NDArray[np.uint64]:
    """The keys of run_ids that are joined by blanks."""
    raw = np.frombuffer(f"{run_ids} ".encode(), np.uint8)
    if len(raw) % (USUAL_LENGTH + 1):
        return keys_of(run_ids.split())
    return mixed(raw.reshape(-1, USUAL_LENGTH + 1)[:, :USUAL_LENGTH])
