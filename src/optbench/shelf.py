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
import shutil
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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


def has(kind: str, key: str) -> bool:
    """Whether something that can be believed is kept under a key."""
    return take(kind, key) is not None


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


# the room as a whole -------------------------------------------------------------------------------------------------

KINDS = {
    "pictures": "decoded pictures",
    "synthetic": "pictures of data=synthetic_food",
    "contents": "what is in data files, as hashes",
    "composed": "composed commands",
    "programs": "surfaces as programs",
    "schedules": "schedules as tables",
    "landmarks": "critical points of surfaces",
    "points": "critical points in the boxes of basins",
    "kernels": "compiled steps",
    "rules": "optimizers that agree in rows",
}
"""What the cache folder holds, by the names that `optbench cache` uses. What has another name there is not touched."""

_OTHERWISE = {"synthetic-food-": "synthetic", "images-": "pictures", "contents-": "contents"}
"""How names begin that are no folder of a kind; the last two are of earlier versions."""


@dataclass(frozen=True)
class Held:
    """What the cache folder holds of one kind: its files and their bytes on disk."""

    kind: str
    files: int
    bytes: int


def held() -> list[Held]:
    """What the cache folder holds, of every kind that is there. What cannot be looked at counts as not there."""
    counted = {kind: [0, 0] for kind in KINDS}
    for kind, places in _places().items():
        for place in places:
            for file in _files(place):
                with contextlib.suppress(OSError):
                    counted[kind][1] += file.lstat().st_size
                    counted[kind][0] += 1
    return [Held(kind, files, size) for kind, (files, size) in counted.items() if files]


def empty(kinds: Iterable[str] = KINDS) -> None:
    """Takes what is of these kinds out of the cache folder. A process that uses some of it goes on with what it has.

    Raises:
        OutputError: something cannot be removed.
    """
    places = _places()
    for kind in kinds:
        for place in places[kind]:
            try:
                shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink(missing_ok=True)
            except FileNotFoundError:  # another process was first
                continue
            except OSError as error:
                raise OutputError(f"{place}: cannot be removed ({error.strerror or error})") from None


def _places() -> dict[str, list[Path]]:
    """Files and folders of each kind, right in the cache folder."""
    found: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    with contextlib.suppress(OSError):
        for place in sorted(cache_folder().iterdir()):
            starts = next((kind for start, kind in _OTHERWISE.items() if place.name.startswith(start)), None)
            kind = starts or (place.name if place.is_dir() else None)
            if kind in found:
                found[kind].append(place)
    return found


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
    for folder, _, names in os.walk(place):
        yield from (Path(folder, name) for name in names)
