"""What can go wrong, as one tree.

    OptbenchError               anything optbench itself reports; never shown as a traceback
    |-- UserError               the request cannot be carried out as written: exit code 2
    |   |-- ConfigError         an override, a config file or a value in it
    |   |-- DataError           a data folder, an image, a label
    |   |-- RecordError         a run folder or table that cannot be read or trusted
    |   `-- OutputError         results cannot be written (permissions, full disk)
    |-- IncompatibleError       the parts are fine, the combination is not: `skipped` in a sweep, exit code 2 alone
    |-- StoppedError            the user wants an end before the run has begun: `interrupted`
    `-- RunFailure              a run broke while running: `failed` in a sweep, exit code 3 alone

A message says what came, what was expected and, in `hint`, what to do: one to three lines in all.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _visible(text: str) -> str:
    """The text with its control characters as one writes them in Python: what a user wrote stays in its line."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says, its first line; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def in_a_line(error: BaseException) -> str:
    """The same with its type before it."""
    name, first = type(error).__name__, first_line(error)
    return name if first == name else f"{name}: {first}"


class OptbenchError(Exception):
    """Base of every error that optbench reports in its own words.

    Args:
        message: what came and what was expected, one line.
        hint: what to do about it, one line, or empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = _visible(message), _visible(hint)
        super().__init__(self.message)


class UserError(OptbenchError):
    """The request cannot be carried out as written."""

    exit_code = 2


class ConfigError(UserError):
    """An override, a config file or a value in it is wrong."""


class DataError(UserError):
    """A data folder, an image or a label is missing or unreadable."""


class RecordError(UserError):
    """A run folder or table cannot be read, or names something that may not be built."""


class OutputError(UserError):
    """Results cannot be written: permissions, a full disk, a file in the way."""


class IncompatibleError(OptbenchError):
    """Parts that are fine by themselves do not make a problem together."""

    exit_code = 2


class StoppedError(OptbenchError):
    """The user asked for an end where there is nothing yet to go on from."""

    exit_code = 130


class Interrupted(KeyboardInterrupt):
    """A signal asked for an end where nothing was under way: the command ends with this exit code.

    No error of optbench's: what catches errors to go on lets it through, as a second Ctrl-C.
    """

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__()


class RunFailure(OptbenchError):
    """A run broke while running."""

    exit_code = 3


def unexpected(error: BaseException) -> str:
    """What nobody expected, in a line: its type, where it came from, its words.

    The place is the innermost one that is no library's: the package's own (`optbench/room/file.py:12`) or a user's.
    """
    words = _visible(str(error).strip().partition("\n")[0])
    place = _place(error.__traceback__)
    return f"{type(error).__name__}{place and f' at {place}'}{words and f': {words}'}"


def _place(trace: TracebackType | None) -> str:
    """Where an exception came from; empty where no place is known."""
    package, python, found = Path(__file__).parent, Path(re.__file__).parent.parent, ""
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        is_own = path.is_relative_to(package)
        is_library = path.is_relative_to(python) or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        if is_own or (path.is_absolute() and not is_library):
            shown = path.relative_to(package.parent) if is_own else path
            found = f"{shown.as_posix()}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
