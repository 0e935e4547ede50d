"""From paths to rows: every run once, and the rows that the filters leave."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from optbench.comparison.bulk import Rows
from optbench.comparison.parts import FolderPart, ListPart, Part, TablePart
from optbench.comparison.rows import predicate, read_row
from optbench.errors import UserError
from optbench.records import RUN_COLUMNS, Folders, Status, TableColumns, Unreadable
from optbench.records import Rows as RunsOfTable
from optbench.records.columns import USUAL_LENGTH
from optbench.records.walk import Plans, find_planned


def load(paths: Sequence[Path]) -> tuple[Rows, list[Unreadable], tuple[str, ...]]:
    """The rows of every run under the paths, what could not be read, and what a reader must know, a sentence each.

    A run that was found more than once is one run: the same run_id is the same computation, and a copy is no further
    evidence. One that ended beats one that did not; in one sweep's folder, its folder beats its row.

    Raises:
        RecordError: a path that does not exist.
    """
    found, unreadable, plans = find_planned(paths)
    sources = [_Source.of(part) for part in found]
    sizes = [source.part.size for source in sources]
    which = np.repeat(np.arange(len(sources), dtype=np.int32), sizes)
    index = np.concatenate([np.arange(size) for size in sizes]) if sizes else np.zeros(0, dtype=np.int64)
    order, note = _each_once(sources, which, index)
    which, index = which[order], index[order]
    kept = np.ones(len(index), dtype=bool)
    for number, source in enumerate(sources):
        if isinstance(source.found, Folders) and source.found.why:
            for at in np.flatnonzero(which == number).tolist():
                if (why := source.found.why.get(int(index[at]))) is not None:
                    kept[at] = False
                    unreadable.append(Unreadable(Path(source.found.paths[index[at]]), why))
    notes = (*note, *_missing(plans, sources), *_incomplete(sources))
    return Rows([source.part for source in sources], which[kept], index[kept]), unreadable, notes


def _missing(plans: Plans, sources: Sequence[_Source]) -> Iterator[str]:
    """What sweeps planned and their folders do not have, a sentence each."""
    for folder, members in plans:
        keys = [source.keys_in(folder) for source in sources]
        found = np.concatenate(keys) if keys else np.zeros(0, dtype=np.uint64)
        for plan in members:
            wanted = _keys_of(plan.run_ids)
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
        if table.exists() and not curves.exists() and any(plan.curves for plan in members):
            yield f"{curves} is missing, and with it the curves of rows; made again by the same command"


def _incomplete(sources: Sequence[_Source]) -> Iterator[str]:
    """Runs of which a part is gone that their records name."""
    found = [
        f"{folder} lacks {name}"
        for source in sources
        if isinstance(source.found, Folders)
        for i, folder in enumerate(source.found.paths)
        for name in source.found.parts(i)
        if not os.path.isfile(f"{folder}/{name}")
    ]
    if found:
        more = f", ... and {len(found) - 3} more" if len(found) > 3 else ""
        yield f"not whole: {', '.join(found[:3])}{more}; made again by the same command"


def _keys_of(run_ids: str) -> npt.NDArray[np.uint64]:
    """The keys of run_ids that are joined by blanks."""
    raw = np.frombuffer(f"{run_ids} ".encode(), np.uint8)
    if len(raw) % (USUAL_LENGTH + 1):
        return np.array([_number(one.encode()) for one in run_ids.split()], dtype=np.uint64)
    return _mixed(raw.reshape(-1, USUAL_LENGTH + 1)[:, :USUAL_LENGTH])


def nothing(paths: Sequence[Path | str], unreadable: Sequence[Unreadable]) -> UserError:
    """What to tell who gave paths without a single run."""
    if unreadable:
        more = f" (and {len(unreadable) - 1} more like it)" if len(unreadable) > 1 else ""
        return UserError(f"no run can be read: {unreadable[0].why}{more}", "run it again, or give other folders")
    names = ", ".join(map(str, paths[:3])) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
    return UserError(f"no runs under {names}", "`optbench run` and `optbench sweep` make some")


@dataclass(frozen=True)
class _Source:
    """A part and where it came from."""

    found: Folders | TableColumns | RunsOfTable
    part: Part

    @classmethod
    def of(cls, found: Folders | TableColumns | RunsOfTable) -> _Source:
        if isinstance(found, Folders):
            return cls(found, FolderPart(found))
        if isinstance(found, TableColumns):
            return cls(found, TablePart(found))
        return cls(found, ListPart([read_row(run) for run in found.runs]))

    def run_ids(self) -> list[str]:
        """Of all rows."""
        if isinstance(self.found, TableColumns):
            ids: list[str] = self.found.run_ids().to_pylist()
            return ids
        codes, values = self.part.encoded("run_id")
        return [values[code] for code in codes.tolist()]

    def keys_in(self, folder: Path) -> npt.NDArray[np.uint64]:
        """The keys of the runs that are in a sweep's folder, as rows or as folders right below it."""
        if not isinstance(self.found, Folders):
            return self.keys() if self.found.path.parent == folder else np.zeros(0, dtype=np.uint64)
        start = len(os.path.join(folder, ""))
        below = [i for i, path in enumerate(self.found.paths) if path.startswith(os.path.join(folder, ""))]
        below = [i for i in below if os.sep not in self.found.paths[i][start:] and i not in self.found.why]
        return self.keys()[below]

    def keys(self) -> npt.NDArray[np.uint64]:
        """A number for each run_id, (size,): equal for equal ones, and seldom for others."""
        if isinstance(self.found, TableColumns) and (table := self.found.run_ids_as_bytes()) is not None:
            return _mixed(table)
        raw = [one.encode("utf-8", "surrogatepass") for one in self.run_ids()]
        if all(len(one) == USUAL_LENGTH for one in raw):
            return _mixed(np.frombuffer(b"".join(raw), np.uint8).reshape(-1, USUAL_LENGTH))
        return np.array([_number(one) for one in raw], dtype=np.uint64)


def _number(raw: bytes) -> int:
    if len(raw) != USUAL_LENGTH:
        return hash(raw) & (2**64 - 1)
    return int(_mixed(np.frombuffer(raw, np.uint8)[None])[0])


def _mixed(signs: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """A number for each row of 12 bytes: (n, 12) -> (n,)."""
    head = np.ascontiguousarray(signs[:, :8]).view(np.uint64)[:, 0]
    tail = np.ascontiguousarray(signs[:, 8:]).view(np.uint32)[:, 0]
    return head * np.uint64(0x9E3779B97F4A7C15) + tail


@dataclass(frozen=True)
class _Record:
    """One record of a run that may have others."""

    at: int
    run_id: str
    folder: Path
    in_table: bool
    final: bool
    label: str


def _each_once(
    sources: Sequence[_Source], which: npt.NDArray[np.int32], index: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """The positions of the records that count, in the order of the runs' first records; and a note on the others."""
    order = np.arange(len(which))
    if not len(order):
        return order, ()
    keys = np.concatenate([source.keys() for source in sources])
    ordered = np.sort(keys)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(again):
        return order, ()
    several = np.flatnonzero(np.isin(keys, again))
    records = _one_record_a_sweep(_records(sources, which[several], index[several], several.tolist()))
    kept: dict[str, _Record] = {}  # the same run_id is the same computation
    copies: dict[str, _Record] = {}
    place: dict[str, int] = {}
    for at, record in records:
        other = kept.setdefault(record.run_id, record)
        place.setdefault(record.run_id, at)
        if other is record:
            continue
        better, worse = (record, other) if record.final and not other.final else (other, record)
        kept[record.run_id], copies[record.run_id] = better, worse
    out = np.zeros(len(order), dtype=bool)
    out[several] = True
    for run_id, record in kept.items():
        order[place[run_id]] = record.at
        out[place[run_id]] = False
    return order[~out], _note(copies)


def _note(copies: dict[str, _Record]) -> tuple[str, ...]:
    if not copies:
        return ()
    names = ", ".join(f"{run_id} ({record.label})" for run_id, record in list(copies.items())[:3])
    return (f"found more than once and counted once: {names}{' ...' if len(copies) > 3 else ''}",)


def _records(
    sources: Sequence[_Source], which: npt.NDArray[np.int32], index: npt.NDArray[np.int64], at: Sequence[int]
) -> list[tuple[int, _Record]]:
    """The records at some positions, by position; of one run in one place the last record, where the first was."""
    facts = {}
    for number in np.unique(which).tolist():
        codes, statuses = sources[number].part.encoded("status")
        final = [status is not None and Status(status).final for status in statuses]
        facts[number] = sources[number].run_ids(), codes, final
    found: dict[tuple[str, str], tuple[int, _Record]] = {}
    for position, number, i in zip(at, which.tolist(), index.tolist(), strict=True):
        ids, codes, final = facts[number]
        source = sources[number].found
        if isinstance(source, Folders):
            path, place = Path(source.paths[i]), source.places[i]
            folder, label = path.parent, str(path)
        else:
            place = os.path.realpath(source.path)
            folder, label = source.path.parent, str(source.path.with_name("curves.parquet"))
        record = _Record(position, ids[i], folder, not isinstance(source, Folders), final[codes[i]], label)
        first, _ = found.get((place, ids[i]), (position, record))
        found[place, ids[i]] = first, record
    return list(found.values())


def _one_record_a_sweep(records: Sequence[tuple[int, _Record]]) -> list[tuple[int, _Record]]:
    """Without a sweep's row of a run that has a folder beside it, or without the folder if only the row ended."""
    beside = {(r.folder, r.run_id): r for _, r in records if not r.in_table}
    left_out = set()
    for _, row in records:
        folder = beside.get((row.folder, row.run_id)) if row.in_table else None
        if folder is not None:
            left_out.add(folder.at if row.final and not folder.final else row.at)
    return [(at, record) for at, record in records if record.at not in left_out]


def select(rows: Rows, filters: Sequence[str]) -> Rows:
    """The rows that pass every filter, see `rows.predicate`.

    Raises:
        UserError: a filter that cannot be read, an unknown key, or no row left.
    """
    if not filters:
        return rows
    known = known_keys(rows)
    for filter_ in filters:
        key, test = predicate(filter_, known)
        passed = rows.take(rows.where(key, test))
        if not len(passed):
            values = sorted({str(value) for value in rows.different(key)})
            offer = f"{key} is {', '.join(values[:8])}{' ...' if len(values) > 8 else ''}"
            raise UserError(f"no run is left after filter {filter_!r} ({len(rows)} before it)", offer)
        rows = passed
    return rows


def known_keys(rows: Rows) -> list[str]:
    """Every key that a filter or a grouping may name: the documented columns and what the rows have."""
    return list(dict.fromkeys([*RUN_COLUMNS, *rows.names()]))
