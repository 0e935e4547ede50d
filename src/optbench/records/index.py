"""The index: a derived copy of what many run folders say, so that thousands are compared without being opened.

One hidden SQLite file in the folder that was scanned, a row a run folder: the text of run.json, the dotted settings of
config.yaml, and the stamp of both files; only runs that are believed (`records.belief`) have one. It is never the only
copy of anything: a row counts only while both files have the stamp that they had, and where the index is missing,
damaged, foreign or cannot be written, all is done without it and nobody is told.

It is written whole, beside its place, and renamed into it. So processes at once do not meet, no lock is taken, and a
reader has one whole index or none.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

NAME = ".optbench-index.sqlite"
LEAST_RUNS = 500
"""Fewer run folders than this get no index: they are read in 0.1 s, and small folders stay clean."""
WORTH = 0.02
"""The index is written anew when this share of it is missing or stale; fewer are read where they are."""
SETTLED = 2.0
"""Seconds that a file must have been left alone: within one tick of the clock it may change and keep its stamp."""

_FORMAT = 3  # of the tables, of what is in them, and of what must hold for a run to have a row
_TABLES = (
    "CREATE TABLE runs (path TEXT, stamp TEXT, facts TEXT, more TEXT, settings INTEGER, checksum INTEGER)",
    "CREATE TABLE settings (id INTEGER PRIMARY KEY, text TEXT)",
)


class Entry(NamedTuple):
    """What the index holds of a run folder.

    Attributes:
        stamp: of its files, see `stamp`.
        facts: run.json without the mappings in it, as JSON.
        more: the mappings in run.json, as JSON: provenance.
        settings: the dotted keys of config.yaml, as JSON.
    """

    stamp: str
    facts: str
    more: str
    settings: str

    def checksum(self, path: str) -> int:
        """Of all of it: a damaged row is no row."""
        return zlib.crc32("\0".join((path, *self)).encode())


def entry(stamp: str, summary: Mapping[str, Any], settings: str) -> Entry:
    """The entry of a run with this summary."""
    more = {key: value for key, value in summary.items() if isinstance(value, dict)}
    facts = {key: value for key, value in summary.items() if key not in more}
    return Entry(stamp, json.dumps(facts), json.dumps(more), settings)


def stamp(folder: str) -> str:
    """What changes when a run's files change: times, size and inode of run.json and config.yaml. Raises OSError."""
    one, two = os.stat(f"{folder}/run.json"), os.stat(f"{folder}/config.yaml")
    return (
        f"{one.st_mtime_ns} {one.st_ctime_ns} {one.st_size} {one.st_ino} "
        f"{two.st_mtime_ns} {two.st_ctime_ns} {two.st_size} {two.st_ino}"
    )


def settled(stamp: str, now: float) -> bool:
    """Whether the files of a stamp have been left alone for a while, `now` being when the stamp was taken."""
    m1, c1, _, _, m2, c2, _, _ = map(int, stamp.split())
    return max(m1, c1, m2, c2) < (now - SETTLED) * 1e9


def load(folder: Path) -> dict[str, Entry]:
    """The rows of a folder's index by relative path; none where there is no index that can be used."""
    path = folder / NAME
    try:
        if not path.is_file():
            return {}
        # immutable: no lock and no journal, since the file is never changed in its place
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as base:
            return _rows(base)
    except (OSError, sqlite3.Error, ValueError, TypeError, KeyError):
        return {}


def _rows(base: sqlite3.Connection) -> dict[str, Entry]:
    base.execute("PRAGMA trusted_schema = OFF")
    known = tuple(sql for (sql,) in base.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"))
    if known != _TABLES or base.execute("PRAGMA user_version").fetchone() != (_FORMAT,):
        return {}
    settings = dict(base.execute("SELECT id, text FROM settings"))
    found = {}
    for path, stamped, facts, more, number, checksum in base.execute("SELECT * FROM runs"):
        found[path] = one = Entry(stamped, facts, more, settings[number])
        if one.checksum(path) != checksum:
            return {}
    return found


def save(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Replaces a folder's index; does nothing where that is impossible."""
    new = folder / f"{NAME}.{secrets.token_hex(4)}.tmp"
    try:
        _remove_left_over(folder)
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as base:
            _write(base, entries)
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(new, folder / NAME)
    except (OSError, sqlite3.Error, UnicodeEncodeError):
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def _write(base: sqlite3.Connection, entries: Mapping[str, Entry]) -> None:
    base.execute("PRAGMA journal_mode = OFF")
    base.execute("PRAGMA synchronous = OFF")
    base.execute(f"PRAGMA user_version = {_FORMAT}")
    base.execute("BEGIN")
    for table in _TABLES:
        base.execute(table)
    numbers: dict[str, int] = {}

    def rows() -> Iterator[tuple[str, str, str, str, int, int]]:
        for path, one in entries.items():
            number = numbers.setdefault(one.settings, len(numbers))
            yield path, one.stamp, one.facts, one.more, number, one.checksum(path)

    base.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)", rows())
    base.executemany("INSERT INTO settings VALUES (?, ?)", ((number, text) for text, number in numbers.items()))
    base.execute("COMMIT")


def _remove_left_over(folder: Path) -> None:
    for old in folder.glob(f"{NAME}.*.tmp"):  # by a process that was killed while it wrote
        with contextlib.suppress(OSError):
            if old.stat().st_mtime < time.time() - 60:
                old.unlink()
