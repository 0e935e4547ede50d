"""Finding records: everything under some paths that is a run, a table of runs, or looked like one.

One walk over the folders. What the index (`records.index`) knows of a run folder is taken from there if its files are
still those that were read; all else is read, and the index is written anew where that pays.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from optbench.errors import RecordError
from optbench.records import sweep_plan
from optbench.records.belief import check_own
from optbench.records.files import read_text
from optbench.records.index import LEAST_RUNS, WORTH, Entry, entry, load, save, settled, stamp
from optbench.records.run import read_summary
from optbench.records.sources import Folders, Source
from optbench.records.templates import SettingsReader

_OF_A_RUN = frozenset({"run.json", "config.yaml", "metrics.csv"})


@dataclass(frozen=True)
class Unreadable:
    """A folder or table that looked like results and could not be read."""

    path: Path
    why: str


Plans = list[tuple[Path, list[sweep_plan.SweepPlan]]]


class Finder:
    """One walk over some paths.

    Attributes:
        sources: what was found, in path order: groups of run folders, and tables.
        unreadable: what looked like results and is not believed.
        plans: the folders of sweeps, each with its plans.
    """

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.unreadable: list[Unreadable] = []
        self.plans: Plans = []
        self._settings = SettingsReader()
        self._now = time.time()

    def look(self, paths: Sequence[Path]) -> None:
        """Adds what is under the paths. Raises RecordError for a path that does not exist."""
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
            files, subfolders = (_OF_A_RUN, []) if _is_run(here) else self._listing(here)
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

    def _listing(self, folder: str) -> tuple[Set[str], list[str]]:
        """The names in a folder: of files, and of folders that are no links. What cannot be listed may hold results,
        and is said to be unreadable; a folder that was removed meanwhile is empty."""
        files: set[str] = set()
        subfolders: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not _is_folder(entry):
                        files.add(entry.name)
                    elif not entry.is_symlink():
                        subfolders.append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            self.unreadable.append(Unreadable(Path(folder), f"{folder}: cannot be listed ({error.strerror or error})"))
        return files, subfolders

    def _folders(self) -> Folders:
        """The run folders found since the last table."""
        if not self.sources or not isinstance(self.sources[-1], Folders):
            self.sources.append(Folders())
        found = self.sources[-1]
        assert isinstance(found, Folders)
        return found

    def _known(self, path: str, place: str, known: Entry) -> None:
        self._folders().add(path, place, known.facts, self._settings.of_text(known.settings), known.more)

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
            found = self._folders()
            found.why[found.size] = error.message
            found.add(path, place, summary, None)
            return None
        try:
            check_own(path, summary, config, lambda: self._settings.flat(config, f"{path}/config.yaml"))
        except RecordError as error:
            self.unreadable.append(Unreadable(Path(path), error.message))
            return None
        self._folders().add(path, place, summary, settings)
        if stamped is None or text is None or not settled(stamped, self._now):
            return None
        return entry(stamped, summary, text)

    def _plan(self, path: Path) -> None:
        try:
            self.plans.append((path.parent, sweep_plan.read_plans(path)))
        except RecordError as error:
            self.unreadable.append(Unreadable(path, error.message))

    def _table(self, path: Path) -> None:
        from optbench.records.arrow import Table  # pyarrow: without tables there is no waiting for its import

        try:
            self.sources.append(Table(path))
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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
