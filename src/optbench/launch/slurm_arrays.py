"""Which job array has which runs, and how its tasks ended: files in the sweep's folder, so that a second driver finds
what the first one left.

An array's entry is written before the array is submitted, under a name that the array bears in the queue, and once
more with its job number: a driver killed between the two has left nothing that cannot be found. How a task ended is a
file of its own, plain data; nothing that another driver left is unpickled.

    .submitit/array-TOKEN.json     the runs, in the order of the tasks, and the job number
    .submitit/stop-TOKEN           it is there: the tasks are to end after their update
    .submitit/TOKEN-RUN_ID.json    how the task of a run ended
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optbench import errors
from optbench.errors import OptbenchError, RecordError, RunFailure
from optbench.records import Run, write_sealed, writing
from optbench.records.files import parse_json, read_text
from optbench.records.seal import KEY, broken


@dataclass(frozen=True)
class Array:
    """What was submitted at once.

    Attributes:
        token: sets it apart from every other array.
        job: its job number; None as long as the queue may not know it.
        runs: run_ids, in the order of the tasks.
        at_once: tasks that may run at the same time.
        force: whether its tasks run again what is done.
    """

    token: str
    job: str | None
    runs: tuple[str, ...]
    at_once: int
    force: bool

    @property
    def name(self) -> str:
        """Its name in the queue."""
        return f"optbench-{self.token}"

    def task(self, run_id: str) -> str:
        """The queue's name of the task of a run: "123_4"; of a job that is no array, "123"."""
        return f"{self.job}" if len(self.runs) == 1 else f"{self.job}_{self.runs.index(run_id)}"


@dataclass(frozen=True)
class Ending:
    """How a task ended.

    Attributes:
        status: of the record that it wrote; "" when it wrote none.
        checksum: of that record.
        signal: by which the queue ended it before its run had ended; "" when it did not.
        error: for which it wrote no record.
    """

    status: str = ""
    checksum: str = ""
    signal: str = ""
    error: OptbenchError | None = None

    @classmethod
    def of(cls, outcome: Run | OptbenchError, signal: str = "") -> Ending:
        """The ending of a task that gave this outcome."""
        if isinstance(outcome, OptbenchError):
            return cls(error=outcome)
        return cls(str(outcome.status), str(outcome.provenance.get(KEY, "")), signal)

    def reported(self, run_id: str) -> Run:
        """What the task says to have recorded: as much of the record as tells it from another."""
        return Run({"run_id": run_id, "status": self.status, "provenance": {KEY: self.checksum}})


class Arrays:
    """The arrays of one sweep.

    Args:
        folder: `.submitit` in the sweep's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stop_file(self, token: str) -> Path:
        """While it is there, the tasks of an array end after their update."""
        return self.folder / f"stop-{token}"

    def _entry(self, token: str) -> Path:
        return self.folder / f"array-{token}.json"

    def _ending(self, token: str, run_id: str) -> Path:
        return self.folder / f"{token}-{run_id}.json"

    def write(self, array: Array) -> None:
        """Writes an array's entry, or writes it anew. Raises OutputError."""
        write_sealed(self._entry(array.token), asdict(array))

    def tokens(self) -> list[str]:
        """Of the arrays that have an entry."""
        return sorted(path.stem.removeprefix("array-") for path in self.folder.glob("array-*.json"))

    def read(self, token: str) -> Array:
        """An array's entry. Raises RecordError where it is damaged."""
        path = self._entry(token)
        text = read_text(path, "entry of an array")
        found = parse_json(text, path)
        try:
            if broken(text) or found["token"] != token:
                raise TypeError
            job = None if found["job"] is None else str(int(found["job"]))
            array = Array(token, job, tuple(map(str, found["runs"])), int(found["at_once"]), bool(found["force"]))
        except (KeyError, TypeError, ValueError):
            raise RecordError(f"{path}: it was changed after it was written") from None
        return array

    def remove(self, array: Array) -> None:
        """Forgets an array, none of whose tasks is alive, and what was carried there; logs stay. Raises OutputError."""
        with writing(self.folder):
            for carried in self.folder.glob(f"{array.job}_*.pkl"):
                carried.unlink(missing_ok=True)
            for run_id in array.runs:
                self._ending(array.token, run_id).unlink(missing_ok=True)
            self.stop_file(array.token).unlink(missing_ok=True)
            self._entry(array.token).unlink(missing_ok=True)

    def begin(self, token: str, run_id: str) -> None:
        """What a task does first: the queue may have started it a second time. Raises OutputError."""
        with writing(self.folder):
            self._ending(token, run_id).unlink(missing_ok=True)

    def end(self, token: str, run_id: str, ending: Ending) -> None:
        """What a task does last. Raises OutputError."""
        error = ending.error
        words = None if error is None else [type(error).__name__, error.message, error.hint]
        row = {"status": ending.status, "record": ending.checksum, "signal": ending.signal, "error": words}
        write_sealed(self._ending(token, run_id), row)

    def ended(self) -> set[tuple[str, str]]:
        """Token and run_id of the tasks that have said how they ended."""
        with contextlib.suppress(OSError):  # network file systems look again for what was not there
            self.folder.chmod(self.folder.stat().st_mode)
        with writing(self.folder):
            names = [name for name in os.listdir(self.folder) if name.endswith(".json") and not name.startswith(".")]
        pairs = (name.removesuffix(".json").partition("-") for name in names)
        return {(token, run_id) for token, _, run_id in pairs}

    def ending(self, token: str, run_id: str) -> Ending | None:
        """How a task ended; None where it has not said so, or not so that it can be read."""
        path = self._ending(token, run_id)
        try:
            text = read_text(path, "ending of a task")
            found = parse_json(text, path)
            if broken(text):
                return None
            return Ending(str(found["status"]), str(found["record"]), str(found["signal"]), _error(found["error"]))
        except (KeyError, TypeError, ValueError, RecordError):
            return None


def _error(words: Any) -> OptbenchError | None:
    if words is None:
        return None
    name, message, hint = map(str, words)
    kinds: Mapping[str, Any] = vars(errors)
    kind = kinds.get(name)
    kind = kind if isinstance(kind, type) and issubclass(kind, OptbenchError) else RunFailure
    return kind(message, hint)
