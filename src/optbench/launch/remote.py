"""What a launcher for other machines hands to them: where to stand, what to execute, whom to ask about stopping."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optbench.errors import OptbenchError, OutputError
from optbench.experiment import Display, Planned, Stop
from optbench.launch.base import Work, attempt
from optbench.records import Run, locked, writing

_RELEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Place:
    """The driver's folder and module path: runs are carried out there, on whichever machine."""

    folder: str
    path: tuple[str, ...]

    @classmethod
    def here(cls) -> Place:
        return cls(os.getcwd(), tuple(os.path.abspath(p) for p in sys.path))

    def enter(self, otherwise: Path | None = None) -> None:
        """Goes there; where the folder is not there, to another one, which is made.

        Raises:
            OutputError: it is not there, and there is no other: no shared file system.
        """
        try:
            os.chdir(self.folder)
        except OSError as error:
            if otherwise is None:
                why = error.strerror or str(error)
                raise OutputError(
                    f"{platform.node()} cannot enter {self.folder}: {why}",
                    "every machine must see the driver's folder under the same name: use a shared file system",
                ) from error
            with writing(otherwise):
                otherwise.mkdir(parents=True, exist_ok=True)
                os.chdir(otherwise)
        sys.path.extend(p for p in self.path if p not in sys.path)


@dataclass(frozen=True)
class Task:
    """One run for a worker elsewhere; plain data."""

    place: Place
    planned: Planned
    work: Work
    force: bool
    threads: int
    attempt: int

    def perform(self, stop: Stop, display: Display) -> Run | OptbenchError:
        """The run's record, or the error for which it has none."""
        try:
            self.place.enter()
            if self.attempt:
                _await_release(self.planned)
            return attempt(self.work, self.planned, stop, display, self.force, self.threads)
        except OptbenchError as error:
            return error


def _await_release(planned: Planned) -> None:
    # A machine that was given up may still be running for some seconds, and then holds the folder.
    deadline = time.monotonic() + _RELEASE_SECONDS
    while planned.folder.is_dir():
        try:
            with locked(planned.folder):
                return
        except OutputError:
            if time.monotonic() > deadline:
                return  # the run says so in its own words
            time.sleep(1.0)


class Lookout:
    """Asks now and then, in a thread of its own, whether the user wants to stop; use as a context manager.

    Args:
        asked: whether the user does; may be slow.
        stop: set when so.
        pause: seconds between two questions.
    """

    def __init__(self, asked: Callable[[], bool], stop: Stop, pause: float = 1.0) -> None:
        self._asked, self._stop, self._pause = asked, stop, pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._over.wait(self._pause):
            try:
                self._stop.requested = self._stop.requested or self._asked()
            except Exception:  # whoever was asked is gone, and so is the driver
                self._stop.requested = True
            if self._stop.requested:
                return

    def __enter__(self) -> Lookout:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(self._pause)
