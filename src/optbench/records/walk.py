"""Finding records: everything under some paths that is a run, a table of runs, or looked like one.

One walk over the folders. What the index (`records.index`) knows of a run folder is taken from there if its files are
still those that were read; all else is read, and the index is written anew where that pays.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optbench.errors import RecordError
from optbench.records import sweep_plan
from optbench.records.belief import check_own, sums
from optbench.records.columns import TableColumns
from optbench.records.index import LEAST_RUNS, WORTH, Entry, entry, load, save, settled, stamp
from optbench.records.read import read_parquet, read_text
from optbench.records.run import Run, check_summary, read_summary
from optbench.records.templates import Settings, SettingsReader

_OF_A_RUN = frozenset({"run.json", "config.yaml", "metrics.csv"})


@dataclass(frozen=True)
class Unreadable:
    """A folder or table that looked like results and could not be read."""

    path: Path
    why: str


@dataclass
class Folders:
    """Run folders, as columns of equal length.

    Attributes:
        paths: the folders.
        places: the same with symbolic links resolved: equal for one folder that was reached twice.
        summaries: of each, the object in run.json; of those from the index without its mappings.
        more: of those from the index, the mappings as JSON; of the others empty.
        settings: of each, the dotted keys of config.yaml; the same object for the runs that share them all. None where
            config.yaml cannot be read.
        why: what is wrong with config.yaml, by position.
    """

    paths: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    summaries: list[dict[str, Any]] = field(default_factory=list)
    more: list[str] = field(default_factory=list)
    settings: list[Settings | None] = field(default_factory=list)
    why: dict[int, str] = field(default_factory=dict)

    def run(self, i: int) -> Run:
        """The run in the i-th folder."""
        more = json.loads(self.more[i]) if self.more[i] else {}
        return Run({**self.summaries[i], **more}, Path(self.paths[i]))

    def parts(self, i: int) -> Sequence[str]:
        """The files beside the i-th folder's record that it has checksums of."""
        text = self.more[i]
        if not text:
            return list(sums(self.summaries[i]))
        if '.pt"' in text:  # else a text that is not parsed: there are thousands
            return list(sums(json.loads(text)))
        return ["metrics.csv"] if '"metrics.csv"' in text else []


@dataclass(frozen=True)
class Rows:
    """The runs of a table that is not of the usual types, one by one; `path` is the table's."""

    path: Path
    runs: Sequence[Run]


Part = Folders | TableColumns | Rows


Plans = list[tuple[Path, list[sweep_plan.SweepPlan]]]


def find(paths: Sequence[Path]) -> tuple[list[Part], list[Unreadable]]:
    """Everything under the paths as columns: stretches of run folders and tables in path order, and what is unreadable.

    Args:
        paths: run folders, sweep tables (runs.parquet) or folders of them, at any depth.

    Raises:
        RecordError: a path that does not exist.
    """
    parts, unreadable, _ = find_planned(paths)
    return parts, unreadable


def find_planned(paths: Sequence[Path]) -> tuple[list[Part], list[Unreadable], Plans]:
    """The same, and the folders of the sweeps among them, each with its plans."""
    finder = _Finder(_columns)
    finder.look(paths)
    return finder.parts, finder.unreadable, finder.plans


def _columns(path: Path) -> TableColumns | Rows:
    columns = TableColumns(path)
    return columns if columns.regular() else table_runs(path)


def table_runs(path: Path) -> Rows:
    """The runs of a table one by one. Raises RecordError where it cannot be read, or a row is no run."""
    frame = read_parquet(path)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    runs = [Run({str(k): v for k, v in row.items()}, None, path.with_name("curves.parquet")) for row in rows]
    for run in runs:
        check_summary(run.summary, path)
    return Rows(path, runs)


class _Finder:
    """One walk over some paths."""

    def __init__(self, open_table: Callable[[Path], TableColumns | Rows]) -> None:
        self.parts: list[Part] = []
        self.unreadable: list[Unreadable] = []
        self.plans: Plans = []
        self._open_table = open_table
        self._settings = SettingsReader()
        self._now = time.time()

    def look(self, paths: Sequence[Path]) -> None:
        """Adds what is under the paths. Raises RecordError where there is none."""
        for path in paths:
            if not path.exists():
                raise RecordError(f"{path}: no such file or folder")
            if not path.is_file():
                self._under(path)
            elif path.name == "run.json":
                self._folder(str(path.parent), str(path.parent.resolve()))
            elif path.suffix in (".csv", ".json", ".yaml", ".png", ".txt", ".pt"):
                raise RecordError(f"{path} is neither a folder nor a table", "give the folder that it is in")
            else:
                self._table(path)

    def _under(self, path: Path) -> None:
        known = load(path)
        index: dict[str, Entry] = {}
        stale = self._walk(str(path), str(path.resolve()), known, index)
        if len(index) >= LEAST_RUNS and stale + len(known.keys() - index.keys()) > WORTH * len(index):
            save(path, index)

    def _walk(self, top: str, resolved: str, known: Mapping[str, Entry], index: dict[str, Entry]) -> int:
        """Adds what is under a folder, depth first and by name, and the rows of its index; how many of them are new."""
        stale = 0
        base, true_base = _ending(top), _ending(resolved)
        left = [""]
        while left:
            relative = left.pop()
            row = known.get(relative)
            if row is not None and row.stamp == _stamp(base + relative):
                self._known(base + relative, true_base + relative, row)
                index[relative] = row
                continue
            here, place = (base + relative, true_base + relative) if relative else (top, resolved)
            files, subfolders = (_OF_A_RUN, []) if _is_run(here) else _listing(here)
            if not _OF_A_RUN.isdisjoint(files):
                new = self._folder(here, place)
                if new is not None and relative:
                    index[relative] = new
                    stale += 1
                continue
            if sweep_plan.NAME in files:
                self._plan(Path(here, sweep_plan.NAME))
            if "runs.parquet" in files:
                self._table(Path(here, "runs.parquet"))
            below = [f"{relative}/{name}" if relative else name for name in sorted(subfolders, reverse=True)]
            _announce([base + one for one in below if one not in known])
            left += below
        return stale

    def _add(self, path: str, place: str, summary: dict[str, Any], settings: Settings | None, more: str = "") -> None:
        if not self.parts or not isinstance(self.parts[-1], Folders):
            self.parts.append(Folders())
        part = self.parts[-1]
        assert isinstance(part, Folders)
        part.paths.append(path)
        part.places.append(place)
        part.summaries.append(summary)
        part.more.append(more)
        part.settings.append(settings)

    def _known(self, path: str, place: str, known: Entry) -> None:
        self._add(path, place, json.loads(known.facts), self._settings.of_text(known.settings), known.more)

    def _folder(self, path: str, place: str) -> Entry | None:
        """Reads a run folder; returns its row of the index where it may have one."""
        stamped = _stamp(path)
        try:
            summary = read_summary(path)
        except RecordError as error:
            self.unreadable.append(Unreadable(Path(path), error.message))
            return None
        try:
            config = read_text(f"{path}/config.yaml", "configuration")
            settings, text = self._settings.of_config(config, f"{path}/config.yaml")
        except RecordError as error:
            self._add(path, place, summary, None)
            part = self.parts[-1]
            assert isinstance(part, Folders)
            part.why[len(part.paths) - 1] = error.message
            return None
        try:
            check_own(path, summary, config, lambda: self._settings.flat(config, f"{path}/config.yaml"))
        except RecordError as error:
            self.unreadable.append(Unreadable(Path(path), error.message))
            return None
        self._add(path, place, summary, settings)
        if stamped is None or text is None or not settled(stamped, self._now):
            return None
        return entry(stamped, summary, text)

    def _plan(self, path: Path) -> None:
        try:
            self.plans.append((path.parent, sweep_plan.read_plans(path)))
        except RecordError as error:
            self.unreadable.append(Unreadable(path, error.message))

    def _table(self, path: Path) -> None:
        try:
            self.parts.append(self._open_table(path))
        except RecordError as error:
            self.unreadable.append(Unreadable(path, error.message))


def _ending(folder: str) -> str:
    """The folder as the beginning of a path in it, as pathlib writes it."""
    if folder == ".":
        return ""
    return folder if folder.endswith(os.sep) else folder + os.sep


def _stamp(folder: str) -> str | None:
    try:
        return stamp(folder)
    except OSError:
        return None


_MANY = 100


def _announce(folders: Sequence[str]) -> None:
    """Tells the system which files of many folders will be read, so that it fetches them side by side.

    From a disk, 20,000 small files one after the other took 3.3 s, announced 0.6 s; announcing costs 0.2 s.
    """
    if len(folders) < _MANY or not hasattr(os, "posix_fadvise"):
        return
    for folder in folders:
        for name in ("run.json", "config.yaml"):
            try:
                handle = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_NONBLOCK)
            except OSError:
                break  # no run
            try:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
            except OSError:
                pass
            finally:
                os.close(handle)


def _is_run(folder: str) -> bool:
    """Whether run.json is there: most folders are runs, and this costs less than a list of what is in one."""
    return os.path.isfile(f"{folder}/run.json")


def _listing(folder: str) -> tuple[Set[str], list[str]]:
    """The names in a folder: of files, and of folders that are no links. Empty where it cannot be read."""
    files: set[str] = set()
    subfolders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not _is_folder(entry):
                    files.add(entry.name)
                elif not entry.is_symlink():
                    subfolders.append(entry.name)
    except OSError:
        pass
    return files, subfolders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def scan(paths: Sequence[Path]) -> tuple[list[Run], list[Unreadable]]:
    """Every run under the paths, in path order, and everything that looked like one and is not.

    Args:
        paths: as `find` has them. A run that a sweep has both as a row and as a folder is one run: the one that ended,
            the folder if both did.
    """
    finder = _Finder(table_runs)
    finder.look(paths)
    runs: dict[str, Run] = {}  # one place reached by two spellings of its path is one place
    for part in finder.parts:
        if isinstance(part, Rows):
            place = part.path.resolve()
            runs.update({f"{place}/{run.run_id}": run for run in part.runs})
        elif isinstance(part, Folders):
            runs.update({f"{place}/{part.summaries[i]['run_id']}": part.run(i) for i, place in enumerate(part.places)})
    return _one_record_each(list(runs.values())), finder.unreadable


def _one_record_each(runs: list[Run]) -> list[Run]:
    beside = {(run.path.parent, run.run_id): run for run in runs if run.path is not None}
    sweeps = {parent for parent, _ in beside}
    left_out = set()
    for run in runs:
        if run.table is not None and run.table.parent in sweeps:
            folder = beside.get((run.table.parent, run.run_id))
            if folder is not None:
                left_out.add(id(folder if run.status.final and not folder.status.final else run))
    return [run for run in runs if id(run) not in left_out] if left_out else runs
