"""The index: a derived copy of what many run folders say, so that thousands are compared without being opened.

One hidden file in the folder that was scanned, lines of JSON and a checksum: of each run folder what run.json says, the
dotted settings of config.yaml, and the stamp of both files; only runs that are believed (`records.belief`) are in
it. It is never the only copy of anything: an entry counts only while both files have the stamp that they had, and where
the index is missing, damaged, foreign or cannot be written, everything works without it, without a message.

It is written whole, beside its place, and renamed into it. So processes at once do not meet, no lock is taken, and a
reader has one whole index or none.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from optbench.errors import OutputError
from optbench.records.files import read_bytes
from optbench.records.write import write_pieces

NAME = ".optbench-index.json"
LEAST_RUNS = 500
"""Fewer run folders than this get no index: they are read in 0.1 s, and small folders stay clean."""
WORTH = 0.02
"""The index is written anew when this share of it is missing or stale; fewer are read where they are."""
SETTLED = 2.0
"""Seconds that a file must have been left alone: within one tick of the clock it may change and keep its stamp."""

_FORMAT = 4  # of the file, of what is in it, and of what must hold for a run to be in it
_SEAL = 10  # bytes of the checksum


class Entry(NamedTuple):
    """What the index holds of a run folder.

    Attributes:
        stamp: of its files, see `stamp`.
        facts: run.json without the mappings in it.
        more: the mappings in run.json, as JSON: provenance.
        settings: the dotted keys of config.yaml, as JSON.
    """

    stamp: str
    facts: Mapping[str, Any]
    more: str
    settings: str


def entry(stamp: str, summary: Mapping[str, Any], settings: str) -> Entry:
    """The entry of a run with this summary."""
    more = {key: value for key, value in summary.items() if isinstance(value, dict)}
    return Entry(stamp, {key: value for key, value in summary.items() if key not in more}, json.dumps(more), settings)


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
    """The entries of a folder's index by relative path; none where there is no index that can be used."""
    try:
        data = read_bytes(folder / NAME)
        if data[-_SEAL:] != _seal(zlib.crc32(memoryview(data)[:-_SEAL])):
            return {}
        head, *parts, _ = map(json.loads, io.TextIOWrapper(io.BytesIO(data), "ascii"))
        if head["format"] != _FORMAT:
            return {}
        rows = itertools.chain.from_iterable(parts)
        return {path: Entry(stamp, facts, more, head["settings"][i]) for path, stamp, facts, more, i in rows}
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return {}


def save(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Replaces a folder's index; does nothing where that is impossible."""
    with contextlib.suppress(OSError, OutputError):
        for old in folder.glob(f"*{NAME}.*.tmp"):  # by a process that was killed while it wrote
            if old.stat().st_mtime < time.time() - 60:
                old.unlink()
        write_pieces(folder / NAME, _lines(entries))


def _lines(entries: Mapping[str, Entry]) -> Iterator[bytes]:
    """The file: what all share, some entries a line, the checksum."""
    numbers = {text: i for i, text in enumerate(dict.fromkeys(one.settings for one in entries.values()))}
    rows = [(path, *one[:3], numbers[one.settings]) for path, one in entries.items()]
    total = 0
    for line in (
        {"format": _FORMAT, "settings": list(numbers)},
        *(rows[k : k + 500] for k in range(0, len(rows), 500)),
    ):
        text = json.dumps(line).encode() + b"\n"
        total = zlib.crc32(text, total)
        yield text
    yield _seal(total)


def _seal(total: int) -> bytes:
    return f'"{total:08x}"'.encode()
