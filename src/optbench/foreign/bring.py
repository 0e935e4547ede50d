"""From logs to records: all is read and checked before the first record is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optbench.errors import RecordError, UserError
from optbench.foreign.columns import columns_of, of_settings
from optbench.foreign.find import logs
from optbench.foreign.log import Log
from optbench.foreign.record import Understood, configuration, curve_of, folder_name, write
from optbench.foreign.settings import UNNAMED, configured
from optbench.foreign.tables import listed
from optbench.records import check_place, flatten, locked, read_json


@dataclass(frozen=True)
class Wishes:
    """How logs are to be read.

    Attributes:
        kind: which tool wrote them; None: as is found.
        columns: of curves, and settings, to what they are called in logs.
        config: hyperparameters that the user says.
        seed_from: the hyperparameter that is the seed, or "name".
        ignored: hyperparameters that tell no configurations apart.
        apart: columns that tell the runs of a CSV file apart.
        percent: whether accuracies are from 0 to 100.
    """

    kind: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    seed_from: str | None = None
    ignored: Sequence[str] = ()
    apart: Sequence[str] = ()
    percent: bool = False


@dataclass(frozen=True)
class Brought:
    """What was imported.

    Attributes:
        folders: of the records.
        again: number of those that lay there before and were written anew.
        kinds: which tools' logs they were.
        columns: of curves to those of the logs.
        settings: where a setting stands now to what it was called.
        unused: columns of the logs that were not read.
        notes: what a reader must know, a sentence each.
    """

    folders: list[Path]
    again: int
    kinds: list[str]
    columns: dict[str, list[str]]
    settings: dict[str, list[str]]
    unused: list[str]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return dict(vars(self))


def bring(sources: Sequence[Path], out: Path, wishes: Wishes | None = None) -> Brought:
    """Reads the logs below some paths and writes a record of each run below `out`.

    A log that was imported before is written over its own record, also where it is read in another way now.

    Raises:
        UserError: nothing to read, or a column, seed or setting that is missing.
        RecordError: a log that cannot be read.
        OutputError: a record that cannot be written.
    """
    wishes = wishes or Wishes()
    check_place(out, folder=True)
    found = logs(sources, wishes.kind, wishes.apart)
    _check_used(found, wishes)
    read = [_read(log, wishes) for log in found]
    _check_apart(found)
    before = sum((out / folder_name(one.log) / "run.json").exists() for one in read)
    with locked(out):
        folders = [write(out, one) for one in read]
    return Brought(
        folders,
        before,
        list(dict.fromkeys(one.log.kind for one in read)),
        _gathered([one.columns for one in read]),
        _gathered([one.told.places for one in read]),
        list(dict.fromkeys(name for one in read for name in one.unused)),
        [*_notes(read), *_left_over(out, folders, [one.log for one in read])],
    )


def _read(log: Log, wishes: Wishes) -> Understood:
    named = of_settings(log, wishes.columns, flatten(dict(log.settings)))
    columns = columns_of(log, {name: own for name, own in wishes.columns.items() if name not in named})
    told = configured(log, wishes.config, wishes.seed_from, wishes.ignored, named)
    return Understood(log, columns, curve_of(log, columns, wishes.percent), told, configuration(log, told))


def _check_used(found: Sequence[Log], wishes: Wishes) -> None:
    """A wish that concerns none of the logs is a slip."""
    if wishes.apart and not any(log.kind == "csv" for log in found):
        raise UserError(f"--by {','.join(wishes.apart)} is for CSV files; these are logs of {found[0].kind}")
    there = dict.fromkeys(name for log in found for name in flatten(dict(log.settings)))
    missing = [name for name in wishes.ignored if name not in there]
    if missing:
        raise UserError(f"--ignore {','.join(missing)}: no such setting", f"there are: {listed(list(there)) or 'none'}")


def _check_apart(read: Sequence[Log]) -> None:
    """Two logs of one key are one run twice, or runs that nothing tells apart."""
    seen: dict[str, Log] = {}
    for log in read:
        other = seen.setdefault(log.key, log)
        if other is not log:
            raise UserError(
                f"{log} and {other} are the same run, or nothing tells them apart", "name one of them alone"
            )


def _gathered(read: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for one in read:
        for name, was in one.items():
            found.setdefault(name, {})[was] = None
    return {name: list(was) for name, was in found.items()}


def _notes(read: Sequence[Understood]) -> list[str]:
    notes = []
    for group in UNNAMED:
        n = sum(one.told.choices[group] is None for one in read)
        if n:
            notes.append(f"{_runs(n)} named no {group}: --config {group}=NAME says which")
    n = sum(one.told.seed is None for one in read)
    if n:
        what = "it has a number of its own, and is" if n == 1 else "each has a number of its own, and none is"
        notes.append(f"{_runs(n)} told no seed: {what} compared seed by seed{' with none' * (n == 1)};"
                     " --seed-from SETTING says which it is")  # fmt: skip
    replaced = [one.log for one in read if one.curve.replaced]
    if replaced:
        where = listed([str(log) for log in replaced[:2]])
        notes.append(f"some steps were logged several times, the last value stands: {where}")
    return notes


def _left_over(out: Path, folders: Sequence[Path], read: Sequence[Log]) -> list[str]:
    """A note on records of the same files that were not written now: of runs told apart in another way, or gone."""
    sources = {str(path.resolve()) for log in read for path in (log.path, *log.files)}
    others = sorted(set(out.glob("*-log-*/run.json")) - {folder / "run.json" for folder in folders})
    old = [path.parent for path in others if _source(path) in sources]
    if not old:
        return []
    return [f"{len(old)} older record{'s' * (len(old) > 1)} of the same files, told apart in another way, would be "
            f"compared too; remove: {listed([str(path) for path in old])}"]  # fmt: skip


def _source(path: Path) -> str | None:
    try:
        found = read_json(path).get("provenance")
    except RecordError:
        return None
    imported = found.get("imported") if isinstance(found, Mapping) else None
    return imported.get("from") if isinstance(imported, Mapping) else None


def _runs(n: int) -> str:
    return f"{n} run{'s' * (n != 1)}"
