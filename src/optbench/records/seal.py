"""Seals: checksums that show whether a record is still what was written.

A failing disk, an editor or a bad copy changes a digit, and nothing about the new number looks wrong. So
run.json ends in the checksum of all that stands before it (`provenance.checksum`), and holds those of the files beside
it (`provenance.files`); a table has the checksum of all its bytes before its footer, where no reader of Parquet looks.
They find accidents, not forgers. What has no seal (a record of an older version, or one made by hand) is held to what
`records.belief` knows of numbers and identities.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from optbench.errors import RecordError

KEY = "checksum"
_SEAL = re.compile(r',\n +"checksum": "([0-9a-f]{8})"(?:\n  \})?\n\}\n?\Z')
_TABLE_MARK = b"OPTBSUM1"
_TABLE_SEAL = len(_TABLE_MARK) + 8
_TABLE_END = 8  # length of the footer, magic
_AT_ONCE = 1 << 22
AGAIN = "run the same command again to make it anew"


def sealed(text: str) -> tuple[str, str]:
    """The text of a JSON object, as `write.to_json` indents it, with its checksum as the last key; and the checksum.

    Where the last value is an object too, as provenance is in run.json, the key stands in that one.
    """
    head = text.rstrip()
    end = "\n  }\n}" if head.endswith("\n  }\n}") else "\n}"
    assert head.endswith(end)
    head = head.removesuffix(end)
    found = f"{zlib.crc32(head.encode()):08x}"
    return f'{head},\n{" " * (4 if len(end) > 2 else 2)}"{KEY}": "{found}"{end}\n', found


def broken(text: str) -> bool:
    """Whether a text has a wrong seal; a text without one is not broken."""
    found = _SEAL.search(text, max(len(text) - 40, 0))
    if found is None:
        return f'"{KEY}":' in text[-60:]
    return zlib.crc32(text[: found.start()].encode()) != int(found[1], 16)


def sum_of(data: bytes) -> str:
    """Size and CRC-32 of what is in a file; ends of lines count alike on every system."""
    plain = data.replace(b"\r\n", b"\n") if b"\r" in data else data
    return f"{len(plain)} {zlib.crc32(plain):08x}"


def sum_of_bytes(data: bytes | memoryview) -> str:
    """The same of what is to be a binary file, byte by byte."""
    return f"{len(data)} {zlib.crc32(data):08x}"


def sum_of_file(path: Path) -> str:
    """The same of a binary file of any size, byte by byte. Raises OSError, RecordError."""
    check_regular(path)
    size = total = 0
    with path.open("rb") as file:
        while part := file.read(_AT_ONCE):
            size, total = size + len(part), zlib.crc32(part, total)
    return f"{size} {total:08x}"


def check_regular(path: Path) -> None:
    """Raises RecordError for anything but a regular file; a missing one is no error."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise RecordError(f"{path}: not a regular file")
    except OSError:
        pass  # opening it will say so


# tables --------------------------------------------------------------------------------------------------------------


def sealed_table(data: bytes | memoryview) -> Iterable[bytes | memoryview]:
    """The bytes of a Parquet file, in pieces, with the checksum of all of them before the footer."""
    view = memoryview(data)
    end = len(view) - _TABLE_END - int.from_bytes(view[-8:-4], "little")
    total = zlib.crc32(view[end:], zlib.crc32(view[:end]))
    return view[:end], _TABLE_MARK + f"{total:08x}".encode(), view[end:]


def check_table(path: Path) -> bool:
    """Whether a table has a seal. Raises RecordError where it is wrong, or for anything but a regular file.

    A file that is no Parquet at all has no seal: reading it will say so.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())  # of the file that is read: another process may put a new one there
            key = (str(path), status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            if key not in _CHECKED:
                _CHECKED[key] = _sealed_state(file, status.st_size)
    except OSError:
        return False
    if _CHECKED[key] is False:
        hint = "nothing was changed; move the table away, or bring it back from a copy, and run again"
        raise RecordError(f"{path}: it was changed after it was written: its checksum differs", hint)
    return bool(_CHECKED[key])


_CHECKED: dict[tuple[str, int, int, int, int], bool | None] = {}


def _sealed_state(file: BinaryIO, size: int) -> bool | None:
    """Whether the seal is right; None where there is none."""
    file.seek(max(size - _TABLE_END, 0))
    footer = int.from_bytes(file.read(4), "little")
    at = size - _TABLE_END - footer - _TABLE_SEAL
    if at < 0:
        return None
    file.seek(at)
    mark = file.read(_TABLE_SEAL)
    if not mark.startswith(_TABLE_MARK):
        return None
    file.seek(0)
    total, left = 0, at
    while left and (part := file.read(min(left, _AT_ONCE))):
        total, left = zlib.crc32(part, total), left - len(part)
    file.seek(at + _TABLE_SEAL)
    return f"{zlib.crc32(file.read(), total):08x}".encode() == mark[len(_TABLE_MARK) :]


def stale(folder: Path) -> list[Path]:
    """Temporary files that a killed process left in a folder."""
    return [Path(entry.path) for entry in os.scandir(folder) if re.fullmatch(r"\..*\.[0-9a-f]{8}\.tmp", entry.name)]
