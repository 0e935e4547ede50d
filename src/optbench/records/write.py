"""Writing records: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

import yaml

try:
    import fcntl
except ImportError:  # Windows: runs are not guarded against a second process there
    fcntl = None  # type: ignore[assignment]

from optbench.errors import OutputError
from optbench.records.files import read_rows
from optbench.records.seal import sealed

_ELSEWHERE = "choose another place (--help says with which option), or make this one writable"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the operating system's refusal to write into an OutputError that names the place."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space and run the same command again" if full else _ELSEWHERE
        raise OutputError(f"cannot write {path}: {error.strerror or error}", hint) from error


def _beside(path: Path, pieces: Iterable[bytes | memoryview], wait: bool = True) -> Path:
    """Writes what a file is to be beside its place, and gives where; `wait`: until the disk has it."""
    name = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with name.open("xb") as file:
            file.writelines(pieces)
            file.flush()
            if wait:
                os.fsync(file.fileno())
    except BaseException:
        _remove(name)
        raise
    return name


def _remove(name: Path) -> None:
    with contextlib.suppress(OSError):
        name.unlink()


def _replace_with(path: Path, pieces: Iterable[bytes | memoryview], wait: bool = True) -> None:
    """Writes a file beside its place and renames it into it; `wait`: until the disk has it."""
    name = _beside(path, pieces, wait)
    try:
        os.replace(name, path)
    except BaseException:
        _remove(name)
        raise


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Writes a file whole or not at all: temporary file, fsync, rename. Raises OutputError."""
    write_pieces(path, [data])


def write_pieces(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """The same of a file that is never in memory as a whole."""
    with writing(path):
        _replace_with(path, pieces)


def write_together(files: Mapping[Path, bytes | memoryview]) -> None:
    """Writes files of one folder as `write_bytes` does, waiting for the disk once; they get their names in this order.

    Raises:
        OutputError: one of them cannot be written; those before it may have been.
    """
    if not files:
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(files)) as pool:
        begun = {path: pool.submit(_beside, path, [data]) for path, data in files.items()}
        try:
            for path, written in begun.items():
                with writing(path):
                    os.replace(written.result(), path)
        except BaseException:
            for written in begun.values():
                if written.exception() is None:
                    _remove(written.result())
            raise


_TRIAL = 4096
"""Bytes that are written to try whether a place is writable."""


def check_place(path: Path, folder: bool = False) -> None:
    """Tries whether a file can be written here, and leaves nothing behind: call it before long work.

    Args:
        path: the file to be written, or the folder; what is missing above it will be made.
        folder: whether it is a folder.

    Raises:
        OutputError: it is a folder where a file is wanted, or the other way round, or nothing can be written there.
    """
    with writing(path):
        if not folder and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        place = path if folder else path.parent
        while not place.exists():
            place = place.parent
        trial = place / f".{path.name or 'x'}.{secrets.token_hex(4)}.tmp"
        try:
            with trial.open("xb") as file:
                file.write(bytes(_TRIAL))  # a full disk still takes a name
                file.flush()
        finally:
            trial.unlink(missing_ok=True)


def _opened(folder: Path) -> int:
    """A handle of the folder's lock file. The folder is made where it is not there, also when another process removes
    it meanwhile (its run is a row now)."""
    with writing(folder):
        for _ in range(3):
            with contextlib.suppress(FileNotFoundError):
                return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
            folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)


@contextlib.contextmanager
def locked(folder: Path, wait: float = 0.0, meanwhile: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds a folder for writing; the lock dies with its owner.

    Args:
        folder: the folder; it is made, with all that it lies in, where it is not there.
        wait: seconds to wait for another process that holds it.
        meanwhile: called again and again while waiting; what it raises ends that.

    Raises:
        OutputError: another process holds it still, or it cannot be made.
    """
    handle = _opened(folder)
    try:
        deadline = time.monotonic() + wait
        while fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise OutputError(f"{folder} is being written by another process", "wait for it to end") from error
                if meanwhile is not None:
                    meanwhile()
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def plain(value: Any, finite: bool = True) -> Any:
    """The value in Python's own types: enums and paths as text, array scalars as numbers, tuples as lists.

    Args:
        value: scalars, mappings and sequences, nested.
        finite: whether numbers that are not finite become None, as strict JSON has no word for them.
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v, finite) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, finite) for v in value]
    if isinstance(value, StrEnum | Path):
        return str(value)
    number = value.item() if hasattr(value, "item") else value
    return None if finite and isinstance(number, float) and not math.isfinite(number) else number


def to_json(value: Any, indent: int | None = 2) -> str:
    """Strict JSON text (no NaN, no Infinity), keys in the given order."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Writes strict JSON atomically."""
    write_bytes(path, (to_json(value) + "\n").encode())


def write_sealed(path: Path, value: Any, wait: bool = True) -> str:
    """Writes strict JSON atomically, with its checksum as the last key (`records.seal`); returns the checksum.

    Args:
        path: the file.
        value: what it says.
        wait: until the disk has it; False where a machine that loses its power may lose the file.
    """
    text, checksum = sealed(to_json(value))
    with writing(path):
        _replace_with(path, [text.encode()], wait)
    return checksum


def write_yaml(path: Path, value: Any) -> None:
    """Writes YAML atomically; infinities stay, so that a configuration reads back as it was hashed."""
    given = plain(value, finite=False)
    write_bytes(path, yaml.dump(given, Dumper=_DUMPER, sort_keys=False, allow_unicode=True).encode())


_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C where the wheel has it, ten times as quick


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return repr(value if type(value) in _NUMBERS else plain(value, finite=False))


_NUMBERS = (float, int)


_LINES = 64
"""Rows that are handed to the file together."""


def write_curve(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a curve that is known as a whole, as `CurveWriter` does row by row; atomically."""
    lines = [",".join(columns), *(_line(row, columns) for row in rows)]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def _line(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """A row of a curve; missing or None values stay empty, floats keep all their digits."""
    return ",".join([repr(v) if type(v) in _NUMBERS else _cell(v) for v in map(row.get, columns)])


class CurveWriter:
    """Appends rows to metrics.csv; a line is whole or, if the process dies in it, ignored.

    Args:
        path: the file.
        columns: its columns, fixed for the run.
        keep_before: None starts a new file; k keeps the whole rows of an old one whose step is below k.
    """

    def __init__(self, path: Path, columns: Sequence[str], keep_before: int | None = None) -> None:
        self.path, self.columns = path, tuple(columns)
        kept = [] if keep_before is None else [r for r in read_rows(path) if int(r["step"]) < keep_before]
        with writing(path):
            lines = [",".join(self.columns), *(",".join(row.get(c, "") for c in self.columns) for row in kept)]
            data = ("\n".join(lines) + "\n").encode()
            _replace_with(path, [data], wait=bool(kept))  # a header alone is nothing to lose
            self._size, self._crc = len(data), zlib.crc32(data)
            self._lines: list[str] = []
            self._file: TextIO = path.open("a", encoding="utf-8", newline="")

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends one row; missing or None values stay empty, floats keep all their digits."""
        self._lines.append(_line(row, self.columns))
        if len(self._lines) >= _LINES:
            self._hand_over()

    def _hand_over(self) -> None:
        """Gives the lines that are in memory to the file."""
        if not self._lines:
            return
        text = "\n".join(self._lines) + "\n"
        self._lines.clear()
        with writing(self.path):
            self._file.write(text)
        raw = text.encode()
        self._size, self._crc = self._size + len(raw), zlib.crc32(raw, self._crc)

    @property
    def sum(self) -> str:
        """Size and checksum of all that was written so far."""
        self._hand_over()
        return f"{self._size} {self._crc:08x}"

    def flush(self) -> None:
        """Hands what was written to the operating system."""
        self._hand_over()
        with writing(self.path):
            self._file.flush()

    def close(self) -> None:
        """Flushes to the disk and closes."""
        if not self._file.closed:
            with writing(self.path):
                try:
                    self._hand_over()
                    self._file.flush()
                    os.fsync(self._file.fileno())
                finally:
                    self._file.close()
