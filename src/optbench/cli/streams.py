"""Standard streams that are closed, full, or left by their reader.

A closed descriptor is opened on the null device before anything else: the next file that the command opens would get
its number, and whatever a library prints would end up in that file. Then each stream keeps its promise. Standard error
carries progress and warnings: where it cannot be written they are dropped, and the work goes on. Standard output
carries the answer: where it cannot be written, that is an error in one line, and what was run is recorded all the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from optbench.errors import OutputError


class _Stream:
    """A text stream that differs from others only in what it does when writing fails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if text == "":  # click asks in this way what kind of stream it has
            return 0
        try:
            return self._stream.write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        raise NotImplementedError


class _Answers(_Stream):
    """Standard output."""

    def _fail(self, error: OSError) -> None:
        _drop(self._stream)
        if isinstance(error, BrokenPipeError):
            raise error
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


class _Remarks(_Stream):
    """Standard error."""

    def _fail(self, error: OSError) -> None:
        _drop(self._stream)


def _drop(stream: TextIO) -> None:
    """Sends what is still in the stream's buffer, and all that follows, to the null device."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _opened(descriptor: int) -> bool:
    """Whether the descriptor was closed; it is open afterwards, on the null device, for child processes too."""
    try:
        os.fstat(descriptor)
        return False
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, descriptor)
        os.set_inheritable(descriptor, True)
        if null != descriptor:
            os.close(null)
        return True


@contextmanager
def guarded_streams() -> Iterator[None]:
    """While it lasts, sys.stdin, sys.stdout and sys.stderr exist and behave as described above."""
    before = sys.stdin, sys.stdout, sys.stderr
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if _opened(descriptor) or getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  for good
    sys.stdout, sys.stderr = cast(TextIO, _Answers(sys.stdout)), cast(TextIO, _Remarks(sys.stderr))
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stdin, sys.stdout, sys.stderr = before
