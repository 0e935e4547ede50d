"""What was worked out once, kept on disk under a key of everything that it was made of.

A shelf holds plain data as JSON. The key is a hash: of texts, of the contents of files, of versions. What is found
under it is believed if it still is what was written (a checksum) and was written for this very key; anything else
counts as not there, so that the worst that a damaged, foreign or unwritable cache can do is to cost the time again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from optbench.errors import OutputError
from optbench.folders import cache_folder
from optbench.records import write_bytes
from optbench.records.files import read_bytes

_LARGEST = 8 << 20
"""Most bytes of one thing: more is not kept."""
_MOST = 400
"""Things of one kind: beyond, the oldest half goes."""


def key_of(*parts: object) -> str:
    """A key: 32 hexadecimal digits of the SHA-256 of the parts, each as its repr."""
    return hashlib.sha256("\n".join(map(repr, parts)).encode(errors="surrogateescape")).hexdigest()[:32]


def sum_of_files(files: Iterable[Path]) -> str:
    """A hash of the paths and the contents of files, in this order. Raises OSError."""
    digest = hashlib.sha256()
    for file in files:
        data = file.read_bytes()
        digest.update(f"{file}\0{len(data)}\0".encode(errors="surrogateescape"))
        digest.update(data)
    return digest.hexdigest()


@functools.cache
def sum_of_sources(*rooms: str) -> str:
    """A hash of the source of some rooms (folders or modules) of this package, whatever Python made of it."""
    package = Path(__file__).parent
    files: list[Path] = []
    for room in rooms:
        place = package / room
        files += sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    return sum_of_files(files)


@functools.cache
def versions(*names: str) -> tuple[str, ...]:
    """Versions of Python and of installed distributions; of what is not installed, an empty text."""
    found = [sys.version]
    for name in names:
        try:
            found.append(version(name))
        except PackageNotFoundError:
            found.append("")
    return tuple(found)


def take(kind: str, key: str) -> Any:
    """What is kept under a key, as plain data; None where nothing is, or nothing that can be believed.

    Args:
        kind: what it is: the name of a folder in the cache.
        key: see key_of.
    """
    try:
        data = read_bytes(_place(kind, key), _LARGEST + 200)
        head, _, text = data.partition(b"\n")
        if head == _head(key, text):
            return json.loads(text)
    except (OSError, ValueError, RecursionError):
        pass
    return None


def put(kind: str, key: str, value: Any) -> None:
    """Keeps plain data under a key. What JSON would not give back as it is, or is too large, is not kept.

    Where nothing can be written, nothing is said: what is not kept is worked out again.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        same = repr(json.loads(text)) == repr(value)
    except (TypeError, ValueError, RecursionError):
        return
    if not same or len(text) > _LARGEST:
        return
    place = _place(kind, key)
    with contextlib.suppress(OSError, OutputError):
        write_bytes(place, _head(key, text) + b"\n" + text)
        _make_room(place.parent)


def _place(kind: str, key: str) -> Path:
    return cache_folder() / kind / f"{key}.json"


def _head(key: str, text: bytes) -> bytes:
    return f"optbench {key} {len(text)} {zlib.crc32(text):08x}".encode()


def _make_room(folder: Path) -> None:
    files: Sequence[os.DirEntry[str]] = [entry for entry in os.scandir(folder) if entry.name.endswith(".json")]
    if len(files) <= _MOST:
        return
    for entry in sorted(files, key=lambda e: e.stat().st_mtime)[: len(files) - _MOST // 2]:
        with contextlib.suppress(OSError):
            os.unlink(entry.path)
